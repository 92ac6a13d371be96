//! Destinations and logs that fail for long, or a little all the time.

use std::{sync::Arc, time::Duration};

use forebay_broker::sim::{Chances, SimLog};
use forebay_sink::{connector::Connector, sinks::memory::MemoryStore as MemoryLake, status::State};

use super::{
    FAST, GROUP, pass,
    support::{slow::SlowLog, *},
};

#[tokio::test(start_paused = true)]
async fn a_batch_of_many_files_gets_on_under_throttling() {
    const FILES: i64 = 500;
    let (_, world, store) = simulated(1).await;
    world.topic("t", 1).await;
    store.throttle(20);
    let _connector = world.start_on(r#"{"partitioner":"daily","batch":{"max_age_ms":300}}"#, &store);
    let on_day = |day: i64| {
        let mut record = world.record("t", 0, Some(world.value(day)));
        record.timestamp_ms = record.timestamp_ms.map(|ms| ms - day * 86_400_000);
        record
    };
    world.send((0..FILES).map(on_day).collect()).await;
    pass(10).await;
    assert_eq!(world.lag(GROUP, "t").await, 0, "a few passes are enough");
    assert_eq!(store.objects().len() as i64, FILES);
    assert_eq!(store.puts() - store.throttled(), FILES as u64, "each file is put once");
    world.audit_rows("t", read_store(&store)).await;
}

/// Away for two hours: the task stays, says what is wrong, and goes on when it is over.
async fn outlasts(log: &SimLog, world: &World, store: &MemoryLake, connector: &Connector, code: &str) {
    for minute in 0..120 {
        pass(60).await;
        let status = connector.status();
        let told = status.trouble.as_ref().map(|trouble| trouble.code);
        assert_eq!((status.state, told), (State::Running, Some(code)), "minute {minute}: {status:#?}");
    }
    log.chances(Chances::default());
    world.settled("t").await;
    pass(1).await;
    let status = connector.status();
    assert_eq!((status.state, status.trouble), (State::Running, None));
    world.audit_rows("t", read_store(store)).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_topic_away_for_hours_is_waited_for() {
    let (log, world, store) = simulated(2).await;
    world.topic("t", 1).await;
    let connector = world.start_on(FAST, &store);
    let value = |n| if n == 4 { "bad".into() } else { world.value(n) };
    world.send((0..10).map(|n| world.record("t", 0, Some(value(n)))).collect()).await;
    log.chances(Chances { produce_failed: 1000, ..Chances::default() });
    outlasts(&log, &world, &store, &connector, "DLQ_DOWN").await;
    assert_eq!(world.dead().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn commits_refused_for_hours_are_sent_again() {
    let (log, world, store) = simulated(3).await;
    world.topic("t", 1).await;
    let connector = world.start_on(FAST, &store);
    world.publish("t", 1, 0, 10).await;
    world.settled("t").await;
    log.chances(Chances { commit_refused: 1000, ..Chances::default() });
    world.publish("t", 1, 10, 10).await;
    outlasts(&log, &world, &store, &connector, "LOG_DOWN").await;
}

#[tokio::test(start_paused = true)]
async fn a_log_away_for_hours_is_waited_for() {
    let (log, world, store) = simulated(4).await;
    world.topic("t", 1).await;
    let connector = world.start_on(r#"{"batch":{"max_age_ms":10000}}"#, &store);
    world.publish("t", 1, 0, 10).await;
    world.settled("t").await;
    world.publish("t", 1, 10, 10).await;
    pass(2).await;
    log.away(Duration::from_secs(7200));
    outlasts(&log, &world, &store, &connector, "LOG_DOWN").await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_full_for_hours_is_waited_for() {
    let (log, world, store) = simulated(5).await;
    world.topic("t", 1).await;
    let (connector, faults) = world.start_faulty(FAST, &store);
    world.publish("t", 1, 0, 10).await;
    world.settled("t").await;
    faults.disk_full(Duration::from_secs(7200));
    world.publish("t", 1, 10, 10).await;
    outlasts(&log, &world, &store, &connector, "SPILL_FAILED").await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_waits_for_the_log_blames_the_log() {
    let (log, world, store) = simulated(6).await;
    world.topic("t", 1).await;
    world.publish("t", 1, 0, 10).await;
    let (connector, faults) = world.start_faulty(FAST, &store);
    world.settled("t").await;
    faults.fail_seals(1);
    world.publish("t", 1, 10, 10).await;
    eventually("the failure", async || faults.have_happened()).await;
    log.away(Duration::from_secs(30));
    pass(20).await;
    let trouble = connector.status().trouble.unwrap();
    assert_eq!(trouble.code, "LOG_DOWN", "{}", trouble.advice);
    pass(15).await;
    world.settled("t").await;
    world.audit_rows("t", read_store(&store)).await;
}

/// A write that takes longer than the watchdog likes, and less than it stands.
#[tokio::test(start_paused = true)]
async fn a_task_that_gets_on_by_itself_is_no_longer_stuck() {
    let (_, world, store) = simulated(9).await;
    world.topic("t", 1).await;
    let connector = world.start_on(r#"{"stuck_after_ms":20000,"batch":{"max_age_ms":300}}"#, &store);
    world.publish("t", 1, 0, 10).await;
    world.settled("t").await;
    store.set_delay(Duration::from_secs(30));
    world.publish("t", 1, 10, 10).await;
    pass(25).await;
    assert_eq!(connector.status().trouble.map(|trouble| trouble.code), Some("STUCK"));
    pass(10).await;
    assert_eq!((world.lag(GROUP, "t").await, connector.status().trouble), (0, None));
}

/// Twice stuck, and got on in between for long: that is not three times in a row.
#[tokio::test(start_paused = true)]
async fn the_watchdog_forgets_once_a_task_gets_on() {
    let (_, world, store) = simulated(7).await;
    world.topic("t", 1).await;
    let connector = world.start_on(r#"{"stuck_after_ms":20000,"batch":{"max_age_ms":300}}"#, &store);
    for round in 0..5 {
        store.set_delay(Duration::from_secs(1_000_000));
        world.publish("t", 1, round * 10, 10).await;
        pass(50).await;
        store.set_delay(Duration::ZERO);
        pass(100).await;
        assert_eq!((connector.status().state, world.lag(GROUP, "t").await), (State::Running, 0), "round {round}");
    }
    world.audit_rows("t", read_store(&store)).await;
}

/// A log whose watermarks take their time: how many questions wait at once is counted.
#[tokio::test(start_paused = true)]
async fn a_slow_log_is_asked_one_question_at_a_time() {
    let (log, mut world, store) = simulated(8).await;
    world.topic("t", 1).await;
    let slow = Arc::new(SlowLog::over(log));
    world.log = slow.clone();
    let _connector = world.start_on(FAST, &store);
    world.publish("t", 1, 0, 10).await;
    world.settled("t").await;
    slow.answer_after(Duration::from_secs(60));
    pass(600).await;
    assert_eq!(slow.most_waiting(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_topic_that_is_there_and_unknown_all_the_same_is_waited_for() {
    let (log, mut world, store) = simulated(30).await;
    let slow = Arc::new(SlowLog::over(log));
    world.log = slow.clone();
    world.topic("t", 1).await;
    slow.forget(Some(DLQ));
    world.send(vec![world.record("t", 0, Some("bad".into()))]).await;
    let connector = world.start_on(FAST, &store);
    for minute in 0..60 {
        pass(60).await;
        let status = connector.status();
        let trouble = status.trouble.expect("it says what it waits for");
        assert_eq!((status.state, trouble.code), (State::Running, "DLQ_DOWN"), "minute {minute}");
        assert!(trouble.advice.contains("knows no such topic"), "{trouble:?}");
    }
    slow.forget(None);
    world.settled("t").await;
    assert_eq!(world.dead().await.len(), 1);
}
