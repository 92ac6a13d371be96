//! One event in.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{StatusCode, request::Parts};
use serde::Serialize;
use utoipa::{
    IntoParams, ToSchema,
    openapi::{Object, ObjectBuilder, Type},
};

use super::{
    reply::{self, Topic},
    request,
};
use crate::{
    config::TIMEOUT_MS,
    metrics::Outcome,
    problem::{Code, ErrorItem, Problem, answers::OfPublish, of_log::delivery_unknown},
    publish::{EventResult, Fate, Publish, PublishOptions},
    query::Query,
    state::App,
};

/// Where an event is stored: exactly these members.
#[derive(Serialize, ToSchema)]
pub(super) struct EventResponse<'a> {
    #[schema(schema_with = stored)]
    status: Outcome,
    /// The event's own, or the one that was made for it; absent from a dead letter if none could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    event_id: Option<&'a str>,
    /// Of the record, or of the dead letter.
    partition: i32,
    /// Of the record, or of the dead letter.
    offset: i64,
}

/// The outcomes of an event that is stored.
fn stored() -> Object {
    let words = [Outcome::Accepted, Outcome::DeadLettered].map(Outcome::word);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build()
}

/// The query parameters of every publish.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PublishQuery {
    /// What becomes of an event that breaks its schema; `reject` unless given. `dlq`: it goes to the dead letter topic
    /// with its reasons, and the answer says where.
    #[param(inline)]
    on_invalid: Option<OnInvalid>,
    /// Check against this schema, which must belong to the topic's subject.
    #[param(minimum = 1)]
    schema_id: Option<u32>,
    /// How long to wait for the log, in milliseconds; the service's own time-out unless given.
    #[param(minimum = 100, maximum = 30_000)]
    timeout_ms: Option<u64>,
}

/// `on_invalid`.
#[derive(Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum OnInvalid {
    /// 422.
    Reject,
    /// A dead letter.
    Dlq,
}

impl PublishQuery {
    pub(super) fn take(query: &mut Query) -> Self {
        Self {
            on_invalid: query.word("on_invalid", &[("reject", OnInvalid::Reject), ("dlq", OnInvalid::Dlq)]),
            schema_id: schema_id(query),
            timeout_ms: query.number("timeout_ms", TIMEOUT_MS),
        }
    }

    pub(super) fn options(self, default_timeout: Duration) -> PublishOptions {
        PublishOptions {
            dead_letter: self.on_invalid == Some(OnInvalid::Dlq),
            atomic: false,
            schema_id: self.schema_id,
            timeout: self.timeout_ms.map_or(default_timeout, Duration::from_millis),
        }
    }
}

/// `schema_id`, from 1.
pub(super) fn schema_id(query: &mut Query) -> Option<u32> {
    query.number("schema_id", 1..=u64::from(u32::MAX)).and_then(|id| u32::try_from(id).ok())
}

/// `Event-Key`, which may stand once.
pub(super) fn event_key(parts: &Parts) -> Result<Option<&[u8]>, Problem> {
    let mut values = parts.headers.get_all("event-key").iter();
    let key = values.next().map(|value| value.as_bytes());
    if values.next().is_none() {
        return Ok(key);
    }
    let msg = "may stand once only";
    Err(Problem::new(Code::RequestValidationFailed, format!("Event-Key {msg}.")).with(vec![ErrorItem::about(
        "header",
        "event-key",
        "duplicate_key",
        msg,
    )]))
}

/// Publish one event
///
/// It is checked against the topic's schema and stored: fsynced by the embedded log, or acknowledged by all in-sync
/// replicas of a Kafka cluster; then it is answered. If no answer comes, send it again with the same `event_id`.
#[utoipa::path(
    post, path = "/api/v1/events/{topic}", operation_id = "publish", tag = "events",
    params(
        Topic, PublishQuery,
        ("Event-Key" = Option<String>, Header,
            description = "The record's key; it wins over every other place that the topic takes keys from."),
    ),
    request_body(
        content = ref("#/components/schemas/Event"), content_type = "application/json",
        description = "One event; `Content-Encoding` may be `gzip` or `zstd`."
    ),
    responses(
        (status = 200, description = "It is stored.", body = EventResponse),
        (status = 202, description = "It breaks its schema, and is stored as a dead letter, as asked.", body = EventResponse),
        OfPublish,
    )
)]
pub(super) async fn publish(
    State(app): State<Arc<App>>,
    Topic(topic): Topic,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let options = request::check(&parts, PublishQuery::take)?.options(app.settings.timeout);
    let event_key = event_key(&parts)?;
    app.check_queue()?;
    let text = request::text(&app, &parts, body).await?;
    let publish = Publish {
        topic: &topic,
        body: text.as_str(),
        batch: false,
        event_key,
        schema_id: options.schema_id,
        context: request::context(&parts)?,
    };
    let published = app.publisher.publish(&publish, &options).await?;
    match published.results.into_iter().next() {
        Some(result) => answer(result),
        None => Err(delivery_unknown()),
    }
}

fn answer(result: EventResult<'_>) -> Result<Response, Problem> {
    let event_id = result.event_id.as_deref();
    let (status, outcome, partition, offset) = match result.fate {
        Fate::Accepted { partition, offset } => (StatusCode::OK, Outcome::Accepted, partition, offset),
        Fate::DeadLettered { partition, offset } => (StatusCode::ACCEPTED, Outcome::DeadLettered, partition, offset),
        Fate::Failed(problem) => return Ok(problem.refuse(result.event_id.map(|id| id.into_owned()), None)),
    };
    reply::json(status, &EventResponse { status: outcome, event_id, partition, offset })
}
