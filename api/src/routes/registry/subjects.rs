//! Subjects and their versions: list, look up, register, compare, delete.

use axum::{body::Body, extract::State, response::Response};
use forebay_avro::registry::{Against, VersionEntry};
use serde_json::{Value, json};

use super::{
    Desk, Page,
    answer::{Refused, Result, answer, answer_text, members},
    ask::Asked,
    schemas::references,
};

/// Prefixes by which clients name all contexts, and the one that there is.
const CONTEXTS: [&str; 2] = [":*:", ":.:"];

/// GET `/subjects`.
pub(super) async fn list(State(desk): State<Desk>, asked: Asked) -> Result<Response> {
    let mut subjects = desk.registry.list_subjects(asked.shown());
    let prefix = asked.text("subjectPrefix").unwrap_or_default();
    let prefix = CONTEXTS.iter().find_map(|context| prefix.strip_prefix(context)).unwrap_or(prefix);
    subjects.retain(|subject| subject.starts_with(prefix));
    answer(&asked.headers, &Page::of(&asked)?.cut(subjects))
}

/// GET `/subjects/{subject}/versions`.
pub(super) async fn versions(State(desk): State<Desk>, asked: Asked) -> Result<Response> {
    let versions = desk.registry.list_versions(asked.first(), asked.shown())?;
    answer(&asked.headers, &Page::of(&asked)?.cut(versions))
}

/// GET `/subjects/{subject}/versions/{version}`.
pub(super) async fn version(State(desk): State<Desk>, asked: Asked) -> Result<Response> {
    answer(&asked.headers, &shown(&entry(&desk, &asked)?))
}

/// GET `/subjects/{subject}/versions/{version}/schema`: the text alone.
pub(super) async fn version_text(State(desk): State<Desk>, asked: Asked) -> Result<Response> {
    answer_text(&asked.headers, entry(&desk, &asked)?.schema.text.to_string())
}

fn entry(desk: &Desk, asked: &Asked) -> Result<VersionEntry> {
    Ok(desk.registry.show_version(asked.first(), asked.version()?, asked.shown())?)
}

/// GET `/subjects/{subject}/versions/{version}/referencedby`.
pub(super) async fn referenced_by(State(desk): State<Desk>, asked: Asked) -> Result<Response> {
    let ids = desk.registry.referenced_by(asked.first(), asked.version()?, asked.shown())?;
    answer(&asked.headers, &Page::of(&asked)?.cut(ids))
}

/// POST `/subjects/{subject}/versions`.
pub(super) async fn register(State(desk): State<Desk>, asked: Asked, body: Body) -> Result<Response> {
    let (new, _held) = asked.schema(&desk, body).await?;
    let version = desk.registry.add(asked.first(), new).await?;
    let registered = json!({"id": version.schema.id, "version": version.version, "guid": version.schema.guid});
    answer(&asked.headers, &registered)
}

/// POST `/subjects/{subject}`: the version that holds a schema.
pub(super) async fn look_up(State(desk): State<Desk>, asked: Asked, body: Body) -> Result<Response> {
    let (new, _held) = asked.schema(&desk, body).await?;
    let found = desk.registry.look_up(asked.first(), new, asked.shown()).await?;
    answer(&asked.headers, &shown(&found.ok_or_else(Refused::schema_not_found)?))
}

/// POST `/compatibility/subjects/{subject}/versions`: with all versions that the level asks for.
pub(super) async fn compatible(State(desk): State<Desk>, asked: Asked, body: Body) -> Result<Response> {
    compare(&desk, &asked, body, Against::Level).await
}

/// POST `/compatibility/subjects/{subject}/versions/{version}`.
pub(super) async fn compatible_with(State(desk): State<Desk>, asked: Asked, body: Body) -> Result<Response> {
    let version = asked.version()?;
    compare(&desk, &asked, body, Against::Version(version)).await
}

async fn compare(desk: &Desk, asked: &Asked, body: Body, against: Against) -> Result<Response> {
    let (new, _held) = asked.schema(desk, body).await?;
    let differences = desk.registry.compare(asked.first(), new, against).await?;
    let compatible = Some(Value::from(differences.is_empty()));
    let messages = asked.flag("verbose").then(|| json!(differences));
    answer(&asked.headers, &members([("is_compatible", compatible), ("messages", messages)]))
}

/// DELETE `/subjects/{subject}`.
pub(super) async fn delete(State(desk): State<Desk>, asked: Asked) -> Result<Response> {
    let deleted = desk.registry.delete_subject(asked.first(), asked.flag("permanent")).await;
    let versions = deleted.map_err(|refused| Refused::delete(refused, asked.first(), None))?;
    answer(&asked.headers, &versions)
}

/// DELETE `/subjects/{subject}/versions/{version}`.
pub(super) async fn delete_version(State(desk): State<Desk>, asked: Asked) -> Result<Response> {
    let version = asked.version()?;
    let deleted = desk.registry.delete_version(asked.first(), version, asked.flag("permanent")).await;
    let named = Some(asked.version_text());
    let version = deleted.map_err(|refused| Refused::delete(refused, asked.first(), named))?;
    answer(&asked.headers, &version)
}

fn shown(version: &VersionEntry) -> Value {
    let schema = &version.schema;
    members([
        ("subject", Some(json!(version.subject))),
        ("version", Some(json!(version.version))),
        ("id", Some(json!(schema.id))),
        ("guid", Some(json!(schema.guid))),
        ("references", references(schema)),
        ("schema", Some(json!(*schema.text))),
        ("deleted", version.deleted.then_some(Value::Bool(true))),
    ])
}
