//! The suite of every log on a real Kafka cluster of one node and of three; then what only a cluster has.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test: a failed expectation is the result")]

mod brokers;
mod compacted;
mod fatal;
mod offsets;
mod sizes;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use forebay_broker::{
    GroupSpec, Headers, Log, LogError, NewRecord, Offset, Polled, ProduceError, TopicPartition, TopicSpec,
    conformance::{self, LIMITS, Subject},
    kafka::{KafkaLog, KafkaSettings},
};
use forebay_components::{Kafka, Secured, User, require};

/// A cluster that is emptied for each case.
struct Cluster {
    servers: String,
    librdkafka: BTreeMap<String, String>,
    log: Option<Arc<KafkaLog>>,
}

async fn open(servers: &str, librdkafka: &BTreeMap<String, String>) -> Arc<KafkaLog> {
    let settings = KafkaSettings { servers: servers.to_owned(), librdkafka: librdkafka.clone(), producer: LIMITS };
    KafkaLog::open(settings).await.unwrap()
}

impl Cluster {
    async fn emptied(servers: &str, librdkafka: BTreeMap<String, String>) -> Self {
        let log = open(servers, &librdkafka).await;
        for topic in log.topics().await.unwrap() {
            if !topic.name.starts_with("__consumer") {
                log.delete_topic(&topic.name).await.unwrap();
            }
        }
        Self { servers: servers.to_owned(), librdkafka, log: Some(log) }
    }
}

#[async_trait]
impl Subject for Cluster {
    fn log(&self) -> Arc<dyn Log> {
        self.log.clone().unwrap()
    }

    async fn reopen(&mut self) {
        self.log = None;
        self.log = Some(open(&self.servers, &self.librdkafka).await);
    }

    async fn compact(&self, _part: &TopicPartition, _offsets: Vec<Offset>) -> bool {
        false
    }

    fn small_segments(&self) -> Vec<(&'static str, &'static str)> {
        vec![("segment.bytes", "1048576")]
    }

    fn reads_ahead(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node() {
    let kafka = require!(Kafka::single());
    let servers = kafka.brokers();
    conformance::run(|| Cluster::emptied(servers, BTreeMap::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes() {
    let kafka = require!(Kafka::three());
    let servers = kafka.brokers();
    conformance::run(|| Cluster::emptied(servers, BTreeMap::new())).await;
}

/// The same suite where the cluster assigns partitions by KIP-848.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_with_the_newer_group_protocol() {
    let kafka = require!(Kafka::single());
    let servers = kafka.brokers();
    let protocol = BTreeMap::from([("group.protocol".to_owned(), "consumer".to_owned())]);
    conformance::run(|| Cluster::emptied(servers, protocol.clone())).await;
}

fn record(topic: &str, n: i32) -> NewRecord {
    NewRecord {
        topic: topic.into(),
        partition: None,
        key: Some(n.to_string().into()),
        value: Some(n.to_string().into()),
        headers: Headers::default(),
        timestamp_ms: None,
    }
}

async fn topic(log: &dyn Log, name: &str, partitions: i32) {
    let spec = TopicSpec { name: name.to_owned(), partitions, config: BTreeMap::new() };
    log.create_topic(&spec).await.unwrap();
}

fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Each way in: TLS alone, SCRAM and PLAIN over TLS. Without rights, with a wrong password or an unknown authority the
/// answer says what to look at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_tls() {
    let secured = require!(Kafka::secured());
    let ca = secured.ca.display().to_string();
    let sasl = |user: User, password: &str| {
        options(&[
            ("security.protocol", "SASL_SSL"),
            ("ssl.ca.location", &ca),
            ("sasl.mechanism", user.mechanism),
            ("sasl.username", user.name),
            ("sasl.password", password),
        ])
    };
    let mut ways = vec![(&secured.ssl, options(&[("security.protocol", "SSL"), ("ssl.ca.location", &ca)]))];
    for user in [Secured::SCRAM_512, Secured::SCRAM_256, Secured::PLAIN] {
        ways.push((&secured.sasl_ssl, sasl(user, user.password)));
    }
    for (n, (servers, way)) in ways.into_iter().enumerate() {
        let log = open(servers, &way).await;
        let name = format!("t{n}");
        topic(&*log, &name, 1).await;
        let receipts = log.produce(vec![record(&name, 1)]).unwrap().await;
        assert_eq!(receipts[0].as_ref().unwrap().offset, 0);
        assert_eq!(log.read(&TopicPartition::new(&*name, 0), 0, 10, 100).await.unwrap().len(), 1);
        log.close().await.unwrap();
    }
    let refused = async |servers: &str, way: BTreeMap<String, String>| {
        let settings = KafkaSettings { servers: servers.to_owned(), librdkafka: way, producer: LIMITS };
        KafkaLog::open(settings).await.err().unwrap().to_string()
    };
    let wrong = refused(&secured.sasl_ssl, sasl(Secured::SCRAM_512, "wrong")).await;
    assert!(wrong.contains("broker.url") || wrong.contains("credentials"), "{wrong}");
    let stranger = refused(&secured.ssl, options(&[("security.protocol", "SSL")])).await;
    assert!(stranger.contains("can't be reached"), "{stranger}");
    let powerless = open(&secured.sasl_ssl, &sasl(Secured::DENIED, Secured::DENIED.password)).await;
    let spec = TopicSpec { name: "mine".to_owned(), partitions: 1, config: BTreeMap::new() };
    // A topic that there is, one that is new, and records: each time it says that rights are missing, not a topic.
    for denied in [powerless.create_topic(&spec).await, powerless.topic("t0").await] {
        assert!(
            matches!(&denied, Err(LogError::Denied(why)) if why.contains("give our user that right")),
            "{denied:?}"
        );
    }
    let offsets = powerless.committed("g", &[TopicPartition::new("t0", 0)]).await;
    assert!(matches!(&offsets, Err(LogError::Denied(why)) if why.contains("right")), "{offsets:?}");
    let receipts = powerless.produce(vec![record("t0", 1)]).unwrap().await;
    assert!(matches!(&receipts[..], [Err(ProduceError::Denied(why))] if why.contains("right")), "{receipts:?}");
}

/// While no broker can be reached records are refused at once; what was on its way has an honest end; then it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_away() {
    let mut kafka = require!(Kafka::single());
    let servers = kafka.brokers().to_owned();
    let log = open(&servers, &options(&[("message.timeout.ms", "15000")])).await;
    topic(&*log, "t", 3).await;
    let stored = log.produce((0..10).map(|n| record("t", n)).collect()).unwrap().await;
    assert!(stored.iter().all(Result::is_ok));
    kafka.kill(1).unwrap();
    let on_its_way = log.produce((10..20).map(|n| record("t", n)).collect());
    let refusal = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            match log.produce(vec![record("t", 20)]) {
                Err(ProduceError::Unavailable(why)) => return why,
                Err(other) => panic!("{other}"),
                Ok(pending) => drop(pending),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let why = refusal.await.expect("records are refused at once");
    assert!(!why.is_empty());
    assert!(matches!(log.health().await, Err(LogError::Unavailable(_))));
    if let Ok(pending) = on_its_way {
        let fates = pending.await;
        let honest =
            |fate: &Result<_, _>| matches!(fate, Ok(_) | Err(ProduceError::Unavailable(_) | ProduceError::Unknown(_)));
        assert!(fates.iter().all(honest), "{fates:?}");
    }
    kafka.start(1).unwrap();
    tokio::time::timeout(Duration::from_secs(90), async {
        while log.health().await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("it goes on");
    let again = log.produce((30..40).map(|n| record("t", n)).collect()).unwrap().await;
    assert!(again.iter().all(Result::is_ok), "{again:?}");
}

/// The older way to rebalance: everyone gives everything back, then takes their share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_that_rebalance_eagerly() {
    let kafka = require!(Kafka::single());
    let eagerly = options(&[("partition.assignment.strategy", "range")]);
    // A partition that librdkafka stopped reading starts again with all others.
    let stopped = |name: &str| ["position_outside_the_bounds", "retention_by_bytes"].contains(&name);
    conformance::run_those(stopped, || Cluster::emptied(kafka.brokers(), eagerly.clone())).await;
    let log = Cluster::emptied(kafka.brokers(), eagerly).await.log();
    topic(&*log, "t", 4).await;
    log.produce((0..200).map(|n| record("t", n)).collect()).unwrap().await;
    let spec = || GroupSpec {
        group: "g".to_owned(),
        topics: vec!["t".to_owned()],
        all_topics: false,
        except: Vec::new(),
        revoke_timeout: Duration::from_secs(20),
    };
    let mut members = Vec::new();
    let (whole, mut has_all) = tokio::sync::watch::channel(false);
    for _ in 0..2 {
        let whole = whole.clone();
        let mut consumer = log.subscribe(spec()).await.unwrap();
        members.push(tokio::spawn(async move {
            let (mut held, mut seen, mut ends, mut revoked) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), 0);
            let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
            while tokio::time::Instant::now() < deadline {
                match consumer.poll(500, Duration::from_millis(200)).await.unwrap() {
                    Polled::Assigned(news) => {
                        for news in news {
                            consumer.seek(&news.part, 0).unwrap();
                            held.insert(news.part);
                        }
                        whole.send_if_modified(|all| std::mem::replace(all, held.len() == 4) != (held.len() == 4));
                    }
                    Polled::Revoke(revoke) => {
                        revoked += revoke.parts.len();
                        held.retain(|part| !revoke.parts.contains(part));
                        seen.clear();
                        ends.clear();
                        revoke.done();
                    }
                    Polled::Lost(parts) => panic!("lost {parts:?}"),
                    Polled::Records { records, .. } => {
                        seen.extend(records.into_iter().map(|r| (r.part.partition, r.offset)));
                    }
                    Polled::Eof { part, .. } => {
                        ends.insert(part);
                        if held.len() == 2 && ends == held {
                            break;
                        }
                    }
                    Polled::Idle => {}
                }
            }
            (consumer, held, seen, revoked)
        }));
        if members.len() == 1 {
            // The second joins when the first has everything.
            let all = tokio::time::timeout(Duration::from_secs(90), has_all.wait_for(|all| *all)).await;
            all.expect("the first is given everything").unwrap();
        }
    }
    let (first, second) = (members.remove(0).await.unwrap(), members.remove(0).await.unwrap());
    assert_eq!((first.1.len(), second.1.len(), first.3), (2, 2, 4), "all was given back, then shared");
    assert!(first.1.is_disjoint(&second.1));
    assert!(first.2.is_disjoint(&second.2));
    assert_eq!(first.2.len() + second.2.len(), 200);
}
