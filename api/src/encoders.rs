//! Compiled encoders, one per (subject, schema id), bounded; and the way from a topic's settings to the right one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use forebay_avro::{
    event::{DEFAULT_ENVELOPE, EventEncoder},
    registry::{Registered, Registry, RegistryError, Version},
    schema::Schema,
};

use crate::{
    config::{MissingSchema, SchemaVersion, TopicSettings},
    problem::{Code, ErrorItem, Problem},
    schema_files::SchemaFiles,
};

/// Most encoders kept (fixed); the one unused for longest goes first.
const MAX_ENCODERS: usize = 1_000;

/// The encoder of a schema.
pub(crate) struct Compiled {
    pub encoder: EventEncoder,
    /// Else the envelope is imagined: the first event that is fit has it registered. Its schema id is none yet.
    pub registered: bool,
}

/// A schema of one subject is not thereby allowed under another.
type Key = (Arc<str>, u32);
/// A schema that can't take events stays refused: the reason is kept like an encoder.
type Entry = Result<Arc<Compiled>, Problem>;

/// The encoders of one service.
pub(crate) struct Encoders {
    registry: Arc<dyn Registry>,
    /// Those of the configuration that the registry lacks.
    pub schema_files: SchemaFiles,
    cache: Mutex<Cache>,
    /// What a subject is imagined to have until the envelope is registered for it.
    envelope: OnceLock<Entry>,
}

#[derive(Default)]
struct Cache {
    entries: HashMap<Key, (u64, Entry)>,
    clock: u64,
}

impl Cache {
    fn get(&mut self, key: &Key) -> Option<Entry> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        entry.0 = self.clock;
        Some(entry.1.clone())
    }

    fn forget(&mut self, subject: &str) {
        self.entries.retain(|(of, _), _| **of != *subject);
    }

    fn put(&mut self, key: Key, entry: Entry, max: usize) {
        if self.entries.len() >= max
            && let Some(oldest) = self.entries.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone())
        {
            self.entries.remove(&oldest);
        }
        self.clock += 1;
        self.entries.insert(key, (self.clock, entry));
    }
}

impl Encoders {
    pub(crate) fn new(registry: Arc<dyn Registry>) -> Self {
        Self { registry, schema_files: SchemaFiles::default(), cache: Mutex::default(), envelope: OnceLock::new() }
    }

    /// The encoder for a topic's events: the schema of `schema_id` if given, else what the topic's settings say. The
    /// envelope of a subject that is to have it is imagined, not registered.
    pub(crate) async fn for_topic(
        &self,
        settings: &TopicSettings,
        subject: &Arc<str>,
        schema_id: Option<u32>,
    ) -> Result<Arc<Compiled>, Problem> {
        self.schema_files.settle(subject, &*self.registry).await.map_err(registry_problem)?;
        if let Some(id) = schema_id {
            return self.by_id(subject, id).await;
        }
        match version_for(&*self.registry, settings).await {
            Ok(version) => self.compiled(subject, &version.registered),
            Err(RegistryError::UnknownSubject(_)) if settings.missing_schema == MissingSchema::Envelope => {
                self.imagined()
            }
            Err(RegistryError::Invalid(reason)) => {
                let detail = format!("The schema of {subject:?} can't take events: {reason}.");
                Err(Problem::new(Code::SchemaUnsupported, detail))
            }
            Err(error) => Err(registry_problem(error)),
        }
    }

    /// Forgets what is remembered of a subject, here and by the registry's client.
    pub(crate) async fn forget(&self, subject: &str) {
        self.registry.forget(subject).await;
        self.cache().forget(subject);
    }

    /// Registers the envelope for a subject that was imagined to have it.
    pub(crate) async fn register_envelope(&self, subject: &Arc<str>) -> Result<Arc<Compiled>, Problem> {
        let version = self.registry.register(subject, DEFAULT_ENVELOPE, &[]).await.map_err(registry_problem)?;
        tracing::info!(subject = &**subject, schema_id = version.registered.id, "Registered the default envelope.");
        self.compiled(subject, &version.registered)
    }

    fn imagined(&self) -> Entry {
        let compile = || {
            let schema = Schema::parse(DEFAULT_ENVELOPE, &[]).map_err(internal)?;
            let encoder = EventEncoder::compile(&schema, 0).map_err(internal)?;
            Ok(Arc::new(Compiled { encoder, registered: false }))
        };
        self.envelope.get_or_init(compile).clone()
    }

    /// The encoder of a schema id, which must be a version of the subject.
    async fn by_id(&self, subject: &Arc<str>, id: u32) -> Result<Arc<Compiled>, Problem> {
        if let Some(entry) = self.cache().get(&(subject.clone(), id)) {
            return entry;
        }
        match self.version_of(subject, id).await? {
            Some(version) => self.compiled(subject, &version.registered),
            None => {
                let msg = format!("schema {id} is no version of subject {subject:?}");
                Err(Problem::new(Code::SchemaMismatch, format!("{msg}.")).with(vec![ErrorItem::about(
                    "query",
                    "schema_id",
                    "value_error",
                    msg,
                )]))
            }
        }
    }

    async fn version_of(&self, subject: &str, id: u32) -> Result<Option<Arc<Version>>, Problem> {
        let versions = match self.registry.versions(subject).await {
            Ok(versions) => versions,
            Err(RegistryError::UnknownSubject(_)) => return Ok(None),
            Err(error) => return Err(registry_problem(error)),
        };
        for number in versions.into_iter().rev() {
            let version = self.registry.version(subject, number).await.map_err(registry_problem)?;
            if version.registered.id == id {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn compiled(&self, subject: &Arc<str>, registered: &Registered) -> Result<Arc<Compiled>, Problem> {
        let key = (subject.clone(), registered.id);
        if let Some(entry) = self.cache().get(&key) {
            return entry;
        }
        let entry = compile(subject, &registered.schema, registered.id);
        self.cache().put(key, entry.clone(), MAX_ENCODERS);
        entry
    }
}

/// The version that a topic's settings ask for.
pub(crate) async fn version_for(
    registry: &dyn Registry,
    settings: &TopicSettings,
) -> Result<Arc<Version>, RegistryError> {
    match settings.schema_version {
        SchemaVersion::Latest => registry.latest(&settings.subject).await,
        SchemaVersion::Pinned(version) => registry.version(&settings.subject, version).await,
    }
}

fn compile(subject: &str, schema: &Schema, id: u32) -> Entry {
    let encoder = EventEncoder::compile(schema, id).map_err(|unsupported| {
        Problem::new(Code::SchemaUnsupported, format!("Schema {id} of {subject:?} can't take events: {unsupported}."))
    })?;
    Ok(Arc::new(Compiled { encoder, registered: true }))
}

/// The built-in envelope can't be used.
fn internal(error: impl std::fmt::Display) -> Problem {
    Problem::new(Code::Internal, error.to_string())
}

/// A registry's refusal in the caller's words.
pub(crate) fn registry_problem(error: RegistryError) -> Problem {
    match error {
        RegistryError::UnknownSubject(_) | RegistryError::UnknownVersion { .. } | RegistryError::UnknownId(_) => {
            Problem::new(Code::UnknownSchema, format!("{error}."))
        }
        RegistryError::Invalid(reason) => {
            let mut item = ErrorItem::about("body", "schema", "value_error", reason);
            item.pointer = Some("/schema".to_owned());
            Problem::new(Code::RequestValidationFailed, "The schema can't be used.").with(vec![item])
        }
        RegistryError::InvalidSubject(reason) => {
            let item = ErrorItem::about("path", "subject", "string_pattern_mismatch", reason);
            Problem::new(Code::RequestValidationFailed, "The subject can't be used.").with(vec![item])
        }
        RegistryError::NotPermitted(reason) => {
            let item = ErrorItem::about("path", "subject", "value_error", reason);
            Problem::new(Code::RequestValidationFailed, "The registry's mode does not allow this.").with(vec![item])
        }
        RegistryError::Incompatible { subject, version, level, differences } => {
            let items =
                differences.into_iter().map(|msg| ErrorItem::about("body", "schema", "schema_incompatible", msg));
            let detail = format!("The schema is not {level} compatible with version {version} of {subject:?}.");
            Problem::new(Code::SchemaIncompatible, detail).with(items.collect())
        }
        error => {
            tracing::warn!(%error, "The schema registry failed.");
            Problem::new(Code::RegistryUnavailable, "The schema registry can't answer now.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded_and_drops_what_was_unused_for_longest() {
        let mut cache = Cache::default();
        let key = |id| (Arc::from("s"), id);
        let entry = || Err(Problem::new(Code::SchemaUnsupported, ""));
        for id in 0..3 {
            cache.put(key(id), entry(), 3);
        }
        assert!(cache.get(&key(0)).is_some());
        cache.put(key(3), entry(), 3);
        assert_eq!(cache.entries.len(), 3);
        assert!(cache.get(&key(0)).is_some(), "used just now");
        assert!(cache.get(&key(1)).is_none(), "unused for longest");
        cache.put((Arc::from("other"), 0), entry(), 4);
        cache.forget("s");
        assert_eq!(cache.entries.keys().map(|(subject, _)| &**subject).collect::<Vec<_>>(), ["other"]);
    }
}
