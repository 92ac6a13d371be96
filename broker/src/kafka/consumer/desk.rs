//! Where the consumer's thread lays down what it got, and the async side takes it from; and the other way round, what the
//! async side wishes of each partition.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use tokio::sync::{Notify, futures::OwnedNotified};

use super::super::native::Waker;
use crate::{Assigned, Epoch, LogError, Offset, Polled, Record, TopicPartition, sync::lock};

/// Bytes of records laid down, above which the thread waits. What a poll takes is not counted any more.
const MAX_BYTES: usize = 4 << 20;
/// Records laid down, above which the thread waits.
const MAX_RECORDS: usize = 10_000;

#[derive(Default)]
pub(in crate::kafka) struct Desk {
    state: Mutex<State>,
    /// Something to take, or everything over.
    changed: Arc<Notify>,
    /// The thread has ended.
    gone: Notify,
    /// Room for records.
    room: Condvar,
    /// Ends the thread's wait in librdkafka.
    pub(super) waker: Waker,
}

#[derive(Default)]
struct State {
    parts: BTreeMap<TopicPartition, Part>,
    /// Assignments and revokes, told before any record.
    news: VecDeque<Polled>,
    records: usize,
    bytes: usize,
    /// Where the next look for records begins, so that every partition gets its turn.
    turn: usize,
    over: Option<LogError>,
    leaving: bool,
    gone: bool,
}

/// A partition that is ours.
struct Part {
    epoch: Epoch,
    /// The next offset to hand out; `None` before the first seek.
    position: Option<Offset>,
    paused: bool,
    /// The thread has not yet made librdkafka follow position and pause: what still comes is of before.
    stale: bool,
    records: VecDeque<Record>,
    end: Option<Offset>,
    outside: Option<(Offset, Offset)>,
}

/// What librdkafka is to do with a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub part: TopicPartition,
    pub epoch: Epoch,
    /// Read from here; `None`: hold still.
    pub from: Option<Offset>,
}

impl Part {
    fn reads(&self) -> bool {
        self.position.is_some() && !self.paused
    }
}

impl State {
    /// Throws away what was laid down for a partition; it is to be read again.
    fn clear(&mut self, part: &TopicPartition) {
        let Some(held) = self.parts.get_mut(part) else { return };
        self.records -= held.records.len();
        self.bytes -= held.records.iter().map(weight).sum::<usize>();
        held.records = VecDeque::new();
        (held.end, held.outside) = (None, None);
        held.stale = true;
    }

    fn remove(&mut self, part: &TopicPartition) {
        self.clear(part);
        self.parts.remove(part);
    }

    fn held(&mut self, part: &TopicPartition) -> Result<&mut Part, LogError> {
        let found = self.parts.get_mut(part);
        found.ok_or_else(|| LogError::Invalid(format!("{part} is not assigned to this consumer")))
    }

    fn next(&mut self, max_records: usize) -> Result<Option<Polled>, LogError> {
        if let Some(error) = &self.over {
            return Err(error.clone());
        }
        if let Some(news) = self.news.pop_front() {
            return Ok(Some(news));
        }
        let names: Vec<TopicPartition> = self.parts.keys().cloned().collect();
        for step in 0..names.len() {
            let at = (self.turn + step) % names.len();
            let Some(part) = names.get(at) else { continue };
            let Some(held) = self.parts.get_mut(part).filter(|held| held.reads()) else { continue };
            let Some(polled) = held.next(part, max_records).transpose() else { continue };
            self.turn = (at + 1) % names.len();
            if let Ok(Polled::Records { records, .. }) = &polled {
                self.records -= records.len();
                self.bytes -= records.iter().map(weight).sum::<usize>();
            }
            return polled.map(Some);
        }
        Ok(None)
    }
}

impl Part {
    fn next(&mut self, part: &TopicPartition, max_records: usize) -> Result<Option<Polled>, LogError> {
        if let (Some((low, high)), Some(offset)) = (self.outside, self.position) {
            return Err(LogError::OffsetOutOfRange { part: part.clone(), offset, low, high });
        }
        if !self.records.is_empty() {
            let count = self.records.len().min(max_records);
            let records: Vec<Record> = self.records.drain(..count).collect();
            if let Some(last) = records.last() {
                self.position = Some(last.offset + 1);
            }
            return Ok(Some(Polled::Records { epoch: self.epoch, records }));
        }
        let Some(offset) = self.end.take() else { return Ok(None) };
        // Gaps (of transactions, of compaction) may stand before the end.
        self.position = self.position.max(Some(offset));
        Ok(Some(Polled::Eof { part: part.clone(), epoch: self.epoch, offset }))
    }
}

/// What a record weighs here.
fn weight(record: &Record) -> usize {
    let length = |part: &Option<bytes::Bytes>| part.as_ref().map_or(0, bytes::Bytes::len);
    length(&record.key) + length(&record.value) + record.headers.bytes()
}

/// The async side.
impl Desk {
    pub fn changed(&self) -> OwnedNotified {
        Arc::clone(&self.changed).notified_owned()
    }

    pub fn take(&self, max_records: usize) -> Result<Option<Polled>, LogError> {
        let mut state = lock(&self.state);
        let taken = state.next(max_records);
        if state.records < MAX_RECORDS / 2 && state.bytes < MAX_BYTES / 2 {
            self.room.notify_one();
        }
        taken
    }

    pub fn seek(&self, part: &TopicPartition, offset: Offset) -> Result<(), LogError> {
        let mut state = lock(&self.state);
        state.held(part)?.position = Some(offset);
        state.clear(part);
        drop(state);
        self.wake();
        Ok(())
    }

    pub fn pause(&self, parts: &[TopicPartition], paused: bool) -> Result<(), LogError> {
        let mut state = lock(&self.state);
        for part in parts {
            let held = state.held(part)?;
            if held.paused != paused {
                held.paused = paused;
                state.clear(part);
            }
        }
        drop(state);
        self.wake();
        Ok(())
    }

    /// Ends the membership.
    pub fn leave(&self) {
        let mut state = lock(&self.state);
        state.leaving = true;
        // A revoke that nobody heard of is given back by this.
        state.news.clear();
        drop(state);
        self.wake();
    }

    /// Waits until the thread has left the group.
    pub async fn left(&self) {
        loop {
            let gone = self.gone.notified();
            if lock(&self.state).gone {
                return;
            }
            gone.await;
        }
    }

    /// Tells the owner that nothing more comes.
    pub fn end(&self, why: LogError) {
        lock(&self.state).over.get_or_insert(why);
        self.changed.notify_one();
    }

    fn wake(&self) {
        self.room.notify_one();
        self.waker.wake();
    }
}

/// The thread's side.
impl Desk {
    pub(super) fn is_leaving(&self) -> bool {
        lock(&self.state).leaving
    }

    /// Waits a while for room, if there is none. True: there is.
    pub(super) fn has_room(&self, wait: Duration) -> bool {
        let full = |state: &mut State| state.records >= MAX_RECORDS || state.bytes >= MAX_BYTES;
        let mut state = lock(&self.state);
        if full(&mut state) && !state.leaving && !state.parts.values().any(|part| part.stale) {
            state = self.room.wait_timeout(state, wait).map_or_else(|p| p.into_inner().0, |(state, _)| state);
        }
        !full(&mut state)
    }

    pub(super) fn tell(&self, news: Polled) {
        let mut state = lock(&self.state);
        if !state.leaving {
            state.news.push_back(news);
        }
        drop(state);
        self.changed.notify_one();
    }

    pub(super) fn assign(&self, assigned: Vec<Assigned>) {
        let mut state = lock(&self.state);
        for Assigned { part, epoch, .. } in &assigned {
            state.remove(part);
            let new = Part {
                epoch: *epoch,
                position: None,
                paused: false,
                stale: false,
                records: VecDeque::new(),
                end: None,
                outside: None,
            };
            state.parts.insert(part.clone(), new);
        }
        drop(state);
        if !assigned.is_empty() {
            self.tell(Polled::Assigned(assigned));
        }
    }

    /// Hands out nothing more of these partitions.
    pub(super) fn remove(&self, parts: &[TopicPartition]) {
        let mut state = lock(&self.state);
        parts.iter().for_each(|part| state.remove(part));
    }

    /// What librdkafka does not follow yet.
    pub(super) fn wishes(&self) -> Vec<Wish> {
        let state = lock(&self.state);
        let stale = state.parts.iter().filter(|(_, held)| held.stale);
        stale
            .map(|(part, held)| Wish {
                part: part.clone(),
                epoch: held.epoch,
                from: held.position.filter(|_| held.reads()),
            })
            .collect()
    }

    /// librdkafka follows this wish; unless there is a newer one, what comes now is what was wished.
    pub(super) fn followed(&self, wish: &Wish) {
        let mut state = lock(&self.state);
        if let Some(held) = state.parts.get_mut(&wish.part)
            && held.epoch == wish.epoch
            && held.position.filter(|_| held.reads()) == wish.from
        {
            held.stale = false;
        }
    }

    pub(super) fn lay_down(&self, records: Vec<Record>) {
        let mut state = lock(&self.state);
        for record in records {
            let Some(held) = state.parts.get_mut(&record.part) else { continue };
            let next = held.records.back().map(|last| last.offset + 1).or(held.position);
            if held.stale || !held.reads() || next.is_none_or(|next| record.offset < next) {
                continue;
            }
            held.end = None;
            let weight = weight(&record);
            held.records.push_back(record);
            state.records += 1;
            state.bytes += weight;
        }
        drop(state);
        self.changed.notify_one();
    }

    pub(super) fn end_of(&self, part: &TopicPartition, offset: Offset) {
        if let Some(held) = lock(&self.state).parts.get_mut(part)
            && !held.stale
            && held.reads()
        {
            held.end = Some(offset);
        }
        self.changed.notify_one();
    }

    /// librdkafka stopped reading a partition, at a position outside these bounds; perhaps not the one wished by now.
    pub(super) fn outside(&self, part: &TopicPartition, low: Offset, high: Offset) {
        let mut state = lock(&self.state);
        if let Some(held) = state.parts.get_mut(part)
            && let (Some(position), false) = (held.position, held.stale)
        {
            if (low..=high).contains(&position) {
                state.clear(part);
            } else {
                held.outside = Some((low, high));
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Makes all partitions be read again from where they are wanted, and tells where that is.
    pub(super) fn read_again(&self) -> Vec<(TopicPartition, Offset)> {
        let mut state = lock(&self.state);
        let all: Vec<_> = state.parts.iter().map(|(part, held)| (part.clone(), held.position.unwrap_or(0))).collect();
        all.iter().for_each(|(part, _)| state.clear(part));
        all
    }

    pub(super) fn gone(&self) {
        lock(&self.state).gone = true;
        self.end(LogError::Closed);
        self.gone.notify_waiters();
    }
}
