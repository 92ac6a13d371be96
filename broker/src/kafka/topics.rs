//! What is known of topics on the way in: how many partitions, how large a record may be.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, RwLock},
};

use tracing::warn;

use super::producer::{Placed, Plan};
use crate::{
    NewRecord, ProduceError, TopicInfo,
    partition::{self, Sticky},
    record::payload_bytes,
    sync::{read, write},
    topic,
};

/// librdkafka's default of `batch.size`.
const BATCH_BYTES: usize = 1_000_000;

/// What to do about a topic that may refuse whole batches, each record of which it would take; `None`: it takes them all.
/// Nothing can be done about a refused batch: what stands behind it may be stored already, and would be overtaken.
pub fn batch_advice(info: &TopicInfo, librdkafka: &BTreeMap<String, String>) -> Option<String> {
    let limit: usize = info.config.get("max.message.bytes")?.parse().ok()?;
    let batch = librdkafka.get("batch.size").and_then(|bytes| bytes.parse().ok()).unwrap_or(BATCH_BYTES);
    (limit < batch).then(|| {
        format!(
            "topic {} takes at most {limit} bytes (max.message.bytes), and batches of up to {batch} are sent, which it \
             refuses as a whole: set broker.librdkafka: {{batch.size: {limit}}}, or raise the topic's max.message.bytes",
            info.name
        )
    })
}

#[derive(Clone, Copy, Debug)]
struct Known {
    partitions: i32,
    max_record_bytes: usize,
}

/// Topics seen so far.
#[derive(Debug)]
pub(super) struct Topics {
    known: RwLock<HashMap<Arc<str>, Known>>,
    sticky: Sticky,
    record_bytes: usize,
    most_bytes: usize,
    librdkafka: BTreeMap<String, String>,
}

impl Topics {
    /// `record_bytes`: the limit where a topic has none; `most_bytes`: what the client sends at most; `librdkafka`: what is
    /// passed on to it.
    pub fn new(record_bytes: usize, most_bytes: usize, librdkafka: BTreeMap<String, String>) -> Self {
        Self { known: RwLock::default(), sticky: Sticky::default(), record_bytes, most_bytes, librdkafka }
    }

    /// Notes topics as they are now.
    pub fn saw(&self, infos: &[TopicInfo]) {
        let mut known = write(&self.known);
        for info in infos {
            let limit = info.config.get("max.message.bytes").and_then(|bytes| bytes.parse().ok());
            let max_record_bytes = limit.unwrap_or(self.record_bytes).min(self.most_bytes);
            let was = known.insert(Arc::clone(&info.name), Known { partitions: info.partitions, max_record_bytes });
            if was.is_none_or(|was| was.max_record_bytes != max_record_bytes)
                && let Some(advice) = batch_advice(info, &self.librdkafka)
            {
                warn!(topic = &*info.name, advice, "Batches for a topic may be larger than it takes.");
            }
        }
    }

    /// Those of the topics that have more partitions than they had.
    pub fn grown(&self, infos: &[TopicInfo]) -> Vec<String> {
        let known = read(&self.known);
        let more = |info: &&TopicInfo| known.get(&info.name).is_some_and(|known| known.partitions < info.partitions);
        infos.iter().filter(more).map(|info| info.name.to_string()).collect()
    }

    pub fn forget(&self, name: &str) {
        write(&self.known).remove(name);
    }

    pub fn names(&self) -> Vec<String> {
        read(&self.known).keys().map(|name| name.to_string()).collect()
    }

    /// Topics of these records that were not seen yet.
    pub fn unknown(&self, records: &[NewRecord]) -> BTreeSet<Arc<str>> {
        let known = read(&self.known);
        let names = records.iter().map(|record| &record.topic);
        names.filter(|name| !known.contains_key(&**name)).cloned().collect()
    }

    /// Where each record goes, or why it can't. Topics that are not known do not exist.
    pub fn plan(&self, records: Vec<NewRecord>) -> Plan {
        let mut turn = None;
        let known = read(&self.known);
        let mut place = |record: NewRecord| {
            let topic = known.get(&record.topic).ok_or_else(|| ProduceError::UnknownTopic(record.topic.to_string()))?;
            let partition = partition::place(&record, topic.partitions, &mut turn, &self.sticky)?;
            let (bytes, max) = (payload_bytes(&record), topic.max_record_bytes);
            if bytes > max {
                return Err(ProduceError::TooLarge { bytes, max });
            }
            Ok(Placed { record, partition, max })
        };
        records.into_iter().map(&mut place).collect()
    }
}

/// Names that can't be topics are not asked about.
pub(super) fn askable(names: BTreeSet<Arc<str>>) -> Vec<String> {
    names.into_iter().filter(|name| topic::check_name(name).is_ok()).map(|name| name.to_string()).collect()
}
