//! `kafka://HOST:PORT,…`: the log on an Apache Kafka cluster, over librdkafka.
//!
//! librdkafka's calls that wait run on threads of their own; errors come back in the words of the trait.

mod admin;
mod client;
mod consumer;
mod lane;
mod native;
mod offsets;
mod producer;
mod reader;
mod refusal;
mod tend;
mod topics;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use rdkafka::admin::AdminClient;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

pub(crate) use self::client::check_passed_on;
pub use self::topics::batch_advice;
use self::{
    admin::{Admin, Found},
    client::{Cluster, Context, Reach, unavailable},
    consumer::{Desk, KafkaConsumer},
    lane::{InLane, Waiting, serve_lane},
    offsets::Offsets,
    producer::{Done, Producer},
    reader::{Range, Readers},
    tend::{look_after, mend},
    topics::{Topics, askable},
};
use crate::{
    Committed, Consumer, GroupSpec, Log, LogError, NewRecord, Offset, PendingReceipts, ProduceError, QueueUsage,
    Receipts, Record, TimestampLimits, TopicInfo, TopicPartition, TopicSpec, Watermarks, config::ProducerSettings,
    dead_letter, sync::lock, topic,
};

/// For the first answer of the cluster.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
/// All brokers out of reach for this long: records are refused at once.
const AWAY_FOR: Duration = Duration::from_secs(1);

/// Where the cluster is, and what is passed on to librdkafka.
#[derive(Clone)]
pub struct KafkaSettings {
    /// `HOST:PORT`, separated by commas.
    pub servers: String,
    /// Options of librdkafka by name.
    pub librdkafka: BTreeMap<String, String>,
    /// Limits of what waits for receipts.
    pub producer: ProducerSettings,
}

/// See the module.
pub struct KafkaLog {
    inner: Arc<Inner>,
    cluster_id: String,
    /// Calls with topics that are not known yet, in their order.
    lane: mpsc::Sender<Waiting>,
    desks: Mutex<Vec<Weak<Desk>>>,
}

struct Inner {
    cluster: Cluster,
    admin: Admin,
    topics: Topics,
    producer: Producer,
    readers: Arc<Readers>,
    offsets: Arc<Offsets>,
    reach: Arc<Reach>,
    in_lane: InLane,
    closed: AtomicBool,
    /// Whoever looks at topics because of a refusal.
    looking: tokio::sync::Mutex<()>,
}

impl KafkaLog {
    /// Connects. [`LogError::Unavailable`] if no broker answers within 20 s.
    pub async fn open(settings: KafkaSettings) -> Result<Arc<Self>, LogError> {
        let KafkaSettings { servers, librdkafka, producer } = settings;
        let cluster = Cluster { servers, passed_on: librdkafka, producer };
        let context = Context::default();
        let reach = Arc::clone(&context.reach);
        let native: AdminClient<Context> =
            cluster.admin().create_with_context(context.clone()).map_err(|error| unavailable(&error))?;
        let admin = Admin::new(native);
        let cluster_id = admin.cluster_id(OPEN_TIMEOUT).await.map_err(|error| match error {
            LogError::Unavailable(why) => LogError::Unavailable(format!(
                "the Kafka cluster at {} can't be reached ({why}): check broker.url, and that it runs",
                cluster.servers
            )),
            error => error,
        })?;
        // Dead letters have more than `record_bytes`.
        let most_bytes = dead_letter::topic::max_bytes(producer.record_bytes);
        let inner = Arc::new(Inner {
            topics: Topics::new(producer.record_bytes, most_bytes, cluster.passed_on.clone()),
            producer: Producer::new(cluster.clone(), context, most_bytes)?,
            readers: Arc::new(Readers::new(cluster.clone())),
            offsets: Arc::new(Offsets::new(cluster.clone())),
            cluster,
            admin,
            reach,
            in_lane: InLane::default(),
            closed: AtomicBool::new(false),
            looking: tokio::sync::Mutex::default(),
        });
        let (lane, waiting) = mpsc::channel(producer.queue_records.clamp(1, 100_000));
        tokio::spawn(serve_lane(Arc::clone(&inner), waiting));
        tokio::spawn(look_after(Arc::downgrade(&inner)));
        tokio::spawn(mend(Arc::downgrade(&inner), inner.producer.trouble()));
        Ok(Arc::new(Self { inner, cluster_id, lane, desks: Mutex::default() }))
    }

    fn open_still(&self) -> Result<(), LogError> {
        if self.inner.closed.load(Ordering::Acquire) { Err(LogError::Closed) } else { Ok(()) }
    }

    /// Lets the producer meet a fatal error, for tests of what follows.
    #[cfg(any(test, feature = "conformance"))]
    pub fn break_producer(&self) {
        self.inner.producer.break_client();
    }
}

impl Inner {
    /// Learns of topics that are not known yet; those that do not exist stay unknown.
    async fn learn(&self, records: &[NewRecord]) -> Result<(), LogError> {
        let (unknown, asked) = (askable(self.topics.unknown(records)), Instant::now());
        let Found { infos, hidden, .. } = self.admin.look_up(unknown).await?;
        self.topics.saw(&infos, asked);
        hidden.into_values().next().map_or(Ok(()), Err)
    }

    /// Notes topics as they are now; the producer hears of new partitions before a record goes there.
    async fn saw(self: &Arc<Self>, infos: &[TopicInfo], asked: Instant) {
        let grown = self.topics.grown(infos);
        if !grown.is_empty() {
            let inner = Arc::clone(self);
            let _ = tokio::task::spawn_blocking(move || inner.producer.look_at(&grown)).await;
        }
        self.topics.saw(infos, asked);
    }

    /// Makes what is known of topics new.
    async fn refresh(self: &Arc<Self>) -> Result<(), LogError> {
        let (names, asked) = (self.topics.names(), Instant::now());
        let Found { infos, hidden, holders } = self.admin.look_up(names.clone()).await?;
        self.producer.saw_holders(&holders);
        let is_there = |name: &str| hidden.contains_key(name) || infos.iter().any(|info| *info.name == *name);
        for gone in names.iter().filter(|name| !is_there(name)) {
            self.topics.forget(gone);
        }
        self.saw(&infos, asked).await;
        Ok(())
    }
}

/// What a call of `count` records waits for.
async fn receipts(inner: Weak<Inner>, done: oneshot::Receiver<Done>, count: usize) -> Receipts {
    match done.await {
        Ok(done) => refusal::explained(&inner, done).await,
        Err(error) => vec![Err(ProduceError::Unknown(format!("the producer ended: {error}"))); count],
    }
}

#[async_trait]
impl Log for KafkaLog {
    fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    async fn brokers(&self) -> Result<Vec<String>, LogError> {
        self.inner.admin.brokers().await
    }

    fn brokers_up(&self) -> BTreeMap<i32, bool> {
        self.inner.producer.brokers_up()
    }

    async fn create_topic(&self, spec: &TopicSpec) -> Result<TopicInfo, LogError> {
        self.open_still()?;
        let info = self.inner.admin.create(spec).await?;
        self.inner.topics.saw(std::slice::from_ref(&info), Instant::now());
        Ok(info)
    }

    async fn delete_topic(&self, topic: &str) -> Result<(), LogError> {
        self.open_still()?;
        self.inner.admin.delete(topic).await?;
        self.inner.topics.forget(topic);
        Ok(())
    }

    async fn grow_topic(&self, topic: &str, partitions: i32) -> Result<TopicInfo, LogError> {
        self.open_still()?;
        let info = self.inner.admin.grow(topic, partitions).await?;
        self.inner.saw(std::slice::from_ref(&info), Instant::now()).await;
        Ok(info)
    }

    async fn set_topic(&self, topic: &str, config: &BTreeMap<String, String>) -> Result<TopicInfo, LogError> {
        self.open_still()?;
        let info = self.inner.admin.set(topic, config).await?;
        self.inner.topics.saw(std::slice::from_ref(&info), Instant::now());
        Ok(info)
    }

    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        self.open_still()?;
        let names = self.inner.admin.names().await?;
        self.inner.admin.infos(names).await
    }

    async fn topic(&self, topic: &str) -> Result<TopicInfo, LogError> {
        self.open_still()?;
        let asked = Instant::now();
        let info = self.inner.admin.info(topic).await?;
        self.inner.topics.note(&info, asked);
        Ok(info)
    }

    fn is_compacted(&self, topic: &str) -> bool {
        self.inner.topics.wants_keys(topic)
    }

    fn timestamp_limits(&self, topic: &str) -> TimestampLimits {
        self.inner.topics.timestamp_limits(topic)
    }

    async fn topic_id(&self, topic: &str) -> Result<Option<Arc<str>>, LogError> {
        self.open_still()?;
        self.inner.admin.topic_id(topic).await
    }

    async fn watermarks(&self, part: &TopicPartition) -> Result<Watermarks, LogError> {
        self.open_still()?;
        let (low, high) = self.inner.admin.bounds(part.clone()).await?;
        Ok(Watermarks { low, high })
    }

    async fn offset_for_time(&self, part: &TopicPartition, timestamp_ms: i64) -> Result<Option<Offset>, LogError> {
        self.open_still()?;
        self.inner.readers.offset_for_time(part.clone(), timestamp_ms).await
    }

    async fn read(
        &self,
        part: &TopicPartition,
        from: Offset,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, LogError> {
        let Watermarks { low, high } = self.watermarks(part).await?;
        if from < low || from > high {
            return Err(LogError::OffsetOutOfRange { part: part.clone(), offset: from, low, high });
        }
        if from == high || max_records == 0 {
            return Ok(Vec::new());
        }
        self.inner.readers.read(Range { part: part.clone(), from, high, max_records, max_bytes }).await
    }

    fn produce(&self, records: Vec<NewRecord>) -> Result<PendingReceipts, ProduceError> {
        let inner = &self.inner;
        if inner.closed.load(Ordering::Acquire) {
            return Err(ProduceError::Unavailable("the log is closed".to_owned()));
        }
        if let Some((_, why)) = inner.reach.away().filter(|(since, _)| *since >= AWAY_FOR) {
            return Err(ProduceError::Unavailable(why));
        }
        let count = records.len();
        let taken = inner.producer.take(&records)?;
        if inner.in_lane.lets_pass(&records) && inner.topics.unknown(&records).is_empty() {
            let done = inner.producer.send(taken, inner.topics.plan(records));
            return Ok(Box::pin(receipts(Arc::downgrade(inner), done, count)));
        }
        let (done, sent) = oneshot::channel();
        let topics = inner.in_lane.enter(&records);
        if let Err(error) = self.lane.try_send(Waiting { records, topics, taken, done }) {
            let Waiting { topics, taken, .. } = error.into_inner();
            inner.in_lane.leave(&topics);
            inner.producer.give_back(taken);
            return Err(ProduceError::QueueFull);
        }
        Ok(Box::pin(receipts(Arc::downgrade(inner), sent, count)))
    }

    fn record_bytes(&self) -> usize {
        self.inner.cluster.producer.record_bytes
    }

    fn queue(&self) -> QueueUsage {
        self.inner.producer.usage()
    }

    async fn subscribe(&self, spec: GroupSpec) -> Result<Box<dyn Consumer>, LogError> {
        self.open_still()?;
        let (consumer, desk) = KafkaConsumer::join(&self.inner.cluster, self.inner.admin.clone(), spec)?;
        let mut desks = lock(&self.desks);
        desks.retain(|desk| desk.strong_count() > 0);
        desks.push(Arc::downgrade(&desk));
        Ok(Box::new(consumer))
    }

    async fn committed(
        &self,
        group: &str,
        parts: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Committed>, LogError> {
        self.open_still()?;
        self.inner.offsets.committed(group, parts).await
    }

    async fn set_committed(
        &self,
        group: &str,
        offsets: &[(TopicPartition, Option<Committed>)],
    ) -> Result<(), LogError> {
        self.open_still()?;
        topic::check_group(group)?;
        self.inner.admin.set_committed(group, offsets).await
    }

    async fn health(&self) -> Result<(), LogError> {
        self.open_still()?;
        match self.inner.reach.away() {
            Some((_, why)) => Err(LogError::Unavailable(why)),
            None => Ok(()),
        }
    }

    async fn close_within(&self, within: Duration) -> Result<(), LogError> {
        if self.inner.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        for desk in lock(&self.desks).drain(..).filter_map(|desk| desk.upgrade()) {
            desk.end(LogError::Closed);
        }
        let started = Instant::now();
        // What is sent from there needs time for its receipts.
        while !self.inner.in_lane.is_empty() && started.elapsed() < within / 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let inner = Arc::clone(&self.inner);
        let closing = tokio::task::spawn_blocking(move || {
            inner.producer.close((started + within).into_std());
            inner.readers.close();
            inner.offsets.close();
        });
        closing.await.map_err(|error| LogError::Unavailable(format!("closing was cut off: {error}")))
    }
}
