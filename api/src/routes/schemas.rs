//! Schemas: subjects, versions, register, dry run.

use std::sync::Arc;

use axum::{
    extract::{Path, RawQuery, Request, State},
    response::Response,
};
use forebay_avro::{registry::Version, schema::Reference};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    reply::{self, Param, bad_path},
    request,
};
use crate::{
    encoders::registry_problem,
    negotiate::{self, JSON},
    problem::{Code, ErrorItem, Problem},
    query::Query,
    state::App,
};

/// Most references of a schema (fixed).
const MAX_REFERENCES: usize = 50;

/// Body of a registration or dry run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSchema {
    /// The schema as text, as Schema Registry takes it, or as the JSON it is.
    schema: Value,
    #[serde(default)]
    references: Vec<NewReference>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewReference {
    name: String,
    subject: String,
    version: u32,
}

/// GET `/api/v1/schemas`.
pub(super) async fn subjects(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    negotiate::accept(&headers, &[JSON])?;
    Query::parse(query.as_deref()).finish()?;
    let subjects = app.deps.registry.subjects().await.map_err(registry_problem)?;
    reply::json(StatusCode::OK, &json!({"subjects": subjects}))
}

/// GET `/api/v1/schemas/{subject}/versions`.
pub(super) async fn versions(
    State(app): State<Arc<App>>,
    Param(subject): Param,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    negotiate::accept(&headers, &[JSON])?;
    Query::parse(query.as_deref()).finish()?;
    let versions = app.deps.registry.versions(&subject).await.map_err(registry_problem)?;
    reply::json(StatusCode::OK, &json!({"subject": subject, "versions": versions}))
}

/// GET `/api/v1/schemas/{subject}/versions/{n|latest}`.
pub(super) async fn version(
    State(app): State<Arc<App>>,
    path: Result<Path<(String, String)>, axum::extract::rejection::PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    negotiate::accept(&headers, &[JSON])?;
    Query::parse(query.as_deref()).finish()?;
    let Ok(Path((subject, version))) = path else {
        return Err(bad_path("subject", "is not UTF-8 once its percent signs are decoded"));
    };
    let found = match version.parse::<u32>() {
        _ if version == "latest" => app.deps.registry.latest(&subject).await,
        Ok(number) if number > 0 => app.deps.registry.version(&subject, number).await,
        _ => return Err(bad_path("version", "is neither a number from 1 nor latest")),
    };
    let found = found.map_err(registry_problem)?;
    reply::json(StatusCode::OK, &shown(&found))
}

fn shown(version: &Version) -> Value {
    let schema = &version.registered.schema;
    let references: Vec<_> = schema
        .references()
        .iter()
        .map(|r| json!({"name": r.name, "subject": r.subject, "version": r.version}))
        .collect();
    json!({
        "subject": version.subject,
        "version": version.version,
        "id": version.registered.id,
        "schema": schema.text(),
        "references": references,
    })
}

/// POST `/api/v1/schemas/{subject}/versions`.
pub(super) async fn register(
    State(app): State<Arc<App>>,
    Param(subject): Param,
    request: Request,
) -> Result<Response, Problem> {
    let (text, references) = body(&app, request).await?;
    let version = app.deps.registry.register(&subject, &text, &references).await.map_err(registry_problem)?;
    reply::json(StatusCode::CREATED, &json!({"id": version.registered.id, "version": version.version}))
}

/// POST `/api/v1/schemas/{subject}/compatibility`: the same, without registering it.
pub(super) async fn check(
    State(app): State<Arc<App>>,
    Param(subject): Param,
    request: Request,
) -> Result<Response, Problem> {
    let (text, references) = body(&app, request).await?;
    let differences = app.deps.registry.check(&subject, &text, &references).await.map_err(registry_problem)?;
    reply::json(StatusCode::OK, &json!({"compatible": differences.is_empty(), "differences": differences}))
}

async fn body(app: &Arc<App>, request: Request) -> Result<(String, Vec<Reference>), Problem> {
    let (parts, body) = request.into_parts();
    request::check(&parts, |_| ())?;
    let text = request::text(app, &parts, body).await?;
    let new: NewSchema = request::json(text.as_str())?;
    if new.references.len() > MAX_REFERENCES {
        let item = ErrorItem::about("body", "references", "too_long", format!("takes at most {MAX_REFERENCES}"));
        return Err(Problem::new(Code::RequestValidationFailed, "Too many references.").with(vec![item]));
    }
    let mut references = Vec::with_capacity(new.references.len());
    for reference in new.references {
        let found = app.deps.registry.version(&reference.subject, reference.version).await.map_err(registry_problem)?;
        let schema = found.registered.schema.text().to_owned();
        references.push(Reference {
            name: reference.name,
            subject: reference.subject,
            version: reference.version,
            schema,
        });
    }
    let text = match new.schema {
        Value::String(text) => text,
        schema => schema.to_string(),
    };
    Ok((text, references))
}
