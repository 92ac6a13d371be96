//! Consumer groups of one process, written once for every log of ours: who reads which partition, under which epoch,
//! and the hand-over between members. A log gives [`Store`] and gets [`Coordinator::subscribe`].
//!
//! Rebalances are cooperative and sticky: only partitions that change hands are revoked; the others go on. A partition
//! has one owner at a time. It gets its next owner when the former one gave it back (or its deadline passed) *and* no
//! commit of the former one is under way, so a new owner always sees the last commit there will ever be of the old.

mod assign;
mod consumer;
mod coordinator;
mod state;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::{CommitError, Committed, LogError, Offset, Record, TopicInfo, TopicPartition, Watermarks};

pub(crate) use coordinator::{Coordinator, Frozen, Ticket};

/// What consumer groups need of a log. Only `fetch` and `store_commit` may wait.
#[async_trait]
pub(crate) trait Store: Send + Sync + 'static {
    /// Why the log can't be used any more, if so.
    fn usable(&self) -> Result<(), LogError>;
    /// Topics as they are; each has an id.
    fn topics_now(&self) -> Vec<TopicInfo>;
    /// Bounds of a partition of this very topic; `None` if it is gone.
    fn watermarks_now(&self, part: &TopicPartition, topic_id: &str) -> Option<Watermarks>;
    /// What is committed, stored durably.
    fn committed_now(&self, group: &str, part: &TopicPartition) -> Option<Committed>;
    /// Its waiters are woken whenever records can be read that could not before, and when the log ends. (A `watch`
    /// channel would wake them in random order, and a simulation would not be the same twice.)
    fn appended(&self) -> Arc<Notify>;
    /// Records from `from` on.
    async fn fetch(&self, at: &Place<'_>, from: Offset, limit: FetchLimit) -> Result<Fetched, LogError>;
    /// Stores a commit. The ticket lives until the outcome is final, even if the caller stops waiting.
    async fn store_commit(
        &self,
        group: &str,
        at: &Place<'_>,
        committed: &Committed,
        ticket: Ticket,
    ) -> Result<(), CommitError>;
}

/// A partition of one incarnation of a topic.
pub(crate) struct Place<'a> {
    pub part: &'a TopicPartition,
    pub topic_id: &'a str,
}

/// How much to fetch at most; one record is always given if there is one.
#[derive(Clone, Copy)]
pub(crate) struct FetchLimit {
    pub records: usize,
    pub bytes: usize,
}

/// What a fetch found.
pub(crate) struct Fetched {
    pub records: Vec<Record>,
    /// High watermark at that time: with no records, everything below it is a gap.
    pub high: Offset,
}
