//! How clients of the cluster are set up, what they log, and what their errors mean.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};
use tracing::{debug, error, info, warn};

use crate::{LogError, config::ProducerSettings, sync::lock};

/// How long a question to the cluster may take.
pub(super) const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Settings of librdkafka that carry promises of ours, and why each is as it is.
const OURS: &[(&str, &str)] = &[
    ("bootstrap.servers", "it stands in broker.url"),
    ("metadata.broker.list", "it stands in broker.url"),
    ("group.id", "each connector has its own group"),
    ("acks", "a receipt means that all in-sync replicas have the record"),
    ("request.required.acks", "a receipt means that all in-sync replicas have the record"),
    ("enable.idempotence", "records are stored once, in order"),
    ("transactional.id", "nothing is produced in transactions"),
    ("queue.buffering.max.messages", "it is producer.queue_records"),
    ("queue.buffering.max.kbytes", "it is producer.queue_bytes"),
    ("linger.ms", "it is producer.linger_ms"),
    ("queue.buffering.max.ms", "it is producer.linger_ms"),
    ("message.max.bytes", "it follows producer.record_bytes"),
    ("partitioner", "keys choose partitions as in Java's client"),
    ("enable.auto.commit", "offsets are committed when rows are stored"),
    ("enable.auto.offset.store", "offsets are committed when rows are stored"),
    ("auto.offset.reset", "a connector's start says where to begin"),
    ("isolation.level", "only committed records are read"),
    ("enable.partition.eof", "batches end by it"),
    ("allow.auto.create.topics", "topics are created on purpose"),
    ("log.queue", "log lines go where the others go"),
    ("delivery.report.only.error", "a receipt is what a publisher's 2xx stands on"),
    ("group.instance.id", "members of a group would share one name, and push each other out"),
    ("statistics.interval.ms", "the metric forebay_broker_up is made of statistics at an interval of its own"),
];
/// How often the producer's client tells which brokers it reaches.
const STATISTICS_EVERY_MS: &str = "5000";
/// The two names of how long librdkafka tries to send a record, where 0 means for ever.
const SEND_TIMEOUTS: &[&str] = &["message.timeout.ms", "delivery.timeout.ms"];

/// Refuses what may not be set, and what librdkafka does not know.
pub(crate) fn check_passed_on(options: &BTreeMap<String, String>) -> Result<(), (String, String)> {
    for (name, value) in options {
        if let Some((_, why)) = OURS.iter().find(|(ours, _)| ours == name) {
            return Err((name.clone(), format!("can't be set: {why}")));
        }
        if SEND_TIMEOUTS.contains(&name.as_str()) && value.trim().parse() == Ok(0) {
            return Err((name.clone(), "0 means for ever: publishers would never hear of their events".to_owned()));
        }
        let mut config = ClientConfig::new();
        config.set(name, value);
        if let Err(error) = config.create_native_config() {
            let why = match error {
                KafkaError::ClientConfig(_, why, ..) => why,
                other => other.to_string(),
            };
            return Err((name.clone(), format!("librdkafka refuses it: {}", why.trim_end_matches(['\n', '.', ' ']))));
        }
    }
    Ok(())
}

/// The cluster's address, and what the configuration passes on.
#[derive(Clone)]
pub(super) struct Cluster {
    pub servers: String,
    pub passed_on: BTreeMap<String, String>,
    pub producer: ProducerSettings,
}

impl Cluster {
    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.servers)
            .set("client.id", "forebay")
            .set("allow.auto.create.topics", "false")
            .set("socket.keepalive.enable", "true")
            // A broker that comes back is found again within a second.
            .set("reconnect.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", "1000")
            // New and changed topics are seen within this, and a leader that moved at once.
            .set("topic.metadata.refresh.interval.ms", "5000")
            .set_log_level(RDKafkaLogLevel::Info);
        config
    }

    fn finish(&self, mut config: ClientConfig) -> ClientConfig {
        for (name, value) in &self.passed_on {
            config.set(name, value);
        }
        config
    }

    /// For questions and for topics.
    pub fn admin(&self) -> ClientConfig {
        self.finish(self.base())
    }

    /// D3: all replicas, each record once and in order, snappy.
    pub fn producer(&self, max_record_bytes: usize) -> ClientConfig {
        let mut config = self.base();
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("max.in.flight.requests.per.connection", "5")
            .set("compression.type", "snappy")
            .set("linger.ms", self.producer.linger.as_millis().to_string())
            // Over both limits of ours, which are checked first and in one place. It lets go of records only after it told
            // of all that a broker acknowledged together: until then as many of them are there again.
            .set("queue.buffering.max.messages", (2 * self.producer.queue_records + 1_000).to_string())
            .set("queue.buffering.max.kbytes", "2147483647")
            .set("message.max.bytes", (max_record_bytes + RECORD_OVERHEAD_BYTES).to_string())
            // What nobody acknowledged in this time is given up: certainly not stored, or unknown.
            .set("message.timeout.ms", "30000")
            .set("statistics.interval.ms", STATISTICS_EVERY_MS);
        self.finish(config)
    }

    /// A reader: of a group, or on its own under a name that never joins.
    pub fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.base();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            // At its default of a second, a full queue stalls fetching.
            .set("fetch.queue.backoff.ms", "10")
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.wait.max.ms", "100");
        if self.passed_on.get("group.protocol").map(String::as_str) != Some("consumer") {
            config.set("partition.assignment.strategy", "cooperative-sticky");
        }
        self.finish(config)
    }
}

/// Bytes that a record takes on its way over those of key, value and headers, generously.
const RECORD_OVERHEAD_BYTES: usize = 64 << 10;

/// When all brokers went out of reach, for as long as they are.
#[derive(Debug, Default)]
pub(super) struct Reach(std::sync::Mutex<Option<(Instant, String)>>);

impl Reach {
    pub fn lost(&self, why: &str) {
        lock(&self.0).get_or_insert_with(|| {
            warn!(why, "No broker of the Kafka cluster can be reached.");
            (Instant::now(), why.to_owned())
        });
    }

    pub fn found(&self) {
        if let Some((since, _)) = lock(&self.0).take() {
            info!(seconds = since.elapsed().as_secs_f32(), "The Kafka cluster can be reached again.");
        }
    }

    /// Since when, and why.
    pub fn away(&self) -> Option<(Duration, String)> {
        lock(&self.0).as_ref().map(|(since, why)| (since.elapsed(), why.clone()))
    }
}

/// Hears what a client logs and what troubles it as a whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Context {
    pub reach: Arc<Reach>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        // Options of producers are told to consumers too, and the other way round: that is as meant.
        let as_meant = facility == "CONFWARN"
            || line.contains("is a consumer property")
            || line.contains("is a producer property");
        match level {
            _ if as_meant => debug!(target: "librdkafka", facility, line),
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                error!(target: "librdkafka", facility, line);
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => warn!(target: "librdkafka", facility, line),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => debug!(target: "librdkafka", facility, line),
            RDKafkaLogLevel::Debug => tracing::trace!(target: "librdkafka", facility, line),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.reach.lost(reason),
            _ => debug!(target: "librdkafka", %error, reason),
        }
    }
}

impl ConsumerContext for Context {}

/// An error of a call that concerns no topic in particular.
pub(super) fn unavailable(error: &KafkaError) -> LogError {
    match error.rdkafka_error_code() {
        Some(code) => refused(&(code, String::new())),
        None => LogError::Unavailable(error.to_string()),
    }
}

/// What an answer with an error means to the caller.
pub(super) fn refused((code, why): &(RDKafkaErrorCode, String)) -> LogError {
    use RDKafkaErrorCode as Code;
    let why = if why.is_empty() { code.to_string() } else { why.clone() };
    match code {
        Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL => LogError::Denied(format!(
            "the Kafka cluster refuses our credentials ({why}): check sasl.* and ssl.* under broker.librdkafka"
        )),
        Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            LogError::Denied(not_allowed(&why))
        }
        Code::InvalidConfig
        | Code::InvalidTopic
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::PolicyViolation => LogError::Invalid(why),
        _ => LogError::Unavailable(why),
    }
}

/// What our user has no right to.
pub(super) fn not_allowed(why: &str) -> String {
    format!("the Kafka cluster does not allow it ({why}): give our user that right")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_passed_on_are_checked() {
        let check = |name: &str, value: &str| check_passed_on(&BTreeMap::from([(name.to_owned(), value.to_owned())]));
        assert_eq!(check("security.protocol", "SASL_SSL"), Ok(()));
        assert_eq!(check("compression.type", "zstd"), Ok(()));
        let why = |name, value| check(name, value).unwrap_err().1;
        assert!(why("acks", "1").contains("in-sync"));
        assert!(why("group.instance.id", "me").contains("push each other out"));
        assert!(why("statistics.interval.ms", "1000").contains("forebay_broker_up"));
        assert!(why("message.timeout.ms", "0").contains("for ever"));
        assert_eq!(check("message.timeout.ms", "5000"), Ok(()));
        assert!(why("no.such.option", "1").contains("No such configuration property"));
        assert!(why("socket.keepalive.enable", "perhaps").contains("librdkafka refuses it"));
    }
}
