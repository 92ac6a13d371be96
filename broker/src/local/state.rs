//! What of the log is kept in memory: topics with their bounds, committed offsets, and whether all is well.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, RwLock, Weak,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use fjall::{Database, Keyspace};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{
    index::RunningMark,
    lock::DirLock,
    now_ms,
    queue::Queue,
    space::{self, FreeSpace},
    writer::Job,
};
use crate::{
    Committed, LogError, Offset, TimestampLimits, TopicInfo, TopicPartition, Watermarks,
    sync::{lock, read},
    topic::TopicSettings,
};

/// Everything the writer, the readers and the groups share.
pub(super) struct Shared {
    /// For what outlives a call: answers of the writer.
    pub me: Weak<Self>,
    pub dir: PathBuf,
    pub cluster_id: String,
    pub db: Database,
    pub small: SmallKeyspaces,
    pub topics: RwLock<BTreeMap<Arc<str>, Arc<Topic>>>,
    pub committed: Mutex<HashMap<String, BTreeMap<TopicPartition, Committed>>>,
    pub queue: Queue<Job>,
    pub appended: Arc<Notify>,
    pub record_bytes: usize,
    pub free: FreeSpace,
    /// Why nothing can be written any more.
    pub broken: OnceLock<String>,
    /// Last, so that it outlives the database.
    pub _lock: DirLock,
}

/// Keyspaces that every log has once.
pub(super) struct SmallKeyspaces {
    pub topics: Keyspace,
    pub lows: Keyspace,
    pub groups: Keyspace,
    pub registry: Keyspace,
    pub meta: Keyspace,
}

/// One incarnation of a topic.
pub(super) struct Topic {
    pub name: Arc<str>,
    pub id: Arc<str>,
    /// Changes on the writer thread only.
    pub configured: RwLock<Configured>,
    pub records: Keyspace,
    /// Grows only.
    pub partitions: RwLock<Vec<Arc<Partition>>>,
    pub deleted: AtomicBool,
}

/// What a topic was set to, and what that means.
pub(super) struct Configured {
    pub config: BTreeMap<String, String>,
    pub settings: TopicSettings,
}

pub(super) struct Partition {
    pub low: AtomicI64,
    /// Moves when records are durable.
    pub high: AtomicI64,
    /// When the last record was appended, ms; after a start, the start.
    pub appended_ms: AtomicI64,
    /// Everything below is deleted; unknown (0) after a start. A scan over deleted keys is slow until they are compacted.
    pub cleaned: AtomicI64,
    pub tail: Mutex<Tail>,
}

/// Where the writer appends. Only the writer thread takes this lock for long.
pub(super) struct Tail {
    pub next: Offset,
    /// Computed at the first append after the start.
    pub mark: Option<RunningMark>,
    /// Already among what the group being gathered moves.
    pub moved: bool,
}

/// A topic as stored in the keyspace `topics`.
#[derive(Deserialize, Serialize)]
pub(super) struct StoredTopic {
    pub id: String,
    pub partitions: i32,
    pub config: BTreeMap<String, String>,
}

impl Partition {
    pub fn new(low: Offset, high: Offset) -> Arc<Self> {
        let tail = Mutex::new(Tail { next: high, mark: None, moved: false });
        Arc::new(Self {
            low: AtomicI64::new(low),
            high: AtomicI64::new(high),
            appended_ms: AtomicI64::new(now_ms()),
            cleaned: AtomicI64::new(0),
            tail,
        })
    }

    pub fn watermarks(&self) -> Watermarks {
        // High first: low never passes the high of its time, so a pair is never upside down.
        let high = self.high.load(Ordering::Acquire);
        let low = self.low.load(Ordering::Acquire).min(high);
        Watermarks { low, high }
    }
}

impl Topic {
    pub fn info(&self) -> TopicInfo {
        TopicInfo {
            name: self.name.clone(),
            id: Some(self.id.clone()),
            partitions: self.partition_count(),
            config: self.config(),
            compacted: Some(false),
            timestamps: Some(TimestampLimits::NONE),
        }
    }

    /// By Kafka's names.
    pub fn config(&self) -> BTreeMap<String, String> {
        read(&self.configured).config.clone()
    }

    pub fn settings(&self) -> TopicSettings {
        read(&self.configured).settings
    }

    pub fn partition_count(&self) -> i32 {
        read(&self.partitions).len() as i32
    }

    pub fn partition(&self, partition: i32) -> Option<Arc<Partition>> {
        read(&self.partitions).get(usize::try_from(partition).ok()?).cloned()
    }

    pub fn stored(&self, partitions: i32) -> StoredTopic {
        StoredTopic { id: self.id.to_string(), partitions, config: self.config() }
    }
}

impl Shared {
    pub fn topic(&self, name: &str) -> Result<Arc<Topic>, LogError> {
        read(&self.topics).get(name).cloned().ok_or_else(|| LogError::UnknownTopic(name.to_owned()))
    }

    pub fn partition(&self, part: &TopicPartition) -> Result<(Arc<Topic>, Arc<Partition>), LogError> {
        let topic = self.topic(&part.topic)?;
        let partition =
            topic.partition(part.partition).ok_or_else(|| LogError::UnknownTopic(part.topic.to_string()))?;
        Ok((topic, partition))
    }

    /// Nothing can be trusted to be written any more: refuse everything, wake everyone.
    pub fn break_down(&self, reason: String) {
        // Only the first reason counts.
        if self.broken.set(reason.clone()).is_ok() {
            tracing::error!(reason, dir = %self.dir.display(), "The log is broken; restart the process to recover it.");
        }
        self.queue.close();
        self.wake_readers();
    }

    /// Breaks down if a write of the database's own threads has failed: they end silently, then nothing is tidied up any
    /// more, and what waits for them waits for ever. May wait for an fsync.
    pub fn look_behind(&self) {
        if self.broken.get().is_some() {
            return;
        }
        // Nothing is buffered between two commits: this only asks.
        if let Err(error) = self.db.persist(fjall::PersistMode::Buffer) {
            self.break_down(reason(&error));
        }
    }

    pub fn usable(&self) -> Result<(), LogError> {
        match self.broken.get() {
            Some(reason) => Err(LogError::Fatal(reason.clone())),
            None if self.queue.is_closed() => Err(LogError::Closed),
            None => Ok(()),
        }
    }

    pub fn wake_readers(&self) {
        self.appended.notify_waiters();
    }

    pub fn set_committed_now(&self, group: &str, part: TopicPartition, committed: Option<Committed>) {
        let mut all = lock(&self.committed);
        let positions = all.entry(group.to_owned()).or_default();
        match committed {
            Some(committed) => {
                positions.insert(part, committed);
            }
            None => {
                positions.remove(&part);
            }
        }
        if positions.is_empty() {
            all.remove(group);
        }
    }
}

/// What the database says, as a reason that says what to do.
pub(super) fn reason(error: &fjall::Error) -> String {
    if matches!(error, fjall::Error::Poisoned) {
        return STOPPED.to_owned();
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return format!("writing to disk failed: {}", space::told(error));
        }
        cause = error.source();
    }
    format!("the database failed: {error}")
}

/// The database refuses every write once a single one has failed, and its own threads do not say why.
const STOPPED: &str = "writing to disk failed in the background, the reason stands in the log above: mend the disk, \
                       or make room on it";
