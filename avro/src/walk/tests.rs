use super::*;

fn schema(text: &str) -> Schema {
    Schema::parse(text, &[]).unwrap()
}

fn fault(text: &str, datum: &[u8]) -> Option<Fault> {
    walk(&schema(text), datum, &Limits::default()).err().map(|error| error.fault)
}

/// Zigzag varint.
fn long(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    let mut out = Vec::new();
    loop {
        let byte = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

#[test]
fn sound_and_broken_values_of_each_type() {
    let uuid = b"\x48f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
    let cases: &[(&str, &[u8], Option<Fault>)] = &[
        (r#""null""#, b"", None),
        (r#""null""#, b"\0", Some(Fault::Trailing)),
        (r#""boolean""#, b"\x01", None),
        (r#""boolean""#, b"\x02", Some(Fault::Boolean)),
        (r#""int""#, &long(i64::from(i32::MIN)), None),
        (r#""int""#, &long(i64::from(i32::MAX) + 1), Some(Fault::Varint)),
        (r#""long""#, &long(i64::MIN), None),
        (r#""long""#, &[0xff; 9], Some(Fault::Truncated)),
        (r#""long""#, &[0xff; 10], Some(Fault::Varint)),
        (r#""long""#, &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02], Some(Fault::Varint)),
        (r#""float""#, &[0; 4], None),
        (r#""double""#, &[0; 7], Some(Fault::Truncated)),
        (r#""bytes""#, b"\x04ab", None),
        (r#""bytes""#, b"\x01", Some(Fault::Negative)),
        (r#""string""#, b"\x04\xc3\xa9", None),
        (r#""string""#, b"\x02\xc3", Some(Fault::Utf8)),
        (r#"{"type":"string","logicalType":"uuid"}"#, uuid, None),
        (r#"{"type":"string","logicalType":"uuid"}"#, b"\x02x", Some(Fault::Uuid)),
        (r#"{"type":"int","logicalType":"time-millis"}"#, &long(86_399_999), None),
        (r#"{"type":"int","logicalType":"time-millis"}"#, &long(86_400_000), Some(Fault::TimeOfDay)),
        (r#"{"type":"long","logicalType":"time-micros"}"#, &long(-1), Some(Fault::TimeOfDay)),
        (r#"{"type":"fixed","name":"F","size":3}"#, b"abc", None),
        (r#"{"type":"fixed","name":"F","size":3}"#, b"ab", Some(Fault::Truncated)),
        (r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#, b"\x04\x26\x94", None),
        (r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#, b"\x08\xff\xff\xd9\x6c", None),
        (
            r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#,
            b"\x08\x7f\xff\xff\xff",
            Some(Fault::Decimal),
        ),
        (r#"{"type":"enum","name":"E","symbols":["A","B"]}"#, b"\x02", None),
        (r#"{"type":"enum","name":"E","symbols":["A","B"]}"#, b"\x04", Some(Fault::EnumIndex)),
        (r#"{"type":"enum","name":"E","symbols":["A","B"]}"#, b"\x01", Some(Fault::EnumIndex)),
        (r#"["null","int"]"#, b"\x02\x02", None),
        (r#"["null","int"]"#, b"\x04", Some(Fault::UnionIndex)),
        (r#"{"type":"array","items":"int"}"#, b"\x04\x02\x04\0", None),
        (r#"{"type":"array","items":"int"}"#, b"\x03\x04\x02\x04\0", None),
        (r#"{"type":"array","items":"int"}"#, b"\x03\x06\x02\x04\0", Some(Fault::BlockSize)),
        (r#"{"type":"array","items":"int"}"#, b"\x04\x02\x04", Some(Fault::Truncated)),
        (r#"{"type":"map","values":"int"}"#, b"\x02\x02a\x02\0", None),
        (r#"{"type":"map","values":"int"}"#, b"\x02\x02\xff\x02\0", Some(Fault::Utf8)),
    ];
    for (text, datum, expected) in cases {
        assert_eq!(fault(text, datum), *expected, "{text} {datum:02x?}");
    }
}

#[test]
fn bombs_cost_nothing() {
    let two_to_62 = long(1 << 62);
    let ten_gigabytes = [long(10_000_000_000), vec![0; 16]].concat();
    let nulls = [long(i64::from(i32::MAX)), vec![0]].concat();
    let many_nulls = [long(20_000), vec![0]].concat();
    let minimum = long(i64::MIN);
    let cases: &[(&str, &[u8], Fault)] = &[
        (r#""bytes""#, &two_to_62, Fault::Truncated),
        (r#""string""#, &ten_gigabytes, Fault::Truncated),
        (r#"{"type":"array","items":"null"}"#, &nulls, Fault::Items),
        (r#"{"type":"array","items":"null"}"#, &many_nulls, Fault::ZeroSizeItems),
        (r#"{"type":"array","items":"int"}"#, &minimum, Fault::Truncated),
        (r#"{"type":"array","items":"long"}"#, &two_to_62, Fault::Items),
    ];
    for (text, datum, expected) in cases {
        assert_eq!(fault(text, datum), Some(*expected), "{text}");
    }
}

#[test]
fn records_of_no_size_do_not_multiply() {
    let mut text = String::from(r#"{"type":"record","name":"R0","fields":[]}"#);
    for level in 1..=30 {
        let below = level - 1;
        text = format!(
            r#"{{"type":"record","name":"R{level}","fields":[{{"name":"a","type":{text}}},{{"name":"b","type":"R{below}"}}]}}"#
        );
    }
    assert_eq!(fault(&text, b""), Some(Fault::Values));
}

#[test]
fn decimals_have_the_digits_of_their_precision() {
    let decimal = |precision| format!(r#"{{"type":"bytes","logicalType":"decimal","precision":{precision}}}"#);
    let of = |number: i128| {
        let bytes = number.to_be_bytes();
        [long(16), bytes.to_vec()].concat()
    };
    for (precision, number, expected) in [
        (4, 9_999, None),
        (4, -9_999, None),
        (4, 10_000, Some(Fault::Decimal)),
        (4, -10_000, Some(Fault::Decimal)),
        (18, 10_i128.pow(18) - 1, None),
        (18, 10_i128.pow(18), Some(Fault::Decimal)),
        (38, 10_i128.pow(38) - 1, None),
        (38, -(10_i128.pow(38)), Some(Fault::Decimal)),
        (1_000_000, i128::MIN, None),
    ] {
        assert_eq!(fault(&decimal(precision), &of(number)), expected, "{number} of {precision}");
    }
    let long_number = [long(500), vec![0x7f; 500]].concat();
    assert_eq!(fault(&decimal(1_000_000), &long_number), Some(Fault::Decimal));
}

#[test]
fn recursion_stops_at_the_depth_limit() {
    let list = r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#;
    let deep = vec![2; 100_000];
    assert_eq!(fault(list, &deep), Some(Fault::Depth));
    // Each link of the list is a record and a union.
    let fits = [vec![2; 31], vec![0]].concat();
    assert_eq!(fault(list, &fits), None);
    let over = [vec![2; 32], vec![0]].concat();
    assert_eq!(fault(list, &over), Some(Fault::Depth));
}

#[test]
fn errors_name_the_place() {
    let text = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},
        {"name":"items","type":{"type":"array","items":{"type":"map","values":"boolean"}}}]}"#;
    let error = walk(&schema(text), b"\x02\x02\x02\x02k\x07", &Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "a boolean is neither 0 nor 1 at byte 6, in /items/0/k");
}
