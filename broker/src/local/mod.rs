//! `local://DIR`: a durable log of one process in a directory, on an embedded LSM store (fjall).
//!
//! One database per directory, one keyspace per topic (`keys.rs`, `format.rs`), one writer thread (`writer.rs`) that
//! assigns offsets and fsyncs commit groups. Records can be read only after their fsync. An I/O error while writing
//! ends the log: the process must end and recover at its next start.

mod admin;
mod buffers;
mod format;
mod index;
mod journal;
mod keys;
mod lock;
mod open;
mod produce;
mod queue;
mod read;
mod registry;
mod retention;
mod space;
mod state;
mod store;
mod writer;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use async_trait::async_trait;

use self::state::Shared;
pub use self::{registry::registry_store, space::min_free_bytes};
use crate::{
    Committed, Consumer, GroupSpec, Log, LogError, NewRecord, Offset, PendingReceipts, ProduceError, QueueUsage,
    Record, TopicInfo, TopicPartition, TopicSpec, Watermarks,
    config::{BrokerSettings, ProducerSettings},
    group::Coordinator,
    partition::Sticky,
    sync::{lock, read as read_lock},
    timestamps::now_ms,
};

/// What an embedded log needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalSettings {
    /// Its directory; made if missing.
    pub dir: PathBuf,
    /// How long records wait for others to share an fsync.
    pub group_commit: Duration,
    /// Bytes of recently read blocks in memory.
    pub cache_bytes: u64,
    /// Between two looks for expired records.
    pub retention_check: Duration,
    /// Free disk below which records are refused; `None`: as [`min_free_bytes`] says.
    pub min_free_bytes: Option<u64>,
    /// The queue before the writer.
    pub producer: ProducerSettings,
}

impl LocalSettings {
    /// Of the log in `dir`, from the resolved `broker:` and `producer:` of the configuration.
    pub fn new(dir: PathBuf, broker: &BrokerSettings, producer: ProducerSettings) -> Self {
        Self {
            dir,
            group_commit: broker.group_commit,
            cache_bytes: broker.cache_bytes,
            retention_check: broker.retention_check,
            min_free_bytes: broker.min_free_bytes,
            producer,
        }
    }
}

/// An open log directory. The directory is free for others when this, and every consumer and future of it, is gone.
pub struct LocalLog {
    shared: Arc<Shared>,
    groups: Arc<Coordinator>,
    sticky: Sticky,
    /// None after the end.
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    writer: JoinHandle<()>,
    retention: retention::Job,
}

/// Between two looks at whether the threads have ended.
const LOOK: Duration = Duration::from_millis(5);
/// How long the threads of a broken log may take to end. They may wait for threads of the database that ended.
const BROKEN_END: Duration = Duration::from_secs(2);

impl Threads {
    /// Waits until what was accepted is written; but not for ever once the log is broken.
    fn end(self, shared: &Shared) {
        let threads = [Some(self.writer), self.retention.end()];
        let mut broken = None;
        while threads.iter().flatten().any(|thread| !thread.is_finished()) {
            shared.look_behind();
            if shared.broken.get().is_some() && broken.get_or_insert_with(Instant::now).elapsed() > BROKEN_END {
                tracing::error!("The threads of the broken log still wait for the disk: they are left behind.");
                return;
            }
            std::thread::sleep(LOOK);
        }
        // A panic of the writer has been told already.
        threads.into_iter().flatten().for_each(|thread| drop(thread.join()));
    }
}

impl LocalLog {
    /// Opens or makes the log in a directory. Reads the journal, so call it off the async runtime
    /// ([`crate::open`] does).
    pub fn open(settings: LocalSettings) -> Result<Arc<Self>, LogError> {
        let shared = open::open(&settings)?;
        let failed = |error: std::io::Error| LogError::Unavailable(format!("no thread could be started: {error}"));
        let writer = writer::spawn(shared.clone(), settings.group_commit).map_err(failed)?;
        let retention = retention::Job::spawn(shared.clone(), settings.retention_check)
            .inspect_err(|_| shared.queue.close())
            .map_err(failed)?;
        let groups = Coordinator::new(shared.clone());
        let threads = Mutex::new(Some(Threads { writer, retention }));
        tracing::info!(dir = %shared.dir.display(), cluster_id = shared.cluster_id, "The log is open.");
        Ok(Arc::new(Self { shared, groups, sticky: Sticky::default(), threads }))
    }

    /// Where the embedded schema registry keeps its state: in the same database.
    pub fn registry_store(&self) -> Arc<dyn forebay_avro::registry::RegistryStore> {
        Arc::new(registry::Store::new(self.shared.clone()))
    }

    /// Changes topics and tells the groups: both happen even if the caller stops waiting.
    async fn administer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Shared>) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let groups = self.groups.clone();
        let both = move |shared: &Arc<Shared>| {
            let done = work(shared)?;
            groups.topics_changed();
            Ok(done)
        };
        admin::alone(&self.shared, both).await
    }

    /// Ends the threads; what was accepted is written first. Blocks for as long as that takes.
    fn end(&self) {
        self.shared.queue.close();
        let threads = lock(&self.threads).take();
        if let Some(threads) = threads {
            threads.end(&self.shared);
        }
        self.shared.wake_readers();
    }
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        self.end();
    }
}

#[async_trait]
impl Log for LocalLog {
    fn cluster_id(&self) -> &str {
        &self.shared.cluster_id
    }

    async fn create_topic(&self, spec: &TopicSpec) -> Result<TopicInfo, LogError> {
        let spec = spec.clone();
        self.administer(move |shared| admin::create(shared, &spec)).await
    }

    async fn delete_topic(&self, topic: &str) -> Result<(), LogError> {
        let name = topic.to_owned();
        self.administer(move |shared| admin::delete(shared, &name)).await
    }

    async fn grow_topic(&self, topic: &str, partitions: i32) -> Result<TopicInfo, LogError> {
        let name = topic.to_owned();
        self.administer(move |shared| admin::grow(shared, &name, partitions)).await
    }

    async fn set_topic(&self, topic: &str, config: &BTreeMap<String, String>) -> Result<TopicInfo, LogError> {
        let (name, config) = (topic.to_owned(), config.clone());
        self.administer(move |shared| admin::set(shared, &name, config)).await
    }

    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        Ok(read_lock(&self.shared.topics).values().map(|topic| topic.info()).collect())
    }

    async fn topic(&self, topic: &str) -> Result<TopicInfo, LogError> {
        Ok(self.shared.topic(topic)?.info())
    }

    async fn watermarks(&self, part: &TopicPartition) -> Result<Watermarks, LogError> {
        Ok(self.shared.partition(part)?.1.watermarks())
    }

    async fn offset_for_time(&self, part: &TopicPartition, timestamp_ms: i64) -> Result<Option<Offset>, LogError> {
        let (topic, partition) = self.shared.partition(part)?;
        let number = part.partition;
        read::blocking(move || index::offset_for_time(&topic.records, number, partition.watermarks(), timestamp_ms))
            .await
    }

    async fn read(
        &self,
        part: &TopicPartition,
        from: Offset,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, LogError> {
        let (topic, partition) = self.shared.partition(part)?;
        let limit = crate::group::FetchLimit { records: max_records, bytes: max_bytes };
        Ok(read::fetch(topic, partition, part.partition, from, limit).await?.records)
    }

    fn produce(&self, records: Vec<NewRecord>) -> Result<PendingReceipts, ProduceError> {
        produce::produce(self, records)
    }

    fn record_bytes(&self) -> usize {
        self.shared.record_bytes
    }

    fn queue(&self) -> QueueUsage {
        self.shared.queue.usage()
    }

    async fn subscribe(&self, spec: GroupSpec) -> Result<Box<dyn Consumer>, LogError> {
        self.groups.subscribe(spec)
    }

    async fn committed(
        &self,
        group: &str,
        parts: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Committed>, LogError> {
        Ok(crate::topic::committed_of(lock(&self.shared.committed).get(group), parts))
    }

    async fn set_committed(
        &self,
        group: &str,
        offsets: &[(TopicPartition, Option<Committed>)],
    ) -> Result<(), LogError> {
        let frozen = self.groups.freeze_empty(group).await?;
        store::set_committed(&self.shared, group, offsets, frozen).await
    }

    async fn health(&self) -> Result<(), LogError> {
        let shared = self.shared.clone();
        read::blocking(move || {
            shared.look_behind();
            shared.usable()?;
            shared.free.check().map_err(LogError::NoRoom)
        })
        .await
    }

    /// Hangs on nobody but the disk: it is waited for.
    async fn close_within(&self, _: Duration) -> Result<(), LogError> {
        self.shared.queue.close();
        let threads = lock(&self.threads).take();
        if let Some(threads) = threads {
            let shared = self.shared.clone();
            read::blocking(move || {
                threads.end(&shared);
                Ok(())
            })
            .await?;
        }
        self.shared.wake_readers();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
