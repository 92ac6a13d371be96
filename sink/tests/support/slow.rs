//! A log that answers questions about watermarks late, and whose consumers behave like a cluster's: they leave only once
//! all was given back, can end, and refuse what is asked of a partition that is taken away already.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use forebay_broker::{
    Committed, Committer, Consumer, GroupSpec, Log, LogError, NewRecord, Offset, PendingReceipts, Polled, ProduceError,
    QueueUsage, Record, Revoke, TopicInfo, TopicPartition, TopicSpec, Watermarks,
};
use tokio::sync::oneshot;

pub struct SlowLog {
    log: Arc<dyn Log>,
    after: Mutex<Duration>,
    waiting: AtomicUsize,
    most: AtomicUsize,
    unknown: Mutex<Option<Arc<str>>>,
    recreated: AtomicBool,
    group: Arc<Group>,
}

/// What consumers share with the test.
#[derive(Default)]
struct Group {
    joins: AtomicUsize,
    ends: AtomicBool,
    taken: Mutex<Option<TopicPartition>>,
    paused: Mutex<BTreeSet<TopicPartition>>,
}

impl SlowLog {
    pub fn over(log: Arc<dyn Log>) -> Self {
        Self {
            log,
            after: Mutex::default(),
            waiting: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            unknown: Mutex::default(),
            recreated: AtomicBool::new(false),
            group: Arc::default(),
        }
    }

    pub fn answer_after(&self, time: Duration) {
        *self.after.lock().unwrap() = time;
    }

    /// Knows nothing of this topic when records come for it, though it lists it.
    pub fn forget(&self, topic: Option<&str>) {
        *self.unknown.lock().unwrap() = topic.map(Into::into);
    }

    /// Topics bear another identity from now on; consumers are not told, as on a cluster.
    pub fn recreate_topics(&self) {
        self.recreated.store(true, Ordering::SeqCst);
    }

    /// The consumer's next poll tells that it has ended.
    pub fn end_consumer(&self) {
        self.group.ends.store(true, Ordering::SeqCst);
    }

    /// Consumers refuse what is asked of this partition, as if it had been taken away already.
    pub fn take_away(&self, part: Option<TopicPartition>) {
        *self.group.taken.lock().unwrap() = part;
    }

    /// How often a consumer joined.
    pub fn joins(&self) -> usize {
        self.group.joins.load(Ordering::SeqCst)
    }

    pub fn paused(&self) -> BTreeSet<TopicPartition> {
        self.group.paused.lock().unwrap().clone()
    }

    /// Most questions that waited at once.
    pub fn most_waiting(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

#[async_trait::async_trait]
impl Log for SlowLog {
    fn cluster_id(&self) -> &str {
        self.log.cluster_id()
    }
    async fn create_topic(&self, spec: &TopicSpec) -> Result<TopicInfo, LogError> {
        self.log.create_topic(spec).await
    }
    async fn delete_topic(&self, topic: &str) -> Result<(), LogError> {
        self.log.delete_topic(topic).await
    }
    async fn grow_topic(&self, topic: &str, partitions: i32) -> Result<TopicInfo, LogError> {
        self.log.grow_topic(topic, partitions).await
    }
    async fn set_topic(&self, topic: &str, config: &BTreeMap<String, String>) -> Result<TopicInfo, LogError> {
        self.log.set_topic(topic, config).await
    }
    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        self.log.topics().await
    }
    async fn topic(&self, topic: &str) -> Result<TopicInfo, LogError> {
        self.log.topic(topic).await
    }
    async fn watermarks(&self, part: &TopicPartition) -> Result<Watermarks, LogError> {
        let now = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let after = *self.after.lock().unwrap();
        tokio::time::sleep(after).await;
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.log.watermarks(part).await
    }
    async fn offset_for_time(&self, part: &TopicPartition, timestamp_ms: i64) -> Result<Option<Offset>, LogError> {
        self.log.offset_for_time(part, timestamp_ms).await
    }
    async fn read(&self, p: &TopicPartition, from: Offset, n: usize, bytes: usize) -> Result<Vec<Record>, LogError> {
        self.log.read(p, from, n, bytes).await
    }
    fn produce(&self, records: Vec<NewRecord>) -> Result<PendingReceipts, ProduceError> {
        let unknown = self.unknown.lock().unwrap().clone();
        match records.iter().find(|record| Some(&record.topic) == unknown.as_ref()) {
            Some(record) => Err(ProduceError::UnknownTopic(record.topic.to_string())),
            None => self.log.produce(records),
        }
    }
    fn record_bytes(&self) -> usize {
        self.log.record_bytes()
    }
    fn queue(&self) -> QueueUsage {
        self.log.queue()
    }
    async fn subscribe(&self, spec: GroupSpec) -> Result<Box<dyn Consumer>, LogError> {
        self.group.joins.fetch_add(1, Ordering::SeqCst);
        let inner = self.log.subscribe(spec).await?;
        Ok(Box::new(SlowConsumer { inner, group: Arc::clone(&self.group), owed: Vec::new() }))
    }
    async fn topic_id(&self, topic: &str) -> Result<Option<Arc<str>>, LogError> {
        let id = self.log.topic_id(topic).await?;
        Ok(if self.recreated.load(Ordering::SeqCst) { Some("another".into()) } else { id })
    }
    async fn committed(
        &self,
        group: &str,
        parts: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Committed>, LogError> {
        self.log.committed(group, parts).await
    }
    async fn set_committed(&self, group: &str, of: &[(TopicPartition, Option<Committed>)]) -> Result<(), LogError> {
        self.log.set_committed(group, of).await
    }
    async fn health(&self) -> Result<(), LogError> {
        self.log.health().await
    }
    async fn close_within(&self, within: Duration) -> Result<(), LogError> {
        self.log.close_within(within).await
    }
}

struct SlowConsumer {
    inner: Box<dyn Consumer>,
    group: Arc<Group>,
    /// Answers to revokes.
    owed: Vec<oneshot::Receiver<()>>,
}

impl SlowConsumer {
    fn check(&self, parts: &[TopicPartition]) -> Result<(), LogError> {
        let taken = self.group.taken.lock().unwrap();
        match taken.as_ref().filter(|part| parts.contains(part)) {
            Some(part) => Err(LogError::Invalid(format!("{part} is not assigned to this consumer"))),
            None => Ok(()),
        }
    }
}

#[async_trait::async_trait]
impl Consumer for SlowConsumer {
    async fn poll(&mut self, max_records: usize, wait: Duration) -> Result<Polled, LogError> {
        if self.group.ends.swap(false, Ordering::SeqCst) {
            return Err(LogError::ConsumerEnded("as the test says".to_owned()));
        }
        let theirs = match self.inner.poll(max_records, wait).await? {
            Polled::Revoke(theirs) => theirs,
            polled => return Ok(polled),
        };
        let (ours, answer) = Revoke::new(theirs.parts.clone());
        let (owed, settled) = oneshot::channel();
        tokio::spawn(async move {
            let _ = answer.await;
            theirs.done();
            let _ = owed.send(());
        });
        self.owed.push(settled);
        Ok(Polled::Revoke(ours))
    }
    fn seek(&mut self, part: &TopicPartition, offset: Offset) -> Result<(), LogError> {
        self.check(std::slice::from_ref(part))?;
        self.inner.seek(part, offset)
    }
    fn pause(&mut self, parts: &[TopicPartition]) -> Result<(), LogError> {
        self.check(parts)?;
        self.group.paused.lock().unwrap().extend(parts.iter().cloned());
        self.inner.pause(parts)
    }
    fn resume(&mut self, parts: &[TopicPartition]) -> Result<(), LogError> {
        self.check(parts)?;
        self.group.paused.lock().unwrap().retain(|part| !parts.contains(part));
        self.inner.resume(parts)
    }
    fn committer(&self) -> Arc<dyn Committer> {
        self.inner.committer()
    }
    async fn close(self: Box<Self>) -> Result<(), LogError> {
        for answer in self.owed {
            let _ = answer.await;
        }
        self.inner.close().await
    }
}
