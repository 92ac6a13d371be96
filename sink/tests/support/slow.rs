//! A log that answers questions about watermarks late.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use forebay_broker::{
    Committed, Consumer, GroupSpec, Log, LogError, NewRecord, Offset, PendingReceipts, ProduceError, QueueUsage,
    Record, TopicInfo, TopicPartition, TopicSpec, Watermarks,
};

pub struct SlowLog {
    log: Arc<dyn Log>,
    after: Mutex<Duration>,
    waiting: AtomicUsize,
    most: AtomicUsize,
}

impl SlowLog {
    pub fn over(log: Arc<dyn Log>) -> Self {
        Self { log, after: Mutex::default(), waiting: AtomicUsize::new(0), most: AtomicUsize::new(0) }
    }

    pub fn answer_after(&self, time: Duration) {
        *self.after.lock().unwrap() = time;
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
        self.log.produce(records)
    }
    fn queue(&self) -> QueueUsage {
        self.log.queue()
    }
    async fn subscribe(&self, spec: GroupSpec) -> Result<Box<dyn Consumer>, LogError> {
        self.log.subscribe(spec).await
    }
    async fn committed(&self, group: &str) -> Result<BTreeMap<TopicPartition, Committed>, LogError> {
        self.log.committed(group).await
    }
    async fn set_committed(&self, group: &str, of: &[(TopicPartition, Option<Committed>)]) -> Result<(), LogError> {
        self.log.set_committed(group, of).await
    }
    async fn health(&self) -> Result<(), LogError> {
        self.log.health().await
    }
    async fn close(&self) -> Result<(), LogError> {
        self.log.close().await
    }
}
