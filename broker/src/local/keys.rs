//! Names of the keyspaces and the layout of their keys. Pure.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `records-<topic id>` | partition u32, offset u64 | a record ([`super::format`]) |
//! | the same | partition u32 with the top bit set, offset u64 | a [`Mark`] |
//! | `topics` | topic name | JSON of [`super::state::StoredTopic`] |
//! | `lows` | topic id, NUL, partition u32 | low watermark i64 |
//! | `groups` | group, NUL, topic, NUL, partition u32 | version u8 = 1, offset i64, metadata |
//! | `registry` | the registry's own | the registry's own |
//! | `meta` | `cluster_id`, `format` | text |
//!
//! Numbers are big-endian, so that keys sort as numbers do.

use crate::{Committed, Offset, TopicPartition};

pub(super) const TOPICS: &str = "topics";
pub(super) const LOWS: &str = "lows";
pub(super) const GROUPS: &str = "groups";
pub(super) const REGISTRY: &str = "registry";
pub(super) const META: &str = "meta";
pub(super) const RECORDS_PREFIX: &str = "records-";

const MARK_BIT: u32 = 1 << 31;

/// A signpost between records: what was true just before the record at its offset. Seeks by time and retention
/// search these instead of reading every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Highest timestamp of all records before, ms; `i64::MIN` if none. Never falls, so marks can be searched.
    pub max_timestamp_ms: i64,
    /// Bytes of all records before, ever.
    pub bytes: u64,
    /// When the record at this offset was appended, ms; never falls either. All before are at least as old.
    pub appended_ms: i64,
}

impl Mark {
    pub fn encode(self) -> [u8; 24] {
        let mut out = [0; 24];
        out[..8].copy_from_slice(&self.max_timestamp_ms.to_be_bytes());
        out[8..16].copy_from_slice(&self.bytes.to_be_bytes());
        out[16..].copy_from_slice(&self.appended_ms.to_be_bytes());
        out
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (stamp, rest) = bytes.split_first_chunk::<8>()?;
        let (total, appended) = rest.split_first_chunk::<8>()?;
        Some(Self {
            max_timestamp_ms: i64::from_be_bytes(*stamp),
            bytes: u64::from_be_bytes(*total),
            appended_ms: i64::from_be_bytes(appended.try_into().ok()?),
        })
    }
}

fn key(partition: u32, offset: Offset) -> [u8; 12] {
    let mut out = [0; 12];
    out[..4].copy_from_slice(&partition.to_be_bytes());
    out[4..].copy_from_slice(&offset.to_be_bytes());
    out
}

/// Partitions and offsets are never negative, so their bytes sort as the numbers do.
pub(super) fn record(partition: i32, offset: Offset) -> [u8; 12] {
    key(partition.unsigned_abs(), offset)
}

pub(super) fn mark(partition: i32, offset: Offset) -> [u8; 12] {
    key(partition.unsigned_abs() | MARK_BIT, offset)
}

/// The offset of a record's or mark's key.
pub(super) fn offset(key: &[u8]) -> Option<Offset> {
    Some(Offset::from_be_bytes(key.get(4..12)?.try_into().ok()?))
}

pub(super) fn low(topic_id: &str, partition: i32) -> Vec<u8> {
    [topic_id.as_bytes(), &[0], &partition.to_be_bytes()].concat()
}

pub(super) fn committed(group: &str, part: &TopicPartition) -> Vec<u8> {
    [group.as_bytes(), &[0], part.topic.as_bytes(), &[0], &part.partition.to_be_bytes()].concat()
}

/// Group and partition of a key made by [`committed`].
pub(super) fn split_committed(key: &[u8]) -> Option<(String, TopicPartition)> {
    let (names, partition) = key.split_last_chunk::<4>()?;
    let mut names = names.split(|byte| *byte == 0);
    let group = std::str::from_utf8(names.next()?).ok()?;
    let topic = std::str::from_utf8(names.next()?).ok()?;
    Some((group.to_owned(), TopicPartition::new(topic, i32::from_be_bytes(*partition))))
}

pub(super) fn encode_committed(committed: &Committed) -> Vec<u8> {
    [&[1], committed.offset.to_be_bytes().as_slice(), committed.metadata.as_bytes()].concat()
}

pub(super) fn decode_committed(bytes: &[u8]) -> Option<Committed> {
    let (version, rest) = bytes.split_first()?;
    let (offset, metadata) = rest.split_first_chunk::<8>()?;
    let metadata = std::str::from_utf8(metadata).ok()?.to_owned();
    (*version == 1).then(|| Committed { offset: Offset::from_be_bytes(*offset), metadata })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_partition_then_offset_and_marks_stand_apart() {
        let mut keys =
            vec![record(0, 0), record(0, 255), record(0, 256), record(1, 0), record(9_999, i64::MAX), mark(0, 0)];
        let sorted = keys.clone();
        keys.sort_unstable();
        assert_eq!(keys, sorted);
        assert_eq!(offset(&record(3, 77)), Some(77));
        assert_eq!(offset(b"short"), None);
    }

    #[test]
    fn round_trips() {
        let mark = Mark { max_timestamp_ms: i64::MIN, bytes: 12, appended_ms: 7 };
        assert_eq!(Mark::decode(&mark.encode()), Some(mark));
        assert_eq!(Mark::decode(&[0; 23]), None);
        let part = TopicPartition::new("events.dlq", 0);
        assert_eq!(split_committed(&committed("connect-lake", &part)), Some(("connect-lake".into(), part)));
        let position = Committed { offset: 9, metadata: "π".into() };
        assert_eq!(decode_committed(&encode_committed(&position)), Some(position));
        assert_eq!(decode_committed(&[]), None);
    }
}
