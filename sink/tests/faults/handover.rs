//! Partitions that leave at a bad moment.

use std::{sync::Arc, time::Duration};

use forebay_sink::status::State;

use super::{
    FAST, GROUP, part, pass,
    support::{slow::SlowLog, *},
};

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_gives_back_what_it_owes() {
    let (log, mut world, store) = simulated(1).await;
    world.topic("t", 2).await;
    let slow = Arc::new(SlowLog::over(log.clone()));
    world.log = slow.clone();
    let _connector = world.start_on(FAST, &store);
    world.publish("t", 2, 0, 10).await;
    world.settled("t").await;
    store.set_delay(Duration::from_secs(1000));
    world.publish("t", 2, 10, 10).await;
    pass(2).await;
    // The batches hang, and so the partitions can't be given back at once. Meanwhile the consumer ends.
    log.rebalance(GROUP);
    pass(1).await;
    store.set_delay(Duration::ZERO);
    slow.end_consumer();
    eventually("the next join", async || slow.joins() == 2).await;
    world.settled("t").await;
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_taken_away_already_hinders_no_other() {
    let (log, mut world, store) = simulated(2).await;
    world.topic("t", 3).await;
    let slow = Arc::new(SlowLog::over(log.clone()));
    world.log = slow.clone();
    let connector = world.start_on(FAST, &store);
    world.publish("t", 3, 0, 30).await;
    world.settled("t").await;
    slow.take_away(Some(part()));
    connector.pause();
    eventually("the others to pause", async || slow.paused().len() == 2).await;
    pass(1).await;
    connector.resume();
    eventually("the others to go on", async || slow.paused().is_empty()).await;
    world.publish("t", 3, 30, 30).await;
    pass(2).await;
    assert_eq!(world.lag(GROUP, "t").await, 10, "the others go on");
    // Now the group says so.
    slow.take_away(None);
    log.rebalance(GROUP);
    world.settled("t").await;
    assert_eq!((connector.status().state, slow.joins()), (State::Running, 1));
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_a_partition_that_is_taken_away_waits_for_the_news() {
    let (log, mut world, store) = simulated(3).await;
    world.topic("t", 2).await;
    let slow = Arc::new(SlowLog::over(log.clone()));
    world.log = slow.clone();
    slow.take_away(Some(part()));
    world.publish("t", 2, 0, 10).await;
    let connector = world.start_on(FAST, &store);
    pass(5).await;
    assert_eq!((world.lag(GROUP, "t").await, slow.joins()), (5, 1));
    slow.take_away(None);
    log.expire_sessions(GROUP);
    world.settled("t").await;
    assert_eq!((connector.status().state, slow.joins()), (State::Running, 1));
    world.audit_rows("t", read_store(&store)).await;
}
