//! Each fault does what it says, a seed is one story, and groups hold their promises in a storm of all of them.

use std::collections::BTreeSet;

use tokio::sync::watch;

use super::{faults::Random, *};
use crate::{Assigned, CommitError, Committer, Headers, Polled, Receipt};

const WAIT: Duration = Duration::from_secs(5);

fn record(value: impl Into<String>) -> NewRecord {
    NewRecord {
        topic: "t".into(),
        partition: Some(0),
        key: None,
        value: Some(value.into().into()),
        headers: Headers::default(),
        timestamp_ms: None,
    }
}

fn part(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn group() -> GroupSpec {
    GroupSpec {
        group: "g".into(),
        topics: vec!["t".into()],
        all_topics: false,
        except: vec![],
        revoke_timeout: Duration::from_secs(2),
    }
}

fn at(offset: Offset) -> Committed {
    Committed { offset, metadata: format!("at {offset}") }
}

async fn log_with(partitions: i32, settings: SimSettings) -> Arc<SimLog> {
    let log = SimLog::new(settings);
    log.create_topic(&TopicSpec { name: "t".into(), partitions, config: BTreeMap::new() }).await.unwrap();
    log
}

async fn produce(log: &SimLog, value: &str) -> Result<Receipt, ProduceError> {
    log.produce(vec![record(value)])?.await.remove(0)
}

async fn member(log: &SimLog) -> (Box<dyn Consumer>, Vec<Assigned>) {
    let mut consumer = log.subscribe(group()).await.unwrap();
    match consumer.poll(10, WAIT).await.unwrap() {
        Polled::Assigned(assigned) => (consumer, assigned),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn produce_faults() {
    let log = log_with(1, SimSettings::default()).await;
    log.script_produce([
        ProduceFault::QueueFull,
        ProduceFault::Refused,
        ProduceFault::Failed,
        ProduceFault::UnknownStored,
        ProduceFault::UnknownLost,
        ProduceFault::None,
    ]);
    assert_eq!(produce(&log, "1").await, Err(ProduceError::QueueFull));
    assert!(matches!(produce(&log, "2").await, Err(ProduceError::Unavailable(_))));
    assert!(matches!(produce(&log, "3").await, Err(ProduceError::Unavailable(_))));
    assert!(matches!(produce(&log, "4").await, Err(ProduceError::Unknown(_))));
    assert!(matches!(produce(&log, "5").await, Err(ProduceError::Unknown(_))));
    assert_eq!(produce(&log, "6").await.unwrap().offset, 1);
    let read = log.read(&part(0), 0, 10, 1_000).await.unwrap();
    assert_eq!(read.iter().map(|r| r.value.clone().unwrap()).collect::<Vec<_>>(), ["4", "6"]);
    assert_eq!(log.queue().records, 0);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_call_holds_up_those_behind_it() {
    let log = log_with(1, SimSettings::default()).await;
    let before = log.now_ms();
    log.script_produce([ProduceFault::Delayed(Duration::from_secs(7))]);
    let first = log.produce(vec![record("a")]).unwrap();
    let second = log.produce(vec![record("b")]).unwrap();
    assert_eq!(second.await[0].as_ref().unwrap().offset, 1);
    assert_eq!(first.await[0].as_ref().unwrap().offset, 0);
    assert!((7_000..7_100).contains(&(log.now_ms() - before)), "virtual time");
}

#[tokio::test(start_paused = true)]
async fn commit_faults() {
    let log = log_with(1, SimSettings::default()).await;
    let (consumer, assigned) = member(&log).await;
    let (committer, epoch) = (consumer.committer(), assigned[0].epoch);
    let commit = async |offset: Offset| committer.commit(&part(0), epoch, &at(offset)).await;
    let stored = async || log.committed("g", &[part(0)]).await.unwrap().get(&part(0)).map(|committed| committed.offset);
    log.script_commit([CommitFault::Refused, CommitFault::Lost, CommitFault::Fenced, CommitFault::Unknown]);
    assert!(matches!(commit(1).await, Err(CommitError::Unavailable(_))));
    assert!(matches!(commit(2).await, Err(CommitError::Unknown(_))));
    assert!(matches!(commit(3).await, Err(CommitError::Fenced)));
    assert_eq!(stored().await, None);
    assert!(matches!(commit(4).await, Err(CommitError::Unknown(_))));
    assert_eq!(stored().await, Some(4));
    log.script_commit([CommitFault::Late(Duration::from_secs(3))]);
    assert!(matches!(commit(5).await, Err(CommitError::Unknown(_))));
    commit(6).await.unwrap();
    assert_eq!(stored().await, Some(6));
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(stored().await, Some(5), "an old commit moved the position back");
}

#[tokio::test(start_paused = true)]
async fn a_delayed_commit_holds_its_partition() {
    let log = log_with(1, SimSettings::default()).await;
    let (consumer, assigned) = member(&log).await;
    let (committer, epoch) = (consumer.committer(), assigned[0].epoch);
    log.script_commit([CommitFault::Delayed(Duration::from_secs(3))]);
    let commit = tokio::spawn(async move { committer.commit(&part(0), epoch, &at(1)).await });
    tokio::task::yield_now().await;
    commit.abort();
    let started = Instant::now();
    drop(consumer);
    // Nobody waits for that commit, but the next owner starts behind it.
    let (_next, assigned) = member(&log).await;
    assert_eq!(assigned[0].committed, Some(at(1)));
    assert!(started.elapsed() >= Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_committed_after_done_even_while_an_earlier_commit_is_on_its_way() {
    let log = log_with(1, SimSettings::default()).await;
    let (mut consumer, assigned) = member(&log).await;
    let epoch = assigned[0].epoch;
    log.script_commit([CommitFault::Delayed(Duration::from_secs(3))]);
    let committer = consumer.committer();
    let first = tokio::spawn(async move { committer.commit(&part(0), epoch, &at(1)).await });
    tokio::task::yield_now().await;
    log.rebalance("g");
    match consumer.poll(1, WAIT).await.unwrap() {
        Polled::Revoke(revoke) => revoke.done(),
        other => panic!("{other:?}"),
    }
    tokio::task::yield_now().await;
    let second = consumer.committer().commit(&part(0), epoch, &at(2)).await;
    assert!(matches!(second, Err(CommitError::Fenced)));
    first.await.unwrap().unwrap();
    match consumer.poll(1, WAIT).await.unwrap() {
        Polled::Assigned(news) => assert_eq!(news[0].committed, Some(at(1))),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_drops_what_had_no_answer() {
    let log = log_with(1, SimSettings::default()).await;
    produce(&log, "kept").await.unwrap();
    let (mut consumer, assigned) = member(&log).await;
    let committer = consumer.committer();
    committer.commit(&part(0), assigned[0].epoch, &at(1)).await.unwrap();
    let pending = log.produce(vec![record("gone")]).unwrap();
    let epoch = assigned[0].epoch;
    let commit = tokio::spawn(async move { committer.commit(&part(0), epoch, &at(9)).await });
    tokio::task::yield_now().await;
    let up = log.crash();
    assert!(matches!(pending.await[0], Err(ProduceError::Unknown(_))));
    assert!(matches!(commit.await.unwrap(), Err(CommitError::Unknown(_))));
    assert!(matches!(consumer.poll(1, WAIT).await, Err(LogError::Closed)));
    assert!(matches!(log.health().await, Err(LogError::Closed)));
    assert_eq!(up.watermarks(&part(0)).await.unwrap().high, 1);
    assert_eq!(up.committed("g", &[part(0)]).await.unwrap()[&part(0)], at(1));
    assert_eq!(up.cluster_id(), log.cluster_id());
    assert_eq!(produce(&up, "next").await.unwrap().offset, 1);
}

#[tokio::test(start_paused = true)]
async fn away_and_back() {
    let log = log_with(1, SimSettings::default()).await;
    produce(&log, "a").await.unwrap();
    let (mut consumer, assigned) = member(&log).await;
    consumer.seek(&part(0), 0).unwrap();
    let pending = log.produce(vec![record("b")]).unwrap();
    log.away(Duration::from_secs(60));
    assert!(matches!(produce(&log, "c").await, Err(ProduceError::Unavailable(_))));
    assert!(matches!(log.topics().await, Err(LogError::Unavailable(_))));
    let commit = consumer.committer().commit(&part(0), assigned[0].epoch, &at(1)).await;
    assert!(matches!(commit, Err(CommitError::Unavailable(_))));
    assert!(matches!(consumer.poll(1, WAIT).await, Ok(Polled::Idle)), "nothing comes, nothing breaks");
    match consumer.poll(1, Duration::from_secs(600)).await.unwrap() {
        Polled::Records { records, .. } => assert_eq!(records[0].offset, 0),
        other => panic!("{other:?}"),
    }
    assert!(pending.await[0].is_ok());
    log.health().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn rebalances_on_demand() {
    let log = log_with(2, SimSettings::default()).await;
    let (mut consumer, first) = member(&log).await;
    log.rebalance("g");
    match consumer.poll(1, WAIT).await.unwrap() {
        Polled::Revoke(revoke) => {
            assert_eq!(revoke.parts.len(), 2);
            revoke.done();
        }
        other => panic!("{other:?}"),
    }
    let second = match consumer.poll(1, WAIT).await.unwrap() {
        Polled::Assigned(assigned) => assigned,
        other => panic!("{other:?}"),
    };
    assert!(second.iter().zip(&first).all(|(second, first)| second.epoch > first.epoch));
    log.expire_sessions("g");
    match consumer.poll(1, WAIT).await.unwrap() {
        Polled::Lost(parts) => assert_eq!(parts.len(), 2),
        other => panic!("{other:?}"),
    }
    let fenced = consumer.committer().commit(&part(0), second[0].epoch, &at(1)).await;
    assert!(matches!(fenced, Err(CommitError::Fenced)));
    assert!(matches!(consumer.poll(1, WAIT).await, Ok(Polled::Assigned(_))));
}

#[tokio::test(start_paused = true)]
async fn news_not_yet_heard_is_taken_back_silently() {
    let log = log_with(2, SimSettings::default()).await;
    let mut consumer = log.subscribe(group()).await.unwrap();
    // Assigned, revoked and lost many times before the first poll: only what holds is told.
    for _ in 0..100 {
        log.rebalance("g");
        log.expire_sessions("g");
    }
    match consumer.poll(1, WAIT).await.unwrap() {
        Polled::Assigned(assigned) => assert_eq!(assigned.len(), 2),
        other => panic!("{other:?}"),
    }
    assert!(matches!(consumer.poll(1, Duration::ZERO).await, Ok(Polled::Idle)));
}

#[tokio::test(start_paused = true)]
async fn a_recreated_topic_has_another_id() {
    let log = log_with(1, SimSettings::default()).await;
    produce(&log, "a").await.unwrap();
    let before = log.topic("t").await.unwrap().id;
    let after = log.recreate_topic("t").await.unwrap();
    assert_ne!(after.id, before);
    assert_eq!(log.watermarks(&part(0)).await.unwrap().high, 0);
}

/// One run of three members under all faults; what happened, without the epochs (they count over the process).
async fn storm(seed: u64) -> Vec<String> {
    let log = log_with(4, SimSettings { seed, ..Default::default() }).await;
    log.chances(Chances {
        produce_failed: 50,
        produce_unknown_stored: 50,
        produce_unknown_lost: 50,
        produce_delayed: 100,
        commit_refused: 50,
        commit_lost: 50,
        commit_unknown: 50,
        commit_delayed: 100,
        gap: 100,
        max_delay: Duration::from_millis(300),
        ..Default::default()
    });
    let story = Arc::new(Mutex::new(Story::default()));
    let (stop, stopped) = watch::channel(false);
    let members: Vec<_> = (0..3u64)
        .map(|n| tokio::spawn(live(log.clone(), story.clone(), Random::new(seed ^ (n + 1)), stopped.clone())))
        .collect();
    let mut random = Random::new(seed.wrapping_mul(31));
    for n in 0..150 {
        let records = (0..1 + random.below(5))
            .map(|i| NewRecord { partition: Some(random.below(4) as i32), ..record(format!("{n}/{i}")) });
        let _ = log.produce(records.collect()).map(tokio::spawn);
        match random.below(20) {
            0 => log.rebalance("g"),
            1 => log.expire_sessions("g"),
            2 => log.away(Duration::from_millis(random.below(1_000))),
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(random.below(60))).await;
    }
    log.chances(Chances::default());
    // Faults are over: everything must be read and committed soon.
    let done = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if log.queue().records == 0 && all_done(&log, &story).await {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), done).await.expect("a live group reads everything");
    stop.send_replace(true);
    for member in members {
        member.await.unwrap();
    }
    std::mem::take(&mut lock(&story).lines)
}

#[derive(Default)]
struct Story {
    lines: Vec<String>,
    /// Epoch of the last commit that counted, per partition.
    epochs: BTreeMap<TopicPartition, u64>,
    seen: BTreeMap<TopicPartition, BTreeSet<Offset>>,
}

/// A member: reads from what is committed, commits what it read, leaves and joins again now and then.
async fn live(log: Arc<SimLog>, story: Arc<Mutex<Story>>, mut random: Random, stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        let Ok(mut consumer) = log.subscribe(group()).await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let committer = consumer.committer();
        for _ in 0..20 + random.below(200) {
            if *stopped.borrow() {
                break;
            }
            match consumer.poll(7, Duration::from_millis(100)).await.unwrap() {
                Polled::Assigned(assigned) => {
                    for news in assigned {
                        let from = news.committed.as_ref().map_or(0, |committed| committed.offset);
                        lock(&story).lines.push(format!("{} from {from}", news.part));
                        consumer.seek(&news.part, from).unwrap();
                    }
                }
                Polled::Records { epoch, records } => {
                    handle(&*committer, &story, epoch, &records).await;
                }
                // Sometimes answered, sometimes after the deadline, sometimes never.
                Polled::Revoke(revoke) => match random.below(3) {
                    0 => revoke.done(),
                    1 => drop(revoke),
                    _ => {
                        tokio::time::sleep(Duration::from_secs(random.below(4))).await;
                        revoke.done();
                    }
                },
                _ => {}
            }
        }
    }
}

/// Commits until it is clear what became of it.
async fn handle(committer: &dyn Committer, story: &Mutex<Story>, epoch: u64, records: &[Record]) {
    let last = records.last().unwrap();
    {
        let mut story = lock(story);
        story.seen.entry(last.part.clone()).or_default().extend(records.iter().map(|record| record.offset));
    }
    loop {
        match committer.commit(&last.part, epoch, &at(last.offset + 1)).await {
            Ok(()) => {
                let mut story = lock(story);
                story.lines.push(format!("{} to {}", last.part, last.offset + 1));
                let before = story.epochs.insert(last.part.clone(), epoch);
                assert!(before.is_none_or(|before| before <= epoch), "a commit of an older epoch counted");
                return;
            }
            Err(CommitError::Fenced) => return,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn all_done(log: &SimLog, story: &Mutex<Story>) -> bool {
    let committed = log.committed("g", &[0, 1, 2, 3].map(part)).await.unwrap_or_default();
    for partition in 0..4 {
        let Ok(records) = log.read(&part(partition), 0, 10_000, usize::MAX).await else { return false };
        let seen = lock(story).seen.get(&part(partition)).cloned().unwrap_or_default();
        let all = records.iter().all(|record| seen.contains(&record.offset));
        let reached = records.last().is_none_or(|last| {
            committed.get(&part(partition)).is_some_and(|committed| committed.offset == last.offset + 1)
        });
        if !all || !reached {
            return false;
        }
    }
    true
}

#[tokio::test(start_paused = true)]
async fn groups_hold_their_promises_in_a_storm() {
    for seed in 0..60 {
        storm(seed).await;
    }
}

#[test]
fn a_seed_is_one_story() {
    let run = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(storm(seed))
    };
    let first = run(11);
    assert!(first.len() > 50, "{}", first.len());
    assert_eq!(first, run(11));
    assert_ne!(first, run(12));
}
