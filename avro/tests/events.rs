//! Events to records: the three shapes, what fills their fields, and what is refused with which words.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use forebay_avro::{
    event::{
        Batch, BodyError, DEFAULT_ENVELOPE, Encoded, EventContext, EventEncoder, EventOptions, Item, Refusal, Shape,
    },
    schema::Schema,
    violation::Violation,
};

const CONTEXT: EventContext<'static> =
    EventContext { received_at_ms: 1_700_000_000_000, correlation_id: "request-1", tenant: None };

fn encoder(schema: &str) -> EventEncoder {
    EventEncoder::compile(&Schema::parse(schema, &[]).unwrap(), 7).unwrap()
}

fn encoded<'b, 'a>(batch: &'b Batch<'a>) -> &'b Encoded<'a> {
    match &batch.items[0] {
        Item::Encoded(encoded) => encoded,
        Item::Invalid(invalid) => panic!("refused: {:#?}", invalid.why),
    }
}

fn violations<'b>(batch: &'b Batch<'_>, index: usize) -> &'b [Violation] {
    match &batch.items[index] {
        Item::Invalid(invalid) => match &invalid.why {
            Refusal::Violations(violations) => violations,
            too_large => panic!("{too_large:?}"),
        },
        Item::Encoded(_) => panic!("accepted"),
    }
}

/// Pointer and type of each violation.
fn places(violations: &[Violation]) -> Vec<(String, &'static str)> {
    violations.iter().map(|v| (v.pointer(), v.kind)).collect()
}

fn string(text: &str) -> Vec<u8> {
    let mut out = vec![u8::try_from(text.len() * 2).unwrap()];
    out.extend(text.bytes());
    out
}

#[test]
fn default_envelope_keeps_the_payload_as_compact_text() {
    let encoder = encoder(DEFAULT_ENVELOPE);
    assert_eq!(encoder.shape(), Shape::TextEnvelope);
    let body = r#" {"payload": { "n" : 1.50, "s":"a \" b" , "user_id":42 }, "event_id":"e1", "timestamp":"1970-01-01 00:00:00.0019", "event_type":"t"} "#;
    let batch = encoder.one(body, &EventOptions::default(), &CONTEXT).unwrap();
    let event = encoded(&batch);
    let mut expected = vec![0, 0, 0, 0, 7];
    expected.extend(string("e1"));
    expected.push(2);
    expected.extend(string("t"));
    expected.push(2);
    expected.extend(string("42"));
    expected.extend(string(r#"{"n":1.50,"s":"a \" b","user_id":42}"#));
    assert_eq!(&batch.arena[event.value.clone()], expected);
    assert_eq!((&*event.event_id, &*event.event_type, event.timestamp_ns), ("e1", "t", 1_900_000));
    assert_eq!(event.payload, r#"{ "n" : 1.50, "s":"a \" b" , "user_id":42 }"#);
    assert_eq!(event.json, body.trim());
    assert!(!event.metadata_in_value);
}
