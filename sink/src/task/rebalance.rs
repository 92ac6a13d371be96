//! Partitions come and go: claims, results, revokes. After a partition is given back, nothing of it is committed.

use std::sync::Arc;

use forebay_broker::{Assigned, Epoch, LogError, Revoke, TopicPartition};
use tokio::time::{Duration, Instant};
use tracing::{info, warn};

use super::{
    Cancel, End, Event, Task, TaskContext,
    claim::{ClaimEnd, Claimed, Request, claim},
    flush::{Flushed, Outcome},
    outage::Outage,
    partition::{Partition, Phase, Reading},
};
use crate::crash_point;

/// A commit was refused, and no rebalance took the partition away within this: it is claimed again.
const CLAIM_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Partitions to give back once nothing runs for them.
pub(super) struct PendingRevoke {
    revoke: Revoke,
    /// Then what still writes is stopped; only commits in flight are waited for.
    deadline: Instant,
}

impl Task {
    pub(super) fn assigned(&mut self, assigned: Vec<Assigned>) {
        for Assigned { part, epoch, topic_id, committed } in assigned {
            let context = &self.shared.context;
            // Names of dead letter topics may follow a template, and so are not known when the group is joined.
            let named = context.settings.topics.iter().any(|topic| **topic == *part.topic);
            if !named && context.dlq.is_dead_letter_topic(&part.topic) {
                continue;
            }
            info!(connector = self.name(), %part, epoch, "Partition assigned.");
            let cancel = Cancel::default();
            let partition = Partition::new(epoch, topic_id.clone(), cancel.clone());
            let old = self.parts.insert(part.clone(), partition);
            if let Some(busy) = old.as_ref().and_then(Partition::busy) {
                busy.hard.cancel();
            }
            self.start_claim(Request { part, epoch, topic_id, committed: Some(committed), cancel });
        }
    }

    fn start_claim(&mut self, request: Request) {
        let shared = Arc::clone(&self.shared);
        let (part, epoch) = (request.part.clone(), request.epoch);
        self.running.push(Box::pin(async move {
            let result = claim(&shared, &request).await;
            Event::Claimed { part, epoch, result }
        }));
    }

    pub(super) fn claimed(
        &mut self,
        part: &TopicPartition,
        epoch: Epoch,
        result: Result<Claimed, ClaimEnd>,
    ) -> Result<(), End> {
        let share = self.shared.context.deps.memory.share();
        let Some(partition) = self.current(part, epoch) else { return Ok(()) };
        partition.phase = Phase::Waiting(Instant::now() + CLAIM_AGAIN_AFTER);
        if partition.revoking {
            return Ok(());
        }
        match result {
            Ok(Claimed { committed, high, redo }) => {
                partition.phase = Phase::Reading(Box::new(Reading::new(committed, redo, share)));
                (partition.committed, partition.high) = (committed, high);
                partition.progress = Instant::now();
                let TaskContext { number, board, .. } = &self.shared.context;
                board.partition(*number, part, committed, Some(high));
                let answer = self.consumer.seek(part, committed);
                self.steered(part, answer)
            }
            Err(ClaimEnd::Fenced | ClaimEnd::Abandoned) => Ok(()),
            Err(ClaimEnd::Failed(trouble)) => Err(End::Failed(trouble)),
        }
    }

    /// A refused commit, and yet the partition was not taken away: claimed again, from what the log has.
    pub(super) fn claim_again_if_due(&mut self, part: &TopicPartition) {
        let due = |p: &&mut Partition| matches!(p.phase, Phase::Waiting(at) if Instant::now() >= at) && !p.revoking;
        let Some(partition) = self.parts.get_mut(part).filter(due) else { return };
        let cancel = Cancel::default();
        partition.phase = Phase::Claiming(cancel.clone());
        let (epoch, topic_id) = (partition.epoch, partition.topic_id.clone());
        self.start_claim(Request { part: part.clone(), epoch, topic_id, committed: None, cancel });
    }

    pub(super) fn flushed(&mut self, part: &TopicPartition, epoch: Epoch, flushed: Flushed) -> Result<(), End> {
        let Flushed { range, reason, outcome } = flushed;
        let shared = Arc::clone(&self.shared);
        let Some(partition) = self.current(part, epoch) else { return Ok(()) };
        let Phase::Reading(reading) = &mut partition.phase else { return Ok(()) };
        reading.flush = None;
        match outcome {
            Outcome::Committed { rows, files } => {
                if !reading.mark.done(range) {
                    return Err(End::Restart(format!("{part}: the batch to offset {} is not the next", range.end)));
                }
                partition.committed = reading.mark.committed();
                partition.progress = Instant::now();
                partition.backoff.reset();
                partition.failing = None;
                self.got_on = true;
                self.count(part, reason, rows, &files.file_bytes);
                Ok(())
            }
            _ if partition.revoking => Ok(()),
            Outcome::Failed(trouble) => Err(End::Failed(trouble)),
            Outcome::Fenced | Outcome::Abandoned => {
                partition.phase = Phase::Waiting(Instant::now() + CLAIM_AGAIN_AFTER);
                Ok(())
            }
            Outcome::ReadAgain(why) => {
                self.read_again(part, &why);
                Ok(())
            }
            Outcome::Recreated(id) => {
                partition.topic_id = Some(id);
                self.read_again(part, "its topic was deleted and made again");
                Ok(())
            }
            Outcome::Spoiled(why) => {
                shared.outages.tell(&mut partition.failing, &Outage::spill(&why));
                self.read_again(part, &why);
                Ok(())
            }
        }
    }

    fn read_again(&mut self, part: &TopicPartition, why: &str) {
        let Some(partition) = self.parts.get_mut(part) else { return };
        partition.phase = Phase::Waiting(Instant::now() + partition.backoff.next(None));
        warn!(connector = self.name(), %part, why, "The partition is read again from its committed offset.");
    }

    /// Stops intake at once; what was read and not announced is dropped, for its next owner to read again.
    pub(super) fn revoked(&mut self, revoke: Revoke) {
        crash_point!("revoke.start");
        info!(connector = self.name(), parts = revoke.parts.len(), "Partitions are to be given back.");
        for part in &revoke.parts {
            if let Some(partition) = self.parts.get_mut(part) {
                partition.revoke();
            }
        }
        let deadline = Instant::now() + self.shared.context.settings.revoke_timeout;
        self.revokes.push(PendingRevoke { revoke, deadline });
    }

    /// What the consumer says to a seek, a pause or a resume. A partition that is not ours any more is let go as if it
    /// was revoked: the group's word about it is on its way, and the others go on.
    pub(super) fn steered(&mut self, part: &TopicPartition, answer: Result<(), LogError>) -> Result<(), End> {
        match answer {
            Ok(()) => Ok(()),
            Err(LogError::Invalid(why)) => {
                info!(connector = self.name(), %part, why, "A partition is taken away already; the task lets go of it.");
                if let Some(partition) = self.parts.get_mut(part) {
                    partition.revoke();
                }
                Ok(())
            }
            Err(error) => Err(End::Restart(error.to_string())),
        }
    }

    /// Gives back what nothing runs for any more.
    pub(super) fn finish_revokes(&mut self) {
        for pending in std::mem::take(&mut self.revokes) {
            let mut running = false;
            for part in &pending.revoke.parts {
                let busy = self.parts.get(part).filter(|p| p.revoking).and_then(Partition::busy);
                if let Some(busy) = busy {
                    running = true;
                    if Instant::now() >= pending.deadline {
                        busy.hard.cancel();
                    }
                }
            }
            if running {
                self.revokes.push(pending);
                continue;
            }
            for part in &pending.revoke.parts {
                self.forget(part, |partition| partition.revoking);
            }
            crash_point!("revoke.done");
            pending.revoke.done();
        }
    }

    /// Someone else's already: nothing is written or committed any more.
    pub(super) fn lost(&mut self, parts: &[TopicPartition]) {
        warn!(connector = self.name(), parts = parts.len(), "Partitions were lost to another member.");
        for part in parts {
            if let Some(busy) = self.parts.get(part).and_then(Partition::busy) {
                busy.soft.cancel();
                busy.hard.cancel();
            }
            self.forget(part, |_| true);
        }
    }

    fn forget(&mut self, part: &TopicPartition, which: impl Fn(&Partition) -> bool) {
        if self.parts.get(part).is_some_and(which) {
            self.parts.remove(part);
            let TaskContext { number, board, .. } = &self.shared.context;
            board.forget(*number, part);
        }
    }
}
