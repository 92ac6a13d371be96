use super::*;
use crate::{encode::EncodeOptions, plan::Plan};

fn there_and_back(schema: &str, json: &str) -> String {
    let schema = Schema::parse(schema, &[]).unwrap();
    let plan = Plan::compile(&schema).unwrap();
    let mut datum = Vec::new();
    plan.encode(json, &EncodeOptions::default(), &mut datum).unwrap();
    let mut text = String::new();
    to_json(&schema, &datum, &mut text).unwrap();
    let mut again = Vec::new();
    plan.encode(&text, &EncodeOptions::default(), &mut again).unwrap();
    assert_eq!(datum, again, "{json} came back as {text}");
    text
}

#[test]
fn every_type_comes_back() {
    let cases = [
        (r#""null""#, "null", "null"),
        (r#""boolean""#, "true", "true"),
        (r#""long""#, "-9223372036854775808", "-9223372036854775808"),
        (r#""float""#, "0.1", "0.1"),
        (r#""double""#, "1e300", "1e300"),
        (r#""double""#, "-0.0", "-0.0"),
        (r#""string""#, r#""a\"\\\n\u0001é""#, r#""a\"\\\n\u0001é""#),
        (r#""bytes""#, r#""AAEC""#, r#""AAEC""#),
        (r#"{"type":"int","logicalType":"date"}"#, r#""2024-02-29""#, r#""2024-02-29""#),
        (r#"{"type":"int","logicalType":"time-millis"}"#, r#""23:59:59.999""#, r#""23:59:59.999""#),
        (r#"{"type":"long","logicalType":"time-micros"}"#, r#""00:00:00.000001""#, r#""00:00:00.000001""#),
        (
            r#"{"type":"long","logicalType":"timestamp-millis"}"#,
            r#""1969-12-31T23:59:59.5Z""#,
            r#""1969-12-31T23:59:59.500Z""#,
        ),
        (
            r#"{"type":"long","logicalType":"timestamp-micros"}"#,
            r#""2026-01-01T00:00:00.000001Z""#,
            r#""2026-01-01T00:00:00.000001000Z""#,
        ),
        (
            r#"{"type":"long","logicalType":"local-timestamp-millis"}"#,
            r#""2026-01-01T00:00:00""#,
            r#""2026-01-01T00:00:00.000""#,
        ),
        (r#"{"type":"long","logicalType":"timestamp-millis"}"#, "-62167219200000", "-62167219200000"),
        (
            r#"{"type":"bytes","logicalType":"decimal","precision":30,"scale":3}"#,
            r#""-123456789012345678901234.567""#,
            r#""-123456789012345678901234.567""#,
        ),
        (r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":4}"#, r#""-0.0001""#, r#""-0.0001""#),
        (r#"{"type":"bytes","logicalType":"decimal","precision":9}"#, "0", r#""0""#),
        (
            r#"{"type":"fixed","name":"F","size":16,"logicalType":"uuid"}"#,
            r#""f81d4fae-7dec-11d0-a765-00a0c91e6bf6""#,
            r#""f81d4fae-7dec-11d0-a765-00a0c91e6bf6""#,
        ),
        (r#"{"type":"array","items":{"type":"map","values":"int"}}"#, r#"[{"a":1,"b":2},{}]"#, r#"[{"a":1,"b":2},{}]"#),
    ];
    for (schema, json, expected) in cases {
        assert_eq!(there_and_back(schema, json), expected, "{schema}");
    }
}

#[test]
fn an_instant_that_no_date_can_say_is_shown_as_its_integer() {
    let schema = Schema::parse(r#"{"type":"long","logicalType":"timestamp-millis"}"#, &[]).unwrap();
    let mut text = String::new();
    to_json(&schema, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], &mut text).unwrap();
    assert_eq!(text, "9223372036854775807");
}

/// Two types that names tell apart, and a third that is like the first.
const CLICK_OR_VIEW: &str = r#"[
    {"type":"record","name":"Click","fields":[{"name":"page","type":"string"},{"name":"x","type":"int"}]},
    {"type":"record","name":"Scroll","fields":[{"name":"page","type":"string"},{"name":"y","type":"int"}]},
    {"type":"record","name":"View","fields":[{"name":"page","type":"string"},{"name":"x","type":"int"}]}]"#;

#[test]
fn a_scale_of_millions_costs_no_zeros() {
    let schema = r#"{"type":"bytes","logicalType":"decimal","precision":4000000000,"scale":4000000000}"#;
    let schema = Schema::parse(schema, &[]).unwrap();
    let mut text = String::new();
    to_json(&schema, b"\x02\xff", &mut text).unwrap();
    assert_eq!(text, r#""-1E-4000000000""#);
}

#[test]
fn json_longer_than_its_limit_is_refused() {
    let name = "n".repeat(500);
    let text = format!(
        r#"{{"type":"array","items":{{"type":"record","name":"R","fields":[{{"name":"{name}","type":"int"}}]}}}}"#
    );
    let schema = Schema::parse(&text, &[]).unwrap();
    // 70,000 elements of one byte.
    let datum = [&[0xe0, 0xc5, 0x08][..], &vec![2; 70_000], &[0]].concat();
    crate::walk::walk(&schema, &datum, &Limits::default()).unwrap();
    let mut out = String::new();
    assert_eq!(to_json(&schema, &datum, &mut out).unwrap_err().fault, Fault::JsonBytes);
    assert!(out.len() < MAX_JSON_BYTES + 1024);
}

#[test]
fn union_values_are_tagged_only_where_they_must_be() {
    let cases = [
        (r#"["null","string"]"#, r#""a""#, r#""a""#),
        (r#"["null","int","string"]"#, "7", "7"),
        (r#"["int","long"]"#, r#"{"long":7}"#, r#"{"long":7}"#),
        (r#"["int","double"]"#, r#"{"double":7}"#, "7.0"),
        (r#"["int","double"]"#, "7.5", "7.5"),
        (r#"["double","int"]"#, "7", "7"),
        (r#"["string","bytes"]"#, r#"{"bytes":"AAAA"}"#, r#"{"bytes":"AAAA"}"#),
        (r#"["int","long"]"#, "4294967296", "4294967296"),
        (r#"["float","double"]"#, r#"{"double":0.5}"#, r#"{"double":0.5}"#),
        (r#"[{"type":"int","logicalType":"date"},"string"]"#, r#""x""#, r#""x""#),
        (r#"["bytes","string"]"#, r#""plain text""#, r#""plain text""#),
        (r#"["bytes","string"]"#, r#"{"string":"text"}"#, r#"{"string":"text"}"#),
        (CLICK_OR_VIEW, r#"{"y":1,"page":"p"}"#, r#"{"page":"p","y":1}"#),
        (CLICK_OR_VIEW, r#"{"View":{"page":"p","x":2}}"#, r#"{"View":{"page":"p","x":2}}"#),
        (r#"["string",{"type":"enum","name":"n.E","symbols":["A"]}]"#, r#"{"n.E":"A"}"#, r#"{"n.E":"A"}"#),
    ];
    for (schema, json, expected) in cases {
        assert_eq!(there_and_back(schema, json), expected, "{schema} {json}");
    }
}

#[test]
fn what_json_lacks_is_text() {
    let schema = Schema::parse(r#""double""#, &[]).unwrap();
    for (double, expected) in
        [(f64::NAN, "\"NaN\""), (f64::INFINITY, "\"Infinity\""), (f64::NEG_INFINITY, "\"-Infinity\"")]
    {
        let mut text = String::new();
        to_json(&schema, &double.to_le_bytes(), &mut text).unwrap();
        assert_eq!(text, expected);
    }
}
