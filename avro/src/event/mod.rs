//! Events: from the JSON of an HTTP body to framed Avro values, whole batches at a time.
//!
//! The three shapes (E text envelope, T typed envelope, R plain record) are decided once, when a schema is compiled.

mod describe;
mod encoder;
mod fill;
mod layout;
mod reader;

use std::{borrow::Cow, ops::Range};

use crate::violation::Violation;
pub use describe::{Description, describe};
pub use encoder::EventEncoder;

/// The schema registered for a topic that has none: shape E. The order of its fields is fixed.
pub const DEFAULT_ENVELOPE: &str = r#"{"type":"record","name":"Event","fields":[
 {"name":"event_id","type":"string"},
 {"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},
 {"name":"event_type","type":"string"},
 {"name":"user_id","type":["null","string"],"default":null},
 {"name":"payload","type":"string"}]}"#;

/// How a topic treats its events; the topic's settings, resolved.
#[derive(Clone, Debug)]
pub struct EventOptions {
    /// `topics.<t>.unknown_fields: ignore`: members that the schema lacks are counted and skipped.
    pub ignore_unknown: bool,
    /// `generate: [event_id]`.
    pub generate_event_id: bool,
    /// `generate: [timestamp]`.
    pub generate_timestamp: bool,
    /// Deepest nesting, the event being level 1; at most 64.
    pub json_depth: usize,
    /// Longest number literal in characters.
    pub number_chars: usize,
    /// Largest `metadata`, as compact JSON text.
    pub metadata_bytes: usize,
    /// Largest event, as sent.
    pub event_bytes: usize,
    /// Largest encoded value with its frame.
    pub record_bytes: usize,
    /// Most events a batch.
    pub batch_events: usize,
}

impl Default for EventOptions {
    fn default() -> Self {
        Self {
            ignore_unknown: false,
            generate_event_id: false,
            generate_timestamp: false,
            json_depth: 64,
            number_chars: 1024,
            metadata_bytes: 16 << 10,
            event_bytes: 1 << 20,
            record_bytes: 1_000_000,
            batch_events: 10_000,
        }
    }
}

/// What the service knows of a request and an event may not say itself.
#[derive(Clone, Copy, Debug)]
pub struct EventContext<'a> {
    /// Time of receipt, ms since the epoch.
    pub received_at_ms: i64,
    /// The request's correlation id; an event's `/metadata/correlation_id` wins if it is valid.
    pub correlation_id: &'a str,
    /// From the credential.
    pub tenant: Option<&'a str>,
}

/// Which of the three shapes a schema has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Payload kept as JSON text.
    TextEnvelope,
    /// Payload encoded by the type of the field `payload`.
    TypedEnvelope,
    /// The payload is the record.
    PlainRecord,
}

/// A request's events, checked and encoded; values lie one behind another in `arena`.
#[derive(Debug)]
pub struct Batch<'a> {
    /// Framed values (0, schema id u32 big-endian, Avro) of all encoded events.
    pub arena: Vec<u8>,
    /// One per event, in input order.
    pub items: Vec<Item<'a>>,
}

/// One event of a batch.
#[derive(Debug)]
pub enum Item<'a> {
    /// Fit for the log.
    Encoded(Encoded<'a>),
    /// Refused.
    Invalid(Invalid<'a>),
}

/// An event that passed.
#[derive(Debug)]
pub struct Encoded<'a> {
    /// The event's JSON as sent.
    pub json: &'a str,
    /// `event_id`, or the generated one.
    pub event_id: Cow<'a, str>,
    /// `event_type`.
    pub event_type: Cow<'a, str>,
    /// `timestamp`, nanoseconds since the epoch.
    pub timestamp_ns: i128,
    /// The JSON text of `payload`.
    pub payload: &'a str,
    /// The JSON text of `metadata`, if it is an object.
    pub metadata: Option<&'a str>,
    /// Whether the value holds `metadata` (else it belongs into a header).
    pub metadata_in_value: bool,
    /// Its framed value in the arena.
    pub value: Range<usize>,
    /// Members skipped under `ignore_unknown`.
    pub ignored_fields: u32,
}

/// An event that did not pass.
#[derive(Debug)]
pub struct Invalid<'a> {
    /// The event's JSON as sent.
    pub json: &'a str,
    /// `event_id`, where one could be read.
    pub event_id: Option<Cow<'a, str>>,
    /// What is wrong.
    pub why: Refusal,
}

/// Why an event was refused.
#[derive(Debug)]
pub enum Refusal {
    /// At least one, at most 100 places and then one `too_many_errors`.
    Violations(Vec<Violation>),
    /// The event's JSON, or its encoded value, is over its limit.
    TooLarge {
        /// `event_bytes` or `record_bytes`.
        limit: &'static str,
        /// Bytes found.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
}

/// Why a whole body was refused.
#[derive(Debug)]
pub enum BodyError {
    /// Not JSON: nothing of it was used.
    Malformed {
        /// 1-based.
        line: usize,
        /// 1-based, in characters.
        column: usize,
        /// What was expected there.
        msg: String,
    },
    /// A batch without events.
    Empty,
    /// More events than allowed.
    TooLong {
        /// The limit.
        max: usize,
    },
    /// JSON of another shape than `{"events":[…]}` or an array (batch), or an object (single event).
    Shape(Violation),
}

/// The shape that events of this schema have; `None` where it takes no events.
pub(crate) fn shape(schema: &crate::schema::Schema) -> Option<Shape> {
    layout::layout(schema).ok().map(|(shape, _)| shape)
}
