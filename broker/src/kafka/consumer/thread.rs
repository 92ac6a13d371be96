//! The thread that serves librdkafka for one consumer: it polls, so that the member stays in its group, answers
//! rebalances (`rebalance.rs`), and makes partitions follow what the desk wishes.

mod rebalance;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, Consumer, RebalanceProtocol},
    error::{KafkaError, RDKafkaErrorCode},
};
use tokio::runtime::Handle;
use tracing::{debug, warn};

use super::{
    super::{
        admin::Admin,
        client::{Context, refused, unavailable},
        native::{Event, Events},
    },
    commit::Seat,
    desk::{Desk, Wish},
};
use crate::{GroupSpec, LogError, Offset, TopicPartition, is_one_of_all};

/// Longest wait in librdkafka; wishes end it at once.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// Events taken in one go.
const POLL_EVENTS: usize = 500;
/// How often new topics are looked for. They join within 10 s.
const LOOK_FOR_TOPICS: Duration = Duration::from_secs(3);
/// For the bounds of a partition.
const BOUNDS_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two tries to make a partition follow, and two looks whether the owner has let go.
const FOLLOW_AGAIN: Duration = Duration::from_millis(10);
/// Between two questions for what is committed.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// For a wish to be followed.
const SEEK_TIMEOUT: Duration = Duration::from_secs(5);

/// Different troubles told of in one membership.
const MAX_SAID: usize = 100;
/// Where a partition starts that nothing is committed for; it holds still there until the owner seeks.
const FIRST: Offset = 0;

pub(super) struct Service {
    native: Arc<BaseConsumer<Context>>,
    desk: Arc<Desk>,
    seat: Arc<Seat>,
    admin: Admin,
    spec: GroupSpec,
    runtime: Handle,
    subscribed: BTreeSet<String>,
    look_again: Instant,
    /// Partitions that librdkafka stopped reading, as it found their position outside the log: a seek does not wake them.
    stopped: BTreeSet<TopicPartition>,
    /// Those of them whose bounds are not known yet, and when to ask.
    outside: BTreeSet<TopicPartition>,
    ask_bounds: Instant,
    /// What was said of the cluster's refusals, so that each is said once.
    said: BTreeSet<(Option<TopicPartition>, String)>,
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
        let now = Instant::now();
        Self {
            native,
            desk,
            seat,
            admin,
            spec,
            runtime: Handle::current(),
            subscribed: BTreeSet::new(),
            look_again: now,
            stopped: BTreeSet::new(),
            outside: BTreeSet::new(),
            ask_bounds: now,
            said: BTreeSet::new(),
        }
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
                    wanted.extend(names.into_iter().filter(|n| is_one_of_all(n) && !self.spec.except.contains(n)))
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
        if self.outside.is_empty() || Instant::now() < self.ask_bounds {
            return;
        }
        while let Some(part) = self.outside.pop_first() {
            match self.native.fetch_watermarks(&part.topic, part.partition, BOUNDS_TIMEOUT) {
                Ok((low, high)) => self.desk.outside(&part, low, high),
                Err(error) => {
                    debug!(%part, %error, "A partition has no bounds now.");
                    self.outside.insert(part);
                    self.ask_bounds = Instant::now() + ASK_AGAIN;
                    return;
                }
            }
        }
    }

    /// Makes librdkafka do as wished. What fails is tried again in the next round.
    fn follow(&mut self) {
        for wish in self.desk.wishes() {
            match self.start_again(&wish).and_then(|()| self.follow_one(&wish)) {
                Ok(()) => self.desk.followed(&wish),
                // It is still about to start, or just being taken away.
                Err(error) => {
                    debug!(part = %wish.part, %error, "A partition does not follow yet.");
                    std::thread::sleep(FOLLOW_AGAIN);
                }
            }
        }
    }

    /// Assigns a partition once more that librdkafka stopped reading.
    fn start_again(&mut self, wish: &Wish) -> Result<(), KafkaError> {
        let Some(offset) = wish.from else { return Ok(()) };
        if !self.stopped.contains(&wish.part) {
            return Ok(());
        }
        if matches!(self.native.rebalance_protocol(), RebalanceProtocol::Cooperative) {
            self.native.incremental_unassign(&list(&[(&wish.part, offset)])?)?;
            self.native.incremental_assign(&list(&[(&wish.part, offset)])?)?;
            self.stopped.remove(&wish.part);
        } else {
            // An eager group knows assignments as a whole only: every partition starts again, where the desk wants it.
            let all = self.desk.read_again();
            let all: Vec<_> = all.iter().map(|(part, offset)| (part, *offset)).collect();
            self.native.assign(&list(&all)?)?;
            self.stopped.clear();
        }
        Ok(())
    }

    fn follow_one(&self, wish: &Wish) -> Result<(), KafkaError> {
        let one = list(&[(&wish.part, FIRST)])?;
        match wish.from {
            None => self.native.pause(&one),
            Some(offset) => {
                // In this order: what was fetched or failed before the seek is dropped by it; a resume after it could drop
                // what came of the seek.
                self.native.resume(&one)?;
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
                self.stopped.insert(part.clone());
                self.outside.insert(part);
            }
            Event::PartitionFault(part, code) => self.say(Some(part), &refused(&(code, String::new()))),
            Event::Fault { code, fatal: true, why } => {
                return Err(LogError::Unavailable(format!("the consumer can't go on ({code}): {why}")));
            }
            Event::Fault { code, why, .. } => match refused(&(code, why)) {
                LogError::Invalid(why) => return Err(LogError::Invalid(why)),
                why => self.say(None, &why),
            },
            Event::Record(_) | Event::Other => {}
        }
        Ok(())
    }

    /// Tells of trouble with the cluster, once each: librdkafka goes on trying.
    fn say(&mut self, part: Option<TopicPartition>, why: &LogError) {
        if self.said.len() < MAX_SAID && self.said.insert((part.clone(), why.to_string())) {
            let part = part.map_or_else(|| "all".to_owned(), |part| part.to_string());
            warn!(part, group = self.spec.group, %why, "The consumer has trouble with the cluster, and goes on trying.");
        }
    }
}

fn list(parts: &[(&TopicPartition, Offset)]) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (part, offset) in parts {
        list.add_partition_offset(&part.topic, part.partition, rdkafka::Offset::Offset(*offset))?;
    }
    Ok(list)
}
