//! Requests on their way: room in the queue, and what became of each record.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use rdkafka::{
    ClientContext, Message,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedMessage, DeliveryResult},
    producer::ProducerContext,
};
use tokio::sync::{Notify, oneshot};
use tracing::debug;

use super::{
    super::{
        client::{Context, not_allowed},
        native, refusal,
    },
    Placed,
    brokers::Brokers,
};
use crate::{ProduceError, QueueUsage, Receipt, Receipts};

/// Bytes that a batch of one record takes over its payload, generously.
const FRAME_BYTES: u32 = 1_024;

/// Records that wait for their receipts, and how many may.
#[derive(Debug)]
pub(super) struct Queue {
    records: AtomicUsize,
    bytes: AtomicUsize,
    max_records: usize,
    max_bytes: usize,
}

impl Queue {
    pub fn new(max_records: usize, max_bytes: usize) -> Self {
        Self { records: AtomicUsize::new(0), bytes: AtomicUsize::new(0), max_records, max_bytes }
    }

    /// What waits, and the limits.
    pub fn usage(&self) -> QueueUsage {
        QueueUsage {
            records: self.records.load(Ordering::Acquire),
            bytes: self.bytes.load(Ordering::Acquire),
            max_records: self.max_records,
            max_bytes: self.max_bytes,
            rebuilds: 0,
        }
    }

    /// Takes room for a whole call, or none.
    pub fn take(&self, records: usize, bytes: usize) -> bool {
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

    pub fn give_back(&self, records: usize, bytes: usize) {
        self.records.fetch_sub(records, Ordering::AcqRel);
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// A record that a broker refused together with its batch, for what stands in one of them.
#[derive(Debug)]
pub(in crate::kafka) struct Refused {
    /// Within its call.
    pub index: usize,
    pub topic: String,
    pub keyless: bool,
    pub timestamp_ms: Option<i64>,
    /// The broker's word is about a timestamp.
    pub for_timestamp: bool,
}

/// The end of a produce call.
#[derive(Debug, Default)]
pub(in crate::kafka) struct Done {
    pub receipts: Receipts,
    /// Those of which a receipt tells the broker's word only: who is at fault is to be found out.
    pub refused: Vec<Refused>,
}

/// One produce call on its way.
#[derive(Debug)]
pub(in crate::kafka) struct Request {
    queue: Arc<Queue>,
    state: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    receipts: Vec<Option<Result<Receipt, ProduceError>>>,
    missing: usize,
    refused: Vec<Refused>,
    done: Option<oneshot::Sender<Done>>,
}

impl Request {
    /// A call of so many records that have room in the queue, and where its receipts arrive.
    pub fn new(queue: &Arc<Queue>, records: usize) -> (Arc<Self>, oneshot::Receiver<Done>) {
        let (done, receipts) = oneshot::channel();
        let mut open = Open { receipts: vec![None; records], missing: records, refused: Vec::new(), done: Some(done) };
        if records == 0 {
            drop(open.done.take().map(|done| done.send(Done::default())));
        }
        (Arc::new(Self { queue: Arc::clone(queue), state: Mutex::new(open) }), receipts)
    }

    /// The fate of one record. The last one completes the request.
    pub fn settle(&self, index: usize, bytes: usize, fate: Result<Receipt, ProduceError>) {
        self.settle_with(index, bytes, fate, None);
    }

    fn settle_with(&self, index: usize, bytes: usize, fate: Result<Receipt, ProduceError>, refused: Option<Refused>) {
        self.queue.give_back(1, bytes);
        let mut open = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        open.refused.extend(refused);
        let Some(place) = open.receipts.get_mut(index).filter(|place| place.is_none()) else { return };
        *place = Some(fate);
        open.missing -= 1;
        if open.missing == 0
            && let Some(done) = open.done.take()
        {
            // Nobody may be waiting any more; the records are stored all the same.
            let receipts = std::mem::take(&mut open.receipts).into_iter().flatten().collect();
            let _ = done.send(Done { receipts, refused: std::mem::take(&mut open.refused) });
        }
    }
}

/// What librdkafka carries along with a record.
#[derive(Debug)]
pub(in crate::kafka) struct Slot {
    request: Arc<Request>,
    index: u32,
    bytes: u32,
    max: u32,
    keyless: bool,
    timestamp_ms: Option<i64>,
}

impl Slot {
    pub fn new(request: &Arc<Request>, index: usize, bytes: usize, placed: &Placed) -> Self {
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            request: Arc::clone(request),
            index: small(index),
            bytes: small(bytes),
            max: small(placed.max),
            keyless: placed.record.key.is_none(),
            timestamp_ms: placed.record.timestamp_ms,
        }
    }

    /// The record would be taken in a batch of its own.
    fn fits_alone(&self) -> bool {
        self.bytes.saturating_add(FRAME_BYTES) <= self.max
    }

    /// The record is over its topic's limit.
    pub fn too_large(&self) -> ProduceError {
        ProduceError::TooLarge { bytes: self.bytes as usize, max: self.max as usize }
    }

    pub fn settle(&self, fate: Result<Receipt, ProduceError>) {
        self.request.settle(self.index as usize, self.bytes as usize, fate);
    }

    /// A broker refused the record, or another one of its batch.
    fn refuse(&self, topic: &str, code: RDKafkaErrorCode) {
        let index = self.index as usize;
        let refused = Refused {
            index,
            topic: topic.to_owned(),
            keyless: self.keyless,
            timestamp_ms: self.timestamp_ms,
            for_timestamp: code == RDKafkaErrorCode::InvalidTimestamp,
        };
        let fate = Err(ProduceError::Invalid(code.to_string()));
        self.request.settle_with(index, self.bytes as usize, fate, Some(refused));
    }
}

/// Hears each record's fate, and of the client's troubles.
#[derive(Debug)]
pub(in crate::kafka) struct Deliveries {
    pub context: Context,
    /// Calls for the mender.
    pub trouble: Arc<Notify>,
    /// What this client sees of them.
    pub brokers: Brokers,
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

    fn stats_raw(&self, statistics: &[u8]) {
        if let Err(error) = self.brokers.look(statistics) {
            debug!(%error, "librdkafka's statistics can't be read.");
        }
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
            Err((error, message)) => match error.rdkafka_error_code() {
                // With one record at fault librdkafka says the same of its whole batch.
                Some(code @ (RDKafkaErrorCode::InvalidRecord | RDKafkaErrorCode::InvalidTimestamp)) => {
                    slot.refuse(message.topic(), code);
                }
                _ => slot.settle(Err(fate(error, message, &slot))),
            },
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
        Some(code @ Code::TopicAuthorizationFailed) => ProduceError::Denied(not_allowed(&code.to_string())),
        Some(Code::MessageSizeTooLarge) if slot.fits_alone() => ProduceError::Unavailable(format!(
            "the cluster refused a batch of several records as over max.message.bytes of topic {0}, {1}: set \
             broker.librdkafka: {{batch.size: {1}}}",
            message.topic(),
            slot.max
        )),
        Some(Code::MessageSizeTooLarge) => slot.too_large(),
        Some(code @ Code::InvalidMessage) => ProduceError::Invalid(code.to_string()),
        Some(Code::InvalidDifferentRecord) => refusal::another(message.topic()),
        _ if native::may_be_stored(message) => ProduceError::Unknown(why(error)),
        _ => ProduceError::Unavailable(why(error)),
    }
}

/// An error in words; those of a client that broke are ours.
pub(super) fn why(error: &KafkaError) -> String {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::Fatal | Code::PurgeQueue | Code::PurgeInflight) => {
            "the client of the Kafka cluster met a fatal error, and another takes its place".to_owned()
        }
        _ => error.to_string(),
    }
}
