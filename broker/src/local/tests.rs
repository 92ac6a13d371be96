//! What only the embedded log has: full disks, the registry's keyspace, one process a directory.

use std::path::Path;

use super::*;
use crate::ProduceError;

pub(super) fn settings(dir: &Path) -> LocalSettings {
    LocalSettings {
        dir: dir.join("log"),
        group_commit: Duration::ZERO,
        cache_bytes: 8 << 20,
        retention_check: Duration::from_millis(20),
        min_free_bytes: Some(0),
        producer: ProducerSettings {
            queue_bytes: 8 << 20,
            queue_records: 10_000,
            linger: Duration::ZERO,
            record_bytes: 1_000_000,
        },
    }
}

fn record(value: &str) -> NewRecord {
    NewRecord {
        topic: "t".into(),
        partition: Some(0),
        key: None,
        value: Some(value.to_owned().into()),
        headers: Default::default(),
        timestamp_ms: None,
    }
}

async fn topic(log: &LocalLog, config: &[(&str, &str)]) {
    let config = config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    log.create_topic(&TopicSpec { name: "t".into(), partitions: 1, config }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_full_disk_refuses_records_but_not_commits() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(settings(dir.path())).unwrap();
    topic(&log, &[]).await;
    log.close().await.unwrap();
    drop(log);
    let log = LocalLog::open(LocalSettings { min_free_bytes: Some(u64::MAX), ..settings(dir.path()) }).unwrap();
    let receipts = log.produce(vec![record("a")]).unwrap().await;
    assert!(matches!(&receipts[0], Err(ProduceError::NoRoom(why)) if why.contains("MiB free")), "{receipts:?}");
    assert!(matches!(log.health().await, Err(LogError::NoRoom(_))));
    let part = TopicPartition::new("t", 0);
    assert_eq!(log.watermarks(&part).await.unwrap().high, 0);
    let position = Committed { offset: 0, metadata: "m".into() };
    log.set_committed("g", &[(part, Some(position))]).await.unwrap();
    assert_eq!(log.queue().records, 0);
}

/// The threads of the database end at the first write that fails, and tell nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_in_the_background_ends_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(settings(dir.path())).unwrap();
    topic(&log, &[]).await;
    assert!(log.produce(vec![record("a")]).unwrap().await[0].is_ok());
    log.health().await.unwrap();
    std::fs::rename(dir.path().join("log/keyspaces"), dir.path().join("away")).unwrap();
    let records = log.shared.topic("t").unwrap().records.clone();
    records.rotate_memtable().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let error = loop {
        match log.health().await {
            Ok(()) => assert!(Instant::now() < deadline, "not noticed"),
            Err(error) => break error,
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(matches!(&error, LogError::Fatal(why) if why.contains("mend the disk")), "{error}");
    assert!(matches!(log.produce(vec![record("b")]), Err(ProduceError::Unavailable(_))));
    log.close().await.unwrap();
    drop((records, log));
    std::fs::rename(dir.path().join("away"), dir.path().join("log/keyspaces")).unwrap();
    let log = LocalLog::open(settings(dir.path())).unwrap();
    assert_eq!(log.read(&TopicPartition::new("t", 0), 0, 10, 1_000).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_log_is_closed_although_its_writer_is_stuck() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(settings(dir.path())).unwrap();
    let (let_go, stuck) = std::sync::mpsc::channel::<()>();
    let run = Box::new(move |_: &Arc<Shared>| {
        let _ = stuck.recv();
    });
    assert!(log.shared.queue.push_other(writer::Job::Alone(run)).is_ok());
    log.shared.break_down("the test says so".to_owned());
    tokio::time::timeout(Duration::from_secs(20), log.close()).await.unwrap().unwrap();
    drop(let_go);
}

#[test]
fn a_full_disk_is_told_with_what_to_do() {
    let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
    for error in [fjall::Error::Io(full()), fjall::Error::Storage(fjall::LsmError::Io(full()))] {
        let reason = state::reason(&error);
        assert!(reason.starts_with("writing to disk failed") && reason.ends_with("make room"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_topic_leaves_no_offset_to_its_successor() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(settings(dir.path())).unwrap();
    topic(&log, &[]).await;
    // While the writer is held, the topic's end waits behind that, and the offset, checked already, behind its end.
    let (release, held) = std::sync::mpsc::channel::<()>();
    let hold = admin::alone(&log.shared, move |_| held.recv().map_err(|error| LogError::Fatal(error.to_string())));
    let part = [TopicPartition::new("t", 0)];
    let offsets = [(part[0].clone(), Some(Committed { offset: 0, metadata: String::new() }))];
    let (hold, deleted, set, ()) = tokio::join!(
        biased;
        hold,
        log.delete_topic("t"),
        log.set_committed("g", &offsets),
        async { release.send(()).unwrap() }
    );
    hold.unwrap();
    deleted.unwrap();
    assert!(matches!(&set, Err(LogError::UnknownTopic(name)) if name == "t"), "{set:?}");
    topic(&log, &[]).await;
    assert_eq!(log.committed("g", &part).await.unwrap(), BTreeMap::new());
    log.close().await.unwrap();
    drop(log);
    let log = LocalLog::open(settings(dir.path())).unwrap();
    assert_eq!(log.committed("g", &part).await.unwrap(), BTreeMap::new(), "nor on disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_dead_letter_fits_wherever_its_record_did() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.producer.record_bytes = 4 << 20;
    let log = LocalLog::open(settings).unwrap();
    // As an earlier start, with smaller records, made it.
    topic(&log, &[("max.message.bytes", "2097152")]).await;
    let large = record(&"x".repeat(3 << 20));
    let mut letter = large.clone();
    letter.headers.push("forebay.v", "1");
    letter.headers.push("__connect.errors.topic", "orders");
    let receipts = log.produce(vec![large, letter]).unwrap().await;
    assert!(matches!(receipts[0], Err(ProduceError::TooLarge { max: 2_097_152, .. })), "{:?}", receipts[0]);
    assert!(receipts[1].is_ok(), "{:?}", receipts[1]);
    crate::dead_letter::topic::ensure(&*log, "events.dlq").await.unwrap();
    assert_eq!(log.topic("events.dlq").await.unwrap().config["max.message.bytes"], (5 << 20).to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_registry_keeps_its_pairs() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(settings(dir.path())).unwrap();
    let pair = |k: &str, v: &str| (k.as_bytes().to_vec(), v.as_bytes().to_vec());
    let set = |k: &str, v: &str| (k.as_bytes().to_vec(), Some(v.as_bytes().to_vec()));
    let store = log.registry_store();
    assert!(store.load().unwrap().is_empty());
    store.write(&[set("b", "1"), set("a", "2"), set("d", "0")]).unwrap();
    store.write(&[set("b", "3"), (b"d".to_vec(), None)]).unwrap();
    log.close().await.unwrap();
    assert!(store.write(&[set("c", "4")]).is_err());
    drop((store, log));
    let log = LocalLog::open(settings(dir.path())).unwrap();
    assert_eq!(log.registry_store().load().unwrap(), [pair("a", "2"), pair("b", "3")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_directory_has_one_log_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(settings(dir.path())).unwrap();
    let error = LocalLog::open(settings(dir.path())).err().unwrap().to_string();
    assert!(error.contains("in use by"), "{error}");
    drop(log);
    LocalLog::open(settings(dir.path())).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_deleted_topics_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(settings(dir.path())).unwrap();
    let keyspaces = || std::fs::read_dir(dir.path().join("log/keyspaces")).unwrap().count();
    let before = keyspaces();
    topic(&log, &[]).await;
    log.produce(vec![record("a")]).unwrap().await;
    assert!(keyspaces() > before);
    log.delete_topic("t").await.unwrap();
    log.close().await.unwrap();
    drop(log);
    let log = LocalLog::open(settings(dir.path())).unwrap();
    assert_eq!(keyspaces(), before);
    assert!(log.topics().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_records_leave_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(settings(dir.path())).unwrap();
    topic(&log, &[("retention.ms", "200")]).await;
    for _ in 0..5 {
        let call = (0..1_000).map(|n| record(&n.to_string())).collect();
        assert!(log.produce(call).unwrap().await.iter().all(Result::is_ok));
    }
    let records = log.shared.topic("t").unwrap().records.clone();
    let gone = async {
        // One mark may stay, to count on from.
        while records.len().unwrap() > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the records are deleted");
    let bounds = log.watermarks(&TopicPartition::new("t", 0)).await.unwrap();
    assert_eq!((bounds.low, bounds.high), (5_000, 5_000));
    assert_eq!(log.produce(vec![record("next")]).unwrap().await[0].as_ref().unwrap().offset, 5_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_no_log_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("log"), "a file").unwrap();
    let error = LocalLog::open(settings(dir.path())).err().unwrap().to_string();
    assert!(error.contains("log"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_configuration_opens_it() {
    let dir = tempfile::tempdir().unwrap();
    let url = Some(format!("local://{}/log", dir.path().display()));
    let broker = crate::config::BrokerOptions { url, ..Default::default() }.settings().unwrap();
    let producer = crate::config::ProducerOptions::default().settings(&broker.url).unwrap();
    let opened = crate::open(&broker, producer).await.unwrap();
    opened.log.health().await.unwrap();
    opened.registry_store.unwrap().write(&[(b"k".to_vec(), Some(b"v".to_vec()))]).unwrap();
    opened.log.close().await.unwrap();
    assert!(matches!(opened.log.health().await, Err(LogError::Closed)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn groups_hear_of_a_topic_whose_maker_went_away() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(settings(dir.path())).unwrap();
    let spec = GroupSpec {
        group: "g".into(),
        topics: vec![],
        all_topics: true,
        except: vec![],
        revoke_timeout: Duration::from_secs(1),
    };
    let mut consumer = log.subscribe(spec).await.unwrap();
    let topic = TopicSpec { name: "t".into(), partitions: 1, config: BTreeMap::new() };
    // As when a client hangs up: polled once, then dropped.
    let _ = tokio::time::timeout(Duration::ZERO, log.create_topic(&topic)).await;
    let polled = consumer.poll(1, Duration::from_secs(10)).await.unwrap();
    assert!(matches!(polled, crate::Polled::Assigned(_)), "{polled:?}");
}
