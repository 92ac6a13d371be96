//! Whether the process lives, is ready, and how its parts are.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use forebay_broker::LogError;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::reply;
use crate::{
    metrics::utilization,
    problem::{
        Problem,
        answers::{OfHealth, OfProbe, OfReadiness},
    },
    state::App,
};

/// Whether the process answers
///
/// It looks at nothing else.
#[utoipa::path(
    get, path = "/livez", operation_id = "live", tag = "operation",
    responses((status = 200, description = "It does.", body = String, content_type = "text/plain"), OfProbe)
)]
pub(super) async fn live() -> Response {
    "ok\n".into_response()
}

/// Whether a publish would be taken
///
/// 503 while the service drains, without its log, or with a full queue; the text says which.
#[utoipa::path(
    get, path = "/readyz", operation_id = "ready", tag = "operation",
    responses((status = 200, description = "It would.", body = String, content_type = "text/plain"), OfReadiness)
)]
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    let reason = if app.is_draining() {
        Some("draining".to_owned())
    } else if let Err(error) = app.deps.log.health().await {
        Some(not_ready(&error).to_owned())
    } else {
        app.check_queue().err().map(|_| "the producer's queue is full".to_owned())
    };
    match reason {
        None => "ready\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

fn not_ready(error: &LogError) -> &'static str {
    // The log has told it when it began.
    if matches!(error, LogError::NoRoom(_)) {
        return "the log's disk is almost full";
    }
    tracing::warn!(%error, "The log is not ready.");
    "the log is unavailable"
}

/// How the service is, and its parts.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    status: Condition,
    version: &'static str,
    uptime_seconds: u64,
    checks: Checks,
}

/// How the service is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Condition {
    Healthy,
    /// Schemas that it knows still work; others do not.
    Degraded,
    /// Events are refused.
    Unhealthy,
}

/// How its parts are.
#[derive(Serialize, ToSchema)]
#[schema(as = HealthChecks)]
struct Checks {
    /// The log, whatever its kind.
    kafka: Part,
    schema_registry: Part,
    producer_queue: Queue,
}

/// How a part is.
#[derive(Serialize, ToSchema)]
#[schema(as = HealthOfPart)]
struct Part {
    status: Link,
}

/// Whether a part can be reached.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Link {
    Connected,
    Disconnected,
}

/// How full the queue of records before the log is.
#[derive(Serialize, ToSchema)]
#[schema(as = HealthOfQueue)]
struct Queue {
    /// 0 to 1.
    utilization: f64,
}

/// How the service is
///
/// `degraded` (the registry is away, and events of known schemas are taken) is 200, `unhealthy` 503.
#[utoipa::path(
    get, path = "/api/v1/health", operation_id = "health", tag = "operation",
    responses((status = 200, description = "It works, perhaps with limits.", body = Health), OfHealth)
)]
pub(super) async fn health(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let log = app.deps.log.health().await.is_ok();
    let registry = app.registry_probe.answers(&*app.deps.registry).await;
    let (status, code) = match (log, registry) {
        (true, true) => (Condition::Healthy, StatusCode::OK),
        (true, false) => (Condition::Degraded, StatusCode::OK),
        (false, _) => (Condition::Unhealthy, StatusCode::SERVICE_UNAVAILABLE),
    };
    let part = |up: bool| Part { status: if up { Link::Connected } else { Link::Disconnected } };
    let body = Health {
        status,
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: app.started.elapsed().as_secs(),
        checks: Checks {
            kafka: part(log),
            schema_registry: part(registry),
            producer_queue: Queue { utilization: utilization(app.deps.log.queue()) },
        },
    };
    reply::json(code, &body)
}
