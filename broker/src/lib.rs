//! How records move: one trait over Apache Kafka, the embedded log on disk, and a simulated log with faults.
//!
//! Everything is batch-first: a produce call takes a request's records and completes once; a consumer hands out slices
//! of records. Assignments carry an epoch, so that results of an older assignment can be told from current ones.

pub mod config;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod dead_letter;
mod error;
mod group;
pub mod kafka;
pub mod local;
mod open;
pub mod partition;
pub mod record;
pub mod sim;
mod sync;
mod timestamps;
pub mod topic;

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;

pub use error::{CommitError, LogError, ProduceError};
pub use open::{Opened, open};
pub use record::{Headers, NewRecord, Offset, Receipt, Record, TimestampType, TopicPartition};
pub use timestamps::{OutsideLimit, Side, TimestampLimits};

/// Number of an assignment of a partition to a consumer. Grows with every assignment within a process.
pub type Epoch = u64;

/// One result per record of a [`Log::produce`] call, in its order.
pub type Receipts = Vec<Result<Receipt, ProduceError>>;

/// Completes once, when the outcome of every record of one produce call is known.
pub type PendingReceipts = Pin<Box<dyn Future<Output = Receipts> + Send + 'static>>;

/// A partitioned, durable log.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Stable identity of the cluster (Kafka's cluster id; of `local://`, made when it was created).
    fn cluster_id(&self) -> &str;

    /// The brokers that serve now, `host:port` each; none where the log is in this process.
    async fn brokers(&self) -> Result<Vec<String>, LogError> {
        Ok(Vec::new())
    }
    /// Whether each broker is up, by its id, as the producer's client found it within the last seconds; those that it has
    /// nothing to send to may be left out. None where the log is in this process.
    fn brokers_up(&self) -> BTreeMap<i32, bool> {
        BTreeMap::new()
    }

    /// Creates a topic. Its name: `[A-Za-z0-9._-]{1,249}`, not `.` or `..`.
    async fn create_topic(&self, spec: &TopicSpec) -> Result<TopicInfo, LogError>;
    /// Deletes a topic with its records and committed offsets.
    async fn delete_topic(&self, topic: &str) -> Result<(), LogError>;
    /// Raises the number of partitions; fewer than there are is [`LogError::Invalid`].
    async fn grow_topic(&self, topic: &str, partitions: i32) -> Result<TopicInfo, LogError>;
    /// Sets these settings of a topic, by Kafka's names; all others stay as they are. [`LogError::Invalid`]: the log knows
    /// no such setting, or not this value; nothing is changed then.
    async fn set_topic(&self, topic: &str, config: &BTreeMap<String, String>) -> Result<TopicInfo, LogError>;
    /// All topics, sorted by name, internal ones included.
    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError>;
    /// One topic, or [`LogError::UnknownTopic`].
    async fn topic(&self, topic: &str) -> Result<TopicInfo, LogError>;
    /// Its identity alone, asked often: see [`TopicInfo::id`].
    async fn topic_id(&self, topic: &str) -> Result<Option<Arc<str>>, LogError> {
        Ok(self.topic(topic).await?.id)
    }
    /// Whether a topic takes records with a key only, as far as is known: from memory, at most some 10 s behind the log
    /// for topics that were asked for or written to. Who does not ask is told by [`ProduceError::KeyRequired`].
    fn is_compacted(&self, topic: &str) -> bool {
        let _ = topic;
        false
    }
    /// Which timestamps a topic takes, in the same way; [`ProduceError::Timestamp`] tells who does not ask.
    fn timestamp_limits(&self, topic: &str) -> TimestampLimits {
        let _ = topic;
        TimestampLimits::NONE
    }

    /// Low (first kept) and high (next to be written) offset.
    async fn watermarks(&self, part: &TopicPartition) -> Result<Watermarks, LogError>;
    /// First offset whose timestamp is at or after `timestamp_ms`; `None` if there is none.
    async fn offset_for_time(&self, part: &TopicPartition, timestamp_ms: i64) -> Result<Option<Offset>, LogError>;
    /// Reads without a group: records from `from` on, at most `max_records` and about `max_bytes` (at least one
    /// record if there is one). Empty at the high watermark. Below the low watermark: [`LogError::OffsetOutOfRange`].
    async fn read(
        &self,
        part: &TopicPartition,
        from: Offset,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, LogError>;

    /// Takes the records of a request, or refuses them all at once: [`ProduceError::QueueFull`] or
    /// [`ProduceError::Unavailable`]. What is wrong with a single record ([`ProduceError::UnknownTopic`],
    /// [`ProduceError::KeyRequired`], [`ProduceError::Timestamp`], [`ProduceError::TooLarge`], [`ProduceError::Invalid`])
    /// comes as its receipt; the others are stored. Never waits for room. Each partition keeps the order of the call. The
    /// records go on their way even if the returned future is dropped.
    fn produce(&self, records: Vec<NewRecord>) -> Result<PendingReceipts, ProduceError>;
    /// Largest record where its topic has no limit of its own (`producer.record_bytes`).
    fn record_bytes(&self) -> usize;
    /// What waits for receipts now, and the limits.
    fn queue(&self) -> QueueUsage;

    /// Joins a consumer group.
    async fn subscribe(&self, spec: GroupSpec) -> Result<Box<dyn Consumer>, LogError>;
    /// Committed offsets and metadata of a group, whether or not it has members: those that it has of these partitions.
    async fn committed(
        &self,
        group: &str,
        parts: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Committed>, LogError>;
    /// Sets offsets of a group **without members** (else [`LogError::GroupNotEmpty`]); `None` forgets one.
    async fn set_committed(&self, group: &str, offsets: &[(TopicPartition, Option<Committed>)])
    -> Result<(), LogError>;

    /// Whether the log can take and give records now; the reason if not.
    async fn health(&self) -> Result<(), LogError>;
    /// Finishes what was accepted, then refuses everything. Where that hangs on others, what is not finished `within`
    /// this time is given up; its receipts say so. Idempotent.
    async fn close_within(&self, within: Duration) -> Result<(), LogError>;
    /// As [`Log::close_within`] 10 s.
    async fn close(&self) -> Result<(), LogError> {
        self.close_within(CLOSE_WITHIN).await
    }
}

/// How long a log may take to close, where nobody says.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// One member of a consumer group. Offsets are never committed by themselves. Dropping it leaves the group.
///
/// Rebalances move as few partitions as they can: those that change hands come as [`Polled::Revoke`], the others go on
/// under their epoch.
#[async_trait]
pub trait Consumer: Send {
    /// The next thing that happens. Cancel-safe. Waits at most `wait` for records, then [`Polled::Idle`].
    ///
    /// [`LogError::OffsetOutOfRange`] names a partition whose position the log does not hold (retention passed it, say);
    /// the others get their turns, and it is told again until a seek or pause. [`LogError::ConsumerEnded`],
    /// [`LogError::Closed`] and [`LogError::Fatal`] are final.
    async fn poll(&mut self, max_records: usize, wait: Duration) -> Result<Polled, LogError>;
    /// Starts reading a partition from `offset`. A newly assigned partition hands out nothing before its first seek.
    /// [`LogError::Invalid`] if the partition is not ours (any more). The offset is checked by the next poll.
    fn seek(&mut self, part: &TopicPartition, offset: Offset) -> Result<(), LogError>;
    /// Stops handing out records of these partitions (records already handed out are the caller's).
    fn pause(&mut self, parts: &[TopicPartition]) -> Result<(), LogError>;
    /// Goes on after [`Consumer::pause`], at the position reached.
    fn resume(&mut self, parts: &[TopicPartition]) -> Result<(), LogError>;
    /// A handle that commits while the owner polls. After the consumer is gone its commits are [`CommitError::Fenced`].
    fn committer(&self) -> Arc<dyn Committer>;
    /// Leaves the group. Partitions still assigned count as given back.
    async fn close(self: Box<Self>) -> Result<(), LogError>;
}

/// Commits offsets for the member it came from.
#[async_trait]
pub trait Committer: Send + Sync {
    /// Commits one position with metadata (at most 4,000 bytes), fsynced or acknowledged when it returns. A commit
    /// under an older assignment is [`CommitError::Fenced`]. The same offset with other metadata is stored too. If the
    /// future is dropped the commit may still be stored; the partition has its next owner only after that is settled.
    async fn commit(&self, part: &TopicPartition, epoch: Epoch, committed: &Committed) -> Result<(), CommitError>;
}

/// What a consumer has to tell.
#[derive(Debug)]
pub enum Polled {
    /// Records of one partition, ascending offsets.
    Records {
        /// The assignment they belong to.
        epoch: Epoch,
        /// Not empty.
        records: Vec<Record>,
    },
    /// Everything below `offset` has been handed out, and nothing stands above it now. Told once per arrival.
    Eof {
        /// Partition.
        part: TopicPartition,
        /// Its assignment.
        epoch: Epoch,
        /// The high watermark reached.
        offset: Offset,
    },
    /// New partitions of this member. They hand out nothing before [`Consumer::seek`].
    Assigned(Vec<Assigned>),
    /// These partitions must be given back: the group waits for [`Revoke::done`] (or its drop) up to the deadline.
    Revoke(Revoke),
    /// These partitions are someone else's already: commit nothing.
    Lost(Vec<TopicPartition>),
    /// Nothing within the time given.
    Idle,
}

/// A partition that a member was given.
#[derive(Clone, Debug)]
pub struct Assigned {
    /// Partition.
    pub part: TopicPartition,
    /// This assignment's number.
    pub epoch: Epoch,
    /// Identity of the topic, if the log can tell it.
    pub topic_id: Option<Arc<str>>,
    /// What the group has committed for it.
    pub committed: Option<Committed>,
}

/// A request to give partitions back.
#[derive(Debug)]
pub struct Revoke {
    /// Which.
    pub parts: Vec<TopicPartition>,
    pub(crate) reply: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Revoke {
    /// For backends: the request, and the receiver that resolves when it was answered or dropped.
    pub fn new(parts: Vec<TopicPartition>) -> (Self, tokio::sync::oneshot::Receiver<()>) {
        let (reply, done) = tokio::sync::oneshot::channel();
        (Self { parts, reply: Some(reply) }, done)
    }

    /// The partitions are given back; nothing of them will be committed any more.
    pub fn done(mut self) {
        if let Some(reply) = self.reply.take() {
            // The group may have gone on without us; then nobody listens, and nothing is owed.
            let _ = reply.send(());
        }
    }
}

/// A committed position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Next offset to read.
    pub offset: Offset,
    /// Free text of the committer, e.g. a flush intent.
    pub metadata: String,
}

/// A topic to create.
#[derive(Clone, Debug)]
pub struct TopicSpec {
    /// Name.
    pub name: String,
    /// Partitions, 1 to 10,000.
    pub partitions: i32,
    /// Kafka's topic settings by name (`retention.ms`, `retention.bytes`, `max.message.bytes`, …). A backend refuses
    /// what it does not know.
    pub config: BTreeMap<String, String>,
}

/// A topic as it is.
#[derive(Clone, Debug)]
pub struct TopicInfo {
    /// Name.
    pub name: Arc<str>,
    /// Identity: another one after delete and create. `None` where the log can't tell.
    pub id: Option<Arc<str>>,
    /// Number of partitions.
    pub partitions: i32,
    /// Settings that were given, by Kafka's names.
    pub config: BTreeMap<String, String>,
    /// Of each key only the last record is sure to be kept (`cleanup.policy`, the topic's own or its cluster's default,
    /// names `compact`): records without a key are refused. `None` where we may not see it.
    pub compacted: Option<bool>,
    /// Which timestamps it takes (`message.timestamp.*`, its own or its cluster's default); `None` where we may not see it.
    pub timestamps: Option<TimestampLimits>,
}

/// A partition's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// First offset still kept.
    pub low: Offset,
    /// Next offset to be written.
    pub high: Offset,
}

/// How full the producer's queue is, and how its client fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueUsage {
    /// Records waiting for their receipt.
    pub records: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Limit.
    pub max_records: usize,
    /// Limit.
    pub max_bytes: usize,
    /// How often the client had to be made anew after a fatal error (`kafka://`).
    pub rebuilds: u64,
}

/// Membership in a consumer group.
#[derive(Clone, Debug)]
pub struct GroupSpec {
    /// Group id.
    pub group: String,
    /// Topics by exact name; [`GroupSpec::all_topics`] adds to them.
    pub topics: Vec<String>,
    /// Also every topic that is [`is_one_of_all`]; new ones join within 10 s.
    pub all_topics: bool,
    /// Topics never taken by `all_topics`: the DLQ's, and those that the settings leave out.
    pub except: Vec<String>,
    /// How long a rebalance waits for [`Revoke::done`].
    pub revoke_timeout: Duration,
}

/// Whether `topics: ["*"]` matches a name. What begins with an underscore belongs to some program beside the log, as
/// `_schemas` does to a registry; it is read where it is named.
pub fn is_one_of_all(topic: &str) -> bool {
    !topic.starts_with('_') && !is_internal(topic)
}

/// Names of the log's and the service's own: `__*` and `replay.*`.
pub fn is_internal(topic: &str) -> bool {
    topic.starts_with("__") || topic.starts_with("replay.")
}
