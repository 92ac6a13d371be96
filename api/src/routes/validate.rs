//! A dry run: what a publish of this event would say, without producing anything.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::StatusCode;
use serde_json::json;

use super::{
    events,
    reply::{self, Topic},
    request,
};
use crate::{encoders::Effects, problem::Problem, publish::Publish, state::App};

/// POST `/api/v1/events/{topic}/validate`.
pub(super) async fn validate(
    State(app): State<Arc<App>>,
    Topic(topic): Topic,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let schema_id = request::check(&parts, events::schema_id)?;
    let text = request::text(&app, &parts, body).await?;
    let publish = Publish {
        topic: &topic,
        body: text.as_str(),
        batch: false,
        event_key: events::event_key(&parts),
        schema_id,
        context: request::context(&parts)?,
    };
    match app.publisher.check(&publish, Effects::None).await?.into_refusal() {
        None => reply::json(StatusCode::OK, &json!({"valid": true})),
        Some((event_id, problem)) => Ok(problem.refuse(event_id.map(|id| id.into_owned()), None)),
    }
}
