//! The resolution rules, one table row each.

use super::*;

/// Reader, writer, and the differences as `path RULE`.
type Case = (&'static str, &'static str, &'static [&'static str]);

fn run(cases: &[Case]) {
    for (reader, writer, expected) in cases {
        let schema = |text: &str| Schema::parse(text, &[]).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let found = check(&schema(reader), &schema(writer));
        let found: Vec<String> = found.iter().map(|d| format!("{} {}", d.path, d.rule.as_str())).collect();
        assert_eq!(found, *expected, "\nreader {reader}\nwriter {writer}");
    }
}

#[test]
fn primitives_and_promotions() {
    let types = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
    let promoted = [
        ("int", "long"),
        ("int", "float"),
        ("int", "double"),
        ("long", "float"),
        ("long", "double"),
        ("float", "double"),
        ("string", "bytes"),
        ("bytes", "string"),
    ];
    for writer in types {
        for reader in types {
            let ok = writer == reader || promoted.contains(&(writer, reader));
            let schema = |name: &str| Schema::parse(&format!("{name:?}"), &[]).unwrap();
            assert_eq!(check(&schema(reader), &schema(writer)).is_empty(), ok, "{writer} as {reader}");
        }
    }
}

#[test]
fn containers_and_logical_types() {
    run(&[
        (r#"{"type":"array","items":"long"}"#, r#"{"type":"array","items":"int"}"#, &[]),
        (r#"{"type":"array","items":"int"}"#, r#"{"type":"array","items":"long"}"#, &["[] TYPE_MISMATCH"]),
        (r#"{"type":"map","values":"int"}"#, r#"{"type":"map","values":"string"}"#, &["{} TYPE_MISMATCH"]),
        (r#"{"type":"map","values":"int"}"#, r#"{"type":"array","items":"int"}"#, &[" TYPE_MISMATCH"]),
        (r#"{"type":"long","logicalType":"timestamp-millis"}"#, r#""int""#, &[]),
        (r#"{"type":"string","logicalType":"uuid"}"#, r#""string""#, &[]),
        (
            r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#,
            r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#,
            &[],
        ),
        (
            r#"{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}"#,
            r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#,
            &[" DECIMAL_MISMATCH"],
        ),
        (r#""bytes""#, r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#, &[]),
        (
            r#"{"type":"bytes","logicalType":"decimal","precision":4}"#,
            r#"{"type":"fixed","name":"F","size":4,"logicalType":"decimal","precision":4}"#,
            &[" TYPE_MISMATCH"],
        ),
    ]);
}

#[test]
fn named_types() {
    run(&[
        (r#"{"type":"fixed","name":"a.F","size":4}"#, r#"{"type":"fixed","name":"b.F","size":4}"#, &[]),
        (
            r#"{"type":"fixed","name":"F","size":4}"#,
            r#"{"type":"fixed","name":"F","size":5}"#,
            &[" FIXED_SIZE_MISMATCH"],
        ),
        (r#"{"type":"fixed","name":"F","size":4}"#, r#"{"type":"fixed","name":"G","size":4}"#, &[" NAME_MISMATCH"]),
        (r#"{"type":"fixed","name":"F","size":4,"aliases":["G"]}"#, r#"{"type":"fixed","name":"G","size":4}"#, &[]),
        (
            r#"{"type":"enum","name":"n.E","symbols":["A","B"],"aliases":["Old"]}"#,
            r#"{"type":"enum","name":"n.Old","symbols":["A"]}"#,
            &[],
        ),
        (
            r#"{"type":"enum","name":"E","symbols":["A"]}"#,
            r#"{"type":"enum","name":"E","symbols":["A","B"]}"#,
            &[" MISSING_ENUM_SYMBOLS"],
        ),
        (
            r#"{"type":"enum","name":"E","symbols":["A"],"default":"A"}"#,
            r#"{"type":"enum","name":"E","symbols":["A","B"]}"#,
            &[],
        ),
        (r#""string""#, r#"{"type":"enum","name":"E","symbols":["A"]}"#, &[" TYPE_MISMATCH"]),
    ]);
}

#[test]
fn records() {
    let old = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;
    run(&[
        (r#"{"type":"record","name":"R","fields":[]}"#, old, &[]),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"b","type":"int","default":0}]}"#,
            old,
            &[],
        ),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"string"},{"name":"b","type":"int"}]}"#,
            old,
            &["a TYPE_MISMATCH", "b READER_FIELD_MISSING_DEFAULT_VALUE"],
        ),
        (r#"{"type":"record","name":"R","fields":[{"name":"z","aliases":["y","a"],"type":"long"}]}"#, old, &[]),
        (r#"{"type":"record","name":"S","fields":[]}"#, old, &[" NAME_MISMATCH"]),
        (r#"{"type":"record","name":"S","aliases":["R"],"fields":[]}"#, old, &[]),
        (
            r#"{"type":"record","name":"O","fields":[{"name":"items","type":{"type":"array","items":
                {"type":"record","name":"I","fields":[{"name":"amount","type":"int"}]}}}]}"#,
            r#"{"type":"record","name":"O","fields":[{"name":"items","type":{"type":"array","items":
                {"type":"record","name":"I","fields":[{"name":"amount","type":"long"}]}}}]}"#,
            &["items[].amount TYPE_MISMATCH"],
        ),
    ]);
}

#[test]
fn unions() {
    run(&[
        (r#"["null","long"]"#, r#""int""#, &[]),
        (r#"["null","string"]"#, r#""int""#, &[" MISSING_UNION_BRANCH"]),
        (r#"["null","string","long"]"#, r#"["null","int"]"#, &[]),
        (r#"["null","string"]"#, r#"["null","int","boolean"]"#, &[" MISSING_UNION_BRANCH", " MISSING_UNION_BRANCH"]),
        (r#""long""#, r#"["int","long"]"#, &[]),
        (r#""long""#, r#"["null","long"]"#, &[" TYPE_MISMATCH"]),
        (
            // Two branches share their short name; the one that fits is found.
            r#"["null",{"type":"record","name":"a.R","fields":[{"name":"x","type":"int"}]},
                {"type":"record","name":"b.R","fields":[]}]"#,
            r#"{"type":"record","name":"c.R","fields":[]}"#,
            &[],
        ),
        (
            r#"["null",{"type":"record","name":"a.R","fields":[{"name":"x","type":"int"}]}]"#,
            r#"{"type":"record","name":"a.R","fields":[]}"#,
            &["x READER_FIELD_MISSING_DEFAULT_VALUE"],
        ),
        (r#"[{"type":"array","items":"int"},"int"]"#, r#"{"type":"array","items":"string"}"#, &["[] TYPE_MISMATCH"]),
    ]);
}

#[test]
fn recursion_ends_and_is_told_once() {
    let list = |value: &str| {
        format!(
            r#"{{"type":"record","name":"L","fields":[{{"name":"v","type":"{value}"}},
                {{"name":"next","type":["null","L"],"default":null}}]}}"#
        )
    };
    let (long, int) = (Schema::parse(&list("long"), &[]).unwrap(), Schema::parse(&list("int"), &[]).unwrap());
    assert_eq!(check(&long, &int), []);
    let found = check(&int, &long);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].path, "v");
}

#[test]
fn a_failed_branch_takes_its_assumptions_with_it() {
    // Trying a.N assumes that its own `self` is readable; b.N must not build on that.
    let reader = r#"[
        {"type":"record","name":"a.N","fields":[{"name":"self","type":["null","a.N"]},{"name":"x","type":"int"}]},
        {"type":"record","name":"b.N","fields":[{"name":"self","type":["null","a.N"]}]}]"#;
    let writer = r#"{"type":"record","name":"c.N","fields":[{"name":"self","type":["null","c.N"]}]}"#;
    run(&[(reader, writer, &["x READER_FIELD_MISSING_DEFAULT_VALUE"])]);
}

#[test]
fn sentences_name_field_rule_and_remedy() {
    let schema = |t: &str| {
        Schema::parse(
            &format!(
                r#"{{"type":"record","name":"R","fields":[{{"name":"m","type":{{"type":"map","values":"{t}"}}}}]}}"#
            ),
            &[],
        )
        .unwrap()
    };
    assert_eq!(
        check(&schema("int"), &schema("long"))[0].to_string(),
        "field `m{}`: the writer's long can't be read as int; keep long, or choose a type it is promoted to (float, \
         double) (TYPE_MISMATCH)"
    );
}

#[test]
fn hostile_pairs_end_early() {
    // Cycles of 29 and 31 records: the path of pairs repeats after 899.
    let cycle = |n: usize| {
        let text = (0..n).rev().fold(r#""n0.R""#.to_owned(), |inner, i| {
            format!(r#"{{"type":"record","name":"n{i}.R","fields":[{{"name":"n","type":["null",{inner}]}}]}}"#)
        });
        Schema::parse(&text, &[]).unwrap()
    };
    assert_eq!(check(&cycle(29), &cycle(31))[0].rule, Rule::TooIntricate);
    assert_eq!(check(&cycle(4), &cycle(6)), []);
    // A wide union that many types of the writer are held against.
    let many = |record: &str, inner: &str| {
        let one = |i: usize| {
            let kind = match (record, i) {
                ("U", 1..) => r#""n.U""#.to_owned(),
                _ => format!(r#"{{"type":"record","name":"n{}.U","fields":[{{"name":"u","type":{inner}}}]}}"#, i),
            };
            format!(r#"{{"name":"f{i}","type":{kind}}}"#)
        };
        let text = format!(
            r#"{{"type":"record","name":"R","fields":[{}]}}"#,
            (0..4_000).map(one).collect::<Vec<_>>().join(",")
        );
        Schema::parse(&text.replace("n0.U", "n.U"), &[]).unwrap()
    };
    let symbols = |i| format!(r#"{{"type":"enum","name":"e{i}","symbols":["A"]}}"#);
    let wide = format!("[\"int\",{}]", (0..4_000).map(symbols).collect::<Vec<_>>().join(","));
    let found = check(&many("U", &wide), &many("each", r#""int""#));
    assert!(found.iter().any(|d| d.rule == Rule::TooIntricate), "{found:?}");
    // A union of many records against another one.
    let union = |fields: &str| {
        let one = |i| format!(r#"{{"type":"record","name":"r{i}","fields":[{fields}]}}"#);
        format!("[{}]", (0..9_000).map(one).collect::<Vec<_>>().join(","))
    };
    let found = check(
        &Schema::parse(&union(r#"{"name":"a","type":"int"}"#), &[]).unwrap(),
        &Schema::parse(&union(""), &[]).unwrap(),
    );
    assert_eq!(found.len(), MAX_DIFFERENCES);
}
