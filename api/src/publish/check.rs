//! From a body to events that are fit for the log, or say why not: schema, encoding, address.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use forebay_avro::{
    event::{Batch, BodyError, EventContext, EventEncoder, Invalid, Item, Refusal},
    violation::Violation,
};
use forebay_broker::{NewRecord, dead_letter::HTTP_CONNECTOR};

use super::{EventResult, Fate, Publish, Publisher, dead_letters::DeadLetters};
use crate::{
    address::{self, Envelope, Unaddressed},
    encoders::Compiled,
    problem::{
        self, Code, ErrorItem, Loc, Problem,
        of_log::{NO_KEY, OUT_OF_RANGE},
    },
    topics::Topic,
};

/// How the body holds its events; the way to an event begins with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// It is the one event.
    One,
    /// `{"events":[…]}`.
    Member,
    /// `[…]`.
    Array,
}

impl Form {
    fn of(request: &Publish<'_>) -> Self {
        match (request.batch, request.body.trim_start().starts_with('[')) {
            (false, _) => Self::One,
            (true, false) => Self::Member,
            (true, true) => Self::Array,
        }
    }

    /// From the body to the event of this index.
    pub(super) fn way(self, index: usize) -> Vec<Loc> {
        match self {
            Self::One => Vec::new(),
            Self::Member => vec![Loc::Name("events".into()), Loc::Index(index)],
            Self::Array => vec![Loc::Index(index)],
        }
    }
}

/// Events that were checked and not yet produced.
pub(crate) struct Checked<'a> {
    pub(super) topic: Arc<Topic>,
    pub(super) form: Form,
    pub(super) items: Vec<CheckedItem<'a>>,
    /// Members that were skipped.
    pub(super) fields_ignored: u64,
    /// There if anything is unfit.
    pub(super) dead_letters: Option<DeadLetters>,
    /// Whether the schema has its id. Else, as for a topic that does not exist, nothing fit may be produced yet.
    registered: bool,
}

/// An event that was checked.
pub(super) enum CheckedItem<'a> {
    /// It has its record.
    Fit { event_id: Cow<'a, str>, record: NewRecord },
    /// It can't stand in the log.
    Unfit { event_id: Option<Cow<'a, str>>, json: &'a str, key: Option<Bytes>, why: Why },
}

impl CheckedItem<'_> {
    pub(super) fn is_unfit(&self) -> bool {
        matches!(self, Self::Unfit { .. })
    }
}

/// Why an event was refused; a problem is made of it when it is known how it is answered.
pub(super) enum Why {
    /// Places in the event, and the code that goes with them.
    Places(Code, Vec<Violation>),
    /// Something about it as a whole.
    Problem(Problem),
}

impl Publisher {
    /// Checks, encodes and addresses every event. Nothing is written: a topic or a subject that is to be made for its
    /// first event is imagined.
    ///
    /// # Errors
    /// What concerns the body as a whole: topic, schema, JSON, number of events.
    pub(crate) async fn check<'a>(&self, request: &Publish<'a>) -> Result<Checked<'a>, Problem> {
        let topic = self.topics.writable(request.topic).await?;
        let compiled = self.encoders.for_topic(&topic.settings, &topic.subject, request.schema_id).await?;
        self.encoded(request, topic, &compiled)
    }

    /// Makes what was imagined, and checks again with that.
    pub(super) async fn realized<'a>(
        &self,
        request: &Publish<'a>,
        checked: Checked<'a>,
    ) -> Result<Checked<'a>, Problem> {
        let topic = if checked.topic.exists { checked.topic } else { self.topics.create(request.topic).await? };
        let compiled = match checked.registered {
            true => self.encoders.for_topic(&topic.settings, &topic.subject, request.schema_id).await?,
            false => self.encoders.register_envelope(&topic.subject).await?,
        };
        self.encoded(request, topic, &compiled)
    }

    fn encoded<'a>(
        &self,
        request: &Publish<'a>,
        topic: Arc<Topic>,
        compiled: &Compiled,
    ) -> Result<Checked<'a>, Problem> {
        let received_at_ms = jiff::Timestamp::now().as_millisecond();
        let context = EventContext { received_at_ms, correlation_id: &request.context.correlation, tenant: None };
        let options = self.settings.event_options(&topic.settings);
        let encode = if request.batch { EventEncoder::batch } else { EventEncoder::one };
        let batch = encode(&compiled.encoder, request.body, &options, &context).map_err(body_problem)?;
        Ok(self.addressed(request, topic, compiled, batch, received_at_ms))
    }

    fn addressed<'a>(
        &self,
        request: &Publish<'a>,
        topic: Arc<Topic>,
        compiled: &Compiled,
        batch: Batch<'a>,
        received_at_ms: i64,
    ) -> Checked<'a> {
        let limits = &self.settings.limits;
        let shape = compiled.encoder.shape();
        let mut envelope = Envelope::new(&topic.name, &topic.settings, &self.names, shape, request.context);
        envelope.compacted = self.log.is_compacted(&topic.name);
        envelope.timestamps = self.log.timestamp_limits(&topic.name);
        envelope.event_key = request.event_key;
        envelope.received_at_ms = received_at_ms;
        envelope.key_bytes = limits.key_bytes;
        envelope.headers_bytes = limits.record_headers_bytes;
        let values = Bytes::from(batch.arena);
        let mut ignored = 0;
        let items = batch.items.into_iter().map(|item| match item {
            Item::Encoded(event) => {
                ignored += u64::from(event.ignored_fields);
                match address::record(&envelope, &event, values.slice(event.value.clone())) {
                    Ok(record) => CheckedItem::Fit { event_id: event.event_id, record },
                    Err(unaddressed) => {
                        let why = match unaddressed {
                            Unaddressed::Event(code, violation) => Why::Places(code, vec![violation]),
                            Unaddressed::EventKey(problem) => Why::Problem(problem),
                        };
                        unfit(&envelope, event.json, Some(event.event_id), why)
                    }
                }
            }
            Item::Invalid(Invalid { json, event_id, why }) => unfit(&envelope, json, event_id, refusal(why)),
        });
        let items: Vec<_> = items.collect();
        let dead_letters = items.iter().any(CheckedItem::is_unfit).then(|| DeadLetters {
            topic: topic.name.clone(),
            dlq_topic: self.settings.dlq.topic_for(&topic.name, HTTP_CONNECTOR).into(),
            // Two requests may share a correlation id; a dead letter's key must be its own.
            request_id: uuid::Uuid::now_v7().to_string().into(),
            headers: address::dead_letter_headers(&envelope),
            schema_id: compiled.registered.then(|| compiled.encoder.schema_id()),
            subject: topic.subject.clone(),
            received_at_ms,
        });
        drop(envelope);
        let registered = compiled.registered;
        Checked { topic, form: Form::of(request), items, fields_ignored: ignored, dead_letters, registered }
    }
}

impl<'a> Checked<'a> {
    /// Whether there is a record for a topic or with a schema that is imagined.
    pub(super) fn wants_the_imagined(&self) -> bool {
        let is_there = self.topic.exists && self.registered;
        !is_there && self.items.iter().any(|item| !item.is_unfit())
    }

    /// The problem that a publish of this one event would give; `None` if it is fit.
    pub(crate) fn into_refusal(self) -> Option<(Option<Cow<'a, str>>, Problem)> {
        self.items.into_iter().find_map(|item| match item {
            CheckedItem::Fit { .. } => None,
            CheckedItem::Unfit { event_id, why, .. } => Some((event_id, problem(why, Vec::new()))),
        })
    }

    /// Results of an atomic batch in which something is unfit: nothing is produced.
    pub(super) fn refused(self) -> Vec<EventResult<'a>> {
        let (topic, form) = (self.topic, self.form);
        let result = |(index, item)| match item {
            CheckedItem::Fit { event_id, .. } => {
                let problem = Problem::new(
                    Code::BatchRefused,
                    "This event is fine; others of its batch were refused, and nothing was stored.",
                );
                EventResult { event_id: Some(event_id), fate: Fate::Failed(problem) }
            }
            CheckedItem::Unfit { event_id, why, .. } => {
                count_violations(&topic, &why);
                EventResult { event_id, fate: Fate::Failed(problem(why, form.way(index))) }
            }
        };
        self.items.into_iter().enumerate().map(result).collect()
    }
}

fn unfit<'a>(envelope: &Envelope<'_>, json: &'a str, event_id: Option<Cow<'a, str>>, why: Why) -> CheckedItem<'a> {
    let key = address::dead_letter_key(envelope, json);
    CheckedItem::Unfit { event_id, json, key, why }
}

fn refusal(why: Refusal) -> Why {
    match why {
        Refusal::Violations(violations) => Why::Places(Code::SchemaValidationFailed, violations),
        Refusal::TooLarge { limit, bytes, max } => Why::Problem(Problem::new(
            Code::EventTooLarge,
            format!("The event has {bytes} bytes, over the limit {limit} of {max}."),
        )),
    }
}

pub(super) fn too_large(why: &Why) -> bool {
    matches!(why, Why::Problem(problem) if problem.code == Code::EventTooLarge)
}

pub(super) fn count_violations(topic: &Topic, why: &Why) {
    match why {
        Why::Places(_, violations) => violations.iter().for_each(|v| topic.metrics.violation(v.kind)),
        Why::Problem(problem) => problem.errors.iter().for_each(|item| topic.metrics.violation(item.kind)),
    }
}

/// The problem of one event; `way` leads from the body to it.
pub(super) fn problem(why: Why, way: Vec<Loc>) -> Problem {
    match why {
        Why::Problem(problem) => problem,
        Why::Places(code, violations) => {
            let places = violations.len();
            let items = violations.into_iter().map(|v| ErrorItem::violation(v, &way)).collect();
            let detail = match (code, places) {
                (Code::KeyInvalid, _) => "The event's key can't be used.".to_owned(),
                (Code::KeyRequired, _) => NO_KEY.to_owned(),
                (Code::TimestampOutOfRange, _) => OUT_OF_RANGE.to_owned(),
                (_, 1) => "The event breaks its schema in one place.".to_owned(),
                (_, n) => format!("The event breaks its schema in {n} places."),
            };
            Problem::new(code, detail).with(items)
        }
    }
}

fn body_problem(error: BodyError) -> Problem {
    match error {
        BodyError::Malformed { line, column, msg } => problem::malformed(line, column, &msg),
        BodyError::Empty => Problem::new(Code::EmptyBatch, "The batch holds no event."),
        BodyError::TooLong { max } => {
            Problem::new(Code::BatchTooLong, format!("The batch holds over {max} events: split it."))
        }
        BodyError::Shape(violation) => {
            Problem::new(Code::SchemaValidationFailed, "The body has another shape than events.")
                .with(vec![ErrorItem::violation(violation, &[])])
        }
    }
}
