//! Metrics, for Prometheus and for people.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::{HeaderMap, StatusCode};

use super::reply;
use crate::{
    negotiate::{self, JSON},
    problem::{Code, Problem},
    state::App,
};

const TEXT: &str = "text/plain; version=0.0.4";

/// GET `/metrics`, `/api/v1/metrics`: text 0.0.4, or JSON if `Accept` names it.
pub(super) async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    let kind = negotiate::accept(&headers, &[TEXT, JSON])?;
    let (queue, held) = (app.deps.log.queue(), (app.admission.requests(), app.admission.bytes()));
    if kind == JSON {
        return reply::json(StatusCode::OK, &app.metrics.json(queue, held));
    }
    match app.metrics.text(queue, held) {
        Ok(text) => Ok(reply::text_as(StatusCode::OK, TEXT, text)),
        Err(error) => {
            tracing::error!(%error, "The metrics can't be written.");
            Err(Problem::new(Code::Internal, "The metrics can't be written."))
        }
    }
}
