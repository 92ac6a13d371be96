//! The exactly-once protocol against the faults that its models know, over a simulated log in virtual time.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use forebay_avro::registry::{Compatibility, ReferenceKey, Registered, Registry, RegistryError, Version};
use forebay_broker::{
    Committed, Log, TimestampType, TopicPartition, TopicSpec,
    dead_letter::names,
    sim::{Chances, SimLog},
};
use forebay_sink::{
    connector::Connector,
    intent::DONE,
    sinks::{memory::MemoryStore, store::Metadata},
    status::State,
};
use support::*;

const FAST: &str = r#"{"batch":{"max_age_ms":300}}"#;
const GROUP: &str = "connect-lake";

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn part() -> TopicPartition {
    TopicPartition::new("t", 0)
}

async fn failed(connector: &Connector) -> &'static str {
    eventually("the task to fail", async || connector.status().state == State::Failed).await;
    connector.status().trouble.unwrap().code
}

/// A partition with an announced group of ten records that nobody has finished.
async fn with_open_intent(seed: u64) -> (Arc<SimLog>, World, Arc<MemoryStore>) {
    let (log, world, store) = simulated(seed).await;
    world.topic("t", 1).await;
    world.publish("t", 1, 0, 10).await;
    store.set_delay(Duration::from_secs(1000));
    let connector = world.start_on(FAST, &store);
    let announced = async || {
        let committed = log.committed(GROUP, &[part()]).await.unwrap();
        committed.get(&part()).is_some_and(|c| c.metadata.starts_with("v1;e=9;"))
    };
    eventually("the intent", announced).await;
    drop(connector);
    pass(60).await;
    assert!(store.objects().is_empty());
    store.set_delay(Duration::ZERO);
    (log, world, store)
}

#[tokio::test(start_paused = true)]
async fn poison_goes_to_the_dlq_and_its_neighbours_to_the_lake() {
    for (seed, every) in [(1, 1000), (2, 10), (3, 1)] {
        let (_, world, store) = simulated(seed).await;
        world.topic("t", 2).await;
        let _connector = world.start_on(r#"{"batch":{"max_age_ms":300},"errors":{"max_rate":1}}"#, &store);
        let truncated = world.value(1).slice(..7);
        let bad = [Bytes::new(), Bytes::from_static(b"bad"), truncated];
        let value = |n: i64| if n % every == 0 { bad[n as usize % 3].clone() } else { world.value(n) };
        world.send((0..3000).map(|n| world.record("t", (n % 2) as i32, Some(value(n)))).collect()).await;
        world.settled("t").await;
        let letters = world.in_log(DLQ).await;
        assert_eq!(letters.len() as i64, 3000 / every, "each exactly once where nothing crashed");
        for letter in &letters {
            let text = |name| letter.headers.text(name).unwrap_or_else(|| panic!("no {name}"));
            assert_eq!(text(names::REASON), "DECODE_FAILED");
            assert_eq!(text(names::CONNECTOR), "lake");
            assert_eq!(text(names::STAGE), "VALUE_CONVERTER");
            assert_eq!(text("correlation_id"), "c-1");
            assert_eq!((letter.key.as_deref(), text(names::TIMESTAMP)), (Some(&b"key"[..]), "1795235045678"));
            assert_eq!(letter.timestamp_type, TimestampType::Append, "when it failed");
        }
        world.audit_rows("t", read_store(&store)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn mostly_bad_records_pause_the_connector_until_a_person_resumes() {
    let (_, world, store) = simulated(4).await;
    world.topic("t", 1).await;
    let connector = world.start_on(FAST, &store);
    world.send((0..2000).map(|_| world.record("t", 0, Some("bad".into()))).collect()).await;
    eventually("the pause", async || connector.status().state == State::Paused).await;
    assert_eq!(connector.status().trouble.unwrap().code, "BAD_RATE");
    pass(600).await;
    let before = world.in_log(DLQ).await.len();
    assert!((100..2000).contains(&before), "{before} of 2000");
    connector.resume();
    eventually("more", async || world.in_log(DLQ).await.len() > before).await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_record_fails_the_task_if_so_set() {
    let (_, world, store) = simulated(5).await;
    world.topic("t", 1).await;
    let connector = world.start_on(r#"{"on_bad_record":"fail","batch":{"max_age_ms":300}}"#, &store);
    let values = ["bad", "bad"].map(|text| world.record("t", 0, Some(text.into())));
    world.send(values.into()).await;
    assert_eq!(failed(&connector).await, "BAD_RECORD");
    assert_eq!(world.in_log(DLQ).await.len(), 1, "exactly one dead letter");
}

#[tokio::test(start_paused = true)]
async fn while_the_dlq_is_away_the_partition_stands() {
    let (log, world, store) = simulated(6).await;
    world.topic("t", 1).await;
    world
        .send((0..10).map(|n| world.record("t", 0, Some(if n == 4 { "bad".into() } else { world.value(n) }))).collect())
        .await;
    log.chances(Chances { produce_failed: 1000, ..Chances::default() });
    let _connector = world.start_on(FAST, &store);
    pass(300).await;
    assert_eq!(world.lag(GROUP, "t").await, 10);
    assert!(store.objects().is_empty(), "S2 stands before S4");
    log.chances(Chances::default());
    pass(38).await;
    assert_eq!(world.lag(GROUP, "t").await, 0, "it goes on by itself within 37.5 s");
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn an_id_unknown_to_the_registry_is_asked_for_five_times_over_15_s() {
    let (_, world, store) = simulated(7).await;
    world.topic("t", 1).await;
    let _connector = world.start_on(FAST, &store);
    world.settled("t").await;
    world.send(vec![world.record("t", 0, Some(value(999, 1)))]).await;
    pass(14).await;
    assert!(world.in_log(DLQ).await.is_empty());
    world.settled("t").await;
    let letters = world.in_log(DLQ).await;
    assert_eq!(letters[0].headers.text(names::REASON), Some("SCHEMA_NOT_FOUND"));
    assert_eq!(letters[0].headers.text(names::TRIES), Some("5"));
}

#[tokio::test(start_paused = true)]
async fn a_fifth_schema_closes_the_group() {
    let (_, world, store) = simulated(8).await;
    world.topic("t", 1).await;
    let mut ids = vec![world.schema_id];
    for name in ["A", "B", "C", "D"] {
        let text = SCHEMA.replace("Reading", name);
        ids.push(world.registry.register(&format!("{name}-value"), &text, &[]).await.unwrap().registered.id);
    }
    let records = (0..100).map(|n| world.record("t", 0, Some(value(ids[n as usize % 4], n))));
    let records = records.chain((100..110).map(|n| world.record("t", 0, Some(value(ids[4], n))))).collect();
    world.send(records).await;
    let _connector = world.start_on(FAST, &store);
    world.settled("t").await;
    assert_eq!(store.objects().len(), 5);
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn an_intent_is_finished_by_the_next_owner() {
    let (_, world, store) = with_open_intent(9).await;
    world.publish("t", 1, 10, 5).await;
    let _connector = world.start_on(FAST, &store);
    world.settled("t").await;
    let ends: Vec<_> = store.objects().into_values().map(|(_, metadata)| metadata["forebay-end"].clone()).collect();
    assert_eq!(ends, ["9", "14"]);
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn an_intent_is_finished_with_the_settings_it_was_cut_with() {
    let (_, world, store) = with_open_intent(10).await;
    world.publish("t", 1, 10, 5).await;
    let _connector = world.start_on(r#"{"partitioner":"daily","batch":{"max_age_ms":300}}"#, &store);
    world.settled("t").await;
    let keys: Vec<_> = store.objects().into_keys().collect();
    let first = "t/partition=0/t+0+00000000000000000000+1.parquet";
    let second = "t/year=2026/month=11/day=21/t+0+00000000000000000010+1.parquet";
    assert_eq!(keys, [first, second]);
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn a_compacted_intent_ends_at_its_end_and_keeps_its_key() {
    let (log, world, store) = with_open_intent(11).await;
    log.compact(&part(), [0, 5, 9]).unwrap();
    let _connector = world.start_on(FAST, &store);
    world.settled("t").await;
    let keys: Vec<_> = store.objects().into_keys().collect();
    assert_eq!(keys, ["t/partition=0/t+0+00000000000000000000+1.parquet"]);
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn an_intent_whose_records_are_gone_needs_a_person() {
    let (log, world, store) = with_open_intent(12).await;
    world.publish("t", 1, 10, 5).await;
    log.raise_low(&part(), 5).unwrap();
    let connector = world.start_on(FAST, &store);
    assert_eq!(failed(&connector).await, "INTENT_RECORDS_GONE");
}

#[tokio::test(start_paused = true)]
async fn offsets_outside_the_topic_are_refused_or_rebased() {
    for (offset, code) in [(50, "OFFSET_ABOVE_END"), (1, "OFFSET_BELOW_START")] {
        let (log, world, store) = simulated(13).await;
        world.topic("t", 1).await;
        world.publish("t", 1, 0, 10).await;
        log.raise_low(&part(), 4).unwrap();
        log.overwrite_committed(GROUP, &part(), Some(Committed { offset, metadata: String::new() }));
        let connector = world.start_on(FAST, &store);
        assert_eq!(failed(&connector).await, code);
        drop(connector);
        let _connector = world.start_on(r#"{"on_offset_mismatch":"earliest","batch":{"max_age_ms":300}}"#, &store);
        world.settled("t").await;
        assert_eq!(read_store(&store).len(), 6);
    }
}

#[tokio::test(start_paused = true)]
async fn starts_are_stored_at_the_first_claim() {
    for (start, want) in [(r#""latest""#, 10), (r#""earliest""#, 0), (r#"{"timestamp_ms":9999999999999}"#, 10)] {
        let (log, world, store) = simulated(14).await;
        world.topic("t", 1).await;
        world.publish("t", 1, 0, 10).await;
        let connector = world.start_on(&format!(r#"{{"start":{start}}}"#), &store);
        eventually("the claim", async || log.committed(GROUP, &[part()]).await.unwrap().len() == 1).await;
        assert_eq!(log.committed(GROUP, &[part()]).await.unwrap()[&part()].offset, want, "{start}");
        drop(connector);
    }
}

#[tokio::test(start_paused = true)]
async fn a_foreign_object_is_never_touched() {
    let (_, world, store) = simulated(15).await;
    world.topic("t", 1).await;
    world.publish("t", 1, 0, 3).await;
    let key = "t/partition=0/t+0+00000000000000000000+1.parquet";
    store.plant(key, Bytes::from_static(b"theirs"), Metadata::new());
    let connector = world.start_on(FAST, &store);
    assert_eq!(failed(&connector).await, "FOREIGN_OBJECT");
    let advice = connector.status().trouble.unwrap().advice;
    assert!(advice.contains("move it away. Then: `forebay connectors restart lake`"), "{advice}");
    assert_eq!(store.objects()[key].0, "theirs");
    let lag = world.gathered.gather().into_iter().find(|family| family.name() == "kafka_consumer_lag");
    assert!(lag.is_none(), "a task that ended has no partition, and shows no lag");
}

#[tokio::test(start_paused = true)]
async fn a_commit_set_back_to_a_groups_start_writes_nothing_twice() {
    let (log, world, store) = simulated(16).await;
    world.topic("t", 1).await;
    let connector = world.start_on(FAST, &store);
    for round in 0..4 {
        world.publish("t", 1, round * 10, 10).await;
        world.settled("t").await;
    }
    drop(connector);
    pass(60).await;
    log.overwrite_committed(GROUP, &part(), Some(Committed { offset: 10, metadata: DONE.to_owned() }));
    let _again = world.start_on(FAST, &store);
    world.settled("t").await;
    assert_eq!(store.objects().len(), 4, "the groups found are finished as they are");
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_set_back_under_other_settings_calls_a_person() {
    let (log, world, store) = simulated(22).await;
    world.topic("t", 1).await;
    world.publish("t", 1, 0, 10).await;
    let connector = world.start_on(r#"{"partitioner":"daily","batch":{"max_age_ms":300}}"#, &store);
    world.settled("t").await;
    drop(connector);
    pass(60).await;
    let before = store.objects();
    log.overwrite_committed(GROUP, &part(), Some(Committed { offset: 0, metadata: DONE.to_owned() }));
    // The same names, and maybe other rows in them.
    let other = r#"{"partitioner":"daily","timezone":"Etc/GMT","batch":{"max_age_ms":300}}"#;
    let connector = world.start_on(other, &store);
    assert_eq!(failed(&connector).await, "KEY_TAKEN");
    assert_eq!(store.objects(), before);
}

#[tokio::test(start_paused = true)]
async fn an_object_of_another_connector_is_never_touched() {
    let (_, world, store) = simulated(23).await;
    world.topic("t", 1).await;
    world.publish("t", 1, 0, 3).await;
    let key = "t/partition=0/t+0+00000000000000000000+1.parquet";
    let theirs: Metadata = [("forebay-connector".to_owned(), "another".to_owned())].into();
    store.plant(key, Bytes::from_static(b"theirs"), theirs);
    let connector = world.start_on(FAST, &store);
    assert_eq!(failed(&connector).await, "KEY_TAKEN");
    assert_eq!(store.objects()[key].0, "theirs");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_fits_nowhere_stops_the_task() {
    let (_, world, store) = simulated(21).await;
    world.topic("t", 1).await;
    let config = [("max.message.bytes".to_owned(), "200".to_owned())].into();
    world.log.create_topic(&TopicSpec { name: DLQ.to_owned(), partitions: 1, config }).await.unwrap();
    world.send(vec![world.record("t", 0, Some("bad".into()))]).await;
    let connector = world.start_on(FAST, &store);
    assert_eq!(failed(&connector).await, "DLQ_TOO_LARGE");
    assert_eq!(world.lag(GROUP, "t").await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_hangs_is_noticed_and_in_the_end_a_person_is_called() {
    let (_, world, store) = simulated(17).await;
    world.topic("t", 1).await;
    world.publish("t", 1, 0, 3).await;
    store.set_delay(Duration::from_secs(1_000_000));
    let connector = world.start_on(r#"{"stuck_after_ms":20000,"batch":{"max_age_ms":300}}"#, &store);
    let stuck = async || connector.status().trouble.is_some_and(|trouble| trouble.code == "STUCK");
    eventually("the watchdog", stuck).await;
    assert_eq!(connector.status().state, State::Running, "it only warns at first");
    pass(110).await;
    assert_eq!(failed(&connector).await, "STUCK");
    store.set_delay(Duration::ZERO);
    connector.restart();
    world.settled("t").await;
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_gives_up_in_time_and_loses_nothing() {
    let (_, world, store) = simulated(18).await;
    world.topic("t", 1).await;
    let connector = world.start_on(FAST, &store);
    world.settled("t").await;
    eventually("the claim", async || connector.status().partitions.len() == 1).await;
    store.set_away(true);
    world.publish("t", 1, 0, 3).await;
    pass(5).await;
    assert!(!connector.drain(Duration::from_secs(10)).await);
    store.set_away(false);
    let _again = world.start_on(FAST, &store);
    world.settled("t").await;
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_connector_writes_out_and_reads_no_more() {
    let (_, world, store) = simulated(19).await;
    world.topic("t", 1).await;
    let connector = world.start_on(r#"{"batch":{"max_age_ms":3600000}}"#, &store);
    world.publish("t", 1, 0, 3).await;
    pass(2).await;
    assert_eq!(world.lag(GROUP, "t").await, 3, "the batch is young");
    connector.pause();
    world.settled("t").await;
    world.publish("t", 1, 3, 3).await;
    pass(60).await;
    assert_eq!((connector.status().state, world.lag(GROUP, "t").await), (State::Paused, 3));
    connector.resume();
    pass(2).await;
    assert!(connector.drain(Duration::from_secs(10)).await);
    world.audit_rows("t", read_store(&store)).await;
}

/// The id of a schema that is no Avro.
const FOREIGN: u32 = 900;

/// A registry that can be away, and holds a schema that is no Avro.
struct Flaky(Arc<dyn Registry>, AtomicBool);

#[async_trait::async_trait]
impl Registry for Flaky {
    async fn by_id(&self, id: u32) -> Result<Arc<Registered>, RegistryError> {
        if self.1.load(Ordering::SeqCst) {
            return Err(RegistryError::Unavailable("it is away".to_owned()));
        }
        match id {
            FOREIGN => Err(RegistryError::Invalid("it is Protobuf, not Avro".to_owned())),
            id => self.0.by_id(id).await,
        }
    }
    async fn latest(&self, subject: &str) -> Result<Arc<Version>, RegistryError> {
        self.0.latest(subject).await
    }
    async fn version(&self, subject: &str, version: u32) -> Result<Arc<Version>, RegistryError> {
        self.0.version(subject, version).await
    }
    async fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        self.0.subjects().await
    }
    async fn versions(&self, subject: &str) -> Result<Vec<u32>, RegistryError> {
        self.0.versions(subject).await
    }
    async fn register(&self, s: &str, text: &str, refs: &[ReferenceKey]) -> Result<Arc<Version>, RegistryError> {
        self.0.register(s, text, refs).await
    }
    async fn check(&self, s: &str, text: &str, refs: &[ReferenceKey]) -> Result<Vec<String>, RegistryError> {
        self.0.check(s, text, refs).await
    }
    async fn compatibility(&self, subject: Option<&str>) -> Result<Compatibility, RegistryError> {
        self.0.compatibility(subject).await
    }
    async fn set_compatibility(&self, subject: Option<&str>, level: Compatibility) -> Result<(), RegistryError> {
        self.0.set_compatibility(subject, level).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_away_is_waited_for() {
    let (_, mut world, store) = simulated(20).await;
    let flaky = Arc::new(Flaky(Arc::clone(&world.registry), AtomicBool::new(true)));
    world.registry = flaky.clone();
    world.topic("t", 1).await;
    world.publish("t", 1, 0, 5).await;
    let connector = world.start_on(FAST, &store);
    pass(600).await;
    assert_eq!(connector.status().trouble.unwrap().code, "REGISTRY_DOWN");
    assert_eq!(world.lag(GROUP, "t").await, 5);
    flaky.1.store(false, Ordering::SeqCst);
    world.settled("t").await;
    assert!(world.dead().await.is_empty());
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn a_schema_that_is_no_avro_is_not_waited_for() {
    let (_, mut world, store) = simulated(21).await;
    world.registry = Arc::new(Flaky(Arc::clone(&world.registry), AtomicBool::new(false)));
    world.topic("t", 1).await;
    let _connector = world.start_on(FAST, &store);
    world.send(vec![world.record("t", 0, Some(value(FOREIGN, 1)))]).await;
    world.settled("t").await;
    let letters = world.in_log(DLQ).await;
    assert_eq!(letters[0].headers.text(names::REASON), Some("DECODE_FAILED"));
    assert_eq!(letters[0].headers.text(names::TRIES), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn storms_of_all_faults_lose_and_double_nothing() {
    for seed in 0..12 {
        let (log, world, store) = simulated(seed).await;
        world.topic("t", 3).await;
        world.topic(DLQ, 1).await;
        let options = r#"{"tasks_max":2,"errors":{"max_rate":1},"batch":{"max_rows":30,"max_age_ms":300}}"#;
        let connector = world.start_on(options, &store);
        store.set_delay(Duration::from_millis(200 * (seed % 4)));
        for round in 0..20 {
            log.chances(Chances::default());
            let value = |n: i64| if n % 17 == 0 { "bad".into() } else { world.value(n) };
            let records = (round * 60..round * 60 + 60).map(|n| world.record("t", (n % 3) as i32, Some(value(n))));
            world.send(records.collect()).await;
            log.chances(Chances {
                produce_refused: 100,
                produce_failed: 100,
                produce_unknown_stored: 50,
                produce_unknown_lost: 50,
                commit_refused: 100,
                commit_lost: 50,
                commit_unknown: 100,
                commit_late: 30,
                commit_fenced: 30,
                commit_delayed: 100,
                max_delay: Duration::from_secs(3),
                ..Chances::default()
            });
            store.lose_replies((round % 3) as u32);
            match (round as u64 + seed) % 5 {
                1 => log.rebalance(GROUP),
                3 => log.expire_sessions(GROUP),
                _ => {}
            }
            pass(1).await;
        }
        log.chances(Chances::default());
        pass(60).await;
        // A commit that landed late may stand behind what is done; the next one heals it.
        world.publish("t", 3, 1200, 3).await;
        pass(60).await;
        assert_ne!(connector.status().state, State::Failed, "seed {seed}: {:#?}", connector.status());
        world.settled("t").await;
        world.audit_rows("t", read_store(&store)).await;
    }
}
