//! The connectors of this process.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    reply::{self, Param},
    request::Plain,
};
use crate::{
    control::ConnectorStatus,
    problem::{
        Code, Problem,
        answers::{OfConnector, OfConnectors},
        of_log::log_problem,
    },
    state::App,
};

/// All connectors of a process.
#[derive(Serialize, ToSchema)]
pub(super) struct Connectors {
    connectors: Vec<ConnectorStatus>,
}

/// All connectors
#[utoipa::path(
    get, path = "/api/v1/connectors", operation_id = "listConnectors", tag = "connectors",
    responses((status = 200, description = "Those of this process, sorted by name.", body = Connectors), OfConnectors)
)]
pub(super) async fn list(State(app): State<Arc<App>>, _: Plain) -> Result<Response, Problem> {
    let connectors: Vec<ConnectorStatus> = match &app.deps.connectors {
        Some(control) => control.connectors().await.map_err(log_problem)?,
        None => Vec::new(),
    };
    reply::json(StatusCode::OK, &Connectors { connectors })
}

/// One connector
#[utoipa::path(
    get, path = "/api/v1/connectors/{name}", operation_id = "showConnector", tag = "connectors",
    params(("name" = String, Path, description = "Its name in the configuration.")),
    responses((status = 200, description = "Its state, tasks and lag.", body = ConnectorStatus), OfConnector)
)]
pub(super) async fn show(State(app): State<Arc<App>>, Param(name): Param, _: Plain) -> Result<Response, Problem> {
    let found = match &app.deps.connectors {
        Some(control) => control.connector(&name).await.map_err(log_problem)?,
        None => None,
    };
    let found = found.ok_or_else(|| Problem::new(Code::NotFound, "No connector of that name runs in this process."))?;
    reply::json(StatusCode::OK, &found)
}
