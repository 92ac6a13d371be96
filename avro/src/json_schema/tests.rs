//! The described JSON against the encoder: a schema's words, its examples, and small changes of them.

use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Examples, Options, of};
use crate::{
    encode::EncodeOptions,
    event::{DEFAULT_ENVELOPE, EventContext, EventEncoder, EventOptions, Item, describe},
    plan::Plan,
    schema::{Schema, arbitrary},
};

fn schema(text: &str) -> Schema {
    Schema::parse(text, &[]).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Checks formats too, and that the description is itself a JSON Schema.
fn validator(described: &Value) -> Validator {
    assert!(jsonschema::meta::is_valid(described), "{described:#}");
    jsonschema::options()
        .should_validate_formats(true)
        .build(described)
        .unwrap_or_else(|e| panic!("{e}: {described:#}"))
}

fn described(text: &str) -> Value {
    of(&schema(text), &Options::default())
}

#[test]
fn types_in_words() {
    for (avro, expected) in [
        (r#""null""#, json!({"type": "null"})),
        (r#"["null","string"]"#, json!({"type": ["string", "null"]})),
        (r#"{"type":"array","items":"boolean"}"#, json!({"type": "array", "items": {"type": "boolean"}})),
        (
            r#"{"type":"map","values":"double"}"#,
            json!({"type": "object", "additionalProperties": {"type": "number", "format": "double"}}),
        ),
        (r#"["null",{"type":"string","logicalType":"uuid"}]"#, json!({"type": ["string", "null"], "format": "uuid"})),
        (
            r#"["null","string","boolean"]"#,
            json!({"anyOf": [{"type": "string"}, {"type": "boolean"}, {"type": "null"}]}),
        ),
        (
            r#"{"type":"enum","name":"n.E","doc":"Which.","symbols":["A","B"]}"#,
            json!({"$ref": "#/$defs/n.E", "$defs": {"n.E": {"title": "E", "description": "Which.", "type": "string", "enum": ["A", "B"]}}}),
        ),
        (
            r#"["string","bytes"]"#,
            json!({"anyOf": [
                {"type": "string"},
                {"type": "string", "contentEncoding": "base64", "pattern": super::leaf::describe(&crate::schema::Node::Bytes)["pattern"]},
                {"type": "object", "properties": {"string": {"type": "string"}}, "required": ["string"], "additionalProperties": false},
                {"type": "object", "properties": {"bytes": {
                    "type": "string", "contentEncoding": "base64", "pattern": super::leaf::describe(&crate::schema::Node::Bytes)["pattern"]
                }}, "required": ["bytes"], "additionalProperties": false},
            ]}),
        ),
    ] {
        assert_eq!(described(avro), expected, "{avro}");
    }
}

#[test]
fn records_in_words() {
    let text = r#"{"type":"record","name":"a.Tree","doc":"A tree.","fields":[
        {"name":"left","type":["null","Tree"],"default":null,"doc":"Smaller."},
        {"name":"n","type":"int","default":7},
        {"name":"b","type":"bytes","default":"\u00ff"},
        {"name":"when","type":{"type":"int","logicalType":"date"},"doc":"Day."}]}"#;
    let tree = &described(text)["$defs"]["a.Tree"];
    assert_eq!((&tree["title"], &tree["description"]), (&json!("Tree"), &json!("A tree.")));
    assert_eq!((&tree["required"], &tree["additionalProperties"]), (&json!(["when"]), &json!(false)));
    let of = |name: &str| &tree["properties"][name];
    assert_eq!(
        *of("left"),
        json!({"anyOf": [{"$ref": "#/$defs/a.Tree"}, {"type": "null"}], "description": "Smaller.", "default": null})
    );
    assert_eq!(of("n")["default"], 7);
    assert_eq!(of("b").get("default"), None, "bytes are written otherwise in an event");
    assert_eq!(of("when")["description"], "Day. (YYYY-MM-DD, or days since 1970-01-01)");
    let elsewhere = super::of(&schema(text), &Options { at: "#/components/schemas/t", ignore_unknown: true });
    assert_eq!(elsewhere["$ref"], "#/components/schemas/t/$defs/a.Tree");
    assert_eq!(elsewhere["$defs"]["a.Tree"].get("additionalProperties"), None);
}

#[test]
fn scalars_at_their_edges() {
    for (avro, good, bad) in [
        (r#""int""#, vec!["2147483647", "-2147483648"], vec!["2147483648", "1.5", "\"1\""]),
        (r#""long""#, vec!["9223372036854775807", "-9223372036854775808"], vec!["9223372036854775808"]),
        (r#""float""#, vec!["3.4e38", "1"], vec!["1e39"]),
        (r#""bytes""#, vec!["\"\"", "\"AA==\"", "\"AAA=\""], vec!["\"A\"", "\"AB==\"", "\"AAB=\"", "\"AAAA=\""]),
        (r#"{"type":"fixed","name":"F","size":2}"#, vec!["\"AAA=\""], vec!["\"AA==\"", "\"AAAA\"", "\"\""]),
        (r#"{"type":"fixed","name":"F","size":0}"#, vec!["\"\""], vec!["\"AA==\""]),
        (r#"{"type":"int","logicalType":"date"}"#, vec!["\"2024-02-29\"", "-1"], vec!["\"2023-02-29\"", "\"x\""]),
        (
            r#"{"type":"int","logicalType":"time-millis"}"#,
            vec!["\"23:59:59\"", "\"00:00:00.1230000\"", "7"],
            vec!["\"24:00:00\"", "\"00:00:00.1234\"", "\"00:00:00.\""],
        ),
        (
            r#"{"type":"long","logicalType":"timestamp-millis"}"#,
            vec!["\"2026-01-31T12:00:00.001Z\"", "0"],
            vec!["\"2026-01-31T12:00:00\"", "\"2026-01-31\"", "true"],
        ),
        (
            r#"{"type":"long","logicalType":"local-timestamp-micros"}"#,
            vec!["\"2026-01-31T12:00:00.000001\""],
            vec!["\"2026-01-31T12:00:00Z\"", "\"2026-01-31T12:00:00.0000001\""],
        ),
        (
            r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#,
            vec!["\"99.99\"", "12.5", "-99.99", "\"1e1\""],
            vec!["100", "-100", "\"x\"", "\"1.\"", "null"],
        ),
        (
            r#"{"type":"string","logicalType":"uuid"}"#,
            vec!["\"0197c3f0-0000-7000-8000-000000000001\""],
            vec!["\"0197c3f0000070008000000000000001\"", "\"\""],
        ),
    ] {
        let schema = schema(avro);
        let (plan, validator) = (Plan::compile(&schema).unwrap(), validator(&of(&schema, &Options::default())));
        for (texts, fits) in [(good, true), (bad, false)] {
            for text in texts {
                let encoded = plan.encode(text, &EncodeOptions::default(), &mut Vec::new());
                assert_eq!(encoded.is_ok(), fits, "the encoder: {avro} {text} {encoded:?}");
                let value: Value = serde_json::from_str(text).unwrap();
                assert_eq!(validator.is_valid(&value), fits, "the description: {avro} {text}");
            }
        }
    }
}

#[test]
fn what_can_grow_is_bounded() {
    // Each record holds the next one twice: in full, more values than any memory holds.
    let mut text = String::from("\"int\"");
    for level in 0..20 {
        text = format!(
            r#"{{"type":"record","name":"R{level}","fields":[{{"name":"a","type":{text}}},{{"name":"b","type":{}}}]}}"#,
            if level == 0 { "\"int\"".to_owned() } else { format!("\"R{}\"", level - 1) }
        );
    }
    let wide = schema(&text);
    assert!(of(&wide, &Options::default()).to_string().len() < text.len() * 3);
    assert_eq!(Examples::new(&wide, false).value(wide.root()), None);
    // Unions of a map and a record tag their branches at each level.
    let mut text = String::from("\"int\"");
    for level in 0..20 {
        text = format!(r#"{{"type":"map","values":[{text},{{"type":"record","name":"R{level}","fields":[]}}]}}"#);
    }
    assert!(of(&schema(&text), &Options::default()).to_string().len() < text.len() * 20);
    let huge = schema(
        r#"{"type":"record","name":"R","fields":[{"name":"f","type":{"type":"fixed","name":"F","size":2147483647}}]}"#,
    );
    let described = describe(&huge, &EventOptions::default(), &[], "#").unwrap();
    assert_eq!(described.example, None);
}

#[test]
fn recursive_types_have_examples() {
    for text in [
        r#"{"type":"record","name":"R","fields":[{"name":"next","type":["null","R"],"default":null}]}"#,
        r#"{"type":"record","name":"R","fields":[{"name":"next","type":["R","null"]}]}"#,
        r#"{"type":"record","name":"R","fields":[{"name":"items","type":{"type":"array","items":"R"}}]}"#,
        r#"{"type":"record","name":"R","fields":[{"name":"m","type":["string",{"type":"map","values":"R"}]}]}"#,
    ] {
        let described = describe(&schema(text), &EventOptions::default(), &[], "#").unwrap();
        assert!(validator(&described.json_schema).is_valid(&described.example.expect(text)), "{text}");
    }
}

const ENVELOPE: &str = r#"{"name":"event_id","type":"string"},{"name":"event_type","type":"string"},
    {"name":"timestamp","type":{"type":"long","logicalType":"timestamp-micros"}}"#;

/// Each case: further fields of an envelope, or with a leading `!` those of a plain record.
const EVENTS: &[&str] = &[
    r#"{"name":"payload","type":"string"}"#,
    r#"{"name":"payload","type":["null","string"]},{"name":"user_id","type":"string"}"#,
    r#"{"name":"payload","type":"string"},{"name":"user_id","type":"string"},{"name":"device_id","type":"string"}"#,
    r#"{"name":"payload","type":"string"},{"name":"metadata","type":{"type":"map","values":"string"}}"#,
    r#"{"name":"payload","type":"string"},{"name":"metadata","type":{"type":"map","values":"long"}}"#,
    r#"{"name":"payload","type":"string"},{"name":"metadata","type":["null",{"type":"map","values":"long"}]}"#,
    r#"{"name":"payload","type":"string"},{"name":"correlation_id","type":"string"},{"name":"tenant","type":["null","string"]},{"name":"received_at","type":"long"}"#,
    r#"{"name":"payload","type":{"type":"map","values":"long"}},{"name":"user_id","type":"string"}"#,
    r#"{"name":"payload","type":{"type":"record","name":"P","fields":[{"name":"n","type":"int"}]}},{"name":"user_id","type":"string"}"#,
    r#"{"name":"payload","type":{"type":"record","name":"P","fields":[{"name":"user_id","type":"long"}]}},{"name":"user_id","type":"string"}"#,
    r#"{"name":"payload","type":["null","string",{"type":"record","name":"P","fields":[{"name":"n","type":"int"}]},{"type":"map","values":"string"}]}"#,
    r#"{"name":"payload","type":"string"},{"name":"metadata","type":{"type":"record","name":"M","fields":[{"name":"source","type":"string"}]}}"#,
    r#"!{"name":"n","type":"int"}"#,
    r#"!{"name":"event_id","type":"string"},{"name":"timestamp","type":"string"},{"name":"n","type":"int"}"#,
    r#"!{"name":"metadata","type":{"type":"map","values":"string"}},{"name":"n","type":"int","default":1}"#,
    r#"!{"name":"metadata","type":["null",{"type":"record","name":"M","fields":[{"name":"source","type":"string"}]}],"default":null}"#,
    r#"!{"name":"metadata","type":{"type":"record","name":"M","fields":[{"name":"source","type":"string"}]}},{"name":"self","type":["null","R"]}"#,
];

fn event_schema(case: &str) -> String {
    let fields = case.strip_prefix('!').map_or_else(|| format!("{ENVELOPE},{case}"), str::to_owned);
    format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
}

/// Whether the encoder takes an event.
fn encodes(encoder: &EventEncoder, options: &EventOptions, event: &Value) -> bool {
    let (text, context) = (event.to_string(), EventContext { received_at_ms: 0, correlation_id: "c", tenant: None });
    encoder.one(&text, options, &context).is_ok_and(|batch| matches!(batch.items[..], [Item::Encoded(_)]))
}

/// Every event that differs from this one in a single place.
fn changes(event: &Value) -> Vec<Value> {
    let mut places = Vec::new();
    pointers(event, String::new(), &mut places);
    let mut changed = Vec::new();
    for (place, is_object) in places {
        let others = [
            json!(null),
            json!(true),
            json!(1),
            json!(-3_000_000_000_i64),
            json!(2.5),
            json!("x"),
            json!([]),
            json!({}),
        ];
        for other in others {
            let mut event = event.clone();
            *event.pointer_mut(&place).unwrap() = other;
            changed.push(event);
        }
        if let Some((parent, name)) = place.rsplit_once('/') {
            let mut event = event.clone();
            if let Some(Value::Object(parent)) = event.pointer_mut(parent) {
                parent.remove(name);
                changed.push(event);
            }
        }
        if is_object {
            let mut event = event.clone();
            event.pointer_mut(&place).unwrap()["another"] = json!(1);
            changed.push(event);
        }
    }
    changed
}

fn pointers(value: &Value, at: String, places: &mut Vec<(String, bool)>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| pointers(value, format!("{at}/{name}"), places))
        }
        Value::Array(items) => (0..).zip(items).for_each(|(i, value)| pointers(value, format!("{at}/{i}"), places)),
        _ => {}
    }
    places.push((at, value.is_object()));
}

/// The example encodes; of it and all its changes, the description accepts exactly what the encoder takes.
fn agrees(text: &str, options: &EventOptions) {
    let schema = schema(text);
    let Ok(encoder) = EventEncoder::compile(&schema, 1) else { return };
    let described = describe(&schema, options, &[], "#").unwrap();
    let validator = validator(&described.json_schema);
    let example = described.example.unwrap_or_else(|| panic!("no example: {text}"));
    assert!(encodes(&encoder, options, &example), "{text} {example}");
    assert!(validator.is_valid(&example), "{:#} {example}", described.json_schema);
    for event in changes(&example) {
        let (taken, accepted) = (encodes(&encoder, options, &event), validator.is_valid(&event));
        assert_eq!(accepted, taken, "accepted, and taken\n{text}\n{:#}\n{event}", described.json_schema);
    }
}

#[test]
fn events_of_every_shape() {
    agrees(DEFAULT_ENVELOPE, &EventOptions::default());
    for case in EVENTS {
        for ignore_unknown in [false, true] {
            for generate in [false, true] {
                let options = EventOptions {
                    ignore_unknown,
                    generate_event_id: generate,
                    generate_timestamp: generate,
                    ..EventOptions::default()
                };
                agrees(&event_schema(case), &options);
            }
        }
    }
}

#[test]
fn the_example_has_the_key_that_its_topic_wants() {
    let options = EventOptions::default();
    let key = |case: &str, pointers: &[&str]| {
        let pointers: Vec<String> = pointers.iter().map(|&p| p.to_owned()).collect();
        let example = describe(&schema(&event_schema(case)), &options, &pointers, "#").unwrap().example.unwrap();
        pointers.iter().find_map(|pointer| example.pointer(pointer).cloned())
    };
    let text = EVENTS[0];
    assert_eq!(key(text, &["/payload/user_id"]), Some(json!("user-1")));
    assert_eq!(key(text, &["/payload/order/id"]), Some(json!("key-1")));
    assert_eq!(key(text, &["/metadata/a~1b"]), Some(json!("key-1")));
    assert_eq!(key("!{\"name\":\"n\",\"type\":\"int\"}", &["/payload/n"]), Some(json!(1)));
    assert_eq!(key("!{\"name\":\"n\",\"type\":\"int\"}", &["/payload/m", "/metadata/m"]), Some(json!("key-1")));
    assert_eq!(
        key("!{\"name\":\"n\",\"type\":\"int\"}", &["/payload/m"]),
        None,
        "no room for it: the example stays as it is"
    );
}

/// Types beyond those of [`arbitrary`]; `@` becomes a name of its own.
const MORE_TYPES: &[&str] = &[
    r#"{"type":"bytes","logicalType":"decimal","precision":5,"scale":2}"#,
    r#"{"type":"bytes","logicalType":"decimal","precision":2,"scale":2}"#,
    r#"{"type":"fixed","name":"@","size":9,"logicalType":"decimal","precision":20,"scale":0}"#,
    r#"{"type":"string","logicalType":"uuid"}"#,
    r#"{"type":"fixed","name":"@","size":16,"logicalType":"uuid"}"#,
    r#"{"type":"int","logicalType":"time-millis"}"#,
    r#"{"type":"long","logicalType":"time-micros"}"#,
    r#"{"type":"long","logicalType":"timestamp-millis"}"#,
    r#"{"type":"long","logicalType":"timestamp-nanos"}"#,
    r#"{"type":"long","logicalType":"local-timestamp-nanos"}"#,
    r#"["string","long","null"]"#,
    r#"["int","double","boolean"]"#,
    r#"["null",{"type":"record","name":"@","fields":[{"name":"x","type":"int"}]},{"type":"map","values":"string"}]"#,
    r#"[{"type":"enum","name":"@","symbols":["A"]},"int",{"type":"array","items":"int"}]"#,
    r#"["null",{"type":"record","name":"@","fields":[{"name":"again","type":["null","@"],"default":null},{"name":"all","type":{"type":"array","items":"@"}}]}]"#,
];

fn any_field() -> impl Strategy<Value = (String, Option<&'static str>)> {
    prop_oneof![
        arbitrary::tree().prop_map(|tree| (tree.text("@"), None)),
        prop::sample::select(MORE_TYPES).prop_map(|text| (text.to_owned(), None)),
        Just((r#"["null","string"]"#.to_owned(), Some("null"))),
        Just((r#""string""#.to_owned(), Some("\"d\""))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn generated_schemas(fields in prop::collection::vec(any_field(), 0..4), typed in any::<bool>()) {
        let field = |(i, (text, default)): (usize, &(String, Option<&str>))| {
            let default = default.map_or_else(String::new, |default| format!(r#","default":{default}"#));
            format!(r#"{{"name":"f{i}","type":{}{default}}}"#, text.replace('@', &format!("T{i}")))
        };
        let fields: Vec<String> = fields.iter().enumerate().map(field).collect();
        let record = format!(r#"{{"type":"record","name":"n.Root","fields":[{}]}}"#, fields.join(","));
        let text = if typed { event_schema(&format!(r#"{{"name":"payload","type":{record}}}"#)) } else { record };
        agrees(&text, &EventOptions::default());
    }
}
