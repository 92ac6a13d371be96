//! What publishers read of a schema: the JSON Schema of its events, and an event that passes.

use serde_json::{Map, Value, json};

use super::{
    EventContext, EventEncoder, EventOptions, Item, Shape,
    layout::{Layout, Metadata, Payload, Source},
};
use crate::{
    json_schema::{Examples, Options, Writer, or_null},
    plan::Unsupported,
    schema::{Field, Node, NodeId, Schema},
};

/// Longest example, as JSON text.
const EXAMPLE_BYTES: usize = 32 << 10;

/// The events of a schema, for documents.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Their shape.
    pub shape: Shape,
    /// JSON Schema (2020-12) of one event.
    pub json_schema: Value,
    /// An event that encodes. `None` where each would be too long to read.
    pub example: Option<Value>,
}

/// Describes the events that a topic takes. `key` holds the JSON pointers of the topic's key, if it must have one: the
/// example then has a key. `at` is where the JSON Schema will stand; see [`Options::at`].
///
/// # Errors
/// [`Unsupported`] if the schema takes no events.
pub fn describe(schema: &Schema, options: &EventOptions, key: &[String], at: &str) -> Result<Description, Unsupported> {
    let encoder = EventEncoder::compile(schema, 0)?;
    let (shape, layout) = super::layout::layout(schema)?;
    // A schema of another type was refused above.
    let fields = if let Node::Record { fields, .. } = schema.node(schema.root()) { &fields[..] } else { &[] };
    let describer = Describer { schema, fields, layout: &layout, options };
    let example = [true, false].into_iter().find_map(|rich| describer.example(rich, key, &encoder));
    Ok(Description { shape, json_schema: describer.json_schema(at), example })
}

struct Describer<'s> {
    schema: &'s Schema,
    /// Those of the record at the root.
    fields: &'s [Field],
    layout: &'s Layout,
    options: &'s EventOptions,
}

impl<'s> Describer<'s> {
    fn json_schema(&self, at: &'s str) -> Value {
        let options = Options { at, ignore_unknown: self.options.ignore_unknown };
        let mut writer = Writer::new(self.schema, &options);
        let mut properties = Map::new();
        properties.insert("event_id".into(), self.event_id());
        properties.insert("timestamp".into(), timestamp());
        properties.insert("event_type".into(), event_type());
        properties.insert("payload".into(), self.payload(&mut writer));
        properties.insert("metadata".into(), self.metadata(&mut writer));
        let mut event = Map::new();
        event.insert("type".into(), "object".into());
        event.insert("properties".into(), properties.into());
        event.insert("required".into(), self.required().into());
        event.insert("additionalProperties".into(), false.into());
        let needs: Vec<Value> = self.needs().collect();
        if !needs.is_empty() {
            event.insert("allOf".into(), needs.into());
        }
        writer.finish(&mut event);
        Value::Object(event)
    }

    fn required(&self) -> Vec<&'static str> {
        let mut required = Vec::with_capacity(5);
        required.extend((!self.options.generate_event_id).then_some("event_id"));
        required.extend((!self.options.generate_timestamp).then_some("timestamp"));
        required.extend(["event_type", "payload"]);
        required.extend(self.needs_metadata().then_some("metadata"));
        required
    }

    fn event_id(&self) -> Value {
        let description =
            "Identifies the event; a UUIDv7 is recommended. Send the same one when you send the event again.";
        let uuid = matches!(self.layout, Layout::Envelope { sources, .. } if sources.iter().any(|s| matches!(s, Source::EventUuid)));
        match uuid {
            true => json!({"type": "string", "format": "uuid", "description": description}),
            false => json!({"type": "string", "pattern": "^[ -~]{1,128}$", "description": description}),
        }
    }

    fn payload(&self, writer: &mut Writer<'s>) -> Value {
        match self.layout {
            Layout::Envelope { payload: Payload::Text, .. } => {
                json!({"type": "object", "description": "Any JSON object; kept as JSON text."})
            }
            Layout::Envelope { payload: Payload::Typed(id), .. } => match self.schema.node(*id) {
                Node::Union(branches) => writer.choice(&self.objects(branches), false),
                _ => writer.value(*id),
            },
            Layout::Plain { .. } => {
                Value::Object(writer.record(self.schema.root(), self.fields, |name| self.is_filled(name)))
            }
        }
    }

    /// The branches that an object can be.
    fn objects(&self, branches: &[NodeId]) -> Vec<NodeId> {
        let object = |id: &NodeId| matches!(self.schema.node(*id), Node::Record { .. } | Node::Map(_));
        branches.iter().copied().filter(object).collect()
    }

    /// Whether a field of a plain record comes from the event if the payload lacks it.
    fn is_filled(&self, name: &str) -> bool {
        let Layout::Plain { fills } = self.layout else { return false };
        fills.iter().any(|(index, _)| self.fields.get(*index).is_some_and(|field| *field.name == *name))
    }

    fn metadata(&self, writer: &mut Writer<'s>) -> Value {
        let described = match self.layout.metadata() {
            Some((_, Metadata::Typed(id))) if self.needs_metadata() => writer.value(id),
            Some((_, Metadata::Typed(id))) => or_null(writer.value(id)),
            _ => json!({"type": ["object", "null"]}),
        };
        let mut described = match described {
            Value::Object(described) => described,
            _ => Map::new(),
        };
        described.entry("description").or_insert_with(|| "What is known of the event beside its payload.".into());
        Value::Object(described)
    }

    /// Whether an envelope has a field for metadata that nothing else fills.
    fn needs_metadata(&self) -> bool {
        let Layout::Envelope { sources, .. } = self.layout else { return false };
        sources.iter().zip(self.fields).any(|(source, field)| {
            matches!(source, Source::Metadata(slot, Metadata::Typed(_)) if slot.null.is_none())
                && field.default.is_none()
        })
    }

    /// What may stand in either of two places and must stand in one.
    fn needs(&self) -> Box<dyn Iterator<Item = Value> + '_> {
        match self.layout {
            Layout::Envelope { .. } => Box::new(self.needed_subjects().map(|name| {
                let there = json!({
                    "type": "object", "required": [name], "properties": {name: {"type": ["string", "integer"]}}
                });
                json!({"anyOf": [
                    {"properties": {"payload": there}},
                    {"required": ["metadata"], "properties": {"metadata": there}},
                ]})
            })),
            Layout::Plain { .. } => Box::new(self.metadata_of_record().into_iter().map(|field| {
                let there = json!({"required": ["metadata"], "properties": {"metadata": {"type": "object"}}});
                json!({"anyOf": [{"properties": {"payload": {"required": [&*field.name]}}}, there]})
            })),
        }
    }

    /// `user_id` and `device_id`, where an envelope can't do without.
    fn needed_subjects(&self) -> impl Iterator<Item = &'s str> + '_ {
        let sources = if let Layout::Envelope { sources, .. } = self.layout { &sources[..] } else { &[] };
        let fields = self.fields;
        sources.iter().zip(fields).filter_map(|(source, field)| {
            let needed = matches!(source, Source::Subject(slot, _) if slot.null.is_none()) && field.default.is_none();
            needed.then_some(&*field.name)
        })
    }

    /// A plain record's field for metadata, if payload or event must have it.
    fn metadata_of_record(&self) -> Option<&'s Field> {
        let Layout::Plain { fills } = self.layout else { return None };
        let index = fills.iter().find_map(|(index, s)| matches!(s, Source::Metadata(..)).then_some(*index))?;
        self.fields.get(index).filter(|field| field.default.is_none())
    }

    /// An event that the encoder takes.
    fn example(&self, rich: bool, key: &[String], encoder: &EventEncoder) -> Option<Value> {
        let mut event = json!({
            "event_id": "0197c3f0-0000-7000-8000-000000000001",
            "timestamp": "2026-01-31T12:30:00.000Z",
            "event_type": "example",
            "payload": self.example_payload(rich)?,
        });
        if self.needs_metadata() || self.metadata_of_record().is_some() || (rich && self.has_typed_metadata()) {
            event["metadata"] = self.example_metadata(rich)?;
        }
        for name in self.needed_subjects() {
            if !matches!(event["payload"].get(name), Some(Value::String(_) | Value::Number(_))) {
                event["metadata"][name] = format!("{}-1", name.trim_end_matches("_id")).into();
            }
        }
        with_key(event, key).into_iter().find(|event| self.passes(event, encoder))
    }

    fn example_payload(&self, rich: bool) -> Option<Value> {
        let mut examples = Examples::new(self.schema, rich);
        match self.layout {
            Layout::Envelope { payload: Payload::Text, .. } => Some(json!({"user_id": "user-1", "amount": 12.5})),
            Layout::Envelope { payload: Payload::Typed(id), .. } => match self.schema.node(*id) {
                Node::Union(branches) => examples.union(&self.objects(branches)),
                _ => examples.value(*id),
            },
            Layout::Plain { .. } => {
                let record = examples.record(self.schema.root(), self.fields, |name| self.is_filled(name));
                record.map(Value::Object)
            }
        }
    }

    fn has_typed_metadata(&self) -> bool {
        matches!(self.layout.metadata(), Some((_, Metadata::Typed(_))))
    }

    fn example_metadata(&self, rich: bool) -> Option<Value> {
        match self.layout.metadata() {
            Some((_, Metadata::Typed(id))) => Examples::new(self.schema, rich).value(id),
            _ => Some(json!({"source": "example"})),
        }
    }

    /// Short enough, and encoded without a violation.
    fn passes(&self, event: &Value, encoder: &EventEncoder) -> bool {
        let text = event.to_string();
        let context = EventContext { received_at_ms: 0, correlation_id: "example", tenant: None };
        let encoded = || encoder.one(&text, self.options, &context);
        text.len() <= EXAMPLE_BYTES
            && encoded().is_ok_and(|batch| batch.items.iter().all(|item| matches!(item, Item::Encoded(_))))
    }
}

fn timestamp() -> Value {
    let description =
        "When it happened: RFC 3339; without an offset it is UTC. Digits finer than the schema's are cut off.";
    json!({"type": "string", "format": "date-time", "description": description})
}

fn event_type() -> Value {
    let description = "What happened, in the words of the sender.";
    json!({"type": "string", "minLength": 1, "maxLength": 256, "description": description})
}

/// The event with a key at one of these places, in the order to try; the event itself if it has one, or needs none.
fn with_key(event: Value, key: &[String]) -> Vec<Value> {
    let has = |pointer: &String| match event.pointer(pointer) {
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Number(number)) => number.is_i64(),
        _ => false,
    };
    if key.is_empty() || key.iter().any(has) {
        return vec![event];
    }
    let mut events: Vec<Value> = key.iter().filter_map(|pointer| put(&event, pointer)).collect();
    events.push(event);
    events
}

/// A copy with text at a pointer, if objects lead to it and nothing stands there.
fn put(event: &Value, pointer: &str) -> Option<Value> {
    let mut event = event.clone();
    let mut at = &mut event;
    for step in pointer.strip_prefix('/')?.split('/') {
        let name = step.replace("~1", "/").replace("~0", "~");
        if at.is_null() {
            *at = json!({});
        }
        at = at.as_object_mut()?.entry(name).or_insert(Value::Null);
    }
    at.is_null().then(|| *at = "key-1".into())?;
    Some(event)
}
