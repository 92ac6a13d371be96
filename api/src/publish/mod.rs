//! A request's events, from JSON to receipts: schema, encoding, address, produce, and one outcome per event. Knows no HTTP.

mod check;
mod dead_letters;
mod deliver;
pub(crate) mod receipts;

use std::{borrow::Cow, sync::Arc, time::Duration};

use forebay_avro::registry::Registry;
use forebay_broker::Log;

use self::check::{Checked, CheckedItem};
use crate::{
    address::Names,
    config::Settings,
    context::RequestContext,
    encoders::Encoders,
    metrics::{Metrics, Outcome},
    problem::{Code, Problem},
    schema_files::SchemaFiles,
    topics::Topics,
};

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

/// What became of a request's events.
pub(crate) struct Published<'a> {
    /// One an event, in the order of the input.
    pub results: Vec<EventResult<'a>>,
    /// [`PublishOptions::atomic`], and an event was unfit: nothing was produced.
    pub refused: bool,
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
                code if code.event_retryable() => Outcome::Retry,
                _ => Outcome::Invalid,
            },
        }
    }
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
        registry: Arc<dyn Registry>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let topics = Topics::new(settings.clone(), log.clone(), metrics);
        Self { encoders: Encoders::new(registry), topics, names: Names::default(), settings, log }
    }

    /// Forgets what is remembered of a subject: the next event is held against what the registry then says.
    pub(crate) async fn forget(&self, subject: &str) {
        self.encoders.forget(subject).await;
    }

    pub(crate) fn schema_files(&self) -> &SchemaFiles {
        &self.encoders.schema_files
    }

    /// Checks and produces; every event has a result, in input order.
    ///
    /// # Errors
    /// As [`Publisher::check`].
    pub(crate) async fn publish<'a>(
        &self,
        request: &Publish<'a>,
        options: &PublishOptions,
    ) -> Result<Published<'a>, Problem> {
        let mut checked = self.check(request).await?;
        let refused = |checked: &Checked<'_>| options.atomic && checked.items.iter().any(CheckedItem::is_unfit);
        if !refused(&checked) && checked.wants_the_imagined() {
            checked = self.realized(request, checked).await?;
        }
        let refused = refused(&checked);
        let topic = checked.topic.clone();
        if request.batch {
            topic.metrics.batch(checked.items.len());
        }
        topic.metrics.fields_ignored(checked.fields_ignored);
        let results = if refused { checked.refused() } else { self.deliver(checked, options).await };
        for outcome in Outcome::ALL {
            let n = results.iter().filter(|result| result.fate.outcome() == outcome).count();
            topic.metrics.events(outcome, n);
        }
        Ok(Published { results, refused })
    }
}
