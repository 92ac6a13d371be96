//! Whether the process lives, is ready, and how its parts are.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use forebay_avro::registry::RegistryError;
use http::StatusCode;
use serde_json::json;

use super::reply;
use crate::{metrics::utilization, problem::Problem, state::App};

/// GET `/livez`: the process answers. It looks at nothing else.
pub(super) async fn live() -> Response {
    "ok\n".into_response()
}

/// GET `/readyz`: 503 while draining, or when a publish would be refused.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    let reason = if app.is_draining() {
        Some("draining".to_owned())
    } else if let Err(error) = app.deps.log.health().await {
        tracing::warn!(%error, "The log is not ready.");
        Some("the log is unavailable".to_owned())
    } else {
        app.check_queue().err().map(|_| "the producer's queue is full".to_owned())
    };
    match reason {
        None => "ready\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

/// GET `/api/v1/health`.
pub(super) async fn health(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let log = app.deps.log.health().await.is_ok();
    let registry = !matches!(app.deps.registry.compatibility(None).await, Err(RegistryError::Unavailable(_)));
    let (status, code) = match (log, registry) {
        (true, true) => ("healthy", StatusCode::OK),
        (true, false) => ("degraded", StatusCode::OK),
        (false, _) => ("unhealthy", StatusCode::SERVICE_UNAVAILABLE),
    };
    let word = |up: bool| if up { "connected" } else { "disconnected" };
    let body = json!({
        "status": status,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": app.started.elapsed().as_secs(),
        "checks": {
            "kafka": {"status": word(log)},
            "schema_registry": {"status": word(registry)},
            "producer_queue": {"utilization": utilization(app.deps.log.queue())},
        },
    });
    reply::json(code, &body)
}
