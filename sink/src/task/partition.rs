//! One assigned partition of a task: where it is, what is open, what runs for it.

use std::{collections::VecDeque, sync::Arc};

use forebay_broker::{Epoch, Offset, Record};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{Cancel, outage::Failing};
use crate::{
    batch::{Open, RedoState},
    intent::Intent,
    memory::Share,
    retry::Backoff,
    sinks::Group,
    status::Trouble,
    watermark::Watermark,
};

/// Calls of dead letters without receipt; more, and the partition waits.
pub(super) const MAX_LETTER_CALLS: usize = 8;

pub(super) struct Partition {
    pub epoch: Epoch,
    pub topic_id: Option<Arc<str>>,
    pub phase: Phase,
    /// It is to be given back: nothing is read any more, only what runs is waited for.
    pub revoking: bool,
    /// What the consumer was told.
    pub paused: bool,
    pub backoff: Backoff,
    /// Its rows can't be encoded, since the last commit.
    pub failing: Option<Failing>,
    /// Position in the log, as last claimed or committed.
    pub committed: Offset,
    pub high: Offset,
    /// Last commit, or last time without lag.
    pub progress: Instant,
}

pub(super) enum Phase {
    /// Its position is being found out.
    Claiming(Cancel),
    /// It is read, from a claimed position on.
    Reading(Box<Reading>),
    /// It was refused a commit, or must be read again: claimed again at this time unless it is taken away before.
    Waiting(Instant),
}

/// Everything that follows from one claim. The next claim begins with another: nothing read or heard before counts.
pub(super) struct Reading {
    pub mark: Watermark,
    /// The intent being finished.
    pub redo: Option<Intent>,
    pub open: Option<OpenGroup>,
    /// Polled and not yet converted.
    pub waiting: VecDeque<Record>,
    pub waiting_bytes: usize,
    /// The end the log told, to be heeded once nothing waits.
    pub eof: Option<Offset>,
    /// The schema id waited for.
    pub lookup: Option<u32>,
    /// Reads nothing before this: a temporary file could not be written.
    pub hold: Option<Instant>,
    /// The flush that runs.
    pub flush: Option<Cancel>,
    pub share: Share,
}

/// Everything read since the last cut.
pub(super) struct OpenGroup {
    /// Made for the first row.
    pub group: Option<Box<dyn Group>>,
    /// When its first record came.
    pub since: Instant,
    /// Dead letters of it without receipt yet.
    pub letters: Vec<LetterCall>,
}

/// One call of dead letters; ends when each has its receipt.
pub(super) type LetterCall = AbortOnDropHandle<Result<(), Trouble>>;

impl Partition {
    pub fn new(epoch: Epoch, topic_id: Option<Arc<str>>, claim: Cancel) -> Self {
        Self {
            epoch,
            topic_id,
            phase: Phase::Claiming(claim),
            revoking: false,
            paused: false,
            backoff: Backoff::default(),
            failing: None,
            committed: 0,
            high: 0,
            progress: Instant::now(),
        }
    }

    /// What is read of it, if it is.
    pub fn reading(&self) -> Option<&Reading> {
        match &self.phase {
            Phase::Reading(reading) if !self.revoking => Some(reading),
            _ => None,
        }
    }

    /// See [`Partition::reading`].
    pub fn reading_mut(&mut self) -> Option<&mut Reading> {
        match &mut self.phase {
            Phase::Reading(reading) if !self.revoking => Some(reading),
            _ => None,
        }
    }

    /// The claim or flush that runs.
    pub fn busy(&self) -> Option<&Cancel> {
        match &self.phase {
            Phase::Claiming(cancel) => Some(cancel),
            Phase::Reading(reading) => reading.flush.as_ref(),
            Phase::Waiting(_) => None,
        }
    }

    pub fn is_flushing(&self) -> bool {
        matches!(&self.phase, Phase::Reading(reading) if reading.flush.is_some())
    }

    /// Nothing open, nothing being written. A redo that still reads is left as it is: its intent stays.
    pub fn is_drained(&self) -> bool {
        let written = |reading: &Reading| reading.open.is_none() || reading.redo.is_some();
        !self.is_flushing() && self.reading().is_none_or(written)
    }

    /// It is to be given back: drops what was read and not cut, and what runs stops unless it was announced.
    pub fn revoke(&mut self) {
        self.revoking = true;
        if let Phase::Reading(reading) = &mut self.phase {
            reading.drop_open();
        }
        if let Some(busy) = self.busy() {
            busy.soft.cancel();
        }
    }

    pub fn files(&self) -> usize {
        self.reading().and_then(Reading::group).map_or(0, |group| group.files())
    }

    /// For [`crate::batch::due`].
    pub fn measure(&self, now: Instant) -> Option<Open> {
        self.reading()?.measure(now)
    }
}

impl OpenGroup {
    /// Its first record came now.
    pub fn now() -> Self {
        Self { group: None, since: Instant::now(), letters: Vec::new() }
    }
}

impl Reading {
    pub fn new(from: Offset, redo: Option<Intent>, share: Share) -> Self {
        Self {
            mark: Watermark::at(from),
            redo,
            open: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            eof: None,
            lookup: None,
            hold: None,
            flush: None,
            share,
        }
    }

    pub fn is_held(&self) -> bool {
        self.hold.is_some_and(|until| Instant::now() < until)
    }

    /// Forgets what was read and not cut: it will be read again from [`Watermark::start`].
    pub fn rewind(&mut self) {
        self.drop_open();
        let mut mark = Watermark::at(self.mark.committed());
        // What is cut and being written stays cut.
        mark.reached(self.mark.start());
        let _ = mark.cut();
        self.mark = mark;
    }

    /// Drops open files, and records handed out but not written.
    fn drop_open(&mut self) {
        self.open = None;
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.eof = None;
        self.lookup = None;
        self.account();
    }

    /// Tells the budget what this partition holds.
    pub fn account(&mut self) {
        let open = self.group().map_or(0, |group| group.memory());
        self.share.set(self.waiting_bytes + open);
    }

    pub fn group(&self) -> Option<&dyn Group> {
        self.open.as_ref()?.group.as_deref()
    }

    pub fn rows(&self) -> u64 {
        self.group().map_or(0, |group| group.rows())
    }

    pub fn letter_calls(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.letters.len())
    }

    pub fn measure(&self, now: Instant) -> Option<Open> {
        let open = self.open.as_ref()?;
        let bytes = self.group().map_or(0, |group| group.bytes());
        Some(Open { rows: self.rows(), bytes, age: now.saturating_duration_since(open.since) })
    }

    pub fn redo_state(&self) -> Option<RedoState> {
        let end = self.redo.as_ref()?.end;
        let behind = self.waiting.front().is_some_and(|record| record.offset > end);
        let ended = self.waiting.is_empty() && self.eof.is_some_and(|eof| eof > end);
        Some(if behind || ended { RedoState::Complete } else { RedoState::Reading })
    }
}

/// What a record that waits takes of memory, about.
pub(super) fn size(record: &Record) -> usize {
    let bytes = |b: &Option<bytes::Bytes>| b.as_ref().map_or(0, bytes::Bytes::len);
    bytes(&record.key) + bytes(&record.value) + record.headers.bytes() + 128
}
