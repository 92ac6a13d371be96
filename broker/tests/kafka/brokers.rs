//! Which brokers are up, as the producer sees it: connected, killed, back, and out of the cluster.

use std::{collections::BTreeMap, time::Duration};

use forebay_broker::{Log, kafka::KafkaLog};
use forebay_components::{Kafka, require};

use super::{open, record, topic};

/// Longest that a change may take: the cluster notices within 3 s, the client within 5 more, statistics come every 5 s,
/// topics are looked at every 10 s; the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// In this time topics are looked at once, at least.
const TOPICS_AFTER: Duration = Duration::from_secs(11);

/// Produces to every partition until the brokers are as expected.
async fn until(log: &KafkaLog, what: &str, met: impl Fn(&BTreeMap<i32, bool>) -> bool) {
    let wait = async {
        while !met(&log.brokers_up()) {
            let pending = log.produce((0..30).map(|n| record("t", n)).collect());
            tokio::time::sleep(Duration::from_millis(200)).await;
            drop(pending);
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, wait).await;
    assert!(in_time.is_ok(), "{what}: not within {PATIENCE:?}: {:?}", log.brokers_up());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_shown_up_and_down_until_it_leaves() {
    let mut kafka = require!(Kafka::three());
    let log = open(kafka.brokers(), &BTreeMap::new()).await;
    assert_eq!(log.brokers_up(), [].into(), "nothing is known yet");
    topic(&*log, "t", 6).await;
    let all = |up: &BTreeMap<i32, bool>| *up == [(1, true), (2, true), (3, true)].into();
    until(&log, "all are up", all).await;

    kafka.kill(2).unwrap();
    let one_down = |up: &BTreeMap<i32, bool>| *up == [(1, true), (2, false), (3, true)].into();
    until(&log, "the one that was killed is down", one_down).await;
    let two = kafka.brokers().split(',').nth(1).unwrap().to_owned();
    let unlisted = async {
        while log.brokers().await.unwrap().contains(&two) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, unlisted).await.expect("the cluster does not name it any more");
    tokio::time::sleep(TOPICS_AFTER).await;
    until(&log, "it holds copies of the topic, so it is shown all the same", one_down).await;

    kafka.start(2).unwrap();
    until(&log, "it is not shown as down any more", |up| up.get(&2) != Some(&false)).await;

    kafka.kill(2).unwrap();
    until(&log, "it is down again", one_down).await;
    log.delete_topic("t").await.unwrap();
    let gone = async {
        while log.brokers_up().contains_key(&2) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("nothing is left on it");
    log.close().await.unwrap();
    assert_eq!(log.brokers_up(), [].into());
}
