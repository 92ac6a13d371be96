//! `topics.<t>:` of the configuration: how the events of one topic become records.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{ConfigError, absolute};

/// One topic.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicOptions {
    /// Partitions when it is created, and at least so many later; default 4.
    pub partitions: Option<i32>,
    /// Where an event's key stands: a JSON pointer into the event, or a list of which the first hit wins. Default:
    /// `/payload/user_id`, `/payload/device_id`, `/metadata/user_id`, `/metadata/device_id`.
    pub key: Option<KeyOption>,
    /// Refuse events without a key; default false. A compacted topic of a Kafka cluster takes none in any case.
    pub key_required: Option<bool>,
    /// Subject in the schema registry; default `<topic>-value`.
    pub subject: Option<String>,
    /// Version of the subject; default `latest`.
    pub schema_version: Option<SchemaVersion>,
    /// Avro schema file that is registered under the subject at start; relative to the configuration file.
    pub schema_file: Option<PathBuf>,
    /// What to do for a subject that is not registered; default `envelope`.
    pub missing_schema: Option<MissingSchema>,
    /// Members of an event that the service fills in when they are missing; default none.
    pub generate: Option<Vec<Generate>>,
    /// Strings of an event's `metadata` that become record headers of their own.
    pub header_metadata: Option<Vec<String>>,
    /// Which record headers are written; default `default`.
    pub headers: Option<HeaderSet>,
    /// What a record's timestamp is; default `receipt`.
    pub record_timestamp: Option<RecordTimestamp>,
    /// Members that the schema lacks; default `reject`.
    pub unknown_fields: Option<UnknownFields>,
    /// How long records are kept, ms; -1: for ever. A topic that is there is set to it at start. Default: what the topic
    /// has; for a new one the log's own, seven days.
    pub retention_ms: Option<i64>,
    /// How many bytes of records a partition keeps at least; -1: all. A topic that is there is set to it at start. Default:
    /// what the topic has; for a new one all.
    pub retention_bytes: Option<i64>,
}

/// One pointer, or several.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum KeyOption {
    /// One JSON pointer.
    One(String),
    /// The first that hits wins.
    Several(Vec<String>),
}

/// A version of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SchemaVersion {
    /// Whatever is newest.
    #[default]
    Latest,
    /// This one.
    Pinned(u32),
}

/// `missing_schema`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MissingSchema {
    /// Register the default envelope under the subject, with the first event that is fit for it.
    #[default]
    Envelope,
    /// 404 `unknown_schema`.
    Reject,
}

/// `generate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Generate {
    /// A UUIDv7. Such an event can't be retried safely.
    EventId,
    /// The time of receipt.
    Timestamp,
}

/// `headers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HeaderSet {
    /// `correlation_id`, trace context if the request had one, and what the value does not hold.
    #[default]
    Default,
    /// Also `event_id`, `event_type` and `event_time` where the value holds them.
    All,
}

/// `record_timestamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RecordTimestamp {
    /// When the event was received.
    #[default]
    Receipt,
    /// The event's `timestamp`. A Kafka cluster deletes by it, so that there `retention_ms` must be said too, and refuses
    /// what is too far from now (`message.timestamp.after.max.ms`: by default an hour ahead).
    Event,
}

/// `unknown_fields`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownFields {
    /// 422 `extra_forbidden`.
    #[default]
    Reject,
    /// Counted and skipped.
    Ignore,
}

impl<'de> Deserialize<'de> for SchemaVersion {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(u32),
            Text(String),
        }
        match Raw::deserialize(deserializer)? {
            Raw::Number(version) if version > 0 => Ok(Self::Pinned(version)),
            Raw::Text(text) if text == "latest" => Ok(Self::Latest),
            _ => Err(serde::de::Error::custom("expected \"latest\" or a version number from 1")),
        }
    }
}

impl JsonSchema for SchemaVersion {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SchemaVersion".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"anyOf": [{"const": "latest"}, {"type": "integer", "minimum": 1}]})
    }
}

/// The key pointers of topics that set none. A hit of another type than string or integer is skipped.
pub const DEFAULT_KEY_POINTERS: [&str; 4] =
    ["/payload/user_id", "/payload/device_id", "/metadata/user_id", "/metadata/device_id"];

/// One topic, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// Partitions that the configuration asks for; `None`: [`super::DEFAULT_PARTITIONS`] when it is created, and
    /// whatever it has later.
    pub partitions: Option<i32>,
    /// Key pointers of the topic's own; `None`: [`DEFAULT_KEY_POINTERS`].
    pub key: Option<Vec<String>>,
    /// Refuse events without a key.
    pub key_required: bool,
    /// Subject in the schema registry.
    pub subject: String,
    /// Version of it.
    pub schema_version: SchemaVersion,
    /// Registered at start.
    pub schema_file: Option<PathBuf>,
    /// What to do for an unknown subject.
    pub missing_schema: MissingSchema,
    /// Fill in a missing `event_id`.
    pub generate_event_id: bool,
    /// Fill in a missing `timestamp`.
    pub generate_timestamp: bool,
    /// Metadata members that become headers.
    pub header_metadata: Vec<String>,
    /// Which headers are written.
    pub headers: HeaderSet,
    /// What a record's timestamp is.
    pub record_timestamp: RecordTimestamp,
    /// What becomes of members that the schema lacks.
    pub unknown_fields: UnknownFields,
    /// `retention.ms` of the topic.
    pub retention_ms: Option<i64>,
    /// `retention.bytes` of the topic.
    pub retention_bytes: Option<i64>,
}

impl TopicSettings {
    /// What of it the log is to know, by Kafka's names.
    pub fn log_config(&self) -> BTreeMap<String, String> {
        let settings = [("retention.ms", self.retention_ms), ("retention.bytes", self.retention_bytes)];
        settings.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_string()))).collect()
    }

    /// A topic that the configuration does not name.
    pub fn default_for(topic: &str) -> Self {
        Self {
            partitions: None,
            key: None,
            key_required: false,
            subject: format!("{topic}-value"),
            schema_version: SchemaVersion::Latest,
            schema_file: None,
            missing_schema: MissingSchema::default(),
            generate_event_id: false,
            generate_timestamp: false,
            header_metadata: Vec::new(),
            headers: HeaderSet::default(),
            record_timestamp: RecordTimestamp::default(),
            unknown_fields: UnknownFields::default(),
            retention_ms: None,
            retention_bytes: None,
        }
    }
}

/// Header names that metadata may not take.
const RESERVED_HEADERS: [&str; 8] =
    ["event_id", "event_type", "event_time", "correlation_id", "traceparent", "tracestate", "tenant", "metadata"];
/// Prefixes of header names that metadata may not take.
const RESERVED_PREFIXES: [&str; 3] = ["forebay.", "__connect.", "ce_"];

impl TopicOptions {
    /// A topic of dead letters can be sized and kept as one likes; what says how events become records is not for it.
    pub(super) fn fit_for_dead_letters(&self, topic: &str) -> Result<(), ConfigError> {
        let Self {
            partitions: _,
            retention_ms: _,
            retention_bytes: _,
            key,
            key_required,
            subject,
            schema_version,
            schema_file,
            missing_schema,
            generate,
            header_metadata,
            headers,
            record_timestamp,
            unknown_fields,
        } = self;
        let given = [
            ("key", key.is_some()),
            ("key_required", key_required.is_some()),
            ("subject", subject.is_some()),
            ("schema_version", schema_version.is_some()),
            ("schema_file", schema_file.is_some()),
            ("missing_schema", missing_schema.is_some()),
            ("generate", generate.is_some()),
            ("header_metadata", header_metadata.is_some()),
            ("headers", headers.is_some()),
            ("record_timestamp", record_timestamp.is_some()),
            ("unknown_fields", unknown_fields.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((option, _)) => Err(ConfigError::new(
                format!("topics.{topic}.{option}"),
                "is not for a topic of dead letters (dlq.topic), which nobody publishes to: only partitions, retention_ms \
                 and retention_bytes are",
            )),
        }
    }

    pub(super) fn resolve(&self, topic: &str, base: &Path) -> Result<TopicSettings, ConfigError> {
        let at = |option: &str| format!("topics.{topic}.{option}");
        let defaults = TopicSettings::default_for(topic);
        let generate = self.generate.as_deref().unwrap_or_default();
        Ok(TopicSettings {
            partitions: partitions(self.partitions, &at("partitions"))?,
            key: key_pointers(self.key.as_ref(), &at("key"))?,
            key_required: self.key_required.unwrap_or(false),
            subject: subject(self.subject.as_deref(), &at("subject"))?.unwrap_or(defaults.subject),
            schema_version: self.schema_version.unwrap_or_default(),
            schema_file: self.schema_file.as_deref().map(|path| absolute(base, path)),
            missing_schema: self.missing_schema.unwrap_or_default(),
            generate_event_id: generate.contains(&Generate::EventId),
            generate_timestamp: generate.contains(&Generate::Timestamp),
            header_metadata: header_names(self.header_metadata.as_deref(), &at("header_metadata"))?,
            headers: self.headers.unwrap_or_default(),
            record_timestamp: self.record_timestamp.unwrap_or_default(),
            unknown_fields: self.unknown_fields.unwrap_or_default(),
            retention_ms: retention(self.retention_ms, &at("retention_ms"))?,
            retention_bytes: retention(self.retention_bytes, &at("retention_bytes"))?,
        })
    }
}

fn partitions(given: Option<i32>, key: &str) -> Result<Option<i32>, ConfigError> {
    match given {
        None | Some(1..=10_000) => Ok(given),
        Some(n) => Err(ConfigError::new(key, format!("{n} is outside 1 to 10000"))),
    }
}

fn retention(given: Option<i64>, key: &str) -> Result<Option<i64>, ConfigError> {
    match given {
        None | Some(-1 | 1..) => Ok(given),
        Some(n) => Err(ConfigError::new(key, format!("{n} is neither -1 (keep everything) nor at least 1"))),
    }
}

fn subject(given: Option<&str>, key: &str) -> Result<Option<String>, ConfigError> {
    match given {
        Some("") => Err(ConfigError::new(key, "must not be empty")),
        given => Ok(given.map(str::to_owned)),
    }
}

fn key_pointers(given: Option<&KeyOption>, key: &str) -> Result<Option<Vec<String>>, ConfigError> {
    let pointers = match given {
        None => return Ok(None),
        Some(KeyOption::One(pointer)) => vec![pointer.clone()],
        Some(KeyOption::Several(pointers)) => pointers.clone(),
    };
    if pointers.is_empty() || pointers.len() > 16 {
        return Err(ConfigError::new(key, "needs 1 to 16 JSON pointers"));
    }
    match pointers.iter().find(|p| !p.starts_with('/')) {
        Some(pointer) => Err(ConfigError::new(
            key,
            format!("{pointer:?} is no JSON pointer: it starts with a slash, as in /payload/order_id"),
        )),
        None => Ok(Some(pointers)),
    }
}

fn header_names(given: Option<&[String]>, key: &str) -> Result<Vec<String>, ConfigError> {
    let names = given.unwrap_or_default();
    for name in names {
        let reserved =
            RESERVED_HEADERS.contains(&name.as_str()) || RESERVED_PREFIXES.iter().any(|p| name.starts_with(p));
        if name.is_empty() || reserved {
            return Err(ConfigError::new(key, format!("{name:?} is reserved: choose other members of metadata")));
        }
    }
    Ok(names.to_vec())
}
