//! Reading records, off the async runtime.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    format::{self, Names},
    index::unreadable,
    keys,
    state::{Partition, Topic},
};
use crate::{
    LogError, Offset, Record, TopicPartition,
    group::{FetchLimit, Fetched},
};

/// Runs what may touch the disk on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(LogError::Unavailable("a read was cut short: the process is ending".to_owned())),
    }
}

/// Records from `from` on, within the limit; at least one if there is one.
pub(super) async fn fetch(
    topic: Arc<Topic>,
    partition: Arc<Partition>,
    number: i32,
    from: Offset,
    limit: FetchLimit,
) -> Result<Fetched, LogError> {
    let bounds = partition.watermarks();
    if from == bounds.high || limit.records == 0 {
        return Ok(Fetched { records: Vec::new(), high: bounds.high });
    }
    blocking(move || fetch_now(&topic, &partition, number, from, limit)).await
}

fn fetch_now(
    topic: &Topic,
    partition: &Partition,
    number: i32,
    from: Offset,
    limit: FetchLimit,
) -> Result<Fetched, LogError> {
    let part = TopicPartition::new(topic.name.clone(), number);
    let high = partition.watermarks().high;
    let entries = topic.records.range(keys::record(number, from.max(0))..keys::record(number, high));
    // The range above is a snapshot. Retention raises the low watermark before it deletes: what passes here is whole.
    let low = partition.watermarks().low;
    if from < low || from > high {
        return Err(LogError::OffsetOutOfRange { part, offset: from, low, high });
    }
    let (mut records, mut bytes, mut names) = (Vec::new(), 0, Names::default());
    for entry in entries {
        let (key, value) = entry.into_inner().map_err(unreadable)?;
        // Copied: a slice of the database would keep its whole block in memory.
        let value = Bytes::copy_from_slice(&value);
        bytes += value.len();
        if !records.is_empty() && bytes > limit.bytes {
            break;
        }
        records.push(record(&part, &key, value, &mut names)?);
        if records.len() >= limit.records {
            break;
        }
    }
    Ok(Fetched { records, high })
}

fn record(part: &TopicPartition, key: &[u8], value: Bytes, names: &mut Names) -> Result<Record, LogError> {
    let damaged = |what: String| LogError::Unavailable(format!("a record of {part} is damaged: {what}"));
    let offset = keys::offset(key).ok_or_else(|| damaged("its key is too short".to_owned()))?;
    let stored = format::decode(value, names).map_err(|error| damaged(format!("offset {offset}: {error}")))?;
    Ok(Record {
        part: part.clone(),
        offset,
        key: stored.key,
        value: stored.value,
        headers: stored.headers,
        timestamp_ms: stored.timestamp_ms,
        timestamp_type: stored.timestamp_type,
    })
}
