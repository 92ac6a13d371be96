//! The connectors of this process: how they are, and what they are told to do.

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
    control::{ConnectorStatus, NotTaken, Order},
    problem::{
        Code, Problem,
        answers::{OfConnector, OfConnectors, OfOrder},
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
    let found = found.ok_or_else(unknown)?;
    reply::json(StatusCode::OK, &found)
}

/// Pause a connector
#[utoipa::path(
    post, path = "/api/v1/connectors/{name}/pause", operation_id = "pauseConnector", tag = "connectors",
    params(("name" = String, Path, description = "Its name in the configuration.")),
    responses((status = 202, description = "Told: it writes out what is open, then reads nothing until it is resumed or its process starts anew."), OfOrder)
)]
pub(super) async fn pause(State(app): State<Arc<App>>, Param(name): Param, _: Plain) -> Result<StatusCode, Problem> {
    order(&app, &name, Order::Pause)
}

/// Resume a connector
#[utoipa::path(
    post, path = "/api/v1/connectors/{name}/resume", operation_id = "resumeConnector", tag = "connectors",
    params(("name" = String, Path, description = "Its name in the configuration.")),
    responses((status = 202, description = "Told: it goes on after a pause, also after one that it made itself (`BAD_RATE`)."), OfOrder)
)]
pub(super) async fn resume(State(app): State<Arc<App>>, Param(name): Param, _: Plain) -> Result<StatusCode, Problem> {
    order(&app, &name, Order::Resume)
}

/// Restart the failed tasks of a connector
#[utoipa::path(
    post, path = "/api/v1/connectors/{name}/restart", operation_id = "restartConnector", tag = "connectors",
    params(("name" = String, Path, description = "Its name in the configuration.")),
    responses((status = 202, description = "Told: failed tasks start again, the others go on undisturbed."), OfOrder)
)]
pub(super) async fn restart(State(app): State<Arc<App>>, Param(name): Param, _: Plain) -> Result<StatusCode, Problem> {
    order(&app, &name, Order::Restart)
}

fn order(app: &App, name: &str, order: Order) -> Result<StatusCode, Problem> {
    let taken = app.deps.connectors.as_ref().map_or(Err(NotTaken::Unknown), |control| control.order(name, order));
    match taken {
        Ok(()) => Ok(StatusCode::ACCEPTED),
        Err(NotTaken::Unknown) => Err(unknown()),
        Err(NotTaken::Elsewhere(who)) => Err(Problem::new(Code::ConnectorElsewhere, who)),
    }
}

fn unknown() -> Problem {
    Problem::new(Code::NotFound, "There is no connector of that name.")
}
