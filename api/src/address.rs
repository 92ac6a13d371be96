//! From a checked event to the record that stands in the log: key, headers, timestamp. Pure.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use forebay_avro::{
    event::{Encoded, Shape},
    json::{self, Found},
    violation::{Segment, Violation},
};
use forebay_broker::{Headers, NewRecord, TimestampLimits};
use jiff::{
    SignedDuration,
    civil::{DateTime, date},
};

use crate::{
    config::{DEFAULT_KEY_POINTERS, HeaderSet, RecordTimestamp, TopicSettings},
    context::{RequestContext, is_correlation_id},
    problem::{Code, ErrorItem, Problem, of_log::out_of_range},
};

/// Header names, made once; records share them.
pub(crate) struct Names {
    correlation_id: Arc<str>,
    traceparent: Arc<str>,
    tracestate: Arc<str>,
    event_id: Arc<str>,
    event_type: Arc<str>,
    event_time: Arc<str>,
    metadata: Arc<str>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            correlation_id: "correlation_id".into(),
            traceparent: "traceparent".into(),
            tracestate: "tracestate".into(),
            event_id: "event_id".into(),
            event_type: "event_type".into(),
            event_time: "event_time".into(),
            metadata: "metadata".into(),
        }
    }
}

/// What the events of one request have in common.
pub(crate) struct Envelope<'a> {
    pub topic: Arc<str>,
    pub settings: &'a TopicSettings,
    pub names: &'a Names,
    pub shape: Shape,
    /// The log takes no record of the topic without a key.
    pub compacted: bool,
    /// Which timestamps the log takes.
    pub timestamps: TimestampLimits,
    /// The caller's `Event-Key`.
    pub event_key: Option<&'a [u8]>,
    pub received_at_ms: i64,
    pub key_bytes: usize,
    pub headers_bytes: usize,
    correlation: Bytes,
    trace: Option<(Bytes, Option<Bytes>)>,
}

impl<'a> Envelope<'a> {
    pub(crate) fn new(
        topic: &Arc<str>,
        settings: &'a TopicSettings,
        names: &'a Names,
        shape: Shape,
        context: &RequestContext,
    ) -> Self {
        Self {
            topic: topic.clone(),
            settings,
            names,
            shape,
            compacted: false,
            timestamps: TimestampLimits::NONE,
            event_key: None,
            received_at_ms: 0,
            key_bytes: usize::MAX,
            headers_bytes: usize::MAX,
            correlation: Bytes::copy_from_slice(context.correlation.as_bytes()),
            trace: context.trace.as_ref().map(|trace| (trace.parent.clone(), trace.state.clone())),
        }
    }
}

/// Why an event has no address.
#[derive(Debug)]
pub(crate) enum Unaddressed {
    /// A place in the event, and the code that goes with it.
    Event(Code, Violation),
    /// The caller's `Event-Key`.
    EventKey(Problem),
}

/// The record of one encoded event; `value` is its framed Avro.
pub(crate) fn record(envelope: &Envelope<'_>, event: &Encoded<'_>, value: Bytes) -> Result<NewRecord, Unaddressed> {
    let key = key(envelope, &Parts::of(event))?;
    let headers = headers(envelope, event).map_err(|v| Unaddressed::Event(Code::SchemaValidationFailed, v))?;
    let timestamp_ms = match envelope.settings.record_timestamp {
        RecordTimestamp::Receipt => envelope.received_at_ms,
        RecordTimestamp::Event => event_time(envelope, event)?,
    };
    Ok(NewRecord {
        topic: envelope.topic.clone(),
        partition: None,
        key,
        value: Some(value),
        headers,
        timestamp_ms: Some(timestamp_ms),
    })
}

/// The event's own time, if the log takes it.
fn event_time(envelope: &Envelope<'_>, event: &Encoded<'_>) -> Result<i64, Unaddressed> {
    let now_ms = envelope.received_at_ms;
    let at = i64::try_from(event.timestamp_ns.div_euclid(1_000_000)).unwrap_or(now_ms);
    match envelope.timestamps.surely_passed(&envelope.topic, at, now_ms) {
        Some(outside) => Err(Unaddressed::Event(Code::TimestampOutOfRange, out_of_range(&outside))),
        None => Ok(at),
    }
}

/// Where key pointers are looked up: in an event's parts if they are at hand, which spares a walk over the whole.
struct Parts<'a> {
    event: &'a str,
    payload: Option<&'a str>,
    metadata: Option<Option<&'a str>>,
}

impl<'a> Parts<'a> {
    fn of(event: &Encoded<'a>) -> Self {
        Self { event: event.json, payload: Some(event.payload), metadata: Some(event.metadata) }
    }

    fn find(&self, pointer: &str) -> Option<Found<'a>> {
        let below = |member: &str| pointer.strip_prefix(member).filter(|rest| rest.starts_with('/'));
        if let (Some(payload), Some(rest)) = (self.payload, below("/payload")) {
            return json::find(payload, rest);
        }
        if let (Some(metadata), Some(rest)) = (self.metadata, below("/metadata")) {
            return json::find(metadata?, rest);
        }
        json::find(self.event, pointer)
    }
}

/// The key by the rules of the topic; first hit wins.
fn key(envelope: &Envelope<'_>, event: &Parts<'_>) -> Result<Option<Bytes>, Unaddressed> {
    let max = envelope.key_bytes;
    if let Some(given) = envelope.event_key.filter(|key| !key.is_empty()) {
        if given.len() > max {
            let item = ErrorItem::about("header", "event-key", "key_invalid", format!("is over {max} bytes"));
            let problem = Problem::new(Code::KeyInvalid, format!("The key is over {max} bytes.")).with(vec![item]);
            return Err(Unaddressed::EventKey(problem));
        }
        return Ok(Some(Bytes::copy_from_slice(given)));
    }
    let found = match &envelope.settings.key {
        Some(pointers) => first_key(pointers.iter().map(String::as_str), event, max, true)?,
        None => first_key(DEFAULT_KEY_POINTERS.into_iter(), event, max, false)?,
    };
    if found.is_none() && (envelope.settings.key_required || envelope.compacted) {
        return Err(Unaddressed::Event(Code::KeyRequired, no_key(envelope.settings, envelope.compacted)));
    }
    Ok(found)
}

/// What an event lacks whose topic wants a key, because it is compacted or because its settings say so.
pub(crate) fn no_key(settings: &TopicSettings, compacted: bool) -> Violation {
    let pointers: Vec<&str> = match &settings.key {
        Some(pointers) => pointers.iter().map(String::as_str).collect(),
        None => DEFAULT_KEY_POINTERS.to_vec(),
    };
    let wants = if compacted { "is compacted, and so wants" } else { "wants" };
    let msg = format!("this topic {wants} a key: fill {}, or send the header Event-Key", pointers.join(" or "));
    violation(pointers.first().copied().unwrap_or_default(), "key_required", msg)
}

/// The first pointer that hits a string or an integer. Another type is refused where the topic names its pointers
/// (`strict`), and skipped where they are ours.
fn first_key<'p>(
    pointers: impl Iterator<Item = &'p str>,
    event: &Parts<'_>,
    max: usize,
    strict: bool,
) -> Result<Option<Bytes>, Unaddressed> {
    let invalid = |pointer, msg| Err(Unaddressed::Event(Code::KeyInvalid, violation(pointer, "key_invalid", msg)));
    for pointer in pointers {
        let key = match event.find(pointer) {
            None | Some(Found::Null) => continue,
            Some(Found::String(text)) if text.is_empty() => continue,
            Some(Found::String(text)) => text_bytes(text),
            Some(Found::Integer(digits)) => text_bytes(digits.into()),
            Some(_) if !strict => continue,
            Some(other) => return invalid(pointer, format!("a key is a string or an integer, not {}", kind(&other))),
        };
        if key.len() > max {
            return invalid(pointer, format!("the key is over {max} bytes"));
        }
        return Ok(Some(key));
    }
    Ok(None)
}

/// The key that a dead letter keeps; `None` where there is none, or none that could be used.
pub(crate) fn dead_letter_key(envelope: &Envelope<'_>, json: &str) -> Option<Bytes> {
    key(envelope, &Parts { event: json, payload: None, metadata: None }).ok().flatten()
}

fn text_bytes(text: Cow<'_, str>) -> Bytes {
    match text {
        Cow::Borrowed(text) => Bytes::copy_from_slice(text.as_bytes()),
        Cow::Owned(text) => Bytes::from(text),
    }
}

fn violation(pointer: &str, kind: &'static str, msg: String) -> Violation {
    let names = pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"));
    Violation { path: names.map(Segment::Name).collect(), msg, kind, expected: None, got: None }
}

fn kind(found: &Found<'_>) -> &'static str {
    match found {
        Found::String(_) => "a string",
        Found::Integer(_) => "an integer",
        Found::Number(_) => "a fraction",
        Found::Bool(_) => "a boolean",
        Found::Null => "null",
        Found::Array(_) => "an array",
        Found::Object(_) => "an object",
    }
}

/// The record's headers: what the value does not hold, and what ties it to its request.
fn headers(envelope: &Envelope<'_>, event: &Encoded<'_>) -> Result<Headers, Violation> {
    let (names, settings) = (envelope.names, envelope.settings);
    let mut headers = Headers::default();
    headers.push(names.correlation_id.clone(), correlation_of(envelope, event.metadata));
    if let Some((parent, state)) = &envelope.trace {
        headers.push(names.traceparent.clone(), parent.clone());
        if let Some(state) = state {
            headers.push(names.tracestate.clone(), state.clone());
        }
    }
    if envelope.shape == Shape::PlainRecord || settings.headers == HeaderSet::All {
        headers.push(names.event_id.clone(), Bytes::copy_from_slice(event.event_id.as_bytes()));
        headers.push(names.event_type.clone(), Bytes::copy_from_slice(event.event_type.as_bytes()));
        headers.push(names.event_time.clone(), Bytes::from(rfc3339(event.timestamp_ns)));
    }
    if let Some(metadata) = event.metadata {
        if !event.metadata_in_value {
            let mut compact = String::with_capacity(metadata.len());
            json::compact(metadata, &mut compact);
            headers.push(names.metadata.clone(), Bytes::from(compact));
        }
        for name in &settings.header_metadata {
            if let Some(Found::String(text)) = json::find(metadata, &format!("/{}", escape(name))) {
                headers.push(name.as_str(), text_bytes(text));
            }
        }
    }
    if headers.bytes() > envelope.headers_bytes {
        let msg = format!("the record's headers would be over {} bytes: send less metadata", envelope.headers_bytes);
        return Err(violation("/metadata", "metadata_too_large", msg));
    }
    Ok(headers)
}

/// The headers that every dead letter of a request keeps.
pub(crate) fn dead_letter_headers(envelope: &Envelope<'_>) -> Headers {
    let mut headers = Headers::default();
    headers.push(envelope.names.correlation_id.clone(), envelope.correlation.clone());
    if let Some((parent, _)) = &envelope.trace {
        headers.push(envelope.names.traceparent.clone(), parent.clone());
    }
    headers
}

/// `/metadata/correlation_id` of the event if it is valid, else the request's.
fn correlation_of(envelope: &Envelope<'_>, metadata: Option<&str>) -> Bytes {
    match metadata.and_then(|metadata| json::find(metadata, "/correlation_id")) {
        Some(Found::String(id)) if is_correlation_id(&id) => text_bytes(id),
        _ => envelope.correlation.clone(),
    }
}

/// A member's name as one step of a JSON pointer.
fn escape(name: &str) -> Cow<'_, str> {
    if name.contains(['~', '/']) { name.replace('~', "~0").replace('/', "~1").into() } else { name.into() }
}

/// RFC 3339 in UTC, with as many digits as the time has.
pub(crate) fn rfc3339(timestamp_ns: i128) -> String {
    utc(timestamp_ns).map(|time| format!("{time}Z")).unwrap_or_default()
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) fn rfc3339_ms(timestamp_ms: i64) -> String {
    utc(i128::from(timestamp_ms) * 1_000_000).map(|time| format!("{time:.3}Z")).unwrap_or_default()
}

/// Not by way of [`jiff::Timestamp`], which ends a day before the year 9999 does: events may be of its last day.
fn utc(timestamp_ns: i128) -> Option<DateTime> {
    const SECOND: i128 = 1_000_000_000;
    let seconds = i64::try_from(timestamp_ns.div_euclid(SECOND)).ok()?;
    let nanos = i32::try_from(timestamp_ns.rem_euclid(SECOND)).ok()?;
    date(1970, 1, 1).at(0, 0, 0, 0).checked_add(SignedDuration::new(seconds, nanos)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_all_years_that_events_can_have() {
        let table = [
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
            (1_700_000_000_500, "2023-11-14T22:13:20.5Z", "2023-11-14T22:13:20.500Z"),
            (i64::MAX, "", ""),
            (i64::MIN, "", ""),
        ];
        for (ms, shortest, with_ms) in table {
            assert_eq!((&*rfc3339(i128::from(ms) * 1_000_000), &*rfc3339_ms(ms)), (shortest, with_ms), "{ms}");
        }
    }
}
