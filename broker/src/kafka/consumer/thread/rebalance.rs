//! Rebalances: the thread takes what the group gives, and gives back what it asks for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::consumer::{Consumer, RebalanceProtocol};
use tracing::warn;

use super::{
    super::super::{
        client::{ASK_TIMEOUT, unavailable},
        native::Element,
        offsets,
    },
    ASK_AGAIN, FIRST, Service, list,
};
use crate::{Assigned, Committed, Epoch, LogError, Polled, Revoke, TopicPartition};

/// Numbers of assignments, over all consumers of the process.
static EPOCHS: AtomicU64 = AtomicU64::new(1);

/// How long a topic that was assigned may be unknown to the brokers; longer, and it is being deleted.
const TOPICS_PATIENCE: Duration = Duration::from_secs(5);

/// Committed positions and identities of topics.
type Known = (BTreeMap<TopicPartition, Committed>, BTreeMap<String, Arc<str>>);

impl Service {
    /// New partitions: what is committed for them, then they start, holding still.
    pub(super) fn assign(&mut self, parts: Vec<Element>) -> Result<(), LogError> {
        let parts: Vec<_> = parts.into_iter().map(|part| TopicPartition::new(part.topic, part.partition)).collect();
        let known = self.what_is_known(&parts);
        let start = |part: &TopicPartition| {
            // Never a word like "beginning": librdkafka would ask the cluster what it means, and an answer that comes after
            // the owner's seek makes it ask again and undo the seek.
            known.as_ref().and_then(|(committed, _)| committed.get(part)).map_or(FIRST, |at| at.offset)
        };
        let starts: Vec<_> = parts.iter().map(|part| (part, start(part))).collect();
        let starts = list(&starts).map_err(|error| unavailable(&error))?;
        // Always, also when the owner leaves: the group waits until what it gave us was taken.
        match self.native.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.native.incremental_assign(&starts),
            _ => self.native.assign(&starts),
        }
        .and_then(|()| self.native.pause(&starts))
        .map_err(|error| unavailable(&error))?;
        let Some((mut committed, ids)) = known else { return Ok(()) };
        let mut assigned = Vec::new();
        for part in parts {
            let epoch: Epoch = EPOCHS.fetch_add(1, Ordering::Relaxed);
            self.seat.own(&part, epoch);
            self.forget(&part);
            let (committed, topic_id) = (committed.remove(&part), ids.get(&*part.topic).cloned());
            assigned.push(Assigned { part, epoch, topic_id, committed });
        }
        self.desk.assign(assigned);
        Ok(())
    }

    fn forget(&mut self, part: &TopicPartition) {
        self.stopped.remove(part);
        self.outside.remove(part);
    }

    /// What is committed for new partitions, and the identities of their topics: asked until the cluster answers, as
    /// nothing can be read before. `None`: the owner left meanwhile.
    fn what_is_known(&self, parts: &[TopicPartition]) -> Option<Known> {
        let patience = Instant::now() + TOPICS_PATIENCE;
        loop {
            let all_topics = Instant::now() < patience;
            let asked = offsets::ask(&self.native, parts, ASK_TIMEOUT);
            match asked.and_then(|committed| Ok((committed, self.topic_ids(parts, all_topics)?))) {
                Ok(known) => return Some(known),
                Err(_) if self.desk.is_leaving() => return None,
                Err(why) => {
                    warn!(%why, "New partitions wait: the cluster does not tell what is committed for them.");
                    std::thread::sleep(ASK_AGAIN);
                }
            }
        }
    }

    /// `all`: a topic that the asked broker does not know is an error; it may have heard of it last.
    fn topic_ids(&self, parts: &[TopicPartition], all: bool) -> Result<BTreeMap<String, Arc<str>>, LogError> {
        let names: BTreeSet<String> = parts.iter().map(|part| part.topic.to_string()).collect();
        let found = self.runtime.block_on(self.admin.look_up(names.iter().cloned().collect()))?;
        if let Some((_, why)) = found.hidden.into_iter().next() {
            return Err(why);
        }
        let ids: BTreeMap<String, Option<Arc<str>>> =
            found.infos.into_iter().map(|info| (info.name.to_string(), info.id)).collect();
        if let Some(missing) = names.iter().find(|name| all && !ids.contains_key(*name)) {
            return Err(LogError::UnknownTopic(missing.clone()));
        }
        Ok(ids.into_iter().filter_map(|(name, id)| Some((name, id?))).collect())
    }

    /// Partitions to give back: the owner finishes what it must, then nothing of them is committed any more.
    pub(super) fn revoke(&mut self, parts: &[Element]) -> Result<(), LogError> {
        let parts: Vec<_> = parts
            .iter()
            .map(|part| TopicPartition { topic: Arc::clone(&part.topic), partition: part.partition })
            .collect();
        if parts.is_empty() {
            return self.unassign(&parts);
        }
        self.desk.remove(&parts);
        parts.iter().for_each(|part| self.forget(part));
        if self.native.assignment_lost() {
            warn!(parts = parts.len(), "The group gave our partitions away.");
            self.seat.disown(&parts);
            self.desk.tell(Polled::Lost(parts.clone()));
            return self.unassign(&parts);
        }
        let (revoke, done) = Revoke::new(parts.clone());
        self.desk.tell(Polled::Revoke(revoke));
        let timeout = self.spec.revoke_timeout;
        let answered = self.runtime.block_on(async { tokio::time::timeout(timeout, done).await.is_ok() });
        self.seat.disown(&parts);
        if !answered {
            self.desk.tell(Polled::Lost(parts.clone()));
        }
        self.unassign(&parts)
    }

    fn unassign(&self, parts: &[TopicPartition]) -> Result<(), LogError> {
        let parts: Vec<_> = parts.iter().map(|part| (part, FIRST)).collect();
        list(&parts)
            .and_then(|parts| match self.native.rebalance_protocol() {
                RebalanceProtocol::Cooperative => self.native.incremental_unassign(&parts),
                _ => self.native.unassign(),
            })
            .map_err(|error| unavailable(&error))
    }
}
