//! The client to a registry elsewhere: any that speaks the API of Confluent's Schema Registry.

mod memory;
mod nodes;
mod transport;

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::Certificate;
use schema_registry_converter::schema_registry_common::{RegisteredReference, RegisteredSchema, SchemaType};
use serde_json::json;

use self::{
    memory::{Counters, Lives, Memory},
    nodes::{Failure, Nodes, Subject},
};
use super::{
    Compatibility, Lookups, ReferenceKey, Registered, Registry, RegistryError, Version, config::RemoteSettings, rules,
};
use crate::schema::{
    Reference, Schema,
    limits::{MAX_REFERENCES, check_size},
};

/// Bytes of `registry.ca_file`.
const MAX_CA_BYTES: u64 = 1 << 20;
/// Versions that a refused schema is compared with to say why.
const MAX_COMPARED: usize = 50;

/// Error codes of Schema Registry's API.
mod code {
    pub(super) const SUBJECT: u32 = 40401;
    pub(super) const VERSION: u32 = 40402;
    pub(super) const SCHEMA: u32 = 40403;
    pub(super) const SUBJECT_DELETED: u32 = 40404;
    pub(super) const VERSION_DELETED: u32 = 40406;
    pub(super) const NO_LEVEL: u32 = 40408;
    pub(super) const READ_ONLY: u32 = 42205;
}

/// A registry elsewhere. Cheap to clone; clones share what they remember.
///
/// Remembered are: schemas by id, for ever; versions of subjects, for a while, and longer while the registry is away;
/// that something is unknown, for a moment. All of it is bounded.
#[derive(Clone)]
pub struct Remote(Arc<Core>);

struct Core {
    nodes: Nodes,
    ids: Memory<u32, Arc<Registered>>,
    /// The subject is in the key, so a schema seen under one subject is not thereby one of another.
    versions: Memory<Key, Arc<Version>>,
    /// Which versions a subject has: for as long as it is remembered that something is unknown, as a version that is
    /// not on the list is.
    lists: Memory<String, Arc<Vec<u32>>>,
    /// Of all three.
    counters: Arc<Counters>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    subject: String,
    /// The latest, if none.
    version: Option<u32>,
}

impl Remote {
    /// Prepares the client; nothing is asked yet. Blocks on reading `ca_file`.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`] for a `ca_file` that can't be read or holds no certificates.
    pub fn open(settings: &RemoteSettings) -> Result<Self, RegistryError> {
        if settings.credentials_in_clear() {
            tracing::warn!("registry.auth goes over the network unencrypted: use https:// in registry.url.");
        }
        let (unknown, counters) = (settings.unknown_ttl, Arc::default());
        let core = Core {
            nodes: Nodes::new(settings, &certificates(settings)?)?,
            ids: Memory::new(Lives { found: None, unknown }, &counters),
            versions: Memory::new(Lives { found: Some(settings.latest_ttl), unknown }, &counters),
            lists: Memory::new(Lives { found: Some(unknown), unknown }, &counters),
            counters,
        };
        Ok(Self(Arc::new(core)))
    }

    async fn find(&self, subject: &str, version: Option<u32>) -> Result<Arc<Version>, RegistryError> {
        let key = Key { subject: subject.to_owned(), version };
        let (core, asked) = (self.0.clone(), key.clone());
        let ask = move || {
            let (core, key) = (core.clone(), asked.clone());
            async move { core.version(key).await }
        };
        self.0.versions.get(&key, ask).await
    }
}

#[async_trait]
impl Registry for Remote {
    async fn by_id(&self, id: u32) -> Result<Arc<Registered>, RegistryError> {
        let core = self.0.clone();
        let ask = move || {
            let core = core.clone();
            async move { core.by_id(id).await }
        };
        self.0.ids.get(&id, ask).await
    }

    async fn ask_by_id(&self, id: u32) -> Result<Arc<Registered>, RegistryError> {
        self.0.ids.doubt(&id).await;
        self.by_id(id).await
    }

    async fn latest(&self, subject: &str) -> Result<Arc<Version>, RegistryError> {
        self.find(subject, None).await
    }

    async fn version(&self, subject: &str, version: u32) -> Result<Arc<Version>, RegistryError> {
        self.find(subject, Some(version)).await
    }

    async fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        let mut subjects = self.0.nodes.subjects().await?;
        subjects.sort();
        Ok(subjects)
    }

    async fn versions(&self, subject: &str) -> Result<Vec<u32>, RegistryError> {
        let (core, asked) = (self.0.clone(), subject.to_owned());
        let ask = move || {
            let (core, subject) = (core.clone(), asked.clone());
            async move { core.list(&subject).await }
        };
        self.0.lists.get(&subject.to_owned(), ask).await.map(Arc::unwrap_or_clone)
    }

    async fn register(
        &self,
        subject: &str,
        text: &str,
        references: &[ReferenceKey],
    ) -> Result<Arc<Version>, RegistryError> {
        let place = Subject::new(subject)?;
        let new = self.0.examined(text, references).await?;
        let body = body(text, references);
        if let Err(failure) = self.0.nodes.register(&place, &body).await {
            return Err(match failure.fault.status() {
                Some(409) => self.incompatible(subject, &new, vec![failure.fault.to_string()]).await,
                Some(422) if failure.fault.code() == Some(code::READ_ONLY) => {
                    RegistryError::NotPermitted(said(&failure))
                }
                Some(422) => RegistryError::Invalid(said(&failure)),
                _ => failure.into(),
            });
        }
        self.forget(subject).await;
        let found = self.0.nodes.find(&place, &body).await.map_err(RegistryError::from)?;
        let (Some(version), Some(id)) = found else {
            return Err(RegistryError::Unavailable(format!("it took the schema of {subject:?}, but tells no version")));
        };
        Ok(Arc::new(Version { subject: subject.to_owned(), version, registered: self.by_id(id).await? }))
    }

    async fn check(
        &self,
        subject: &str,
        text: &str,
        references: &[ReferenceKey],
    ) -> Result<Vec<String>, RegistryError> {
        let place = Subject::new(subject)?;
        let new = self.0.examined(text, references).await?;
        match self.0.nodes.check(&place, &body(text, references)).await {
            Ok(verdict) if verdict.is_compatible => Ok(Vec::new()),
            Ok(verdict) => match self.incompatible(subject, &new, verdict.messages).await {
                RegistryError::Incompatible { differences, .. } => Ok(differences),
                error => Err(error),
            },
            // A new subject takes everything.
            Err(Failure { fault, .. }) if matches!(fault.code(), Some(code::SUBJECT | code::VERSION)) => Ok(Vec::new()),
            Err(failure) if failure.fault.status() == Some(422) => Err(RegistryError::Invalid(said(&failure))),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn forget(&self, subject: &str) {
        self.0.versions.changed(|key| key.subject == subject).await;
        self.0.lists.changed(|key| key == subject).await;
    }

    fn lookups(&self) -> Option<Lookups> {
        Some(self.0.counters.read())
    }

    async fn compatibility(&self, subject: Option<&str>) -> Result<Compatibility, RegistryError> {
        let place = subject.map(Subject::new).transpose()?;
        let level = match self.0.nodes.level(place.as_ref()).await {
            Err(Failure { fault, .. })
                if place.is_some() && matches!(fault.code(), Some(code::SUBJECT | code::NO_LEVEL)) =>
            {
                self.0.nodes.level(None).await?
            }
            answer => answer?,
        };
        level.parse().map_err(|_| RegistryError::Unavailable(format!("it names the unknown level {level:?}")))
    }

    async fn set_compatibility(&self, subject: Option<&str>, level: Compatibility) -> Result<(), RegistryError> {
        let place = subject.map(Subject::new).transpose()?;
        Ok(self.0.nodes.set_level(place.as_ref(), level.as_str()).await?)
    }
}

impl Remote {
    /// Why the registry refused a schema: by our own rules, which name field and rule; where they find nothing, in the
    /// registry's words.
    async fn incompatible(&self, subject: &str, new: &Schema, said: Vec<String>) -> RegistryError {
        let level = self.compatibility(Some(subject)).await.unwrap_or_default();
        let versions = self.0.list(subject).await.unwrap_or_default();
        let latest = versions.last().copied().unwrap_or_default();
        let refused = |version, differences| RegistryError::Incompatible {
            subject: subject.to_owned(),
            version,
            level,
            differences,
        };
        for number in level.compared(&versions).into_iter().take(MAX_COMPARED) {
            let Ok(old) = self.version(subject, number).await else { continue };
            let differences = rules::differences(level, new, &old.registered.schema, number);
            if !differences.is_empty() {
                return refused(number, differences);
            }
        }
        let unsaid = || vec!["the registry refuses it without saying why".to_owned()];
        refused(latest, if said.is_empty() { unsaid() } else { said })
    }
}

impl Core {
    async fn by_id(&self, id: u32) -> Result<Arc<Registered>, RegistryError> {
        match self.nodes.by_id(id).await {
            Ok(raw) => self.registered(id, raw).await,
            Err(Failure { fault, .. }) if fault.code() == Some(code::SCHEMA) => Err(RegistryError::UnknownId(id)),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn version(&self, Key { subject, version }: Key) -> Result<Arc<Version>, RegistryError> {
        let answer = self.nodes.version(&Subject::new(&subject)?, version).await;
        let raw = answer.map_err(|failure| missing(failure, &subject, version))?;
        let Some(version) = raw.version else {
            return Err(RegistryError::Unavailable(format!("it tells no version of {subject:?}")));
        };
        let registered = match self.ids.found(&raw.id).await {
            Some(registered) => registered,
            None => {
                let registered = self.registered(raw.id, raw).await?;
                self.ids.put(registered.id, registered.clone()).await;
                registered
            }
        };
        Ok(Arc::new(Version { subject, version, registered }))
    }

    async fn list(&self, subject: &str) -> Result<Arc<Vec<u32>>, RegistryError> {
        let answer = self.nodes.versions(&Subject::new(subject)?).await;
        let mut versions = answer.map_err(|failure| missing(failure, subject, None))?;
        versions.sort_unstable();
        Ok(Arc::new(versions))
    }

    /// Parses an answer, with all that it refers to.
    async fn registered(&self, id: u32, raw: RegisteredSchema) -> Result<Arc<Registered>, RegistryError> {
        if raw.schema_type != SchemaType::Avro {
            return Err(RegistryError::Invalid(format!("it is {:?}, not Avro", raw.schema_type)));
        }
        let references = self.resolve(keys(raw.references), RegistryError::Unavailable).await?;
        Ok(Arc::new(Registered { id, schema: parse(raw.schema, references).await? }))
    }

    /// A new schema, checked before it is sent.
    async fn examined(&self, text: &str, references: &[ReferenceKey]) -> Result<Schema, RegistryError> {
        let references = self.resolve(references.to_vec(), RegistryError::Invalid).await?;
        parse(text.to_owned(), references).await
    }

    /// References with their texts, and those that they need, each once. Nothing recurses, so references that go round
    /// in a circle end, too. `lost` makes the error for one that the registry does not have.
    async fn resolve(
        &self,
        direct: Vec<ReferenceKey>,
        lost: fn(String) -> RegistryError,
    ) -> Result<Vec<Reference>, RegistryError> {
        let mut open = direct;
        open.reverse();
        let mut resolved: Vec<Reference> = Vec::new();
        let mut bytes = 0;
        while let Some(ReferenceKey { name, subject, version }) = open.pop() {
            if resolved.iter().any(|r| r.subject == subject && r.version == version) {
                continue;
            }
            if resolved.len() == MAX_REFERENCES {
                return Err(RegistryError::Invalid(format!(
                    "more than {MAX_REFERENCES} references, with those that they need; merge some of them"
                )));
            }
            let place = Subject::new(&subject)
                .map_err(|error| RegistryError::Invalid(format!("reference {name:?}: {error}")))?;
            let answer = self.nodes.version(&place, Some(version)).await;
            let raw = answer.map_err(|failure| match missing(failure, &subject, Some(version)) {
                error @ RegistryError::Unavailable(_) => error,
                error => lost(format!("reference {name:?}: {error}; register it first")),
            })?;
            open.extend(keys(raw.references).into_iter().rev());
            bytes += raw.schema.len();
            check_size(bytes).map_err(|error| RegistryError::Invalid(error.to_string()))?;
            resolved.push(Reference { name, subject, version, schema: raw.schema });
        }
        Ok(resolved)
    }
}

fn keys(references: Vec<RegisteredReference>) -> Vec<ReferenceKey> {
    let key = |r: RegisteredReference| ReferenceKey { name: r.name, subject: r.subject, version: r.version };
    references.into_iter().map(key).collect()
}

/// Parsing may take long: not on a thread that others wait for.
async fn parse(text: String, references: Vec<Reference>) -> Result<Schema, RegistryError> {
    let parsed = tokio::task::spawn_blocking(move || Schema::parse(&text, &references)).await;
    let parsed = parsed.map_err(|error| RegistryError::Unavailable(format!("its task ended: {error}")))?;
    parsed.map_err(|error| RegistryError::Invalid(error.to_string()))
}

/// A refusal as callers may read it: which node gave it is none of their business.
fn said(failure: &Failure) -> String {
    format!("the schema registry {}", failure.fault)
}

/// "There is no such version" apart from all other failures.
fn missing(failure: Failure, subject: &str, version: Option<u32>) -> RegistryError {
    let subject = subject.to_owned();
    match (failure.fault.code(), version) {
        (Some(code::SUBJECT | code::SUBJECT_DELETED), _) => RegistryError::UnknownSubject(subject),
        (Some(code::VERSION | code::VERSION_DELETED), Some(version)) => {
            RegistryError::UnknownVersion { subject, version }
        }
        (Some(code::VERSION | code::VERSION_DELETED), None) => RegistryError::UnknownSubject(subject),
        _ => failure.into(),
    }
}

fn body(text: &str, references: &[ReferenceKey]) -> String {
    let reference = |r: &ReferenceKey| json!({"name": r.name, "subject": r.subject, "version": r.version});
    match references {
        [] => json!({"schema": text}).to_string(),
        _ => json!({"schema": text, "references": references.iter().map(reference).collect::<Vec<_>>()}).to_string(),
    }
}

/// The certificates of `ca_file`.
fn certificates(settings: &RemoteSettings) -> Result<Vec<Certificate>, RegistryError> {
    let Some(file) = &settings.ca_file else { return Ok(Vec::new()) };
    let refuse = |why: String| RegistryError::Invalid(format!("registry.ca_file: {}: {why}", file.display()));
    let bytes = std::fs::metadata(file).map_err(|error| refuse(error.to_string()))?.len();
    if bytes > MAX_CA_BYTES {
        return Err(refuse(format!("it has {bytes} bytes, over the limit of {MAX_CA_BYTES}")));
    }
    let pem = std::fs::read(file).map_err(|error| refuse(error.to_string()))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(refuse("it holds no PEM certificate".to_owned())),
        Err(error) => Err(refuse(format!("it is no bundle of PEM certificates: {error}"))),
    }
}
