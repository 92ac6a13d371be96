//! Compatibility levels and modes, of the whole registry and of single subjects.

use axum::{body::Body, extract::State, response::Response};
use forebay_avro::registry::{Compatibility, Mode};
use serde::Deserialize;
use serde_json::json;

use super::{
    Desk,
    answer::{Refused, Result, answer},
    ask::Asked,
};

/// Body of PUT `/config`. What else Schema Registry has there is refused by its name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLevel {
    #[serde(alias = "compatibilityLevel")]
    compatibility: Option<String>,
}

/// Body of PUT `/mode`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMode {
    mode: Option<String>,
}

/// GET `/config`.
pub(super) async fn level(State(desk): State<Desk>, asked: Asked) -> Result<Response> {
    answer_level(&asked, desk.registry.level(None))
}

/// GET `/config/{subject}`: its own level, or with `defaultToGlobal=true` the one in force.
pub(super) async fn level_of(State(desk): State<Desk>, asked: Asked) -> Result<Response> {
    let subject = asked.first();
    let level = match desk.registry.own_level(Some(subject)) {
        None if asked.flag("defaultToGlobal") => desk.registry.level(Some(subject)),
        own => own.ok_or_else(|| Refused::no_level(subject))?,
    };
    answer_level(&asked, level)
}

/// PUT `/config`.
pub(super) async fn set_level(State(desk): State<Desk>, asked: Asked, body: Body) -> Result<Response> {
    put_level(&desk, &asked, None, body).await
}

/// PUT `/config/{subject}`.
pub(super) async fn set_level_of(State(desk): State<Desk>, asked: Asked, body: Body) -> Result<Response> {
    put_level(&desk, &asked, Some(asked.first()), body).await
}

async fn put_level(desk: &Desk, asked: &Asked, subject: Option<&str>, body: Body) -> Result<Response> {
    let (NewLevel { compatibility }, _held) = asked.json(desk, body).await?;
    let level: Compatibility =
        compatibility.unwrap_or_default().parse().map_err(|e| Refused::invalid_level(format!("{e}")))?;
    desk.registry.set_level(subject, Some(level)).await?;
    answer(&asked.headers, &json!({"compatibility": level}))
}

/// DELETE `/config`: back to the default. The level that was in force.
pub(super) async fn delete_level(State(desk): State<Desk>, asked: Asked) -> Result<Response> {
    let old = desk.registry.set_level(None, None).await?;
    answer_level(&asked, old.unwrap_or_default())
}

/// DELETE `/config/{subject}`: back to the global one. The level that it had.
pub(super) async fn delete_level_of(State(desk): State<Desk>, asked: Asked) -> Result<Response> {
    let old = desk.registry.set_level(Some(asked.first()), None).await?;
    answer_level(&asked, old.ok_or_else(|| Refused::no_level(asked.first()))?)
}

fn answer_level(asked: &Asked, level: Compatibility) -> Result<Response> {
    answer(&asked.headers, &json!({"compatibilityLevel": level}))
}

/// GET `/mode`.
pub(super) async fn mode(State(desk): State<Desk>, asked: Asked) -> Result<Response> {
    answer_mode(&asked, desk.registry.mode(None))
}

/// GET `/mode/{subject}`: its own mode, or with `defaultToGlobal=true` the one in force.
pub(super) async fn mode_of(State(desk): State<Desk>, asked: Asked) -> Result<Response> {
    let subject = asked.first();
    let mode = match desk.registry.own_mode(Some(subject)) {
        _ if asked.flag("defaultToGlobal") => desk.registry.mode(Some(subject)),
        own => own.ok_or_else(|| Refused::no_mode(subject))?,
    };
    answer_mode(&asked, mode)
}

/// PUT `/mode`.
pub(super) async fn set_mode(State(desk): State<Desk>, asked: Asked, body: Body) -> Result<Response> {
    put_mode(&desk, &asked, None, body).await
}

/// PUT `/mode/{subject}`.
pub(super) async fn set_mode_of(State(desk): State<Desk>, asked: Asked, body: Body) -> Result<Response> {
    put_mode(&desk, &asked, Some(asked.first()), body).await
}

async fn put_mode(desk: &Desk, asked: &Asked, subject: Option<&str>, body: Body) -> Result<Response> {
    let (NewMode { mode }, _held) = asked.json(desk, body).await?;
    let mode: Mode = mode.unwrap_or_default().parse().map_err(|e| Refused::invalid_mode(format!("{e}")))?;
    if subject.is_some() && mode == Mode::ReadonlyOverride {
        return Err(Refused::invalid_mode("READONLY_OVERRIDE is a mode of the whole registry only"));
    }
    desk.registry.set_mode(subject, Some(mode), asked.flag("force")).await?;
    answer_mode(asked, mode)
}

/// DELETE `/mode/{subject}`: back to the global one. The mode that it had.
pub(super) async fn delete_mode_of(State(desk): State<Desk>, asked: Asked) -> Result<Response> {
    let old = desk.registry.set_mode(Some(asked.first()), None, false).await?;
    answer_mode(&asked, old.ok_or_else(|| Refused::no_mode(asked.first()))?)
}

fn answer_mode(asked: &Asked, mode: Mode) -> Result<Response> {
    answer(&asked.headers, &json!({"mode": mode}))
}
