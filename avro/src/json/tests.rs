//! The cursor against serde_json, over texts that are almost JSON.

use proptest::prelude::*;
use serde_json::Value;

use super::{Found, compact, cursor::Cursor, find};

fn accepts(text: &str) -> bool {
    let mut cursor = Cursor::new(text);
    cursor.skip().and_then(|()| cursor.end()).is_ok()
}

/// Texts made of JSON's tokens in any order: about half of the short ones are JSON.
fn soup() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"\"",
        "\"\\u00e9\"",
        "\"\\ud800\"",
        "\"\\x\"",
        "\"\u{1}\"",
        "0",
        "-1",
        "01",
        "1.5",
        "1.",
        ".5",
        "1e5",
        "1E+",
        "-",
        "true",
        "tru",
        "null",
        " ",
        "\n",
        "\u{b}",
        "\"",
        "\\",
        "{\"a\":1}",
        "[1,2]",
    ]);
    prop::collection::vec(token, 0..8).prop_map(|tokens| tokens.concat())
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Blanks between the tokens of compact JSON, from a seed.
fn spread(text: &str, mut seed: u64) -> String {
    let (mut out, mut quoted, mut escaped) = (String::new(), false, false);
    for c in text.chars() {
        let structure = !quoted && "{}[]:,".contains(c);
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let blank = ["", " ", "\n", "\t\r", ""][(seed >> 33) as usize % 5];
        out.push_str(if structure { blank } else { "" });
        out.push(c);
        out.push_str(if structure { blank } else { "" });
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_texts_are_json(text in soup()) {
        prop_assert_eq!(accepts(&text), serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{}", text);
    }

    #[test]
    fn cut_or_changed_json_is_judged_alike(value in json(), at in any::<prop::sample::Index>(), put in prop::sample::select(vec!["", "\"", "}", ",", "0", "\\", "\u{0}"])) {
        let text = value.to_string();
        let chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        let changed: String = chars[..at].iter().collect::<String>() + put + &chars[at + 1..].iter().collect::<String>();
        for text in [text, changed] {
            prop_assert_eq!(accepts(&text), serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{}", text);
        }
    }

    #[test]
    fn compact_takes_out_the_blanks_and_nothing_else(value in json(), seed in any::<u64>()) {
        let text = value.to_string();
        let mut out = String::new();
        compact(&spread(&text, seed), &mut out);
        prop_assert_eq!(out, text);
    }

    #[test]
    fn find_finds_what_serde_json_finds(value in json(), seed in any::<u64>()) {
        let text = spread(&value.to_string(), seed);
        let mut open = vec![(String::new(), &value)];
        while let Some((pointer, value)) = open.pop() {
            let found = find(&text, &pointer);
            let same = match (value, &found) {
                (Value::Null, Some(Found::Null)) => true,
                (Value::Bool(a), Some(Found::Bool(b))) => a == b,
                (Value::Number(a), Some(Found::Integer(b))) => a.is_i64() && a.to_string() == *b,
                (Value::Number(a), Some(Found::Number(b))) => a.is_f64() && a.to_string() == *b,
                (Value::String(a), Some(Found::String(b))) => a == b,
                (Value::Array(_), Some(Found::Array(b))) | (Value::Object(_), Some(Found::Object(b))) => {
                    serde_json::from_str::<Value>(b).is_ok_and(|b| b == *value)
                }
                _ => false,
            };
            prop_assert!(same, "{} in {}: {:?}", pointer, text, found);
            match value {
                Value::Array(items) => open.extend(items.iter().enumerate().map(|(at, item)| (format!("{pointer}/{at}"), item))),
                Value::Object(members) => open.extend(
                    members.iter().map(|(key, item)| (format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")), item)),
                ),
                _ => {}
            }
        }
    }
}

#[test]
fn find_is_strict_about_pointers() {
    let text = r#"{"a":[10,{"b":"x"}],"":1,"\u0063":2,"d":null}"#;
    for (pointer, expected) in [
        ("/a/0", Some(Found::Integer("10"))),
        ("/a/1/b", Some(Found::String("x".into()))),
        ("/", Some(Found::Integer("1"))),
        ("/c", Some(Found::Integer("2"))),
        ("/d", Some(Found::Null)),
        ("/d/x", None),
        ("/a/2", None),
        ("/a/00", None),
        ("/a/+1", None),
        ("/a/-", None),
        ("/e", None),
        ("a", None),
    ] {
        assert_eq!(find(text, pointer), expected, "{pointer}");
    }
    assert_eq!(find("", ""), None);
    assert_eq!(find("[1", "/1"), None);
}
