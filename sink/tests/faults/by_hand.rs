//! Offsets that someone moves with the tools of Kafka, which leave no metadata: nothing is written twice, and what is
//! skipped is said.

use std::sync::Arc;

use forebay_broker::{Committed, Log, sim::SimLog};
use forebay_sink::{
    config::ConnectorSettings,
    connector::Connector,
    sinks::{lake::LakeSink, memory::MemoryStore},
    status::State,
};

use super::{FAST, GROUP, part, pass, support::*};

/// Offsets 0 to 39 in batches of ten, of which the third has no file: all its records are dead letters.
async fn delivered(seed: u64) -> (Arc<SimLog>, World, Arc<MemoryStore>) {
    let (log, world, store) = simulated(seed).await;
    world.topic("t", 1).await;
    let connector = world.start_on(r#"{"batch":{"max_age_ms":300},"errors":{"max_rate":1}}"#, &store);
    for batch in 0..4 {
        let value = |n| if batch == 2 { "bad".into() } else { world.value(n) };
        world.send((batch * 10..batch * 10 + 10).map(|n| world.record("t", 0, Some(value(n)))).collect()).await;
        world.settled("t").await;
    }
    drop(connector);
    pass(60).await;
    assert_eq!(store.objects().len(), 3);
    (log, world, store)
}

fn moved_to(log: &SimLog, offset: i64) {
    log.overwrite_committed(GROUP, &part(), Some(Committed { offset, metadata: String::new() }));
}

fn told(connector: &Connector) -> Option<&'static str> {
    connector.status().tasks.iter().find_map(|task| Some(task.trouble.as_ref()?.code))
}

#[tokio::test(start_paused = true)]
async fn moved_back_nothing_is_written_twice() {
    // To batches' starts, into batches, into the one without a file, to the last one.
    for (seed, offset) in [0, 5, 10, 15, 20, 25, 30, 35].into_iter().enumerate() {
        let (log, world, store) = delivered(seed as u64).await;
        let before = store.objects();
        moved_to(&log, offset);
        let connector = world.start_on(FAST, &store);
        world.settled("t").await;
        assert_eq!(told(&connector), Some("OFFSET_MOVED_BACK"), "{offset}");
        assert_eq!(store.objects(), before, "{offset}");
        world.publish("t", 1, 40, 10).await;
        world.settled("t").await;
        world.audit_rows("t", read_store(&store)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn moved_back_to_records_that_are_gone() {
    let (log, world, store) = delivered(20).await;
    let before = store.objects();
    log.raise_low(&part(), 35).unwrap();
    moved_to(&log, 5);
    // Even one who lets the connector begin anew at the earliest record has nothing written twice.
    let connector = world.start_on(r#"{"on_offset_mismatch":"earliest","batch":{"max_age_ms":300}}"#, &store);
    world.settled("t").await;
    assert_eq!(told(&connector), Some("OFFSET_MOVED_BACK"));
    assert_eq!(store.objects(), before);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_ends_before_the_lake_calls_a_person() {
    // To the new end, back, and with all offsets gone: redoing the lake's last batch would wait for new records and
    // take them for the old ones.
    for (seed, committed) in [Some(36), Some(5), None].into_iter().enumerate() {
        let (log, world, store) = delivered(30 + seed as u64).await;
        let before = store.objects();
        log.cut(&part(), 36).unwrap();
        let committed = committed.map(|offset| Committed { offset, metadata: String::new() });
        log.overwrite_committed(GROUP, &part(), committed.clone());
        let connector = world.start_on(FAST, &store);
        eventually("a task that failed", async || connector.status().state == State::Failed).await;
        let trouble = connector.status().trouble.unwrap();
        assert_eq!(trouble.code, "OFFSET_ABOVE_END", "{committed:?}");
        assert!(trouble.advice.contains("up to offset 39") && trouble.advice.contains("ends at 36"), "{trouble:?}");
        world.publish("t", 1, 40, 10).await;
        pass(60).await;
        assert_eq!(log.committed(GROUP, &[part()]).await.unwrap().get(&part()), committed.as_ref());
        assert_eq!(store.objects(), before);
    }
}

#[tokio::test(start_paused = true)]
async fn moved_forward_what_is_skipped_is_said() {
    let (log, world, store) = delivered(21).await;
    world.publish("t", 1, 40, 10).await;
    moved_to(&log, 45);
    let connector = world.start_on(FAST, &store);
    world.settled("t").await;
    let status = connector.status();
    let trouble = status.tasks.iter().find_map(|task| task.trouble.clone()).unwrap();
    assert_eq!(trouble.code, "OFFSET_MOVED_FORWARD");
    assert!(trouble.advice.contains("set to 45 by hand") && trouble.advice.contains("from 40 on"), "{trouble:?}");
    assert_eq!(read_store(&store).len(), 30 + 5);
}

#[tokio::test(start_paused = true)]
async fn moved_to_where_it_was_is_nothing_to_speak_of() {
    let (log, world, store) = delivered(22).await;
    moved_to(&log, 40);
    let connector = world.start_on(FAST, &store);
    world.publish("t", 1, 40, 10).await;
    world.settled("t").await;
    assert_eq!(told(&connector), None);
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn beyond_the_end_one_who_begins_anew_has_nothing_twice() {
    // With all records still there, with some gone that are in the lake, and with a batch half gone.
    for (seed, low) in [0, 15, 35].into_iter().enumerate() {
        let (log, world, store) = delivered(40 + seed as u64).await;
        let (before, dead) = (store.objects(), world.dead().await);
        log.raise_low(&part(), low).unwrap();
        moved_to(&log, 5000);
        let connector = world.start_on(r#"{"on_offset_mismatch":"earliest","batch":{"max_age_ms":300}}"#, &store);
        world.settled("t").await;
        assert_eq!((store.objects(), world.dead().await), (before, dead), "{low}");
        world.publish("t", 1, 40, 10).await;
        world.settled("t").await;
        drop(connector);
        let rows: Vec<i64> = read_store(&store).into_iter().map(|row| row.at.2).collect();
        let twice = rows.iter().filter(|row| rows.iter().filter(|other| other == row).count() > 1).count();
        assert_eq!((rows.len(), twice), (40, 0), "{low}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_connector_on_the_same_place_is_refused() {
    let (log, world, store) = delivered(50).await;
    let before = store.objects();
    // Where names of files would not collide.
    log.raise_low(&part(), 15).unwrap();
    let settings = ConnectorSettings { name: "other".to_owned(), ..world.settings(FAST) };
    let lake = LakeSink::new(&settings, store.clone(), world.dir.join("tmp"));
    let connector = Connector::start_with(settings, world.deps(), Arc::new(lake));
    eventually("a task that failed", async || connector.status().state == State::Failed).await;
    let trouble = connector.status().trouble.unwrap();
    assert_eq!(trouble.code, "KEY_TAKEN");
    assert!(trouble.advice.contains("\"lake\" has delivered t-0 here already"), "{trouble:?}");
    assert_eq!(store.objects(), before);
}
