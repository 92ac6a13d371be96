//! A log in memory with faults, for simulations: the same semantics as the others, time by tokio's clock. On a paused
//! clock (`tokio::time::pause`) it runs in virtual time, and with a seed the same way every time.
//!
//! [`SimLog::crash`] ends it as a power cut would: what had no receipt is gone, what had one is on the [`SimLog`] that
//! it returns.

mod disk;
mod faults;
mod store;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::{Notify, oneshot, watch},
    time::Instant,
};

pub use self::faults::{Chances, CommitFault, ProduceFault};
use self::{
    disk::Disk,
    faults::Faults,
    store::{Queued, Shared, State},
};
use crate::{
    Committed, Consumer, GroupSpec, Log, LogError, NewRecord, Offset, PendingReceipts, ProduceError, QueueUsage,
    Record, TopicInfo, TopicPartition, TopicSpec, Watermarks,
    config::ProducerSettings,
    group::{Coordinator, FetchLimit},
    partition::{self, Sticky},
    record::payload_bytes,
    sync::lock,
};

/// Where simulated time begins: 2026-01-01T00:00:00Z, ms.
const EPOCH_MS: i64 = 1_767_225_600_000;

/// What a simulated log is made with.
#[derive(Clone, Copy, Debug)]
pub struct SimSettings {
    /// Of all chances.
    pub seed: u64,
    /// From a produce call to its receipt where no fault says otherwise.
    pub latency: Duration,
    /// The producer's queue.
    pub producer: ProducerSettings,
}

impl Default for SimSettings {
    fn default() -> Self {
        let producer = ProducerSettings {
            queue_bytes: 64 << 20,
            queue_records: 100_000,
            linger: Duration::ZERO,
            record_bytes: 1_000_000,
        };
        Self { seed: 0, latency: Duration::from_millis(2), producer }
    }
}

/// A simulated log.
pub struct SimLog {
    shared: Arc<Shared>,
    groups: Arc<Coordinator>,
    sticky: Sticky,
    disk: Arc<Mutex<Disk>>,
}

impl SimLog {
    /// An empty log. Call it within a tokio runtime.
    pub fn new(settings: SimSettings) -> Arc<Self> {
        Self::on(Arc::new(Mutex::new(Disk::default())), settings, Instant::now())
    }

    fn on(disk: Arc<Mutex<Disk>>, settings: SimSettings, started: Instant) -> Arc<Self> {
        let state = State {
            queue: VecDeque::new(),
            records: 0,
            bytes: 0,
            ended: false,
            away_until: None,
            faults: Faults::new(settings.seed),
        };
        let shared = Arc::new_cyclic(|me| Shared {
            me: me.clone(),
            disk: disk.clone(),
            state: Mutex::new(state),
            queued: Notify::new(),
            held: watch::Sender::new(false),
            appended: Arc::new(Notify::new()),
            settings,
            started,
        });
        tokio::spawn(store::write(shared.clone()));
        let groups = Coordinator::new(shared.clone());
        Arc::new(Self { shared, groups, sticky: Sticky::default(), disk })
    }

    /// A power cut: everything handed out of this log says closed from now on, records without receipt and commits
    /// without answer are gone. Returns the log as it comes up again. Chances and scripts begin anew.
    pub fn crash(&self) -> Arc<Self> {
        self.shared.end();
        Self::on(self.disk.clone(), self.shared.settings, self.shared.started)
    }

    /// Now in simulated time, ms.
    pub fn now_ms(&self) -> i64 {
        self.shared.now_ms()
    }

    /// What happens to the next produce calls, one each.
    pub fn script_produce(&self, faults: impl IntoIterator<Item = ProduceFault>) {
        lock(&self.shared.state).faults.produce.extend(faults);
    }

    /// What happens to the next commits, one each.
    pub fn script_commit(&self, faults: impl IntoIterator<Item = CommitFault>) {
        lock(&self.shared.state).faults.commit.extend(faults);
    }

    /// Chances of faults from now on.
    pub fn chances(&self, chances: Chances) {
        lock(&self.shared.state).faults.chances = chances;
    }

    /// Takes produce calls into its queue, but stores none of them until [`SimLog::let_go`].
    pub fn hold(&self) {
        self.shared.held.send_replace(true);
    }

    /// Stores what it [held](SimLog::hold), and everything after it at once.
    pub fn let_go(&self) {
        self.shared.held.send_replace(false);
    }

    /// Can't be reached for so long: produce calls and commits are refused, consumers get nothing, reads fail.
    pub fn away(&self, time: Duration) {
        self.shared.away(time);
    }

    /// A rebalance: every partition of the group is revoked and given out again.
    pub fn rebalance(&self, group: &str) {
        self.groups.shake(group);
    }

    /// The session of every member expires: all partitions are lost without asking, then given out again.
    pub fn expire_sessions(&self, group: &str) {
        self.groups.expel(group);
    }

    /// Deletes a topic and makes it anew, empty, under another id.
    pub async fn recreate_topic(&self, topic: &str) -> Result<TopicInfo, LogError> {
        let info = self.topic(topic).await?;
        let spec = TopicSpec { name: topic.to_owned(), partitions: info.partitions, config: info.config };
        self.delete_topic(topic).await?;
        self.create_topic(&spec).await
    }

    /// Offsets without records at the end of a partition.
    pub fn skip_offsets(&self, part: &TopicPartition, count: Offset) -> Result<(), LogError> {
        lock(&self.disk).partition_mut(part)?.skip(count);
        self.shared.wake_readers();
        Ok(())
    }

    /// Takes single records away, as compaction does.
    pub fn compact(&self, part: &TopicPartition, offsets: impl IntoIterator<Item = Offset>) -> Result<(), LogError> {
        let mut disk = lock(&self.disk);
        let partition = disk.partition_mut(part)?;
        offsets.into_iter().for_each(|offset| partition.remove(offset));
        Ok(())
    }

    /// Retention passes: records below `low` are gone.
    pub fn raise_low(&self, part: &TopicPartition, low: Offset) -> Result<(), LogError> {
        lock(&self.disk).partition_mut(part)?.raise_low(low);
        Ok(())
    }

    /// Acknowledged records from `high` on are gone, and their offsets are given again: a replica that lagged was elected,
    /// or an older copy was put in the log's place.
    pub fn cut(&self, part: &TopicPartition, high: Offset) -> Result<(), LogError> {
        lock(&self.disk).partition_mut(part)?.cut(high);
        Ok(())
    }

    /// Overwrites a committed position behind the group's back, as a commit that lands late does.
    pub fn overwrite_committed(&self, group: &str, part: &TopicPartition, committed: Option<Committed>) {
        lock(&self.disk).set_committed(group, part.clone(), committed);
    }

    fn place(&self, disk: &Disk, record: &NewRecord, call: &mut Option<u32>) -> Result<TopicPartition, ProduceError> {
        let unknown = |what: String| ProduceError::UnknownTopic(what);
        let (name, topic) = disk.topic(&record.topic).map_err(|_| unknown(record.topic.to_string()))?;
        // As a cluster does, which knows of no dead letters.
        let max = topic.settings.max_record_bytes.unwrap_or(self.shared.settings.producer.record_bytes);
        let bytes = payload_bytes(record);
        if bytes > max {
            return Err(ProduceError::TooLarge { bytes, max });
        }
        let partition = partition::place(record, topic.partitions.len() as i32, call, &self.sticky)?;
        Ok(TopicPartition::new(name.clone(), partition))
    }
}

impl Drop for SimLog {
    fn drop(&mut self) {
        self.shared.end();
    }
}

#[async_trait]
impl Log for SimLog {
    fn cluster_id(&self) -> &str {
        "sim-cluster"
    }

    async fn create_topic(&self, spec: &TopicSpec) -> Result<TopicInfo, LogError> {
        self.shared.reachable()?;
        let info = lock(&self.disk).create(spec)?;
        self.groups.topics_changed();
        Ok(info)
    }

    async fn delete_topic(&self, topic: &str) -> Result<(), LogError> {
        self.shared.reachable()?;
        lock(&self.disk).delete(topic)?;
        self.groups.topics_changed();
        Ok(())
    }

    async fn grow_topic(&self, topic: &str, partitions: i32) -> Result<TopicInfo, LogError> {
        self.shared.reachable()?;
        let info = lock(&self.disk).grow(topic, partitions)?;
        self.groups.topics_changed();
        Ok(info)
    }

    async fn set_topic(&self, topic: &str, config: &BTreeMap<String, String>) -> Result<TopicInfo, LogError> {
        self.shared.reachable()?;
        // What was to go by now went by what was set until now.
        self.shared.disk().set(topic, config)
    }

    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        self.shared.reachable()?;
        Ok(lock(&self.disk).topics.iter().map(|(name, topic)| topic.info(name)).collect())
    }

    async fn topic(&self, topic: &str) -> Result<TopicInfo, LogError> {
        self.shared.reachable()?;
        let disk = lock(&self.disk);
        let (name, topic) = disk.topic(topic)?;
        Ok(topic.info(name))
    }

    async fn watermarks(&self, part: &TopicPartition) -> Result<Watermarks, LogError> {
        self.shared.reachable()?;
        Ok(self.shared.disk().partition(part)?.watermarks())
    }

    async fn offset_for_time(&self, part: &TopicPartition, timestamp_ms: i64) -> Result<Option<Offset>, LogError> {
        self.shared.reachable()?;
        Ok(self.shared.disk().partition(part)?.offset_for_time(timestamp_ms))
    }

    async fn read(
        &self,
        part: &TopicPartition,
        from: Offset,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, LogError> {
        self.shared.reachable()?;
        let limit = FetchLimit { records: max_records, bytes: max_bytes };
        Ok(self.shared.disk().partition(part)?.fetch(part, from, limit)?.records)
    }

    fn produce(&self, records: Vec<NewRecord>) -> Result<PendingReceipts, ProduceError> {
        self.shared.reachable().map_err(|error| ProduceError::Unavailable(error.to_string()))?;
        let fault = self.shared.admit(&records)?;
        let bytes = records.iter().map(payload_bytes).sum();
        let (reply, receipts) = oneshot::channel();
        let mut call = None;
        let disk = lock(&self.disk);
        let records: Vec<_> = records
            .into_iter()
            .map(|record| self.place(&disk, &record, &mut call).map(|part| (part, record)))
            .collect();
        drop(disk);
        let count = records.len();
        self.shared.push(Queued { records, bytes, fault, reply });
        Ok(Box::pin(async move {
            let lost = |_| vec![Err(ProduceError::Unknown("the log went away".to_owned())); count];
            receipts.await.unwrap_or_else(lost)
        }))
    }

    fn record_bytes(&self) -> usize {
        self.shared.settings.producer.record_bytes
    }

    fn queue(&self) -> QueueUsage {
        let limits = self.shared.settings.producer;
        let state = lock(&self.shared.state);
        QueueUsage {
            records: state.records,
            bytes: state.bytes,
            max_records: limits.queue_records,
            max_bytes: limits.queue_bytes,
            rebuilds: 0,
        }
    }

    async fn subscribe(&self, spec: GroupSpec) -> Result<Box<dyn Consumer>, LogError> {
        self.shared.reachable()?;
        self.groups.subscribe(spec)
    }

    async fn committed(
        &self,
        group: &str,
        parts: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Committed>, LogError> {
        self.shared.reachable()?;
        Ok(crate::topic::committed_of(lock(&self.disk).committed.get(group), parts))
    }

    async fn set_committed(
        &self,
        group: &str,
        offsets: &[(TopicPartition, Option<Committed>)],
    ) -> Result<(), LogError> {
        self.shared.reachable()?;
        let _frozen = self.groups.freeze_empty(group).await?;
        let mut disk = lock(&self.disk);
        for (part, committed) in offsets {
            disk.partition(part)?;
            crate::topic::check_committed(committed.as_ref())?;
        }
        for (part, committed) in offsets {
            disk.set_committed(group, part.clone(), committed.clone());
        }
        // Before the group is free again: it looks at the disk.
        drop(disk);
        Ok(())
    }

    async fn health(&self) -> Result<(), LogError> {
        self.shared.reachable()
    }

    async fn close_within(&self, _: Duration) -> Result<(), LogError> {
        self.shared.close().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
