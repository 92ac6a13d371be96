//! What a simulated log has stored: it outlives crashes.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    Committed, LogError, NewRecord, Offset, Receipt, Record, TimestampLimits, TopicInfo, TopicPartition, TopicSpec,
    Watermarks,
    group::{FetchLimit, Fetched},
    record::payload_bytes,
    topic::{self, TopicSettings},
};

#[derive(Default)]
pub(super) struct Disk {
    pub topics: BTreeMap<Arc<str>, Topic>,
    pub committed: BTreeMap<String, BTreeMap<TopicPartition, Committed>>,
    topics_made: u64,
}

pub(super) struct Topic {
    pub id: Arc<str>,
    pub config: BTreeMap<String, String>,
    pub settings: TopicSettings,
    pub partitions: Vec<Partition>,
}

#[derive(Default)]
pub(super) struct Partition {
    low: Offset,
    high: Offset,
    records: BTreeMap<Offset, Stored>,
    bytes: u64,
}

struct Stored {
    record: Record,
    appended_ms: i64,
    bytes: u64,
}

impl Topic {
    pub fn info(&self, name: &Arc<str>) -> TopicInfo {
        TopicInfo {
            name: name.clone(),
            id: Some(self.id.clone()),
            partitions: self.partitions.len() as i32,
            config: self.config.clone(),
            compacted: Some(false),
            timestamps: Some(TimestampLimits::NONE),
        }
    }
}

impl Disk {
    pub fn topic(&self, name: &str) -> Result<(&Arc<str>, &Topic), LogError> {
        self.topics.get_key_value(name).ok_or_else(|| LogError::UnknownTopic(name.to_owned()))
    }

    pub fn partition(&self, part: &TopicPartition) -> Result<&Partition, LogError> {
        let partition = usize::try_from(part.partition).ok();
        let found = partition.and_then(|p| self.topics.get(&part.topic)?.partitions.get(p));
        found.ok_or_else(|| LogError::UnknownTopic(part.topic.to_string()))
    }

    pub fn partition_mut(&mut self, part: &TopicPartition) -> Result<&mut Partition, LogError> {
        let partition = usize::try_from(part.partition).ok();
        let found = partition.and_then(|p| self.topics.get_mut(&part.topic)?.partitions.get_mut(p));
        found.ok_or_else(|| LogError::UnknownTopic(part.topic.to_string()))
    }

    pub fn create(&mut self, spec: &TopicSpec) -> Result<TopicInfo, LogError> {
        let settings = topic::check(spec)?;
        if self.topics.contains_key(spec.name.as_str()) {
            return Err(LogError::TopicExists(spec.name.clone()));
        }
        self.topics_made += 1;
        let partitions = (0..spec.partitions).map(|_| Partition::default()).collect();
        let id = format!("sim-topic-{}", self.topics_made).into();
        let topic = Topic { id, config: spec.config.clone(), settings, partitions };
        let name: Arc<str> = spec.name.as_str().into();
        let info = topic.info(&name);
        self.topics.insert(name, topic);
        Ok(info)
    }

    pub fn grow(&mut self, name: &str, partitions: i32) -> Result<TopicInfo, LogError> {
        topic::check_partitions(partitions)?;
        let (key, _) = self.topic(name)?;
        let key = key.clone();
        let Some(topic) = self.topics.get_mut(&key) else { return Err(LogError::UnknownTopic(name.to_owned())) };
        let now = topic.partitions.len() as i32;
        if partitions < now {
            return Err(LogError::Invalid(format!("topic {name:?} has {now} partitions, {partitions} are fewer")));
        }
        topic.partitions.extend((now..partitions).map(|_| Partition::default()));
        Ok(topic.info(&key))
    }

    pub fn set(&mut self, name: &str, config: &BTreeMap<String, String>) -> Result<TopicInfo, LogError> {
        let (key, topic) = self.topic(name)?;
        let (key, mut merged) = (key.clone(), topic.config.clone());
        merged.extend(config.clone());
        let settings = topic::settings(&merged)?;
        let Some(topic) = self.topics.get_mut(&key) else { return Err(LogError::UnknownTopic(name.to_owned())) };
        (topic.config, topic.settings) = (merged, settings);
        Ok(topic.info(&key))
    }

    pub fn delete(&mut self, name: &str) -> Result<(), LogError> {
        self.topics.remove(name).ok_or_else(|| LogError::UnknownTopic(name.to_owned()))?;
        self.committed.retain(|_, positions| {
            positions.retain(|part, _| &*part.topic != name);
            !positions.is_empty()
        });
        Ok(())
    }

    pub fn set_committed(&mut self, group: &str, part: TopicPartition, committed: Option<Committed>) {
        let positions = self.committed.entry(group.to_owned()).or_default();
        match committed {
            Some(committed) => positions.insert(part, committed),
            None => positions.remove(&part),
        };
        if positions.is_empty() {
            self.committed.remove(group);
        }
    }

    /// Applies every topic's retention.
    pub fn expire(&mut self, now_ms: i64) {
        for topic in self.topics.values_mut() {
            let settings = topic.settings;
            topic.partitions.iter_mut().for_each(|partition| partition.expire(&settings, now_ms));
        }
    }
}

impl Partition {
    pub fn watermarks(&self) -> Watermarks {
        Watermarks { low: self.low, high: self.high }
    }

    pub fn append(
        &mut self,
        part: TopicPartition,
        record: NewRecord,
        gap: Offset,
        (settings, now_ms): (TopicSettings, i64),
    ) -> Receipt {
        let offset = self.high + gap;
        let bytes = payload_bytes(&record) as u64;
        let receipt = Receipt { partition: part.partition, offset };
        let (timestamp_ms, timestamp_type) = settings.stamp(record.timestamp_ms, now_ms);
        let record = Record {
            part,
            offset,
            key: record.key,
            value: record.value,
            headers: record.headers,
            timestamp_ms,
            timestamp_type,
        };
        self.records.insert(offset, Stored { record, appended_ms: now_ms, bytes });
        self.bytes += bytes;
        self.high = offset + 1;
        receipt
    }

    /// Offsets that hold no record, at the end.
    pub fn skip(&mut self, count: Offset) {
        self.high += count.max(0);
    }

    /// Takes a record away but leaves its offset, as compaction does.
    pub fn remove(&mut self, offset: Offset) {
        if let Some(stored) = self.records.remove(&offset) {
            self.bytes -= stored.bytes;
        }
    }

    /// Takes away everything from an offset on, as an election among replicas that lag does.
    pub fn cut(&mut self, high: Offset) {
        for (_, lost) in self.records.split_off(&high) {
            self.bytes -= lost.bytes;
        }
        self.high = high.clamp(self.low, self.high);
    }

    pub fn raise_low(&mut self, low: Offset) {
        self.low = low.clamp(self.low, self.high);
        while let Some(first) = self.records.first_entry().filter(|first| *first.key() < self.low) {
            self.bytes -= first.remove().bytes;
        }
    }

    fn expire(&mut self, settings: &TopicSettings, now_ms: i64) {
        while let Some((offset, stored)) = self.records.first_key_value() {
            let old = settings.retention_ms.is_some_and(|age| stored.appended_ms <= now_ms.saturating_sub(age));
            let spare = settings.retention_bytes.is_some_and(|keep| self.bytes.saturating_sub(stored.bytes) >= keep);
            if !old && !spare {
                break;
            }
            self.raise_low(offset + 1);
        }
    }

    pub fn fetch(&self, part: &TopicPartition, from: Offset, limit: FetchLimit) -> Result<Fetched, LogError> {
        let Watermarks { low, high } = self.watermarks();
        if from < low || from > high {
            return Err(LogError::OffsetOutOfRange { part: part.clone(), offset: from, low, high });
        }
        let (mut records, mut bytes) = (Vec::new(), 0);
        for (_, stored) in self.records.range(from..) {
            bytes += stored.bytes as usize;
            if records.len() >= limit.records || (!records.is_empty() && bytes > limit.bytes) {
                break;
            }
            records.push(stored.record.clone());
        }
        Ok(Fetched { records, high })
    }

    pub fn offset_for_time(&self, timestamp_ms: i64) -> Option<Offset> {
        self.records.iter().find(|(_, stored)| stored.record.timestamp_ms >= timestamp_ms).map(|(offset, _)| *offset)
    }
}
