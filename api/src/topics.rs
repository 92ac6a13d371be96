//! The topics in use: settings, counters and existence of each, found once and kept.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

use forebay_broker::{Log, LogError, TopicSpec, dead_letter};

use crate::{
    config::{DEFAULT_PARTITIONS, Settings, TopicSettings},
    metrics::{Metrics, TopicMetrics},
    names,
    problem::{
        Code, Problem,
        of_log::{log_problem, no_dead_letters, no_topic},
    },
};

/// Most topics kept (fixed); more are looked up at each request.
const MAX_TOPICS: usize = 10_000;

/// A topic that takes events.
pub(crate) struct Topic {
    pub name: Arc<str>,
    pub subject: Arc<str>,
    pub settings: TopicSettings,
    /// Made when something is counted.
    pub metrics: LazyLock<Arc<TopicMetrics>, Box<dyn FnOnce() -> Arc<TopicMetrics> + Send>>,
    /// Else it is imagined: the first event that is fit for it has it created.
    pub exists: bool,
}

/// All topics that were asked for.
pub(crate) struct Topics {
    settings: Arc<Settings>,
    log: Arc<dyn Log>,
    metrics: Arc<Metrics>,
    known: RwLock<HashMap<Arc<str>, Arc<Topic>>>,
    /// Held to count the log's topics and create one more.
    creating: tokio::sync::Mutex<()>,
}

impl Topics {
    pub(crate) fn new(settings: Arc<Settings>, log: Arc<dyn Log>, metrics: Arc<Metrics>) -> Self {
        Self { settings, log, metrics, known: RwLock::default(), creating: tokio::sync::Mutex::default() }
    }

    /// A topic that events may be published to, imagined if it does not exist and the settings allow its creation.
    /// Nothing is created or kept for an imagined one: anybody can think of names.
    pub(crate) async fn writable(&self, name: &str) -> Result<Arc<Topic>, Problem> {
        if let Some(topic) = self.known(name) {
            return Ok(topic);
        }
        if !names::is_writable(name, &self.settings.dlq.topic) {
            return Err(Problem::new(Code::Forbidden, format!("The topic {name:?} is written by the service itself.")));
        }
        match self.log.topic(name).await {
            Ok(_) => Ok(self.keep(self.entry(name, true))),
            Err(LogError::UnknownTopic(_)) if self.settings.topics_auto_create => Ok(Arc::new(self.entry(name, false))),
            Err(error) => Err(log_problem(error)),
        }
    }

    /// Creates an imagined topic, unless the log has `api.topics_auto_create_max` already.
    pub(crate) async fn create(&self, name: &str) -> Result<Arc<Topic>, Problem> {
        let _alone = self.turn().await?;
        // Another request may have been faster.
        if let Some(topic) = self.known(name) {
            return Ok(topic);
        }
        self.room_for(name).await?;
        match self.log.create_topic(&topic_spec(name, &self.settings.topic(name))).await {
            Ok(_) => tracing::info!(topic = name, "Created the topic for its first event."),
            // Another process was.
            Err(LogError::TopicExists(_)) => {}
            Err(error) => return Err(no_topic(name, error)),
        }
        Ok(self.keep(self.entry(name, true)))
    }

    /// The turn to look at the log's topics and create one more.
    async fn turn(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, Problem> {
        let busy =
            |_| Problem::new(Code::LogUnavailable, "Other topics are being made: send it again; nothing was stored.");
        tokio::time::timeout(self.settings.timeout, self.creating.lock()).await.map_err(busy)
    }

    /// Refuses one more topic that nobody asked for by hand, where the log has enough.
    async fn room_for(&self, name: &str) -> Result<(), Problem> {
        let max = self.settings.limits.topics_auto_create_max;
        let topics = self.log.topics().await.map_err(|error| no_topic(name, error))?;
        if topics.len() < max || topics.iter().any(|topic| *topic.name == *name) {
            return Ok(());
        }
        let detail = format!(
            "The topic {name:?} does not exist, and is not created by an event: the log has {} topics, and the limit \
             api.topics_auto_create_max is {max}. Create it by hand, or raise the limit.",
            topics.len()
        );
        Err(Problem::new(Code::UnknownTopic, detail))
    }

    fn known(&self, name: &str) -> Option<Arc<Topic>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn entry(&self, name: &str, exists: bool) -> Topic {
        let settings = self.settings.topic(name);
        let (metrics, label) = (self.metrics.clone(), name.to_owned());
        let metrics = move || if exists { metrics.topic(&label) } else { metrics.unnamed() };
        Topic {
            name: name.into(),
            subject: settings.subject.as_str().into(),
            metrics: LazyLock::new(Box::new(metrics)),
            exists,
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

    /// Makes sure that the DLQ topic of a topic exists. That of an imagined topic may bear its name, so it falls under
    /// the limit of topics that nobody asked for by hand.
    pub(crate) async fn ensure_dlq(&self, name: &str, of: &Topic) -> Result<(), Problem> {
        let unusable = |error: LogError| {
            tracing::error!(%error, topic = name, "Dead letters can't be written.");
            no_dead_letters()
        };
        let mut turn = None;
        if !of.exists && matches!(self.log.topic(name).await, Err(LogError::UnknownTopic(_))) {
            turn = Some(self.turn().await?);
            self.room_for(name).await?;
        }
        let _turn = turn;
        dead_letter::topic::ensure(&*self.log, name).await.map_err(unusable)
    }
}

/// What a topic's settings ask of the log.
pub(crate) fn topic_spec(name: &str, settings: &TopicSettings) -> TopicSpec {
    let partitions = settings.partitions.unwrap_or(DEFAULT_PARTITIONS);
    TopicSpec { name: name.to_owned(), partitions, config: settings.log_config() }
}
