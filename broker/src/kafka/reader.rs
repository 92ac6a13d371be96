//! Reading without a group: a few consumers that are handed round, each reading one partition at a time.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use tokio::sync::Semaphore;

use super::{
    client::{ASK_TIMEOUT, Cluster, Context, unavailable},
    native::{Event, Events, Waker},
};
use crate::{LogError, Offset, Record, TopicPartition, sync::lock};

/// Reads at once.
const READERS: usize = 4;
/// Between two questions to a partition whose leader moves.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// A group's name that is never joined; librdkafka wants one.
const NO_GROUP: &str = "forebay-reader";

/// What a read is to bring.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub part: TopicPartition,
    pub from: Offset,
    /// The high watermark when the read was asked for: what stands below it is there.
    pub high: Offset,
    pub max_records: usize,
    pub max_bytes: usize,
}

/// The consumers that are free now.
pub(super) struct Readers {
    cluster: Cluster,
    free: Mutex<Vec<BaseConsumer<Context>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster, free: Mutex::default(), permits: Arc::new(Semaphore::new(READERS)) }
    }

    /// Runs work with a reader where it may wait.
    async fn with<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&BaseConsumer<Context>) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| LogError::Closed)?;
        let readers = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let free = lock(&readers.free).pop();
            let reader = match free {
                Some(reader) => reader,
                None => {
                    let mut config = readers.cluster.consumer(NO_GROUP);
                    // It is asked by someone who waits.
                    config.set("fetch.wait.max.ms", "10").remove("group.protocol");
                    config.create_with_context(Context::default()).map_err(|error| unavailable(&error))?
                }
            };
            let result = work(&reader);
            // One that met an error may still be busy with it.
            if result.is_ok() {
                lock(&readers.free).push(reader);
            }
            result
        });
        done.await.unwrap_or_else(|error| Err(LogError::Unavailable(format!("a read was cut off: {error}"))))
    }

    /// Records of a range, in order.
    pub async fn read(self: &Arc<Self>, range: Range) -> Result<Vec<Record>, LogError> {
        self.with(move |reader| {
            let mut at = TopicPartitionList::new();
            at.add_partition_offset(&range.part.topic, range.part.partition, rdkafka::Offset::Offset(range.from))
                .and_then(|()| reader.assign(&at))
                .map_err(|error| unavailable(&error))?;
            let records = collect(reader, &range);
            reader.unassign().map_err(|error| unavailable(&error))?;
            records
        })
        .await
    }

    /// First offset at or after a time.
    pub async fn offset_for_time(
        self: &Arc<Self>,
        part: TopicPartition,
        timestamp_ms: i64,
    ) -> Result<Option<Offset>, LogError> {
        self.with(move |reader| {
            let deadline = Instant::now() + ASK_TIMEOUT;
            loop {
                match ask_for_time(reader, &part, timestamp_ms) {
                    // The leader moved, or the topic was just made: it is found again soon.
                    Err(error) if is_passing(&error) && Instant::now() < deadline => {
                        std::thread::sleep(ASK_AGAIN);
                    }
                    answer => return answer.map_err(|error| unavailable(&error)),
                }
            }
        })
        .await
    }

    /// Passes on what readers say of themselves that nobody uses now.
    pub fn drain(&self) {
        for reader in lock(&self.free).iter() {
            if let Some(events) = Events::of(reader.client(), Waker::default()) {
                while events.poll(Duration::ZERO).is_some() {}
            }
        }
    }

    /// Lets go of the readers that are free.
    pub fn close(&self) {
        self.permits.close();
        lock(&self.free).clear();
    }
}

fn ask_for_time(
    reader: &BaseConsumer<Context>,
    part: &TopicPartition,
    timestamp_ms: i64,
) -> Result<Option<Offset>, KafkaError> {
    let mut asked = TopicPartitionList::new();
    // Negative times are words of the protocol (latest, earliest), never the times of records.
    asked.add_partition_offset(&part.topic, part.partition, rdkafka::Offset::Offset(timestamp_ms.max(0)))?;
    let answer = reader.offsets_for_times(asked, ASK_TIMEOUT)?;
    match answer.find_partition(&part.topic, part.partition) {
        Some(found) => {
            found.error()?;
            Ok(match found.offset() {
                rdkafka::Offset::Offset(offset) => Some(offset),
                _ => None,
            })
        }
        None => Ok(None),
    }
}

fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::ReplicaNotAvailable
                | Code::FencedLeaderEpoch
        )
    )
}

fn collect(reader: &BaseConsumer<Context>, range: &Range) -> Result<Vec<Record>, LogError> {
    let events = Events::of(reader.client(), Waker::default());
    let events = events.ok_or_else(|| LogError::Unavailable("the reader has no queue".to_owned()))?;
    let deadline = Instant::now() + ASK_TIMEOUT;
    let (mut records, mut bytes) = (Vec::new(), 0);
    // librdkafka may fetch again what it has handed out, when it starts a partition once more on its own.
    let mut next = range.from;
    while records.len() < range.max_records {
        let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
            return Err(LogError::Unavailable(format!("reading {} took too long", range.part)));
        };
        match events.poll(left.min(Duration::from_millis(100))) {
            Some(Event::Record(record)) if record.part == range.part && record.offset >= next => {
                bytes += record.key.as_ref().map_or(0, bytes::Bytes::len)
                    + record.value.as_ref().map_or(0, bytes::Bytes::len)
                    + record.headers.bytes();
                if bytes > range.max_bytes && !records.is_empty() {
                    break;
                }
                next = record.offset + 1;
                records.push(record);
                if next >= range.high || bytes >= range.max_bytes {
                    break;
                }
            }
            Some(Event::End(part, offset)) if part == range.part && offset >= range.high => break,
            Some(Event::PartitionFault(part, code)) if part == range.part => return Err(fault(range, code)),
            Some(Event::Fault { code, fatal: true, why }) => return Err(super::client::refused(&(code, why))),
            _ => {}
        }
    }
    Ok(records)
}

fn fault(range: &Range, code: RDKafkaErrorCode) -> LogError {
    match code {
        RDKafkaErrorCode::UnknownTopicOrPartition
        | RDKafkaErrorCode::UnknownTopic
        | RDKafkaErrorCode::UnknownPartition => LogError::UnknownTopic(range.part.topic.to_string()),
        RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => LogError::OffsetOutOfRange {
            part: range.part.clone(),
            offset: range.from,
            low: range.from,
            high: range.high,
        },
        code => super::client::refused(&(code, String::new())),
    }
}
