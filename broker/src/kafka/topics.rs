//! What is known of topics on the way in: how many partitions, how large a record may be, whether it needs a key.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, RwLock},
    time::Duration,
};

use tokio::time::Instant;
use tracing::warn;

use super::producer::{Placed, Plan};
use crate::{
    NewRecord, ProduceError, TopicInfo,
    partition::{self, Sticky},
    record::payload_bytes,
    sync::{read, write},
    topic,
};

/// Most topics noted because they were asked for (fixed). Those that are written to are noted in any case.
const MAX_NOTED: usize = 10_000;
/// How long a refusal counts where settings may not be seen (fixed): records without a key harm others no oftener.
const BELIEVED_FOR: Duration = Duration::from_secs(10);
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
    /// As in [`TopicInfo`].
    compacted: Option<bool>,
    /// When the cluster was asked.
    asked: Instant,
    /// When a record without a key was last refused.
    refused: Option<Instant>,
}

impl Known {
    /// What may not be seen is believed for a while after a refusal.
    fn wants_keys(&self) -> bool {
        let refused = || self.refused.is_some_and(|refused| refused.elapsed() < BELIEVED_FOR);
        self.compacted.unwrap_or_else(refused)
    }
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

    /// Notes topics as the cluster told of them, when it was `asked`.
    pub fn saw(&self, infos: &[TopicInfo], asked: Instant) {
        let mut known = write(&self.known);
        for info in infos {
            let refused = known.get(&info.name).and_then(|known| known.refused);
            let new = Known { refused, ..self.known(info, asked) };
            let was = known.insert(Arc::clone(&info.name), new);
            if was.is_none_or(|was| was.max_record_bytes != new.max_record_bytes)
                && let Some(advice) = batch_advice(info, &self.librdkafka)
            {
                warn!(topic = &*info.name, advice, "Batches for a topic may be larger than it takes.");
            }
        }
    }

    /// Notes a topic that was asked for, unless it is noted already: what is noted is kept current.
    pub fn note(&self, info: &TopicInfo, asked: Instant) {
        let mut known = write(&self.known);
        if known.len() < MAX_NOTED && !known.contains_key(&info.name) {
            known.insert(Arc::clone(&info.name), self.known(info, asked));
        }
    }

    fn known(&self, info: &TopicInfo, asked: Instant) -> Known {
        let limit = info.config.get("max.message.bytes").and_then(|bytes| bytes.parse().ok());
        let max_record_bytes = limit.unwrap_or(self.record_bytes).min(self.most_bytes);
        Known { partitions: info.partitions, max_record_bytes, compacted: info.compacted, asked, refused: None }
    }

    /// Whether a topic is known to take records with a key only.
    pub fn wants_keys(&self, name: &str) -> bool {
        read(&self.known).get(name).is_some_and(Known::wants_keys)
    }

    /// Whether it is compacted, if the cluster was asked since then.
    pub fn compacted_since(&self, name: &str, since: Instant) -> Option<Option<bool>> {
        read(&self.known).get(name).filter(|known| known.asked >= since).map(|known| known.compacted)
    }

    /// Notes that a topic refused a record without a key.
    pub fn refused(&self, name: &str) {
        if let Some(known) = write(&self.known).get_mut(name) {
            known.refused = Some(Instant::now());
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
            if record.key.is_none() && topic.wants_keys() {
                return Err(ProduceError::KeyRequired(record.topic.to_string()));
            }
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
