//! Compacted topics, and those with limits on timestamps: records that they do not take are refused before they reach the
//! cluster, and where one gets there all the same, only it is blamed, not the records of others that shared its batch.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, SystemTime},
};

use forebay_broker::{
    Log, NewRecord, ProduceError, Receipts, Side, TimestampLimits, TopicPartition, TopicSpec,
    config::ProducerSettings,
    conformance::LIMITS,
    kafka::{KafkaLog, KafkaSettings},
};
use forebay_components::{Kafka, Secured, python, require};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
};

use super::{open, options, record, topic};

/// Longest anything awaited may take; what is known of a topic is made new every 10 s.
const PATIENCE: Duration = Duration::from_secs(60);

/// Calls that are made one after the other share a batch.
async fn gathering(servers: &str, librdkafka: BTreeMap<String, String>) -> Arc<KafkaLog> {
    let producer = ProducerSettings { linger: Duration::from_millis(500), ..LIMITS };
    KafkaLog::open(KafkaSettings { servers: servers.to_owned(), librdkafka, producer }).await.unwrap()
}

async fn alter(servers: &str, what: ResourceSpecifier<'_>, setting: (&str, &str)) {
    let mut config = ClientConfig::new();
    let admin: AdminClient<DefaultClientContext> = config.set("bootstrap.servers", servers).create().unwrap();
    let change = AlterConfig::new(what).set(setting.0, setting.1);
    admin.alter_configs(&[change], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
}

fn keyless(n: i32) -> NewRecord {
    NewRecord { key: None, ..record("t", n) }
}

/// Calls of one batch, and their ends.
async fn together<const N: usize>(log: &KafkaLog, calls: [Vec<NewRecord>; N]) -> [Receipts; N] {
    let calls = calls.map(|records| log.produce(records).unwrap());
    let mut ends = std::array::from_fn(|_| Receipts::new());
    for (end, call) in ends.iter_mut().zip(calls) {
        *end = tokio::time::timeout(PATIENCE, call).await.expect("every call has its end");
    }
    ends
}

/// What callers are told, in a word.
fn words(receipts: &Receipts) -> Vec<&'static str> {
    let word = |receipt: &Result<_, _>| match receipt {
        Ok(_) => "stored",
        Err(ProduceError::KeyRequired(topic)) if topic == "t" => "key",
        Err(ProduceError::Timestamp(outside)) if outside.side == Side::Before => "old",
        Err(ProduceError::Timestamp(_)) => "future",
        Err(ProduceError::Unavailable(_)) => "again",
        Err(other) => panic!("{other:?}"),
    };
    receipts.iter().map(word).collect()
}

async fn until(met: impl Fn() -> bool) {
    let wait = async {
        while !met() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("what is known of a topic follows it");
}

async fn until_compacted(log: &KafkaLog, compacted: bool) {
    until(|| log.is_compacted("t") == compacted).await;
}

const HOUR_MS: i64 = 3_600_000;

/// A record of so many ms from now.
fn at(ahead_ms: i64) -> NewRecord {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    NewRecord { timestamp_ms: Some(i64::try_from(now).unwrap() + ahead_ms), ..record("t", 0) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timestamps_that_a_topic_does_not_take() {
    let kafka = require!(Kafka::single());
    let servers = kafka.brokers();
    let log = gathering(servers, BTreeMap::new()).await;
    topic(&*log, "t", 1).await;
    assert_eq!(log.topic("t").await.unwrap().timestamps, Some(TimestampLimits::DEFAULT), "the cluster's default");
    let years = 50 * 366 * 24 * HOUR_MS;
    let calls = [vec![at(0)], vec![at(2 * HOUR_MS), at(-years), record("t", 1)], vec![at(HOUR_MS / 2)]];
    let [before, own, after] = together(&log, calls).await;
    assert_eq!((words(&before), words(&after)), (vec!["stored"], vec!["stored"]));
    assert_eq!(words(&own), ["future", "stored", "stored"]);

    // What the clocks may see differently is left to the cluster. One at fault, then several: librdkafka tells the two
    // apart in different ways.
    for several in [false, true] {
        let second = if several { at(HOUR_MS + 30_000) } else { at(-years) };
        let calls = [vec![at(0)], vec![at(HOUR_MS + 30_000), second], vec![at(HOUR_MS / 2)]];
        let [before, own, after] = together(&log, calls).await;
        let told = if several { "future" } else { "again" };
        assert_eq!((words(&before), words(&after)), (vec!["again"], vec!["again"]), "innocent, in other calls");
        assert_eq!(words(&own), ["future", told]);
    }

    // Limits that were changed a moment ago are learnt from the refusal.
    let yesterday = 24 * HOUR_MS;
    alter(servers, ResourceSpecifier::Topic("t"), ("message.timestamp.before.max.ms", "7200000")).await;
    let [own, other] = together(&log, [vec![at(-yesterday), at(0)], vec![at(-HOUR_MS)]]).await;
    assert_eq!((words(&own), words(&other)), (vec!["old", "again"], vec!["again"]));
    assert_eq!(log.timestamp_limits("t"), TimestampLimits { before_ms: 2 * HOUR_MS, after_ms: HOUR_MS });
    let [own, other] = together(&log, [vec![at(-yesterday), at(0)], vec![at(-HOUR_MS)]]).await;
    assert_eq!((words(&own), words(&other)), (vec!["old", "stored"], vec!["stored"]));
    assert_eq!(log.watermarks(&TopicPartition::new("t", 0)).await.unwrap().high, 6, "and no others");

    // A cluster that stamps records itself takes them all.
    alter(servers, ResourceSpecifier::Topic("t"), ("message.timestamp.type", "LogAppendTime")).await;
    until(|| log.timestamp_limits("t") == TimestampLimits::NONE).await;
    let [own] = together(&log, [vec![at(-years), at(years)]]).await;
    assert_eq!(words(&own), ["stored", "stored"]);
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_altered_while_records_flow() {
    let kafka = require!(Kafka::single());
    let servers = kafka.brokers();
    let log = gathering(servers, BTreeMap::new()).await;
    topic(&*log, "t", 1).await;
    let part = TopicPartition::new("t", 0);
    let [stored] = together(&log, [vec![record("t", 0), keyless(1)]]).await;
    assert_eq!(words(&stored), ["stored", "stored"]);

    // One at fault, then several: librdkafka tells the two apart in different ways.
    for (round, more) in [(0, false), (1, true)] {
        let policy = if more { "delete,compact" } else { "compact" };
        alter(servers, ResourceSpecifier::Topic("t"), ("cleanup.policy", policy)).await;
        let second = if more { keyless(5) } else { record("t", 5) };
        let calls = [vec![record("t", 2)], vec![record("t", 3), keyless(4), second], vec![record("t", 6)]];
        let [before, own, after] = together(&log, calls).await;
        let told = if more { "key" } else { "again" };
        assert_eq!((words(&before), words(&after)), (vec!["again"], vec!["again"]), "innocent, in other calls");
        assert_eq!(words(&own), ["again", "key", told]);
        assert_eq!(log.watermarks(&part).await.unwrap().high, 2 + round * 3, "none of them is stored");

        // The refusal is lesson enough: nobody is harmed again.
        assert!(log.is_compacted("t"));
        let [own, other] = together(&log, [vec![keyless(7), record("t", 8)], vec![record("t", 9)]]).await;
        assert_eq!((words(&own), words(&other)), (vec!["key", "stored"], vec!["stored"]));

        alter(servers, ResourceSpecifier::Topic("t"), ("cleanup.policy", "delete")).await;
        until_compacted(&log, false).await;
        let [stored] = together(&log, [vec![keyless(10)]]).await;
        assert_eq!(words(&stored), ["stored"]);
    }
    log.close().await.unwrap();
}

/// A topic without a policy of its own has that of its cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_compacts_by_default() {
    let kafka = require!(Kafka::single());
    let log = open(kafka.brokers(), &BTreeMap::new()).await;
    topic(&*log, "t", 1).await;
    assert_eq!(log.topic("t").await.unwrap().compacted, Some(false));
    alter(kafka.brokers(), ResourceSpecifier::Broker(1), ("log.cleanup.policy", "compact")).await;
    until_compacted(&log, true).await;
    let info = log.topic("t").await.unwrap();
    assert_eq!((info.compacted, info.config.get("cleanup.policy")), (Some(true), None));
    let [own] = together(&log, [vec![keyless(0), record("t", 1)]]).await;
    assert_eq!(words(&own), ["key", "stored"]);
    log.close().await.unwrap();
}

/// Rights to write and to see topics, and none to see their settings.
const RIGHTS: &str = r#"
import sys
from confluent_kafka.admin import (AclBinding, AclOperation, AclPermissionType, AdminClient, ResourcePatternType,
                                   ResourceType)
servers, user = sys.argv[1:]
rights = [AclBinding(ResourceType.TOPIC, "t", ResourcePatternType.LITERAL, f"User:{user}", "*", operation,
                     AclPermissionType.ALLOW) for operation in (AclOperation.DESCRIBE, AclOperation.WRITE)]
admin = AdminClient({"bootstrap.servers": servers})
for done in admin.create_acls(rights).values():
    done.result(30)
"#;

fn grant(python: &Path, servers: &str) {
    let args = ["60", &python.display().to_string(), "-c", RIGHTS, servers, Secured::DENIED.name].map(str::to_owned);
    let ran = Command::new("timeout").args(args).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

/// Settings that may not be seen break nothing: what they forbid is learnt from a refusal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_whose_settings_may_not_be_seen() {
    let secured = require!(Kafka::secured());
    let python = require!(python());
    let servers = secured.kafka.brokers();
    let config = options(&[("cleanup.policy", "compact")]);
    let owner = open(servers, &BTreeMap::new()).await;
    owner.create_topic(&TopicSpec { name: "t".to_owned(), partitions: 1, config }).await.unwrap();
    grant(&python, servers);
    let user = Secured::DENIED;
    let way = options(&[
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", &secured.ca.display().to_string()),
        ("sasl.mechanism", user.mechanism),
        ("sasl.username", user.name),
        ("sasl.password", user.password),
    ]);
    let log = gathering(&secured.sasl_ssl, way).await;
    let info = log.topic("t").await.unwrap();
    assert_eq!((info.compacted, info.config.len()), (None, 0));
    let [stored] = together(&log, [vec![record("t", 0)]]).await;
    assert_eq!(words(&stored), ["stored"]);
    let [own, other] = together(&log, [vec![keyless(1)], vec![record("t", 2)]]).await;
    assert_eq!((words(&own), words(&other)), (vec!["key"], vec!["again"]));
    assert!(log.is_compacted("t"), "a refusal is believed for a while");
    let [own, other] = together(&log, [vec![keyless(1), keyless(2)], vec![record("t", 2)]]).await;
    assert_eq!((words(&own), words(&other)), (vec!["key", "key"], vec!["stored"]));
    assert_eq!((info.timestamps, log.timestamp_limits("t")), (None, TimestampLimits::NONE));
    let [own, other] = together(&log, [vec![at(2 * HOUR_MS)], vec![at(-HOUR_MS)]]).await;
    assert_eq!((words(&own), words(&other)), (vec!["future"], vec!["again"]));
    assert_eq!(log.timestamp_limits("t"), TimestampLimits::DEFAULT, "a refusal is believed for a while");
    let [own, other] = together(&log, [vec![at(2 * HOUR_MS)], vec![at(-HOUR_MS)]]).await;
    assert_eq!((words(&own), words(&other)), (vec!["future"], vec!["stored"]));
    log.close().await.unwrap();
    owner.close().await.unwrap();
}
