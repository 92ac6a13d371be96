//! The order of members, of the event and within it, changes no byte of the record.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use forebay_avro::{
    event::{DEFAULT_ENVELOPE, EventContext, EventEncoder, EventOptions, Item},
    schema::Schema,
};
use proptest::prelude::*;

const CONTEXT: EventContext<'static> =
    EventContext { received_at_ms: 5, correlation_id: "request-1", tenant: Some("acme") };

const TYPED: &str = r#"{"type":"record","name":"T","fields":[
    {"name":"metadata","type":{"type":"map","values":"string"}},
    {"name":"event_id","type":"string"},{"name":"event_type","type":"string"},
    {"name":"payload","type":{"type":"record","name":"P","fields":[
        {"name":"a","type":"int"},{"name":"b","type":["null","string"]},{"name":"user_id","type":"string"},
        {"name":"c","type":{"type":"array","items":"double"},"default":[]}]}},
    {"name":"user_id","type":["null","string"]},
    {"name":"timestamp","type":{"type":"long","logicalType":"timestamp-micros"}}]}"#;

const PLAIN: &str = r#"{"type":"record","name":"P","fields":[
    {"name":"a","type":"int"},{"name":"event_id","type":"string"},{"name":"b","type":["null","string"]},
    {"name":"metadata","type":["null",{"type":"map","values":"string"}],"default":null},{"name":"user_id","type":"string"},
    {"name":"timestamp","type":["null","string"]},{"name":"c","type":{"type":"array","items":"double"},"default":[]}]}"#;

fn object(members: &[&str]) -> String {
    format!("{{{}}}", members.join(","))
}

fn value(encoder: &EventEncoder, body: &str) -> Vec<u8> {
    let batch = encoder.one(body, &EventOptions::default(), &CONTEXT).unwrap();
    match &batch.items[0] {
        Item::Encoded(encoded) => batch.arena[encoded.value.clone()].to_vec(),
        Item::Invalid(invalid) => panic!("{body}: {:?}", invalid.why),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_is_nothing(
        payload in prop::sample::subsequence(vec![r#""a":1"#, r#""b":"x""#, r#""user_id":"u""#, r#""c":[1.5]"#], 4).prop_shuffle(),
        names in Just(vec!["event_id", "timestamp", "event_type", "payload", "metadata"]).prop_shuffle(),
        with_c in any::<bool>(),
    ) {
        let keep = |text: &&&str| with_c || !text.starts_with("\"c\"");
        let sorted = |mut list: Vec<&'static str>| { list.sort_unstable(); list };
        let given: Vec<&str> = payload.iter().filter(keep).copied().collect();
        let event = |names: &[&str], payload: &[&str]| {
            let members: Vec<String> = names.iter().map(|name| match *name {
                "event_id" => r#""event_id":"e""#.into(),
                "timestamp" => r#""timestamp":"2026-01-31T01:00:00.5+01:00""#.into(),
                "event_type" => r#""event_type":"t""#.into(),
                "payload" => format!(r#""payload":{}"#, object(payload)),
                _ => r#""metadata":{"source":"s"}"#.into(),
            }).collect();
            object(&members.iter().map(|member| &**member).collect::<Vec<_>>())
        };
        let straight = event(&["event_id", "timestamp", "event_type", "payload", "metadata"], &sorted(given.clone()));
        let shuffled = event(&names, &given);
        for schema in [TYPED, PLAIN] {
            let encoder = EventEncoder::compile(&Schema::parse(schema, &[]).unwrap(), 1).unwrap();
            prop_assert_eq!(value(&encoder, &straight), value(&encoder, &shuffled), "{}", shuffled);
        }
        // A payload kept as text keeps its order too; the rest of the envelope has none.
        let encoder = EventEncoder::compile(&Schema::parse(DEFAULT_ENVELOPE, &[]).unwrap(), 1).unwrap();
        prop_assert_eq!(value(&encoder, &event(&names, &given)), value(&encoder, &event(&["metadata", "payload", "event_type", "timestamp", "event_id"], &given)));
    }
}

#[test]
fn plain_record_in_any_order_equals_the_bytes_by_hand() {
    let encoder = EventEncoder::compile(&Schema::parse(PLAIN, &[]).unwrap(), 1).unwrap();
    let body = r#"{"metadata":{"k":"v"},"payload":{"user_id":"u","a":1,"b":null},"event_type":"t","timestamp":"2026-01-31T01:00:00.5+01:00","event_id":"e"}"#;
    let mut expected = vec![0, 0, 0, 0, 1, 2, 2, b'e', 0, 2, 2, 2, b'k', 2, b'v', 0, 2, b'u', 2, 48];
    expected.extend(b"2026-01-31T00:00:00.500Z");
    expected.push(0);
    assert_eq!(value(&encoder, body), expected);
}
