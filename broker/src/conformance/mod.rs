//! What every log must do, as one suite: each case runs on a fresh log that a [`Subject`] gives. A failed case panics.
//!
//! Time is tokio's, so the suite runs in virtual time on a paused clock. The logs are made with [`LIMITS`].
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a failed expectation is the result")]

mod admin;
mod groups;
mod hands;
mod records;
mod time;

use std::{collections::BTreeMap, future::Future, pin::Pin, slice, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    Assigned, Consumer, GroupSpec, Headers, Log, NewRecord, Offset, Polled, Receipt, Record, TopicInfo, TopicPartition,
    TopicSpec, config::ProducerSettings,
};

/// How the logs under test are to be made.
pub const LIMITS: ProducerSettings =
    ProducerSettings { queue_bytes: 8 << 20, queue_records: 5_000, linger: Duration::ZERO, record_bytes: 100_000 };
/// Longest a case may take.
const CASE_TIMEOUT: Duration = Duration::from_secs(180);
/// Longest anything awaited may take. On a cluster new topics and partitions are seen within 10 s, on a busy machine later.
const PATIENCE: Duration = Duration::from_secs(30);
/// For a member to hand on what it has, where a case does not wait for the end of this time.
const REVOKE: Duration = Duration::from_secs(10);

/// A log under test.
#[async_trait]
pub trait Subject: Send {
    /// The log as it is now.
    fn log(&self) -> Arc<dyn Log>;
    /// Ends the log without closing it in order, and opens it again. Nobody else holds it then.
    async fn reopen(&mut self);
    /// Takes records away from the middle of a partition but leaves their offsets; false if this log can't.
    async fn compact(&self, part: &TopicPartition, offsets: Vec<Offset>) -> bool;
    /// Settings of a topic under which retention works on little data.
    fn small_segments(&self) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }
    /// A consumer reads ahead of its polls, one partition before the other.
    fn reads_ahead(&self) -> bool {
        false
    }
}

type Case = for<'a> fn(&'a mut dyn Subject) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

macro_rules! cases {
    ($($module:ident::$name:ident,)*) => {
        const CASES: &[(&str, Case)] = &[$((stringify!($name), |subject| Box::pin($module::$name(subject)))),*];
    };
}

cases! {
    records::order_per_partition,
    records::receipts_match_what_is_read_back,
    records::headers_null_key_tombstone_and_empty_value,
    records::keys_choose_the_partition_as_in_java,
    records::records_without_key_of_one_call_stay_together,
    records::unknown_topic_and_partition,
    records::too_large,
    records::queue_full_at_once,
    records::read_limits,
    records::read_outside_the_bounds,
    records::dropped_receipts_do_not_take_records_back,
    time::timestamps_are_kept_or_set,
    time::seek_by_time,
    time::seek_by_time_among_many,
    time::retention_by_bytes,
    time::retention_by_age,
    time::dead_letters_are_kept_from_when_they_failed,
    admin::topics_come_and_go,
    admin::names_and_settings_are_checked,
    admin::a_topic_made_again_is_another,
    admin::compacted_topics_want_keys,
    admin::grow_a_topic,
    admin::settings_change_one_by_one,
    admin::reopening_keeps_everything,
    admin::offsets_go_on_after_reopening,
    admin::closed_refuses,
    groups::commit_metadata_round_trips,
    groups::same_offset_with_other_metadata,
    groups::end_is_told_once_per_arrival,
    groups::end_above_gaps,
    groups::pause_resume_seek,
    groups::appends_wake_the_poll,
    groups::polls_can_be_cancelled,
    groups::all_partitions_get_their_turn,
    groups::set_committed_needs_an_empty_group,
    groups::all_topics_follows_new_ones,
    groups::position_outside_the_bounds,
    hands::second_member_takes_half,
    hands::revoke_waits_for_done,
    hands::lost_at_the_deadline,
    hands::old_epochs_are_fenced,
    hands::commits_count_until_done,
    hands::receipts_arrive_after_the_revoke,
    hands::a_member_that_leaves_hands_on,
    hands::a_deleted_topic_is_lost,
    hands::setting_offsets_waits_for_a_last_commit,
}

/// Runs every case, each on a log of its own, and panics with all that failed.
pub async fn run<S: Subject + 'static, F: Future<Output = S>>(make: impl Fn() -> F) {
    run_those(|_| true, make).await;
}

/// The same for the cases of these names.
pub async fn run_those<S: Subject + 'static, F: Future<Output = S>>(
    wanted: impl Fn(&str) -> bool,
    make: impl Fn() -> F,
) {
    let mut failed = Vec::new();
    for (name, case) in CASES.iter().filter(|(name, _)| wanted(name)) {
        let mut subject = make().await;
        let run = tokio::spawn(async move { tokio::time::timeout(CASE_TIMEOUT, case(&mut subject)).await });
        match run.await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => failed.push(format!("{name} took longer than {CASE_TIMEOUT:?}")),
            Err(error) => failed.push(format!("{name}: {error}")),
        }
    }
    assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), CASES.len(), failed.join("\n"));
}

async fn topic(log: &Arc<dyn Log>, name: &str, partitions: i32) {
    topic_with(log, name, partitions, &[]).await;
}

async fn topic_with(log: &Arc<dyn Log>, name: &str, partitions: i32, config: &[(&str, &str)]) {
    let config: BTreeMap<_, _> = config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    log.create_topic(&TopicSpec { name: name.to_owned(), partitions, config }).await.unwrap();
}

/// All topics but those that a cluster keeps for itself.
async fn topics(log: &Arc<dyn Log>) -> Vec<TopicInfo> {
    let all = log.topics().await.unwrap();
    all.into_iter().filter(|info| !["__consumer_offsets", "__transaction_state"].contains(&&*info.name)).collect()
}

fn record(topic: &str, partition: i32, value: impl Into<String>) -> NewRecord {
    NewRecord {
        topic: topic.into(),
        partition: Some(partition),
        key: None,
        value: Some(value.into().into()),
        headers: Headers::default(),
        timestamp_ms: None,
    }
}

async fn produce(log: &Arc<dyn Log>, records: Vec<NewRecord>) -> Vec<Receipt> {
    log.produce(records).unwrap().await.into_iter().map(|receipt| receipt.unwrap()).collect()
}

/// Appends so many records to a partition; their values are their numbers.
async fn fill(log: &Arc<dyn Log>, topic: &str, partition: i32, count: usize) {
    produce(log, (0..count).map(|n| record(topic, partition, n.to_string())).collect()).await;
}

async fn read_all(log: &Arc<dyn Log>, part: &TopicPartition) -> Vec<Record> {
    let bounds = log.watermarks(part).await.unwrap();
    let (mut all, mut from) = (Vec::new(), bounds.low);
    while from < bounds.high {
        let read = log.read(part, from, 1_000, 1 << 20).await.unwrap();
        let Some(last) = read.last() else { break };
        from = last.offset + 1;
        all.extend(read);
    }
    all
}

fn text(record: &Record) -> &str {
    std::str::from_utf8(record.value.as_deref().unwrap()).unwrap()
}

fn group(topics: &[&str]) -> GroupSpec {
    GroupSpec {
        group: "g".to_owned(),
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        all_topics: false,
        except: Vec::new(),
        revoke_timeout: REVOKE,
    }
}

/// The next thing that is not idleness.
async fn next(consumer: &mut Box<dyn Consumer>) -> Polled {
    let wait = async {
        loop {
            match consumer.poll(500, Duration::from_secs(1)).await.unwrap() {
                Polled::Idle => {}
                polled => return polled,
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("something happens")
}

async fn assigned(consumer: &mut Box<dyn Consumer>) -> Vec<Assigned> {
    match next(consumer).await {
        Polled::Assigned(assigned) => assigned,
        other => panic!("expected an assignment, got {other:?}"),
    }
}

/// Subscribes as the only member; every partition is read from its start.
async fn subscribe_from_start(log: &Arc<dyn Log>, topics: &[&str]) -> (Box<dyn Consumer>, Vec<Assigned>) {
    let mut consumer = log.subscribe(group(topics)).await.unwrap();
    let assigned = assigned(&mut consumer).await;
    for news in &assigned {
        consumer.seek(&news.part, 0).unwrap();
    }
    (consumer, assigned)
}

/// Records until the end of one partition, and the offset of that end.
async fn until_eof(consumer: &mut Box<dyn Consumer>) -> (Vec<Record>, Offset) {
    let mut all = Vec::new();
    loop {
        match next(consumer).await {
            Polled::Records { records, .. } => all.extend(records),
            Polled::Eof { offset, .. } => return (all, offset),
            other => panic!("expected records or an end, got {other:?}"),
        }
    }
}

/// Polls shortly and expects nothing.
async fn idle(consumer: &mut Box<dyn Consumer>) {
    match consumer.poll(500, Duration::from_millis(50)).await.unwrap() {
        Polled::Idle => {}
        other => panic!("expected nothing, got {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        local::{LocalLog, LocalSettings},
        sim::{SimLog, SimSettings},
    };

    struct Local {
        settings: LocalSettings,
        log: Option<Arc<LocalLog>>,
        _dir: tempfile::TempDir,
    }

    impl Local {
        async fn make() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let settings = LocalSettings {
                dir: dir.path().join("log"),
                group_commit: Duration::from_millis(1),
                cache_bytes: 8 << 20,
                retention_check: Duration::from_millis(20),
                min_free_bytes: Some(0),
                producer: LIMITS,
            };
            let log = LocalLog::open(settings.clone()).unwrap();
            Self { settings, log: Some(log), _dir: dir }
        }
    }

    #[async_trait]
    impl Subject for Local {
        fn log(&self) -> Arc<dyn Log> {
            self.log.clone().unwrap()
        }

        async fn reopen(&mut self) {
            let log = self.log.take().unwrap();
            assert_eq!(Arc::strong_count(&log), 1, "someone still holds the log");
            let settings = self.settings.clone();
            let open = move || {
                drop(log);
                LocalLog::open(settings).unwrap()
            };
            self.log = Some(tokio::task::spawn_blocking(open).await.unwrap());
        }

        async fn compact(&self, _: &TopicPartition, _: Vec<Offset>) -> bool {
            false
        }
    }

    struct Sim(Arc<SimLog>);

    #[async_trait]
    impl Subject for Sim {
        fn log(&self) -> Arc<dyn Log> {
            self.0.clone()
        }

        async fn reopen(&mut self) {
            self.0 = self.0.crash();
        }

        async fn compact(&self, part: &TopicPartition, offsets: Vec<Offset>) -> bool {
            self.0.compact(part, offsets).unwrap();
            true
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn local_conforms() {
        run(Local::make).await;
    }

    #[tokio::test(start_paused = true)]
    async fn sim_conforms() {
        run(|| async { Sim(SimLog::new(SimSettings { producer: LIMITS, ..Default::default() })) }).await;
    }
}
