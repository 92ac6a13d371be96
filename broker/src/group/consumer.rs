//! A member of a group, as its owner sees it: positions, pauses, and what to hand out next.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{sync::Notify, time::Instant};

use super::{Coordinator, FetchLimit, Place, Store, assign::MemberId, state::Event};
use crate::{Assigned, CommitError, Committed, Committer, Consumer, Epoch, LogError, Offset, Polled, TopicPartition};

/// About the most bytes of records one poll hands out. Nothing is read ahead of a poll.
const POLL_BYTES: usize = 1 << 20;

pub(super) struct GroupConsumer {
    seat: Arc<Seat>,
    notify: Arc<Notify>,
    appended: Arc<Notify>,
    parts: Vec<Held>,
    /// Where the next look for records begins, so that every partition gets its turn.
    turn: usize,
}

/// The place in the group: what commits need, shared with the committer. Leaves the group when dropped by its owner.
struct Seat {
    coordinator: Arc<Coordinator>,
    store: Arc<dyn Store>,
    group: String,
    member: MemberId,
}

/// A partition assigned to us.
struct Held {
    part: TopicPartition,
    epoch: Epoch,
    topic_id: Arc<str>,
    /// `None` before the first seek.
    position: Option<Offset>,
    paused: bool,
    eof_told: bool,
}

impl GroupConsumer {
    pub fn new(
        coordinator: Arc<Coordinator>,
        store: Arc<dyn Store>,
        group: String,
        member: MemberId,
        notify: Arc<Notify>,
    ) -> Self {
        let appended = store.appended();
        let seat = Arc::new(Seat { coordinator, store, group, member });
        Self { seat, notify, appended, parts: Vec::new(), turn: 0 }
    }

    /// Notes what the event changes, and makes it the caller's.
    fn take(&mut self, event: Event) -> Polled {
        match event {
            Event::Assigned(news) => {
                self.parts.extend(news.iter().map(Held::new));
                Polled::Assigned(news)
            }
            Event::Revoke(revoke) => {
                self.parts.retain(|held| !revoke.parts.contains(&held.part));
                Polled::Revoke(revoke)
            }
            Event::Lost(parts) => {
                self.parts.retain(|held| !parts.contains(&held.part));
                Polled::Lost(parts)
            }
        }
    }

    /// Records, or news of an end, of the next partition that has any.
    async fn next_records(&mut self, max_records: usize) -> Result<Option<Polled>, LogError> {
        let count = self.parts.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            let Some(held) = self.parts.get_mut(at) else { continue };
            if let Some(polled) = held.next(&*self.seat.store, max_records).await.transpose() {
                self.turn = (at + 1) % count;
                return polled.map(Some);
            }
        }
        Ok(None)
    }

    fn held(&mut self, part: &TopicPartition) -> Result<&mut Held, LogError> {
        self.parts
            .iter_mut()
            .find(|held| held.part == *part)
            .ok_or_else(|| LogError::Invalid(format!("{part} is not assigned to this consumer")))
    }
}

impl Held {
    fn new(news: &Assigned) -> Self {
        let topic_id = news.topic_id.clone().unwrap_or_default();
        Self { part: news.part.clone(), epoch: news.epoch, topic_id, position: None, paused: false, eof_told: false }
    }

    async fn next(&mut self, store: &dyn Store, max_records: usize) -> Result<Option<Polled>, LogError> {
        let (Some(position), false) = (self.position, self.paused) else { return Ok(None) };
        // A topic that is gone: the coordinator tells of it.
        let Some(bounds) = store.watermarks_now(&self.part, &self.topic_id) else { return Ok(None) };
        if position < bounds.low || position > bounds.high {
            return Err(LogError::OffsetOutOfRange {
                part: self.part.clone(),
                offset: position,
                low: bounds.low,
                high: bounds.high,
            });
        }
        if position < bounds.high {
            let limit = FetchLimit { records: max_records.max(1), bytes: POLL_BYTES };
            let place = Place { part: &self.part, topic_id: &self.topic_id };
            let fetched = store.fetch(&place, position, limit).await?;
            if let Some(last) = fetched.records.last() {
                self.position = Some(last.offset + 1);
                self.eof_told = false;
                return Ok(Some(Polled::Records { epoch: self.epoch, records: fetched.records }));
            }
            // Only a gap (of a compacted topic, say) stood there.
            self.position = Some(fetched.high);
            self.eof_told = false;
        }
        let end = self.position.unwrap_or(position);
        if self.eof_told || store.watermarks_now(&self.part, &self.topic_id).is_none_or(|now| now.high != end) {
            return Ok(None);
        }
        self.eof_told = true;
        Ok(Some(Polled::Eof { part: self.part.clone(), epoch: self.epoch, offset: end }))
    }
}

#[async_trait]
impl Consumer for GroupConsumer {
    async fn poll(&mut self, max_records: usize, wait: Duration) -> Result<Polled, LogError> {
        let deadline = Instant::now() + wait;
        let appended = self.appended.clone();
        loop {
            self.seat.store.usable()?;
            // Made before looking: what comes while we look is not missed.
            let appended = appended.notified();
            if let Some(event) = self.seat.coordinator.next_event(&self.seat.group, self.seat.member) {
                return Ok(self.take(event));
            }
            if let Some(polled) = self.next_records(max_records).await? {
                return Ok(polled);
            }
            tokio::select! {
                biased;
                () = self.notify.notified() => {}
                () = appended => {}
                () = tokio::time::sleep_until(deadline) => return Ok(Polled::Idle),
            }
        }
    }

    fn seek(&mut self, part: &TopicPartition, offset: Offset) -> Result<(), LogError> {
        let held = self.held(part)?;
        held.position = Some(offset);
        held.eof_told = false;
        Ok(())
    }

    fn pause(&mut self, parts: &[TopicPartition]) -> Result<(), LogError> {
        parts.iter().try_for_each(|part| self.held(part).map(|held| held.paused = true))
    }

    fn resume(&mut self, parts: &[TopicPartition]) -> Result<(), LogError> {
        parts.iter().try_for_each(|part| self.held(part).map(|held| held.paused = false))
    }

    fn committer(&self) -> Arc<dyn Committer> {
        self.seat.clone()
    }

    async fn close(self: Box<Self>) -> Result<(), LogError> {
        // Dropping leaves the group.
        Ok(())
    }
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        self.seat.coordinator.leave(&self.seat.group, self.seat.member);
    }
}

#[async_trait]
impl Committer for Seat {
    async fn commit(&self, part: &TopicPartition, epoch: Epoch, committed: &Committed) -> Result<(), CommitError> {
        self.coordinator.commit(&self.group, self.member, part, epoch, committed).await
    }
}
