//! The encoder against apache-avro: random schemas, random values, equal bytes; and order of members is nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod random;

use apache_avro::writer::datum::GenericDatumWriter;
use forebay_avro::{
    encode::EncodeOptions,
    plan::Plan,
    schema::Schema,
    walk::{self, Limits},
};
use proptest::prelude::*;
use random::{Gen, schema, ty};

/// Values tried per schema.
const VALUES: usize = 10;
/// Schemas tried.
const SCHEMAS: u32 = 1_200;

proptest! {
    #![proptest_config(ProptestConfig { cases: SCHEMAS, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_equal_apache_avros(ty in ty(), seed in any::<u64>()) {
        let text = schema(&ty, &mut 0).to_string();
        let theirs = apache_avro::Schema::parse_str(&text).unwrap();
        let ours = Schema::parse(&text, &[]).unwrap();
        let plan = Plan::compile(&ours).unwrap();
        let writer = GenericDatumWriter::builder(&theirs).build().unwrap();
        let mut generator = Gen { state: seed };
        for _ in 0..VALUES {
            let (json, value) = generator.value(&ty, &mut 0);
            let mut bytes = Vec::new();
            if let Err(error) = plan.encode(&json, &EncodeOptions::default(), &mut bytes) {
                panic!("{text}\nrefused {json}\n{error:?}");
            }
            prop_assert_eq!(&bytes, &writer.write_value_to_vec(value).unwrap(), "{}\nencoded {}", text, json);
            walk::walk(&ours, &bytes, &Limits::default()).unwrap();
        }
    }
}
