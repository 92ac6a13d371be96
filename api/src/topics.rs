//! The topics in use: settings, counters and existence of each, found once and kept.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use forebay_broker::{Log, LogError, TopicSpec, dead_letter};

use crate::{
    config::{DEFAULT_PARTITIONS, Settings, TopicSettings},
    encoders::Effects,
    metrics::{Metrics, TopicMetrics},
    names,
    problem::{
        Code, Problem,
        of_log::{log_problem, no_topic},
    },
};

/// Most topics kept (fixed); more are looked up at each request.
const MAX_TOPICS: usize = 10_000;
/// A topic that takes events.
pub(crate) struct Topic {
    pub name: Arc<str>,
    pub subject: Arc<str>,
    pub settings: TopicSettings,
    pub metrics: TopicMetrics,
}

/// All topics that were asked for.
pub(crate) struct Topics {
    settings: Arc<Settings>,
    log: Arc<dyn Log>,
    metrics: Arc<Metrics>,
    known: RwLock<HashMap<Arc<str>, Arc<Topic>>>,
}

impl Topics {
    pub(crate) fn new(settings: Arc<Settings>, log: Arc<dyn Log>, metrics: Arc<Metrics>) -> Self {
        Self { settings, log, metrics, known: RwLock::default() }
    }

    /// A topic that events may be published to. It is created if it does not exist and the settings allow it.
    pub(crate) async fn writable(&self, name: &str, effects: Effects) -> Result<Arc<Topic>, Problem> {
        if let Some(topic) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(topic.clone());
        }
        if !names::is_writable(name, &self.settings.dlq.topic) {
            return Err(Problem::new(Code::Forbidden, format!("The topic {name:?} is written by the service itself.")));
        }
        match self.log.topic(name).await {
            Ok(_) => {}
            Err(LogError::UnknownTopic(_)) if self.settings.topics_auto_create => match effects {
                Effects::Write => self.create(name).await?,
                Effects::None => return Ok(Arc::new(self.entry(name))),
            },
            Err(error) => return Err(log_problem(error)),
        }
        Ok(self.keep(self.entry(name)))
    }

    async fn create(&self, name: &str) -> Result<(), Problem> {
        match self.log.create_topic(&topic_spec(name, &self.settings.topic(name))).await {
            Ok(_) => {
                tracing::info!(topic = name, "Created the topic for its first event.");
                Ok(())
            }
            // Another request was faster.
            Err(LogError::TopicExists(_)) => Ok(()),
            Err(error) => Err(no_topic(name, error)),
        }
    }

    fn entry(&self, name: &str) -> Topic {
        let settings = self.settings.topic(name);
        Topic {
            name: name.into(),
            subject: settings.subject.as_str().into(),
            metrics: self.metrics.topic(name),
            settings,
        }
    }

    fn keep(&self, topic: Topic) -> Arc<Topic> {
        let topic = Arc::new(topic);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_TOPICS && !known.contains_key(&topic.name) {
            return topic;
        }
        known.entry(topic.name.clone()).or_insert(topic).clone()
    }

    /// Forgets a topic that the log says is gone.
    pub(crate) fn forget(&self, name: &str) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Makes sure that a DLQ topic exists.
    pub(crate) async fn ensure_dlq(&self, name: &str) -> Result<(), LogError> {
        dead_letter::topic::ensure(&*self.log, name).await
    }
}

/// What a topic's settings ask of the log.
pub(crate) fn topic_spec(name: &str, settings: &TopicSettings) -> TopicSpec {
    let config = [("retention.ms", settings.retention_ms), ("retention.bytes", settings.retention_bytes)];
    let config: BTreeMap<_, _> =
        config.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_string()))).collect();
    TopicSpec { name: name.to_owned(), partitions: settings.partitions.unwrap_or(DEFAULT_PARTITIONS), config }
}
