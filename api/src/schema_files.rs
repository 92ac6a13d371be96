//! Schema files of the configuration: registered at start, or, if the registry is away then, before the first event of
//! their topic, which is refused until they are.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use forebay_avro::registry::{Registry, RegistryError};
use tokio::time::Instant;

use crate::config::TopicSettings;

/// Largest schema file (fixed): no schema text may be longer.
const MAX_BYTES: u64 = 1 << 20;

/// Between two tries to register what is open (fixed), however many events wait for it.
const PAUSE: Duration = Duration::from_secs(1);

/// What of them is not registered yet.
#[derive(Debug, Default)]
pub(crate) struct SchemaFiles(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    /// Texts by subject.
    texts: HashMap<String, Arc<str>>,
    tried: Option<Instant>,
}

impl SchemaFiles {
    /// Registers the schema file of a topic, if it has one. That the registry is away is no error: it is done later,
    /// and no other file of the start waits for it.
    pub(crate) async fn prepare(&self, topic: &TopicSettings, registry: &dyn Registry) -> Result<(), String> {
        let Some(path) = &topic.schema_file else { return Ok(()) };
        let at = |reason: String| format!("schema_file {}: {reason}", path.display());
        let size = tokio::fs::metadata(path).await.map_err(|error| at(error.to_string()))?.len();
        if size > MAX_BYTES {
            return Err(at(format!("{size} bytes are over the limit of {MAX_BYTES}")));
        }
        let text = tokio::fs::read_to_string(path).await.map_err(|error| at(error.to_string()))?;
        let away = !self.lock().texts.is_empty();
        let done = match away {
            true => Err(RegistryError::Unavailable("it did not answer for another schema file".to_owned())),
            false => register(&topic.subject, &text, registry).await,
        };
        match done {
            Err(error @ RegistryError::Unavailable(_)) => {
                let subject = topic.subject.as_str();
                tracing::warn!(subject, %error, "The schema file is registered later; until then its topic takes no events.");
                self.lock().texts.insert(topic.subject.clone(), text.into());
                Ok(())
            }
            done => done.map_err(|error| at(error.to_string())),
        }
    }

    /// Registers the schema file of a subject, if that is still to be done.
    pub(crate) async fn settle(&self, subject: &str, registry: &dyn Registry) -> Result<(), RegistryError> {
        let Some(text) = self.next_try(subject)? else { return Ok(()) };
        let done = register(subject, &text, registry).await;
        match &done {
            Ok(()) => {
                let mut open = self.lock();
                open.texts.remove(subject);
                open.tried = None;
            }
            Err(RegistryError::Unavailable(_)) => {}
            Err(error) => tracing::error!(subject, %error, "The schema file is refused; its topic takes no events."),
        }
        done
    }

    /// The text that is to be registered now.
    fn next_try(&self, subject: &str) -> Result<Option<Arc<str>>, RegistryError> {
        let mut open = self.lock();
        let Some(text) = open.texts.get(subject).cloned() else { return Ok(None) };
        if open.tried.is_some_and(|tried| tried.elapsed() < PAUSE) {
            return Err(RegistryError::Unavailable("the topic's schema file is not registered yet".to_owned()));
        }
        open.tried = Some(Instant::now());
        Ok(Some(text))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn register(subject: &str, text: &str, registry: &dyn Registry) -> Result<(), RegistryError> {
    let version = registry.register(subject, text, &[]).await?;
    tracing::info!(
        subject,
        version = version.version,
        schema_id = version.registered.id,
        "The schema file is registered."
    );
    Ok(())
}
