//! A producer that meets a fatal error: each record has an honest end, and another client takes over.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use forebay_broker::{Log, ProduceError, Receipt, TopicPartition, kafka::KafkaLog};
use forebay_components::{Kafka, require};
use tokio::time::timeout;

use super::{open, options, record, topic};

const PARTITIONS: i32 = 3;
/// Records of one call.
const CALL: i32 = 20;
/// Calls that wait at once.
const WRITERS: i32 = 4;
/// Longest anything awaited may take.
const PATIENCE: Duration = Duration::from_secs(60);

type Fate = Result<Receipt, ProduceError>;

async fn until(what: &str, mut met: impl FnMut() -> bool) {
    let wait = async {
        while !met() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect(what);
}

/// Another client takes over long before records would be given up: within a second, on a machine that does other things too later.
async fn rebuilt(log: &KafkaLog, times: u64) {
    let wait = async {
        while log.queue().rebuilds < times {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), wait).await.expect("another client takes over at once");
}

/// Calls one after the other until told to stop, each with its fates.
async fn write(log: Arc<KafkaLog>, writer: i32, stop: Arc<AtomicBool>, stored: Arc<AtomicUsize>) -> Vec<Vec<Fate>> {
    let mut calls = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let first = (calls.len() as i32 * WRITERS + writer) * CALL;
        let pending = log.produce((first..first + CALL).map(|n| record("t", n)).collect()).unwrap();
        let fates = timeout(PATIENCE, pending).await.expect("every call has its end");
        stored.fetch_add(fates.iter().filter(|fate| fate.is_ok()).count(), Ordering::Relaxed);
        calls.push(fates);
    }
    calls
}

/// The values that stand in the topic, with their places.
async fn content(log: &KafkaLog) -> HashMap<i32, Receipt> {
    let mut found = HashMap::new();
    for partition in 0..PARTITIONS {
        let part = TopicPartition::new("t", partition);
        let (mut from, high) = (0, log.watermarks(&part).await.unwrap().high);
        while from < high {
            for record in log.read(&part, from, 5_000, 1 << 20).await.unwrap() {
                from = record.offset + 1;
                let value = std::str::from_utf8(record.value.as_ref().unwrap()).unwrap().parse().unwrap();
                let twice = found.insert(value, Receipt { partition, offset: record.offset });
                assert_eq!(twice, None, "{value} stands there twice");
            }
        }
    }
    found
}

/// What was acknowledged stands where the receipt says, and what was refused does not stand anywhere.
fn honest(found: &HashMap<i32, Receipt>, value: i32, fate: &Fate) {
    match fate {
        Ok(receipt) => assert_eq!(found.get(&value), Some(receipt), "{value} was acknowledged"),
        Err(ProduceError::Unavailable(_)) => assert_eq!(found.get(&value), None, "{value} was refused"),
        Err(ProduceError::Unknown(_)) => {}
        Err(other) => panic!("{value}: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_again_and_again() {
    let kafka = require!(Kafka::single());
    let log = open(kafka.brokers(), &BTreeMap::new()).await;
    topic(&*log, "t", PARTITIONS).await;
    let (stop, stored) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(Arc::clone(&log), writer, Arc::clone(&stop), Arc::clone(&stored))))
        .collect();
    for round in 1..=6 {
        let before = stored.load(Ordering::Relaxed);
        // Every third client breaks before it stored anything.
        let enough = if round % 3 == 0 { 0 } else { 500 };
        until("records are acknowledged", || stored.load(Ordering::Relaxed) >= before + enough).await;
        log.break_producer();
        rebuilt(&log, round).await;
    }
    let before = stored.load(Ordering::Relaxed);
    until("it goes on", || stored.load(Ordering::Relaxed) >= before + 500).await;
    stop.store(true, Ordering::Relaxed);
    let mut written = Vec::new();
    for writer in writers {
        written.push(writer.await.unwrap());
    }
    let usage = log.queue();
    assert_eq!((usage.rebuilds, usage.records, usage.bytes), (6, 0, 0), "room came back");
    let found = content(&log).await;
    let mut refused = 0;
    for (writer, calls) in (0..).zip(&written) {
        for (call, fates) in (0..).zip(calls) {
            let first = (call * WRITERS + writer) * CALL;
            let mut last = BTreeMap::new();
            for (value, fate) in (first..).zip(fates) {
                honest(&found, value, fate);
                refused += usize::from(fate.is_err());
                if let Ok(Receipt { partition, offset }) = fate {
                    assert!(last.insert(*partition, *offset) < Some(*offset), "a call keeps its order");
                }
            }
        }
    }
    assert!(refused > 0, "the errors came under load");
    log.close().await.unwrap();
}

/// A broker that hangs answers for nothing: what was sent is unknown, the rest refused, all long before it would be given
/// up otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_broker_hangs() {
    let mut kafka = require!(Kafka::single());
    let log = open(kafka.brokers(), &options(&[("message.timeout.ms", "600000")])).await;
    topic(&*log, "t", PARTITIONS).await;
    let known = log.produce((0..CALL).map(|n| record("t", n)).collect()).unwrap().await;
    kafka.stop(1).unwrap();
    let calls: Vec<_> = (1..40)
        .map(|call| log.produce((call * CALL..(call + 1) * CALL).map(|n| record("t", n)).collect()).unwrap())
        .collect();
    log.break_producer();
    rebuilt(&log, 1).await;
    // One that breaks while the one before it still waits.
    log.break_producer();
    rebuilt(&log, 2).await;
    let mut fates = known;
    for call in calls {
        fates.extend(timeout(PATIENCE, call).await.expect("the old client tells of every record"));
    }
    assert!(fates[CALL as usize..].iter().all(Result::is_err));
    assert_eq!((log.queue().records, log.queue().bytes), (0, 0));
    kafka.cont(1).unwrap();
    let next = fates.len() as i32;
    let more = log.produce((next..next + CALL).map(|n| record("t", n)).collect()).unwrap();
    let more = timeout(PATIENCE, more).await.expect("it goes on");
    assert!(more.iter().all(Result::is_ok), "{more:?}");
    fates.extend(more);
    let found = content(&log).await;
    for (value, fate) in (0..).zip(&fates) {
        honest(&found, value, fate);
    }
    log.close().await.unwrap();
}
