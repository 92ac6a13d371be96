//! Why the log did not do as asked. Variants by what the caller must do.

use crate::{Offset, OutsideLimit, TopicPartition};

/// Why a record was not, or maybe not, stored. Variants by what the caller must do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProduceError {
    /// Back-pressure: try again later. Certainly not stored.
    #[error("the producer queue is full")]
    QueueFull,
    /// No such topic or partition. Certainly not stored.
    #[error("topic {0:?} does not exist")]
    UnknownTopic(String),
    /// The topic is compacted, and the record has no key. Certainly not stored.
    #[error("topic {0:?} is compacted, and takes no record without a key")]
    KeyRequired(String),
    /// The record's timestamp is too far from now for its topic. Certainly not stored.
    #[error(transparent)]
    Timestamp(OutsideLimit),
    /// The record is over the topic's limit. Certainly not stored.
    #[error("the record has {bytes} bytes, over the limit of {max}")]
    TooLarge {
        /// Bytes of key, value and headers.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The record is refused for what it is. Certainly not stored.
    #[error("the log refuses the record: {0}")]
    Invalid(String),
    /// The log can't take records now. Certainly not stored.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
    /// The log's disk is almost full: a person must make room, then it takes records again. Certainly not stored.
    #[error("the log takes no records: {0}")]
    NoRoom(String),
    /// The log does not allow it to us: a person must mend rights or credentials. Certainly not stored.
    #[error("{0}")]
    Denied(String),
    /// No answer: it may be stored.
    #[error("it is not known whether the record was stored: {0}")]
    Unknown(String),
}

/// Why the log did not do as asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// No topic of this name, or it has no such partition.
    #[error("topic {0:?} does not exist")]
    UnknownTopic(String),
    /// Already there.
    #[error("topic {0:?} exists already")]
    TopicExists(String),
    /// The offset is outside what the log keeps.
    #[error("offset {offset} of {part} is outside {low}..{high}")]
    OffsetOutOfRange {
        /// Partition.
        part: TopicPartition,
        /// Asked for.
        offset: Offset,
        /// Low watermark.
        low: Offset,
        /// High watermark.
        high: Offset,
    },
    /// The group still has members.
    #[error("group {0:?} has members: stop them first")]
    GroupNotEmpty(String),
    /// The request makes no sense; the text says why and what would.
    #[error("{0}")]
    Invalid(String),
    /// Can't be reached or used now; trying again may help.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
    /// Its disk is almost full: a person must make room. What is there can be read, offsets can be committed.
    #[error("the log takes no records: {0}")]
    NoRoom(String),
    /// It does not allow it to us: a person must mend rights or credentials, then trying again helps.
    #[error("{0}")]
    Denied(String),
    /// No answer in time: the change may have been made. Look before trying again.
    #[error("it is not known whether it was done: {0}")]
    Unknown(String),
    /// This consumer is of no use any more, the log is: join the group again.
    #[error("the consumer ended: {0}")]
    ConsumerEnded(String),
    /// Broken beyond retry: the process must end and recover at its next start.
    #[error("the log is broken: {0}")]
    Fatal(String),
    /// It was closed.
    #[error("the log is closed")]
    Closed,
}

/// Why a commit did not count.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// The partition is not ours any more: drop its state. An ordinary outcome of a rebalance.
    #[error("the partition was reassigned")]
    Fenced,
    /// It may or may not have been stored: send the same again.
    #[error("no answer to the commit: {0}")]
    Unknown(String),
    /// Certainly not stored; trying again may help.
    #[error("the commit failed: {0}")]
    Unavailable(String),
}
