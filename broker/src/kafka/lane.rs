//! Produce calls with topics that are not known yet wait in their order until the cluster told of them; calls with one
//! of their topics wait behind them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

use tokio::sync::{mpsc, oneshot};

use super::{
    Inner,
    producer::{Done, Taken},
};
use crate::{LogError, NewRecord, ProduceError, sync::lock};

/// A produce call that waits for what is to be known of its topics.
pub(super) struct Waiting {
    pub records: Vec<NewRecord>,
    /// To be let out when they are sent.
    pub topics: BTreeSet<Arc<str>>,
    pub taken: Taken,
    pub done: oneshot::Sender<Done>,
}

/// Topics of the calls that wait, and how many calls each has. As many as calls fit in the line, at most.
#[derive(Debug, Default)]
pub(super) struct InLane(Mutex<HashMap<Arc<str>, usize>>);

impl InLane {
    /// Whether a call overtakes none with a topic of its own. The order of each topic is owed, no more.
    pub fn lets_pass(&self, records: &[NewRecord]) -> bool {
        let waiting = lock(&self.0);
        waiting.is_empty() || records.iter().all(|record| !waiting.contains_key(&record.topic))
    }

    /// Notes a call that waits; its topics are to leave.
    pub fn enter(&self, records: &[NewRecord]) -> BTreeSet<Arc<str>> {
        let topics: BTreeSet<_> = records.iter().map(|record| record.topic.clone()).collect();
        let mut waiting = lock(&self.0);
        topics.iter().for_each(|topic| *waiting.entry(topic.clone()).or_default() += 1);
        topics
    }

    /// The call with these topics was sent, or will not be.
    pub fn leave(&self, topics: &BTreeSet<Arc<str>>) {
        let mut waiting = lock(&self.0);
        for topic in topics {
            let left = waiting.get_mut(topic).map_or(0, |calls| {
                *calls -= 1;
                *calls
            });
            if left == 0 {
                waiting.remove(topic);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }
}

/// Sends calls in their order, each when its topics are known.
pub(super) async fn serve_lane(inner: Arc<Inner>, mut waiting: mpsc::Receiver<Waiting>) {
    while let Some(Waiting { records, topics, taken, done }) = waiting.recv().await {
        let plan = match inner.learn(&records).await {
            Ok(()) => inner.topics.plan(records),
            Err(why) => records.iter().map(|_| Err(not_taken(&why))).collect(),
        };
        let sent = inner.producer.send(taken, plan);
        inner.in_lane.leave(&topics);
        tokio::spawn(async move {
            if let Ok(end) = sent.await {
                // Nobody may be waiting any more.
                let _ = done.send(end);
            }
        });
    }
}

/// What it means for records that nothing could be learnt of their topic.
fn not_taken(why: &LogError) -> ProduceError {
    match why {
        LogError::Denied(why) => ProduceError::Denied(why.clone()),
        LogError::Unavailable(why) => ProduceError::Unavailable(why.clone()),
        why => ProduceError::Unavailable(why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(topics: &[&str]) -> Vec<NewRecord> {
        let record = |topic: &&str| NewRecord {
            topic: (*topic).into(),
            partition: None,
            key: None,
            value: None,
            headers: Default::default(),
            timestamp_ms: None,
        };
        topics.iter().map(record).collect()
    }

    #[test]
    fn a_call_waits_only_behind_calls_with_a_topic_of_its_own() {
        let lane = InLane::default();
        assert!(lane.lets_pass(&call(&["a"])));
        let first = lane.enter(&call(&["new", "a", "new"]));
        let second = lane.enter(&call(&["new"]));
        for (topics, passes) in [(vec!["b"], true), (vec!["a"], false), (vec!["b", "new"], false)] {
            assert_eq!(lane.lets_pass(&call(&topics)), passes, "{topics:?}");
        }
        lane.leave(&first);
        assert!(lane.lets_pass(&call(&["a"])) && !lane.lets_pass(&call(&["new"])) && !lane.is_empty());
        lane.leave(&second);
        assert!(lane.lets_pass(&call(&["new"])) && lane.is_empty());
    }
}
