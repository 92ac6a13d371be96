//! What users of other systems suffered, each as a test named after its incident (docs of the design, I1 to I15), over a
//! simulated log in virtual time.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use forebay_broker::{
    TopicPartition,
    sim::{Chances, ProduceFault},
};
use forebay_sink::status::State;
use support::*;

const FAST: &str = r#"{"batch":{"max_age_ms":300}}"#;
const GROUP: &str = "connect-lake";

async fn committed(world: &World, partition: i32) -> i64 {
    let part = TopicPartition::new("t", partition);
    world.log.committed(GROUP, std::slice::from_ref(&part)).await.unwrap().get(&part).map_or(0, |c| c.offset)
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn i1_rejected_by_auth_is_kept() {
    let (_, world, store) = simulated(1).await;
    world.topic("t", 2).await;
    let connector = world.start_on(FAST, &store);
    world.publish("t", 2, 0, 20).await;
    world.settled("t").await;
    store.set_away(true);
    world.publish("t", 2, 20, 20).await;
    pass(3600).await;
    assert_eq!(world.lag(GROUP, "t").await, 20, "the offset stands");
    assert_eq!(connector.status().trouble.unwrap().code, "DESTINATION_DOWN");
    store.set_away(false);
    world.settled("t").await;
    assert!(world.dead().await.is_empty());
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn i2_later_record_never_moves_watermark() {
    let (_, world, store) = simulated(2).await;
    world.topic("t", 1).await;
    let _connector = world.start_on(r#"{"null_values":"ignore","batch":{"max_age_ms":300}}"#, &store);
    eventually("the start", async || world.committed(GROUP, "t").await.len() == 1).await;
    store.set_away(true);
    world.publish("t", 1, 0, 5).await;
    pass(5).await;
    world.send((0..5).map(|_| world.record("t", 0, None)).collect()).await;
    pass(60).await;
    assert_eq!(committed(&world, 0).await, 0, "dropped records stand behind unwritten ones");
    store.set_away(false);
    eventually("the commit", async || committed(&world, 0).await == 10).await;
    assert_eq!(read_store(&store).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn i3_stale_epoch_result_ignored() {
    let (log, world, store) = simulated(3).await;
    world.topic("t", 3).await;
    store.set_delay(Duration::from_secs(2));
    let connector = world.start_on(FAST, &store);
    let mut last = [0; 3];
    for round in 0..10 {
        world.publish("t", 3, round * 30, 30).await;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(connector.status().state, State::Running, "a stale result is no reason to start again");
        }
        log.expire_sessions(GROUP);
        for (partition, last) in last.iter_mut().enumerate() {
            let now = committed(&world, partition as i32).await;
            assert!(now >= *last, "no backward commit");
            *last = now;
        }
    }
    world.settled("t").await;
    world.audit_rows("t", read_store(&store)).await;
    let stale = world.gathered.gather().into_iter().find(|f| f.name() == "forebay_sink_stale_results_total");
    assert!(stale.is_some_and(|f| f.get_metric()[0].get_counter().get_value() > 0.0));
}

#[tokio::test(start_paused = true)]
async fn i4_revoke_loses_no_batch() {
    let (log, world, store) = simulated(4).await;
    world.topic("t", 7).await;
    let _connector = world.start_on(r#"{"batch":{"max_age_ms":2000}}"#, &store);
    for round in 0..10 {
        world.publish("t", 7, round * 70, 70).await;
        pass(1).await;
        log.rebalance(GROUP);
    }
    world.settled("t").await;
    assert_eq!(read_store(&store).len(), 700);
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn i5_late_receipt_after_revoke() {
    let (log, world, store) = simulated(5).await;
    world.topic("t", 1).await;
    world.topic(DLQ, 1).await;
    let _connector = world.start_on(FAST, &store);
    world.settled("t").await;
    log.script_produce([ProduceFault::None, ProduceFault::Delayed(Duration::from_secs(20))]);
    world.send(vec![world.record("t", 0, Some("bad".into()))]).await;
    pass(2).await;
    log.rebalance(GROUP);
    pass(3).await;
    assert_eq!(committed(&world, 0).await, 0, "no receipt, no commit");
    world.settled("t").await;
    assert_eq!(world.dead().await.len(), 1);
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn i6_old_member_keeps_consuming() {
    let (_, world, store) = simulated(6).await;
    world.topic("t", 6).await;
    let first = world.start_on(FAST, &store);
    world.publish("t", 6, 0, 60).await;
    world.settled("t").await;
    let second = world.start_on(FAST, &store);
    pass(5).await;
    world.publish("t", 6, 60, 60).await;
    pass(10).await;
    assert_eq!(world.lag(GROUP, "t").await, 0, "every partition moved on within 10 s");
    assert!(!first.status().partitions.is_empty() && !second.status().partitions.is_empty());
    assert!(first.drain(Duration::from_secs(10)).await);
    world.publish("t", 6, 120, 60).await;
    pass(10).await;
    assert_eq!(world.lag(GROUP, "t").await, 0);
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn i7_partial_write_no_reorder() {
    let (_, world, store) = simulated(7).await;
    world.topic("t", 1).await;
    store.lose_replies(5);
    let other = world.registry.register("b-value", &SCHEMA.replace("Reading", "Other"), &[]).await.unwrap();
    let ids = [world.schema_id, other.registered.id];
    let records = (0..40).map(|id| world.record("t", 0, Some(value(ids[id as usize % 2], id)))).collect();
    world.send(records).await;
    let _connector = world.start_on(FAST, &store);
    world.settled("t").await;
    assert_eq!(store.objects().len(), 2, "one file per schema, not one per record");
    assert!(store.puts() > 2, "replies were lost");
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn i8_reassigned_partition_keeps_records() {
    let (log, world, store) = simulated(8).await;
    world.topic("t", 1).await;
    let _connector = world.start_on(r#"{"batch":{"max_age_ms":1500}}"#, &store);
    for round in 0..30 {
        world.publish("t", 1, round * 5, 5).await;
        pass(round as u64 % 3).await;
        log.rebalance(GROUP);
    }
    world.settled("t").await;
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn i9_two_tasks_one_object() {
    let (log, world, store) = simulated(9).await;
    world.topic("t", 4).await;
    store.set_delay(Duration::from_secs(8));
    let _connector = world.start_on(r#"{"tasks_max":2,"batch":{"max_age_ms":300}}"#, &store);
    for round in 0..6 {
        world.publish("t", 4, round * 40, 40).await;
        pass(2).await;
        log.rebalance(GROUP);
        pass(1).await;
        log.expire_sessions(GROUP);
    }
    world.settled("t").await;
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn i10_same_key_same_rows() {
    let (log, world, store) = simulated(10).await;
    world.topic("t", 1).await;
    store.set_delay(Duration::from_secs(20));
    let _connector = world.start_on(FAST, &store);
    world.publish("t", 1, 0, 10).await;
    eventually("the intent", async || {
        let committed = world.committed(GROUP, "t").await;
        committed.values().any(|c| c.metadata.starts_with("v1;e=9;n=10;"))
    })
    .await;
    // More arrives before the group is written; whoever finishes it must not take that along.
    world.publish("t", 1, 10, 10).await;
    log.expire_sessions(GROUP);
    world.settled("t").await;
    let first = store.objects().into_values().next().unwrap();
    assert_eq!((&first.1["forebay-end"], read_parquet(first.0).len()), (&"9".to_owned(), 10));
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn i11_recovery_finds_last_group() {
    let (log, world, store) = simulated(11).await;
    world.topic("t", 2).await;
    let connector = world.start_on(FAST, &store);
    for round in 0..5 {
        world.publish("t", 2, round * 20, 20).await;
        world.settled("t").await;
    }
    assert!(connector.drain(Duration::from_secs(10)).await);
    for partition in 0..2 {
        log.overwrite_committed(GROUP, &TopicPartition::new("t", partition), None);
    }
    world.publish("t", 2, 100, 20).await;
    let _again = world.start_on(FAST, &store);
    world.settled("t").await;
    assert_eq!(read_store(&store).len(), 120);
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn i12_gaps_and_dead_letters_move_on() {
    let (log, world, store) = simulated(12).await;
    log.chances(Chances { gap: 300, ..Chances::default() });
    world.topic("t", 1).await;
    let _connector = world.start_on(r#"{"batch":{"max_rows":50,"max_age_ms":300},"errors":{"max_rate":1}}"#, &store);
    let records = (0..500)
        .map(|id| world.record("t", 0, Some(if id % 3 == 0 { "bad".into() } else { world.value(id) })))
        .collect();
    world.send(records).await;
    log.skip_offsets(&TopicPartition::new("t", 0), 7).unwrap();
    world.settled("t").await;
    assert_eq!((read_store(&store).len(), world.dead().await.len()), (333, 167));
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn i13_topic_recreated_is_refused() {
    let (log, world, store) = simulated(13).await;
    world.topic("t", 1).await;
    let connector = world.start_on(FAST, &store);
    world.publish("t", 1, 0, 10).await;
    world.settled("t").await;
    assert!(connector.drain(Duration::from_secs(10)).await);
    log.recreate_topic("t").await.unwrap();
    world.publish("t", 1, 0, 3).await;
    let connector = world.start_on(FAST, &store);
    eventually("the refusal", async || connector.status().state == State::Failed).await;
    let trouble = connector.status().trouble.unwrap();
    assert_eq!(trouble.code, "TOPIC_RECREATED");
    assert!(trouble.advice.contains("_forebay/lake/t"), "{}", trouble.advice);
}

#[tokio::test(start_paused = true)]
async fn i14_credentials_expire_mid_upload() {
    let (_, mut world, store) = simulated(14).await;
    let limit = 16 << 20;
    world.memory = forebay_sink::memory::MemoryBudget::new(limit);
    world.topic("t", 4).await;
    let _connector = world.start_on(r#"{"batch":{"max_rows":2000,"max_age_ms":300}}"#, &store);
    eventually("the start", async || world.committed(GROUP, "t").await.len() == 4).await;
    store.set_away(true);
    for round in 0..20 {
        world.publish("t", 4, round * 1000, 1000).await;
        pass(1).await;
        let used = world.memory.used();
        assert!(used <= limit + limit / 5, "{used} bytes");
    }
    store.set_away(false);
    world.settled("t").await;
    assert!(world.dead().await.is_empty());
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn i15_four_second_outage_no_dlq() {
    let (_, world, store) = simulated(15).await;
    world.topic("t", 2).await;
    let _connector = world.start_on(FAST, &store);
    world.publish("t", 2, 0, 20).await;
    store.set_away(true);
    pass(4).await;
    store.set_away(false);
    pass(38).await;
    assert_eq!(world.lag(GROUP, "t").await, 0, "it goes on within 37.5 s");
    assert!(world.dead().await.is_empty());
    world.audit_rows("t", read_store(&store)).await;
}
