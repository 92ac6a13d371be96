//! The running part of a simulated log: its queue, its one writer task, and what groups need of it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::{Notify, oneshot, watch},
    time::Instant,
};

use super::{CommitFault, EPOCH_MS, ProduceFault, SimSettings, disk::Disk, faults::Faults};
use crate::{
    CommitError, Committed, LogError, NewRecord, Offset, ProduceError, Receipts, TopicInfo, TopicPartition, Watermarks,
    group::{FetchLimit, Fetched, Place, Store, Ticket},
    record::payload_bytes,
    sync::lock,
};

/// One life of a simulated log, from its start to its crash.
pub(super) struct Shared {
    pub me: Weak<Self>,
    pub disk: Arc<Mutex<Disk>>,
    pub state: Mutex<State>,
    pub queued: Notify,
    /// Whether the writer stores nothing.
    pub held: watch::Sender<bool>,
    pub appended: Arc<Notify>,
    pub settings: SimSettings,
    pub started: Instant,
}

pub(super) struct State {
    pub queue: VecDeque<Queued>,
    /// Records without receipt.
    pub records: usize,
    pub bytes: usize,
    pub ended: bool,
    pub away_until: Option<Instant>,
    pub faults: Faults,
}

/// A produce call on its way.
pub(super) struct Queued {
    pub records: Vec<Result<(TopicPartition, NewRecord), ProduceError>>,
    pub bytes: usize,
    pub fault: ProduceFault,
    pub reply: oneshot::Sender<Receipts>,
}

impl Shared {
    pub fn now_ms(&self) -> i64 {
        EPOCH_MS + i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX - EPOCH_MS)
    }

    /// The disk, with retention applied up to now.
    pub fn disk(&self) -> MutexGuard<'_, Disk> {
        let mut disk = lock(&self.disk);
        disk.expire(self.now_ms());
        disk
    }

    pub fn reachable(&self) -> Result<(), LogError> {
        let state = lock(&self.state);
        if state.ended {
            return Err(LogError::Closed);
        }
        match state.away_until {
            Some(until) if Instant::now() < until => Err(LogError::Unavailable("it is away (simulated)".to_owned())),
            _ => Ok(()),
        }
    }

    pub fn away(self: &Arc<Self>, time: Duration) {
        lock(&self.state).away_until = Some(Instant::now() + time);
        let me = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            me.wake_readers();
            me.queued.notify_one();
        });
    }

    pub fn wake_readers(&self) {
        self.appended.notify_waiters();
    }

    /// Makes room in the queue for a call, and says what is to happen to it.
    pub fn admit(&self, records: &[NewRecord]) -> Result<ProduceFault, ProduceError> {
        let limits = self.settings.producer;
        let bytes: usize = records.iter().map(payload_bytes).sum();
        let mut state = lock(&self.state);
        if state.records + records.len() > limits.queue_records || state.bytes + bytes > limits.queue_bytes {
            return Err(ProduceError::QueueFull);
        }
        let fault = state.faults.next_produce();
        match fault {
            ProduceFault::QueueFull => return Err(ProduceError::QueueFull),
            ProduceFault::Refused => return Err(ProduceError::Unavailable("refused (simulated)".to_owned())),
            _ => {}
        }
        state.records += records.len();
        state.bytes += bytes;
        Ok(fault)
    }

    /// Queues what [`Shared::admit`] made room for.
    pub fn push(&self, call: Queued) {
        lock(&self.state).queue.push_back(call);
        self.queued.notify_one();
    }

    /// At once, as a power cut.
    pub fn end(&self) {
        let dropped = {
            let mut state = lock(&self.state);
            state.ended = true;
            std::mem::take(&mut state.queue)
        };
        drop(dropped);
        self.held.send_replace(false);
        self.queued.notify_one();
        self.wake_readers();
    }

    /// In order: waits for the queue to empty first.
    pub async fn close(&self) {
        loop {
            let finished = self.appended.notified();
            let done = {
                let state = lock(&self.state);
                state.records == 0 || state.ended
            };
            if done {
                break;
            }
            finished.await;
        }
        self.end();
    }

    fn ended(&self) -> bool {
        lock(&self.state).ended
    }

    async fn let_go(&self) {
        // It can't fail: the sender is ours.
        let _ = self.held.subscribe().wait_for(|held| !held).await;
    }

    async fn back(&self) {
        loop {
            let until = lock(&self.state).away_until.filter(|until| Instant::now() < *until);
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => return,
            }
        }
    }

    fn append(&self, records: Vec<Result<(TopicPartition, NewRecord), ProduceError>>) -> Receipts {
        let now_ms = self.now_ms();
        let mut disk = lock(&self.disk);
        let mut append = |part: TopicPartition, record: NewRecord| {
            let gap = lock(&self.state).faults.next_gap();
            let unknown = |_| ProduceError::UnknownTopic(part.topic.to_string());
            let settings = disk.topic(&part.topic).map_err(unknown)?.1.settings;
            let partition = disk.partition_mut(&part).map_err(unknown)?;
            Ok(partition.append(part, record, gap, (settings, now_ms)))
        };
        records.into_iter().map(|record| record.and_then(|(part, record)| append(part, record))).collect()
    }

    fn finish(&self, call: Queued) {
        let (count, bytes) = (call.records.len(), call.bytes);
        let not_stored = |records: Vec<Result<_, ProduceError>>, error: ProduceError| -> Receipts {
            records.into_iter().map(|record| record.and(Err(error.clone()))).collect()
        };
        let receipts = match call.fault {
            ProduceFault::Failed => {
                not_stored(call.records, ProduceError::Unavailable("failed (simulated)".to_owned()))
            }
            ProduceFault::UnknownLost => not_stored(call.records, ProduceError::Unknown("lost (simulated)".to_owned())),
            ProduceFault::UnknownStored => {
                let unknown = |_| Err(ProduceError::Unknown("stored without answer (simulated)".to_owned()));
                self.append(call.records).into_iter().map(|receipt| receipt.and_then(unknown)).collect()
            }
            _ => self.append(call.records),
        };
        {
            let mut state = lock(&self.state);
            state.records -= count;
            state.bytes -= bytes;
        }
        self.wake_readers();
        // The caller may have stopped waiting.
        let _ = call.reply.send(receipts);
    }
}

/// The writer: one call after the other, each after the latency or its delay.
pub(super) async fn write(shared: Arc<Shared>) {
    while !shared.ended() {
        let next = lock(&shared.state).queue.pop_front();
        let Some(call) = next else {
            shared.queued.notified().await;
            continue;
        };
        let delay = if let ProduceFault::Delayed(delay) = call.fault { delay } else { shared.settings.latency };
        tokio::time::sleep(delay).await;
        shared.let_go().await;
        shared.back().await;
        if shared.ended() {
            return;
        }
        shared.finish(call);
    }
}

#[async_trait]
impl Store for Shared {
    fn usable(&self) -> Result<(), LogError> {
        if self.ended() { Err(LogError::Closed) } else { Ok(()) }
    }

    fn topics_now(&self) -> Vec<TopicInfo> {
        lock(&self.disk).topics.iter().map(|(name, topic)| topic.info(name)).collect()
    }

    fn watermarks_now(&self, part: &TopicPartition, topic_id: &str) -> Option<Watermarks> {
        let disk = self.disk();
        disk.topics.get(&part.topic).filter(|topic| *topic.id == *topic_id)?;
        disk.partition(part).ok().map(super::disk::Partition::watermarks)
    }

    fn committed_now(&self, group: &str, part: &TopicPartition) -> Option<Committed> {
        lock(&self.disk).committed.get(group)?.get(part).cloned()
    }

    fn appended(&self) -> Arc<Notify> {
        self.appended.clone()
    }

    async fn fetch(&self, at: &Place<'_>, from: Offset, limit: FetchLimit) -> Result<Fetched, LogError> {
        if self.reachable().is_err() {
            // As a consumer of an unreachable cluster: nothing comes, and nothing is at its end.
            return Ok(Fetched { records: Vec::new(), high: from });
        }
        self.disk().partition(at.part)?.fetch(at.part, from, limit)
    }

    async fn store_commit(
        &self,
        group: &str,
        at: &Place<'_>,
        committed: &Committed,
        ticket: Ticket,
    ) -> Result<(), CommitError> {
        self.reachable().map_err(|error| CommitError::Unavailable(error.to_string()))?;
        let fault = lock(&self.state).faults.next_commit();
        let commit = Commit {
            shared: self.me.clone(),
            group: group.to_owned(),
            part: at.part.clone(),
            topic_id: at.topic_id.to_owned(),
            committed: committed.clone(),
        };
        let unknown = || CommitError::Unknown("no answer (simulated)".to_owned());
        match fault {
            CommitFault::Refused => return Err(CommitError::Unavailable("refused (simulated)".to_owned())),
            CommitFault::Lost => return Err(unknown()),
            CommitFault::Fenced => return Err(CommitError::Fenced),
            _ => {}
        }
        let delay = match fault {
            CommitFault::Late(delay) | CommitFault::Delayed(delay) => delay,
            _ => self.settings.latency,
        };
        if let CommitFault::Late(_) = fault {
            // Out of the group's sight: it may land after the partition changed hands.
            drop(ticket);
            tokio::spawn(commit.after(delay, None));
            return Err(unknown());
        }
        // In a task of its own: it goes on if the caller stops waiting.
        let stored = tokio::spawn(commit.after(delay, Some(ticket))).await.unwrap_or(Err(CommitError::Fenced));
        if fault == CommitFault::Unknown { stored.and(Err(unknown())) } else { stored }
    }
}

/// A commit on its way.
struct Commit {
    shared: Weak<Shared>,
    group: String,
    part: TopicPartition,
    topic_id: String,
    committed: Committed,
}

impl Commit {
    async fn after(self, delay: Duration, ticket: Option<Ticket>) -> Result<(), CommitError> {
        tokio::time::sleep(delay).await;
        let stored = self.store();
        drop(ticket);
        stored
    }

    fn store(&self) -> Result<(), CommitError> {
        // A commit in flight at a crash is lost.
        let alive = self.shared.upgrade().filter(|shared| !shared.ended());
        let shared = alive.ok_or_else(|| CommitError::Unknown("the log went away".to_owned()))?;
        let mut disk = lock(&shared.disk);
        if disk.topics.get(&self.part.topic).is_none_or(|topic| *topic.id != *self.topic_id) {
            return Err(CommitError::Fenced);
        }
        disk.set_committed(&self.group, self.part.clone(), Some(self.committed.clone()));
        Ok(())
    }
}
