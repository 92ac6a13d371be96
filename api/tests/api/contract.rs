//! Every answer that these tests see is held against the document: its status, type, headers and body.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
};

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::support::Answer;

static DOCUMENT: LazyLock<Value> = LazyLock::new(forebay_api::openapi::document);
static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// Panics over an answer that the document does not know.
#[track_caller]
pub fn check(method: &str, target: &str, answer: &Answer) {
    let path = target.split('?').next().unwrap_or_default();
    if is_of_no_route(answer) {
        return;
    }
    let read = if method == "HEAD" { "GET" } else { method };
    let operation = operation(read, path).unwrap_or_else(|| panic!("{method} {path} is not documented: {answer:?}"));
    let status = answer.status.to_string();
    let response = resolve(&operation["responses"][&status]);
    assert!(response.is_object(), "{method} {path} does not document {status}: {}", answer.text);
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        let required = resolve(header)["required"] == true;
        assert!(!required || answer.headers.contains_key(name), "{method} {path} {status} lacks {name}");
    }
    if answer.headers.contains_key("retry-after") {
        assert!(response["headers"]["Retry-After"].is_object(), "{method} {path} {status} has Retry-After");
    }
    let Some(content) = response["content"].as_object() else {
        assert_eq!(answer.text, "", "{method} {path} {status} has a body");
        return;
    };
    let kind = answer.header("content-type");
    let essence = kind.split(';').next().unwrap_or_default();
    let documented = |name: &String| name == kind || name == "*/*" || name.split(';').next() == Some(essence);
    let (_, media) = content
        .iter()
        .find(|(name, _)| documented(name))
        .unwrap_or_else(|| panic!("{method} {path} {status} does not document the type {kind:?}"));
    if essence.ends_with("json") && method != "HEAD" {
        let key = format!("{method} {} {status} {essence}", operation["operationId"]);
        let body = answer.json();
        let errors: Vec<String> = validator(key, &media["schema"]).iter_errors(&body).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{method} {path} {status}: {errors:#?}\n{body:#}");
    }
}

/// Whether it was refused before a route was found.
fn is_of_no_route(answer: &Answer) -> bool {
    let body: Value = serde_json::from_str(&answer.text).unwrap_or_default();
    body["code"] == "method_not_allowed" || body["detail"] == "There is no such path here."
}

/// The operation of a path: an exact path wins over a template.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let segments: Vec<&str> = path.split('/').collect();
    let matches = |template: &str| {
        let parts: Vec<&str> = template.split('/').collect();
        parts.len() == segments.len()
            && parts.iter().zip(&segments).all(|(part, given)| part == given || part.starts_with('{'))
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let item =
        paths.get(path).or_else(|| paths.iter().find(|(template, _)| matches(template)).map(|(_, item)| item))?;
    item.get(method.to_lowercase())
}

fn resolve(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => DOCUMENT.pointer(reference.strip_prefix('#').unwrap()).unwrap_or(&Value::Null),
        None => value,
    }
}

fn validator(key: String, schema: &Value) -> Arc<Validator> {
    let mut validators = VALIDATORS.lock().unwrap();
    let build = || {
        let whole = json!({"allOf": [schema], "components": {"schemas": DOCUMENT["components"]["schemas"]}});
        Arc::new(jsonschema::options().should_validate_formats(true).build(&whole).unwrap())
    };
    validators.entry(key).or_insert_with(build).clone()
}
