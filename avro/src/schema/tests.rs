//! Schemas as they are and as attackers write them.

use super::*;

fn parse(text: &str) -> Schema {
    Schema::parse(text, &[]).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn refused(text: &str) -> SchemaError {
    Schema::parse(text, &[]).expect_err(text)
}

fn reference(name: &str, schema: &str) -> Reference {
    Reference { name: name.into(), subject: name.into(), version: 1, schema: schema.into() }
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
