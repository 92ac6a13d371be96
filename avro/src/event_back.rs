//! Records back to Events, for those who read a topic: the inverse of what [`crate::event`] does.

use crate::{
    decode,
    encode::datetime::{format_utc, unit_nanos},
    event::Shape,
    schema::{Node, NodeId, Schema, TimeUnit},
    violation::Segment,
    walk::{Fault, Limits, Walk, WalkError, Walked, under},
};

/// What a record says of its event beside the value.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// The record's timestamp, ms since the epoch.
    pub timestamp_ms: i64,
    /// Header `event_id`.
    pub event_id: Option<&'a str>,
    /// Header `event_type`.
    pub event_type: Option<&'a str>,
    /// Header `event_time`, RFC 3339.
    pub event_time: Option<&'a str>,
    /// Header `metadata`, JSON text.
    pub metadata: Option<&'a str>,
}

/// The members of an Event, as JSON text.
#[derive(Default)]
struct Members {
    event_id: Option<String>,
    timestamp: Option<String>,
    event_type: Option<String>,
    payload: String,
    metadata: Option<String>,
}

/// Appends the Event of a datum as a JSON object: `event_id`, `timestamp`, `event_type`, `payload`, and `metadata` where
/// there is any. The datum is walked first.
///
/// A record of another producer has no `event_id` and so on: then the id is `<topic>-<partition>-<offset>`, the type the
/// schema's full name, and the time the record's. Text payloads that are JSON stand as they were sent.
///
/// # Errors
/// The datum is none of the schema; nothing was appended.
pub fn to_event(schema: &Schema, datum: &[u8], origin: &Origin<'_>, out: &mut String) -> Result<(), WalkError> {
    crate::walk::walk(schema, datum, &Limits::default())?;
    let mut members = match crate::event::shape(schema) {
        Some(shape @ (Shape::TextEnvelope | Shape::TypedEnvelope)) => envelope(schema, datum, shape)?,
        _ => plain(schema, datum, origin)?,
    };
    if members.metadata.is_none() {
        members.metadata = origin.metadata.filter(|text| is_json(text)).map(str::to_owned);
    }
    write(schema, origin, &members, out);
    Ok(())
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    decode::escape(text, &mut out);
    out
}

fn plain(schema: &Schema, datum: &[u8], origin: &Origin<'_>) -> Result<Members, WalkError> {
    let mut payload = String::new();
    decode::to_json(schema, datum, &mut payload)?;
    Ok(Members {
        event_id: origin.event_id.map(quoted),
        timestamp: origin.event_time.map(quoted),
        event_type: origin.event_type.map(quoted),
        payload,
        metadata: None,
    })
}

/// Shapes E and T. Fields beside the Event's own were copied from the payload or filled by the service.
fn envelope(schema: &Schema, datum: &[u8], shape: Shape) -> Result<Members, WalkError> {
    let limits = Limits::default();
    let mut walk = Walk::new(schema, datum, &limits);
    let mut members = Members::default();
    let Node::Record { fields, .. } = schema.node(schema.root()) else { return Ok(members) };
    let depth = limits.depth - 1;
    for field in fields {
        let done = match &*field.name {
            "event_id" => json(schema, &mut walk, field.node, depth).map(|text| members.event_id = Some(text)),
            "event_type" => json(schema, &mut walk, field.node, depth).map(|text| members.event_type = Some(text)),
            "timestamp" => timestamp(schema, &mut walk, field.node).map(|text| members.timestamp = Some(text)),
            "payload" if shape == Shape::TextEnvelope => {
                text(schema, &mut walk, field.node, depth).map(|payload| members.payload = payload)
            }
            "payload" => json(schema, &mut walk, field.node, depth).map(|payload| members.payload = payload),
            "metadata" => text(schema, &mut walk, field.node, depth)
                .map(|metadata| members.metadata = Some(metadata).filter(|text| text != "null")),
            _ => walk.value(field.node, depth),
        };
        done.map_err(|error| under(error, Segment::Name(field.name.to_string())).outward())?;
    }
    Ok(members)
}

fn json(schema: &Schema, walk: &mut Walk<'_>, node: NodeId, depth: usize) -> Walked<String> {
    let mut out = String::new();
    decode::value(schema, walk, node, depth, &mut out)?;
    Ok(out)
}

/// A field that may hold JSON text: that text, if it is JSON, else the value as JSON.
fn text(schema: &Schema, walk: &mut Walk<'_>, node: NodeId, depth: usize) -> Walked<String> {
    let start = walk.at;
    let inside = match schema.node(node) {
        Node::String => Some(walk.string()?),
        Node::Union(branches) => {
            let branch = walk.index(branches.len(), Fault::UnionIndex)?;
            matches!(schema.node(branches[branch]), Node::String).then(|| walk.string()).transpose()?
        }
        _ => None,
    };
    match inside.filter(|text| is_json(text)) {
        Some(inside) => Ok(inside.to_owned()),
        None => {
            walk.at = start;
            json(schema, walk, node, depth)
        }
    }
}

/// A plain `long` counts as milliseconds.
fn timestamp(schema: &Schema, walk: &mut Walk<'_>, node: NodeId) -> Walked<String> {
    let unit = match schema.node(node) {
        Node::Timestamp(unit) => *unit,
        _ => TimeUnit::Millis,
    };
    Ok(quoted(&format_utc(i128::from(walk.long()?) * unit_nanos(unit))))
}

fn write(schema: &Schema, origin: &Origin<'_>, members: &Members, out: &mut String) {
    let Origin { topic, partition, offset, timestamp_ms, .. } = origin;
    let event_id = members.event_id.clone().unwrap_or_else(|| quoted(&format!("{topic}-{partition}-{offset}")));
    let event_type = members.event_type.clone().unwrap_or_else(|| quoted(schema.full_name().unwrap_or(topic)));
    let timestamp =
        members.timestamp.clone().unwrap_or_else(|| quoted(&format_utc(i128::from(*timestamp_ms) * 1_000_000)));
    out.push_str("{\"event_id\":");
    out.push_str(&event_id);
    out.push_str(",\"timestamp\":");
    out.push_str(&timestamp);
    out.push_str(",\"event_type\":");
    out.push_str(&event_type);
    out.push_str(",\"payload\":");
    out.push_str(&members.payload);
    if let Some(metadata) = &members.metadata {
        out.push_str(",\"metadata\":");
        out.push_str(metadata);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{DEFAULT_ENVELOPE, EventContext, EventEncoder, EventOptions, Item};

    const ORIGIN: Origin<'static> = Origin {
        topic: "t",
        partition: 2,
        offset: 7,
        timestamp_ms: 1_000,
        event_id: None,
        event_type: None,
        event_time: None,
        metadata: None,
    };

    fn back(schema: &str, event: &str, origin: &Origin<'_>) -> String {
        let schema = Schema::parse(schema, &[]).unwrap();
        let encoder = EventEncoder::compile(&schema, 1).unwrap();
        let context = EventContext { received_at_ms: 0, correlation_id: "c", tenant: None };
        let batch = encoder.one(event, &EventOptions::default(), &context).unwrap();
        let Item::Encoded(encoded) = &batch.items[0] else { panic!("{batch:?}") };
        let mut out = String::new();
        let (_, datum) = crate::frame::split(&batch.arena[encoded.value.clone()]).unwrap();
        to_event(&schema, datum, origin, &mut out).unwrap();
        out
    }

    #[test]
    fn a_text_envelope_gives_back_the_payload_as_sent() {
        let event = r#"{"event_id":"a","timestamp":"2026-01-01T00:00:00Z","event_type":"x","payload":{"n": 1.50, "user_id":"u"}}"#;
        let expected = r#"{"event_id":"a","timestamp":"2026-01-01T00:00:00.000Z","event_type":"x","payload":{"n":1.50,"user_id":"u"}}"#;
        assert_eq!(back(DEFAULT_ENVELOPE, event, &ORIGIN), expected);
    }

    #[test]
    fn metadata_comes_from_the_value_or_the_header() {
        let typed = r#"{"type":"record","name":"E","fields":[{"name":"event_id","type":"string"},{"name":"timestamp","type":"long"},
            {"name":"event_type","type":"string"},{"name":"payload","type":{"type":"record","name":"P","fields":[{"name":"n","type":"int"}]}},
            {"name":"metadata","type":{"type":"map","values":"string"}}]}"#;
        let event = r#"{"event_id":"a","timestamp":"2026-01-01T00:00:00Z","event_type":"x","payload":{"n":1},"metadata":{"k":"v"}}"#;
        let expected = r#"{"event_id":"a","timestamp":"2026-01-01T00:00:00.000Z","event_type":"x","payload":{"n":1},"metadata":{"k":"v"}}"#;
        assert_eq!(back(typed, event, &ORIGIN), expected);
        let header = Origin { metadata: Some(r#"{"h":1}"#), ..ORIGIN };
        let event = event.replace(r#","metadata":{"k":"v"}"#, "");
        assert!(back(DEFAULT_ENVELOPE, &event, &header).ends_with(r#","metadata":{"h":1}}"#));
    }

    #[test]
    fn a_plain_record_takes_the_rest_from_headers_or_its_place() {
        let schema = r#"{"type":"record","name":"n.R","fields":[{"name":"x","type":"int"}]}"#;
        let event = r#"{"event_id":"a","timestamp":"2026-01-01T00:00:00Z","event_type":"x","payload":{"x":1}}"#;
        let headers = Origin {
            event_id: Some("a"),
            event_type: Some("x"),
            event_time: Some("2026-01-01T00:00:00.000Z"),
            ..ORIGIN
        };
        let expected = r#"{"event_id":"a","timestamp":"2026-01-01T00:00:00.000Z","event_type":"x","payload":{"x":1}}"#;
        assert_eq!(back(schema, event, &headers), expected);
        let expected =
            r#"{"event_id":"t-2-7","timestamp":"1970-01-01T00:00:01.000Z","event_type":"n.R","payload":{"x":1}}"#;
        assert_eq!(back(schema, event, &ORIGIN), expected);
    }

    #[test]
    fn bytes_that_are_no_datum_append_nothing() {
        let schema = Schema::parse(DEFAULT_ENVELOPE, &[]).unwrap();
        let mut out = String::new();
        assert!(to_event(&schema, b"\x02", &ORIGIN, &mut out).is_err());
        assert!(out.is_empty());
    }
}
