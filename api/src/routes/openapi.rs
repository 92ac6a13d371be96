//! The document's static part: every route of this folder, in its handlers' own words.

use forebay_avro::{
    event::{DEFAULT_ENVELOPE, EventOptions, describe},
    schema::Schema,
};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use super::{batch, connectors, docs, events, health, latest, metrics, schemas, topics, validate};
use crate::problem::Document;

/// The path of one event, whatever its topic.
pub(crate) const PUBLISH: &str = "/api/v1/events/{topic}";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Forebay",
        description = "Events in over HTTP, each held against its Avro schema, into a durable log.\n\nEvery topic with a schema has a path of its own below, \
            with the events that it takes. Each answer carries `X-Correlation-Id`; every refusal is a problem document (RFC 9457) whose `code` \
            says what kind it is, and whose `errors` name every place that is wrong.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        events::publish, batch::publish, validate::validate, latest::latest,
        topics::list, topics::create, topics::show,
        schemas::subjects, schemas::versions, schemas::register, schemas::version, schemas::check,
        schemas::forget,
        connectors::list, connectors::show, connectors::pause, connectors::resume, connectors::restart,
        health::health, metrics::metrics, health::live, health::ready,
        docs::problem, docs::openapi, docs::redirect, docs::index, docs::file,
    ),
    components(schemas(Document<'static>)),
    tags(
        (name = "publish", description = "Your topics, each with the events that it takes."),
        (name = "events", description = "Events of any topic: in, and the newest back."),
        (name = "topics", description = "Where events are kept."),
        (name = "schemas", description = "What the events of a topic look like."),
        (name = "connectors", description = "Where the events of this process go."),
        (name = "operation", description = "Whether the service is well."),
        (name = "documentation", description = "This document and its pages."),
    ),
)]
struct Api;

/// The document without the topics' own operations: the same for every service of a version.
pub fn document() -> Value {
    // What utoipa builds is made of maps with text keys: it can't fail to become a value.
    let mut document = serde_json::to_value(Api::openapi()).unwrap_or_default();
    add_events(&mut document);
    let metrics = alias(&document["paths"]["/api/v1/metrics"], "metricsAtRoot");
    document["paths"]["/metrics"] = metrics;
    plain_parameters(&mut document);
    add_correlation(&mut document);
    share_publish(&mut document);
    document
}

/// `Event` and `EventBatch`, from the envelope that a topic without a schema gets.
fn add_events(document: &mut Value) {
    let at = "#/components/schemas/Event";
    let described = Schema::parse(DEFAULT_ENVELOPE, &[])
        .ok()
        .and_then(|schema| describe(&schema, &EventOptions::default(), &[], at).ok());
    let Some(described) = described else { return };
    let mut event = described.json_schema;
    event["description"] = "An event of any topic. The topic's schema says what its payload is.".into();
    event["properties"]["payload"]["description"] = "What the topic's schema asks for; without one, any object.".into();
    let events = json!({"type": "array", "items": {"$ref": at}, "minItems": 1});
    let object = json!({
        "type": "object", "properties": {"events": events}, "required": ["events"], "additionalProperties": false
    });
    document["components"]["schemas"]["Event"] = event;
    document["components"]["schemas"]["EventBatch"] = json!({"oneOf": [object, events]});
    for (path, example) in [
        (PUBLISH, described.example.clone()),
        ("/api/v1/events/{topic}/validate", described.example.clone()),
        ("/api/v1/events/{topic}/batch", described.example.map(|event| json!({"events": [event]}))),
    ] {
        let content = &mut document["paths"][path]["post"]["requestBody"]["content"]["application/json"];
        content["example"] = example.into();
    }
}

/// A path item under another name.
fn alias(item: &Value, operation_id: &str) -> Value {
    let mut item = item.clone();
    item["get"]["operationId"] = operation_id.into();
    item
}

/// An optional parameter is left out, never null.
fn plain_parameters(document: &mut Value) {
    let parameters = operations(document).filter_map(|operation| operation.get_mut("parameters")?.as_array_mut());
    for kind in parameters.flatten().filter_map(|parameter| parameter.pointer_mut("/schema/type")) {
        if let [only, null] = kind.as_array().map_or(&[][..], Vec::as_slice)
            && null == "null"
        {
            *kind = only.clone();
        }
    }
}

/// The correlation id: every request may carry one, every answer does.
fn add_correlation(document: &mut Value) {
    let words = "Identifies the request in answers, logs and records: 1 to 128 letters, digits and `._:-`. Another is made if this is none.";
    let parameter = json!({
        "name": "X-Correlation-Id", "in": "header", "required": false, "schema": {"type": "string"}, "description": words
    });
    let header = json!({"description": "The request's, or the one that was made for it.", "schema": {"type": "string"}, "required": true});
    document["components"]["parameters"] = json!({ "CorrelationId": parameter });
    document["components"]["headers"] = json!({ "CorrelationId": header });
    for operation in operations(document) {
        let reference = json!({"$ref": "#/components/parameters/CorrelationId"});
        match &mut operation["parameters"] {
            Value::Array(parameters) => parameters.push(reference),
            none => *none = json!([reference]),
        }
        for (_, response) in operation["responses"].as_object_mut().into_iter().flatten() {
            response["headers"]["X-Correlation-Id"] = json!({"$ref": "#/components/headers/CorrelationId"});
        }
    }
}

fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let items = document["paths"].as_object_mut().into_iter().flatten();
    items.flat_map(|(_, item)| item.as_object_mut().into_iter().flatten().map(|(_, operation)| operation))
}

/// Moves parameters and answers of a publish to where the topics' own operations can name them.
fn share_publish(document: &mut Value) {
    let operation = document["paths"][PUBLISH]["post"].take();
    let Value::Object(mut operation) = operation else { return };
    let mut parameters = document["components"]["parameters"].take();
    let mut responses = Map::new();
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(name) = parameter["name"].as_str().map(|name| format!("Publish.{name}")) else { continue };
        let reference = json!({ "$ref": format!("#/components/parameters/{name}") });
        parameters[&name] = std::mem::replace(parameter, reference);
    }
    for (status, response) in operation.get_mut("responses").and_then(Value::as_object_mut).into_iter().flatten() {
        let name = format!("Publish.{status}");
        let reference = json!({ "$ref": format!("#/components/responses/{name}") });
        responses.insert(name, std::mem::replace(response, reference));
    }
    document["components"]["parameters"] = parameters;
    document["components"]["responses"] = responses.into();
    document["paths"][PUBLISH]["post"] = operation.into();
}
