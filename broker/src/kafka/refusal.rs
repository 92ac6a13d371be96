//! Who is at fault where a broker refuses a batch for what stands in one of its records.
//!
//! A broker stores a batch as a whole or not at all, and librdkafka puts records of many calls into one. Of records that
//! are not as their topic wants them it names each (KIP-467); with a single one librdkafka gives that error to the whole
//! batch. The topic's settings tell them apart: a compacted topic refuses records without a key, one with limits on
//! timestamps those that are outside of them.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::Instant;
use tracing::debug;

use super::{
    Inner,
    producer::{Done, Refused},
    topics::Rules,
};
use crate::{ProduceError, Receipts, TimestampLimits, timestamps::now_ms};

/// For the topic to be looked at, while a caller waits. Without an answer it counts as not known.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// Receipts that blame those records alone that are at fault.
pub(super) async fn explained(inner: &Weak<Inner>, done: Done) -> Receipts {
    let Done { mut receipts, refused } = done;
    if refused.is_empty() {
        return receipts;
    }
    let since = Instant::now();
    let mut seen: HashMap<String, Rules> = HashMap::new();
    for refused in refused {
        let rules = match seen.get(&refused.topic) {
            Some(rules) => *rules,
            None => {
                let looked = async { inner.upgrade()?.looked_at(&refused.topic, since).await };
                let rules = tokio::time::timeout(LOOK_WITHIN, looked).await.ok().flatten().unwrap_or_default();
                seen.insert(refused.topic.clone(), rules);
                rules
            }
        };
        let Some(why) = blame(&refused, rules, now_ms()) else { continue };
        if let Some(inner) = inner.upgrade() {
            inner.topics.refused(&why);
        }
        if let Some(receipt) = receipts.get_mut(refused.index) {
            *receipt = Err(why);
        }
    }
    receipts
}

impl Inner {
    /// A topic's rules, by an answer of the cluster from after `since`; later records are held against them too. One
    /// question at a time, whose answer is good for all who wait.
    async fn looked_at(self: Arc<Self>, topic: &str, since: Instant) -> Option<Rules> {
        let _turn = self.looking.lock().await;
        if let Some(seen) = self.topics.rules_since(topic, since) {
            return Some(seen);
        }
        let asked = Instant::now();
        match self.admin.infos(vec![topic.to_owned()]).await {
            Ok(infos) => self.saw(&infos, asked).await,
            Err(why) => debug!(topic, %why, "A topic that refuses records can't be looked at now."),
        }
        self.topics.rules_since(topic, since)
    }
}

/// What an invalid record means, by its topic's rules as they are now: `None` for what nothing here explains. Limits that
/// may not be seen count as Kafka's default.
fn blame(refused: &Refused, rules: Rules, now_ms: i64) -> Option<ProduceError> {
    let Refused { topic, keyless, timestamp_ms, for_timestamp, .. } = refused;
    let limits = rules.timestamps.unwrap_or(TimestampLimits::DEFAULT);
    if let Some(outside) = timestamp_ms.and_then(|at| limits.passed(topic, at, now_ms, 0)) {
        return Some(ProduceError::Timestamp(outside));
    }
    match (keyless, rules.compacted, for_timestamp) {
        (true, Some(true), _) | (true, None, false) => Some(ProduceError::KeyRequired(topic.clone())),
        (_, Some(false), false) => None,
        _ => Some(another(topic)),
    }
}

/// A record that is as it should be, in the wrong company: sent again it has another.
pub(super) fn another(topic: &str) -> ProduceError {
    ProduceError::Unavailable(format!(
        "a broker refused a whole batch for topic {topic}, because of another record in it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OutsideLimit, Side};

    const NOW: i64 = 1_700_000_000_000;

    fn refused(keyless: bool, timestamp_ms: Option<i64>, for_timestamp: bool) -> Refused {
        Refused { index: 0, topic: "t".to_owned(), keyless, timestamp_ms, for_timestamp }
    }

    #[test]
    fn a_record_with_a_key_is_never_blamed_for_one_without() {
        let required = || Some(ProduceError::KeyRequired("t".to_owned()));
        let table = [
            (true, Some(true), required()),
            (true, None, required()),
            (true, Some(false), None),
            (false, Some(true), Some(another("t"))),
            (false, None, Some(another("t"))),
            (false, Some(false), None),
        ];
        for (keyless, compacted, expected) in table {
            let rules = Rules { compacted, timestamps: Some(TimestampLimits::NONE) };
            assert_eq!(blame(&refused(keyless, Some(0), false), rules, NOW), expected, "{keyless} {compacted:?}");
        }
    }

    #[test]
    fn a_record_of_these_days_is_never_blamed_for_one_of_others() {
        let outside = |timestamp_ms, side, limit_ms| {
            Some(ProduceError::Timestamp(OutsideLimit { topic: "t".to_owned(), timestamp_ms, side, limit_ms }))
        };
        let limits = Some(TimestampLimits { before_ms: 1_000, after_ms: 200 });
        let (hour, old) = (3_600_000, NOW - 1_001);
        let table = [
            (limits, None, Some(another("t"))),
            (limits, Some(NOW - 1_000), Some(another("t"))),
            (limits, Some(NOW + 200), Some(another("t"))),
            (limits, Some(old), outside(old, Side::Before, 1_000)),
            (limits, Some(NOW + 201), outside(NOW + 201, Side::After, 200)),
            (Some(TimestampLimits::NONE), Some(i64::MAX), Some(another("t"))),
            (None, Some(0), Some(another("t"))),
            (None, Some(NOW + hour + 1), outside(NOW + hour + 1, Side::After, hour)),
        ];
        for (timestamps, timestamp_ms, expected) in table {
            let rules = Rules { compacted: Some(false), timestamps };
            // Of several at fault librdkafka does not say for what; a single one is told with its neighbours.
            for (keyless, for_timestamp) in [(false, true), (true, true), (false, false)] {
                let blamed = blame(&refused(keyless, timestamp_ms, for_timestamp), rules, NOW);
                let unexplained = !for_timestamp && expected == Some(another("t"));
                let expected = expected.clone().filter(|_| !unexplained);
                assert_eq!(blamed, expected, "{timestamps:?} {timestamp_ms:?} {for_timestamp}");
            }
        }
    }
}
