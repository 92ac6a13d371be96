//! Who is at fault where a broker refuses a batch for what stands in one of its records.
//!
//! A broker stores a batch as a whole or not at all, and librdkafka puts records of many calls into one. Of records that
//! are not as their topic wants them it names each (KIP-467); with a single one librdkafka gives that error to the whole
//! batch. The topic's settings tell them apart: a compacted topic refuses records without a key, and no others.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::Instant;
use tracing::debug;

use super::{Inner, producer::Done};
use crate::{ProduceError, Receipts};

/// For the topic to be looked at, while a caller waits. Without an answer it counts as not known.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// Receipts that blame those records alone that are at fault.
pub(super) async fn explained(inner: &Weak<Inner>, done: Done) -> Receipts {
    let Done { mut receipts, refused } = done;
    if refused.is_empty() {
        return receipts;
    }
    let since = Instant::now();
    let mut compacted: HashMap<String, Option<bool>> = HashMap::new();
    for refused in refused {
        let now = match compacted.get(&refused.topic) {
            Some(now) => *now,
            None => {
                let looked = async { inner.upgrade()?.looked_at(&refused.topic, since).await };
                let now = tokio::time::timeout(LOOK_WITHIN, looked).await.ok().flatten();
                compacted.insert(refused.topic.clone(), now);
                now
            }
        };
        let Some(why) = blame(&refused.topic, refused.keyless, now) else { continue };
        if let (ProduceError::KeyRequired(topic), Some(inner)) = (&why, inner.upgrade()) {
            inner.topics.refused(topic);
        }
        if let Some(receipt) = receipts.get_mut(refused.index) {
            *receipt = Err(why);
        }
    }
    receipts
}

impl Inner {
    /// Whether a topic is compacted, by an answer of the cluster from after `since`; later records are held against it too.
    /// One question at a time, whose answer is good for all who wait.
    async fn looked_at(self: Arc<Self>, topic: &str, since: Instant) -> Option<bool> {
        let _turn = self.looking.lock().await;
        if let Some(seen) = self.topics.compacted_since(topic, since) {
            return seen;
        }
        let asked = Instant::now();
        match self.admin.infos(vec![topic.to_owned()]).await {
            Ok(infos) => self.saw(&infos, asked).await,
            Err(why) => debug!(topic, %why, "A topic that refuses records can't be looked at now."),
        }
        self.topics.compacted_since(topic, since).flatten()
    }
}

/// What an invalid record means, by what its topic is now: `None` for what nothing here explains.
fn blame(topic: &str, keyless: bool, compacted: Option<bool>) -> Option<ProduceError> {
    match (keyless, compacted) {
        (_, Some(false)) => None,
        (true, _) => Some(ProduceError::KeyRequired(topic.to_owned())),
        (false, _) => Some(another(topic)),
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
            assert_eq!(blame("t", keyless, compacted), expected, "{keyless} {compacted:?}");
        }
    }
}
