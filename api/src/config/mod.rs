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

use forebay_avro::event::EventOptions;
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
    /// Where the embedded registry is served; `None` where schemas come from elsewhere.
    pub registry_listen: Option<SocketAddr>,
    /// Whether a listener may leave the loopback interface although nobody has to show a credential.
    pub allow_anonymous: bool,
    /// Whether publishing to an unknown topic creates it.
    pub topics_auto_create: bool,
    /// How long a publish waits for its receipts unless it asks for less.
    pub timeout: Duration,
    /// Whether `/docs` is served.
    pub docs: bool,
    /// Every limit of the service.
    pub limits: Limits,
    /// Topics named in the configuration.
    pub topics: BTreeMap<String, TopicSettings>,
    /// Whether these topics, their schemas and the DLQ topic are set up before the first request.
    pub prepare: bool,
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
    /// `registry.listen`, of an embedded registry.
    pub registry_listen: Option<SocketAddr>,
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
            if forebay_broker::is_internal(name) {
                let msg = "can't be published to: topics __* and replay.* are the log's and the service's own; choose \
                           another name, or remove it";
                return Err(ConfigError::new(format!("topics.{name}"), msg));
            }
            if forebay_broker::dead_letter::topic::can_be(name, around.dlq_topic) {
                options.fit_for_dead_letters(name)?;
            }
            let topic = options.resolve(name, around.base)?;
            if !around.local_log && topic.record_timestamp == RecordTimestamp::Event && topic.retention_ms.is_none() {
                return Err(ConfigError::new(
                    format!("topics.{name}.record_timestamp"),
                    "event needs topics.NAME.retention_ms on kafka://, -1 to keep records for ever: the cluster deletes by \
                     the record's time, so events of long ago would be gone before they are delivered"
                        .replace("NAME", name),
                ));
            }
            resolved.insert(name.clone(), topic);
        }
        api.resolve(resolved, around)
    }

    /// The settings of a topic, or the defaults for one that the configuration does not name.
    pub fn topic(&self, name: &str) -> TopicSettings {
        self.topics.get(name).cloned().unwrap_or_else(|| TopicSettings::default_for(name))
    }

    /// How the events of a topic are read.
    pub(crate) fn event_options(&self, topic: &TopicSettings) -> EventOptions {
        let limits = &self.limits;
        EventOptions {
            ignore_unknown: topic.unknown_fields == UnknownFields::Ignore,
            generate_event_id: topic.generate_event_id,
            generate_timestamp: topic.generate_timestamp,
            json_depth: limits.json_depth,
            number_chars: limits.number_chars,
            metadata_bytes: limits.metadata_bytes,
            event_bytes: limits.event_bytes,
            record_bytes: self.record_bytes,
            batch_events: limits.batch_events,
        }
    }
}

/// A path of the file, made absolute.
pub(crate) fn absolute(base: &Path, path: &Path) -> PathBuf {
    base.join(path)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn resolve(api: Value, topics: Value) -> Result<Settings, String> {
        resolve_on(true, api, topics)
    }

    fn resolve_on(local_log: bool, api: Value, topics: Value) -> Result<Settings, String> {
        let api: ApiOptions = serde_json::from_value(api).map_err(|e| e.to_string())?;
        let topics: BTreeMap<String, TopicOptions> = serde_json::from_value(topics).map_err(|e| e.to_string())?;
        let around = Surroundings {
            base: Path::new("/etc/forebay"),
            local_log,
            record_bytes: 1_000_000,
            dlq_topic: "events.dlq",
            registry_listen: None,
        };
        Settings::resolve(&api, &topics, around).map_err(|e| e.to_string())
    }

    #[test]
    fn every_key_has_a_default() {
        let settings = resolve(json!({}), json!({})).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.management_listen.unwrap().to_string(), "127.0.0.1:9090");
        assert!(settings.topics_auto_create && !settings.allow_anonymous);
        assert_eq!(settings.limits.body_bytes, 10 << 20);
        assert_eq!(settings.topic("orders").subject, "orders-value");
    }

    #[test]
    fn events_of_long_ago_are_not_left_to_a_clusters_default_retention() {
        let topics = |options: Value| json!({ "t": options });
        let refused = resolve_on(false, json!({}), topics(json!({"record_timestamp": "event"}))).unwrap_err();
        assert!(refused.starts_with("topics.t.record_timestamp: event needs topics.t.retention_ms"), "{refused}");
        let said = json!({"record_timestamp": "event", "retention_ms": -1});
        resolve_on(false, json!({}), topics(said)).unwrap();
        resolve(json!({}), topics(json!({"record_timestamp": "event"}))).unwrap();
    }

    #[test]
    fn options_at_and_beyond_their_bounds() {
        for (key, least, most) in [
            ("timeout_ms", 100_u64, 30_000),
            ("json_depth", 1, 64),
            ("batch_events", 1, 1_000_000),
            ("uri_bytes", 256, 32 << 10),
            ("header_count", 10, 255),
            ("idle_timeout_s", 1, 3_600),
            ("http2_streams", 1, 10_000),
        ] {
            for (value, fits) in [(least - 1, false), (least, true), (most, true), (most + 1, false)] {
                let got = resolve(json!({key: value}), json!({}));
                assert_eq!(got.is_ok(), fits, "{key}: {value}");
                assert!(fits || got.unwrap_err().starts_with(&format!("api.{key}: {value} is outside")));
            }
        }
    }

    #[test]
    fn topics_that_can_not_be() {
        for (options, message) in [
            (json!({"partitions": 0}), "topics.t.partitions: 0 is outside"),
            (json!({"key": "payload/id"}), "topics.t.key: \"payload/id\" is no JSON pointer"),
            (json!({"key": []}), "topics.t.key: needs 1 to 16"),
            (json!({"subject": ""}), "topics.t.subject: must not be empty"),
            (json!({"header_metadata": ["forebay.x"]}), "topics.t.header_metadata: \"forebay.x\" is reserved"),
            (json!({"header_metadata": ["traceparent"]}), "topics.t.header_metadata: \"traceparent\" is reserved"),
            (json!({"retention_ms": 0}), "topics.t.retention_ms: 0 is neither"),
            (json!({"dedupe": "memory"}), "unknown field `dedupe`"),
            (json!({"schema_version": 0}), "expected \"latest\" or a version number from 1"),
            (json!({"schema_version": "newest"}), "expected \"latest\""),
        ] {
            let error = resolve(json!({}), json!({"t": options})).unwrap_err();
            assert!(error.contains(message), "{error} lacks {message}");
        }
        for name in ["a/b", "__state", "replay.lake"] {
            let error = resolve(json!({}), json!({ name: {} })).unwrap_err();
            assert!(error.starts_with(&format!("topics.{name}: ")), "{error}");
        }
    }

    #[test]
    fn topics_of_dead_letters_are_sized_and_kept_as_one_likes() {
        let kept = json!({"events.dlq": {"partitions": 2, "retention_ms": 86_400_000, "retention_bytes": -1}});
        let settings = resolve(json!({}), kept).unwrap().topic("events.dlq");
        let config = settings.log_config();
        assert_eq!((config["retention.ms"].as_str(), config["retention.bytes"].as_str()), ("86400000", "-1"));
        for (option, value) in [("key", json!("/a")), ("schema_file", json!("t.avsc")), ("generate", json!([]))] {
            let error = resolve(json!({}), json!({"events.dlq": {option: value}})).unwrap_err();
            assert!(error.starts_with(&format!("topics.events.dlq.{option}: is not for a topic of dead")), "{error}");
        }
    }

    #[test]
    fn topics_in_full() {
        let options = json!({
            "partitions": 7, "key": ["/payload/a", "/metadata/b"], "key_required": true, "subject": "s",
            "schema_version": 3, "schema_file": "t.avsc", "missing_schema": "reject",
            "generate": ["event_id", "timestamp"], "header_metadata": ["source"], "headers": "all",
            "record_timestamp": "event", "unknown_fields": "ignore", "retention_ms": -1, "retention_bytes": 5,
        });
        let settings = resolve(json!({}), json!({"t": options})).unwrap().topic("t");
        let expected = TopicSettings {
            partitions: Some(7),
            key: Some(vec!["/payload/a".into(), "/metadata/b".into()]),
            key_required: true,
            subject: "s".into(),
            schema_version: SchemaVersion::Pinned(3),
            schema_file: Some("/etc/forebay/t.avsc".into()),
            missing_schema: MissingSchema::Reject,
            generate_event_id: true,
            generate_timestamp: true,
            header_metadata: vec!["source".into()],
            headers: HeaderSet::All,
            record_timestamp: RecordTimestamp::Event,
            unknown_fields: UnknownFields::Ignore,
            retention_ms: Some(-1),
            retention_bytes: Some(5),
        };
        assert_eq!(settings, expected);
    }
}
