//! The normal form of a schema's text (`normalize=true`): what it says, in one way of saying it.

use serde_json::{Map, Value};

use crate::schema::names;

/// Full names instead of namespaces, bare names for types without further attributes, attributes in alphabetical order.
/// Nothing that a reader could see is lost: documentation, defaults, aliases and attributes of one's own stay.
///
/// `text` has been parsed as a schema before: its nesting is bounded. Text that is no JSON is handed back.
pub(super) fn normalize(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(schema) => {
            let mut schema = one(schema, "");
            schema.sort_all_objects();
            schema.to_string()
        }
        Err(_) => text.to_owned(),
    }
}

fn one(schema: Value, namespace: &str) -> Value {
    match schema {
        Value::String(name) => Value::String(named_type(name, namespace)),
        Value::Array(branches) => branches.into_iter().map(|branch| one(branch, namespace)).collect(),
        Value::Object(object) => attributes(object, namespace),
        other => other,
    }
}

fn attributes(mut object: Map<String, Value>, namespace: &str) -> Value {
    let kind = object.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    match kind.as_str() {
        "record" | "enum" | "fixed" => named(&mut object, namespace),
        "array" => within(&mut object, "items", namespace),
        "map" => within(&mut object, "values", namespace),
        _ if object.len() == 1 => {
            return object.remove("type").map_or(Value::Null, |inner| one(inner, namespace));
        }
        _ => within(&mut object, "type", namespace),
    }
    Value::Object(object)
}

fn named(object: &mut Map<String, Value>, namespace: &str) {
    let own = match object.remove("namespace") {
        Some(Value::String(own)) => own,
        _ => namespace.to_owned(),
    };
    let Some(Value::String(name)) = object.get("name") else { return };
    let name = full(name, &own);
    let inner = name.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
    if inner.is_empty() && !namespace.is_empty() {
        // The name alone would be read in the namespace around it.
        object.insert("namespace".to_owned(), Value::String(String::new()));
    }
    object.insert("name".to_owned(), Value::String(name));
    if let Some(Value::Array(aliases)) = object.get_mut("aliases") {
        aliases.iter_mut().for_each(|alias| *alias = one(alias.take(), &inner));
    }
    if let Some(Value::Array(fields)) = object.get_mut("fields") {
        fields.iter_mut().filter_map(Value::as_object_mut).for_each(|field| within(field, "type", &inner));
    }
}

fn within(object: &mut Map<String, Value>, attribute: &str, namespace: &str) {
    if let Some(inner) = object.get_mut(attribute) {
        *inner = one(inner.take(), namespace);
    }
}

/// A type's name as it is written within a namespace: full, with a leading dot where that is needed to leave it.
fn named_type(name: String, namespace: &str) -> String {
    if names::PRIMITIVES.contains(&name.as_str()) {
        return name;
    }
    let full = full(&name, namespace);
    if namespace.is_empty() || full.contains('.') { full } else { format!(".{full}") }
}

fn full(name: &str, namespace: &str) -> String {
    match name.strip_prefix('.') {
        Some(short) => short.to_owned(),
        None if namespace.is_empty() || name.contains('.') => name.to_owned(),
        None => format!("{namespace}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    #[test]
    fn one_way_of_saying_it() {
        for (text, normal) in [
            (r#""int""#, r#""int""#),
            (r#"{"type":"int"}"#, r#""int""#),
            (r#"{"type":{"type":"int"}}"#, r#""int""#),
            (r#"{"type":"int","logicalType":"date"}"#, r#"{"logicalType":"date","type":"int"}"#),
            (r#"[{"type":"null"},"string"]"#, r#"["null","string"]"#),
            (r#"{"type":"map","values":{"type":"long"}}"#, r#"{"type":"map","values":"long"}"#),
            (
                r#"{"type":"fixed","name":"f","namespace":"a.b","size":2,"aliases":["g","c.h"]}"#,
                r#"{"aliases":["a.b.g","c.h"],"name":"a.b.f","size":2,"type":"fixed"}"#,
            ),
            (
                r#"{"type":"record","name":"a.R","doc":"d","fields":[{"name":"x","default":{"type":"int"},
                    "type":{"type":"map","values":"int"}},{"name":"next","type":["null","R"],"order":"ignore"},
                    {"name":"e","type":{"type":"enum","name":"E","namespace":"","symbols":["S"],"default":"S"}},{"name":"e2","type":".E"}]}"#,
                r#"{"doc":"d","fields":[{"default":{"type":"int"},"name":"x","type":{"type":"map","values":"int"}},{"name":"next","order":"ignore","type":["null","a.R"]},{"name":"e","type":{"default":"S","name":"E","namespace":"","symbols":["S"],"type":"enum"}},{"name":"e2","type":".E"}],"name":"a.R","type":"record"}"#,
            ),
        ] {
            assert_eq!(normalize(text), normal, "{text}");
            assert_eq!(normalize(normal), normal, "a normal form is its own");
        }
    }

    #[test]
    fn it_says_the_same() {
        for text in [
            r#"{"type":"record","name":"a.R","fields":[{"name":"n","type":["null","R"]}]}"#,
            r#"{"type":"record","name":"R","namespace":"x","fields":[{"name":"e","type":{"type":"enum","name":"E",
                "symbols":["S"]}},{"name":"f","type":"x.E"}]}"#,
            r#"{"type":"record","name":"a.R","fields":[{"name":"e","type":{"type":"fixed","name":"E","namespace":"",
                "size":2}},{"name":"f","type":".E"}]}"#,
        ] {
            let (given, normal) = (Schema::parse(text, &[]).unwrap(), Schema::parse(&normalize(text), &[]).unwrap());
            assert_eq!(given.canonical(), normal.canonical());
        }
    }
}
