//! One event in.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{StatusCode, request::Parts};
use serde::Serialize;

use super::{
    reply::{self, Topic},
    request,
};
use crate::{
    config::TIMEOUT_MS,
    metrics::Outcome,
    problem::Problem,
    publish::{EventResult, Fate, Publish, PublishOptions},
    query::Query,
    state::App,
};

/// The answer for a stored event: exactly these four members.
#[derive(Serialize)]
struct EventResponse<'a> {
    status: &'static str,
    event_id: &'a str,
    partition: i32,
    offset: i64,
}

/// The query parameters of every publish.
pub(super) fn options(query: &mut Query, default_timeout: Duration) -> PublishOptions {
    PublishOptions {
        dead_letter: query.word("on_invalid", &[("reject", false), ("dlq", true)]).unwrap_or(false),
        atomic: false,
        schema_id: schema_id(query),
        timeout: query.number("timeout_ms", TIMEOUT_MS).map_or(default_timeout, Duration::from_millis),
    }
}

/// `schema_id`, from 1.
pub(super) fn schema_id(query: &mut Query) -> Option<u32> {
    query.number("schema_id", 1..=u64::from(u32::MAX)).and_then(|id| u32::try_from(id).ok())
}

/// `Event-Key`.
pub(super) fn event_key(parts: &Parts) -> Option<&[u8]> {
    parts.headers.get("event-key").map(|value| value.as_bytes())
}

/// POST `/api/v1/events/{topic}`.
pub(super) async fn publish(
    State(app): State<Arc<App>>,
    Topic(topic): Topic,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let options = request::check(&parts, |query| options(query, app.settings.timeout))?;
    app.check_queue()?;
    let text = request::text(&app, &parts, body).await?;
    let publish = Publish {
        topic: &topic,
        body: text.as_str(),
        batch: false,
        event_key: event_key(&parts),
        schema_id: options.schema_id,
        context: request::context(&parts)?,
    };
    let results = app.publisher.publish(&publish, &options).await?;
    match results.into_iter().next() {
        Some(result) => answer(result),
        None => Err(crate::publish::receipts::delivery_unknown()),
    }
}

fn answer(result: EventResult<'_>) -> Result<Response, Problem> {
    let event_id = result.event_id.as_deref().unwrap_or_default();
    let (status, outcome, partition, offset) = match result.fate {
        Fate::Accepted { partition, offset } => (StatusCode::OK, Outcome::Accepted, partition, offset),
        Fate::DeadLettered { partition, offset } => (StatusCode::ACCEPTED, Outcome::DeadLettered, partition, offset),
        Fate::Failed(problem) => return Ok(problem.refuse(result.event_id.map(|id| id.into_owned()), None)),
    };
    reply::json(status, &EventResponse { status: outcome.word(), event_id, partition, offset })
}
