//! Options as written in `forebay.yaml` (all optional), and the Settings they become. The command reads the file; this
//! module only resolves and checks.

mod api;
mod topic;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use forebay_broker::config::DlqSettings;

pub use api::{ApiOptions, Limits};
pub(crate) use api::{HYPER_HEADER_BYTES, HYPER_HEADER_COUNT, TIMEOUT_MS};
pub use topic::{
    DEFAULT_KEY_POINTERS, Generate, HeaderSet, KeyOption, MissingSchema, RecordTimestamp, SchemaVersion, TopicOptions,
    TopicSettings, UnknownFields,
};

/// Partitions of a topic that nobody gave a number.
pub const DEFAULT_PARTITIONS: i32 = 4;

/// An option that can't be used: which one, and what would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {msg}")]
pub struct ConfigError {
    /// Dotted key in `forebay.yaml`.
    pub key: String,
    /// What is wrong, and what would do.
    pub msg: String,
}

impl ConfigError {
    pub(crate) fn new(key: impl Into<String>, msg: impl Into<String>) -> Self {
        Self { key: key.into(), msg: msg.into() }
    }
}

/// Everything the service needs to know before it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where events come in.
    pub listen: SocketAddr,
    /// `/livez`, `/readyz` and `/metrics` alone; `None` serves them on `listen` only.
    pub management_listen: Option<SocketAddr>,
    /// Whether a listener may leave the loopback interface although nobody has to show a credential.
    pub allow_anonymous: bool,
    /// Whether publishing to an unknown topic creates it.
    pub topics_auto_create: bool,
    /// How long a publish waits for its receipts unless it asks for less.
    pub timeout: Duration,
    /// Every limit of the service.
    pub limits: Limits,
    /// Topics named in the configuration.
    pub topics: BTreeMap<String, TopicSettings>,
    /// Largest encoded record (`producer.record_bytes`).
    pub record_bytes: usize,
    /// Where refused events go under `on_invalid=dlq`.
    pub dlq: DlqSettings,
    /// Pace of the drain.
    pub drain: DrainSettings,
}

/// When each step of a drain happens, counted from the shutdown signal.
#[derive(Clone, Copy, Debug)]
pub struct DrainSettings {
    /// Until then the service still takes connections, but says that it is not ready.
    pub ready_wait: Duration,
    /// Until then requests in flight may finish; what is left is cut.
    pub finish_by: Duration,
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self { ready_wait: Duration::from_secs(2), finish_by: Duration::from_secs(7) }
    }
}

/// What [`ApiOptions::resolve`] needs of the rest of the file.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Relative paths start here.
    pub base: &'a Path,
    /// Whether the log is `local://` (there, topics are created by the first event).
    pub local_log: bool,
    /// `producer.record_bytes`.
    pub record_bytes: usize,
    /// `dlq.topic`.
    pub dlq_topic: &'a str,
}

impl Settings {
    /// Checks the options and fills in the defaults.
    ///
    /// # Errors
    /// The first option that can't be used.
    pub fn resolve(
        api: &ApiOptions,
        topics: &BTreeMap<String, TopicOptions>,
        around: Surroundings<'_>,
    ) -> Result<Self, ConfigError> {
        let mut resolved = BTreeMap::new();
        for (name, options) in topics {
            crate::names::check_topic(name).map_err(|msg| ConfigError::new(format!("topics.{name}"), msg))?;
            resolved.insert(name.clone(), options.resolve(name, around.base)?);
        }
        api.resolve(resolved, around)
    }

    /// The settings of a topic, or the defaults for one that the configuration does not name.
    pub fn topic(&self, name: &str) -> TopicSettings {
        self.topics.get(name).cloned().unwrap_or_else(|| TopicSettings::default_for(name))
    }
}

/// A path of the file, made absolute.
pub(crate) fn absolute(base: &Path, path: &Path) -> PathBuf {
    base.join(path)
}
