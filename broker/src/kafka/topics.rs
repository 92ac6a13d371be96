//! What is known of topics on the way in: how many partitions, how large a record may be.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, RwLock},
};

use super::producer::{Placed, Plan};
use crate::{
    NewRecord, ProduceError, TopicInfo,
    partition::{self, Sticky},
    record::payload_bytes,
    sync::{read, write},
    topic,
};

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
}

impl Topics {
    /// `record_bytes`: the limit where a topic has none; `most_bytes`: what the client sends at most.
    pub fn new(record_bytes: usize, most_bytes: usize) -> Self {
        Self { known: RwLock::default(), sticky: Sticky::default(), record_bytes, most_bytes }
    }

    /// Notes topics as they are now.
    pub fn saw(&self, infos: &[TopicInfo]) {
        let mut known = write(&self.known);
        for info in infos {
            let limit = info.config.get("max.message.bytes").and_then(|bytes| bytes.parse().ok());
            let max_record_bytes = limit.unwrap_or(self.record_bytes).min(self.most_bytes);
            known.insert(Arc::clone(&info.name), Known { partitions: info.partitions, max_record_bytes });
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
