//! From checked events to receipts: one produce call for the records, one for the dead letters, one wait for both.

use std::sync::Arc;

use bytes::Bytes;
use forebay_broker::{
    NewRecord, Receipt,
    dead_letter::topic::{compaction_advice, timestamp_advice},
};
use tokio::time::Instant;

use super::{
    EventResult, Fate, PublishOptions, Publisher,
    check::{Checked, CheckedItem, Why, count_violations, problem, too_large},
    receipts::{Pending, Results},
};
use crate::{
    address,
    metrics::Outcome,
    problem::{
        Code, Loc, Problem,
        of_log::{delivery_unknown, no_dead_letters, note, produce_problem},
    },
    topics::Topic,
};

impl Publisher {
    /// Produces what is fit and, if asked, dead letters of the rest; waits for all receipts together.
    pub(super) async fn deliver<'a>(&self, checked: Checked<'a>, options: &PublishOptions) -> Vec<EventResult<'a>> {
        let deadline = Instant::now() + options.timeout;
        let Checked { topic, form, items, dead_letters, .. } = checked;
        let dead_letters = dead_letters.filter(|_| options.dead_letter);
        let mut results = Vec::with_capacity(items.len());
        let (mut records, mut letters) = (Vec::with_capacity(items.len()), Vec::new());
        // Which result each record belongs to, in the order of each produce call.
        let (mut of_records, mut of_letters) = (Vec::with_capacity(items.len()), Vec::new());
        for (index, item) in items.into_iter().enumerate() {
            match item {
                CheckedItem::Fit { event_id, record } => {
                    records.push(record);
                    of_records.push(index);
                    results.push(EventResult { event_id: Some(event_id), fate: Fate::Failed(delivery_unknown()) });
                }
                CheckedItem::Unfit { event_id, json, key, why } => {
                    count_violations(&topic, &why);
                    let fits = json.len() <= self.settings.limits.event_bytes && !too_large(&why);
                    if let Some(dead_letters) = dead_letters.as_ref().filter(|_| fits) {
                        letters.push(dead_letters.record(index, event_id.as_deref(), json, key, &why));
                        of_letters.push(index);
                        results.push(EventResult { event_id, fate: Fate::Failed(delivery_unknown()) });
                    } else {
                        results.push(EventResult { event_id, fate: Fate::Failed(problem(why, form.way(index))) });
                    }
                }
            }
        }
        let (stored, lettered) = tokio::join!(
            self.produce(&topic, records, Outcome::Accepted, deadline),
            self.produce_letters(&topic, letters, deadline)
        );
        let gone = stored.iter().any(|result| matches!(result, Err(problem) if problem.code == Code::UnknownTopic));
        if gone {
            self.topics.forget(&topic.name);
        }
        for (index, result) in of_records.into_iter().zip(stored) {
            let result = result.map_err(|refusal| match refusal.code {
                Code::KeyRequired | Code::TimestampOutOfRange if options.dead_letter => learnt_late(),
                Code::KeyRequired => key_required(&topic, form.way(index)),
                Code::TimestampOutOfRange => {
                    refusal.errors.iter().for_each(|item| topic.metrics.violation(item.kind));
                    refusal.within(form.way(index))
                }
                _ => refusal,
            });
            results[index].fate = fate(result, |r| Fate::Accepted { partition: r.partition, offset: r.offset });
        }
        for (index, result) in of_letters.into_iter().zip(lettered) {
            results[index].fate = fate(result, |r| Fate::DeadLettered { partition: r.partition, offset: r.offset });
        }
        results
    }

    async fn produce(
        &self,
        topic: &Arc<Topic>,
        records: Vec<NewRecord>,
        outcome: Outcome,
        deadline: Instant,
    ) -> Results {
        if records.is_empty() {
            return Vec::new();
        }
        let (count, bytes) = (records.len(), records.iter().filter_map(|r| r.value.as_ref()).map(Bytes::len).sum());
        match self.log.produce(records) {
            Ok(pending) => Pending::new(pending, topic.clone(), outcome, count, bytes).wait(deadline).await,
            Err(error) => {
                note(&topic.name, [&error]);
                vec![Err(produce_problem(error)); count]
            }
        }
    }

    async fn produce_letters(&self, topic: &Arc<Topic>, letters: Vec<NewRecord>, deadline: Instant) -> Results {
        let Some(dlq) = letters.first().map(|letter| letter.topic.clone()) else { return Vec::new() };
        let count = letters.len();
        if let Err(problem) = self.topics.ensure_dlq(&dlq, topic).await {
            return vec![Err(problem); count];
        }
        tracing::warn!(topic = &*topic.name, count, dlq = &*dlq, "Events go to the dead letter topic.");
        let mut results = self.produce(topic, letters, Outcome::DeadLettered, deadline).await;
        let mut refused = None;
        for result in &mut results {
            if let Err(why) = result
                && let Some(reason) = of_ours(why.code, &dlq)
            {
                *result = Err(no_dead_letters());
                refused = Some(reason);
            }
        }
        if let Some(reason) = refused {
            tracing::error!(topic = &*topic.name, reason, "Dead letters can't be written.");
        }
        results
    }
}

/// What is wrong with the dead letter topic, where a letter was refused for that: no sender can mend it.
fn of_ours(code: Code, dlq: &str) -> Option<String> {
    match code {
        Code::KeyRequired => Some(compaction_advice(dlq)),
        Code::TimestampOutOfRange => Some(timestamp_advice(dlq)),
        Code::UnknownTopic => Some(format!("the topic {dlq:?} is gone: with the next dead letter it is made again")),
        _ => None,
    }
}

/// The answer to an event that is to be a dead letter, and that the log refused as it was produced. It becomes one when it
/// is sent again: then the check knows.
fn learnt_late() -> Problem {
    let detail = "The log does not take such events since a moment ago: send it again to have it dead-lettered.";
    Problem::new(Code::LogUnavailable, detail)
}

/// The answer to an event whose topic turned out to be compacted only as it was produced; `way` leads from the body to it.
fn key_required(topic: &Topic, way: Vec<Loc>) -> Problem {
    let why = Why::Places(Code::KeyRequired, vec![address::no_key(&topic.settings, true)]);
    count_violations(topic, &why);
    problem(why, way)
}

fn fate(result: Result<Receipt, Problem>, stored: impl FnOnce(Receipt) -> Fate) -> Fate {
    result.map_or_else(Fate::Failed, stored)
}
