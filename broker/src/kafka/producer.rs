//! Producing (D3): one completion per request. Records go to librdkafka at once; its thread tells each one's fate.

mod brokers;
mod request;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    error::RDKafkaErrorCode,
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, Producer as _, PurgeConfig, ThreadedProducer},
};
use tokio::sync::{Notify, oneshot};
use tracing::{error, warn};

pub(super) use self::request::{Done, Refused};
use self::{
    brokers::Brokers,
    request::{Deliveries, Queue, Request, Slot, why},
};
use super::client::{ASK_TIMEOUT, Cluster, Context, unavailable};
use crate::{
    LogError, NewRecord, ProduceError, QueueUsage,
    record::payload_bytes,
    sync::{read, write},
};

/// Looks whether a client that broke has heard of all that it had sent; then its records are unknown.
const RETIRE_LOOKS: usize = 20;
/// Between two of these looks.
const RETIRE_LOOK: Duration = Duration::from_millis(100);

/// A record with its partition, ready to go.
pub(super) struct Placed {
    pub record: NewRecord,
    pub partition: i32,
    /// Limit of its topic.
    pub max: usize,
}

/// What to do with each record of a call: send it, or answer at once.
pub(super) type Plan = Vec<Result<Placed, ProduceError>>;

/// Room that was taken in the queue for a call.
pub(super) struct Taken {
    records: usize,
    bytes: Vec<usize>,
}

type Native = ThreadedProducer<Deliveries>;

/// The producer, made anew when librdkafka says that it is of no use any more.
pub(super) struct Producer {
    cluster: Cluster,
    context: Context,
    max_record_bytes: usize,
    queue: Arc<Queue>,
    /// Locked for moments only: calls on the runtime need it.
    native: RwLock<Option<Native>>,
    trouble: Arc<Notify>,
    rebuilds: AtomicU64,
}

impl Producer {
    pub fn new(cluster: Cluster, context: Context, max_record_bytes: usize) -> Result<Self, LogError> {
        let queue = Queue::new(cluster.producer.queue_records, cluster.producer.queue_bytes);
        let producer = Self {
            cluster,
            context,
            max_record_bytes,
            queue: Arc::new(queue),
            native: RwLock::new(None),
            trouble: Arc::default(),
            rebuilds: AtomicU64::new(0),
        };
        *write(&producer.native) = Some(producer.make()?);
        Ok(producer)
    }

    fn make(&self) -> Result<Native, LogError> {
        let deliveries = Deliveries {
            context: self.context.clone(),
            trouble: Arc::clone(&self.trouble),
            brokers: Brokers::default(),
        };
        let config = self.cluster.producer(self.max_record_bytes);
        config.create_with_context(deliveries).map_err(|error| unavailable(&error))
    }

    /// What waits, and the limits.
    pub fn usage(&self) -> QueueUsage {
        QueueUsage { rebuilds: self.rebuilds.load(Ordering::Relaxed), ..self.queue.usage() }
    }

    /// Whether each broker is up, as the present client sees it.
    pub fn brokers_up(&self) -> BTreeMap<i32, bool> {
        read(&self.native).as_ref().map(|native| native.client().context().brokers.up()).unwrap_or_default()
    }

    /// Tells to which brokers partitions of our topics are assigned: others that the cluster does not list left it.
    pub fn saw_holders(&self, holders: &BTreeSet<i32>) {
        if let Some(native) = &*read(&self.native) {
            native.client().context().brokers.forget_all_but(holders);
        }
    }

    /// Takes room for a whole call, or none.
    pub fn take(&self, records: &[NewRecord]) -> Result<Taken, ProduceError> {
        if read(&self.native).is_none() {
            return Err(ProduceError::Unavailable("the log is closed".to_owned()));
        }
        let bytes: Vec<usize> = records.iter().map(payload_bytes).collect();
        if !self.queue.take(records.len(), bytes.iter().sum()) {
            return Err(ProduceError::QueueFull);
        }
        Ok(Taken { records: records.len(), bytes })
    }

    /// Gives room back that no call uses.
    pub fn give_back(&self, taken: Taken) {
        self.queue.give_back(taken.records, taken.bytes.iter().sum());
    }

    /// Hands a call to librdkafka, in its order. The receiver completes once.
    pub fn send(&self, taken: Taken, plan: Plan) -> oneshot::Receiver<Done> {
        let (request, receipts) = Request::new(&self.queue, taken.records);
        let native = read(&self.native);
        for (index, (planned, bytes)) in plan.into_iter().zip(taken.bytes).enumerate() {
            let placed = match planned {
                Ok(placed) => placed,
                Err(refusal) => {
                    request.settle(index, bytes, Err(refusal));
                    continue;
                }
            };
            let slot = Slot::new(&request, index, bytes, &placed);
            match &*native {
                Some(native) => enqueue(native, &placed, slot),
                None => slot.settle(Err(ProduceError::Unavailable("the log is closed".to_owned()))),
            }
        }
        receipts
    }

    /// Lets the client look at topics anew, e.g. for partitions that were added. Waits for the cluster.
    pub fn look_at(&self, topics: &[String]) {
        let Some(native) = read(&self.native).clone() else { return };
        for topic in topics {
            // What fails now it finds by itself within seconds.
            let _ = native.client().fetch_metadata(Some(topic), ASK_TIMEOUT);
        }
    }

    /// Notified when the client has trouble: [`Producer::mend`] is due.
    pub fn trouble(&self) -> Arc<Notify> {
        Arc::clone(&self.trouble)
    }

    /// Makes the client anew if it broke. The old one tells of the records that it had sent; the others were not stored.
    /// Call it where blocking is allowed, within a runtime.
    pub fn mend(&self) {
        let fatal = |native: &Option<Native>| native.as_ref()?.client().fatal_error();
        let Some((_, why)) = fatal(&read(&self.native)) else { return };
        let new = match self.make() {
            Ok(new) => new,
            Err(error) => return error!(why, %error, "The Kafka producer can't be made anew; it is tried again."),
        };
        let old = {
            let mut native = write(&self.native);
            if fatal(&native).is_none() {
                return;
            }
            native.replace(new)
        };
        let Some(old) = old else { return };
        self.rebuilds.fetch_add(1, Ordering::Relaxed);
        let held = old.in_flight_count();
        warn!(
            why,
            held, "The Kafka producer met a fatal error and was made anew; records that it held may be refused."
        );
        // It may wait for brokers; the next error is not to wait for it.
        tokio::task::spawn_blocking(move || retire(&old));
    }

    /// Waits for what was accepted until the deadline, and takes nothing more.
    pub fn close(&self, deadline: Instant) {
        let Some(native) = write(&self.native).take() else { return };
        // What is left after it gets its fate when the client goes.
        let _ = native.flush(deadline.saturating_duration_since(Instant::now()));
        drop(native);
        // Clients that broke shortly before may still hold some.
        while self.queue.usage().records > 0 && Instant::now() < deadline {
            std::thread::sleep(RETIRE_LOOK);
        }
    }

    /// Lets the client meet a fatal error, as a broker's answer would.
    #[cfg(any(test, feature = "conformance"))]
    pub fn break_client(&self) {
        if let Some(native) = &*read(&self.native) {
            super::native::break_client(native.client());
        }
    }
}

/// The end of a client that broke: what it did not send was not stored; what it sent may still be answered for a moment,
/// and is unknown after that.
fn retire(native: &Native) {
    for _ in 0..RETIRE_LOOKS {
        // Again and again: what a broker asks to be sent again goes back to the queue.
        native.purge(PurgeConfig::default().queue());
        if native.flush(RETIRE_LOOK).is_ok() {
            return;
        }
    }
    native.purge(PurgeConfig::default().queue().inflight());
    let _ = native.flush(RETIRE_LOOK);
}

fn enqueue(native: &Native, placed: &Placed, slot: Slot) {
    let NewRecord { topic, key, value, headers, timestamp_ms, .. } = &placed.record;
    let mut record = BaseRecord::with_opaque_to(topic, Box::new(slot)).partition(placed.partition);
    if let Some(key) = key {
        record = record.key(&key[..]);
    }
    if let Some(value) = value {
        record = record.payload(&value[..]);
    }
    if let Some(timestamp) = *timestamp_ms {
        // librdkafka takes 0 for "now": the first millisecond of 1970 is sent as the second.
        record = record.timestamp(if timestamp == 0 { 1 } else { timestamp });
    }
    if !headers.0.is_empty() {
        let all = OwnedHeaders::new_with_capacity(headers.0.len());
        record = record.headers(
            headers.0.iter().fold(all, |all, (name, value)| all.insert(Header { key: name, value: value.as_deref() })),
        );
    }
    if let Err((error, record)) = native.send::<[u8], [u8]>(record) {
        let slot = record.delivery_opaque;
        let refusal = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => ProduceError::QueueFull,
            Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownPartition) => {
                ProduceError::UnknownTopic(topic.to_string())
            }
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => slot.too_large(),
            Some(RDKafkaErrorCode::InvalidArgument) => ProduceError::Invalid(error.to_string()),
            _ => ProduceError::Unavailable(why(&error)),
        };
        slot.settle(Err(refusal));
    }
}
