//! Schemas as they are and as attackers write them.

use super::*;

fn parse(text: &str) -> Schema {
    Schema::parse(text, &[]).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn refused(text: &str) -> SchemaError {
    match Schema::parse(text, &[]) {
        Err(error) => error,
        Ok(_) => panic!("accepted: {}", &text[..text.len().min(200)]),
    }
}

fn reference(name: &str, schema: &str) -> Reference {
    Reference { name: name.into(), subject: name.into(), version: 1, schema: schema.into() }
}

/// A record `R` with one field `f`.
fn with_field(attributes: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f",{attributes}}}]}}"#)
}

#[test]
fn recursion_is_an_index_that_points_back() {
    let list = parse(
        r#"{"type":"record","name":"a.List","fields":[
            {"name":"value","type":"long","doc":"d","aliases":["v"],"forebay.sensitive":true},
            {"name":"next","type":["null","List"],"default":null}]}"#,
    );
    assert_eq!(list.full_name(), Some("a.List"));
    let Node::Record { fields, .. } = list.node(list.root()) else { panic!("no record") };
    assert!(fields[0].sensitive);
    assert_eq!(fields[0].doc.as_deref(), Some("d"));
    assert_eq!(&*fields[0].aliases[0], "v");
    let Node::Union(branches) = list.node(fields[1].node) else { panic!("no union") };
    assert_eq!(branches[1], list.root());
    assert_eq!(fields[1].default, Some(serde_json::Value::Null));
}

#[test]
fn logical_types_refine_what_they_fit_and_are_ignored_elsewhere() {
    let name = || Arc::from("F");
    let decimal = |precision, scale, fixed| Node::Decimal { precision, scale, fixed };
    for (attributes, node) in [
        (r#""type":"int","logicalType":"date""#, Node::Date),
        (r#""type":"long","logicalType":"date""#, Node::Long),
        (r#""type":"int","logicalType":"time-millis""#, Node::Time(TimeUnit::Millis)),
        (r#""type":"long","logicalType":"time-micros""#, Node::Time(TimeUnit::Micros)),
        (r#""type":"long","logicalType":"timestamp-millis""#, Node::Timestamp(TimeUnit::Millis)),
        (r#""type":"long","logicalType":"timestamp-micros""#, Node::Timestamp(TimeUnit::Micros)),
        (r#""type":"long","logicalType":"timestamp-nanos""#, Node::Timestamp(TimeUnit::Nanos)),
        (r#""type":"long","logicalType":"local-timestamp-millis""#, Node::LocalTimestamp(TimeUnit::Millis)),
        (r#""type":"long","logicalType":"local-timestamp-nanos""#, Node::LocalTimestamp(TimeUnit::Nanos)),
        (r#""type":{"type":"long"},"logicalType":"timestamp-micros""#, Node::Timestamp(TimeUnit::Micros)),
        (r#""type":"string","logicalType":"uuid""#, Node::UuidString),
        (r#""type":"bytes","logicalType":"uuid""#, Node::Bytes),
        (r#""type":"string","logicalType":"no-such""#, Node::String),
        (r#""type":"string","logicalType":7"#, Node::String),
        (r#""type":"bytes","logicalType":"decimal","precision":4,"scale":2"#, decimal(4, 2, None)),
        (r#""type":"bytes","logicalType":"decimal","precision":4"#, decimal(4, 0, None)),
        (r#""type":"bytes","logicalType":"decimal""#, Node::Bytes),
        (r#""type":"bytes","logicalType":"decimal","precision":0"#, Node::Bytes),
        (r#""type":"bytes","logicalType":"decimal","precision":2,"scale":3"#, Node::Bytes),
        (r#""type":"bytes","logicalType":"decimal","precision":2,"scale":-1"#, Node::Bytes),
        (
            r#""type":"fixed","name":"F","size":4,"logicalType":"decimal","precision":9"#,
            decimal(9, 0, Some((name(), 4))),
        ),
        (r#""type":"fixed","name":"F","size":4,"logicalType":"decimal","precision":10"#, Node::Fixed(name(), 4)),
        (r#""type":"fixed","name":"F","size":16,"logicalType":"uuid""#, Node::UuidFixed(name())),
        (r#""type":"fixed","name":"F","size":15,"logicalType":"uuid""#, Node::Fixed(name(), 15)),
        (r#""type":"fixed","name":"F","size":12,"logicalType":"duration""#, Node::Duration(name())),
    ] {
        let schema = parse(&format!("{{{attributes}}}"));
        assert_eq!(*schema.node(schema.root()), node, "{attributes}");
    }
}

#[test]
fn a_shared_type_keeps_its_own_logical_type() {
    let schema = parse(
        r#"{"type":"record","name":"R","fields":[
            {"name":"a","type":{"type":"fixed","name":"F","size":12}},
            {"name":"b","type":{"type":"F","logicalType":"duration"}}]}"#,
    );
    let Node::Record { fields, .. } = schema.node(schema.root()) else { panic!("no record") };
    assert_eq!(fields[0].node, fields[1].node);
    assert_eq!(*schema.node(fields[0].node), Node::Fixed("F".into(), 12));
}

#[test]
fn names_take_the_namespace_around_them() {
    let schema = parse(
        r#"{"type":"record","name":"R","namespace":"a.b","aliases":["Old","x.Older"],"fields":[
            {"name":"own","type":{"type":"fixed","name":"F","size":1,"aliases":["G"]}},
            {"name":"dotted","type":{"type":"enum","name":"c.E","namespace":"ignored","symbols":["A"],"default":"A"}},
            {"name":"bare","type":{"type":"fixed","name":"H","namespace":"","size":1}},
            {"name":"again","type":["a.b.F","c.E",".H"]}]}"#,
    );
    let names: Vec<_> = schema.nodes().iter().filter_map(Node::full_name).map(|n| &**n).collect();
    assert_eq!(names, ["a.b.R", "a.b.F", "c.E", "H"]);
    assert_eq!(schema.aliases(schema.root()), ["a.b.Old".into(), "x.Older".into()]);
    let fixed = schema.nodes().iter().position(|n| *n == Node::Fixed("a.b.F".into(), 1)).unwrap();
    assert_eq!(schema.aliases(fixed as NodeId), ["a.b.G".into()]);
}

#[test]
fn canonical_form_by_the_rules_of_the_specification() {
    for (text, canonical) in [
        (r#" {"type" : "string"} "#, r#""string""#),
        (r#"{"type":{"type":"long"},"logicalType":"timestamp-millis"}"#, r#""long""#),
        (r#"{"type":"array","items":{"type":"int","x":1}}"#, r#"{"type":"array","items":"int"}"#),
        (r#"{"values":"int","type":"map"}"#, r#"{"type":"map","values":"int"}"#),
        (
            r#"{"type":"fixed","size":16,"name":"F","namespace":"n","logicalType":"uuid","doc":"d","aliases":["G"]}"#,
            r#"{"name":"n.F","type":"fixed","size":16}"#,
        ),
        (
            r#"{"type":"enum","symbols":["B","A"],"name":"E","default":"A"}"#,
            r#"{"name":"E","type":"enum","symbols":["B","A"]}"#,
        ),
        (
            r#"{"namespace":"n","name":"R","type":"record","doc":"d","fields":[
                {"type":["null","R"],"name":"f","default":null,"aliases":["g"]}]}"#,
            r#"{"name":"n.R","type":"record","fields":[{"name":"f","type":["null","n.R"]}]}"#,
        ),
    ] {
        let schema = parse(text);
        assert_eq!(schema.canonical(), canonical);
        assert_eq!(parse(canonical).fingerprint(), schema.fingerprint(), "{text}");
        // apache-avro 0.22 leaves a primitive that had a logical type in braces; the specification does not.
        let oracle = apache_avro::Schema::parse_str(text).unwrap().canonical_form();
        assert_eq!(oracle.replace(r#"{"type":"long"}"#, r#""long""#), canonical, "apache-avro, {text}");
    }
    // From the specification's own test data.
    let hex: String = parse(r#""int""#).fingerprint().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, "3f2b87a9fe7cc9b13835598c3981cd45e3e355309e5090aa0933d7becb6fba45");
}

#[test]
fn references_in_any_order() {
    let city = reference("t.City", r#"{"type":"record","name":"t.City","fields":[{"name":"n","type":"string"}]}"#);
    let address =
        reference("t.Address", r#"{"type":"record","name":"t.Address","fields":[{"name":"city","type":"City"}]}"#);
    let text = r#"{"type":"record","name":"t.Customer","fields":[
        {"name":"home","type":"Address","default":{"city":{"n":"x"}}},{"name":"work","type":["null","t.Address"]}]}"#;
    let expected = r#"{"name":"t.Customer","type":"record","fields":[{"name":"home","type":{"name":"t.Address","type":"record","fields":[{"name":"city","type":{"name":"t.City","type":"record","fields":[{"name":"n","type":"string"}]}}]}},{"name":"work","type":["null","t.Address"]}]}"#;
    for references in [[city.clone(), address.clone()], [address.clone(), city.clone()]] {
        assert_eq!(Schema::parse(text, &references).unwrap().canonical(), expected);
    }
    let root = Schema::parse(r#""t.Address""#, &[address.clone(), city.clone(), city.clone()]).unwrap();
    assert_eq!(root.full_name(), Some("t.Address"));
    let missing = Schema::parse(text, &[address]).unwrap_err();
    assert_eq!(missing.place, r#"reference "t.Address" /fields/0/type"#);
    let bad = Schema::parse(r#""int""#, &[reference("x", "{")]).unwrap_err();
    assert_eq!(bad.place, r#"reference "x""#);
}

#[test]
fn reference_loops_are_refused() {
    let one = |name: &str, other: &str| {
        reference(
            name,
            &format!(r#"{{"type":"record","name":"{name}","fields":[{{"name":"f","type":["null","{other}"]}}]}}"#),
        )
    };
    let (a, b) = (one("A", "B"), one("B", "A"));
    let error = Schema::parse(r#""A""#, &[a.clone(), b.clone()]).unwrap_err();
    assert!(error.problem.contains("loop"), "{error}");
    let error = Schema::parse(&b.schema, std::slice::from_ref(&a)).unwrap_err();
    assert!(error.problem.contains("loop") && error.place.contains("\"A\""), "{error}");
    assert!(Schema::parse(&one("A", "A").schema, &[]).is_ok(), "recursion in one text is no loop");
}

#[test]
fn what_is_wrong_is_told_with_place_and_fix() {
    let record = |fields: &str| format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
    for (text, place, says) in [
        ("", "", "no JSON"),
        ("{oops", "", "no JSON"),
        ("string", "", "a name alone needs quotes"),
        ("7", "", "7 is no schema"),
        ("{}", "", "`type` is missing"),
        (r#""record""#, "", "needs attributes"),
        (r#""bool""#, "", "did you mean \"boolean\""),
        (r#"{"type":"datetime"}"#, "/type", "did you mean \"string\""),
        (r#"{"type":"array"}"#, "", "`items` is missing"),
        (r#"{"type":"map","values":["null",null]}"#, "/values/1", "null is no schema"),
        (r#"{"type":"fixed","name":"F"}"#, "/size", "no `size`"),
        (r#"{"type":"fixed","name":"F","size":-1}"#, "/size", "no `size`"),
        (r#"{"type":"fixed","name":"F","size":2147483648}"#, "/size", "2147483647"),
        (r#"{"type":"fixed","size":1}"#, "", "`name` is missing"),
        (r#"{"type":"fixed","name":"1a","size":1}"#, "/name", "is no Avro name"),
        (r#"{"type":"fixed","name":"a-b.F","size":1}"#, "/name", "is no Avro name"),
        (r#"{"type":"fixed","name":"a..F","size":1}"#, "/name", "is no Avro name"),
        (r#"{"type":"fixed","name":"int","size":1}"#, "/name", "primitive"),
        (r#"{"type":"fixed","name":"F","namespace":7,"size":1}"#, "/namespace", "must be a string"),
        (r#"{"type":"fixed","name":"F","aliases":"G","size":1}"#, "/aliases", "must be an array"),
        (r#"{"type":"fixed","name":"F","aliases":["a b"],"size":1}"#, "/aliases/0", "is no Avro name"),
        (r#"{"type":"enum","name":"E"}"#, "", "no array `symbols`"),
        (r#"{"type":"enum","name":"E","symbols":[]}"#, "/symbols", "without symbols"),
        (r#"{"type":"enum","name":"E","symbols":["A","b-c"]}"#, "/symbols/1", "is no Avro name"),
        (r#"{"type":"enum","name":"E","symbols":["A","A"]}"#, "/symbols/1", "second time"),
        (r#"{"type":"enum","name":"E","symbols":["A"],"default":"B"}"#, "/default", "no symbol"),
        (r#"{"type":"record","name":"R"}"#, "", "no array `fields`"),
        (&record("7"), "/fields/0", "must be an object"),
        (&record(r#"{"name":"a"}"#), "/fields/0", "no `type`"),
        (&record(r#"{"type":"int"}"#), "/fields/0", "`name` is missing"),
        (&record(r#"{"name":"a.b","type":"int"}"#), "/fields/0/name", "is no Avro name"),
        (&record(r#"{"name":"a","type":"int"},{"name":"a","type":"int"}"#), "/fields/1", "second field"),
        (&record(r#"{"name":"a","type":"int","forebay.sensitive":"true"}"#), "/fields/0", "without quotes"),
        (&record(r#"{"name":"a","type":"Missing"}"#), "/fields/0/type", "no type is named \"Missing\""),
        (
            &record(r#"{"name":"a","type":{"type":"fixed","name":"x.F","size":1}},{"name":"b","type":"F"}"#),
            "/fields/1/type",
            "did you mean \"x.F\"",
        ),
        (
            &record(r#"{"name":"a","type":"F"},{"name":"b","type":{"type":"fixed","name":"F","size":1}}"#),
            "/fields/0/type",
            "before it is defined",
        ),
        (&record(r#"{"name":"a","type":{"type":"fixed","name":"R","size":1}}"#), "/fields/0/type/name", "second time"),
        (&record(r#"{"name":"a","type":"R"}"#), "", "no value of it ever ends"),
        (&record(r#"{"name":"a","type":["R"]}"#), "", "no value of it ever ends"),
        ("[]", "", "without branches"),
        (r#"["null","null"]"#, "/1", "second branch of type null"),
        (r#"["int",{"type":"int","logicalType":"date"}]"#, "/1", "second branch of type int"),
        (r#"["null",["int"]]"#, "/1", "directly in a union"),
        (r#"["null",{"type":["int"]}]"#, "/1", "directly in a union"),
        (r#"[{"type":"array","items":"int"},{"type":"array","items":"long"}]"#, "/1", "second branch of type array"),
        (r#"[{"type":"fixed","name":"F","size":1},"F"]"#, "/1", "second branch of type \"F\""),
    ] {
        let error = refused(text);
        assert_eq!(error.place, place, "{error}\n{text}");
        assert!(error.to_string().contains(says), "{error}\n{text}");
        assert!(!error.fix.is_empty());
    }
}

#[test]
fn names_that_look_like_types_are_names() {
    parse(
        r#"[{"type":"fixed","name":"a.union","size":1},{"type":"fixed","name":"array","size":1},{"type":"array","items":"int"}]"#,
    );
    parse(r#"{"type":"record","name":"n.record","fields":[{"name":"f","type":["null","record"]}]}"#);
}

#[test]
fn defaults_fit_their_type() {
    let fixed = r#"{"type":"fixed","name":"F","size":2}"#;
    let inner =
        r#"{"type":"record","name":"I","fields":[{"name":"x","type":"int"},{"name":"y","type":"int","default":1}]}"#;
    let symbol = r#"{"type":"enum","name":"E","symbols":["A"]}"#;
    for (kind, default) in [
        (r#""null""#, "null"),
        (r#""int""#, "-2147483648"),
        (r#""long""#, "9223372036854775807"),
        (r#""double""#, "1"),
        (r#""bytes""#, r#""\u00ff\u0000""#),
        (fixed, r#""\u00ffa""#),
        (symbol, r#""A""#),
        (inner, r#"{"x":1}"#),
        (inner, r#"{"x":1,"y":2,"more":3}"#),
        (r#"{"type":"array","items":"int"}"#, "[1,2]"),
        (r#"{"type":"map","values":["null","int"]}"#, r#"{"a":1,"b":null}"#),
        (r#"["null","string"]"#, r#""second branch""#),
    ] {
        parse(&with_field(&format!(r#""type":{kind},"default":{default}"#)));
    }
    for (kind, default, below, says) in [
        (r#""null""#, "0", "", "does not match type null"),
        (r#""int""#, "2147483648", "", "from -2147483648 to 2147483647"),
        (r#""int""#, "1.0", "", "does not match type int"),
        (r#""long""#, "9223372036854775808", "", "64 bits"),
        (r#""string""#, "null", "", "give a string"),
        (r#""bytes""#, r#""\u0100""#, "", "U+00FF"),
        (fixed, r#""abc""#, "", "2 characters"),
        (symbol, r#""B""#, "", "one of its symbols"),
        (inner, r#"{"y":1}"#, "", "field \"x\" of record \"I\" is missing"),
        (inner, r#"{"x":"1"}"#, "/x", "does not match type int"),
        (r#"{"type":"array","items":"int"}"#, "[1,null]", "/1", "does not match type int"),
        (r#"{"type":"map","values":"int"}"#, r#"{"a/b":[]}"#, "/a~1b", "an array does not match type int"),
        (r#"["null","int"]"#, r#""null""#, "", "write null without quotes"),
        (r#"["null","int"]"#, "1.5", "", "no branch of the union (null, int)"),
    ] {
        let error = refused(&with_field(&format!(r#""type":{kind},"default":{default}"#)));
        assert_eq!(error.place, format!("/fields/0/default{below} (field \"f\")"), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// Nested arrays, `levels` types in all.
fn arrays(levels: usize) -> String {
    format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(levels - 1), "}".repeat(levels - 1))
}

#[test]
fn limits_at_their_edges() {
    parse(&arrays(limits::MAX_DEPTH));
    assert!(refused(&arrays(limits::MAX_DEPTH + 1)).problem.contains("deeper than 64"));
    let name = |n: usize| format!(r#"{{"type":"fixed","size":1,"name":"{}"}}"#, "n".repeat(n));
    parse(&name(limits::MAX_NAME_BYTES));
    assert_eq!(refused(&name(limits::MAX_NAME_BYTES + 1)).place, "/name");
    let fields = |n: usize| {
        let fields: Vec<_> = (0..n).map(|i| format!(r#"{{"name":"f{i}","type":"int"}}"#)).collect();
        format!(r#"{{"type":"record","name":"R","fields":[{}]}}"#, fields.join(","))
    };
    parse(&fields(limits::MAX_FIELDS));
    assert!(refused(&fields(limits::MAX_FIELDS + 1)).problem.contains("more than 10000 fields"));
    let symbols = |n: usize| {
        let symbols: Vec<_> = (0..n).map(|i| format!("\"s{i}\"")).collect();
        format!(r#"{{"type":"enum","name":"E","symbols":[{}]}}"#, symbols.join(","))
    };
    parse(&symbols(limits::MAX_SYMBOLS));
    assert!(refused(&symbols(limits::MAX_SYMBOLS + 1)).problem.contains("more than 10000 symbols"));
    let text = |n: usize| format!("\"int\"{}", " ".repeat(n - 5));
    parse(&text(limits::MAX_TEXT_BYTES));
    assert!(refused(&text(limits::MAX_TEXT_BYTES + 1)).problem.contains("over the limit of 1048576"));
    let references = |n: usize| {
        let one = |i| reference("F", &format!(r#"{{"type":"fixed","name":"F{i}","size":1}}"#));
        Schema::parse("\"int\"", &(0..n).map(one).collect::<Vec<_>>())
    };
    assert!(references(limits::MAX_REFERENCES).is_ok());
    assert!(references(limits::MAX_REFERENCES + 1).is_err());
}

#[test]
fn nesting_counts_through_names() {
    let chain = |n: usize| {
        let record = |i: usize| match i {
            0 => r#"{"type":"record","name":"r0","fields":[]}"#.to_owned(),
            i => format!(r#"{{"type":"record","name":"r{i}","fields":[{{"name":"f","type":"r{}"}}]}}"#, i - 1),
        };
        format!("[{}]", (0..n).map(record).collect::<Vec<_>>().join(","))
    };
    parse(&chain(limits::MAX_DEPTH - 1));
    assert!(refused(&chain(limits::MAX_DEPTH)).problem.contains("deeper than 64"));
    assert!(refused(&chain(9_000)).problem.contains("deeper than 64"));
}

/// Refused within the test's time, without a crash, and in few words.
fn refused_soon(what: &str, text: &str) {
    let error = refused(text);
    assert!(error.to_string().len() < 1_000, "{what}: a short message");
}

#[test]
fn hostile_schemas_are_refused_soon_and_without_overflow() {
    for (what, open, close) in [
        ("arrays", r#"{"type":"array","items":"#, "}"),
        ("wrapped types", r#"{"type":"#, "}"),
        ("unions", "[", "]"),
        (
            "brackets in a default",
            r#"{"type":"record","name":"R","fields":[{"name":"f","type":"int","default":["#,
            "]}]}",
        ),
    ] {
        for depth in [200, 10_000, 100_000] {
            let text = format!("{}\"int\"{}", open.repeat(depth), close.repeat(depth));
            refused_soon(what, &text);
            refused_soon(what, &open.repeat(depth));
        }
    }
    let million = format!(
        r#"{{"type":"record","name":"R","fields":[{}]}}"#,
        (0..1_000_000).map(|i| format!(r#"{{"name":"f{i}","type":"int"}}"#)).collect::<Vec<_>>().join(",")
    );
    refused_soon("a million fields", &million);
    let symbols = (0..100_000).map(|i| format!("\"s{i}\"")).collect::<Vec<_>>().join(",");
    refused_soon("a huge enum", &format!(r#"{{"type":"enum","name":"E","symbols":[{symbols}]}}"#));
    refused_soon("a long name", &format!(r#"{{"type":"fixed","size":1,"name":"{}"}}"#, "é".repeat(400_000)));
    refused_soon("a wide union", &format!("[{}\"int\"]", "\"int\",".repeat(100_000)));
    let digits = "9".repeat(500_000);
    refused_soon("a long number", &format!(r#"{{"type":"fixed","size":{digits},"name":"F"}}"#));
}

#[test]
fn a_default_that_fits_no_branch_can_not_be_tried_for_ever() {
    // Each level offers ten records that differ at the very end only: 10^30 ways.
    let branch =
        |i: usize| format!(r#"{{"type":"record","name":"b{i}","fields":[{{"name":"x","type":"U","default":{{}}}}]}}"#);
    let branches = (1..10).map(branch).collect::<Vec<_>>().join(",").replace(r#","default":{}"#, "");
    let text = format!(
        r#"{{"type":"record","name":"U","fields":[{{"name":"x","type":["string",{branches}],"default":{}7{}}}]}}"#,
        r#"{"x":{"x":"#.repeat(30),
        "}}".repeat(30)
    );
    refused_soon("nested unions", &text);
}
