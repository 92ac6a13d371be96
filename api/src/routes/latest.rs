//! The newest events of a topic.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::Arc,
};

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use forebay_avro::{
    event_back::{self, Origin},
    frame, json,
    registry::{Registered, Registry, RegistryError},
};
use forebay_broker::Record;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::reply::{self, Topic};
use crate::{
    answer::Held,
    encoders::registry_problem,
    latest::{self, Newest, NotRead, Take, Wanted},
    negotiate::{self, JSON},
    problem::{Code, ErrorItem, Problem, answers::OfLatest, of_log::log_problem},
    query::Query,
    state::App,
};

/// Events without `limit`.
const DEFAULT_LIMIT: u64 = 10;
/// Most events of one answer (fixed).
const MAX_LIMIT: u64 = 1_000;
/// Bytes shown of a value that can't be decoded.
const SHOWN_BYTES: usize = 1 << 10;

/// The newest events of a topic
///
/// Newest first, as Events again, whoever wrote their records. A record that can't be decoded is shown, not skipped.
#[utoipa::path(
    get, path = "/api/v1/events/{topic}/latest", operation_id = "latest", tag = "events",
    params(
        Topic,
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1_000, description = "Most events of the answer; 10 unless given."),
        ("event_type" = Option<String>, Query, description = "Only events of these types, separated by commas."),
        ("partition" = Option<i32>, Query, minimum = 0, description = "Only this partition."),
    ),
    responses((status = 200, description = "The newest events.", body = Latest), OfLatest)
)]
pub(super) async fn latest(
    State(app): State<Arc<App>>,
    Topic(topic): Topic,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    negotiate::accept(&headers, &[JSON])?;
    let mut query = Query::parse(query.as_deref());
    let limit = query.number("limit", 1..=MAX_LIMIT).unwrap_or(DEFAULT_LIMIT);
    let types = query.text("event_type").map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>());
    let partition = query.number("partition", 0..=i32::MAX as u64).and_then(|n| i32::try_from(n).ok());
    query.finish()?;
    let permit = app
        .reads
        .clone()
        .try_acquire_owned()
        .map_err(|_| Problem::new(Code::QueueFull, "Too many topics are being read: try again shortly."))?;
    let wanted = Wanted { limit: usize::try_from(limit).unwrap_or(usize::MAX), partition };
    let mut schemas = Schemas { registry: &*app.deps.registry, types, known: HashMap::new(), unavailable: None };
    let newest = latest::newest(&*app.deps.log, &topic, &wanted, &mut schemas).await.map_err(not_read)?;
    match schemas.unavailable {
        Some(problem) => Err(problem),
        None => {
            let mut response = reply::text_as(StatusCode::OK, JSON, answer(&topic, &newest));
            Held::until_sent(permit, &mut response);
            Ok(response)
        }
    }
}

fn not_read(why: NotRead) -> Problem {
    match why {
        NotRead::Log(error) => log_problem(error),
        NotRead::NoPartition { .. } => {
            let item = ErrorItem::about("query", "partition", "less_than_equal", why.to_string());
            Problem::new(Code::RequestValidationFailed, "The topic has no such partition.").with(vec![item])
        }
    }
}

/// The answer, which `answer` writes: its events are JSON text already.
#[derive(ToSchema)]
#[expect(dead_code, reason = "its fields are names for the document")]
pub(super) struct Latest {
    topic: String,
    /// Newest first.
    events: Vec<LatestEvent>,
    /// By partition: the offset that the next record gets.
    high_watermarks: BTreeMap<String, i64>,
    /// Whether the search ended before it had found `limit` events.
    partial: bool,
}

/// An event and where its record stands. A record that can't be decoded has `event` (null), `error` and `value_base64`
/// instead of the Event's members.
#[derive(ToSchema)]
#[expect(dead_code, reason = "its fields are names for the document")]
struct LatestEvent {
    event_id: Option<String>,
    /// RFC 3339, UTC.
    timestamp: Option<String>,
    event_type: Option<String>,
    payload: Option<Value>,
    metadata: Option<Value>,
    topic: String,
    partition: i32,
    offset: i64,
    /// Text, or `{"base64": …}` if it is none.
    key: Value,
    /// By name: text, `{"base64": …}`, or null.
    headers: BTreeMap<String, Value>,
    /// RFC 3339, UTC.
    record_timestamp: String,
    error: Option<Undecodable>,
    /// The first 1,024 bytes of a value that can't be decoded.
    value_base64: Option<String>,
}

/// Why a record can't be shown as an Event.
#[derive(ToSchema)]
#[expect(dead_code, reason = "its fields are names for the document")]
struct Undecodable {
    #[schema(pattern = "^undecodable$")]
    code: String,
    detail: String,
}

/// A record's event as JSON, or why there is none.
enum Shown {
    Event(String),
    Undecodable(String),
}

impl Shown {
    fn is_of(&self, types: &[String]) -> bool {
        match self {
            Self::Event(text) => matches!(json::find(text, "/event_type"),
                Some(json::Found::String(event_type)) if types.iter().any(|t| *t == event_type)),
            // Never skipped: nobody knows what it is.
            Self::Undecodable(_) => true,
        }
    }
}

/// Makes events of records, with the schemas met on the way.
struct Schemas<'a> {
    registry: &'a dyn Registry,
    /// `event_type`, if the caller names some.
    types: Option<Vec<String>>,
    /// By id: the schema, or why there is none to decode with.
    known: HashMap<u32, Result<Arc<Registered>, String>>,
    unavailable: Option<Problem>,
}

#[async_trait::async_trait]
impl Take for Schemas<'_> {
    type Taken = Shown;

    async fn take(&mut self, record: &Record) -> Option<Shown> {
        let event = self.event(record).await;
        self.types.as_ref().is_none_or(|types| event.is_of(types)).then_some(event)
    }
}

impl Schemas<'_> {
    async fn event(&mut self, record: &Record) -> Shown {
        let Some(value) = &record.value else { return Shown::Undecodable("it has no value (a tombstone)".to_owned()) };
        let (id, datum) = match frame::split(value) {
            Ok(split) => split,
            Err(error) => return Shown::Undecodable(error.to_string()),
        };
        match self.schema(id).await {
            Err(why) => Shown::Undecodable(why),
            Ok(registered) => {
                let mut event = String::with_capacity(value.len() * 2);
                match event_back::to_event(&registered.schema, datum, &origin(record), &mut event) {
                    Ok(()) => Shown::Event(event),
                    Err(error) => Shown::Undecodable(error.to_string()),
                }
            }
        }
    }

    async fn schema(&mut self, id: u32) -> Result<Arc<Registered>, String> {
        if let Some(known) = self.known.get(&id) {
            return known.clone();
        }
        let found = self.registry.by_id(id).await.map_err(|error| match error {
            RegistryError::UnknownId(_) => error.to_string(),
            // The record's fault, or its writer's: no reason to keep the others back.
            RegistryError::Invalid(why) => format!("schema {id} can't be used: {why}"),
            error => {
                let why = error.to_string();
                self.unavailable = Some(registry_problem(error));
                why
            }
        });
        self.known.insert(id, found.clone());
        found
    }
}

fn origin(record: &Record) -> Origin<'_> {
    Origin {
        topic: &record.part.topic,
        partition: record.part.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        event_id: record.headers.text("event_id"),
        event_type: record.headers.text("event_type"),
        event_time: record.headers.text("event_time"),
        metadata: record.headers.text("metadata"),
    }
}

fn answer(topic: &str, newest: &Newest<Shown>) -> String {
    let mut out = format!("{{\"topic\":{},\"events\":[", Value::from(topic));
    for (index, (record, shown)) in newest.found.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_event(&mut out, record, shown);
    }
    let marks: serde_json::Map<_, _> =
        newest.high_watermarks.iter().map(|(partition, high)| (partition.to_string(), Value::from(*high))).collect();
    // Writing to a String can't fail.
    let _ = write!(out, "],\"high_watermarks\":{},\"partial\":{}}}", Value::Object(marks), newest.partial);
    out
}

/// The event's own members, then where its record stands.
fn write_event(out: &mut String, record: &Record, shown: &Shown) {
    match shown {
        Shown::Event(event) => out.push_str(event.strip_suffix('}').unwrap_or(event)),
        Shown::Undecodable(why) => {
            let value = record.value.as_deref().unwrap_or_default();
            let first = value.get(..SHOWN_BYTES).unwrap_or(value);
            let error = json!({"code": "undecodable", "detail": why});
            let _ = write!(out, "{{\"event\":null,\"error\":{error},\"value_base64\":\"{}\"", BASE64.encode(first));
        }
    }
    let headers: serde_json::Map<_, _> = record
        .headers
        .0
        .iter()
        .map(|(name, value)| (name.to_string(), value.as_deref().map_or(Value::Null, text_or_base64)))
        .collect();
    let time = crate::address::rfc3339_ms(record.timestamp_ms);
    let _ = write!(
        out,
        ",\"topic\":{},\"partition\":{},\"offset\":{},\"key\":{},\"headers\":{},\"record_timestamp\":\"{time}\"}}",
        Value::from(&*record.part.topic),
        record.part.partition,
        record.offset,
        record.key.as_deref().map_or(Value::Null, text_or_base64),
        Value::Object(headers),
    );
}

/// Text as it is; other bytes as `{"base64": …}`.
fn text_or_base64(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({"base64": BASE64.encode(bytes)}),
    }
}
