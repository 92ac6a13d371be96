//! The decoders against apache-avro's bytes: random schemas and values, to JSON and back to the same bytes, and through
//! Arrow and Parquet to the same values.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod random;

use apache_avro::writer::datum::GenericDatumWriter;
use arrow::{
    array::{Array, AsArray},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
        Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use forebay_avro::{arrow::ArrowPlan, decode, encode::EncodeOptions, plan::Plan, schema::Schema, walk};
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};
use proptest::prelude::*;
use random::{Gen, Ty, schema, ty};
use serde_json::Value as Json;

/// Values tried per schema.
const VALUES: usize = 10;

struct Case {
    text: String,
    schema: Schema,
    plan: Plan,
    /// As apache-avro writes them.
    datums: Vec<Vec<u8>>,
}

fn case(ty: &Ty, seed: u64) -> Case {
    let text = schema(ty, &mut 0).to_string();
    let theirs = apache_avro::Schema::parse_str(&text).unwrap();
    let ours = Schema::parse(&text, &[]).unwrap();
    let writer = GenericDatumWriter::builder(&theirs).build().unwrap();
    let mut generator = Gen { state: seed };
    let datums =
        (0..VALUES).map(|_| writer.write_value_to_vec(generator.value(ty, &mut 0).1).unwrap()).collect::<Vec<_>>();
    for datum in &datums {
        walk::walk(&ours, datum, &walk::Limits::default()).unwrap();
    }
    Case { text, plan: Plan::compile(&ours).unwrap(), schema: ours, datums }
}

fn json(case: &Case, datum: &[u8]) -> String {
    let mut text = String::new();
    decode::to_json(&case.schema, datum, &mut text).unwrap();
    text
}

/// What a logical type's JSON is as a number.
fn number(avro: &str, json: &Json) -> i64 {
    let schema = Schema::parse(avro, &[]).unwrap();
    let mut bytes = Vec::new();
    Plan::compile(&schema).unwrap().encode(&json.to_string(), &EncodeOptions::default(), &mut bytes).unwrap();
    let zigzag = bytes.iter().rev().fold(0_u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
    (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
}

fn long(logical: &str, json: &Json) -> i64 {
    number(&format!(r#"{{"type":"long","logicalType":"{logical}"}}"#), json)
}

fn int(logical: &str, json: &Json) -> i64 {
    number(&format!(r#"{{"type":"int","logicalType":"{logical}"}}"#), json)
}

/// Whether a column holds, at `row`, what the JSON says.
fn same(array: &dyn Array, row: usize, json: &Json) -> bool {
    if json.is_null() || array.is_null(row) {
        return json.is_null() && array.is_null(row);
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row) == *json,
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row) == *json,
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row) == *json,
        DataType::Float32 => Some(array.as_primitive::<Float32Type>().value(row)) == json.as_f64().map(|f| f as f32),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row) == *json,
        DataType::Date32 => i64::from(array.as_primitive::<Date32Type>().value(row)) == int("date", json),
        DataType::Time32(_) => {
            i64::from(array.as_primitive::<Time32MillisecondType>().value(row)) == int("time-millis", json)
        }
        DataType::Time64(_) => array.as_primitive::<Time64MicrosecondType>().value(row) == long("time-micros", json),
        DataType::Timestamp(unit, zone) => {
            let (value, name) = match unit {
                TimeUnit::Millisecond => (array.as_primitive::<TimestampMillisecondType>().value(row), "millis"),
                TimeUnit::Microsecond => (array.as_primitive::<TimestampMicrosecondType>().value(row), "micros"),
                _ => (array.as_primitive::<TimestampNanosecondType>().value(row), "nanos"),
            };
            let local = if zone.is_some() { "" } else { "local-" };
            value == long(&format!("{local}timestamp-{name}"), json)
        }
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row) == *json,
        DataType::Binary => Some(STANDARD.encode(array.as_binary::<i32>().value(row)).as_str()) == json.as_str(),
        DataType::FixedSizeBinary(_) => {
            let (bytes, text) = (array.as_fixed_size_binary().value(row), json.as_str().unwrap());
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            STANDARD.encode(bytes) == text || hex == text.replace('-', "")
        }
        DataType::Utf8 => {
            let text = array.as_string::<i32>().value(row);
            text == *json || serde_json::from_str::<Json>(text).is_ok_and(|inner| inner == *json)
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_dictionary::<Int32Type>();
            same(dictionary.values(), dictionary.key(row).unwrap(), json)
        }
        DataType::List(_) => {
            let (items, json) = (array.as_list::<i32>().value(row), json.as_array().unwrap());
            items.len() == json.len() && json.iter().enumerate().all(|(at, json)| same(&items, at, json))
        }
        DataType::Map(..) => {
            let (entries, json) = (array.as_map().value(row), json.as_object().unwrap());
            let keys = entries.column(0).as_string::<i32>();
            entries.len() == json.len()
                && (0..entries.len()).all(|at| same(entries.column(1), at, &json[keys.value(at)]))
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            fields.iter().zip(columns).all(|(field, column)| same(column, row, &json[field.name()]))
        }
        other => panic!("{other} is not expected"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_reads_back_to_the_same_bytes(ty in ty(), seed in any::<u64>()) {
        let case = case(&ty, seed);
        for datum in &case.datums {
            let (text, mut again) = (json(&case, datum), Vec::new());
            if let Err(error) = case.plan.encode(&text, &EncodeOptions::default(), &mut again) {
                panic!("{}\nrefused {text}\n{error:?}", case.text);
            }
            prop_assert_eq!(datum, &again, "{}\ndecoded {}", case.text, text);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parquet_holds_the_values_of_the_datums(ty in ty(), seed in any::<u64>()) {
        let case = case(&ty, seed);
        let plan = ArrowPlan::compile(&case.schema).unwrap();
        let datums: Vec<&[u8]> = case.datums.iter().map(Vec::as_slice).collect();
        let decoded = plan.decoder(VALUES).unwrap().decode(&datums).unwrap();
        prop_assert!(decoded.rejected.is_empty(), "{}\n{:?}", case.text, decoded.rejected);
        let batch = decoded.batch.unwrap();
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, plan.arrow_schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap().build().unwrap();
        let back = reader.next().unwrap().unwrap();
        prop_assert_eq!(&back, &batch);
        let is_record = matches!(ty, Ty::Record(_));
        for (row, datum) in datums.iter().enumerate() {
            let json: Json = serde_json::from_str(&json(&case, datum)).unwrap();
            for (column, field) in back.columns().iter().zip(plan.arrow_schema().fields()) {
                let json = if is_record { &json[field.name()] } else { &json };
                prop_assert!(same(column, row, json), "{}\n{}: {}", case.text, field.name(), json);
            }
        }
    }
}
