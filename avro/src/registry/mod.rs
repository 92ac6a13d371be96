//! The schema registry as the rest of the system sees it, and its core rules.

mod client;
pub mod config;
mod embedded;
mod entry;
mod identity;
mod mode;
mod normalize;
mod rules;
mod state;
mod store;

#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr, sync::Arc};

use async_trait::async_trait;

use crate::schema::Schema;

pub use client::Remote;
pub use embedded::{Against, Embedded};
pub use entry::{NewSchema, Origin, ReferenceKey, SchemaEntry, Shown, VersionEntry};
pub use mode::Mode;
pub use state::{
    DeleteRefused, MAX_NUMBER, MAX_REGISTERED_BYTES, MAX_SCHEMAS, MAX_SETTINGS, MAX_SUBJECT_BYTES, MAX_VERSIONS,
};
pub use store::MemoryStore;

/// Compatibility levels of a subject, in Schema Registry's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Compatibility {
    /// Anything goes.
    None,
    /// New readers read data of the latest version.
    #[default]
    Backward,
    /// New readers read data of all versions.
    BackwardTransitive,
    /// Readers of the latest version read new data.
    Forward,
    /// Readers of all versions read new data.
    ForwardTransitive,
    /// Both ways, latest version.
    Full,
    /// Both ways, all versions.
    FullTransitive,
}

impl Compatibility {
    /// All levels, from the loosest.
    pub const ALL: [Compatibility; 7] = [
        Compatibility::None,
        Compatibility::Backward,
        Compatibility::BackwardTransitive,
        Compatibility::Forward,
        Compatibility::ForwardTransitive,
        Compatibility::Full,
        Compatibility::FullTransitive,
    ];

    /// Its name in Schema Registry's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Compatibility::None => "NONE",
            Compatibility::Backward => "BACKWARD",
            Compatibility::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Compatibility::Forward => "FORWARD",
            Compatibility::ForwardTransitive => "FORWARD_TRANSITIVE",
            Compatibility::Full => "FULL",
            Compatibility::FullTransitive => "FULL_TRANSITIVE",
        }
    }
}

impl fmt::Display for Compatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Compatibility {
    type Err = RegistryError;

    /// Any case is taken.
    fn from_str(text: &str) -> Result<Self, RegistryError> {
        let level = Self::ALL.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(text));
        level.ok_or_else(|| {
            let names = Self::ALL.map(Compatibility::as_str).join(", ");
            RegistryError::Invalid(format!("compatibility level {:?} is none of {names}", clip(text)))
        })
    }
}

/// A schema as the registry knows it.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Global id, from 1.
    pub id: u32,
    /// The schema.
    pub schema: Schema,
}

/// One version of a subject.
#[derive(Clone, Debug)]
pub struct Version {
    /// The subject.
    pub subject: String,
    /// From 1; not given twice unless the subject's last versions were deleted permanently.
    pub version: u32,
    /// What it holds.
    pub registered: Arc<Registered>,
}

/// Questions answered by the client of a registry elsewhere, by where their answers came from. Each is counted once,
/// when it is answered; one whose asker went away is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// From memory: found.
    pub hit: u64,
    /// By the registry, asked for this or for several at once; also where it failed and nothing older was known.
    pub miss: u64,
    /// From memory, past its time: the registry failed, or took too long.
    pub stale: u64,
    /// From memory: there is no such thing.
    pub negative: u64,
}

/// Why the registry refused or could not answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No such subject.
    #[error("subject {0:?} is not registered")]
    UnknownSubject(String),
    /// No such version.
    #[error("subject {subject:?} has no version {version}")]
    UnknownVersion {
        /// The subject.
        subject: String,
        /// The version asked for.
        version: u32,
    },
    /// No such id.
    #[error("no schema has id {0}")]
    UnknownId(u32),
    /// The text is no schema, or breaks a limit.
    #[error("{0}")]
    Invalid(String),
    /// What can't be a subject's name.
    #[error("{0}")]
    InvalidSubject(String),
    /// The mode, or what is there already, does not allow this change.
    #[error("{0}")]
    NotPermitted(String),
    /// The new version breaks the subject's compatibility level: one sentence per difference.
    #[error("schema is not {level} compatible with version {version} of {subject:?}: {}", differences.join("; "))]
    Incompatible {
        /// The subject.
        subject: String,
        /// The version it was compared with.
        version: u32,
        /// The level in force.
        level: Compatibility,
        /// Each names the field and the rule.
        differences: Vec<String>,
    },
    /// The embedded registry holds as much as it may.
    #[error("the embedded registry is full: {0}; use an external registry for more")]
    Full(String),
    /// The registry or its store can't answer now.
    #[error("the schema registry is unavailable: {0}")]
    Unavailable(String),
}

/// What publishing, converting and the command need of a registry, embedded or remote.
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// The schema of an id. Ids are immutable: answers may be kept for ever.
    async fn by_id(&self, id: u32) -> Result<Arc<Registered>, RegistryError>;
    /// As [`Registry::by_id`], but an id counts as unknown only if the registry itself says so now, not from memory.
    async fn ask_by_id(&self, id: u32) -> Result<Arc<Registered>, RegistryError> {
        self.by_id(id).await
    }
    /// The latest version of a subject.
    async fn latest(&self, subject: &str) -> Result<Arc<Version>, RegistryError>;
    /// One version of a subject.
    async fn version(&self, subject: &str, version: u32) -> Result<Arc<Version>, RegistryError>;
    /// All subjects, sorted.
    async fn subjects(&self) -> Result<Vec<String>, RegistryError>;
    /// The versions of a subject, ascending.
    async fn versions(&self, subject: &str) -> Result<Vec<u32>, RegistryError>;
    /// Registers `text` under `subject`, if its level allows; the same text again answers the existing version.
    async fn register(
        &self,
        subject: &str,
        text: &str,
        references: &[ReferenceKey],
    ) -> Result<Arc<Version>, RegistryError>;
    /// Dry run of [`Registry::register`]: the differences that would refuse it, empty if none.
    async fn check(&self, subject: &str, text: &str, references: &[ReferenceKey])
    -> Result<Vec<String>, RegistryError>;
    /// Forgets what is remembered of a subject's versions, so that the next question is asked where they are kept. While
    /// nobody answers there, what was known goes on being used. Nothing to do for whom keeps them.
    async fn forget(&self, _subject: &str) {}
    /// What became of the questions for schemas, versions and lists of versions so far; `None` where nothing is
    /// remembered of a registry, because it is in this process.
    fn lookups(&self) -> Option<Lookups> {
        None
    }
    /// The level in force for a subject (`None`: the global one).
    async fn compatibility(&self, subject: Option<&str>) -> Result<Compatibility, RegistryError>;
    /// Sets a subject's level (`None`: the global one).
    async fn set_compatibility(&self, subject: Option<&str>, level: Compatibility) -> Result<(), RegistryError>;
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);
/// A key and its new value; `None` removes the key.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// Where the embedded registry keeps its state: a durable map from small keys to small values.
///
/// Keys sort bytewise. `write` is durable when it returns, and atomic over all its changes.
pub trait RegistryStore: Send + Sync + 'static {
    /// All pairs, in key order.
    fn load(&self) -> Result<Vec<Row>, RegistryError>;
    /// Makes all changes at once.
    fn write(&self, changes: &[Change]) -> Result<(), RegistryError>;
}

/// At most 64 characters of a text that may be hostile.
fn clip(text: &str) -> &str {
    crate::schema::names::clip(text)
}
