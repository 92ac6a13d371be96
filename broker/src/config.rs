//! Options of `broker:`, `producer:` and `dlq:` as written in `forebay.yaml`, and the Settings they resolve to.

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `broker:` where the log is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BrokerOptions {
    /// `local://DIR`: an embedded log in this directory. Default: `local://./forebay-data/log`.
    pub url: Option<String>,
    /// How long records wait for others to share one fsync, in ms. Default 2; 0: not at all. At most 1000.
    pub group_commit_ms: Option<u64>,
    /// Bytes of recently read blocks kept in memory. Default 67108864 (64 MiB).
    pub cache_bytes: Option<u64>,
    /// How often records past their topic's `retention.ms` or `retention.bytes` are looked for, in ms. Default 30000.
    pub retention_check_ms: Option<u64>,
    /// Free bytes on the disk below which records are refused (as unavailable) instead of risking a half-written
    /// log. Default 134217728 (128 MiB).
    pub min_free_bytes: Option<u64>,
}

/// `producer:` what may wait for its receipt, and how large a record may be.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProducerOptions {
    /// Bytes of records waiting for receipts. Default 67108864 (64 MiB).
    pub queue_bytes: Option<usize>,
    /// Records waiting for receipts. Default 100000.
    pub queue_records: Option<usize>,
    /// Most bytes of key, value and headers of one record, where the topic has no `max.message.bytes`. Default 1000000.
    pub record_bytes: Option<usize>,
}

/// `dlq:` where dead letters go.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DlqOptions {
    /// Topic of dead letters; may contain `{topic}` or `{connector}`. Default `events.dlq`.
    pub topic: Option<String>,
}

/// The place of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerUrl {
    /// `local://DIR`.
    Local(PathBuf),
}

/// Resolved [`BrokerOptions`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerSettings {
    /// Where.
    pub url: BrokerUrl,
    /// Wait for others to share an fsync.
    pub group_commit: Duration,
    /// Block cache.
    pub cache_bytes: u64,
    /// Between two looks for expired records.
    pub retention_check: Duration,
    /// Free disk below which records are refused.
    pub min_free_bytes: u64,
}

/// Resolved [`ProducerOptions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerSettings {
    /// Bytes waiting.
    pub queue_bytes: usize,
    /// Records waiting.
    pub queue_records: usize,
    /// Bytes of one record.
    pub record_bytes: usize,
}

/// Resolved [`DlqOptions`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DlqSettings {
    /// Topic, perhaps with `{topic}` or `{connector}`.
    pub topic: String,
}

/// An option that can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ConfigError {
    /// Dotted name in the file.
    pub key: &'static str,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// Refuses a value outside `min..=max`.
fn within<T: PartialOrd + std::fmt::Display>(key: &'static str, value: T, min: T, max: T) -> Result<T, ConfigError> {
    if value < min || value > max {
        return Err(ConfigError { key, problem: format!("{value} is outside {min} to {max}") });
    }
    Ok(value)
}

impl BrokerOptions {
    /// Resolves; relative directories stay relative to the working directory.
    pub fn settings(&self) -> Result<BrokerSettings, ConfigError> {
        let url = parse_url(self.url.as_deref().unwrap_or("local://./forebay-data/log"))?;
        let group_commit = within("broker.group_commit_ms", self.group_commit_ms.unwrap_or(2), 0, 1_000)?;
        let check = within("broker.retention_check_ms", self.retention_check_ms.unwrap_or(30_000), 10, 86_400_000)?;
        Ok(BrokerSettings {
            url,
            group_commit: Duration::from_millis(group_commit),
            cache_bytes: within("broker.cache_bytes", self.cache_bytes.unwrap_or(64 << 20), 1 << 20, 1 << 40)?,
            retention_check: Duration::from_millis(check),
            min_free_bytes: self.min_free_bytes.unwrap_or(128 << 20),
        })
    }
}

impl ProducerOptions {
    /// Resolves.
    pub fn settings(&self) -> Result<ProducerSettings, ConfigError> {
        Ok(ProducerSettings {
            queue_bytes: within("producer.queue_bytes", self.queue_bytes.unwrap_or(64 << 20), 1 << 10, 1 << 34)?,
            queue_records: within("producer.queue_records", self.queue_records.unwrap_or(100_000), 1, 10_000_000)?,
            record_bytes: within("producer.record_bytes", self.record_bytes.unwrap_or(1_000_000), 1, 64 << 20)?,
        })
    }
}

impl DlqOptions {
    /// Resolves.
    pub fn settings(&self) -> Result<DlqSettings, ConfigError> {
        let topic = self.topic.clone().unwrap_or_else(|| "events.dlq".to_owned());
        let bare = topic.replace("{topic}", "t").replace("{connector}", "c");
        crate::topic::check_name(&bare)
            .map_err(|error| ConfigError { key: "dlq.topic", problem: error.to_string() })?;
        Ok(DlqSettings { topic })
    }
}

impl DlqSettings {
    /// The topic for dead letters of a topic and connector.
    pub fn topic_for(&self, topic: &str, connector: &str) -> String {
        self.topic.replace("{topic}", topic).replace("{connector}", connector)
    }
}

fn parse_url(url: &str) -> Result<BrokerUrl, ConfigError> {
    let refuse = |problem: String| Err(ConfigError { key: "broker.url", problem });
    match url.split_once("://") {
        Some(("local", "")) => refuse("local:// needs a directory, e.g. local://./forebay-data/log".to_owned()),
        Some(("local", dir)) => Ok(BrokerUrl::Local(PathBuf::from(dir))),
        Some(("kafka", _)) => refuse(
            "kafka:// is not in this version, which has the embedded log only: use local://DIR, \
             e.g. local://./forebay-data/log"
                .to_owned(),
        ),
        _ => refuse(format!("{url:?} is no log: use local://DIR, e.g. local://./forebay-data/log")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let broker = BrokerOptions::default().settings().unwrap();
        assert_eq!(broker.url, BrokerUrl::Local(PathBuf::from("./forebay-data/log")));
        assert_eq!(broker.group_commit, Duration::from_millis(2));
        let producer = ProducerOptions::default().settings().unwrap();
        assert_eq!(
            (producer.queue_bytes, producer.queue_records, producer.record_bytes),
            (64 << 20, 100_000, 1_000_000)
        );
        let dlq = DlqOptions::default().settings().unwrap();
        assert_eq!(dlq.topic_for("t", "c"), "events.dlq");
    }

    #[test]
    fn refusals_name_the_key_and_the_way_out() {
        for (url, words) in [("kafka://h:9092", "not in this version"), ("local://", "directory"), ("x", "local://DIR")]
        {
            let error =
                BrokerOptions { url: Some(url.into()), ..Default::default() }.settings().unwrap_err().to_string();
            assert!(error.starts_with("broker.url: ") && error.contains(words), "{error}");
        }
        let options = BrokerOptions { group_commit_ms: Some(1_001), ..Default::default() };
        assert_eq!(options.settings().unwrap_err().to_string(), "broker.group_commit_ms: 1001 is outside 0 to 1000");
        let options = DlqOptions { topic: Some("bad topic".into()) };
        assert_eq!(options.settings().unwrap_err().key, "dlq.topic");
        let options = DlqOptions { topic: Some("{topic}-dlq".into()) };
        assert_eq!(options.settings().unwrap().topic_for("a", "c"), "a-dlq");
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(serde_json::from_str::<BrokerOptions>(r#"{"librdkafka":{}}"#).is_err());
        assert!(serde_json::from_str::<ProducerOptions>(r#"{"linger_ms":5}"#).is_err());
    }
}
