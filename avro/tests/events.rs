//! Events to records: the three shapes, what fills their fields, and what is refused with which words.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use forebay_avro::{
    event::{
        Batch, BodyError, DEFAULT_ENVELOPE, Encoded, EventContext, EventEncoder, EventOptions, Invalid, Item, Refusal,
        Shape,
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

const TYPED: &str = r#"{"type":"record","name":"Order","fields":[
    {"name":"received_at","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"event_id","type":"string"},
    {"name":"timestamp","type":"long"},
    {"name":"event_type","type":"string"},
    {"name":"device_id","type":["string","null"]},
    {"name":"tenant","type":["null","string"]},
    {"name":"correlation_id","type":"string"},
    {"name":"version","type":"int","default":3},
    {"name":"metadata","type":["null",{"type":"map","values":"string"}]},
    {"name":"payload","type":{"type":"record","name":"P","fields":[
        {"name":"amount","type":"double"},
        {"name":"status","type":{"type":"enum","name":"S","symbols":["OPEN","CLOSED"]}},
        {"name":"lines","type":{"type":"array","items":{"type":"record","name":"L","fields":[{"name":"sku","type":"string"},{"name":"n","type":"int"}]}},"default":[]}]}}]}"#;

const PLAIN: &str = r#"{"type":"record","name":"Reading","fields":[
    {"name":"event_id","type":["null","string"],"default":null},
    {"name":"sensor","type":"string"},
    {"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"event_type","type":"string"},
    {"name":"metadata","type":{"type":"map","values":"string"},"default":{}},
    {"name":"value","type":"double","default":0}]}"#;

fn event(payload: &str, rest: &str) -> String {
    format!(r#"{{"event_id":"e","timestamp":"1970-01-01T00:00:01Z","event_type":"t","payload":{payload}{rest}}}"#)
}

fn options() -> EventOptions {
    EventOptions::default()
}

#[test]
fn typed_envelope_fills_every_field_from_its_source() {
    let encoder = encoder(TYPED);
    assert_eq!((encoder.shape(), encoder.schema_id()), (Shape::TypedEnvelope, 7));
    let metadata =
        r#","metadata":{"device_id":17,"correlation_id":"own-1","nested":{"a": [1, 2]},"ok":true,"none":null}"#;
    let body = event(r#"{"status":"CLOSED","amount":1}"#, metadata);
    let context = EventContext { tenant: Some("acme"), ..CONTEXT };
    let batch = encoder.one(&body, &options(), &context).unwrap();
    let event = encoded(&batch);
    assert!(event.metadata_in_value);
    let mut expected = vec![0, 0, 0, 0, 7];
    expected.extend([0x80, 0x80, 0xf2, 0x81, 0x83, 0x89, 0x85, 0x06]); // 1.7e15 µs
    expected.extend(string("e"));
    expected.extend([0xd0, 0x0f]);
    expected.extend(string("t"));
    expected.push(0);
    expected.extend(string("17"));
    expected.push(2);
    expected.extend(string("acme"));
    expected.extend(string("own-1"));
    expected.push(6);
    expected.extend([2, 10]);
    for (key, value) in [
        ("device_id", "17"),
        ("correlation_id", "own-1"),
        ("nested", r#"{"a":[1,2]}"#),
        ("ok", "true"),
        ("none", "null"),
    ] {
        expected.extend(string(key));
        expected.extend(string(value));
    }
    expected.push(0);
    expected.extend(1f64.to_le_bytes());
    expected.extend([2, 0]);
    assert_eq!(&batch.arena[event.value.clone()], expected);
}

#[test]
fn typed_envelope_without_metadata_takes_nulls_and_the_requests_correlation_id() {
    let encoder = encoder(TYPED);
    for rest in ["", r#","metadata":null"#] {
        let body = event(r#"{"status":"OPEN","amount":1}"#, rest);
        let batch = encoder.one(&body, &options(), &CONTEXT).unwrap();
        let event = encoded(&batch);
        assert_eq!(event.metadata, None);
        let value = &batch.arena[event.value.clone()];
        let mut middle = string("t");
        middle.push(2); // device_id: null
        middle.push(0); // tenant: null
        middle.extend(string("request-1"));
        middle.extend([6, 0]); // version 3, metadata null
        assert!(value.windows(middle.len()).any(|window| window == middle), "{value:?}");
    }
}

#[test]
fn three_bad_things_come_back_in_one_answer() {
    let body = event(r#"{"status":"CLSED","lines":[{"sku":"a","n":1},{"sku":"b","n":"two"}]}"#, "");
    let batch = encoder(TYPED).one(&body, &options(), &CONTEXT).unwrap();
    let found = violations(&batch, 0);
    let places = places(found);
    let expected = [("/payload/status", "enum"), ("/payload/lines/1/n", "int_type"), ("/payload/amount", "missing")];
    assert_eq!(places, expected.map(|(at, kind)| (at.to_owned(), kind)));
    assert!(found[0].msg.contains("did you mean \"CLOSED\"?"), "{}", found[0].msg);
    assert_eq!(found[1].expected.as_deref(), Some("int"));
    assert_eq!(found[1].got.as_deref(), Some("\"two\""));
    assert!(batch.arena.is_empty(), "nothing of a refused event stays");
}

#[test]
fn plain_record_is_filled_with_what_the_payload_lacks() {
    let encoder = encoder(PLAIN);
    assert_eq!(encoder.shape(), Shape::PlainRecord);
    let record = |id: &str, sensor: &str, millis: u8, kind: &str, metadata: &[u8], value: f64| {
        let mut out = vec![0, 0, 0, 0, 7, 2];
        out.extend(string(id));
        out.extend(string(sensor));
        out.extend([millis, 0x0f]);
        out.extend(string(kind));
        out.extend(metadata);
        out.extend(value.to_le_bytes());
        out
    };
    let meta: &[u8] = &[2, 2, b'a', 2, b'b', 0];
    for (body, expected, in_value) in [
        // Members of the payload in any order, metadata behind or before it, or in it.
        (event(r#"{"value":1.5,"sensor":"s"}"#, ""), record("e", "s", 0xd0, "t", &[0], 1.5), false),
        (event(r#"{"sensor":"s"}"#, r#","metadata":{"a":"b"}"#), record("e", "s", 0xd0, "t", meta, 0.0), true),
        (
            r#"{"metadata":{"a":"b"},"payload":{"sensor":"s"},"event_type":"t","timestamp":"1970-01-01T00:00:01Z","event_id":"e"}"#.into(),
            record("e", "s", 0xd0, "t", meta, 0.0),
            true,
        ),
        (
            event(r#"{"metadata":{"a":"b"},"event_id":"own","sensor":"s","event_type":"x","timestamp":1001}"#, r#","metadata":{"z":"z"}"#),
            record("own", "s", 0xd2, "x", meta, 0.0),
            false,
        ),
    ] {
        let batch = encoder.one(&body, &options(), &CONTEXT).unwrap();
        let event = encoded(&batch);
        assert_eq!(&batch.arena[event.value.clone()], expected, "{body}");
        assert_eq!(event.metadata_in_value, in_value, "{body}");
        assert_eq!((&*event.event_id, &*event.event_type), ("e", "t"));
    }
    let batch = encoder.one(&event("{}", ""), &options(), &CONTEXT).map(|b| places(violations(&b, 0)));
    assert_eq!(batch.unwrap(), [("/payload/sensor".to_owned(), "missing")]);
}

#[test]
fn finer_timestamps_are_cut_in_the_envelope_only() {
    let encoder = encoder(PLAIN);
    let cut = r#"{"event_id":"e","timestamp":"1969-12-31T23:59:59.9999Z","event_type":"t","payload":{"sensor":"s"}}"#;
    let batch = encoder.one(cut, &options(), &CONTEXT).unwrap();
    assert_eq!(encoded(&batch).timestamp_ns, -100_000);
    assert!(batch.arena.windows(3).any(|window| window == [b's', 1, 2]), "-1 ms, towards the past");
    let body = event(r#"{"sensor":"s","timestamp":"1970-01-01T00:00:00.0001Z"}"#, "");
    let batch = encoder.one(&body, &options(), &CONTEXT).unwrap();
    assert_eq!(places(violations(&batch, 0)), [("/payload/timestamp".to_owned(), "datetime_parsing")]);
}

#[test]
fn event_rules() {
    let encoder = encoder(DEFAULT_ENVELOPE);
    let long = |n: usize| "x".repeat(n);
    let with = |id: &str, time: &str, kind: &str, rest: &str| {
        format!(r#"{{"event_id":{id},"timestamp":{time},"event_type":{kind},"payload":{{}}{rest}}}"#)
    };
    let (id, time, kind) = (r#""e""#, r#""2026-01-31T00:00:00Z""#, r#""t""#);
    let accepted = [
        with(&format!("\"{}\"", long(128)), time, kind, ""),
        with(r#"" ~""#, time, kind, ""),
        with(id, r#""2026-01-31 00:00:00.123456789123+02:00""#, kind, ""),
        with(id, time, &format!("\"{}\"", "é".repeat(256)), ""),
        with(id, time, kind, r#","metadata":null"#),
        with(id, time, kind, r#","metadata":{"a":[1,{"b":2}]}"#),
    ];
    for body in accepted {
        let batch = encoder.one(&body, &options(), &CONTEXT).unwrap();
        encoded(&batch);
    }
    for (body, expected) in [
        (with(&format!("\"{}\"", long(129)), time, kind, ""), vec![("/event_id", "string_too_long")]),
        (with(r#""""#, time, kind, ""), vec![("/event_id", "string_too_short")]),
        (with(r#""é""#, time, kind, ""), vec![("/event_id", "string_pattern_mismatch")]),
        (with(r#""a\n""#, time, kind, ""), vec![("/event_id", "string_pattern_mismatch")]),
        (with("7", time, kind, ""), vec![("/event_id", "string_type")]),
        (
            with("null", "null", "null", ""),
            vec![("/event_id", "string_type"), ("/timestamp", "datetime_parsing"), ("/event_type", "string_type")],
        ),
        (with(id, "1700000000", kind, ""), vec![("/timestamp", "datetime_parsing")]),
        (with(id, r#""2026-02-30T00:00:00Z""#, kind, ""), vec![("/timestamp", "datetime_parsing")]),
        (with(id, time, r#""""#, ""), vec![("/event_type", "string_too_short")]),
        (with(id, time, &format!("\"{}\"", long(257)), ""), vec![("/event_type", "string_too_long")]),
        (with(id, time, kind, r#","metadata":[]"#), vec![("/metadata", "dict_type")]),
        (with(id, time, kind, r#","metadata":{"a":{"k":1,"k":2}}"#), vec![("/metadata/a/k", "duplicate_key")]),
        (with(id, time, kind, r#","metadata":{"a":"\ud800"}"#), vec![("/metadata/a", "string_unicode")]),
        (with(id, time, kind, r#","user":1"#), vec![("/user", "extra_forbidden")]),
        (with(id, time, kind, r#","event_id":"f""#), vec![("/event_id", "duplicate_key")]),
        (
            with(id, time, kind, r#","payload":{"k":{"k":0,"k":1}}"#),
            vec![("/payload", "duplicate_key"), ("/payload/k/k", "duplicate_key")],
        ),
        (
            "{}".into(),
            vec![
                ("/event_id", "missing"),
                ("/timestamp", "missing"),
                ("/event_type", "missing"),
                ("/payload", "missing"),
            ],
        ),
        (
            r#"{"event_id":"e","timestamp":"2026-01-31T00:00:00Z","event_type":"t","payload":[]}"#.into(),
            vec![("/payload", "dict_type")],
        ),
    ] {
        let batch = encoder.one(&body, &options(), &CONTEXT).unwrap();
        let expected: Vec<(String, &str)> = expected.into_iter().map(|(at, kind)| (at.to_owned(), kind)).collect();
        assert_eq!(places(violations(&batch, 0)), expected, "{body}");
    }
}

#[test]
fn extra_members_are_told_where_to_go() {
    let body = event("{}", r#","metdata":{}"#);
    let batch = encoder(DEFAULT_ENVELOPE).one(&body, &options(), &CONTEXT).unwrap();
    let msg = &violations(&batch, 0)[0].msg;
    assert!(msg.contains("move it into payload or metadata; did you mean \"metadata\"?"), "{msg}");
    let ignore = EventOptions { ignore_unknown: true, ..options() };
    let batch = encoder(DEFAULT_ENVELOPE).one(&body, &ignore, &CONTEXT).unwrap();
    assert_eq!(violations(&batch, 0)[0].kind, "extra_forbidden", "members of the event itself are never dropped");
    let body = event(r#"{"sensor":"s","x":1,"y":[{}]}"#, "");
    let batch = encoder(PLAIN).one(&body, &ignore, &CONTEXT).unwrap();
    assert_eq!(encoded(&batch).ignored_fields, 2);
}

#[test]
fn generated_ids_and_times_only_where_asked_and_absent() {
    let make = EventOptions { generate_event_id: true, generate_timestamp: true, ..options() };
    let encoder = encoder(DEFAULT_ENVELOPE);
    let batch = encoder.one(r#"{"event_type":"t","payload":{}}"#, &make, &CONTEXT).unwrap();
    let event = encoded(&batch);
    assert_eq!((event.event_id.len(), &event.event_id[14..15]), (36, "7"));
    assert_eq!(event.timestamp_ns, 1_700_000_000_000_000_000);
    assert_eq!(&batch.arena[6..42], event.event_id.as_bytes());
    let batch = encoder.one(r#"{"event_id":null,"event_type":"t","payload":{}}"#, &make, &CONTEXT).unwrap();
    assert_eq!(places(violations(&batch, 0)), [("/event_id".to_owned(), "string_type")]);
}

#[test]
fn limits_at_their_edges() {
    let encoder = encoder(DEFAULT_ENVELOPE);
    let body = event(r#"{"n":12345}"#, r#","metadata":{"a": "bcd"}"#);
    let run = |options: &EventOptions| encoder.one(&body, options, &CONTEXT).unwrap();
    let encoded_len = encoded(&run(&options())).value.len();
    for (limit, set, edge) in [
        ("event_bytes", (|o, n| o.event_bytes = n) as fn(&mut EventOptions, usize), body.len()),
        ("record_bytes", |o, n| o.record_bytes = n, encoded_len),
    ] {
        for (allowed, fits) in [(edge - 1, false), (edge, true), (edge + 1, true)] {
            let mut options = options();
            set(&mut options, allowed);
            match &run(&options).items[0] {
                Item::Encoded(_) => assert!(fits, "{limit} {allowed}"),
                Item::Invalid(invalid) => match invalid.why {
                    Refusal::TooLarge { limit: named, bytes, max } => {
                        assert_eq!((named, bytes, max, fits), (limit, edge, allowed, false));
                        assert_eq!(invalid.event_id.as_deref(), Some("e"));
                    }
                    Refusal::Violations(_) => panic!(),
                },
            }
        }
    }
    for (set, edge, kind) in [
        ((|o, n| o.metadata_bytes = n) as fn(&mut EventOptions, usize), r#"{"a":"bcd"}"#.len(), "metadata_too_large"),
        (|o, n| o.number_chars = n, 5, "number_too_long"),
        (|o, n| o.json_depth = n, 2, "json_depth"),
    ] {
        for (allowed, fits) in [(edge - 1, false), (edge, true), (edge + 1, true)] {
            let mut options = options();
            set(&mut options, allowed);
            match (&run(&options).items[0], fits) {
                (Item::Encoded(_), true) => {}
                (Item::Invalid(Invalid { why: Refusal::Violations(found), .. }), false) => {
                    assert_eq!(found[0].kind, kind)
                }
                other => panic!("{kind} {allowed}: {other:?}"),
            }
        }
    }
}

#[test]
fn batches_keep_order_and_stand_alone() {
    let encoder = encoder(DEFAULT_ENVELOPE);
    let good = event(r#"{"a":1}"#, "");
    let deep = event(&format!("{}{}", r#"{"a":"#.repeat(100) + "1", "}".repeat(100)), "");
    let items = format!("[{good}, 5, {deep} , null,\n{good}]");
    for body in [items.clone(), format!(r#"{{"events":{items}}}"#)] {
        let batch = encoder.batch(&body, &options(), &CONTEXT).unwrap();
        assert_eq!(batch.items.len(), 5);
        assert_eq!(places(violations(&batch, 1)), [(String::new(), "dict_type")]);
        assert_eq!(violations(&batch, 2)[0].kind, "json_depth");
        assert_eq!(places(violations(&batch, 3)), [(String::new(), "dict_type")]);
        let values: Vec<&[u8]> = batch
            .items
            .iter()
            .filter_map(|item| match item {
                Item::Encoded(encoded) => Some(&batch.arena[encoded.value.clone()]),
                Item::Invalid(_) => None,
            })
            .collect();
        assert_eq!(values.len(), 2);
        assert_eq!(values[0], values[1]);
        assert_eq!(batch.arena.len(), 2 * values[0].len());
    }
}

#[test]
fn what_a_body_lists_is_limited_over_all_its_events() {
    let wrong = event(
        &format!(
            r#"{{"sensor":[],"value":0,{}}}"#,
            (0..99).map(|n| format!("\"x{n}\":0")).collect::<Vec<_>>().join(",")
        ),
        "",
    );
    let body = format!("[{}]", vec![wrong; 200].join(","));
    let batch = encoder(PLAIN).batch(&body, &options(), &CONTEXT).unwrap();
    let lengths: Vec<usize> = (0..200).map(|index| violations(&batch, index).len()).collect();
    assert_eq!((lengths[0], lengths[99], lengths[100], lengths[199]), (100, 100, 2, 2));
    assert_eq!(violations(&batch, 199)[1].kind, "too_many_errors");
}

#[test]
fn bodies_of_another_shape_are_refused_whole() {
    let encoder = encoder(DEFAULT_ENVELOPE);
    let good = event("{}", "");
    let batch = |body: &str, options: &EventOptions| match encoder.batch(body, options, &CONTEXT) {
        Ok(batch) => format!("{} items", batch.items.len()),
        Err(BodyError::Malformed { line, column, .. }) => format!("malformed {line}:{column}"),
        Err(BodyError::Empty) => "empty".into(),
        Err(BodyError::TooLong { max }) => format!("over {max}"),
        Err(BodyError::Shape(violation)) => format!("{} {}", violation.pointer(), violation.kind),
    };
    for (body, expected) in [
        (format!("[{good},{good}"), "malformed 1:165"),
        (format!("[{good}\n,]"), "malformed 2:2"),
        (String::new(), "malformed 1:1"),
        ("[]".into(), "empty"),
        (r#"{"events":[]}"#.into(), "empty"),
        ("{}".into(), "/events missing"),
        (good.clone(), "/event_id extra_forbidden"),
        ("7".into(), " dict_type"),
        (r#"{"events":{}}"#.into(), "/events list_type"),
        (format!(r#"{{"events":[{good}],"atomic":true}}"#), "/atomic extra_forbidden"),
        (format!(r#"{{"events":[{good}],"events":[]}}"#), "/events duplicate_key"),
        (r#"{"x":1,"events":[1"#.into(), "malformed 1:19"),
    ] {
        assert_eq!(batch(&body, &options()), expected, "{body}");
    }
    for (n, expected) in [(2, "2 items"), (3, "3 items"), (4, "over 3")] {
        let three = EventOptions { batch_events: 3, ..options() };
        assert_eq!(batch(&format!("[{}]", vec![&*good; n].join(",")), &three), expected);
    }
    for (body, expected) in [("[]", "dict_type"), ("\"a\"", "dict_type")] {
        match encoder.one(body, &options(), &CONTEXT) {
            Err(BodyError::Shape(violation)) => {
                assert_eq!((violation.kind, violation.pointer()), (expected, String::new()))
            }
            other => panic!("{other:?}"),
        }
    }
    for body in ["", "{", "{} {}", "[1"] {
        assert!(matches!(encoder.one(body, &options(), &CONTEXT), Err(BodyError::Malformed { .. })), "{body}");
    }
}

#[test]
fn schemas_that_no_event_can_fill_are_refused_with_the_field() {
    let envelope = |fields: &str| {
        format!(
            r#"{{"type":"record","name":"E","fields":[{{"name":"event_id","type":"string"}},{{"name":"event_type","type":"string"}},
            {{"name":"timestamp","type":"long"}},{fields}]}}"#
        )
    };
    let payload = r#"{"name":"payload","type":"string"}"#;
    for (schema, expected) in [
        ("\"string\"".to_owned(), Err("")),
        (r#"["null","string"]"#.to_owned(), Err("")),
        (envelope(&format!(r#"{{"name":"extra","type":"int"}},{payload}"#)), Err("extra")),
        (envelope(&format!(r#"{{"name":"extra","type":"int","default":1}},{payload}"#)), Ok(Shape::TextEnvelope)),
        (envelope(&format!(r#"{{"name":"user_id","type":"long"}},{payload}"#)), Err("user_id")),
        (envelope(&format!(r#"{{"name":"tenant","type":"string"}},{payload}"#)), Err("tenant")),
        (envelope(&format!(r#"{{"name":"metadata","type":"int"}},{payload}"#)), Err("metadata")),
        (envelope(r#"{"name":"payload","type":"long"}"#), Err("payload")),
        (envelope(r#"{"name":"payload","type":["string","null"]}"#), Ok(Shape::TextEnvelope)),
        (envelope(r#"{"name":"payload","type":{"type":"map","values":"string"}}"#), Ok(Shape::TypedEnvelope)),
        (envelope(r#"{"name":"body","type":"string"}"#), Ok(Shape::PlainRecord)),
        (
            envelope(
                r#"{"name":"payload","type":{"type":"map","values":{"type":"fixed","name":"D","size":12,"logicalType":"duration"}}}"#,
            ),
            Err("payload"),
        ),
    ] {
        let compiled = EventEncoder::compile(&Schema::parse(&schema, &[]).unwrap(), 1);
        let shape = compiled.as_ref().map(EventEncoder::shape).map_err(|unsupported| &*unsupported.field);
        assert_eq!(shape, expected, "{schema}");
    }
}
