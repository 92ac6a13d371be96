//! The connectors of this process.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::reply::{self, Param};
use crate::{
    control::ConnectorStatus,
    negotiate::{self, JSON},
    problem::{Code, Problem},
    query::Query,
    state::App,
};

/// GET `/api/v1/connectors`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    negotiate::accept(&headers, &[JSON])?;
    Query::parse(query.as_deref()).finish()?;
    let connectors: Vec<ConnectorStatus> = match &app.deps.connectors {
        Some(control) => control.connectors().await,
        None => Vec::new(),
    };
    reply::json(StatusCode::OK, &json!({"connectors": connectors}))
}

/// GET `/api/v1/connectors/{name}`.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Param(name): Param,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    negotiate::accept(&headers, &[JSON])?;
    Query::parse(query.as_deref()).finish()?;
    let found = match &app.deps.connectors {
        Some(control) => control.connector(&name).await,
        None => None,
    };
    let found = found.ok_or_else(|| Problem::new(Code::NotFound, "No connector of that name runs in this process."))?;
    reply::json(StatusCode::OK, &found)
}
