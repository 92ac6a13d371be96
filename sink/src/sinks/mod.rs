//! Stores: what a task asks of one, and the rows it hands over.
//!
//! A sink never retries, dead-letters or commits, and does not know the log: `task` does that, the same for all.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use forebay_avro::schema::Schema;
use forebay_broker::{Epoch, Headers, Offset, TopicPartition};

use crate::dlq::Rejection;
use crate::intent::Intent;

pub mod dir;
pub mod lake;
pub mod memory;
pub mod s3;
pub mod store;

/// A decoded record on its way to a store.
#[derive(Clone, Debug)]
pub struct Row {
    /// Offset in its partition.
    pub offset: Offset,
    /// Key.
    pub key: Option<Bytes>,
    /// Headers.
    pub headers: Headers,
    /// ms since the epoch.
    pub timestamp_ms: i64,
    /// Writer schema's id.
    pub schema_id: u32,
    /// Writer schema.
    pub schema: Arc<Schema>,
    /// Avro datum, without frame, checked by the walk.
    pub datum: Bytes,
}

/// A newly assigned partition, and what the log has committed for it.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Topic and partition.
    pub part: TopicPartition,
    /// The log's identity.
    pub cluster_id: Arc<str>,
    /// The topic's identity, if the log can tell.
    pub topic_id: Option<Arc<str>>,
    /// The committed offset; `None`: never committed.
    pub committed: Option<Offset>,
    /// The intent committed with it.
    pub intent: Option<Intent>,
    /// The committed offset is not by a task: someone moved it, to a place of which the store knows better.
    pub by_hand: bool,
    /// First offset the log still keeps.
    pub low: Offset,
    /// The offset that the log gives to the next record.
    pub high: Offset,
    /// Partitions of the topic now; asked where nothing is committed.
    pub partitions: Option<i32>,
}

/// Where to go on with a claimed partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// At the committed offset, or where the settings say for a partition that has none.
    FromLog,
    /// At the committed offset, which was moved over records that the store does not have.
    Skip {
        /// The first of them.
        from: Offset,
    },
    /// Finish the group `[start, intent.end]` first, exactly as announced.
    Redo {
        /// First offset of the group; differs from the committed one only if that was lost.
        start: Offset,
        /// Its end, and the settings it was cut with.
        intent: Intent,
    },
    /// All files of the intent are there already: commit `end + 1` and go on from there.
    Done {
        /// Last offset of the group.
        end: Offset,
    },
    /// Not without a person.
    Refuse {
        /// Stable code.
        code: &'static str,
        /// What is wrong and what to do.
        advice: String,
    },
}

/// Result of [`Group::add`].
#[derive(Debug, Default)]
pub struct Added {
    /// Rows that can't be written, by index into what was handed in. The others were taken.
    pub rejected: Vec<(usize, Rejection)>,
}

/// Everything open of one partition between two flushes.
pub trait Group: Send {
    /// Encodes rows, at most 500 a call. Every error that a row can cause shows here, before anything is written.
    /// After an error of the store the group is unusable: drop it and read again from its start.
    fn add(&mut self, rows: &[Row]) -> Result<Added, SinkError>;
    /// Whether these schema ids, with those it has, are more than a group may hold: flush first.
    fn is_full_for(&self, schema_ids: &BTreeSet<u32>) -> bool;
    /// Rows taken.
    fn rows(&self) -> u64;
    /// Encoded bytes, in memory and spilled.
    fn bytes(&self) -> usize;
    /// Bytes held in memory.
    fn memory(&self) -> usize;
    /// Files open.
    fn files(&self) -> usize;
    /// Closes all files: nothing can be added any more, and nothing is in the store yet.
    fn seal(self: Box<Self>, end: Offset) -> Result<Box<dyn Sealed>, SinkError>;
}

/// A closed group, ready to be written as often as it takes. Dropping it leaves nothing behind.
#[async_trait]
pub trait Sealed: Send + Sync {
    /// Rows in it.
    fn rows(&self) -> u64;
    /// Files in it.
    fn files(&self) -> usize;
    /// Bytes held in memory.
    fn memory(&self) -> usize;
    /// Writes all files; durable when it returns. Again writes nothing twice.
    async fn write(&self) -> Result<Written, SinkError>;
}

/// A group that is in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Size of each file.
    pub file_bytes: Vec<u64>,
}

/// A store, as one connector sees it; shared by its tasks. Exactly once by the flush intent in the log's commit
/// metadata: [`crate::intent`].
#[async_trait]
pub trait Sink: Send + Sync {
    /// The destination in words, as dead letters name it.
    fn destination(&self) -> String;
    /// Can it be written to as the protocol needs? Changes nothing that a user sees.
    async fn check(&self) -> Result<(), SinkError>;
    /// What to do with a claimed partition.
    async fn resume_from(&self, claim: &Claim) -> Result<Resume, SinkError>;
    /// Where to go on by what the store holds alone, whatever was committed, and without what the log has deleted: for
    /// [`crate::config::OnOffsetMismatch`]. Never `Skip`.
    async fn rebase(&self, claim: &Claim) -> Result<Resume, SinkError>;
    /// Takes a partition over for good: its identity is kept in the store, so that a topic created anew is noticed.
    /// `replace` accepts another identity than the one kept. True: the topic was taken over before it had this partition.
    async fn adopt(&self, claim: &Claim, replace: bool) -> Result<bool, SinkError>;
    /// Fingerprint of the settings that decide keys and rows of new groups.
    fn cfg(&self) -> &str;
    /// Makes sure that a successor with other settings can finish groups cut with these. Before the first intent.
    async fn keep_cfg(&self) -> Result<(), SinkError>;
    /// Opens a group. `cfg` is [`Sink::cfg`], or an intent's that [`Sink::resume_from`] has accepted.
    fn open(&self, spec: &GroupSpec) -> Result<Box<dyn Group>, SinkError>;
}

/// What a group is told when it is opened.
#[derive(Clone, Debug)]
pub struct GroupSpec {
    /// Topic and partition.
    pub part: TopicPartition,
    /// The log's identity.
    pub cluster_id: Arc<str>,
    /// The topic's identity, if known.
    pub topic_id: Option<Arc<str>>,
    /// The assignment.
    pub epoch: Epoch,
    /// First offset: the committed one when the group is written.
    pub start: Offset,
    /// Fingerprint of the settings to use.
    pub cfg: String,
}

/// Why a sink did not do as asked. Variants by what the task must do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// The destination's fault: back off, for ever. Never a dead letter.
    #[error("{why}")]
    Retry {
        /// What failed.
        why: String,
        /// The destination's wish.
        after: Option<Duration>,
    },
    /// The group's first file exists with another end: if the committed offset is unchanged, an older commit has
    /// hidden an intent. Announce that end and finish it.
    #[error("the group exists with end {end}")]
    OtherEnd {
        /// Its end.
        end: Offset,
        /// Its settings' fingerprint.
        cfg: String,
    },
    /// Someone else wrote under these keys: read the committed offset again. If it is unchanged, a person must act.
    #[error("{why}")]
    Fenced {
        /// What stands there.
        why: String,
        /// See [`Self::NameRefused`].
        begun: bool,
    },
    /// A file can't have its name: take back what was announced, if no file of the group has one; a person must act.
    #[error("{code}: {advice}")]
    NameRefused {
        /// Stable code.
        code: &'static str,
        /// What is wrong and what to do.
        advice: String,
        /// Files of the group are in the store already, or may be.
        begun: bool,
    },
    /// The store holds records that the log has lost since, under offsets that it has given again: take back what was
    /// announced; a person must act.
    #[error("{0}")]
    Rewound(String),
    /// A person must act: the task fails.
    #[error("{code}: {advice}")]
    Stop {
        /// Stable code.
        code: &'static str,
        /// What is wrong and what to do.
        advice: String,
    },
}

impl SinkError {
    pub(crate) fn retry(why: impl Into<String>) -> Self {
        Self::Retry { why: why.into(), after: None }
    }

    pub(crate) fn stop(code: &'static str, advice: impl Into<String>) -> Self {
        Self::Stop { code, advice: advice.into() }
    }
}
