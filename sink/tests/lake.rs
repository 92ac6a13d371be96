//! From the embedded log to Parquet files in a directory, end to end.

#![allow(clippy::unwrap_used)]

mod support;

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use forebay_avro::registry::{Embedded, MemoryStore, Registry};
use forebay_broker::{
    config::ProducerSettings,
    local::{LocalLog, LocalSettings},
};
use forebay_sink::{config::ConnectorOptions, connector::Connector, status::State};
use support::*;

fn local(dir: &Path) -> Arc<LocalLog> {
    local_of(dir, 1_000_000)
}

fn local_of(dir: &Path, record_bytes: usize) -> Arc<LocalLog> {
    let producer =
        ProducerSettings { queue_bytes: 64 << 20, queue_records: 100_000, linger: Duration::ZERO, record_bytes };
    LocalLog::open(LocalSettings {
        dir: dir.to_owned(),
        group_commit: Duration::from_millis(1),
        cache_bytes: 16 << 20,
        retention_check: Duration::from_secs(30),
        min_free_bytes: Some(1 << 20),
        producer,
    })
    .unwrap()
}

async fn world(dir: &Path) -> World {
    World::new(local(dir)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_becomes_a_row_in_a_file_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path()).await;
    world.topic("readings", 1).await;
    world.publish("readings", 1, 7, 1).await;
    let connector = world.start(r#"{"batch":{"max_age_ms":200}}"#);
    world.settled("readings").await;
    let files = parquet_files(&world.lake());
    let want = world.lake().join("readings/partition=0/readings+0+00000000000000000000+1.parquet");
    assert_eq!(files, [want]);
    let rows = read_lake(&world.lake());
    assert_eq!(rows, [LakeRow { at: ("readings".to_owned(), 0, 0), id: 7, name: "reading 7".to_owned() }]);
    let sidecar =
        world.lake().join("_forebay/lake/readings/partition=0/readings+0+00000000000000000000+1.parquet.json");
    let sidecar: serde_json::Value = serde_json::from_slice(&std::fs::read(sidecar).unwrap()).unwrap();
    assert_eq!((&sidecar["forebay-end"], &sidecar["forebay-group-files"]), (&"0".into(), &"1".into()));
    let status = connector.status();
    assert_eq!((status.state, status.lag, status.rows), (State::Running, 0, 1));
    assert!(connector.drain(Duration::from_secs(60)).await);
    world.log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_as_large_as_a_record_may_be() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(local_of(dir.path(), 4 << 20)).await;
    world.topic("readings", 1).await;
    let undecodable = Bytes::from(vec![b'x'; 3 << 20]);
    world.send(vec![world.record("readings", 0, Some(undecodable.clone()))]).await;
    world.publish("readings", 1, 0, 3).await;
    let connector = world.start(r#"{"batch":{"max_age_ms":100},"errors":{"max_rate":1}}"#);
    world.settled("readings").await;
    let letters = world.in_log(DLQ).await;
    assert_eq!(letters.iter().map(|letter| letter.value.clone()).collect::<Vec<_>>(), [Some(undecodable)]);
    world.audit("readings").await;
    assert!(connector.drain(Duration::from_secs(60)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_topic_is_delivered_where_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path()).await;
    for topic in ["readings", DLQ] {
        world.topic(topic, 1).await;
        world.publish(topic, 1, 0, 3).await;
    }
    let connector = world.start(&format!(r#"{{"topics":["*","{DLQ}"],"batch":{{"max_age_ms":100}}}}"#));
    for topic in ["readings", DLQ] {
        world.settled(topic).await;
        assert_eq!(read_lake(&world.lake()).iter().filter(|row| row.at.0 == topic).count(), 3, "{topic}");
    }
    assert!(connector.drain(Duration::from_secs(60)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_rotate_at_their_limit_and_a_drain_writes_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path()).await;
    world.topic("readings", 2).await;
    world.publish("readings", 2, 0, 2050).await;
    let connector = world.start(r#"{"tasks_max":2,"batch":{"max_rows":1000,"max_age_ms":60000}}"#);
    eventually("two full files", async || parquet_files(&world.lake()).len() == 2).await;
    eventually("all to be read", async || connector.status().lag <= 50).await;
    assert!(connector.drain(Duration::from_secs(60)).await);
    let mut counts: Vec<usize> = parquet_files(&world.lake())
        .iter()
        .map(|path| read_parquet(std::fs::read(path).unwrap().into()).len())
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, [25, 25, 1000, 1000]);
    world.settled("readings").await;
    world.audit("readings").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hourly_folders_follow_the_record_and_large_files_spill() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path()).await;
    world.topic("readings", 1).await;
    let hour = 3_600_000;
    let records = (0..5000)
        .map(|id| {
            let mut record = world.record("readings", 0, Some(world.value(id)));
            record.timestamp_ms = Some(1_795_235_045_678 + (id % 3) * hour);
            record
        })
        .collect();
    world.send(records).await;
    let options = r#"{"partitioner":"hourly","spill_bytes":4096,"topics.dir":"raw","batch":{"max_age_ms":500}}"#;
    let connector = world.start(options);
    world.settled("readings").await;
    let folders: std::collections::BTreeSet<_> = parquet_files(&world.lake())
        .iter()
        .map(|f| f.parent().unwrap().strip_prefix(world.lake()).unwrap().to_owned())
        .collect();
    let hours: Vec<_> = folders.iter().map(|f| f.to_str().unwrap()).collect();
    let base = "raw/readings/year=2026/month=11/day=21/hour=";
    assert_eq!(hours, [format!("{base}04"), format!("{base}05"), format!("{base}06")]);
    world.audit("readings").await;
    assert_eq!(std::fs::read_dir(world.dir.join("tmp")).unwrap().count(), 0, "temporary files have no names");
    connector.drain(Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_a_file_is_waited_for_and_nothing_becomes_a_dead_letter() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path()).await;
    std::fs::write(world.lake(), b"in the way").unwrap();
    world.topic("readings", 1).await;
    world.publish("readings", 1, 0, 10).await;
    let connector = world.start(r#"{"batch":{"max_age_ms":100}}"#);
    let down = async || connector.status().trouble.is_some_and(|trouble| trouble.code == "DESTINATION_DOWN");
    eventually("the trouble to show", down).await;
    std::fs::remove_file(world.lake()).unwrap();
    world.settled("readings").await;
    world.audit("readings").await;
    assert!(world.dead().await.is_empty());
    eventually("the trouble to go", async || connector.status().trouble.is_none()).await;
    connector.drain(Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_that_vanishes_mid_run_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path()).await;
    world.topic("readings", 1).await;
    world.publish("readings", 1, 0, 10).await;
    let connector = world.start(r#"{"batch":{"max_age_ms":100}}"#);
    world.settled("readings").await;
    let away = world.dir.join("unmounted");
    std::fs::rename(world.lake(), &away).unwrap();
    world.publish("readings", 1, 10, 10).await;
    let down = async || connector.status().trouble.is_some_and(|trouble| trouble.code == "DESTINATION_DOWN");
    eventually("the trouble to show", down).await;
    assert!(!world.lake().exists(), "nothing is written to where the lake was");
    std::fs::rename(&away, world.lake()).unwrap();
    world.settled("readings").await;
    world.audit("readings").await;
    connector.drain(Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_writes_nothing_and_finds_a_bad_place() {
    let dir = tempfile::tempdir().unwrap();
    let settings = ConnectorOptions::default().resolve("lake", dir.path(), &dir.path().join("lake")).unwrap();
    Connector::check(&settings, dir.path()).await.unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    std::fs::write(dir.path().join("file"), b"").unwrap();
    let settings = ConnectorOptions::default().resolve("lake", dir.path(), &dir.path().join("file/lake")).unwrap();
    assert!(Connector::check(&settings, dir.path()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_can_not_be_spilled_are_read_again_later() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path()).await;
    world.topic("readings", 1).await;
    let tmp = world.dir.join("tmp");
    std::fs::remove_dir(&tmp).unwrap();
    std::fs::write(&tmp, "no folder").unwrap();
    // More than a page of each column, so that pages spill while rows are still being added.
    for round in 0..10 {
        world.publish("readings", 1, round * 4000, 4000).await;
    }
    let connector = world.start(r#"{"spill_bytes":4096,"batch":{"max_age_ms":500}}"#);
    let retried = async || {
        let families = world.gathered.gather();
        families.iter().any(|family| family.name() == "forebay_sink_retries_total")
    };
    eventually("a failed try", retried).await;
    assert!(world.lag("connect-lake", "readings").await > 0);
    std::fs::remove_file(&tmp).unwrap();
    world.settled("readings").await;
    world.audit("readings").await;
    assert!(world.dead().await.is_empty());
    assert!(connector.drain(Duration::from_secs(60)).await);
}

/// Both ways that the advice names lead out, whatever came meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_no_dead_end() {
    const FAST: &str = r#"{"batch":{"max_age_ms":100}}"#;
    for elsewhere in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let world = world(dir.path()).await;
        world.topic("readings", 1).await;
        let connector = world.start(FAST);
        eventually("the claim", async || world.committed("connect-lake", "readings").await.len() == 1).await;
        let taken = world.lake().join("readings/partition=0/readings+0+00000000000000000000+1.parquet");
        std::fs::create_dir_all(taken.parent().unwrap()).unwrap();
        std::fs::write(&taken, "theirs").unwrap();
        world.publish("readings", 1, 0, 10).await;
        eventually("the task to fail", async || connector.status().state == State::Failed).await;
        let trouble = connector.status().trouble.unwrap();
        assert_eq!(trouble.code, "FOREIGN_OBJECT");
        assert!(trouble.advice.contains("give this connector its own topics.dir, or move it away."), "{trouble:?}");
        world.publish("readings", 1, 10, 10).await;
        let (connector, lake) = if elsewhere {
            assert!(connector.drain(Duration::from_secs(60)).await);
            (world.start(r#"{"topics.dir":"again","batch":{"max_age_ms":100}}"#), world.lake().join("again"))
        } else {
            std::fs::remove_file(&taken).unwrap();
            connector.restart();
            (connector, world.lake())
        };
        world.settled("readings").await;
        world.audit_rows("readings", read_lake(&lake)).await;
        assert_eq!(elsewhere, std::fs::read(&taken).unwrap() == b"theirs");
        assert!(connector.drain(Duration::from_secs(60)).await);
        world.log.close().await.unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_new_event_is_lost_where_the_log_is_put_back_from_a_copy() {
    const FAST: &str = r#"{"batch":{"max_age_ms":200}}"#;
    let dir = tempfile::tempdir().unwrap();
    let (log, copied) = (dir.path().join("log"), dir.path().join("copy"));
    let registry: Arc<dyn Registry> = Arc::new(Embedded::open(Arc::new(MemoryStore::default())).unwrap());
    let open = async || World::at(local(&log), Arc::clone(&registry), dir.path()).await;
    let deliver = async |world: &World| {
        let connector = world.start(FAST);
        world.settled("t").await;
        assert!(connector.drain(Duration::from_secs(60)).await);
    };
    // The copy: 60 events, 50 of them delivered.
    let world = open().await;
    world.topic("t", 1).await;
    world.publish("t", 1, 0, 50).await;
    deliver(&world).await;
    world.publish("t", 1, 50, 10).await;
    world.log.close().await.unwrap();
    drop(world);
    copy(&log, &copied);
    // It grows old.
    let world = open().await;
    world.publish("t", 1, 60, 20).await;
    deliver(&world).await;
    world.log.close().await.unwrap();
    drop(world);
    let delivered = parquet_files(&dir.path().join("lake"));
    std::fs::remove_dir_all(&log).unwrap();
    copy(&copied, &log);
    // Other events under the offsets of those that are lost.
    let world = open().await;
    world.publish("t", 1, 1000, 20).await;
    let connector = world.start(FAST);
    eventually("the task to fail", async || connector.status().state == State::Failed).await;
    assert_eq!(connector.status().trouble.unwrap().code, "LOG_REWOUND");
    assert_eq!(world.lag("connect-lake", "t").await, 30);
    assert_eq!(parquet_files(&world.lake()), delivered);
    drop(connector);
    let connector = world.start(r#"{"topics.dir":"again","batch":{"max_age_ms":200}}"#);
    world.settled("t").await;
    assert!(connector.drain(Duration::from_secs(60)).await);
    let again: Vec<i64> = read_lake(&world.lake().join("again")).into_iter().map(|row| row.id).collect();
    assert_eq!(again, (50..60).chain(1000..1020).collect::<Vec<_>>());
    world.log.close().await.unwrap();
}
