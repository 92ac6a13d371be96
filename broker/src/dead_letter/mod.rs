//! Dead letters: the headers that say where a record stood, where it was to go, and why it did not get there.
//!
//! A dead letter is the original key, value and headers, unchanged, and the headers of [`names`] beside them, which hold
//! the original timestamp too. A record that fails again has these replaced, save those that tell its history.

pub mod names;
pub mod topic;

use std::sync::Arc;

use bytes::Bytes;
use forebay_avro::violation::{Segment, Violation};
use serde::Serialize;
use serde_json::Value;

pub use self::names::{Reason, Stage};
use crate::{Headers, Offset, TimestampType, TopicPartition};

/// Connector name of events refused at the API.
pub const HTTP_CONNECTOR: &str = "http";
/// Bytes of the message header.
pub const MAX_MESSAGE_BYTES: usize = 1_024;
/// Bytes of the stack trace header.
pub const MAX_TRACE_BYTES: usize = 8_192;
/// Items of the errors header.
pub const MAX_ERRORS: usize = 20;
/// Items of the errors header where room is short.
pub const MIN_ERRORS: usize = 10;
/// Bytes of an item's `got`.
pub const MAX_GOT_BYTES: usize = 64;

/// Where the record came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It stood in the log.
    Log {
        /// The cluster.
        cluster_id: Arc<str>,
        /// The topic's identity, if the log can tell.
        topic_id: Option<Arc<str>>,
        /// Where.
        part: TopicPartition,
        /// Where.
        offset: Offset,
    },
    /// An event refused at the API; it never stood anywhere.
    Http {
        /// The topic it was for.
        topic: Arc<str>,
        /// The request (its correlation id).
        request_id: Arc<str>,
        /// Which event of the request, from 0.
        index: usize,
    },
}

impl Origin {
    /// `<cluster id>/<topic id>/<partition>/<offset>/<connector>`, or `http/<request id>/<index>`. Where the log can't
    /// tell a topic's identity its name stands there.
    pub fn dedupe_key(&self, connector: &str) -> String {
        match self {
            Self::Log { cluster_id, topic_id, part, offset } => {
                let topic = topic_id.as_ref().unwrap_or(&part.topic);
                format!("{cluster_id}/{topic}/{}/{offset}/{connector}", part.partition)
            }
            Self::Http { request_id, index, .. } => format!("{HTTP_CONNECTOR}/{request_id}/{index}"),
        }
    }
}

/// One offending place, in the shape of the HTTP API's error items with what was expected and what came.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ErrorItem {
    /// From the top of the event: names and indexes.
    pub loc: Vec<Value>,
    /// RFC 6901 pointer.
    pub pointer: Option<String>,
    /// One sentence.
    pub msg: String,
    /// Stable type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the schema asks for.
    pub expected: Option<String>,
    /// What came; only a type name for sensitive fields.
    pub got: Option<String>,
}

impl From<&Violation> for ErrorItem {
    fn from(violation: &Violation) -> Self {
        let step = |segment: &Segment| match segment {
            Segment::Name(name) => Value::from(name.as_str()),
            Segment::Index(index) => Value::from(*index),
        };
        Self {
            loc: std::iter::once(Value::from("body")).chain(violation.path.iter().map(step)).collect(),
            pointer: Some(violation.pointer()),
            msg: violation.msg.clone(),
            kind: violation.kind.to_owned(),
            expected: violation.expected.clone(),
            got: violation.got.as_deref().map(|got| cut(got, MAX_GOT_BYTES).to_owned()),
        }
    }
}

/// What is known of a failure. [`DeadLetter::headers`] makes the headers of it.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Where the record came from.
    pub origin: Origin,
    /// Connector, or [`HTTP_CONNECTOR`].
    pub connector: Arc<str>,
    /// Its task; `None` at the API.
    pub task: Option<u32>,
    /// Where it failed.
    pub stage: Stage,
    /// Why.
    pub reason: Reason,
    /// Which part refused it, e.g. `forebay.converter.avro`.
    pub component: &'static str,
    /// One sentence for people, without payload.
    pub message: String,
    /// What led to it, outermost first.
    pub causes: Vec<String>,
    /// The offending places, if known.
    pub errors: Vec<ErrorItem>,
    /// Schema it was written with.
    pub schema_id: Option<u32>,
    /// Its subject.
    pub subject: Option<String>,
    /// Schema it was read with.
    pub reader_schema_id: Option<u32>,
    /// Where it should have gone.
    pub destination: Option<String>,
    /// The record's timestamp, ms.
    pub timestamp_ms: i64,
    /// What that means.
    pub timestamp_type: TimestampType,
    /// Now, ms.
    pub failed_at_ms: i64,
    /// How often it was tried.
    pub tries: u32,
}

impl DeadLetter {
    /// The original headers and the dead letter's own. A record that failed before has its own ones replaced.
    pub fn headers(&self, original: &Headers) -> Headers {
        self.make(original, true, MAX_ERRORS)
    }

    /// The same within `max_bytes` of names and values: without stack trace if need be, then with [`MIN_ERRORS`]
    /// errors. `None`: even that is too large; the partition must stop.
    pub fn headers_within(&self, original: &Headers, max_bytes: usize) -> Option<Headers> {
        [(true, MAX_ERRORS), (false, MAX_ERRORS), (false, MIN_ERRORS)]
            .into_iter()
            .map(|(trace, errors)| self.make(original, trace, errors))
            .find(|headers| headers.bytes() <= max_bytes)
    }

    fn make(&self, original: &Headers, trace: bool, max_errors: usize) -> Headers {
        let mut out = Out::new(original);
        self.push_connect(&mut out, trace);
        let (cluster_id, topic_id) = match &self.origin {
            Origin::Log { cluster_id, topic_id, .. } => (Some(cluster_id), topic_id.as_ref()),
            Origin::Http { .. } => (None, None),
        };
        out.push(names::VERSION, "1");
        out.push_some(names::CLUSTER_ID, cluster_id);
        out.push_some(names::TOPIC_ID, topic_id);
        out.push(names::DEDUPE_KEY, self.origin.dedupe_key(&self.connector));
        out.push(names::REASON, self.reason);
        if out.headers.get(names::FIRST_REASON).is_none() {
            out.push_some(names::FIRST_REASON, original.text(names::REASON));
        }
        out.push(names::ERRORS, self.errors_json(max_errors));
        out.push_some(names::SCHEMA_ID, self.schema_id);
        out.push_some(names::SUBJECT, self.subject.as_ref());
        out.push_some(names::READER_SCHEMA_ID, self.reader_schema_id);
        out.push_some(names::DESTINATION, self.destination.as_ref());
        out.push(names::TIMESTAMP, self.timestamp_ms);
        let kind = if self.timestamp_type == TimestampType::Append { "append" } else { "create" };
        out.push(names::TIMESTAMP_TYPE, kind);
        out.push_unless_kept(names::FIRST_SEEN, self.failed_at_ms);
        out.push(names::FAILED_AT, self.failed_at_ms);
        out.push(names::TRIES, self.tries);
        out.push_unless_kept(names::REPLAY_COUNT, 0);
        out.push_some(names::EVENT_ID, original.text("event_id"));
        out.push_some(names::TRACE_ID, original.text("traceparent").and_then(trace_id));
        out.headers
    }

    fn push_connect(&self, out: &mut Out, trace: bool) {
        match &self.origin {
            Origin::Log { part, offset, .. } => {
                out.push(names::TOPIC, &part.topic);
                out.push(names::PARTITION, part.partition);
                out.push(names::OFFSET, offset);
            }
            Origin::Http { topic, .. } => out.push(names::TOPIC, topic),
        }
        out.push(names::CONNECTOR, &self.connector);
        out.push_some(names::TASK, self.task);
        out.push(names::STAGE, self.stage);
        out.push(names::COMPONENT, self.component);
        out.push(names::EXCEPTION, format_args!("forebay.errors.{}", self.reason));
        out.push(names::MESSAGE, cut(&self.message, MAX_MESSAGE_BYTES));
        if trace && !self.causes.is_empty() {
            out.push(names::TRACE, cut(&self.causes.join("\n"), MAX_TRACE_BYTES));
        }
    }

    fn errors_json(&self, max: usize) -> String {
        let first = self.errors.get(..max).unwrap_or(&self.errors);
        // Strings, numbers and nulls: these can always be written.
        serde_json::to_string(first).unwrap_or_else(|_| "[]".to_owned())
    }
}

/// Headers being gathered.
struct Out {
    headers: Headers,
}

impl Out {
    /// Begins with the original ones, without what an earlier failure left save its history.
    fn new(original: &Headers) -> Self {
        let ours = |name: &str| names::ALL.contains(&name) && !names::KEPT.contains(&name);
        Self { headers: Headers(original.0.iter().filter(|(name, _)| !ours(name)).cloned().collect()) }
    }

    fn push(&mut self, name: &str, value: impl std::fmt::Display) {
        self.headers.push(name, Bytes::from(value.to_string()));
    }

    fn push_some(&mut self, name: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.push(name, value);
        }
    }

    fn push_unless_kept(&mut self, name: &str, value: impl std::fmt::Display) {
        if self.headers.get(name).is_none() {
            self.push(name, value);
        }
    }
}

/// The trace id of a `traceparent` (W3C Trace Context: `version-traceid-parentid-flags`).
fn trace_id(traceparent: &str) -> Option<&str> {
    let id = traceparent.split('-').nth(1)?;
    (id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())).then_some(id)
}

/// At most `max` bytes, whole characters.
fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> DeadLetter {
        DeadLetter {
            origin: Origin::Log {
                cluster_id: "c1".into(),
                topic_id: Some("t1".into()),
                part: TopicPartition::new("orders", 3),
                offset: 5512,
            },
            connector: "orders-sf".into(),
            task: Some(2),
            stage: Stage::ValueConverter,
            reason: Reason::TypeMismatch,
            component: "forebay.converter.avro",
            message: "The value at /items/0/amount is no double.".into(),
            causes: vec!["converting the value failed".into(), "expected double, got string".into()],
            errors: vec![ErrorItem {
                loc: vec!["body".into(), "items".into(), 0.into(), "amount".into()],
                pointer: Some("/items/0/amount".into()),
                msg: "Input should be a valid number".into(),
                kind: "float_type".into(),
                expected: Some("double".into()),
                got: Some("\"n/a\"".into()),
            }],
            schema_id: Some(17),
            subject: Some("orders-value".into()),
            reader_schema_id: None,
            destination: Some("snowflake:DB.S.ORDERS".into()),
            timestamp_ms: 1_700_000_000_000,
            timestamp_type: TimestampType::Create,
            failed_at_ms: 1_700_000_000_500,
            tries: 1,
        }
    }

    fn lines(headers: &Headers) -> Vec<String> {
        let text = |value: &Option<Bytes>| String::from_utf8(value.as_deref().unwrap_or(b"(null)").to_vec()).unwrap();
        headers.0.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect()
    }

    #[test]
    fn every_header_byte_by_byte() {
        let mut original = Headers::default();
        original.push("event_id", &b"e-1"[..]);
        original.push("traceparent", &b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"[..]);
        original.push("x", &b"1"[..]);
        original.0.push(("x".into(), None));
        assert_eq!(
            lines(&letter().headers(&original)),
            [
                "event_id: e-1",
                "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                "x: 1",
                "x: (null)",
                "__connect.errors.topic: orders",
                "__connect.errors.partition: 3",
                "__connect.errors.offset: 5512",
                "__connect.errors.connector.name: orders-sf",
                "__connect.errors.task.id: 2",
                "__connect.errors.stage: VALUE_CONVERTER",
                "__connect.errors.class.name: forebay.converter.avro",
                "__connect.errors.exception.class.name: forebay.errors.TYPE_MISMATCH",
                "__connect.errors.exception.message: The value at /items/0/amount is no double.",
                "__connect.errors.exception.stacktrace: converting the value failed\nexpected double, got string",
                "forebay.v: 1",
                "forebay.cluster-id: c1",
                "forebay.topic-id: t1",
                "forebay.dedupe-key: c1/t1/3/5512/orders-sf",
                "forebay.reason: TYPE_MISMATCH",
                "forebay.errors: [{\"loc\":[\"body\",\"items\",0,\"amount\"],\"pointer\":\"/items/0/amount\",\
                 \"msg\":\"Input should be a valid number\",\"type\":\"float_type\",\"expected\":\"double\",\
                 \"got\":\"\\\"n/a\\\"\"}]",
                "forebay.schema-id: 17",
                "forebay.subject: orders-value",
                "forebay.destination: snowflake:DB.S.ORDERS",
                "forebay.timestamp: 1700000000000",
                "forebay.timestamp-type: create",
                "forebay.first-seen: 1700000000500",
                "forebay.failed-at: 1700000000500",
                "forebay.tries: 1",
                "forebay.replay-count: 0",
                "forebay.event-id: e-1",
                "forebay.trace-id: 0af7651916cd43dd8448eb211c80319c",
            ]
        );
    }

    #[test]
    fn an_event_refused_at_the_api_has_no_place() {
        let origin = Origin::Http { topic: "orders".into(), request_id: "r9".into(), index: 4 };
        let letter = DeadLetter { origin, connector: HTTP_CONNECTOR.into(), task: None, ..letter() };
        let headers = letter.headers(&Headers::default());
        assert_eq!(headers.text(names::DEDUPE_KEY), Some("http/r9/4"));
        assert_eq!(headers.text(names::TOPIC), Some("orders"));
        for absent in [names::PARTITION, names::OFFSET, names::TASK, names::CLUSTER_ID, names::TOPIC_ID] {
            assert_eq!(headers.get(absent), None, "{absent}");
        }
    }

    #[test]
    fn a_second_failure_replaces_but_remembers_the_first() {
        let mut replayed = letter().headers(&Headers::default());
        let count = replayed.0.iter_mut().find(|(name, _)| &**name == names::REPLAY_COUNT).unwrap();
        count.1 = Some("1".into());
        replayed.push(names::REPLAY_ID, &b"id"[..]);
        let second =
            DeadLetter { reason: Reason::NotNull, failed_at_ms: 1_800_000_000_000, causes: vec![], ..letter() };
        let headers = second.headers(&replayed);
        assert_eq!(headers.text(names::REASON), Some("NOT_NULL"));
        assert_eq!(headers.text(names::FIRST_REASON), Some("TYPE_MISMATCH"));
        assert_eq!(headers.text(names::FIRST_SEEN), Some("1700000000500"));
        assert_eq!(headers.text(names::FAILED_AT), Some("1800000000000"));
        assert_eq!(headers.text(names::REPLAY_COUNT), Some("1"));
        assert_eq!(headers.text(names::REPLAY_ID), Some("id"));
        assert_eq!(headers.get(names::TRACE), None, "the first one's trace is gone");
        for (name, _) in &headers.0 {
            assert_eq!(headers.0.iter().filter(|(other, _)| other == name).count(), 1, "{name}");
        }
        let third = DeadLetter { reason: Reason::OutOfRange, ..letter() }.headers(&headers);
        assert_eq!(third.text(names::FIRST_REASON), Some("TYPE_MISMATCH"));
    }

    #[test]
    fn long_texts_are_cut_at_whole_characters() {
        let long = DeadLetter { message: "ä".repeat(600), causes: vec!["x".repeat(9_000)], ..letter() };
        let headers = long.headers(&Headers::default());
        assert_eq!(headers.text(names::MESSAGE).unwrap().len(), MAX_MESSAGE_BYTES);
        assert_eq!(headers.text(names::TRACE).unwrap().len(), MAX_TRACE_BYTES);
        let odd = DeadLetter { message: format!("x{}", "ä".repeat(600)), ..letter() };
        assert_eq!(odd.headers(&Headers::default()).text(names::MESSAGE).unwrap().len(), MAX_MESSAGE_BYTES - 1);
        let violation =
            Violation { path: vec![], msg: "m".into(), kind: "k", expected: None, got: Some("é".repeat(40)) };
        assert_eq!(ErrorItem::from(&violation).got.unwrap().len(), MAX_GOT_BYTES);
    }

    #[test]
    fn room_is_made_in_steps() {
        let one = letter().errors.remove(0);
        let full = DeadLetter { errors: vec![one; 30], causes: vec!["x".repeat(5_000)], ..letter() };
        let count =
            |headers: &Headers| serde_json::from_str::<Vec<Value>>(headers.text(names::ERRORS).unwrap()).unwrap().len();
        let all = full.headers(&Headers::default());
        assert_eq!(count(&all), MAX_ERRORS);
        let bytes = all.bytes();
        assert_eq!(full.headers_within(&Headers::default(), bytes).unwrap(), all);
        let no_trace = full.headers_within(&Headers::default(), bytes - 1).unwrap();
        assert!(no_trace.get(names::TRACE).is_none());
        assert_eq!(count(&no_trace), MAX_ERRORS);
        let few = full.headers_within(&Headers::default(), no_trace.bytes() - 1).unwrap();
        assert_eq!(count(&few), MIN_ERRORS);
        assert_eq!(full.headers_within(&Headers::default(), few.bytes() - 1), None);
    }

    #[test]
    fn words_are_stable() {
        let stages: Vec<_> = Stage::ALL.iter().map(|stage| stage.as_str()).collect();
        assert_eq!(
            stages.join(" "),
            "KEY_CONVERTER VALUE_CONVERTER HEADER_CONVERTER TRANSFORMATION TASK_PUT CONSUME PRODUCE TASK_POLL"
        );
        let reasons: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(
            reasons.join(" "),
            "DECODE_FAILED KEY_DECODE_FAILED HEADER_DECODE_FAILED SCHEMA_NOT_FOUND SCHEMA_INCOMPATIBLE TYPE_MISMATCH \
             NOT_NULL OUT_OF_RANGE TOO_LARGE NULL_VALUE TRANSFORM_FAILED PARTITION_FIELD_MISSING PATH_INVALID \
             COLUMN_CONFLICT REJECTED_BY_DESTINATION VALIDATION_FAILED"
        );
        assert_eq!(Reason::parse("NOT_NULL"), Some(Reason::NotNull));
        assert_eq!(Reason::parse("not_null"), None);
    }
}
