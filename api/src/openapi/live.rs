//! The document as it is now: rebuilt when topics or schemas change, at most once a second, and served as bytes.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use forebay_avro::{
    event::DEFAULT_ENVELOPE,
    registry::{RegistryError, Version},
    schema::Schema,
};
use futures_util::{StreamExt, stream};
use http::HeaderValue;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::{sync::Mutex, time::Instant};

use super::topics::{self, MAX_TOPICS, Topic};
use crate::{
    config::{DEFAULT_KEY_POINTERS, MissingSchema, Settings, TopicSettings},
    encoders::{registry_problem, version_for},
    names,
    problem::{Code, Problem, of_log::log_problem},
    state::App,
};

/// Between two looks at what topics and schemas there are (fixed).
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What a look has not learnt by then (fixed) stays as it was.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// Schemas asked for at a time (fixed).
const LOOKUPS: usize = 16;

/// A document as it is sent.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub bytes: Bytes,
    /// Strong: other bytes, another tag.
    pub etag: HeaderValue,
}

/// The current document. Whoever asks while it is rebuilt waits for that, and nobody builds it twice.
#[derive(Default)]
pub(crate) struct Live(Mutex<State>);

#[derive(Default)]
struct State {
    looked: Option<Instant>,
    seen: Option<Seen>,
    rendered: Option<Arc<Rendered>>,
}

/// What a document was made of.
#[derive(Clone, Default)]
struct Seen {
    topics: Vec<SeenTopic>,
    /// Topics beyond the limit.
    more: usize,
}

#[derive(Clone)]
struct SeenTopic {
    name: Arc<str>,
    settings: TopicSettings,
    /// It takes no event without a key.
    key_required: bool,
    /// `None`: the default envelope.
    version: Option<Arc<Version>>,
}

impl Seen {
    fn is_like(&self, other: &Self) -> bool {
        let key = |topic: &SeenTopic| topic.version.as_ref().map(|version| (version.version, version.registered.id));
        self.more == other.more
            && self.topics.len() == other.topics.len()
            && self
                .topics
                .iter()
                .zip(&other.topics)
                .all(|(a, b)| a.name == b.name && a.key_required == b.key_required && key(a) == key(b))
    }
}

impl Live {
    /// The whole document. While the log can't be asked, it is the last one.
    pub(crate) async fn current(&self, app: &App) -> Result<Arc<Rendered>, Problem> {
        let mut state = self.0.lock().await;
        if state.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            match look(app, state.seen.as_ref()).await {
                Ok(seen) if state.seen.as_ref().is_some_and(|old| old.is_like(&seen)) => {}
                Ok(seen) => {
                    state.rendered = Some(build(app.settings.clone(), seen.clone()).await?);
                    state.seen = Some(seen);
                }
                Err(problem) => {
                    tracing::debug!(reason = %problem.detail, "The document can't follow topics and schemas.")
                }
            }
            state.looked = Some(Instant::now());
        }
        match &state.rendered {
            Some(rendered) => Ok(rendered.clone()),
            // Not kept: the next look may see more.
            None => build(app.settings.clone(), Seen::default()).await,
        }
    }

    /// The document with one topic's own operation.
    pub(crate) async fn of_topic(&self, app: &App, name: &str) -> Result<Arc<Rendered>, Problem> {
        let compacted = app.deps.log.topic(name).await.map_err(log_problem)?.compacted == Some(true);
        if names::check_topic(name).is_err() || !names::is_writable(name, &app.settings.dlq.topic) {
            return Err(Problem::new(Code::Forbidden, "The topic is written by the service itself."));
        }
        let topic = find(app, name.into(), compacted).await.map_err(registry_problem)?;
        build(app.settings.clone(), Seen { topics: vec![topic], more: 0 }).await
    }
}

/// The topics that take events, and their schemas. A topic whose schema can't be asked for now stays as it was seen
/// `before`; a topic without a usable one, and one that was not seen yet, has the general path only.
async fn look(app: &App, before: Option<&Seen>) -> Result<Seen, Problem> {
    let until = Instant::now() + LOOK_WITHIN;
    let topics = tokio::time::timeout_at(until, app.deps.log.topics()).await;
    let topics = topics.map_err(|_| Problem::new(Code::LogUnavailable, "The log did not answer in time."))?;
    let topics = topics.map_err(log_problem)?;
    let compacted = topics.iter().filter(|topic| topic.compacted == Some(true)).map(|topic| topic.name.clone());
    let compacted: &HashSet<Arc<str>> = &compacted.collect();
    let (names, more) = listed(topics.into_iter().map(|topic| topic.name), &app.settings);
    let find = |name: Arc<str>| async move {
        match tokio::time::timeout_at(until, find(app, name.clone(), compacted.contains(&name))).await {
            Ok(Ok(found)) => Some(found),
            Ok(Err(RegistryError::UnknownSubject(_) | RegistryError::UnknownVersion { .. })) => None,
            Ok(Err(RegistryError::Invalid(_) | RegistryError::InvalidSubject(_))) => None,
            Ok(Err(_)) | Err(_) => before?.topics.iter().find(|seen| seen.name == name).cloned(),
        }
    };
    let found: Vec<Option<SeenTopic>> = stream::iter(names).map(find).buffered(LOOKUPS).collect().await;
    Ok(Seen { topics: found.into_iter().flatten().collect(), more })
}

/// Which of the log's topics are listed, those of the configuration first, and how many are not.
fn listed(names: impl Iterator<Item = Arc<str>>, settings: &Settings) -> (Vec<Arc<str>>, usize) {
    let writable = |name: &str| names::check_topic(name).is_ok() && names::is_writable(name, &settings.dlq.topic);
    let mut names: Vec<Arc<str>> = names.filter(|name| writable(name)).collect();
    names.sort_by_cached_key(|name| (!settings.topics.contains_key(&**name), name.clone()));
    let more = names.len().saturating_sub(MAX_TOPICS);
    names.truncate(MAX_TOPICS);
    (names, more)
}

async fn find(app: &App, name: Arc<str>, compacted: bool) -> Result<SeenTopic, RegistryError> {
    let settings = app.settings.topic(&name);
    let version = match version_for(&*app.deps.registry, &settings).await {
        Ok(version) => Some(version),
        Err(RegistryError::UnknownSubject(_)) if settings.missing_schema == MissingSchema::Envelope => None,
        Err(error) => return Err(error),
    };
    let key_required = settings.key_required || compacted;
    Ok(SeenTopic { name, settings, key_required, version })
}

/// Describing schemas of thousands of fields takes a while: not on a thread that answers requests.
async fn build(settings: Arc<Settings>, seen: Seen) -> Result<Arc<Rendered>, Problem> {
    let built = tokio::task::spawn_blocking(move || render(&whole(&settings, &seen)));
    built.await.map_err(|_| Problem::new(Code::Internal, "The document can't be made."))?.map(Arc::new)
}

fn whole(settings: &Settings, seen: &Seen) -> Value {
    let envelope = Schema::parse(DEFAULT_ENVELOPE, &[]).ok();
    let keys: Vec<Vec<String>> = seen.topics.iter().map(key_pointers).collect();
    let topics = seen.topics.iter().zip(&keys).filter_map(|(topic, key)| {
        let version = topic.version.as_deref();
        Some(Topic {
            name: &topic.name,
            subject: &topic.settings.subject,
            registered: version.map(|version| (version.version, version.registered.id)),
            schema: version.map(|version| &version.registered.schema).or(envelope.as_ref())?,
            options: settings.event_options(&topic.settings),
            key,
            key_required: topic.key_required,
        })
    });
    let mut document = super::document();
    topics::add(&mut document, topics);
    topics::mention(&mut document, seen.more);
    document
}

/// Where the key stands, if the topic wants one or says where.
fn key_pointers(topic: &SeenTopic) -> Vec<String> {
    match &topic.settings.key {
        Some(key) => key.clone(),
        None if topic.key_required => DEFAULT_KEY_POINTERS.map(str::to_owned).into(),
        None => Vec::new(),
    }
}

fn render(document: &Value) -> Result<Rendered, Problem> {
    let failed = || Problem::new(Code::Internal, "The document can't be written.");
    let bytes = Bytes::from(serde_json::to_vec(document).map_err(|_| failed())?);
    let digest: String = Sha256::digest(&bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let etag = HeaderValue::try_from(format!("\"{digest}\"")).map_err(|_| failed())?;
    Ok(Rendered { bytes, etag })
}
