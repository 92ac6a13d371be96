//! Records as they stand in the log, and what comes back for them.

use std::sync::Arc;

use bytes::Bytes;

/// Position in a partition, from 0.
pub type Offset = i64;

/// A topic's partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Topic name.
    pub topic: Arc<str>,
    /// From 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Shorthand.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Record headers, in order; a name may stand more than once, as in Kafka.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(Arc<str>, Option<Bytes>)>);

impl Headers {
    /// The last value of a name, as Kafka clients read it.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().rev().find(|(n, _)| &**n == name).and_then(|(_, v)| v.as_deref())
    }

    /// The last value of a name, if it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|v| std::str::from_utf8(v).ok())
    }

    /// Appends.
    pub fn push(&mut self, name: impl Into<Arc<str>>, value: impl Into<Bytes>) {
        self.0.push((name.into(), Some(value.into())));
    }

    /// Names plus values, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(n, v)| n.len() + v.as_ref().map_or(0, Bytes::len)).sum()
    }
}

/// What a record's timestamp means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// Set by whoever produced it.
    Create,
    /// Set by the log when it was appended.
    Append,
}

/// A record read from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub part: TopicPartition,
    /// Where it stands.
    pub offset: Offset,
    /// Key.
    pub key: Option<Bytes>,
    /// Value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Headers,
    /// ms since the epoch.
    pub timestamp_ms: i64,
    /// What the timestamp means.
    pub timestamp_type: TimestampType,
}

/// A record to produce.
#[derive(Clone, Debug)]
pub struct NewRecord {
    /// Topic.
    pub topic: Arc<str>,
    /// `None`: chosen from the key (murmur2, as Java's client), or at random per batch for records without key.
    pub partition: Option<i32>,
    /// Key.
    pub key: Option<Bytes>,
    /// Value.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Headers,
    /// ms since the epoch; `None`: now.
    pub timestamp_ms: Option<i64>,
}

/// The log's answer for a stored record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: Offset,
}

/// Bytes of key, value and headers: what the limits of records and queues count.
pub(crate) fn payload_bytes(record: &NewRecord) -> usize {
    let length = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
    length(&record.key) + length(&record.value) + record.headers.bytes()
}
