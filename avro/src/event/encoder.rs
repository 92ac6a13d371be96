//! Bodies: one event, or a batch of them, through one pass over the text.

use std::borrow::Cow;

use super::{
    Batch, BodyError, Encoded, EventContext, EventOptions, Invalid, Item, Refusal, Shape,
    layout::{self, Layout},
    reader::{EventReader, MEMBERS, Parts},
};
use crate::{
    encode::{Done, EncodeOptions, Pass, Stop},
    frame::{self, FRAME_BYTES},
    json::{
        self,
        cursor::{Expected, Kind, Syntax},
    },
    plan::{Names, Plan, RecordPlan, Unsupported},
    schema::Schema,
    violation::{Segment, Violation},
};

/// Places listed for all events of a body; events behind that list one each. Two bytes of JSON are enough for one
/// more wrong place, which takes hundreds in an answer.
const BODY_VIOLATIONS: usize = 10_000;

/// Encodes the events of a topic's schema. Compile once per schema id and share.
#[derive(Clone, Debug)]
pub struct EventEncoder {
    plan: Plan,
    shape: Shape,
    layout: Layout,
    schema_id: u32,
    members: Names,
}

impl EventEncoder {
    /// Decides the shape and where each field comes from.
    ///
    /// # Errors
    /// [`Unsupported`] if the schema is no record, holds a `duration`, or is an envelope with a field that nothing
    /// fills: 409 `schema_unsupported`.
    pub fn compile(schema: &Schema, schema_id: u32) -> Result<Self, Unsupported> {
        let (shape, layout) = layout::layout(schema)?;
        let members = Names::new(MEMBERS.iter().map(|&name| name.into()).collect());
        Ok(Self { plan: Plan::compile(schema)?, shape, layout, schema_id, members })
    }

    /// Which of the three shapes the schema has.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The id in the frame of each value.
    pub fn schema_id(&self) -> u32 {
        self.schema_id
    }

    /// The body of a single publish: one event.
    ///
    /// # Errors
    /// [`BodyError`] if the body is no JSON object. An event that breaks a rule is an [`Item::Invalid`].
    pub fn one<'a>(
        &self,
        body: &'a str,
        options: &EventOptions,
        context: &EventContext<'_>,
    ) -> Result<Batch<'a>, BodyError> {
        let mut bodies = BodyReader::new(self, body, options, context)?;
        bodies.single().map_err(|stop| stop.explain(body))?;
        Ok(bodies.finish())
    }

    /// The body of a batch: `{"events":[…]}` or a bare array.
    ///
    /// # Errors
    /// [`BodyError`] if the body is no such JSON, is empty or has too many events: then nothing of it is used. An
    /// event that breaks a rule is an [`Item::Invalid`] among the others.
    pub fn batch<'a>(
        &self,
        body: &'a str,
        options: &EventOptions,
        context: &EventContext<'_>,
    ) -> Result<Batch<'a>, BodyError> {
        let mut bodies = BodyReader::new(self, body, options, context)?;
        bodies.batch().map_err(|stop| stop.explain(body))?;
        if bodies.items.is_empty() {
            return Err(BodyError::Empty);
        }
        Ok(bodies.finish())
    }
}

/// Why the reading of a body ends early.
enum BodyStop {
    Json(Stop),
    Body(BodyError),
}

impl From<Stop> for BodyStop {
    fn from(stop: Stop) -> Self {
        Self::Json(stop)
    }
}

impl From<Syntax> for BodyStop {
    fn from(error: Syntax) -> Self {
        Self::Json(Stop::Syntax(error))
    }
}

impl BodyStop {
    fn explain(self, body: &str) -> BodyError {
        let error = match self {
            Self::Body(error) => return error,
            Self::Json(Stop::Syntax(error)) => error,
            // Trials end where they began; outside of one nothing stops with this.
            Self::Json(Stop::Mismatch) => Syntax { at: 0, expected: Expected::Value },
        };
        let (line, column) = json::place(body, error.at);
        BodyError::Malformed { line, column, msg: json::explain(body, &error) }
    }
}

fn shape_error(path: &[&str], kind: &'static str, msg: &str) -> BodyError {
    let path = path.iter().map(|&name| Segment::Name(name.into())).collect();
    BodyError::Shape(Violation { path, msg: msg.into(), kind, expected: None, got: None })
}

/// Reads the events of one body; its buffers serve them all.
struct BodyReader<'r, 'a> {
    encoder: &'r EventEncoder,
    record: &'r RecordPlan,
    options: &'r EventOptions,
    context: &'r EventContext<'r>,
    pass: Pass<'r, 'a>,
    compact: String,
    tail: Vec<u8>,
    items: Vec<Item<'a>>,
    /// Found in all events so far.
    violations: usize,
}

impl<'r, 'a> BodyReader<'r, 'a> {
    fn new(
        encoder: &'r EventEncoder,
        body: &'a str,
        options: &'r EventOptions,
        context: &'r EventContext<'r>,
    ) -> Result<Self, BodyError> {
        let plan = &encoder.plan;
        let Some(record) = plan.record(plan.schema.root()) else {
            // `compile` has refused such a schema.
            return Err(shape_error(&[], "dict_type", "the topic's schema is no record"));
        };
        let encode = EncodeOptions {
            ignore_unknown: options.ignore_unknown,
            json_depth: options.json_depth,
            number_chars: options.number_chars,
        };
        let mut pass = Pass::new(plan, body, encode);
        pass.out.reserve(body.len());
        let (compact, tail, items) = (String::new(), Vec::new(), Vec::new());
        Ok(Self { encoder, record, options, context, pass, compact, tail, items, violations: 0 })
    }

    fn finish(self) -> Batch<'a> {
        Batch { arena: self.pass.out, items: self.items }
    }

    fn single(&mut self) -> Result<(), BodyStop> {
        if self.pass.cursor.kind()? != Kind::Object {
            self.pass.cursor.skip()?;
            self.pass.cursor.end()?;
            return Err(BodyStop::Body(shape_error(&[], "dict_type", "expected one event, which is a JSON object")));
        }
        self.event()?;
        Ok(self.pass.cursor.end()?)
    }

    fn batch(&mut self) -> Result<(), BodyStop> {
        // A body of the wrong shape is read to its end all the same: if it is no JSON, that comes first.
        let shape = match self.pass.cursor.kind()? {
            Kind::Array => self.events().map(|()| None)?,
            Kind::Object => self.wrapper()?,
            _ => {
                self.pass.cursor.skip()?;
                Some(shape_error(&[], "dict_type", "expected {\"events\": [...]} or an array of events"))
            }
        };
        self.pass.cursor.end()?;
        shape.map_or(Ok(()), |error| Err(BodyStop::Body(error)))
    }

    /// `{"events":[…]}` and nothing else.
    fn wrapper(&mut self) -> Result<Option<BodyError>, BodyStop> {
        let (mut first, mut met, mut wrong) = (true, false, None);
        self.pass.cursor.open();
        while let Some(key) = self.pass.cursor.member(&mut first)? {
            let name = key.decode();
            let error = match (&*name, self.pass.cursor.kind()?) {
                ("events", Kind::Array) if !met => {
                    met = true;
                    self.events()?;
                    continue;
                }
                ("events", _) if met => shape_error(&["events"], "duplicate_key", "events stands twice in the body"),
                ("events", _) => {
                    met = true;
                    shape_error(&["events"], "list_type", "expected an array of events")
                }
                _ => shape_error(&[&name], "extra_forbidden", "a batch has the one member events"),
            };
            wrong.get_or_insert(error);
            self.pass.cursor.skip()?;
        }
        if !met {
            wrong.get_or_insert(shape_error(
                &["events"],
                "missing",
                "a batch has the member events, an array of events",
            ));
        }
        Ok(wrong)
    }

    fn events(&mut self) -> Result<(), BodyStop> {
        self.pass.cursor.open();
        let mut first = true;
        while self.pass.cursor.element(&mut first)? {
            if self.items.len() == self.options.batch_events {
                return Err(BodyStop::Body(BodyError::TooLong { max: self.options.batch_events }));
            }
            self.event()?;
        }
        Ok(())
    }

    /// The event at the cursor, whatever it is.
    fn event(&mut self) -> Done {
        self.pass.cursor.space();
        self.pass.begin();
        let (from, start) = (self.pass.cursor.pos(), self.pass.out.len());
        frame::write(self.encoder.schema_id, &mut self.pass.out);
        let mut reader = EventReader {
            pass: &mut self.pass,
            layout: &self.encoder.layout,
            record: self.record,
            members: &self.encoder.members,
            options: self.options,
            context: self.context,
            parts: Parts::default(),
            compact: &mut self.compact,
            tail: &mut self.tail,
        };
        reader.read()?;
        let sent = reader.parts.event_id.map(|text| text.decode());
        let event_id = sent.clone().or_else(|| reader.generates_event_id().then(new_event_id));
        reader.complete(start + FRAME_BYTES, event_id.as_deref().unwrap_or_default())?;
        let parts = reader.parts;
        let json = &self.pass.cursor.text()[from..self.pass.cursor.pos()];
        let item = match self.judge(json, start, parts, event_id) {
            Ok(encoded) => Item::Encoded(encoded),
            Err(why) => {
                self.pass.out.truncate(start);
                Item::Invalid(Invalid { json, event_id: sent, why })
            }
        };
        self.items.push(item);
        Ok(())
    }

    /// The event whose value ends the output, if nothing is wrong with it.
    fn judge(
        &mut self,
        json: &'a str,
        start: usize,
        parts: Parts<'a>,
        event_id: Option<Cow<'a, str>>,
    ) -> Result<Encoded<'a>, Refusal> {
        let violations = self.pass.faults.take();
        self.violations += violations.len();
        if self.violations >= BODY_VIOLATIONS {
            self.pass.faults.most = 1;
        }
        within("event_bytes", json.len(), self.options.event_bytes)?;
        let (Some(event_id), Some(event_type), Some(timestamp_ns), Some(payload), true) =
            (event_id, parts.event_type, parts.timestamp, parts.payload, violations.is_empty())
        else {
            return Err(Refusal::Violations(violations));
        };
        within("record_bytes", self.pass.out.len() - start, self.options.record_bytes)?;
        Ok(Encoded {
            json,
            event_id,
            event_type: event_type.decode(),
            timestamp_ns,
            payload,
            metadata: parts.metadata,
            metadata_in_value: parts.metadata_in_value,
            value: start..self.pass.out.len(),
            ignored_fields: self.pass.ignored,
        })
    }
}

fn within(limit: &'static str, bytes: usize, max: usize) -> Result<(), Refusal> {
    if bytes > max { Err(Refusal::TooLarge { limit, bytes, max }) } else { Ok(()) }
}

/// A UUIDv7: sorts by time.
fn new_event_id<'a>() -> Cow<'a, str> {
    Cow::Owned(uuid::Uuid::now_v7().to_string())
}
