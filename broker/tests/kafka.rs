//! The suite of every log on a real Kafka cluster of one node and of three; then what only a cluster has.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test: a failed expectation is the result")]

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use forebay_broker::{
    Log, Offset, TopicPartition,
    conformance::{self, LIMITS, Subject},
    kafka::{KafkaLog, KafkaSettings},
};
use forebay_components::{Kafka, require};

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
