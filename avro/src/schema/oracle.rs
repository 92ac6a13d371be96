//! The parser against apache-avro's, over schemas with random faults.

use apache_avro::Schema as Oracle;
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

use super::{Schema, arbitrary::tree};

/// What a random place of a schema is replaced with.
fn spare() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(null),
        json!(7),
        json!("int"),
        json!("null"),
        json!("n.R"),
        json!("R"),
        json!(""),
        json!("a-b"),
        json!([]),
        json!(["null", "int"]),
        json!({"type": "long"}),
        json!({"type": "fixed", "name": "F", "size": 2}),
        json!({"type": "enum", "name": "n.E", "symbols": ["A", "A"]}),
        json!({"type": "array", "items": "n.R"}),
    ])
}

/// Pointers to every place of a value.
fn places(value: &Value, here: &str, out: &mut Vec<String>) {
    out.push(here.to_owned());
    match value {
        Value::Array(items) => items.iter().enumerate().for_each(|(i, v)| places(v, &format!("{here}/{i}"), out)),
        Value::Object(members) => members.iter().for_each(|(name, v)| places(v, &format!("{here}/{name}"), out)),
        _ => {}
    }
}

/// What is refused here and not by apache-avro 0.22: types without any value, names of primitives, members of `fields`
/// that it drops in silence, and some names that it forgets.
const STRICTER: [&str; 6] = [
    "a union without branches",
    "an enum without symbols",
    "no value of it ever ends",
    "is the name of a primitive type",
    "a field must be an object",
    "is defined a second time",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn faults_are_found_by_both(tree in tree(), faults in prop::collection::vec((any::<Index>(), spare()), 1..3)) {
        let mut value: Value = serde_json::from_str(&tree.text("")).unwrap();
        for (place, spare) in faults {
            let mut all = Vec::new();
            places(&value, "", &mut all);
            *value.pointer_mut(place.get(&all).as_str()).unwrap() = spare;
        }
        let text = value.to_string();
        match (Schema::parse(&text, &[]), Oracle::parse_str(&text)) {
            (Ok(_), Err(error)) => {
                // The specification ignores logical types that are not understood.
                let known = error.to_string().starts_with("logicalType must be a string");
                prop_assert!(known, "apache-avro refuses: {error}\n{text}");
            }
            (Err(error), Ok(_)) => {
                let known = STRICTER.iter().any(|problem| error.problem.contains(problem));
                prop_assert!(known, "apache-avro accepts: {error}\n{text}");
            }
            _ => {}
        }
    }
}
