//! Metrics, for Prometheus and for people.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::{HeaderMap, StatusCode};

use super::reply;
use crate::{
    metrics::Now,
    negotiate::{self, JSON},
    problem::{Code, Problem, answers::OfView},
    state::App,
};

const TEXT: &str = "text/plain; version=0.0.4";

/// Metrics
///
/// Prometheus' text 0.0.4, or with `Accept: application/json` the same as JSON: by name a list of `{labels, value}`, for
/// histograms `{labels, sum, count}`. Also at `/metrics`, here and on the management listener.
#[utoipa::path(
    get, path = "/api/v1/metrics", operation_id = "metrics", tag = "operation",
    responses(
        (status = 200, description = "All metrics.", content(
            (String = "text/plain; version=0.0.4"),
            (HashMap<String, Vec<HashMap<String, serde_json::Value>>> = "application/json"),
        )),
        OfView,
    )
)]
pub(super) async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    let kind = negotiate::accept(&headers, &[TEXT, JSON])?;
    let now = Now::of(&app);
    if kind == JSON {
        return reply::json(StatusCode::OK, &app.metrics.json(&now));
    }
    match app.metrics.text(&now) {
        Ok(text) => Ok(reply::text_as(StatusCode::OK, TEXT, text)),
        Err(error) => {
            tracing::error!(%error, "The metrics can't be written.");
            Err(Problem::new(Code::Internal, "The metrics can't be written."))
        }
    }
}
