//! A dry run: what a publish of this event would say, without producing anything.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    events,
    reply::{self, Topic},
    request,
};
use crate::{
    problem::{Problem, answers::OfDryRun},
    publish::Publish,
    state::App,
};

/// The answer for an event that a publish would take.
#[derive(Serialize, ToSchema)]
pub(super) struct Valid {
    /// Always true: anything else is a problem.
    valid: bool,
}

/// Check an event without publishing it
///
/// The answer is `{"valid":true}`, or exactly the 422 that a publish would give. Nothing is stored.
#[utoipa::path(
    post, path = "/api/v1/events/{topic}/validate", operation_id = "validate", tag = "events",
    params(
        Topic,
        ("schema_id" = Option<u32>, Query, minimum = 1,
            description = "Check against this schema, which must belong to the topic's subject."),
        ("Event-Key" = Option<String>, Header, description = "The key that the record would have."),
    ),
    request_body(content = ref("#/components/schemas/Event"), content_type = "application/json", description = "One event."),
    responses((status = 200, description = "A publish would store it.", body = Valid), OfDryRun)
)]
pub(super) async fn validate(
    State(app): State<Arc<App>>,
    Topic(topic): Topic,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let schema_id = request::check(&parts, events::schema_id)?;
    let event_key = events::event_key(&parts)?;
    let text = request::text(&app, &parts, body).await?;
    let publish = Publish {
        topic: &topic,
        body: text.as_str(),
        batch: false,
        event_key,
        schema_id,
        context: request::context(&parts)?,
    };
    match app.publisher.check(&publish).await?.into_refusal() {
        None => reply::json(StatusCode::OK, &Valid { valid: true }),
        Some((event_id, problem)) => Ok(problem.refuse(event_id.map(|id| id.into_owned()), None)),
    }
}
