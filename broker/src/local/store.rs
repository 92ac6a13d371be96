//! What consumer groups need of the embedded log.

use std::sync::{Arc, atomic::Ordering};

use async_trait::async_trait;
use tokio::sync::{Notify, oneshot};

use super::{
    keys,
    queue::Refused,
    read,
    state::Shared,
    writer::{Job, Put, PutOutcome},
};
use crate::{
    CommitError, Committed, LogError, Offset, TopicInfo, TopicPartition, Watermarks,
    group::{FetchLimit, Fetched, Frozen, Place, Store, Ticket},
    sync::{lock, read as read_lock},
};

#[async_trait]
impl Store for Shared {
    fn usable(&self) -> Result<(), LogError> {
        Shared::usable(self)
    }

    fn topics_now(&self) -> Vec<TopicInfo> {
        read_lock(&self.topics).values().map(|topic| topic.info()).collect()
    }

    fn watermarks_now(&self, part: &TopicPartition, topic_id: &str) -> Option<Watermarks> {
        let topic = self.topic(&part.topic).ok().filter(|topic| *topic.id == *topic_id)?;
        Some(topic.partition(part.partition)?.watermarks())
    }

    fn committed_now(&self, group: &str, part: &TopicPartition) -> Option<Committed> {
        lock(&self.committed).get(group)?.get(part).cloned()
    }

    fn appended(&self) -> Arc<Notify> {
        self.appended.clone()
    }

    async fn fetch(&self, at: &Place<'_>, from: Offset, limit: FetchLimit) -> Result<Fetched, LogError> {
        let (topic, partition) = self.partition(at.part)?;
        if *topic.id != *at.topic_id {
            return Err(LogError::UnknownTopic(at.part.topic.to_string()));
        }
        read::fetch(topic, partition, at.part.partition, from, limit).await
    }

    async fn store_commit(
        &self,
        group: &str,
        at: &Place<'_>,
        committed: &Committed,
        ticket: Ticket,
    ) -> Result<(), CommitError> {
        let topic = self.topic(&at.part.topic).ok().filter(|topic| *topic.id == *at.topic_id);
        let topic = topic.ok_or(CommitError::Fenced)?;
        let pairs =
            vec![(self.small.groups.clone(), keys::committed(group, at.part), Some(keys::encode_committed(committed)))];
        let (reply, answer) = oneshot::channel();
        let done = {
            let (me, group, part, committed) = (self.me.clone(), group.to_owned(), at.part.clone(), committed.clone());
            Box::new(move |outcome: PutOutcome| {
                if let (PutOutcome::Durable, Some(me)) = (&outcome, me.upgrade()) {
                    me.set_committed_now(&group, part, Some(committed));
                }
                // First the position, then the leave to hand the partition on.
                drop(ticket);
                let _ = reply.send(outcome);
            })
        };
        self.queue.push_other(Job::Put(Put { needs: vec![topic], pairs, done })).map_err(|refused| match refused {
            Refused::Full => CommitError::Unavailable("too many commits are waiting".to_owned()),
            Refused::Closed => CommitError::Unavailable("the log is closed".to_owned()),
        })?;
        match answer.await {
            Ok(PutOutcome::Durable) => Ok(()),
            Ok(PutOutcome::TopicGone) => Err(CommitError::Fenced),
            Ok(PutOutcome::Refused(reason)) => Err(CommitError::Unavailable(reason)),
            Ok(PutOutcome::Unknown(reason)) => Err(CommitError::Unknown(reason)),
            Err(_) => Err(CommitError::Unknown("the log ended".to_owned())),
        }
    }
}

/// Sets or forgets offsets of a group that has no members.
pub(super) async fn set_committed(
    shared: &Arc<Shared>,
    group: &str,
    offsets: &[(TopicPartition, Option<Committed>)],
    frozen: Frozen,
) -> Result<(), LogError> {
    let (mut pairs, mut needs) = (Vec::with_capacity(offsets.len()), Vec::with_capacity(offsets.len()));
    for (part, committed) in offsets {
        needs.push(shared.partition(part)?.0);
        crate::topic::check_committed(committed.as_ref())?;
        let value = committed.as_ref().map(keys::encode_committed);
        pairs.push((shared.small.groups.clone(), keys::committed(group, part), value));
    }
    let (reply, answer) = oneshot::channel();
    let done = {
        let (me, group, offsets) = (shared.clone(), group.to_owned(), offsets.to_vec());
        Box::new(move |outcome: PutOutcome| {
            if let PutOutcome::Durable = outcome {
                for (part, committed) in offsets {
                    me.set_committed_now(&group, part, committed);
                }
            }
            drop(frozen);
            let _ = reply.send(outcome);
        })
    };
    match shared.queue.push_other(Job::Put(Put { needs: needs.clone(), pairs, done })) {
        Ok(()) => {}
        Err(Refused::Full) => return Err(LogError::Unavailable("too many commits are waiting".to_owned())),
        Err(Refused::Closed) => return Err(shared.usable().err().unwrap_or(LogError::Closed)),
    }
    match answer.await {
        Ok(PutOutcome::Durable) => Ok(()),
        Ok(PutOutcome::TopicGone) => {
            let gone = needs.iter().find(|topic| topic.deleted.load(Ordering::Acquire));
            Err(LogError::UnknownTopic(gone.map_or_else(String::new, |topic| topic.name.to_string())))
        }
        Ok(PutOutcome::Unknown(reason) | PutOutcome::Refused(reason)) => Err(LogError::Fatal(reason)),
        Err(_) => Err(LogError::Closed),
    }
}
