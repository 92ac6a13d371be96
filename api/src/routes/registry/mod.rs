//! The embedded registry for others: the API of Confluent's Schema Registry, on a listener of its own.

mod answer;
mod ask;
mod schemas;
mod settings;
mod subjects;

use std::sync::Arc;

use axum::{
    Router, middleware,
    response::Response,
    routing::{get, post},
};
use forebay_avro::registry::Embedded;
use http::HeaderMap;
use serde_json::json;

use crate::{layers, state::App};

pub(crate) use answer::{REGISTRY_JSON, refusal, status};
use answer::{Refused, Result, answer};
use ask::{Asked, Page};

/// What its routes work with.
#[derive(Clone)]
pub(crate) struct Desk {
    app: Arc<App>,
    registry: Embedded,
}

/// Everything on the registry's listener.
pub(crate) fn router(app: Arc<App>, registry: Embedded) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/schemas/types", get(schemas::types))
        .route("/schemas/ids/{id}", get(schemas::by_id))
        .route("/schemas/ids/{id}/schema", get(schemas::text_by_id))
        .route("/schemas/ids/{id}/subjects", get(schemas::subjects))
        .route("/schemas/ids/{id}/versions", get(schemas::versions))
        .route("/schemas/guids/{guid}", get(schemas::by_guid))
        .route("/subjects", get(subjects::list))
        .route("/subjects/{subject}", post(subjects::look_up).delete(subjects::delete))
        .route("/subjects/{subject}/versions", get(subjects::versions).post(subjects::register))
        .route("/subjects/{subject}/versions/{version}", get(subjects::version).delete(subjects::delete_version))
        .route("/subjects/{subject}/versions/{version}/schema", get(subjects::version_text))
        .route("/subjects/{subject}/versions/{version}/referencedby", get(subjects::referenced_by))
        .route("/compatibility/subjects/{subject}/versions", post(subjects::compatible))
        .route("/compatibility/subjects/{subject}/versions/{version}", post(subjects::compatible_with))
        .route("/config", get(settings::level).put(settings::set_level).delete(settings::delete_level))
        .route(
            "/config/{subject}",
            get(settings::level_of).put(settings::set_level_of).delete(settings::delete_level_of),
        )
        .route("/mode", get(settings::mode).put(settings::set_mode))
        .route("/mode/{subject}", get(settings::mode_of).put(settings::set_mode_of).delete(settings::delete_mode_of))
        .route("/contexts", get(contexts))
        .route("/v1/metadata/id", get(cluster))
        .route("/v1/metadata/version", get(version))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .route_layer(middleware::from_fn(layers::note_route))
        .with_state(Desk { app, registry })
}

async fn root(headers: HeaderMap) -> Result<Response> {
    answer(&headers, &json!({}))
}

/// GET `/contexts`: there is one, the default.
async fn contexts(asked: Asked) -> Result<Response> {
    let page = Page::of(&asked)?;
    answer(&asked.headers, &page.cut(vec!["."]))
}

/// GET `/v1/metadata/id`.
async fn cluster(headers: HeaderMap) -> Result<Response> {
    answer(&headers, &json!({"id": "", "scope": {"path": [], "clusters": {"schema-registry-cluster": "forebay"}}}))
}

/// GET `/v1/metadata/version`.
async fn version(headers: HeaderMap) -> Result<Response> {
    answer(&headers, &json!({"version": env!("CARGO_PKG_VERSION"), "commitId": ""}))
}

async fn not_found() -> Refused {
    Refused::nothing_here()
}

async fn method_not_allowed() -> Refused {
    Refused::not_this_method()
}
