//! The thread that serves librdkafka for one consumer: it polls, so that the member stays in its group, answers
//! rebalances, and makes partitions follow what the desk wishes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, Consumer, RebalanceProtocol},
    error::RDKafkaErrorCode,
};
use tokio::runtime::Handle;
use tracing::{debug, warn};

use super::{
    super::{
        admin::{Admin, committed_of},
        client::{ASK_TIMEOUT, Context, refused, unavailable},
        native::{Element, Event, Events},
    },
    commit::Seat,
    desk::{Desk, Wish},
};
use crate::{Assigned, Committed, Epoch, GroupSpec, LogError, Polled, Revoke, TopicPartition, is_internal};

/// Longest wait in librdkafka; wishes end it at once.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// Events taken in one go.
const POLL_EVENTS: usize = 500;
/// How often new topics are looked for. They join within 10 s.
const LOOK_FOR_TOPICS: Duration = Duration::from_secs(3);
/// For the bounds of a partition; asked again in the next round.
const BOUNDS_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two tries to make a partition follow, and two looks whether the owner has let go.
const FOLLOW_AGAIN: Duration = Duration::from_millis(10);
/// Between two questions for what is committed.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// For a wish to be followed.
const SEEK_TIMEOUT: Duration = Duration::from_secs(5);

/// Numbers of assignments, over all consumers of the process.
static EPOCHS: AtomicU64 = AtomicU64::new(1);

/// Committed positions and identities of topics.
type Known = (BTreeMap<TopicPartition, Committed>, BTreeMap<String, Arc<str>>);

pub(super) struct Service {
    native: Arc<BaseConsumer<Context>>,
    desk: Arc<Desk>,
    seat: Arc<Seat>,
    admin: Admin,
    spec: GroupSpec,
    runtime: Handle,
    subscribed: BTreeSet<String>,
    look_again: Instant,
    /// Partitions whose position the log does not hold, until their bounds are known.
    outside: BTreeSet<TopicPartition>,
}

impl Service {
    /// Call it within a runtime: questions to the cluster run there.
    pub fn new(
        native: Arc<BaseConsumer<Context>>,
        desk: Arc<Desk>,
        seat: Arc<Seat>,
        admin: Admin,
        spec: GroupSpec,
    ) -> Self {
        let (runtime, look_again) = (Handle::current(), Instant::now());
        let (subscribed, outside) = (BTreeSet::new(), BTreeSet::new());
        Self { native, desk, seat, admin, spec, runtime, subscribed, look_again, outside }
    }

    /// Serves until the owner leaves, then leaves the group.
    pub fn run(mut self) {
        if let Err(why) = self.serve() {
            self.desk.end(match why {
                // Its settings or rights: joining again would end the same way.
                why @ LogError::Invalid(_) => why,
                why => LogError::ConsumerEnded(why.to_string()),
            });
            // The owner hears of it and lets go.
            while !self.desk.is_leaving() {
                std::thread::sleep(FOLLOW_AGAIN);
            }
        }
        self.seat.disown_all();
        let Self { native, desk, .. } = self;
        // The last reference: commits hold one only behind the gate that was just closed.
        drop(native);
        desk.gone();
    }

    fn serve(&mut self) -> Result<(), LogError> {
        let native = Arc::clone(&self.native);
        let events = Events::of(native.client(), self.desk.waker.clone());
        let events = events.ok_or_else(|| LogError::Unavailable("the consumer has no queue".to_owned()))?;
        while !self.desk.is_leaving() {
            self.subscribe()?;
            self.follow();
            self.tell_outside();
            if !self.desk.has_room(POLL_WAIT) {
                continue;
            }
            let mut records = Vec::new();
            let mut wait = POLL_WAIT;
            for _ in 0..POLL_EVENTS {
                match events.poll(wait) {
                    Some(Event::Record(record)) => records.push(record),
                    Some(event) => {
                        // In the order in which it came.
                        self.desk.lay_down(std::mem::take(&mut records));
                        self.handle(event)?;
                    }
                    None => break,
                }
                wait = Duration::ZERO;
            }
            if !records.is_empty() {
                self.desk.lay_down(records);
            }
        }
        Ok(())
    }

    /// Subscribes to the topics that there are now, as far as they are wanted.
    fn subscribe(&mut self) -> Result<(), LogError> {
        if Instant::now() < self.look_again {
            return Ok(());
        }
        self.look_again = Instant::now() + LOOK_FOR_TOPICS;
        let mut wanted: BTreeSet<String> = self.spec.topics.iter().cloned().collect();
        if self.spec.all_topics {
            match self.runtime.block_on(self.admin.names()) {
                Ok(names) => {
                    wanted.extend(names.into_iter().filter(|n| !is_internal(n) && !self.spec.except.contains(n)))
                }
                Err(why) => {
                    debug!(%why, "Topics can't be listed now.");
                    return Ok(());
                }
            }
        }
        if wanted != self.subscribed && !wanted.is_empty() {
            let names: Vec<&str> = wanted.iter().map(String::as_str).collect();
            self.native.subscribe(&names).map_err(|error| unavailable(&error))?;
            self.subscribed = wanted;
        }
        Ok(())
    }

    /// Tells of positions outside the log, with the bounds. A topic that is gone has none; a rebalance tells of that.
    fn tell_outside(&mut self) {
        for part in std::mem::take(&mut self.outside) {
            if !self.desk.holds(&part) {
                continue;
            }
            match self.native.fetch_watermarks(&part.topic, part.partition, BOUNDS_TIMEOUT) {
                Ok((low, high)) => self.desk.outside(&part, low, high),
                Err(error) => {
                    debug!(%part, %error, "A partition has no bounds now.");
                    self.outside.insert(part);
                }
            }
        }
    }

    /// Makes librdkafka do as wished. What fails is tried again in the next round.
    fn follow(&self) {
        for wish in self.desk.wishes() {
            match self.follow_one(&wish) {
                Ok(()) => self.desk.followed(&wish),
                // It is still about to start, or just being taken away.
                Err(error) => {
                    debug!(part = %wish.part, %error, "A partition does not follow yet.");
                    std::thread::sleep(FOLLOW_AGAIN);
                }
            }
        }
    }

    fn follow_one(&self, wish: &Wish) -> Result<(), rdkafka::error::KafkaError> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&wish.part.topic, wish.part.partition);
        match wish.from {
            None => self.native.pause(&list),
            Some(offset) => {
                // In this order: what was fetched or failed before the seek is dropped by it; a resume after it could drop
                // what came of the seek.
                self.native.resume(&list)?;
                let at = rdkafka::Offset::Offset(offset);
                self.native.seek(&wish.part.topic, wish.part.partition, at, SEEK_TIMEOUT)
            }
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), LogError> {
        match event {
            Event::End(part, offset) => self.desk.end_of(&part, offset),
            Event::Assign(parts) => self.assign(parts)?,
            Event::Revoke(parts) => self.revoke(&parts)?,
            Event::PartitionFault(part, RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                self.outside.insert(part);
            }
            Event::PartitionFault(part, code) => debug!(%part, %code, "A partition can't be read now."),
            Event::Fault { code, fatal: true, why } => {
                return Err(LogError::Unavailable(format!("the consumer can't go on ({code}): {why}")));
            }
            Event::Fault { code, why, .. } => match refused(&(code, why)) {
                LogError::Invalid(why) => return Err(LogError::Invalid(why)),
                why => debug!(%why, "The consumer has trouble with the cluster."),
            },
            Event::Record(_) | Event::Other => {}
        }
        Ok(())
    }

    /// New partitions: what is committed for them, then they start, holding still.
    fn assign(&mut self, parts: Vec<Element>) -> Result<(), LogError> {
        let Some((committed, ids)) = self.what_is_known(&parts) else { return Ok(()) };
        let mut list = TopicPartitionList::new();
        let mut assigned = Vec::new();
        for part in parts {
            let part = TopicPartition { topic: part.topic, partition: part.partition };
            let committed = committed.get(&part).cloned();
            let start = committed.as_ref().map_or(rdkafka::Offset::Beginning, |at| rdkafka::Offset::Offset(at.offset));
            list.add_partition_offset(&part.topic, part.partition, start).map_err(|error| unavailable(&error))?;
            let epoch: Epoch = EPOCHS.fetch_add(1, Ordering::Relaxed);
            let topic_id = ids.get(&*part.topic).cloned();
            assigned.push(Assigned { part, epoch, topic_id, committed });
        }
        match self.native.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.native.incremental_assign(&list),
            _ => self.native.assign(&list),
        }
        .and_then(|()| self.native.pause(&list))
        .map_err(|error| unavailable(&error))?;
        for news in &assigned {
            self.seat.own(&news.part, news.epoch);
        }
        self.desk.assign(assigned);
        Ok(())
    }

    /// What is committed for new partitions, and the identities of their topics: asked until the cluster answers, as
    /// nothing can be read before. `None`: the owner left meanwhile.
    fn what_is_known(&self, parts: &[Element]) -> Option<Known> {
        loop {
            let asked = self.committed(parts).and_then(|committed| Ok((committed, self.topic_ids(parts)?)));
            match asked {
                Ok(known) => return Some(known),
                Err(_) if self.desk.is_leaving() => return None,
                Err(why) => {
                    warn!(%why, "New partitions wait: the cluster does not tell what is committed for them.");
                    std::thread::sleep(ASK_AGAIN);
                }
            }
        }
    }

    fn committed(&self, parts: &[Element]) -> Result<BTreeMap<TopicPartition, Committed>, LogError> {
        let mut list = TopicPartitionList::new();
        for part in parts {
            list.add_partition(&part.topic, part.partition);
        }
        if parts.is_empty() {
            return Ok(BTreeMap::new());
        }
        let answer = self.native.committed_offsets(list, ASK_TIMEOUT).map_err(|error| unavailable(&error))?;
        let element = |line: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| Element {
            topic: line.topic().into(),
            partition: line.partition(),
            offset: match line.offset() {
                rdkafka::Offset::Offset(offset) => offset,
                _ => -1,
            },
            metadata: line.metadata().to_owned(),
            error: line.error().err().and_then(|error| error.rdkafka_error_code()),
        };
        let lines: Vec<Element> = answer.elements().iter().map(element).collect();
        if let Some(code) = lines.iter().find_map(|line| line.error) {
            return Err(refused(&(code, String::new())));
        }
        Ok(lines.into_iter().filter_map(committed_of).collect())
    }

    fn topic_ids(&self, parts: &[Element]) -> Result<BTreeMap<String, Arc<str>>, LogError> {
        let names: BTreeSet<String> = parts.iter().map(|part| part.topic.to_string()).collect();
        let infos = self.runtime.block_on(self.admin.infos(names.into_iter().collect()))?;
        Ok(infos.into_iter().filter_map(|info| Some((info.name.to_string(), info.id?))).collect())
    }

    /// Partitions to give back: the owner finishes what it must, then nothing of them is committed any more.
    fn revoke(&mut self, parts: &[Element]) -> Result<(), LogError> {
        let parts: Vec<_> = parts
            .iter()
            .map(|part| TopicPartition { topic: Arc::clone(&part.topic), partition: part.partition })
            .collect();
        if parts.is_empty() {
            return self.unassign(&parts);
        }
        self.desk.remove(&parts);
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
        let mut list = TopicPartitionList::new();
        for part in parts {
            list.add_partition(&part.topic, part.partition);
        }
        match self.native.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.native.incremental_unassign(&list),
            _ => self.native.unassign(),
        }
        .map_err(|error| unavailable(&error))
    }
}
