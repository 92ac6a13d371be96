//! Bodies that are almost right: never a panic, never a value from text that is no JSON, never a gap in the arena.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use forebay_avro::{
    event::{BodyError, DEFAULT_ENVELOPE, EventContext, EventEncoder, EventOptions, Item, Refusal},
    schema::Schema,
    walk::{self, Limits},
};
use proptest::prelude::*;
use serde_json::Value;

const CONTEXT: EventContext<'static> =
    EventContext { received_at_ms: 5, correlation_id: "request-1", tenant: Some("acme") };

const TYPED: &str = r#"{"type":"record","name":"T","fields":[
    {"name":"metadata","type":["null",{"type":"record","name":"M","fields":[{"name":"source","type":"string"}]}]},
    {"name":"event_id","type":{"type":"string","logicalType":"uuid"}},{"name":"event_type","type":"string"},
    {"name":"payload","type":["null",{"type":"record","name":"P","fields":[{"name":"a","type":"int"},
        {"name":"b","type":["null","string",{"type":"map","values":["int","P"]}]},{"name":"user_id","type":"string","default":"x"}]}]},
    {"name":"user_id","type":["null","string"]},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-micros"}}]}"#;

const PLAIN: &str = r#"{"type":"record","name":"P","fields":[
    {"name":"a","type":"int"},{"name":"event_id","type":"string"},{"name":"b","type":["null","string",{"type":"map","values":["int","P"]}]},
    {"name":"metadata","type":"string"},{"name":"user_id","type":"string","default":"x"},
    {"name":"timestamp","type":{"type":"long","logicalType":"timestamp-nanos"}}]}"#;

/// A member of an event, right or almost.
const MEMBERS: &[&str] = &[
    r#""event_id":"00112233-4455-6677-8899-aabbccddeeff""#,
    r#""event_id":"e""#,
    r#""event_id":5"#,
    r#""timestamp":"2026-01-31T01:00:00.5+01:00""#,
    r#""timestamp":"9999-12-31 23:59:59.999999999999""#,
    r#""timestamp":null"#,
    r#""event_type":"t""#,
    r#""event_type":"\ud83d\ude00""#,
    r#""payload":{"a":1,"b":"x"}"#,
    r#""payload":{"b":{"k":1,"l":{"a":2,"b":null}},"a":1,"user_id":"\u0075"}"#,
    r#""payload":{"b":{"map":{"k":{"P":{"a":1,"b":null}}}},"a":1}"#,
    r#""payload":{"a":1,"a":2,"b":[null,{}],"c":{"d":1,"d":2}}"#,
    r#""payload":[]"#,
    r#""metadata":{"source":"s","user_id":7}"#,
    r#""metadata":{"source":"s"}"#,
    r#""metadata":null"#,
    r#""metadata":7"#,
    r#""other":{"x":[1,2,{"y":null}]}"#,
];

/// One member of each name, in any order: an event that mostly passes.
fn whole() -> impl Strategy<Value = Vec<&'static str>> {
    let of = |name| MEMBERS.iter().copied().filter(|member| member.starts_with(name)).collect::<Vec<_>>();
    let of = |name| prop::sample::select(of(name));
    (of("\"event_id"), of("\"timestamp"), of("\"event_type"), of("\"payload"), of("\"metadata"))
        .prop_map(|(id, time, kind, payload, metadata)| vec![id, time, kind, payload, metadata])
        .prop_shuffle()
}

/// A body, then perhaps damaged at one place.
fn body() -> impl Strategy<Value = String> {
    let event = prop_oneof![prop::collection::vec(prop::sample::select(MEMBERS), 0..8), whole()]
        .prop_map(|members| format!("{{{}}}", members.join(", ")));
    let events = prop::collection::vec(event, 1..4);
    let put = prop::sample::select(vec!["", "\"", "}", "{", "]", ",", ":", "0", "\\", "\u{0}", " ", "é", "null"]);
    (events, any::<bool>(), prop::option::of((any::<prop::sample::Index>(), 0..4_usize, put))).prop_map(
        |(events, wrapped, damage)| {
            let list = format!("[{}]", events.join(","));
            let body = if wrapped { format!("{{\"events\":{list}}}") } else { list };
            let Some((at, cut, put)) = damage else { return body };
            let chars: Vec<char> = body.chars().collect();
            let at = at.index(chars.len());
            let end = (at + cut).min(chars.len());
            chars[..at].iter().chain(&put.chars().collect::<Vec<_>>()).chain(&chars[end..]).collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_body_is_answered(body in body(), ignore_unknown in any::<bool>(), generate in any::<bool>(), json_depth in prop::sample::select(vec![1, 3, 64, 64, 64, 64, 64])) {
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&body).is_ok();
        let options = EventOptions {
            ignore_unknown,
            generate_event_id: generate,
            generate_timestamp: generate,
            json_depth,
            ..EventOptions::default()
        };
        for text in [DEFAULT_ENVELOPE, TYPED, PLAIN] {
            let schema = Schema::parse(text, &[]).unwrap();
            let encoder = EventEncoder::compile(&schema, 1).unwrap();
            prop_assert_eq!(matches!(encoder.one(&body, &options, &CONTEXT), Err(BodyError::Malformed { .. })), !is_json);
            let batch = match encoder.batch(&body, &options, &CONTEXT) {
                Err(error) => {
                    prop_assert_eq!(matches!(error, BodyError::Malformed { .. }), !is_json, "{}", body);
                    continue;
                }
                Ok(batch) => batch,
            };
            prop_assert!(is_json, "{}", body);
            let mut end = 0;
            for item in &batch.items {
                match item {
                    Item::Encoded(encoded) => {
                        prop_assert_eq!(encoded.value.start, end);
                        end = encoded.value.end;
                        walk::walk(&schema, &batch.arena[encoded.value.start + 5..end], &Limits::default()).unwrap();
                        let event: Value = serde_json::from_str(encoded.json).unwrap();
                        let payload: Value = serde_json::from_str(encoded.payload).unwrap();
                        prop_assert_eq!(&event["payload"], &payload);
                    }
                    Item::Invalid(invalid) => match &invalid.why {
                        Refusal::Violations(violations) => prop_assert!(!violations.is_empty(), "{}", body),
                        Refusal::TooLarge { .. } => prop_assert!(false),
                    },
                }
            }
            prop_assert_eq!(batch.arena.len(), end);
        }
    }
}
