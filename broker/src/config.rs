//! Options of `broker:`, `producer:` and `dlq:` as written in `forebay.yaml`, and the Settings they resolve to.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dead_letter;

/// `broker:` where the log is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BrokerOptions {
    /// `local://DIR`: an embedded log in this directory. `kafka://HOST:PORT,HOST:PORT`: an Apache Kafka cluster (tested with
    /// 4.3), by some of its brokers. Default: `local://./forebay-data/log`.
    pub url: Option<String>,
    /// `kafka://`: options passed on to librdkafka by their names, e.g. `security.protocol: SASL_SSL`,
    /// `sasl.mechanism: SCRAM-SHA-512`, `sasl.username`, `sasl.password`, `ssl.ca.location`, `group.protocol: consumer`.
    /// Those that promises rest on are refused. Default: none.
    pub librdkafka: Option<BTreeMap<String, LibrdkafkaValue>>,
    /// `local://`: how long records wait for others to share one fsync, in ms. Default 2; 0: not at all. At most 1000.
    pub group_commit_ms: Option<u64>,
    /// `local://`: bytes of recently read blocks kept in memory. Default 67108864 (64 MiB).
    pub cache_bytes: Option<u64>,
    /// `local://`: how often records past their topic's `retention.ms` or `retention.bytes` are looked for, in ms.
    /// Default 30000.
    pub retention_check_ms: Option<u64>,
    /// `local://`: free bytes on the disk below which records are refused. What is left is for the log to tidy itself
    /// up and for committed offsets; when even that runs out, the process ends. Default 536870912 (512 MiB), or a tenth
    /// of a smaller disk than 5 GiB.
    pub min_free_bytes: Option<u64>,
}

/// A value of `broker.librdkafka`: text, number or boolean. It may be a secret, so it is never shown.
#[derive(Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum LibrdkafkaValue {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// Text.
    Text(String),
}

impl LibrdkafkaValue {
    fn text(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Text(value) => value.clone(),
        }
    }
}

impl fmt::Debug for LibrdkafkaValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// `producer:` what may wait for its receipt, and how large a record may be.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProducerOptions {
    /// Bytes of records waiting for receipts. At least one dead letter has room: 2 MiB, or 1 MiB more than `record_bytes`.
    /// Default 67108864 (64 MiB), or this least where it is more.
    pub queue_bytes: Option<usize>,
    /// Records waiting for receipts. Default 100000.
    pub queue_records: Option<usize>,
    /// `kafka://`: how long records wait for others to share a request, in ms. Default 5; 0: not at all. At most 1000. The
    /// embedded log has `broker.group_commit_ms` instead.
    pub linger_ms: Option<u64>,
    /// Most bytes of key, value and headers of one record, where the topic has no `max.message.bytes`. Default 1000000.
    pub record_bytes: Option<usize>,
}

/// `dlq:` where dead letters go.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DlqOptions {
    /// Topic of dead letters; may contain `{topic}` or `{connector}` beside text of its own, as in `{topic}.dlq`. Default
    /// `events.dlq`.
    pub topic: Option<String>,
}

/// The place of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerUrl {
    /// `local://DIR`.
    Local(PathBuf),
    /// `kafka://HOST:PORT,…`: the brokers.
    Kafka(String),
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(dir) => write!(f, "local://{}", dir.display()),
            Self::Kafka(servers) => write!(f, "kafka://{servers}"),
        }
    }
}

/// Resolved [`BrokerOptions`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerSettings {
    /// Where.
    pub url: BrokerUrl,
    /// Options for librdkafka.
    pub librdkafka: Librdkafka,
    /// Wait for others to share an fsync.
    pub group_commit: Duration,
    /// Block cache.
    pub cache_bytes: u64,
    /// Between two looks for expired records.
    pub retention_check: Duration,
    /// Free disk below which records are refused, unless left to the disk's size.
    pub min_free_bytes: Option<u64>,
}

/// Options for librdkafka by name. They may hold secrets: only names are shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Librdkafka(pub BTreeMap<String, String>);

impl fmt::Debug for Librdkafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Resolved [`ProducerOptions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerSettings {
    /// Bytes waiting.
    pub queue_bytes: usize,
    /// Records waiting.
    pub queue_records: usize,
    /// Wait for others to share a request to a cluster.
    pub linger: Duration,
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
    pub key: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// Refuses a value outside `min..=max`.
fn within<T: PartialOrd + std::fmt::Display>(key: &'static str, value: T, min: T, max: T) -> Result<T, ConfigError> {
    if value < min || value > max {
        return Err(ConfigError { key: key.to_owned(), problem: format!("{value} is outside {min} to {max}") });
    }
    Ok(value)
}

impl BrokerOptions {
    /// Resolves; relative directories stay relative to the working directory.
    pub fn settings(&self) -> Result<BrokerSettings, ConfigError> {
        let url = parse_url(self.url.as_deref().unwrap_or("local://./forebay-data/log"))?;
        self.fits(&url)?;
        let passed_on = self.librdkafka.iter().flatten().map(|(name, value)| (name.clone(), value.text())).collect();
        crate::kafka::check_passed_on(&passed_on)
            .map_err(|(name, problem)| ConfigError { key: format!("broker.librdkafka.{name}"), problem })?;
        let group_commit = within("broker.group_commit_ms", self.group_commit_ms.unwrap_or(2), 0, 1_000)?;
        let check = within("broker.retention_check_ms", self.retention_check_ms.unwrap_or(30_000), 10, 86_400_000)?;
        Ok(BrokerSettings {
            url,
            librdkafka: Librdkafka(passed_on),
            group_commit: Duration::from_millis(group_commit),
            cache_bytes: within("broker.cache_bytes", self.cache_bytes.unwrap_or(64 << 20), 1 << 20, 1 << 40)?,
            retention_check: Duration::from_millis(check),
            min_free_bytes: self.min_free_bytes,
        })
    }
}

impl BrokerOptions {
    /// Options of one kind of log are refused for the other: they would do nothing.
    fn fits(&self, url: &BrokerUrl) -> Result<(), ConfigError> {
        let (others, kind) = match url {
            BrokerUrl::Local(_) => (vec![("librdkafka", self.librdkafka.is_some())], "kafka://"),
            BrokerUrl::Kafka(_) => (
                vec![
                    ("group_commit_ms", self.group_commit_ms.is_some()),
                    ("cache_bytes", self.cache_bytes.is_some()),
                    ("retention_check_ms", self.retention_check_ms.is_some()),
                    ("min_free_bytes", self.min_free_bytes.is_some()),
                ],
                "local://",
            ),
        };
        match others.into_iter().find(|(_, set)| *set) {
            Some((name, _)) => Err(ConfigError {
                key: format!("broker.{name}"),
                problem: format!("is for {kind} only: remove it, or change broker.url"),
            }),
            None => Ok(()),
        }
    }
}

impl ProducerOptions {
    /// Resolves, for the log at `url`.
    pub fn settings(&self, url: &BrokerUrl) -> Result<ProducerSettings, ConfigError> {
        if let (BrokerUrl::Local(_), Some(_)) = (url, self.linger_ms) {
            let problem = "is for kafka:// only: on local:// it is broker.group_commit_ms".to_owned();
            return Err(ConfigError { key: "producer.linger_ms".to_owned(), problem });
        }
        let record_bytes = within("producer.record_bytes", self.record_bytes.unwrap_or(1_000_000), 1, 64 << 20)?;
        // A dead letter that never has room would be tried for ever.
        let least = dead_letter::topic::max_bytes(record_bytes);
        let queue_bytes = self.queue_bytes.unwrap_or(least.max(64 << 20));
        Ok(ProducerSettings {
            linger: Duration::from_millis(within("producer.linger_ms", self.linger_ms.unwrap_or(5), 0, 1_000)?),
            queue_bytes: within("producer.queue_bytes", queue_bytes, least, 1 << 34)?,
            queue_records: within("producer.queue_records", self.queue_records.unwrap_or(100_000), 1, 10_000_000)?,
            record_bytes,
        })
    }
}

impl DlqOptions {
    /// Resolves.
    pub fn settings(&self) -> Result<DlqSettings, ConfigError> {
        let topic = self.topic.clone().unwrap_or_else(|| "events.dlq".to_owned());
        let bare = topic.replace("{topic}", "t").replace("{connector}", "c");
        crate::topic::check_name(&bare)
            .map_err(|error| ConfigError { key: "dlq.topic".to_owned(), problem: error.to_string() })?;
        if topic.replace("{topic}", "").replace("{connector}", "").is_empty() {
            let problem = format!(
                "{topic:?} can be the name of any topic, and nobody may publish to a topic of dead letters: add text of its \
                 own, e.g. \"{topic}.dlq\""
            );
            return Err(ConfigError { key: "dlq.topic".to_owned(), problem });
        }
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
    let refuse = |problem: String| Err(ConfigError { key: "broker.url".to_owned(), problem });
    match url.split_once("://") {
        Some(("local", "")) => refuse("local:// needs a directory, e.g. local://./forebay-data/log".to_owned()),
        Some(("local", dir)) => Ok(BrokerUrl::Local(PathBuf::from(dir))),
        Some(("kafka", servers)) => {
            let wrong = servers.split(',').find(|server| !is_server(server));
            match wrong {
                None => Ok(BrokerUrl::Kafka(servers.to_owned())),
                Some(server) => refuse(format!(
                    "{server:?} is no broker: write HOST:PORT, several separated by commas, e.g. kafka://h1:9092,h2:9092"
                )),
            }
        }
        _ => refuse(format!(
            "{url:?} is no log: use local://DIR, e.g. local://./forebay-data/log, or kafka://HOST:PORT,…"
        )),
    }
}

/// `HOST:PORT`, also `[IPv6]:PORT`.
fn is_server(server: &str) -> bool {
    let host = server.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
    host.is_some_and(|(host, _)| {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]%".contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let broker = BrokerOptions::default().settings().unwrap();
        assert_eq!(broker.url, BrokerUrl::Local(PathBuf::from("./forebay-data/log")));
        assert_eq!(broker.group_commit, Duration::from_millis(2));
        let producer = ProducerOptions::default().settings(&broker.url).unwrap();
        assert_eq!(
            (producer.queue_bytes, producer.queue_records, producer.record_bytes),
            (64 << 20, 100_000, 1_000_000)
        );
        let dlq = DlqOptions::default().settings().unwrap();
        assert_eq!(dlq.topic_for("t", "c"), "events.dlq");
    }

    #[test]
    fn refusals_name_the_key_and_the_way_out() {
        let table = [
            ("kafka://h", "HOST:PORT"),
            ("kafka://", "HOST:PORT"),
            ("kafka://h:9092,:1", "HOST:PORT"),
            ("kafka://h:90920", "HOST:PORT"),
            ("kafka://u@h:9092", "HOST:PORT"),
            ("local://", "directory"),
            ("x", "local://DIR"),
        ];
        for (url, words) in table {
            let error =
                BrokerOptions { url: Some(url.into()), ..Default::default() }.settings().unwrap_err().to_string();
            assert!(error.starts_with("broker.url: ") && error.contains(words), "{error}");
        }
        let options = BrokerOptions { group_commit_ms: Some(1_001), ..Default::default() };
        assert_eq!(options.settings().unwrap_err().to_string(), "broker.group_commit_ms: 1001 is outside 0 to 1000");
        let options = DlqOptions { topic: Some("bad topic".into()) };
        assert_eq!(options.settings().unwrap_err().key, "dlq.topic");
        for bare in ["{topic}", "{connector}", "{connector}{topic}"] {
            let error = DlqOptions { topic: Some(bare.into()) }.settings().unwrap_err().to_string();
            assert!(error.starts_with("dlq.topic: ") && error.contains(&format!("{bare}.dlq")), "{error}");
        }
        let options = DlqOptions { topic: Some("{topic}-dlq".into()) };
        assert_eq!(options.settings().unwrap().topic_for("a", "c"), "a-dlq");
    }

    #[test]
    fn the_queue_has_room_for_a_dead_letter() {
        let of = |queue_bytes, record_bytes| {
            let options = ProducerOptions { queue_bytes, record_bytes: Some(record_bytes), ..Default::default() };
            let settings = options.settings(&BrokerUrl::Local("d".into()));
            settings.map(|settings| settings.queue_bytes).map_err(|error| error.to_string())
        };
        assert_eq!(of(None, 64 << 20), Ok(65 << 20));
        assert_eq!(of(Some(2 << 20), 1_000), Ok(2 << 20));
        let refused = "producer.queue_bytes: 4194304 is outside 5242880 to 17179869184";
        assert_eq!(of(Some(4 << 20), 4 << 20), Err(refused.to_owned()));
    }

    #[test]
    fn clusters_and_what_is_passed_on() {
        let of = |text: &str| serde_json::from_str::<BrokerOptions>(text).unwrap().settings();
        let settings =
            of(r#"{"url":"kafka://h1:9092,[::1]:9093","librdkafka":{"sasl.password":"hush","fetch.min.bytes":2,"check.crcs":true}}"#)
                .unwrap();
        assert_eq!(settings.url, BrokerUrl::Kafka("h1:9092,[::1]:9093".into()));
        assert_eq!(settings.librdkafka.0["fetch.min.bytes"], "2");
        assert!(!format!("{settings:?}").contains("hush"), "secrets are not shown");
        let refused = |text: &str| of(text).unwrap_err().to_string();
        assert!(refused(r#"{"librdkafka":{}}"#).starts_with("broker.librdkafka: is for kafka:// only"));
        assert!(
            refused(r#"{"url":"kafka://h:1","cache_bytes":2000000}"#)
                .starts_with("broker.cache_bytes: is for local://")
        );
        let acks = refused(r#"{"url":"kafka://h:1","librdkafka":{"acks":"0"}}"#);
        assert!(acks.starts_with("broker.librdkafka.acks: can't be set"), "{acks}");
        let linger = ProducerOptions { linger_ms: Some(1), ..Default::default() };
        assert_eq!(linger.settings(&settings.url).unwrap().linger, Duration::from_millis(1));
        assert!(linger.settings(&BrokerUrl::Local("d".into())).is_err());
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(serde_json::from_str::<BrokerOptions>(r#"{"urls":"x"}"#).is_err());
        assert!(serde_json::from_str::<ProducerOptions>(r#"{"lingers":5}"#).is_err());
    }
}
