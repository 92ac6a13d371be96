//! A topic's own operation, from its schema. Pure.

use forebay_avro::{
    event::{self, EventOptions, Shape},
    schema::Schema,
};
use serde_json::{Value, json};

use crate::routes::PUBLISH;

/// Topics with an operation of their own (fixed); the others have `?topic=` and the general path.
pub(crate) const MAX_TOPICS: usize = 200;
/// Longest part of one topic (fixed), as JSON text.
const TOPIC_BYTES: usize = 512 << 10;
/// All topics' parts (fixed).
const TOPICS_BYTES: usize = 8 << 20;

/// What is known of a topic.
pub(crate) struct Topic<'a> {
    pub name: &'a str,
    pub subject: &'a str,
    /// Version and id; `None` for the envelope that the first event registers.
    pub registered: Option<(u32, u32)>,
    pub schema: &'a Schema,
    pub options: EventOptions,
    /// Where the key is looked for; the example has one. Empty where that may well be nowhere.
    pub key: &'a [String],
    /// There must be one.
    pub key_required: bool,
}

/// Adds each topic's operation and types. A topic whose schema takes no events, or is too long to be read here, is left
/// to the general path.
pub(crate) fn add<'a>(document: &mut Value, topics: impl IntoIterator<Item = Topic<'a>>) {
    let general = document["paths"][PUBLISH]["post"].clone();
    let (mut left, mut more) = (TOPICS_BYTES, 0);
    for topic in topics {
        let Some((operation, schema)) = describe(&topic, &general) else { continue };
        let bytes = operation.to_string().len() + schema.to_string().len();
        if bytes > TOPIC_BYTES || bytes > left {
            more += 1;
            continue;
        }
        left -= bytes;
        document["components"]["schemas"][component(topic.name)] = schema;
        document["paths"][format!("/api/v1/events/{}", topic.name)] = json!({ "post": operation });
    }
    mention(document, more);
}

/// Says that some topics stand on the general path only.
pub(crate) fn mention(document: &mut Value, more: usize) {
    if more > 0
        && let Some(text) = document["info"]["description"].as_str()
    {
        document["info"]["description"] = format!(
            "{text}\n\n{more} more topics are not listed here: `/openapi.json?topic=<name>` describes one of them."
        )
        .into();
    }
}

/// The component's name. Topic names are made of the characters that such names may have; no component of the routes
/// has a name with this beginning.
fn component(topic: &str) -> String {
    format!("topic.{topic}")
}

fn describe(topic: &Topic<'_>, general: &Value) -> Option<(Value, Value)> {
    let at = format!("#/components/schemas/{}", component(topic.name));
    let described = event::describe(topic.schema, &topic.options, topic.key, &at).ok()?;
    let mut schema = described.json_schema;
    schema["title"] = format!("Event of {}", topic.name).into();
    let mut content = json!({"schema": {"$ref": at}});
    if let Some(example) = described.example {
        content["example"] = example;
    }
    let operation = json!({
        "tags": ["publish"],
        "summary": format!("Publish to {}", topic.name),
        "description": words(topic, described.shape),
        "operationId": format!("publish.{}", topic.name),
        "parameters": parameters(general),
        "requestBody": {
            "required": true, "description": general["requestBody"]["description"], "content": {"application/json": content}
        },
        "responses": general["responses"],
    });
    Some((operation, schema))
}

/// Those of the general path, but for the topic.
fn parameters(general: &Value) -> Vec<Value> {
    let all = general["parameters"].as_array().into_iter().flatten();
    all.filter(|parameter| parameter["$ref"] != "#/components/parameters/Publish.topic").cloned().collect()
}

fn words(topic: &Topic<'_>, shape: Shape) -> String {
    let kept = match shape {
        Shape::TextEnvelope => "The payload may be any object, and is kept as JSON text.",
        Shape::TypedEnvelope => "The payload is checked against the schema's field `payload`.",
        Shape::PlainRecord => "The payload is the schema's record.",
    };
    let key = match topic.key_required {
        true => format!(" Every event needs a key: at `{}`, or in the header `Event-Key`.", topic.key.join("` or `")),
        false => String::new(),
    };
    let subject = topic.subject;
    match topic.registered {
        Some((version, id)) => format!("Subject `{subject}`, version {version}, schema id {id}. {kept}{key}"),
        None => format!("Subject `{subject}` is registered, as the default envelope, by the first event. {kept}{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::document;

    fn with(names: &[String], text: &str) -> Value {
        let schema = Schema::parse(text, &[]).unwrap();
        let topic = |name: &'_ String| Topic {
            name: Box::leak(name.clone().into_boxed_str()),
            subject: "s",
            registered: Some((1, 1)),
            schema: Box::leak(Box::new(schema.clone())),
            options: EventOptions::default(),
            key: &[],
            key_required: false,
        };
        let mut document = document();
        add(&mut document, names.iter().map(topic));
        document
    }

    const RECORD: &str = r#"{"type":"record","name":"a.R","fields":[{"name":"next","type":["null","R"],"default":null},{"name":"n","type":"int"}]}"#;

    /// Every `$ref` leads somewhere, and every operation has an id of its own.
    fn assert_whole(document: &Value) {
        let mut ids = std::collections::HashSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{method} {path}");
            }
        }
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
        }
    }

    #[test]
    fn names_of_every_kind_have_operations_of_their_own() {
        let names: Vec<String> =
            ["a.b", "a_b", "A_b", "a-b", "topic.a", "Publish.200", "-", "_", "a..b", "batch", &"x".repeat(249)]
                .map(str::to_owned)
                .into();
        let document = with(&names, RECORD);
        assert_whole(&document);
        for name in &names {
            let post = &document["paths"][format!("/api/v1/events/{name}")]["post"];
            let content = &post["requestBody"]["content"]["application/json"];
            let reference = content["schema"]["$ref"].as_str().unwrap();
            let schema = document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
            assert_eq!(schema["title"], format!("Event of {name}"));
            assert_eq!(content["example"]["payload"]["n"], 1);
            assert_eq!(post["responses"], document["paths"][PUBLISH]["post"]["responses"]);
        }
    }

    #[test]
    fn parts_are_bounded_and_what_is_left_out_is_said() {
        let fields: Vec<String> = (0..4_000).map(|i| format!(r#"{{"name":"f{i}","type":"int"}}"#)).collect();
        let wide = format!(r#"{{"type":"record","name":"R","fields":[{}]}}"#, fields.join(","));
        let names: Vec<String> = (0..60).map(|i| format!("t{i}")).collect();
        let document = with(&names, &wide);
        assert_whole(&document);
        let typed =
            document["paths"].as_object().unwrap().keys().filter(|path| path.starts_with("/api/v1/events/t")).count();
        assert!((1..60).contains(&typed), "{typed}");
        assert!(document.to_string().len() < TOPICS_BYTES + (1 << 20));
        let text = document["info"]["description"].as_str().unwrap();
        assert!(text.contains(&format!("{} more topics", 60 - typed)), "{text}");
    }

    #[test]
    fn schemas_that_take_no_events_have_no_operation() {
        let document = with(&["t".to_owned()], "\"string\"");
        assert_eq!(document["paths"].get("/api/v1/events/t"), None);
        assert_eq!(document, crate::routes::document());
    }
}
