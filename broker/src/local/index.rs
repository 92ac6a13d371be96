//! Marks between records: kept while writing, searched for seeks by time and for retention.

use fjall::Keyspace;

use super::{
    format,
    keys::{self, Mark},
    state::{Partition, reason},
};
use crate::{LogError, Offset, Watermarks};

/// A mark stands at least every so many records …
const MARK_RECORDS: usize = 1_024;
/// … or bytes, whichever comes first; never more than one per partition and commit group.
const MARK_BYTES: u64 = 256 << 10;

/// The mark that would stand at a partition's end, and how far back the last one is.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunningMark {
    pub now: Mark,
    records_since: usize,
    bytes_since: u64,
    none_yet: bool,
}

impl RunningMark {
    const START: Self = Self {
        now: Mark { max_timestamp_ms: i64::MIN, bytes: 0, appended_ms: i64::MIN },
        records_since: 0,
        bytes_since: 0,
        none_yet: true,
    };

    /// The mark to write before the next record, if one is due.
    pub fn due(&mut self, now_ms: i64) -> Option<Mark> {
        if !self.none_yet && self.records_since < MARK_RECORDS && self.bytes_since < MARK_BYTES {
            return None;
        }
        (self.records_since, self.bytes_since, self.none_yet) = (0, 0, false);
        // The wall clock may step back; marks must not.
        self.now.appended_ms = self.now.appended_ms.max(now_ms);
        Some(self.now)
    }

    pub fn add(&mut self, timestamp_ms: i64, bytes: u64) {
        self.now.max_timestamp_ms = self.now.max_timestamp_ms.max(timestamp_ms);
        self.now.bytes += bytes;
        self.records_since += 1;
        self.bytes_since += bytes;
    }

    /// Rebuilds it from the last mark and the records after.
    pub fn recover(records: &Keyspace, partition: i32, bounds: Watermarks) -> Result<Self, LogError> {
        let Some((at, mark)) = last_mark(records, partition, bounds.high)? else { return Ok(Self::START) };
        let mut running = Self { now: mark, records_since: 0, bytes_since: 0, none_yet: false };
        let from = keys::record(partition, at.max(bounds.low));
        for entry in records.range(from..keys::record(partition, bounds.high)) {
            let value = entry.value().map_err(unreadable)?;
            let stamp = format::timestamp(&value).map_err(|error| broken(partition, &error.to_string()))?;
            running.add(stamp, value.len() as u64);
        }
        Ok(running)
    }
}

/// The last mark at or before an offset.
fn last_mark(records: &Keyspace, partition: i32, upto: Offset) -> Result<Option<(Offset, Mark)>, LogError> {
    let range = keys::mark(partition, 0)..=keys::mark(partition, upto);
    let Some(entry) = records.range(range).next_back() else { return Ok(None) };
    let (key, value) = entry.into_inner().map_err(unreadable)?;
    match (keys::offset(&key), Mark::decode(&value)) {
        (Some(offset), Some(mark)) => Ok(Some((offset, mark))),
        _ => Err(broken(partition, "a mark of the index is damaged")),
    }
}

/// The offset of the last mark that `before` holds for. It holds for a first run of marks and for none after.
fn search(
    records: &Keyspace,
    partition: i32,
    bounds: Watermarks,
    before: impl Fn(&Mark) -> bool,
) -> Result<Option<Offset>, LogError> {
    let (mut from, mut to, mut found) = (0, bounds.high, None);
    while from < to {
        let middle = from + (to - from) / 2;
        match last_mark(records, partition, middle)? {
            Some((at, mark)) if !before(&mark) => to = at,
            Some((at, _)) => {
                found = Some(at);
                from = middle + 1;
            }
            None => from = middle + 1,
        }
    }
    Ok(found)
}

/// First record with a timestamp at or after `timestamp_ms`.
pub(super) fn offset_for_time(
    records: &Keyspace,
    partition: i32,
    bounds: Watermarks,
    timestamp_ms: i64,
) -> Result<Option<Offset>, LogError> {
    // Before a mark whose highest timestamp is too low, no record can be the one.
    let start = search(records, partition, bounds, |mark| mark.max_timestamp_ms < timestamp_ms)?;
    let from = keys::record(partition, start.unwrap_or(0).max(bounds.low));
    for entry in records.range(from..keys::record(partition, bounds.high)) {
        let (key, value) = entry.into_inner().map_err(unreadable)?;
        let stamp = format::timestamp(&value).map_err(|error| broken(partition, &error.to_string()))?;
        if stamp >= timestamp_ms {
            return Ok(keys::offset(&key));
        }
    }
    Ok(None)
}

/// The offset from which on a partition still has `keep` bytes, to the grain of the marks.
pub(super) fn offset_for_bytes(
    records: &Keyspace,
    partition: i32,
    state: &Partition,
    keep: u64,
) -> Result<Option<Offset>, LogError> {
    let bounds = state.watermarks();
    let end = match last_mark(records, partition, bounds.high)? {
        None => return Ok(None),
        Some(_) => RunningMark::recover(records, partition, bounds)?.now.bytes,
    };
    let Some(spare) = end.checked_sub(keep) else { return Ok(None) };
    search(records, partition, bounds, |mark| mark.bytes <= spare)
}

/// The offset below which every record was appended at or before `appended_ms`, to the grain of the marks.
pub(super) fn offset_for_age(
    records: &Keyspace,
    partition: i32,
    bounds: Watermarks,
    appended_ms: i64,
) -> Result<Option<Offset>, LogError> {
    search(records, partition, bounds, |mark| mark.appended_ms <= appended_ms)
}

/// The offset of the last mark at or before `offset`: older marks are not needed once records before it are gone.
pub(super) fn mark_at_or_before(
    records: &Keyspace,
    partition: i32,
    offset: Offset,
) -> Result<Option<Offset>, LogError> {
    Ok(last_mark(records, partition, offset)?.map(|(at, _)| at))
}

pub(super) fn unreadable(error: fjall::Error) -> LogError {
    LogError::Unavailable(format!("reading the log failed: {}", reason(&error)))
}

fn broken(partition: i32, what: &str) -> LogError {
    LogError::Unavailable(format!("partition {partition} can't be read: {what}"))
}
