//! Many events in: one result per event, and a status that hides no failure.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    events::{self, PublishQuery},
    reply::{self, Topic},
    request,
};
use crate::{
    metrics::Outcome,
    negotiate::JSON,
    problem::{Code, ErrorItem, Problem, Short, answers::OfBatch},
    publish::{EventResult, Fate, Publish, PublishOptions, Published},
    state::App,
};

/// Publish many events
///
/// Each event stands alone and has its own result, in the order of the input. If all fail for the same reason, the status
/// is that reason's, and the problem holds the results too. `atomic=validate` stores none if one is invalid: 422
/// `batch_refused`, in whose results the events that are fine have the status `retry`.
#[utoipa::path(
    post, path = "/api/v1/events/{topic}/batch", operation_id = "publishBatch", tag = "events",
    params(
        Topic, PublishQuery,
        ("atomic" = inline(Option<Atomic>), Query, description = "`validate`: one invalid event, and nothing is stored."),
    ),
    request_body(
        content = ref("#/components/schemas/EventBatch"), content_type = "application/json",
        description = "`{\"events\": […]}`, or the bare array; at most `api.batch_events`, 10,000 unless configured."
    ),
    responses(
        (status = 200, description = "All events are stored.", body = BatchResponse),
        (status = 202, description = "All are stored, some of them as dead letters.", body = BatchResponse),
        (status = 207, description = "Some events are stored, others are not: see `results`.", body = BatchResponse,
            headers(("Retry-After" = u32, description = "Seconds after which to send those with `retry` again."))),
        OfBatch,
    )
)]
pub(super) async fn publish(
    State(app): State<Arc<App>>,
    Topic(topic): Topic,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let options = request::check(&parts, |query| {
        let atomic = query.word("atomic", &[("validate", Atomic::Validate)]).is_some();
        PublishOptions { atomic, ..PublishQuery::take(query).options(app.settings.timeout) }
    })?;
    if events::event_key(&parts)?.is_some() {
        let msg = "is for single events; in a batch each event's key comes from the event";
        return Err(Problem::new(Code::RequestValidationFailed, format!("Event-Key {msg}."))
            .with(vec![ErrorItem::about("header", "event-key", "extra_forbidden", msg)]));
    }
    app.check_queue()?;
    let text = request::text(&app, &parts, body).await?;
    let publish = Publish {
        topic: &topic,
        body: text.as_str(),
        batch: true,
        event_key: None,
        schema_id: options.schema_id,
        context: request::context(&parts)?,
    };
    let published = app.publisher.publish(&publish, &options).await?;
    Ok(answer(&published))
}

/// `atomic`.
#[derive(Clone, Copy, ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum Atomic {
    /// Nothing is stored unless every event is valid.
    Validate,
}

/// How a batch is answered.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// A status with summary and results.
    Results(u16),
    /// A problem of this code, with summary and results.
    Problem(Code),
}

/// All stored: 200, or 202 if dead letters are among them. All failed with one code: that code. A batch refused as a
/// whole: `batch_refused`. Anything else: 207.
fn verdict(fates: &[&Fate], refused: bool) -> Verdict {
    let code = |fate: &&Fate| if let Fate::Failed(problem) = fate { Some(problem.code) } else { None };
    let codes: Vec<Code> = fates.iter().filter_map(code).collect();
    match codes.first() {
        None if fates.iter().all(|fate| matches!(fate, Fate::Accepted { .. })) => Verdict::Results(200),
        None => Verdict::Results(202),
        Some(first) if codes.len() == fates.len() && codes.iter().all(|code| code == first) => Verdict::Problem(*first),
        Some(_) if refused => Verdict::Problem(Code::BatchRefused),
        Some(_) => Verdict::Results(207),
    }
}

fn answer(Published { results, refused }: &Published<'_>) -> Response {
    let fates: Vec<&Fate> = results.iter().map(|result| &result.fate).collect();
    let members = members(results);
    let mut response = match verdict(&fates, *refused) {
        Verdict::Results(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            reply::text_as(status, JSON, format!("{{{members}}}"))
        }
        Verdict::Problem(code) => {
            let detail = match code {
                Code::BatchRefused => {
                    let invalid = fates.iter().filter(|fate| fate.outcome() == Outcome::Invalid).count();
                    let all = results.len();
                    format!(
                        "{invalid} of {all} events were refused, and so the batch; nothing was stored: see results."
                    )
                }
                _ => "Every event failed for the same reason: see results.".to_owned(),
            };
            Problem::new(code, detail).refuse(None, Some(members))
        }
    };
    if let Some(seconds) = retry_after(&fates) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The longest wait that a result asks for; the shortest there is, if it only asks to be sent again.
fn retry_after(fates: &[&Fate]) -> Option<u32> {
    let after = |fate: &&Fate| match fate {
        Fate::Failed(problem) if problem.code.event_retryable() => Some(problem.code.info().retry_after_s.unwrap_or(1)),
        _ => None,
    };
    fates.iter().filter_map(after).max()
}

/// The members `summary` and `results`, without the braces around them.
fn members(results: &[EventResult<'_>]) -> String {
    let answer =
        BatchResponse { summary: Summary::of(results), results: results.iter().enumerate().map(item).collect() };
    // Serialising strings and numbers into memory can't fail.
    let text = serde_json::to_string(&answer).unwrap_or_default();
    text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default().to_owned()
}

/// What became of a batch.
#[derive(Serialize, ToSchema)]
pub(super) struct BatchResponse<'a> {
    summary: Summary,
    /// One an event, in the order of the input.
    results: Vec<BatchResult<'a>>,
}

/// How many events had each outcome.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = BatchSummary)]
pub(super) struct Summary {
    total: usize,
    accepted: usize,
    dead_lettered: usize,
    invalid: usize,
    retry: usize,
    unknown: usize,
}

/// What became of one event.
#[derive(Serialize, ToSchema)]
pub(super) struct BatchResult<'a> {
    /// Its place in the input, from 0.
    index: usize,
    status: Outcome,
    /// Absent if none could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    event_id: Option<&'a str>,
    /// Of the record or dead letter, if it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    /// Of the record or dead letter, if it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    /// Why it is not stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Short<'static>>)]
    error: Option<&'a Problem>,
}

impl Summary {
    fn of(results: &[EventResult<'_>]) -> Self {
        let mut summary = Self { total: results.len(), ..Self::default() };
        for result in results {
            *match result.fate.outcome() {
                Outcome::Accepted => &mut summary.accepted,
                Outcome::DeadLettered => &mut summary.dead_lettered,
                Outcome::Invalid => &mut summary.invalid,
                Outcome::Retry => &mut summary.retry,
                Outcome::Unknown => &mut summary.unknown,
            } += 1;
        }
        summary
    }
}

fn item<'a>((index, result): (usize, &'a EventResult<'_>)) -> BatchResult<'a> {
    let (partition, offset, error) = match &result.fate {
        Fate::Accepted { partition, offset } | Fate::DeadLettered { partition, offset } => {
            (Some(*partition), Some(*offset), None)
        }
        Fate::Failed(problem) => (None, None, Some(problem)),
    };
    let event_id = result.event_id.as_deref();
    BatchResult { index, status: result.fate.outcome(), event_id, partition, offset, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(code: Code) -> Fate {
        Fate::Failed(Problem::new(code, "x"))
    }

    #[test]
    fn the_status_of_a_batch() {
        use Code::{BatchRefused, EventTooLarge, KeyRequired, QueueFull, SchemaValidationFailed};
        let accepted = || Fate::Accepted { partition: 0, offset: 1 };
        let lettered = || Fate::DeadLettered { partition: 0, offset: 1 };
        for (fates, refused, expected) in [
            (vec![accepted(), accepted()], false, Verdict::Results(200)),
            (vec![accepted(), lettered()], false, Verdict::Results(202)),
            (vec![accepted(), failed(QueueFull)], false, Verdict::Results(207)),
            (vec![lettered(), failed(QueueFull)], false, Verdict::Results(207)),
            (vec![failed(QueueFull), failed(QueueFull)], false, Verdict::Problem(QueueFull)),
            (vec![failed(QueueFull), failed(SchemaValidationFailed)], false, Verdict::Results(207)),
            (vec![failed(BatchRefused), failed(KeyRequired)], true, Verdict::Problem(BatchRefused)),
            (vec![failed(SchemaValidationFailed)], true, Verdict::Problem(SchemaValidationFailed)),
            (vec![failed(KeyRequired), failed(EventTooLarge)], true, Verdict::Problem(BatchRefused)),
        ] {
            let refs: Vec<_> = fates.iter().collect();
            assert_eq!(verdict(&refs, refused), expected, "{fates:?}");
        }
    }

    #[test]
    fn results_in_the_words_of_the_contract() {
        let item = ErrorItem::body("float_type", "expected double");
        let results = [
            EventResult { event_id: Some("a\"".into()), fate: Fate::Accepted { partition: 3, offset: 88_124 } },
            EventResult {
                event_id: None,
                fate: Fate::Failed(Problem::new(Code::SchemaValidationFailed, "").with(vec![item])),
            },
            EventResult { event_id: Some("c".into()), fate: failed(Code::QueueFull) },
        ];
        assert_eq!(
            members(&results),
            concat!(
                r#""summary":{"total":3,"accepted":1,"dead_lettered":0,"invalid":1,"retry":1,"unknown":0},"results":["#,
                r#"{"index":0,"status":"accepted","event_id":"a\"","partition":3,"offset":88124},"#,
                r#"{"index":1,"status":"invalid","error":{"code":"schema_validation_failed","status":422,"retryable":false,"#,
                r#""errors":[{"loc":["body"],"pointer":null,"msg":"expected double","type":"float_type"}]}},"#,
                r#"{"index":2,"status":"retry","event_id":"c","error":{"code":"queue_full","status":503,"retryable":true,"detail":"x"}}]"#
            )
        );
    }
}
