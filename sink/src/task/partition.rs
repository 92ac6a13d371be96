//! One assigned partition of a task: where it is, what is open, what runs for it.

use std::{collections::VecDeque, sync::Arc};

use forebay_broker::{Epoch, Offset, Record};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::Cancel;
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
    /// The claim or flush that runs.
    pub busy: Option<Cancel>,
    /// What the consumer was told.
    pub paused: bool,
    /// Reads nothing before this: a temporary file could not be written.
    pub hold: Option<Instant>,
    pub backoff: Backoff,
    pub revoking: bool,
    pub high: Offset,
    pub share: Share,
    /// Last commit, or last time without lag.
    pub progress: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its position is being found out.
    Claiming,
    /// It is read.
    Active,
    /// It was refused a commit, or must be read again: claimed again at this time unless it is taken away before.
    Fenced(Instant),
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
    pub fn new(epoch: Epoch, topic_id: Option<Arc<str>>, share: Share) -> Self {
        Self {
            epoch,
            topic_id,
            phase: Phase::Claiming,
            mark: Watermark::at(0),
            redo: None,
            open: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            eof: None,
            lookup: None,
            busy: None,
            paused: false,
            hold: None,
            backoff: Backoff::default(),
            revoking: false,
            high: 0,
            share,
            progress: Instant::now(),
        }
    }

    pub fn is_active(&self) -> bool {
        self.phase == Phase::Active && !self.revoking
    }

    pub fn is_flushing(&self) -> bool {
        self.busy.is_some() && self.phase == Phase::Active
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
    pub fn drop_open(&mut self) {
        self.open = None;
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.eof = None;
        self.lookup = None;
        self.account();
    }

    /// Tells the budget what this partition holds.
    pub fn account(&mut self) {
        let open = self.open.as_ref().and_then(|open| open.group.as_ref());
        self.share.set(self.waiting_bytes + open.map_or(0, |group| group.memory()));
    }

    pub fn rows(&self) -> u64 {
        self.open.as_ref().and_then(|open| open.group.as_ref()).map_or(0, |group| group.rows())
    }

    pub fn files(&self) -> usize {
        self.open.as_ref().and_then(|open| open.group.as_ref()).map_or(0, |group| group.files())
    }

    pub fn letter_calls(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.letters.len())
    }

    /// For [`crate::batch::due`].
    pub fn measure(&self, now: Instant) -> Option<Open> {
        let open = self.open.as_ref()?;
        let bytes = open.group.as_ref().map_or(0, |group| group.bytes());
        Some(Open { rows: self.rows(), bytes, age: now.saturating_duration_since(open.since) })
    }

    pub fn redo_state(&self) -> Option<RedoState> {
        let end = self.redo.as_ref()?.end;
        let behind = self.waiting.front().is_some_and(|record| record.offset > end);
        let ended = self.waiting.is_empty() && self.eof.is_some_and(|eof| eof > end);
        Some(if behind || ended { RedoState::Complete } else { RedoState::Reading })
    }
}
