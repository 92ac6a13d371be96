//! Schemas: subjects, versions, register, dry run, and forgetting what is remembered of them.

use std::sync::Arc;

use axum::{
    extract::{Path, RawQuery, Request, State},
    response::Response,
};
use forebay_avro::{
    json,
    registry::{ReferenceKey, RegistryError, Version},
    schema::{
        Reference,
        limits::{MAX_REFERENCES, check_size},
    },
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    reply::{self, Param, bad_path},
    request::{self, Plain},
};
use crate::{
    admission::Permit,
    encoders::registry_problem,
    problem::{
        Code, ErrorItem, Problem,
        answers::{OfCompatibility, OfForgetting, OfNewVersion, OfSubject, OfSubjects},
    },
    query::Query,
    state::App,
};

/// A schema to be registered, or tried.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSchema<'a> {
    /// Avro, as text (as Schema Registry takes it) or as the JSON it is.
    #[schema(
        value_type = serde_json::Value,
        example = json!({"type": "record", "name": "Order", "fields": [{"name": "amount", "type": "double"}]})
    )]
    #[serde(borrow)]
    schema: &'a RawValue,
    /// Registered schemas whose types it names.
    #[serde(default)]
    #[schema(max_items = 50)]
    references: Vec<SchemaReference>,
}

/// A registered schema that another one names.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SchemaReference {
    /// The full name by which it is used.
    name: String,
    subject: String,
    version: u32,
}

/// All subjects.
#[derive(Serialize, ToSchema)]
pub(super) struct Subjects {
    subjects: Vec<String>,
}

/// The versions of a subject.
#[derive(Serialize, ToSchema)]
#[schema(as = SubjectVersions)]
pub(super) struct Versions {
    subject: String,
    /// Ascending.
    versions: Vec<u32>,
}

/// One version of a subject.
#[derive(Serialize, ToSchema)]
#[schema(as = SubjectVersion)]
pub(super) struct Shown {
    subject: String,
    version: u32,
    /// The schema's, which stands in each record.
    id: u32,
    /// Avro, as it was registered.
    schema: String,
    references: Vec<SchemaReference>,
}

/// What a schema was registered as.
#[derive(Serialize, ToSchema)]
#[schema(as = RegisteredSchema)]
pub(super) struct Made {
    /// The schema's, which stands in each record.
    id: u32,
    /// Its version under the subject.
    version: u32,
}

/// Whether a registration would be taken.
#[derive(Serialize, ToSchema)]
#[schema(as = SchemaCompatibility)]
pub(super) struct Compatible {
    compatible: bool,
    /// What would refuse it: a sentence each.
    differences: Vec<String>,
}

/// All subjects
#[utoipa::path(
    get, path = "/api/v1/schemas", operation_id = "listSubjects", tag = "schemas",
    responses((status = 200, description = "The subjects, sorted.", body = Subjects), OfSubjects)
)]
pub(super) async fn subjects(State(app): State<Arc<App>>, _: Plain) -> Result<Response, Problem> {
    let subjects = app.deps.registry.subjects().await.map_err(registry_problem)?;
    reply::json(StatusCode::OK, &Subjects { subjects })
}

/// The versions of a subject
#[utoipa::path(
    get, path = "/api/v1/schemas/{subject}/versions", operation_id = "listVersions", tag = "schemas",
    params(("subject" = String, Path, description = "Subject; that of a topic is `<topic>-value` unless configured.")),
    responses((status = 200, description = "Its versions.", body = Versions), OfSubject)
)]
pub(super) async fn versions(
    State(app): State<Arc<App>>,
    Param(subject): Param,
    _: Plain,
) -> Result<Response, Problem> {
    let versions = app.deps.registry.versions(&subject).await.map_err(registry_problem)?;
    reply::json(StatusCode::OK, &Versions { subject, versions })
}

/// One version of a subject
#[utoipa::path(
    get, path = "/api/v1/schemas/{subject}/versions/{version}", operation_id = "showVersion", tag = "schemas",
    params(
        ("subject" = String, Path, description = "Subject."),
        ("version" = String, Path, description = "A version's number, or `latest`.", example = "latest"),
    ),
    responses((status = 200, description = "The schema and its id.", body = Shown), OfSubject)
)]
pub(super) async fn version(
    State(app): State<Arc<App>>,
    path: Result<Path<(String, String)>, axum::extract::rejection::PathRejection>,
    _: Plain,
) -> Result<Response, Problem> {
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

fn shown(version: &Version) -> Shown {
    let schema = &version.registered.schema;
    let reference =
        |r: &Reference| SchemaReference { name: r.name.clone(), subject: r.subject.clone(), version: r.version };
    Shown {
        subject: version.subject.clone(),
        version: version.version,
        id: version.registered.id,
        schema: schema.text().to_owned(),
        references: schema.references().iter().map(reference).collect(),
    }
}

/// Register a schema
///
/// The same schema again answers its version. One that breaks the subject's compatibility level is refused, with one
/// item for each difference. Topics use it for the next event.
#[utoipa::path(
    post, path = "/api/v1/schemas/{subject}/versions", operation_id = "registerSchema", tag = "schemas",
    params(("subject" = String, Path, description = "Subject; that of a topic is `<topic>-value` unless configured.")),
    request_body = NewSchema,
    responses((status = 201, description = "It is registered.", body = Made), OfNewVersion)
)]
pub(super) async fn register(
    State(app): State<Arc<App>>,
    Param(subject): Param,
    request: Request,
) -> Result<Response, Problem> {
    let Taken { text, references, permit: _held } = body(&app, request).await?;
    let version = app.deps.registry.register(&subject, &text, &references).await.map_err(registry_problem)?;
    reply::json(StatusCode::CREATED, &Made { id: version.registered.id, version: version.version })
}

/// Try a schema
///
/// Says what would refuse it as the next version; nothing is registered.
#[utoipa::path(
    post, path = "/api/v1/schemas/{subject}/compatibility", operation_id = "checkSchema", tag = "schemas",
    params(("subject" = String, Path, description = "Subject.")), request_body = NewSchema,
    responses((status = 200, description = "Whether a registration would be taken.", body = Compatible), OfCompatibility)
)]
pub(super) async fn check(
    State(app): State<Arc<App>>,
    Param(subject): Param,
    request: Request,
) -> Result<Response, Problem> {
    let Taken { text, references, permit: _held } = body(&app, request).await?;
    let differences = app.deps.registry.check(&subject, &text, &references).await.map_err(registry_problem)?;
    reply::json(StatusCode::OK, &Compatible { compatible: differences.is_empty(), differences })
}

/// Forget what is remembered of a subject
///
/// For a version that was registered elsewhere, in a registry that this service only asks: the next event is held
/// against what that registry then says, not against the version remembered for `registry.latest_ttl_ms`. It goes on
/// using what it knows while the registry does not answer. Each process remembers for itself. The registry inside has
/// nothing to forget, and of an unknown subject nothing is remembered: the answer is the same.
#[utoipa::path(
    delete, path = "/api/v1/schemas/{subject}/cache", operation_id = "forgetSchemas", tag = "schemas",
    params(("subject" = String, Path, description = "Subject; that of a topic is `<topic>-value` unless configured.")),
    responses((status = 204, description = "It is forgotten."), OfForgetting)
)]
pub(super) async fn forget(
    State(app): State<Arc<App>>,
    Param(subject): Param,
    RawQuery(query): RawQuery,
) -> Result<StatusCode, Problem> {
    Query::parse(query.as_deref()).finish()?;
    app.publisher.forget(&subject).await;
    Ok(StatusCode::NO_CONTENT)
}

/// What a request hands in.
struct Taken {
    text: String,
    references: Vec<ReferenceKey>,
    /// Held until the answer: the registry may take its time, with the text in memory.
    permit: Permit,
}

async fn body(app: &Arc<App>, request: Request) -> Result<Taken, Problem> {
    let (parts, body) = request.into_parts();
    request::check(&parts, |_| ())?;
    let body = request::text(app, &parts, body).await?;
    let new: NewSchema<'_> = request::json(body.as_str())?;
    if new.references.len() > MAX_REFERENCES {
        let item = ErrorItem::about("body", "references", "too_long", format!("takes at most {MAX_REFERENCES}"));
        return Err(Problem::new(Code::RequestValidationFailed, "Too many references.").with(vec![item]));
    }
    let text = text(new.schema)?;
    check_size(text.len()).map_err(|error| registry_problem(RegistryError::Invalid(error.to_string())))?;
    let key = |r: SchemaReference| ReferenceKey { name: r.name, subject: r.subject, version: r.version };
    let references = new.references.into_iter().map(key).collect();
    Ok(Taken { text, references, permit: body.into_permit() })
}

/// Avro as text, whichever way it was sent.
fn text(schema: &RawValue) -> Result<String, Problem> {
    if schema.get().starts_with('"') {
        return request::json(schema.get());
    }
    let mut text = String::new();
    json::compact(schema.get(), &mut text);
    Ok(text)
}
