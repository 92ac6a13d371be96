//! The encoder against hostile input: depth, duplicates, numbers, violations and unions without end.

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

fn encode(plan: &Plan, json: &str, options: &EncodeOptions) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    plan.encode(json, options, &mut out).map(|()| out)
}

fn violations(plan: &Plan, json: &str, options: &EncodeOptions) -> Vec<Violation> {
    match encode(plan, json, options) {
        Err(EncodeError::Violations(violations)) => violations,
        other => panic!("{other:?}"),
    }
}

fn kinds(violations: &[Violation]) -> Vec<&'static str> {
    violations.iter().map(|v| v.kind).collect()
}

/// A list that ends in null: `{"next": {"next": ... null}}` of so many objects.
const LIST: &str = r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#;

fn list(depth: usize) -> String {
    format!("{}null{}", r#"{"next":"#.repeat(depth), "}".repeat(depth))
}

#[test]
fn depth_is_limited_at_its_edge() {
    let plan = plan(LIST);
    let options = EncodeOptions::default();
    assert!(encode(&plan, &list(63), &options).is_ok());
    assert!(encode(&plan, &list(64), &options).is_ok());
    let found = violations(&plan, &list(65), &options);
    assert_eq!(found.last().map(|v| (v.kind, v.path.len())), Some(("json_depth", 64)));
    let few = EncodeOptions { json_depth: 3, ..options };
    assert!(encode(&plan, &list(3), &few).is_ok());
    assert!(kinds(&violations(&plan, &list(4), &few)).contains(&"json_depth"));
    let more = EncodeOptions { json_depth: 1_000, ..options };
    assert!(kinds(&violations(&plan, &list(65), &more)).contains(&"json_depth"), "64 cannot be raised");
}

#[test]
fn depth_of_a_hundred_thousand_is_skipped_without_recursion() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let options = EncodeOptions { ignore_unknown: true, ..EncodeOptions::default() };
    let found = violations(&plan(LIST), &format!(r#"{{"x":{deep},"next":null}}"#), &options);
    assert_eq!(kinds(&found), ["json_depth"]);
    let found = violations(&plan(LIST), &list(100_000), &options);
    assert!(kinds(&found).contains(&"json_depth"));
    let half = "[".repeat(100_000);
    assert!(matches!(encode(&plan(LIST), &half, &options), Err(EncodeError::Malformed { column: 100_001, .. })));
}

#[test]
fn numbers_are_limited_at_their_edge() {
    let double = plan(r#""double""#);
    let options = EncodeOptions { number_chars: 5, ..EncodeOptions::default() };
    assert!(encode(&double, "12345", &options).is_ok());
    assert_eq!(kinds(&violations(&double, "123456", &options)), ["number_too_long"]);
    let long = "9".repeat(1_000_000);
    let decimal = plan(r#"{"type":"bytes","logicalType":"decimal","precision":2000,"scale":0}"#);
    for json in [long.clone(), format!("\"{long}\"")] {
        assert_eq!(kinds(&violations(&decimal, &json, &EncodeOptions::default())), ["number_too_long"]);
    }
    assert!(encode(&decimal, &"9".repeat(1024), &EncodeOptions::default()).is_ok());
    let ignore = EncodeOptions { ignore_unknown: true, ..options };
    let found = violations(&plan(LIST), r#"{"next":null,"x":[1234567]}"#, &ignore);
    assert_eq!((found[0].kind, &*found[0].pointer()), ("number_too_long", "/x/0"));
}

#[test]
fn a_hundred_violations_and_then_one_word() {
    let ints = plan(r#"{"type":"array","items":"int"}"#);
    for (wrong, reported) in [(99, 99), (100, 100), (101, 101), (5_000, 101)] {
        let found = violations(&ints, &format!("[{}]", vec!["null"; wrong].join(",")), &EncodeOptions::default());
        assert_eq!(found.len(), reported, "{wrong}");
        assert_eq!(found.last().unwrap().kind == "too_many_errors", wrong > 100, "{wrong}");
        assert_eq!(found[98].pointer(), "/98");
    }
    let nullable = plan(r#"{"type":"array","items":["null",{"type":"array","items":"int"}]}"#);
    let found = violations(&nullable, &format!("[{}]", vec![r#"["x"]"#; 200].join(",")), &EncodeOptions::default());
    assert_eq!((found.len(), found[100].kind), (101, "too_many_errors"));
    assert_eq!((found[98].kind, found[99].kind), ("union_no_match", "int_type"));
}

#[test]
fn duplicates_of_large_objects_are_found_without_quadratic_time() {
    let options = EncodeOptions { ignore_unknown: true, ..EncodeOptions::default() };
    for members in [15, 16, 17, 18, 200_000] {
        let all: Vec<String> = (0..members).map(|n| format!("\"k{n}\":0")).collect();
        let object = format!("{{{}}}", all.join(","));
        let map = plan(r#"{"type":"map","values":"int"}"#);
        assert!(encode(&map, &object, &options).is_ok());
        assert!(encode(&plan(LIST), &format!(r#"{{"next":null,"x":{object}}}"#), &options).is_ok());
        for again in [0, members / 2, members - 1] {
            let twice = format!("{{{},\"k{again}\":1}}", all.join(","));
            assert_eq!(kinds(&violations(&map, &twice, &options)), ["duplicate_key"]);
            let found = violations(&plan(LIST), &format!(r#"{{"x":[{twice}],"next":null}}"#), &options);
            assert_eq!(found[0].pointer(), format!("/x/0/k{again}"));
        }
    }
}

#[test]
fn nested_unions_do_not_take_time_that_doubles_with_every_level() {
    // Both branches read all of what is below before they differ.
    let schema = r#"[{"type":"record","name":"A","fields":[{"name":"n","type":["null","A",
        {"type":"record","name":"B","fields":[{"name":"n","type":["null","A","B"]},{"name":"k","type":"int"}]}]},
        {"name":"k","type":"string"}]},"B"]"#;
    let plan = plan(schema);
    let nested = |depth: usize, tagged: bool| {
        let open = if tagged { r#"{"B":{"n":"# } else { r#"{"n":"# };
        let close = if tagged { r#","k":1}}"# } else { r#","k":1}"# };
        format!("{}null{}", open.repeat(depth), close.repeat(depth))
    };
    let options = EncodeOptions::default();
    assert!(encode(&plan, &nested(5, false), &options).is_ok());
    let found = violations(&plan, &nested(60, false), &options);
    assert!(found.iter().any(|v| v.kind == "union_no_match" && v.msg.contains("name each branch")), "{found:#?}");
    assert!(encode(&plan, &nested(30, true), &options).is_ok(), "named branches cost nothing");
}

#[test]
fn ignoring_members_never_beats_a_branch_that_fits_whole() {
    let plan = plan(
        r#"["null",{"type":"record","name":"A","fields":[{"name":"a","type":"int","default":1}]},
            {"type":"record","name":"B","fields":[{"name":"b","type":"int"}]}]"#,
    );
    let ignore = EncodeOptions { ignore_unknown: true, ..EncodeOptions::default() };
    for (json, bytes) in
        [(r#"{"b":2}"#, [4, 4]), (r#"{"a":3}"#, [2, 6]), (r#"{"B":{"b":2}}"#, [4, 4]), (r#"{"z":0}"#, [2, 2])]
    {
        assert_eq!(encode(&plan, json, &ignore).unwrap(), bytes, "{json}");
    }
}

#[test]
fn syntax_errors_name_their_place() {
    let plan = plan(r#"{"type":"array","items":["null","int","string"]}"#);
    for (json, line, column, words) in [
        ("", 1, 1, "a JSON value, found the end"),
        ("[1,\n 2,\n]", 3, 1, "a JSON value, found ']'"),
        ("[1 2]", 1, 4, "a comma or ]"),
        ("[01]", 1, 3, "a comma or ]"),
        ("[1.]", 1, 4, "a digit"),
        ("[-]", 1, 3, "a digit"),
        ("[+1]", 1, 2, "a JSON value"),
        ("[nul]", 1, 5, "true, false or null"),
        ("[\"äö\" x]", 1, 7, "a comma or ]"),
        ("[\"a\nb\"]", 1, 4, "control character"),
        (r#"["\x"]"#, 1, 4, "an escape"),
        (r#"["\u12G4"]"#, 1, 4, "an escape"),
        ("[\"a", 1, 4, "the closing quote"),
        ("['a']", 1, 2, "double quotes"),
        ("[] []", 1, 4, "the end of the body"),
        ("\u{feff}[]", 1, 1, "byte order mark"),
        (r#"[{"int" 1}]"#, 1, 9, "a colon"),
        (r#"[{"int":1,}]"#, 1, 11, "a member name"),
        (r#"[{int:1}]"#, 1, 3, "a member name"),
    ] {
        match encode(&plan, json, &EncodeOptions::default()) {
            Err(EncodeError::Malformed { line: l, column: c, msg }) => {
                assert_eq!((l, c), (line, column), "{json:?}: {msg}");
                assert!(msg.contains(words), "{json:?}: {msg}");
            }
            other => panic!("{json:?}: {other:?}"),
        }
    }
}

#[test]
fn defaults_that_hold_themselves_or_never_end_are_refused() {
    let doubling: Vec<String> = (0..40)
        .rev()
        .map(|n| {
            let inner = if n == 39 { "\"int\"".into() } else { format!("\"T{}\"", n + 1) };
            let default = if n == 39 { "1" } else { "{}" };
            format!(
                r#"{{"type":"record","name":"T{n}","fields":[{{"name":"a","type":{inner},"default":{default}}},{{"name":"b","type":{inner},"default":{default}}}]}}"#
            )
        })
        .collect();
    let schema = format!("[{}]", doubling.join(","));
    // Either the parser or the plan refuses it; neither takes 2^40 steps.
    if let Ok(schema) = Schema::parse(&schema, &[]) {
        assert!(Plan::compile(&schema).unwrap_err().reason.contains("unfold"));
    }
}
