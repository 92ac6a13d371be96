//! Which shape a schema has and where each of its fields comes from: decided once, when the schema is compiled.

use super::Shape;
use crate::{
    plan::Unsupported,
    schema::{Field, Node, NodeId, Schema, TimeUnit},
};

/// A plan for a record's value.
#[derive(Clone, Debug)]
pub(super) enum Layout {
    /// Shapes E and T: a source for each field.
    Envelope {
        /// How `payload` is read.
        payload: Payload,
        /// In schema order.
        sources: Vec<Source>,
    },
    /// Shape R: what the Event adds to the payload's members, by field.
    Plain {
        /// Field index and what fills it if the payload lacks it.
        fills: Vec<(usize, Source)>,
    },
}

/// How an envelope keeps its payload.
#[derive(Clone, Copy, Debug)]
pub(super) enum Payload {
    /// As compact JSON text.
    Text,
    /// By this type.
    Typed(NodeId),
}

/// Where a field comes from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    EventId(Slot),
    /// The same where the field has the logical type `uuid`.
    EventUuid,
    EventType(Slot),
    Timestamp(Slot, TimeUnit),
    /// RFC 3339 text in UTC.
    TimestampText(Slot),
    Payload(Slot),
    /// `/payload/<f>`, else `/metadata/<f>`.
    Subject(Slot, Subject),
    Metadata(Slot, Metadata),
    CorrelationId(Slot),
    Tenant(Slot),
    ReceivedAt(Slot, TimeUnit),
    Default,
}

/// Whose event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    User,
    Device,
}

/// How a field keeps metadata.
#[derive(Clone, Copy, Debug)]
pub(super) enum Metadata {
    /// A map of strings: scalars as text, nested values as JSON text.
    TextMap,
    /// JSON text.
    Text,
    /// Checked against this type.
    Typed(NodeId),
}

/// How a field takes a value: itself, or as branches of a union.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    /// The branch to name before a value.
    pub value: Option<usize>,
    /// The branch for no value.
    pub null: Option<usize>,
}

/// Shape and layout of a schema.
pub(super) fn layout(schema: &Schema) -> Result<(Shape, Layout), Unsupported> {
    let Node::Record { fields, .. } = schema.node(schema.root()) else {
        let reason =
            format!("the schema is of type {}, and events need a record", schema.node(schema.root()).base_type());
        return Err(Unsupported { field: String::new(), reason });
    };
    let Some(payload) = envelope_payload(schema, fields) else {
        return Ok((Shape::PlainRecord, plain(schema, fields)));
    };
    let shape = if is_text(schema, payload) { Shape::TextEnvelope } else { Shape::TypedEnvelope };
    if shape == Shape::TypedEnvelope && !takes_object(schema, payload) {
        return Err(unsupported("payload", "an event's payload is an object; make it a record, a map or a string"));
    }
    let sources = fields.iter().map(|field| source(schema, field, shape)).collect::<Result<_, _>>()?;
    let payload = if shape == Shape::TextEnvelope { Payload::Text } else { Payload::Typed(payload) };
    Ok((shape, Layout::Envelope { payload, sources }))
}

fn unsupported(field: &str, reason: &str) -> Unsupported {
    Unsupported { field: field.into(), reason: reason.into() }
}

/// The type of `payload`, if the record is an envelope.
fn envelope_payload(schema: &Schema, fields: &[Field]) -> Option<NodeId> {
    let field = |name: &str| fields.iter().find(|field| *field.name == *name);
    let is = |name: &str, fits: fn(&Node) -> bool| field(name).is_some_and(|field| fits(schema.node(field.node)));
    let envelope = is("event_id", string_or_uuid)
        && is("event_type", |node| matches!(node, Node::String))
        && is("timestamp", |node| {
            matches!(node, Node::Long | Node::Timestamp(TimeUnit::Millis) | Node::Timestamp(TimeUnit::Micros))
        });
    field("payload").filter(|_| envelope).map(|field| field.node)
}

fn string_or_uuid(node: &Node) -> bool {
    matches!(node, Node::String | Node::UuidString)
}

/// `string` or `[null, string]`.
fn is_text(schema: &Schema, id: NodeId) -> bool {
    match schema.node(id) {
        Node::String => true,
        Node::Union(branches) => {
            let count = |fits: fn(&Node) -> bool| branches.iter().filter(|&&id| fits(schema.node(id))).count();
            branches.len() == 2 && count(|n| *n == Node::Null) == 1 && count(|n| *n == Node::String) == 1
        }
        _ => false,
    }
}

fn takes_object(schema: &Schema, id: NodeId) -> bool {
    let object = |id: NodeId| matches!(schema.node(id), Node::Record { .. } | Node::Map(_));
    match schema.node(id) {
        Node::Union(branches) => branches.iter().any(|&branch| object(branch)),
        _ => object(id),
    }
}

/// How a value of a fitting type gets into the field, and that type.
fn slot<T>(schema: &Schema, id: NodeId, fits: impl Fn(NodeId) -> Option<T>) -> Option<(Slot, T)> {
    if let Some(found) = fits(id) {
        return Some((Slot::default(), found));
    }
    let Node::Union(branches) = schema.node(id) else { return None };
    let null = branches.iter().position(|&id| *schema.node(id) == Node::Null);
    let (at, found) = branches.iter().enumerate().find_map(|(at, &id)| Some((at, fits(id)?)))?;
    Some((Slot { value: Some(at), null }, found))
}

fn text_slot(schema: &Schema, id: NodeId) -> Option<Slot> {
    slot(schema, id, |id| (*schema.node(id) == Node::String).then_some(())).map(|(slot, ())| slot)
}

/// A plain `long` counts as milliseconds.
fn time_slot(schema: &Schema, id: NodeId) -> Option<(Slot, TimeUnit)> {
    slot(schema, id, |id| match schema.node(id) {
        Node::Timestamp(unit) => Some(*unit),
        Node::Long => Some(TimeUnit::Millis),
        _ => None,
    })
}

fn metadata_slot(schema: &Schema, id: NodeId) -> Option<(Slot, Metadata)> {
    slot(schema, id, |id| match schema.node(id) {
        Node::Map(values) if *schema.node(*values) == Node::String => Some(Metadata::TextMap),
        Node::Map(_) | Node::Record { .. } => Some(Metadata::Typed(id)),
        Node::String => Some(Metadata::Text),
        _ => None,
    })
}

/// The source of an envelope's field.
fn source(schema: &Schema, field: &Field, shape: Shape) -> Result<Source, Unsupported> {
    let id = field.node;
    let text = || text_slot(schema, id);
    let found = match &*field.name {
        // Strings and a timestamp, or it were no envelope.
        "event_id" if *schema.node(id) == Node::UuidString => Some(Source::EventUuid),
        "event_id" => Some(Source::EventId(Slot::default())),
        "event_type" => Some(Source::EventType(Slot::default())),
        "timestamp" => time_slot(schema, id).map(|(slot, unit)| Source::Timestamp(slot, unit)),
        "payload" if shape == Shape::TextEnvelope => text().map(Source::Payload),
        // A typed payload names its branch itself.
        "payload" => Some(Source::Payload(Slot::default())),
        "user_id" => text().map(|slot| Source::Subject(slot, Subject::User)),
        "device_id" => text().map(|slot| Source::Subject(slot, Subject::Device)),
        "metadata" => metadata_slot(schema, id).map(|(slot, form)| Source::Metadata(slot, form)),
        "correlation_id" => text().map(Source::CorrelationId),
        "tenant" => text().filter(|slot| slot.null.is_some() || field.default.is_some()).map(Source::Tenant),
        "received_at" => time_slot(schema, id).map(|(slot, unit)| Source::ReceivedAt(slot, unit)),
        _ => None,
    };
    match found {
        Some(source) => Ok(source),
        None if field.default.is_some() => Ok(Source::Default),
        None => Err(unsupported(&field.name, advice(&field.name))),
    }
}

/// What would make a field of an envelope usable.
fn advice(field: &str) -> &'static str {
    match field {
        "user_id" | "device_id" | "correlation_id" => "it is filled with text: make it a string, or give it a default",
        "tenant" => "not every request has a tenant: make it [\"null\", \"string\"] or give it a default",
        "metadata" => "make it a map, a record or a string, or give it a default",
        "received_at" => "make it a timestamp, or give it a default",
        _ => "nothing in an event fills this field of the envelope: give it a default, or move it into payload",
    }
}

/// What the Event adds to a plain record.
fn plain(schema: &Schema, fields: &[Field]) -> Layout {
    let fill = |field: &Field| {
        let id = field.node;
        match &*field.name {
            "event_id" => text_slot(schema, id).map(Source::EventId),
            "event_type" => text_slot(schema, id).map(Source::EventType),
            "timestamp" => time_slot(schema, id)
                .map(|(slot, unit)| Source::Timestamp(slot, unit))
                .or_else(|| text_slot(schema, id).map(Source::TimestampText)),
            "metadata" => metadata_slot(schema, id).map(|(slot, form)| Source::Metadata(slot, form)),
            _ => None,
        }
    };
    let fills = fields.iter().enumerate().filter_map(|(index, field)| Some((index, fill(field)?))).collect();
    Layout::Plain { fills }
}

impl Layout {
    /// How metadata stands in the value, if it does.
    pub(super) fn metadata(&self) -> Option<(Slot, Metadata)> {
        let find = |source: &Source| match source {
            Source::Metadata(slot, form) => Some((*slot, *form)),
            _ => None,
        };
        match self {
            Self::Envelope { sources, .. } => sources.iter().find_map(find),
            Self::Plain { fills } => fills.iter().find_map(|(_, source)| find(source)),
        }
    }

    /// Whether `/payload/user_id` or `/payload/device_id` is wanted.
    pub(super) fn wants_subject(&self) -> bool {
        matches!(self, Self::Envelope { sources, .. } if sources.iter().any(|s| matches!(s, Source::Subject(..))))
    }
}
