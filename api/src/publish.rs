//! A request's events, from JSON to receipts: schema, encoding, address, produce, and one outcome per event. Knows no HTTP.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use forebay_avro::{
    event::{Batch, BodyError, EventContext, EventOptions, Invalid, Item, Refusal, Shape},
    violation::Violation,
};
use forebay_broker::{
    Log, NewRecord, TimestampType,
    dead_letter::{self, DeadLetter, Origin, Reason, Stage},
};
use tokio::time::Instant;

use crate::{
    address::{self, Envelope, Names, Unaddressed},
    config::{Settings, UnknownFields},
    encoders::{Compiled, Effects, Encoders},
    layers::RequestContext,
    metrics::{Metrics, Outcome},
    problem::{Code, ErrorItem, Loc, Problem},
    receipts::{Pending, produce_problem},
    topics::{Topic, Topics},
};

/// Most error items in the answer to one batch (fixed); events beyond keep their first item only.
const MAX_ITEMS: usize = 10_000;

/// What a publish asks for beside its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PublishOptions {
    /// Refused events go to the DLQ topic.
    pub dead_letter: bool,
    /// Nothing is produced if any event is refused.
    pub atomic: bool,
    /// A schema of the topic's subject, instead of the one its settings name.
    pub schema_id: Option<u32>,
    /// How long to wait for receipts.
    pub timeout: Duration,
}

/// One body of events.
pub(crate) struct Publish<'a> {
    pub topic: &'a str,
    pub body: &'a str,
    /// Many events, or one.
    pub batch: bool,
    /// `Event-Key` (one event only).
    pub event_key: Option<&'a [u8]>,
    pub schema_id: Option<u32>,
    pub context: &'a RequestContext,
}

/// What became of one event.
#[derive(Debug)]
pub(crate) struct EventResult<'a> {
    pub event_id: Option<Cow<'a, str>>,
    pub fate: Fate,
}

/// Where an event is now.
#[derive(Debug)]
pub(crate) enum Fate {
    /// In the log.
    Accepted { partition: i32, offset: i64 },
    /// In the DLQ topic.
    DeadLettered { partition: i32, offset: i64 },
    /// Not stored, or maybe: the code says which.
    Failed(Problem),
}

impl Fate {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Accepted { .. } => Outcome::Accepted,
            Self::DeadLettered { .. } => Outcome::DeadLettered,
            Self::Failed(problem) => match problem.code {
                Code::DeliveryUnknown => Outcome::Unknown,
                Code::QueueFull | Code::LogUnavailable | Code::BatchRefused => Outcome::Retry,
                _ => Outcome::Invalid,
            },
        }
    }
}

/// How the body holds its events; the way to an event begins with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    One,
    Member,
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
    fn way(self, index: usize) -> Vec<Loc> {
        match self {
            Self::One => Vec::new(),
            Self::Member => vec![Loc::Name("events".into()), Loc::Index(index)],
            Self::Array => vec![Loc::Index(index)],
        }
    }
}

/// Events that were checked and not yet produced.
pub(crate) struct Checked<'a> {
    topic: Arc<Topic>,
    form: Form,
    items: Vec<CheckedItem<'a>>,
    dead_letters: DeadLetters,
}

enum CheckedItem<'a> {
    Fit { event_id: Cow<'a, str>, record: NewRecord },
    Unfit { event_id: Option<Cow<'a, str>>, json: &'a str, key: Option<Bytes>, why: Why },
}

/// Why an event was refused; a problem is made of it when it is known how it is answered.
enum Why {
    Places(Code, Vec<Violation>),
    Problem(Problem),
}

/// What all dead letters of a request have in common.
struct DeadLetters {
    request_id: Arc<str>,
    headers: forebay_broker::Headers,
    schema_id: u32,
    subject: Arc<str>,
    received_at_ms: i64,
}

/// Publishes to one log, with one registry.
pub(crate) struct Publisher {
    settings: Arc<Settings>,
    log: Arc<dyn Log>,
    encoders: Encoders,
    topics: Topics,
    names: Names,
}

impl Publisher {
    pub(crate) fn new(
        settings: Arc<Settings>,
        log: Arc<dyn Log>,
        registry: Arc<dyn forebay_avro::registry::Registry>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let topics = Topics::new(settings.clone(), log.clone(), metrics);
        Self { encoders: Encoders::new(registry), topics, names: Names::default(), settings, log }
    }

    pub(crate) fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Checks, encodes and addresses every event.
    ///
    /// # Errors
    /// What concerns the body as a whole: topic, schema, JSON, number of events.
    pub(crate) async fn check<'a>(&self, request: &Publish<'a>, effects: Effects) -> Result<Checked<'a>, Problem> {
        let topic = self.topics.writable(request.topic, effects).await?;
        let compiled = self.encoders.for_topic(&topic.settings, &topic.subject, request.schema_id, effects).await?;
        let received_at_ms = jiff::Timestamp::now().as_millisecond();
        let context = EventContext { received_at_ms, correlation_id: &request.context.correlation, tenant: None };
        let options = self.event_options(&topic);
        let encode = if request.batch {
            forebay_avro::event::EventEncoder::batch
        } else {
            forebay_avro::event::EventEncoder::one
        };
        let batch =
            encode(&compiled.encoder, request.body, &options, &context).map_err(|e| body_problem(e, &options))?;
        Ok(self.addressed(request, topic, &compiled, batch, received_at_ms))
    }

    fn event_options(&self, topic: &Topic) -> EventOptions {
        let limits = &self.settings.limits;
        EventOptions {
            ignore_unknown: topic.settings.unknown_fields == UnknownFields::Ignore,
            generate_event_id: topic.settings.generate_event_id,
            generate_timestamp: topic.settings.generate_timestamp,
            json_depth: limits.json_depth,
            number_chars: limits.number_chars,
            metadata_bytes: limits.metadata_bytes,
            event_bytes: limits.event_bytes,
            record_bytes: self.settings.record_bytes,
            batch_events: limits.batch_events,
        }
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
        let shape: Shape = compiled.encoder.shape();
        let mut envelope = Envelope::new(&topic.name, &topic.settings, &self.names, shape, request.context);
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
        let items = items.collect();
        topic.metrics.fields_ignored(ignored);
        let dead_letters = DeadLetters {
            // Two requests may share a correlation id; a dead letter's key must be its own.
            request_id: uuid::Uuid::now_v7().to_string().into(),
            headers: address::dead_letter_headers(&envelope, None),
            schema_id: compiled.encoder.schema_id(),
            subject: compiled.subject.clone(),
            received_at_ms,
        };
        drop(envelope);
        Checked { topic, form: Form::of(request), items, dead_letters }
    }

    /// Checks and produces; every event has a result, in input order.
    ///
    /// # Errors
    /// As [`Publisher::check`].
    pub(crate) async fn publish<'a>(
        &self,
        request: &Publish<'a>,
        options: &PublishOptions,
    ) -> Result<Vec<EventResult<'a>>, Problem> {
        let checked = self.check(request, Effects::Write).await?;
        let topic = checked.topic.clone();
        if request.batch {
            topic.metrics.batch(checked.items.len());
        }
        let refused = options.atomic && checked.items.iter().any(|item| matches!(item, CheckedItem::Unfit { .. }));
        let results = if refused { checked.refused() } else { self.deliver(checked, options).await };
        for outcome in Outcome::ALL {
            let n = results.iter().filter(|result| result.fate.outcome() == outcome).count();
            topic.metrics.events(outcome, n);
        }
        Ok(results)
    }

    /// Produces what is fit and, if asked, dead letters of the rest; waits for all receipts together.
    async fn deliver<'a>(&self, checked: Checked<'a>, options: &PublishOptions) -> Vec<EventResult<'a>> {
        let deadline = Instant::now() + options.timeout;
        let Checked { topic, form, items, dead_letters } = checked;
        let mut results = Vec::with_capacity(items.len());
        let (mut records, mut letters) = (Vec::with_capacity(items.len()), Vec::new());
        // (index of the result) per produced record, in the order of each produce call
        let (mut of_records, mut of_letters) = (Vec::with_capacity(items.len()), Vec::new());
        let mut room = MAX_ITEMS;
        for (index, item) in items.into_iter().enumerate() {
            match item {
                CheckedItem::Fit { event_id, record } => {
                    records.push(record);
                    of_records.push(index);
                    results.push(EventResult { event_id: Some(event_id), fate: unknown() });
                }
                CheckedItem::Unfit { event_id, json, key, why } => {
                    count_violations(&topic, &why);
                    let may_dead_letter = options.dead_letter && json.len() <= self.settings.limits.event_bytes;
                    if may_dead_letter && !too_large(&why) {
                        letters.push(self.dead_letter(
                            &topic,
                            &dead_letters,
                            index,
                            event_id.as_deref(),
                            json,
                            key,
                            &why,
                        ));
                        of_letters.push(index);
                        results.push(EventResult { event_id, fate: unknown() });
                    } else {
                        results.push(EventResult {
                            event_id,
                            fate: Fate::Failed(problem(why, form.way(index), &mut room)),
                        });
                    }
                }
            }
        }
        let (stored, lettered) =
            tokio::join!(self.produce(&topic, records, deadline), self.produce_letters(&topic, letters, deadline));
        let gone = stored.iter().any(|result| matches!(result, Err(problem) if problem.code == Code::UnknownTopic));
        if gone {
            self.topics.forget(&topic.name);
        }
        for (index, result) in of_records.into_iter().zip(stored) {
            results[index].fate = match result {
                Ok(receipt) => Fate::Accepted { partition: receipt.partition, offset: receipt.offset },
                Err(problem) => Fate::Failed(problem),
            };
        }
        for (index, result) in of_letters.into_iter().zip(lettered) {
            results[index].fate = match result {
                Ok(receipt) => Fate::DeadLettered { partition: receipt.partition, offset: receipt.offset },
                Err(problem) => Fate::Failed(problem),
            };
        }
        results
    }

    async fn produce(&self, topic: &Arc<Topic>, records: Vec<NewRecord>, deadline: Instant) -> Results {
        if records.is_empty() {
            return Vec::new();
        }
        let (count, bytes) = (records.len(), records.iter().filter_map(|r| r.value.as_ref()).map(Bytes::len).sum());
        match self.log.produce(records) {
            Ok(pending) => Pending::new(pending, topic.clone(), count, bytes).wait(deadline).await,
            Err(error) => {
                let problem = produce_problem(error);
                vec![Err(problem); count]
            }
        }
    }

    async fn produce_letters(&self, topic: &Arc<Topic>, letters: Vec<NewRecord>, deadline: Instant) -> Results {
        let Some(dlq) = letters.first().map(|letter| letter.topic.clone()) else { return Vec::new() };
        let count = letters.len();
        if let Err(error) = self.topics.ensure_dlq(&dlq).await {
            tracing::error!(%error, topic = &*dlq, "Dead letters can't be written.");
            return vec![Err(Problem::new(Code::LogUnavailable, "The dead letter topic can't be written now.")); count];
        }
        tracing::warn!(topic = &*topic.name, count, dlq = &*dlq, "Events go to the dead letter topic.");
        self.produce(topic, letters, deadline).await
    }

    #[allow(clippy::too_many_arguments)] // all of one dead letter, used once
    fn dead_letter(
        &self,
        topic: &Topic,
        common: &DeadLetters,
        index: usize,
        event_id: Option<&str>,
        json: &str,
        key: Option<Bytes>,
        why: &Why,
    ) -> NewRecord {
        let (message, errors) = match why {
            Why::Places(_, violations) => (
                violations.first().map(|v| format!("At {}: {}", v.pointer(), v.msg)).unwrap_or_default(),
                violations.iter().map(dead_letter::ErrorItem::from).collect(),
            ),
            Why::Problem(problem) => (problem.detail.clone(), Vec::new()),
        };
        let letter = DeadLetter {
            origin: Origin::Http { topic: topic.name.clone(), request_id: common.request_id.clone(), index },
            connector: dead_letter::HTTP_CONNECTOR.into(),
            task: None,
            stage: Stage::ValueConverter,
            reason: Reason::ValidationFailed,
            component: "forebay.api.publish",
            message,
            causes: Vec::new(),
            errors,
            schema_id: Some(common.schema_id),
            subject: Some(common.subject.to_string()),
            reader_schema_id: None,
            destination: None,
            timestamp_ms: common.received_at_ms,
            timestamp_type: TimestampType::Create,
            failed_at_ms: common.received_at_ms,
            tries: 1,
        };
        let mut original = common.headers.clone();
        if let Some(event_id) = event_id {
            original.push("event_id", Bytes::copy_from_slice(event_id.as_bytes()));
        }
        NewRecord {
            topic: self.settings.dlq.topic_for(&topic.name, dead_letter::HTTP_CONNECTOR).into(),
            partition: None,
            key,
            value: Some(Bytes::copy_from_slice(json.as_bytes())),
            headers: letter.headers(&original),
            timestamp_ms: Some(common.received_at_ms),
        }
    }
}

/// One result per record of a produce call.
pub(crate) type Results = Vec<Result<forebay_broker::Receipt, Problem>>;

impl<'a> Checked<'a> {
    /// The problem that a publish of this one event would give; `None` if it is fit.
    pub(crate) fn into_refusal(self) -> Option<(Option<Cow<'a, str>>, Problem)> {
        let mut room = MAX_ITEMS;
        self.items.into_iter().find_map(|item| match item {
            CheckedItem::Fit { .. } => None,
            CheckedItem::Unfit { event_id, why, .. } => Some((event_id, problem(why, Vec::new(), &mut room))),
        })
    }

    /// Results of an atomic batch in which something is unfit: nothing is produced.
    fn refused(self) -> Vec<EventResult<'a>> {
        let mut room = MAX_ITEMS;
        let (topic, form) = (self.topic, self.form);
        let result = |(index, item)| match item {
            CheckedItem::Fit { event_id, .. } => {
                let problem =
                    Problem::new(Code::BatchRefused, "Another event of the batch was refused; nothing was stored.");
                EventResult { event_id: Some(event_id), fate: Fate::Failed(problem) }
            }
            CheckedItem::Unfit { event_id, why, .. } => {
                count_violations(&topic, &why);
                EventResult { event_id, fate: Fate::Failed(problem(why, form.way(index), &mut room)) }
            }
        };
        self.items.into_iter().enumerate().map(result).collect()
    }
}

fn unknown() -> Fate {
    Fate::Failed(crate::receipts::delivery_unknown())
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

fn too_large(why: &Why) -> bool {
    matches!(why, Why::Problem(problem) if problem.code == Code::EventTooLarge)
}

fn count_violations(topic: &Topic, why: &Why) {
    match why {
        Why::Places(_, violations) => violations.iter().for_each(|v| topic.metrics.violation(v.kind)),
        Why::Problem(problem) => problem.errors.iter().for_each(|item| topic.metrics.violation(item.kind)),
    }
}

/// The problem of one event; `way` leads from the body to it. `room` bounds the items of the whole answer.
fn problem(why: Why, way: Vec<Loc>, room: &mut usize) -> Problem {
    match why {
        Why::Problem(problem) => problem,
        Why::Places(code, mut violations) => {
            violations.truncate((*room).max(1));
            *room = room.saturating_sub(violations.len());
            let places = violations.len();
            let items = violations.into_iter().map(|v| ErrorItem::violation(v, &way)).collect();
            let detail = match (code, places) {
                (Code::KeyInvalid, _) => "The event's key can't be used.".to_owned(),
                (Code::KeyRequired, _) => "The event has no key, and its topic wants one.".to_owned(),
                (_, 1) => "The event breaks its schema in one place.".to_owned(),
                (_, n) => format!("The event breaks its schema in {n} places."),
            };
            Problem::new(code, detail).with(items)
        }
    }
}

fn body_problem(error: BodyError, options: &EventOptions) -> Problem {
    match error {
        BodyError::Malformed { line, column, msg } => crate::problem::malformed(line, column, &msg),
        BodyError::Empty => Problem::new(Code::EmptyBatch, "The batch holds no event."),
        BodyError::TooLong { max } => {
            debug_assert_eq!(max, options.batch_events);
            Problem::new(Code::BatchTooLong, format!("The batch holds over {max} events: split it."))
        }
        BodyError::Shape(violation) => {
            Problem::new(Code::SchemaValidationFailed, "The body has another shape than events.")
                .with(vec![ErrorItem::violation(violation, &[])])
        }
    }
}
