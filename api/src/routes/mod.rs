//! The routes: each translates HTTP to calls and back, nothing else.

mod batch;
mod connectors;
mod docs;
mod events;
mod health;
mod latest;
mod metrics;
mod reply;
mod request;
mod schemas;
mod topics;
mod validate;

use std::sync::Arc;

use axum::{
    Router, middleware,
    routing::{get, post},
};

use crate::{
    layers,
    problem::{Code, Problem},
    state::App,
};

/// Everything on the API's listener.
pub(crate) fn api(app: Arc<App>) -> Router {
    Router::new()
        .route("/api/v1/events/{topic}", post(events::publish))
        .route("/api/v1/events/{topic}/batch", post(batch::publish))
        .route("/api/v1/events/{topic}/validate", post(validate::validate))
        .route("/api/v1/events/{topic}/latest", get(latest::latest))
        .route("/api/v1/topics", get(topics::list).post(topics::create))
        .route("/api/v1/topics/{topic}", get(topics::show))
        .route("/api/v1/schemas", get(schemas::subjects))
        .route("/api/v1/schemas/{subject}/versions", get(schemas::versions).post(schemas::register))
        .route("/api/v1/schemas/{subject}/versions/{version}", get(schemas::version))
        .route("/api/v1/schemas/{subject}/compatibility", post(schemas::check))
        .route("/api/v1/connectors", get(connectors::list))
        .route("/api/v1/connectors/{name}", get(connectors::show))
        .route("/api/v1/health", get(health::health))
        .route("/api/v1/metrics", get(metrics::metrics))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/problems/{code}", get(docs::problem))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .route_layer(middleware::from_fn(layers::note_route))
        .with_state(app)
}

/// The management listener: what a supervisor asks, outside every limit.
pub(crate) fn management(app: Arc<App>) -> Router {
    Router::new()
        .route("/api/v1/connectors", get(connectors::list))
        .route("/api/v1/connectors/{name}", get(connectors::show))
        .route("/api/v1/health", get(health::health))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .route_layer(middleware::from_fn(layers::note_route))
        .with_state(app)
}

async fn not_found() -> Problem {
    Problem::new(Code::NotFound, "There is no such path here.")
}

async fn method_not_allowed() -> Problem {
    Problem::new(Code::MethodNotAllowed, "This path has other methods: see Allow.")
}
