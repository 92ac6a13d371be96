//! One table per Avro type: which JSON it takes, to which bytes, and what it says of the rest.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use forebay_avro::{
    encode::{EncodeError, EncodeOptions},
    plan::Plan,
    schema::Schema,
    violation::Violation,
};

fn plan(schema: &str) -> Plan {
    Plan::compile(&Schema::parse(schema, &[]).unwrap()).unwrap()
}

fn encode(plan: &Plan, json: &str) -> Result<Vec<u8>, Vec<Violation>> {
    let mut out = vec![0xAA];
    match plan.encode(json, &EncodeOptions::default(), &mut out) {
        Ok(()) => Ok(out.split_off(1)),
        Err(EncodeError::Violations(violations)) => {
            assert_eq!(out, [0xAA], "nothing is appended on error");
            assert!(!violations.is_empty());
            Err(violations)
        }
        Err(malformed) => panic!("{json}: {malformed}"),
    }
}

/// JSON, and pointer, type and words of the message of each place that is wrong with it.
type Refused<'a> = (&'a str, &'a [(&'a str, &'a str, &'a str)]);

/// Accepted: JSON and its bytes.
fn table(schema: &str, accepted: &[(&str, &[u8])], refused: &[Refused<'_>]) {
    let plan = plan(schema);
    for (json, bytes) in accepted {
        assert_eq!(encode(&plan, json).as_deref(), Ok(*bytes), "{schema} takes {json}");
    }
    for (json, expected) in refused {
        let violations = encode(&plan, json).expect_err(&format!("{schema} refuses {json}"));
        let places: Vec<(String, &str)> = violations.iter().map(|v| (v.pointer(), v.kind)).collect();
        let wanted: Vec<(String, &str)> = expected.iter().map(|(at, kind, _)| ((*at).to_owned(), *kind)).collect();
        assert_eq!(places, wanted, "{schema} with {json}: {violations:#?}");
        for (violation, (_, _, words)) in violations.iter().zip(*expected) {
            assert!(violation.msg.contains(words), "{:?} should say {words:?}", violation.msg);
        }
    }
}

#[test]
fn null_and_boolean() {
    table(r#""null""#, &[(" null ", &[])], &[("0", &[("", "none_required", "expected null, got number 0")])]);
    table(
        r#""boolean""#,
        &[("true", &[1]), ("false", &[0])],
        &[
            ("0", &[("", "bool_type", "expected boolean, got number 0")]),
            (r#""true""#, &[("", "bool_type", "without quotes")]),
            ("null", &[("", "bool_type", "got null")]),
        ],
    );
}

#[test]
fn int_and_long() {
    table(
        r#""int""#,
        &[("0", &[0]), ("-0", &[0]), ("-1", &[1]), ("2147483647", &[0xfe, 0xff, 0xff, 0xff, 0x0f])],
        &[
            ("2147483648", &[("", "int_range", "2147483647")]),
            ("1.0", &[("", "int_type", "without fraction")]),
            ("1e3", &[("", "int_type", "without fraction and exponent")]),
            (r#""1""#, &[("", "int_type", "expected int, got string \"1\"; write the number without quotes")]),
            ("[1]", &[("", "int_type", "expected int, got array")]),
        ],
    );
    table(
        r#""long""#,
        &[
            ("9007199254740993", &[0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20]),
            ("-9223372036854775808", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ],
        &[
            ("9223372036854775808", &[("", "int_range", "9223372036854775807")]),
            ("true", &[("", "int_type", "expected long, got boolean true")]),
        ],
    );
}

#[test]
fn float_and_double() {
    table(
        r#""float""#,
        &[("1", &1f32.to_le_bytes()), ("16777217", &16_777_216f32.to_le_bytes()), ("1e-60", &0f32.to_le_bytes())],
        &[("3.5e38", &[("", "finite_number", "too large for a float")])],
    );
    table(
        r#""double""#,
        &[
            ("0.1", &0.1f64.to_le_bytes()),
            ("-0.0", &(-0f64).to_le_bytes()),
            ("1e308", &1e308f64.to_le_bytes()),
            ("9007199254740993", &9_007_199_254_740_992f64.to_le_bytes()),
        ],
        &[
            ("1e309", &[("", "finite_number", "too large for a double")]),
            (r#""12.5""#, &[("", "float_type", "expected double, got string \"12.5\"")]),
            ("{}", &[("", "float_type", "got object")]),
        ],
    );
}

#[test]
fn strings() {
    table(
        r#""string""#,
        &[
            (r#""""#, &[0]),
            (r#""ab""#, b"\x04ab"),
            (r#""\u0041\n\"\\\/\b\f\r\t""#, b"\x12A\n\"\\/\x08\x0c\r\t"),
            (r#""\ud83d\ude00""#, "\u{8}😀".as_bytes()),
            ("\"0123456789 é ß\"", "\u{20}0123456789 é ß".as_bytes()),
        ],
        &[
            (r#""\ud800""#, &[("", "string_unicode", "surrogate")]),
            (r#""\udc00x""#, &[("", "string_unicode", "surrogate")]),
            (r#""\ud800\u0041""#, &[("", "string_unicode", "surrogate")]),
            ("1", &[("", "string_type", "expected string, got number 1")]),
        ],
    );
}

#[test]
fn bytes_and_fixed() {
    table(
        r#""bytes""#,
        &[(r#""""#, &[0]), (r#""AQID""#, &[6, 1, 2, 3]), (r#""AQ==""#, &[2, 1]), (r#""\/w==""#, &[2, 255])],
        &[
            (r#""AQ""#, &[("", "bytes_invalid", "base64 with padding")]),
            (r#""A-_=""#, &[("", "bytes_invalid", "standard base64")]),
            (r#""AR==""#, &[("", "bytes_invalid", "base64")]),
            (r#""====""#, &[("", "bytes_invalid", "base64")]),
            ("[1,2]", &[("", "bytes_invalid", "got array")]),
        ],
    );
    table(
        r#"{"type":"fixed","name":"a.F","size":3}"#,
        &[(r#""AQID""#, &[1, 2, 3])],
        &[
            (r#""AQ==""#, &[("", "fixed_length", "the text holds 1 bytes")]),
            (r#""!""#, &[("", "bytes_invalid", "base64")]),
            ("7", &[("", "bytes_invalid", "expected fixed a.F")]),
        ],
    );
}

#[test]
fn enums() {
    table(
        r#"{"type":"enum","name":"Color","symbols":["RED","GREEN","BLUE"],"default":"RED"}"#,
        &[(r#""RED""#, &[0]), (r#""BLU\u0045""#, &[4])],
        &[
            (r#""GREN""#, &[("", "enum", "did you mean \"GREEN\"?")]),
            (r#""red""#, &[("", "enum", "did you mean \"RED\"?")]),
            (r#""MAGENTA""#, &[("", "enum", "its symbols are RED, GREEN, BLUE")]),
            ("1", &[("", "enum", "expected enum Color, got number 1")]),
        ],
    );
}

#[test]
fn arrays_and_maps() {
    let hundred = format!("[{}]", vec!["1"; 100].join(","));
    let mut bytes = vec![0xc8, 1];
    bytes.extend([2; 100]);
    bytes.push(0);
    table(
        r#"{"type":"array","items":"int"}"#,
        &[("[]", &[0]), (" [ 1 , 2 ] ", &[4, 2, 4, 0]), (&hundred, &bytes)],
        &[
            ("{}", &[("", "list_type", "expected array, got object")]),
            ("null", &[("", "list_type", "got null")]),
            (r#"[1,"x",3,null]"#, &[("/1", "int_type", "got string"), ("/3", "int_type", "got null")]),
        ],
    );
    table(
        r#"{"type":"map","values":"int"}"#,
        &[("{}", &[0]), (r#"{"a":1,"\u0062":2}"#, &[4, 2, b'a', 2, 2, b'b', 4, 0])],
        &[
            ("[]", &[("", "dict_type", "expected map (a JSON object), got array")]),
            (r#"{"a":1,"\u0061":2}"#, &[("/a", "duplicate_key", "twice")]),
            (r#"{"a/b":"x","~":"y"}"#, &[("/a~1b", "int_type", ""), ("/~0", "int_type", "")]),
        ],
    );
}

const POINT: &str = r#"{"type":"record","name":"geo.Point","fields":[
    {"name":"x","type":"int"},{"name":"label","type":"string","default":"?"},{"name":"opt","type":["null","int"]}]}"#;

#[test]
fn records() {
    table(
        POINT,
        &[
            (r#"{"x":1,"label":"a","opt":null}"#, &[2, 2, b'a', 0]),
            (r#"{"opt":3,"x":1,"label":"a"}"#, &[2, 2, b'a', 2, 6]),
            (r#"{"opt":3,"x":1}"#, &[2, 2, b'?', 2, 6]),
            (r#"{"\u0078":1,"opt":null}"#, &[2, 2, b'?', 0]),
        ],
        &[
            ("[]", &[("", "dict_type", "expected record geo.Point (a JSON object), got array")]),
            ("{}", &[("/x", "missing", "\"x\" is missing; expected int"), ("/opt", "missing", "null or int")]),
            (r#"{"x":1,"opt":1,"lable":"a"}"#, &[("/lable", "extra_forbidden", "did you mean \"label\"?")]),
            (r#"{"x":1,"opt":1,"zzz":{"a":[1]}}"#, &[("/zzz", "extra_forbidden", "has no field \"zzz\"")]),
            (r#"{"x":1,"x":2,"opt":1}"#, &[("/x", "duplicate_key", "twice")]),
            (
                r#"{"x":1,"opt":1,"u":{"k":1,"k":2},"u":1}"#,
                &[("/u", "extra_forbidden", ""), ("/u/k", "duplicate_key", ""), ("/u", "duplicate_key", "")],
            ),
        ],
    );
}

#[test]
fn unions() {
    table(
        r#"["null","double","long",{"type":"array","items":"string"}]"#,
        &[
            ("null", &[0]),
            ("5", &[4, 10]),
            ("5.0", &[2, 0, 0, 0, 0, 0, 0, 0x14, 0x40]),
            (r#"["a"]"#, &[6, 2, 2, b'a', 0]),
            (r#"{"double":5}"#, &[2, 0, 0, 0, 0, 0, 0, 0x14, 0x40]),
            (r#"{"null":null}"#, &[0]),
        ],
        &[
            (r#""x""#, &[("", "union_no_match", "expected null or double or long or array, got string \"x\"")]),
            (r#"{"a":1}"#, &[("", "union_no_match", "{\"<branch>\": value}")]),
            (r#"[1]"#, &[("", "union_no_match", "got array"), ("/0", "string_type", "expected string")]),
            (r#"{"long":"x"}"#, &[("", "union_no_match", ""), ("/long", "int_type", "expected long")]),
            (r#"{"long":1,"b":1}"#, &[("", "union_no_match", ""), ("/b", "extra_forbidden", "one member")]),
        ],
    );
    table(
        r#"["null","double"]"#,
        &[("1", &[2, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f])],
        &[
            ("1e999", &[("", "union_no_match", "expected null or double"), ("", "finite_number", "too large")]),
            ("true", &[("", "union_no_match", "got boolean true")]),
        ],
    );
    table(
        r#"[{"type":"record","name":"n.A","fields":[{"name":"k","type":"int"}]},
            {"type":"record","name":"n.B","fields":[{"name":"k","type":"int"},{"name":"m","type":"int"}]}]"#,
        &[(r#"{"k":1}"#, &[0, 2]), (r#"{"k":1,"m":2}"#, &[2, 2, 4]), (r#"{"n.B":{"m":2,"k":1}}"#, &[2, 2, 4])],
        &[
            (r#"{"k":1,"m":"x"}"#, &[("", "union_no_match", ""), ("/m", "int_type", "expected int")]),
            (r#"{"n.B":{"m":2}}"#, &[("", "union_no_match", ""), ("/n.B/k", "missing", "")]),
            (r#"{"z":1}"#, &[("", "union_no_match", "n.A, n.B")]),
        ],
    );
}

#[test]
fn timestamps() {
    table(
        r#"{"type":"long","logicalType":"timestamp-millis"}"#,
        &[
            ("5", &[10]),
            ("-1", &[1]),
            (r#""1970-01-01T00:00:00.005Z""#, &[10]),
            (r#""1970-01-01T01:00:00.005000+01:00""#, &[10]),
        ],
        &[
            (r#""1970-01-01T00:00:00.0051Z""#, &[("", "datetime_parsing", "finer than milliseconds")]),
            (r#""1970-01-01T00:00:00""#, &[("", "datetime_parsing", "the offset is missing; add Z")]),
            (r#""1970-02-30T00:00:00Z""#, &[("", "datetime_parsing", "no such day")]),
            ("1.5", &[("", "datetime_parsing", "expected timestamp-millis, got number 1.5")]),
            (
                "1795272194260000000",
                &[(
                    "",
                    "datetime_parsing",
                    "in milliseconds, the years 0000 to 9999 go from -62167219200000 to 253402300799999",
                )],
            ),
            ("-62167219200001", &[("", "datetime_parsing", "the years 0000 to 9999")]),
            ("true", &[("", "datetime_parsing", "RFC 3339")]),
        ],
    );
    table(
        r#"{"type":"long","logicalType":"timestamp-nanos"}"#,
        &[(r#""1970-01-01T00:00:00.000000005Z""#, &[10])],
        &[
            (r#""2300-01-01T00:00:00Z""#, &[("", "datetime_parsing", "beyond 64 bits")]),
            (r#""1970-01-01T00:00:00.0000000051Z""#, &[("", "datetime_parsing", "finer than nanoseconds")]),
        ],
    );
    table(
        r#"{"type":"long","logicalType":"local-timestamp-micros"}"#,
        &[(r#""1970-01-01T00:00:00.000005""#, &[10]), ("5", &[10])],
        &[(r#""1970-01-01T00:00:00Z""#, &[("", "datetime_parsing", "has no offset; remove it")])],
    );
}

#[test]
fn dates_and_times() {
    table(
        r#"{"type":"int","logicalType":"date"}"#,
        &[(r#""1970-01-06""#, &[10]), ("-1", &[1]), (r#""1969-12-31""#, &[1])],
        &[
            (r#""1970-1-6""#, &[("", "date_parsing", "2026-01-31")]),
            (r#""1970-01-06T00:00:00Z""#, &[("", "date_parsing", "behind it")]),
            ("2932897", &[("", "date_parsing", "in days, the years 0000 to 9999 go from -719528 to 2932896")]),
            ("1.5", &[("", "date_parsing", "days since")]),
            ("null", &[("", "date_parsing", "YYYY-MM-DD")]),
        ],
    );
    table(
        r#"{"type":"int","logicalType":"time-millis"}"#,
        &[(r#""00:00:00.005""#, &[10]), ("5", &[10])],
        &[
            (r#""24:00:00""#, &[("", "time_parsing", "hours go to 23")]),
            (r#""00:00:00.0005""#, &[("", "time_parsing", "finer than milliseconds")]),
            (r#""00:00""#, &[("", "time_parsing", "23:59:59")]),
            ("-1", &[("", "time_parsing", "in milliseconds, the times of a day go from 0 to 86399999")]),
            ("86400000", &[("", "time_parsing", "from 0 to 86399999")]),
        ],
    );
    table(r#"{"type":"long","logicalType":"time-micros"}"#, &[(r#""00:00:00.000005""#, &[10])], &[]);
}

#[test]
fn decimals_and_uuids() {
    table(
        r#"{"type":"bytes","logicalType":"decimal","precision":5,"scale":2}"#,
        &[("1.27", &[2, 127]), (r#""-1.28""#, &[2, 128]), ("1e2", &[4, 0x27, 0x10]), (r#""1.500""#, &[4, 0, 150])],
        &[
            ("1.005", &[("", "decimal_max_places", "at most 2 digits may stand behind the point")]),
            ("1000", &[("", "decimal_max_digits", "at most 3 digits may stand before the point")]),
            (r#""1,5""#, &[("", "decimal_parsing", "expected decimal(5, 2), got string")]),
            ("true", &[("", "decimal_parsing", "got boolean")]),
        ],
    );
    table(
        r#"{"type":"fixed","name":"D","size":2,"logicalType":"decimal","precision":4,"scale":0}"#,
        &[("-1", &[0xff, 0xff]), ("9999", &[0x27, 0x0f])],
        &[("10000", &[("", "decimal_max_digits", "")])],
    );
    let uuid = r#""00000000-0000-0000-0000-0000000000ff""#;
    let wrong: &[Refused<'_>] = &[
        (r#""000000000000000000000000000000ff""#, &[("", "uuid_parsing", "a uuid looks like")]),
        ("1", &[("", "uuid_parsing", "expected uuid, got number 1")]),
    ];
    let mut text = vec![72];
    text.extend(uuid.trim_matches('"').bytes());
    table(r#"{"type":"string","logicalType":"uuid"}"#, &[(uuid, &text)], wrong);
    let mut bytes = [0; 16];
    bytes[15] = 255;
    table(r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#, &[(uuid, &bytes)], wrong);
}

#[test]
fn duration_is_refused_when_compiled() {
    let schema = r#"{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"array","items":
        {"type":"record","name":"S","fields":[{"name":"d","type":["null",{"type":"fixed","name":"D","size":12,"logicalType":"duration"}]}]}}}]}"#;
    let unsupported = Plan::compile(&Schema::parse(schema, &[]).unwrap()).unwrap_err();
    assert_eq!(unsupported.field, "a.d");
    assert!(unsupported.to_string().contains("duration"), "{unsupported}");
}

#[test]
fn sensitive_values_are_never_shown() {
    let plan = plan(
        r#"{"type":"record","name":"R","fields":[{"name":"pin","type":{"type":"map","values":"int"},"forebay.sensitive":true},
            {"name":"open","type":"int"}]}"#,
    );
    let violations = encode(&plan, r#"{"pin":{"a":"s3cret"},"open":"shown"}"#).unwrap_err();
    assert!(!format!("{violations:?}").contains("s3cret"));
    assert_eq!(violations[0].got.as_deref(), Some("string"));
    assert!(violations[1].msg.contains("shown"), "the flag ends with its field");
    assert_eq!(violations[1].got.as_deref(), Some("\"shown\""));
    let violations = encode(&plan, r#"{"pin":[],"open":{"pin":"s3cret"}}"#).unwrap_err();
    assert!(!format!("{violations:?}").contains("s3cret"), "nor where their object is met");
}

#[test]
fn long_values_are_not_repeated() {
    let long = format!("\"{}\"", "ä".repeat(100));
    let violation = &encode(&plan(r#""int""#), &long).unwrap_err()[0];
    assert!(!violation.msg.contains('ä'), "{}", violation.msg);
    assert!(violation.got.as_ref().unwrap().len() <= 64);
}
