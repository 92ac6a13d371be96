//! Schemas by id and GUID.

use axum::{extract::State, response::Response};
use forebay_avro::registry::SchemaEntry;
use serde_json::{Value, json};

use super::{
    Desk, Page,
    answer::{Refused, Result, answer, answer_text, members},
    ask::Asked,
};

/// GET `/schemas/types`.
pub(super) async fn types(asked: Asked) -> Result<Response> {
    answer(&asked.headers, &json!(["AVRO"]))
}

/// GET `/schemas/ids/{id}`. Deleted schemas are told too, as long as a version holds them: records do.
pub(super) async fn by_id(State(desk): State<Desk>, asked: Asked) -> Result<Response> {
    let schema = desk.registry.show_id(asked.id()?)?;
    let max_id = asked.flag("fetchMaxId").then(|| desk.registry.last_id());
    answer(&asked.headers, &shown(&schema, max_id))
}

/// GET `/schemas/guids/{guid}`.
pub(super) async fn by_guid(State(desk): State<Desk>, asked: Asked) -> Result<Response> {
    let guid = asked.first().parse().map_err(|_| Refused::schema_not_found())?;
    let schema = desk.registry.show_guid(guid).ok_or_else(Refused::schema_not_found)?;
    answer(&asked.headers, &shown(&schema, None))
}

/// GET `/schemas/ids/{id}/schema`: the text alone.
pub(super) async fn text_by_id(State(desk): State<Desk>, asked: Asked) -> Result<Response> {
    let schema = desk.registry.show_id(asked.id()?)?;
    answer_text(&asked.headers, schema.text.to_string())
}

/// GET `/schemas/ids/{id}/subjects`.
pub(super) async fn subjects(State(desk): State<Desk>, asked: Asked) -> Result<Response> {
    let mut subjects: Vec<String> = uses(&desk, &asked)?.into_iter().map(|(subject, _)| subject).collect();
    subjects.dedup();
    answer(&asked.headers, &Page::of(&asked)?.cut(subjects))
}

/// GET `/schemas/ids/{id}/versions`.
pub(super) async fn versions(State(desk): State<Desk>, asked: Asked) -> Result<Response> {
    let pairs = Page::of(&asked)?.cut(uses(&desk, &asked)?);
    let pairs: Vec<_> =
        pairs.into_iter().map(|(subject, version)| json!({"subject": subject, "version": version})).collect();
    answer(&asked.headers, &pairs)
}

fn uses(desk: &Desk, asked: &Asked) -> Result<Vec<(String, u32)>> {
    let mut uses = desk.registry.uses(asked.id()?, asked.shown())?;
    if let Some(subject) = asked.text("subject") {
        uses.retain(|(name, _)| name == subject);
    }
    Ok(uses)
}

fn shown(schema: &SchemaEntry, max_id: Option<u32>) -> Value {
    members([
        ("schema", Some(json!(*schema.text))),
        ("references", references(schema)),
        ("guid", Some(json!(schema.guid))),
        ("maxId", max_id.map(Value::from)),
    ])
}

/// References, where there are any.
pub(super) fn references(schema: &SchemaEntry) -> Option<Value> {
    (!schema.references.is_empty()).then(|| json!(schema.references))
}
