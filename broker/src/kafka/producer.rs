//! Producing (D3): one completion per request. Records go to librdkafka at once; its thread tells each one's fate.

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Message,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedMessage, DeliveryResult, Header, OwnedHeaders},
    producer::{BaseRecord, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer},
};
use tokio::sync::{Notify, oneshot};
use tracing::{error, warn};

use super::{
    client::{ASK_TIMEOUT, Cluster, Context, unavailable},
    native,
};
use crate::{
    LogError, NewRecord, ProduceError, QueueUsage, Receipt, Receipts,
    record::payload_bytes,
    sync::{lock, read, write},
};

/// For what was accepted, when the log closes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Looks whether a client that broke has heard of all that it had sent; then its records are unknown.
const RETIRE_LOOKS: usize = 20;
/// Between two of these looks.
const RETIRE_LOOK: Duration = Duration::from_millis(100);

/// Records that wait for their receipts, and how many may.
#[derive(Debug)]
struct Queue {
    records: AtomicUsize,
    bytes: AtomicUsize,
    max_records: usize,
    max_bytes: usize,
}

impl Queue {
    fn take(&self, records: usize, bytes: usize) -> bool {
        let room = |now: usize, more: usize, max: usize| (now + more <= max).then_some(now + more);
        let order = Ordering::AcqRel;
        let taken = |n: usize, of: &AtomicUsize, max: usize| {
            of.fetch_update(order, Ordering::Acquire, |now| room(now, n, max)).is_ok()
        };
        if !taken(records, &self.records, self.max_records) {
            return false;
        }
        if !taken(bytes, &self.bytes, self.max_bytes) {
            self.records.fetch_sub(records, order);
            return false;
        }
        true
    }

    fn give_back(&self, records: usize, bytes: usize) {
        self.records.fetch_sub(records, Ordering::AcqRel);
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// One produce call on its way.
#[derive(Debug)]
pub(super) struct Request {
    queue: Arc<Queue>,
    state: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    receipts: Vec<Option<Result<Receipt, ProduceError>>>,
    missing: usize,
    done: Option<oneshot::Sender<Receipts>>,
}

impl Request {
    /// The fate of one record. The last one completes the request.
    fn settle(&self, index: usize, bytes: usize, fate: Result<Receipt, ProduceError>) {
        self.queue.give_back(1, bytes);
        let mut open = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = open.receipts.get_mut(index).filter(|place| place.is_none()) else { return };
        *place = Some(fate);
        open.missing -= 1;
        if open.missing == 0
            && let Some(done) = open.done.take()
        {
            // Nobody may be waiting any more; the records are stored all the same.
            let _ = done.send(std::mem::take(&mut open.receipts).into_iter().flatten().collect());
        }
    }
}

/// What librdkafka carries along with a record.
#[derive(Debug)]
pub(super) struct Slot {
    request: Arc<Request>,
    index: u32,
    bytes: u32,
    max: u32,
}

impl Slot {
    fn settle(&self, fate: Result<Receipt, ProduceError>) {
        self.request.settle(self.index as usize, self.bytes as usize, fate);
    }
}

/// Hears each record's fate, and of the client's troubles.
#[derive(Clone, Debug)]
pub(super) struct Deliveries {
    context: Context,
    /// Calls for the mender.
    trouble: Arc<Notify>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.context.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // It may be fatal: then its code is that of the cause, and the mender asks.
        self.trouble.notify_one();
        self.context.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Slot>;

    fn delivery(&self, result: &DeliveryResult<'_>, slot: Box<Slot>) {
        match result {
            Ok(message) => {
                self.context.reach.found();
                slot.settle(Ok(Receipt { partition: message.partition(), offset: message.offset() }));
            }
            Err((error, message)) => {
                let fate = fate(error, message, &slot);
                slot.settle(Err(fate));
            }
        }
    }
}

/// What a failed delivery means.
fn fate(error: &KafkaError, message: &BorrowedMessage<'_>, slot: &Slot) -> ProduceError {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
            ProduceError::UnknownTopic(message.topic().to_owned())
        }
        Some(Code::MessageSizeTooLarge) => {
            ProduceError::TooLarge { bytes: slot.bytes as usize, max: slot.max as usize }
        }
        Some(code @ (Code::InvalidRecord | Code::InvalidTimestamp | Code::InvalidMessage)) => {
            ProduceError::Invalid(code.to_string())
        }
        _ if native::may_be_stored(message) => ProduceError::Unknown(why(error)),
        _ => ProduceError::Unavailable(why(error)),
    }
}

/// An error in words; those of a client that broke are ours.
fn why(error: &KafkaError) -> String {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::Fatal | Code::PurgeQueue | Code::PurgeInflight) => {
            "the client of the Kafka cluster met a fatal error, and another takes its place".to_owned()
        }
        _ => error.to_string(),
    }
}

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
        let queue = Queue {
            records: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            max_records: cluster.producer.queue_records,
            max_bytes: cluster.producer.queue_bytes,
        };
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
        let deliveries = Deliveries { context: self.context.clone(), trouble: Arc::clone(&self.trouble) };
        let config = self.cluster.producer(self.max_record_bytes);
        config.create_with_context(deliveries).map_err(|error| unavailable(&error))
    }

    /// What waits, and the limits.
    pub fn usage(&self) -> QueueUsage {
        QueueUsage {
            records: self.queue.records.load(Ordering::Acquire),
            bytes: self.queue.bytes.load(Ordering::Acquire),
            max_records: self.queue.max_records,
            max_bytes: self.queue.max_bytes,
            rebuilds: self.rebuilds.load(Ordering::Relaxed),
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
    pub fn send(&self, taken: Taken, plan: Plan) -> oneshot::Receiver<Receipts> {
        let (done, receipts) = oneshot::channel();
        let open = Open { receipts: vec![None; taken.records], missing: taken.records, done: Some(done) };
        let request = Arc::new(Request { queue: Arc::clone(&self.queue), state: Mutex::new(open) });
        if taken.records == 0 {
            let done = lock(&request.state).done.take();
            drop(done.map(|done| done.send(Receipts::new())));
        }
        let native = read(&self.native);
        for (index, (planned, bytes)) in plan.into_iter().zip(taken.bytes).enumerate() {
            let placed = match planned {
                Ok(placed) => placed,
                Err(refusal) => {
                    request.settle(index, bytes, Err(refusal));
                    continue;
                }
            };
            let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let slot = Slot {
                request: Arc::clone(&request),
                index: small(index),
                bytes: small(bytes),
                max: small(placed.max),
            };
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

    /// Waits for what was accepted, within a limit, and takes nothing more.
    pub fn close(&self) {
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        let Some(native) = write(&self.native).take() else { return };
        // What is left after it gets its fate when the client goes.
        let _ = native.flush(CLOSE_TIMEOUT);
        drop(native);
        // Clients that broke shortly before may still hold some.
        while self.queue.records.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
            std::thread::sleep(RETIRE_LOOK);
        }
    }

    /// Lets the client meet a fatal error, as a broker's answer would.
    #[cfg(any(test, feature = "conformance"))]
    pub fn break_client(&self) {
        if let Some(native) = &*read(&self.native) {
            native::break_client(native.client());
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
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                ProduceError::TooLarge { bytes: slot.bytes as usize, max: slot.max as usize }
            }
            Some(RDKafkaErrorCode::InvalidArgument) => ProduceError::Invalid(error.to_string()),
            _ => ProduceError::Unavailable(why(&error)),
        };
        slot.settle(Err(refusal));
    }
}
