//! What is known of topics on the way in: how many partitions, how large a record may be, whether it needs a key, how
//! far from now its timestamp may be.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, RwLock},
    time::Duration,
};

use tokio::time::Instant;
use tracing::warn;

use super::producer::{Placed, Plan};
use crate::{
    NewRecord, OutsideLimit, ProduceError, TimestampLimits, TopicInfo,
    partition::{self, Sticky},
    record::payload_bytes,
    sync::{read, write},
    timestamps::now_ms,
    topic,
};

/// Most topics noted because they were asked for (fixed). Those that are written to are noted in any case.
const MAX_NOTED: usize = 10_000;
/// How long a refusal counts where settings may not be seen (fixed): records that are refused harm others no oftener.
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
    rules: Rules,
    /// When the cluster was asked.
    asked: Instant,
    refused: Refused,
}

/// What a topic refuses batches for; each as in [`TopicInfo`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rules {
    pub compacted: Option<bool>,
    pub timestamps: Option<TimestampLimits>,
}

/// When a record was last refused.
#[derive(Clone, Copy, Debug, Default)]
struct Refused {
    /// Having no key.
    keyless: Option<Instant>,
    /// For its timestamp.
    timestamp: Option<Instant>,
}

/// What may not be seen is believed for a while after a refusal.
fn believed(refused: Option<Instant>) -> bool {
    refused.is_some_and(|refused| refused.elapsed() < BELIEVED_FOR)
}

impl Known {
    fn wants_keys(&self) -> bool {
        self.rules.compacted.unwrap_or_else(|| believed(self.refused.keyless))
    }

    fn timestamp_limits(&self) -> TimestampLimits {
        self.rules.timestamps.unwrap_or_else(|| match believed(self.refused.timestamp) {
            true => TimestampLimits::DEFAULT,
            false => TimestampLimits::NONE,
        })
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

    /// Notes topics as the cluster told of them, when it was `asked`. What was asked later and came before stays.
    pub fn saw(&self, infos: &[TopicInfo], asked: Instant) {
        let mut known = write(&self.known);
        for info in infos {
            let was = known.get(&info.name);
            if was.is_some_and(|was| was.asked > asked) {
                continue;
            }
            let refused = was.map(|known| known.refused).unwrap_or_default();
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
        let rules = Rules { compacted: info.compacted, timestamps: info.timestamps };
        Known { partitions: info.partitions, max_record_bytes, rules, asked, refused: Refused::default() }
    }

    /// Whether a topic is known to take records with a key only.
    pub fn wants_keys(&self, name: &str) -> bool {
        read(&self.known).get(name).is_some_and(Known::wants_keys)
    }

    /// Which timestamps a topic is known to take.
    pub fn timestamp_limits(&self, name: &str) -> TimestampLimits {
        read(&self.known).get(name).map_or(TimestampLimits::NONE, Known::timestamp_limits)
    }

    /// A topic's rules, if the cluster was asked since then.
    pub fn rules_since(&self, name: &str, since: Instant) -> Option<Rules> {
        read(&self.known).get(name).filter(|known| known.asked >= since).map(|known| known.rules)
    }

    /// Notes what a topic refused.
    pub fn refused(&self, why: &ProduceError) {
        let now = Some(Instant::now());
        let mut known = write(&self.known);
        match why {
            ProduceError::KeyRequired(topic) => {
                known.get_mut(&**topic).into_iter().for_each(|known| known.refused.keyless = now);
            }
            ProduceError::Timestamp(OutsideLimit { topic, .. }) => {
                known.get_mut(&**topic).into_iter().for_each(|known| known.refused.timestamp = now);
            }
            _ => {}
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
        let now_ms = now_ms();
        let known = read(&self.known);
        let mut place = |record: NewRecord| {
            let topic = known.get(&record.topic).ok_or_else(|| ProduceError::UnknownTopic(record.topic.to_string()))?;
            if record.key.is_none() && topic.wants_keys() {
                return Err(ProduceError::KeyRequired(record.topic.to_string()));
            }
            let surely_passed = |at| topic.timestamp_limits().surely_passed(&record.topic, at, now_ms);
            if let Some(outside) = record.timestamp_ms.and_then(surely_passed) {
                return Err(ProduceError::Timestamp(outside));
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn info(partitions: i32) -> TopicInfo {
        TopicInfo { name: "t".into(), id: None, partitions, config: BTreeMap::new(), compacted: None, timestamps: None }
    }

    #[test]
    fn an_answer_that_comes_late_changes_nothing() {
        let topics = Topics::new(1_000, 1_000, BTreeMap::new());
        let (before, after) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        let partitions = || read(&topics.known).get("t").map(|known| known.partitions);
        topics.saw(&[info(2)], before);
        topics.saw(&[info(6)], after);
        topics.saw(&[info(2)], before);
        assert_eq!(partitions(), Some(6));
        topics.saw(&[info(8)], after);
        assert_eq!(partitions(), Some(8));
    }
}
