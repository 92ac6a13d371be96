//! Claiming a partition: which offset is committed, does it fit the topic, and what has the store to say (S6).

use std::{future::Future, sync::Arc};

use forebay_broker::{Committed, Epoch, Offset, TopicPartition, Watermarks};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Cancel, CommitEnd, Shared, TaskContext, commit,
    outage::{Outage, Refused},
};
use crate::{
    config::{OnOffsetMismatch, Start},
    intent::{DONE, Intent},
    retry::Backoff,
    sinks::{Claim, Resume, SinkError},
    status::Trouble,
};

/// A partition to claim.
pub(super) struct Request {
    pub part: TopicPartition,
    pub epoch: Epoch,
    pub topic_id: Option<Arc<str>>,
    /// What came with the assignment; a later claim asks the log.
    pub committed: Option<Option<Committed>>,
    pub cancel: Cancel,
}

/// Where to read on.
#[derive(Debug)]
pub(super) struct Claimed {
    pub committed: Offset,
    pub high: Offset,
    pub redo: Option<Intent>,
}

/// Why there is no position.
#[derive(Debug)]
pub(super) enum ClaimEnd {
    Abandoned,
    Fenced,
    Failed(Trouble),
}

impl From<CommitEnd> for ClaimEnd {
    fn from(end: CommitEnd) -> Self {
        match end {
            CommitEnd::Fenced => Self::Fenced,
            CommitEnd::GaveUp => Self::Abandoned,
        }
    }
}

impl From<Halt> for ClaimEnd {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Cancelled => Self::Abandoned,
            Halt::Error(error) => Self::Failed(trouble(error)),
        }
    }
}

/// A refusal, with what its advice is about.
struct Refusal {
    code: &'static str,
    advice: String,
}

pub(super) async fn claim(shared: &Shared, request: &Request) -> Result<Claimed, ClaimEnd> {
    let committed = match &request.committed {
        Some(known) => known.clone(),
        None => committed(shared, &request.part, &request.cancel.soft).await?,
    };
    let bounds = bounds(shared, request).await?;
    let mut claim = describe(shared, request, committed.as_ref(), bounds)?;
    if committed.is_none() {
        let log = &shared.context.deps.log;
        let topic = patiently(shared, &request.cancel.soft, || log.topic(&request.part.topic)).await?;
        claim.partitions = Some(topic.partitions);
    }
    let sink = &shared.context.sink;
    let resume = patiently(shared, &request.cancel.soft, || sink.resume_from(&claim)).await?;
    if let Resume::Refuse { code, advice } = resume {
        return rebase(shared, request, &claim, bounds, Refusal { code, advice }).await;
    }
    // An offset that was moved outside the log does no harm where the store says how far it was.
    let harmless = claim.by_hand && !matches!(resume, Resume::FromLog | Resume::Skip { .. });
    if let Some(refusal) = misfit(&claim, bounds).filter(|_| !harmless) {
        return rebase(shared, request, &claim, bounds, refusal).await;
    }
    let added = patiently(shared, &request.cancel.soft, || sink.adopt(&claim, false)).await?;
    position(shared, request, &claim, bounds, resume, added).await
}

/// The group's committed position of a partition.
pub(super) async fn committed(
    shared: &Shared,
    part: &TopicPartition,
    stop: &CancellationToken,
) -> Result<Option<Committed>, Halt> {
    let TaskContext { settings, deps, .. } = &shared.context;
    let group = settings.group();
    let parts = std::slice::from_ref(part);
    Ok(patiently(shared, stop, || deps.log.committed(&group, parts)).await?.remove(part))
}

async fn bounds(shared: &Shared, request: &Request) -> Result<Watermarks, Halt> {
    let log = &shared.context.deps.log;
    patiently(shared, &request.cancel.soft, || log.watermarks(&request.part)).await
}

fn describe(
    shared: &Shared,
    request: &Request,
    committed: Option<&Committed>,
    bounds: Watermarks,
) -> Result<Claim, ClaimEnd> {
    let intent = committed.map(|c| Intent::parse(&c.metadata)).transpose().map_err(|error| {
        let advice = format!("{error} (group {}, {}).", shared.context.settings.group(), request.part);
        ClaimEnd::Failed(Trouble { code: "INTENT_UNREADABLE", advice })
    })?;
    Ok(Claim {
        part: request.part.clone(),
        cluster_id: shared.context.deps.log.cluster_id().into(),
        topic_id: request.topic_id.clone(),
        committed: committed.map(|c| c.offset),
        intent: intent.flatten(),
        by_hand: committed.is_some_and(|c| c.metadata.is_empty()),
        low: bounds.low,
        high: bounds.high,
        partitions: None,
    })
}

/// The guards that the log alone decides. An announced group whose records are gone is the store's to judge.
fn misfit(claim: &Claim, bounds: Watermarks) -> Option<Refusal> {
    let (part, Watermarks { low, high }) = (&claim.part, bounds);
    let next = claim.committed?;
    let needed = claim.intent.as_ref().map_or(next, |intent| intent.end + 1);
    if needed > high {
        let advice = format!(
            "The connector has read {part} up to offset {needed}, but the topic ends at {high}: it lost records, or \
             the offset was moved. Set on_offset_mismatch: earliest to go on at the earliest record that the lake does \
             not have."
        );
        return Some(Refusal { code: "OFFSET_ABOVE_END", advice });
    }
    if next < low && claim.intent.is_none() {
        let advice = format!(
            "The connector has read {part} up to offset {next}, but the topic now begins at {low}: retention has \
             deleted {} offsets unread. Set on_offset_mismatch: earliest to go on without them.",
            low - next
        );
        return Some(Refusal { code: "OFFSET_BELOW_START", advice });
    }
    None
}

/// A guard has refused: fail, or go on, as the settings say, at the earliest record that the store does not have.
async fn rebase(
    shared: &Shared,
    request: &Request,
    claim: &Claim,
    bounds: Watermarks,
    refusal: Refusal,
) -> Result<Claimed, ClaimEnd> {
    let TaskContext { settings, sink, deps, .. } = &shared.context;
    let Refusal { code, advice } = refusal;
    // What is committed is of the old topic: a person who makes room finds the new one at its start. Until then the
    // store's word refuses it.
    if code == "TOPIC_RECREATED" && !claim.by_hand {
        start_at(shared, request, bounds.low, bounds.high).await?;
    }
    if settings.on_offset_mismatch == OnOffsetMismatch::Fail || code == "INTENT_CONFIG_UNKNOWN" {
        return Err(ClaimEnd::Failed(Trouble { code, advice }));
    }
    let stop = &request.cancel.soft;
    let anew = Claim { committed: None, intent: None, by_hand: false, ..claim.clone() };
    let resume = patiently(shared, stop, || sink.rebase(&anew)).await?;
    if let Resume::Refuse { code, advice } = resume {
        return Err(ClaimEnd::Failed(Trouble { code, advice }));
    }
    warn!(
        connector = settings.name,
        code, advice, "on_offset_mismatch: the partition goes on at the earliest record that the lake does not have."
    );
    patiently(shared, stop, || sink.adopt(claim, true)).await?;
    deps.metrics.rebased.with_label_values(&[settings.name.as_str()]).inc();
    let offset = match resume {
        Resume::Redo { .. } => return position(shared, request, &anew, bounds, resume, false).await,
        Resume::Done { end } => bounds.low.max(end + 1),
        _ => bounds.low,
    };
    start_at(shared, request, offset, bounds.high).await
}

async fn position(
    shared: &Shared,
    request: &Request,
    claim: &Claim,
    bounds: Watermarks,
    resume: Resume,
    added: bool,
) -> Result<Claimed, ClaimEnd> {
    if let Some(trouble) = moved(claim, &resume) {
        let TaskContext { number, settings, board, .. } = &shared.context;
        let Trouble { code, advice } = &trouble;
        warn!(connector = settings.name, code, advice, "The committed offset was moved by hand.");
        board.trouble(*number, Some(trouble));
    }
    match (resume, claim.committed) {
        (Resume::Done { end }, _) => start_at(shared, request, end + 1, bounds.high).await,
        (Resume::Redo { start, intent }, _) => {
            if claim.intent.is_none() {
                info!(part = %request.part, start, end = intent.end, "The store tells the last batch; it is finished first.");
                let metadata = intent.to_string();
                commit(shared, &request.part, request.epoch, start, metadata, &request.cancel).await?;
            }
            Ok(Claimed { committed: start, high: bounds.high, redo: Some(intent) })
        }
        // From now on it is ours.
        (_, Some(offset)) if claim.by_hand => start_at(shared, request, offset, bounds.high).await,
        (_, Some(offset)) => Ok(Claimed { committed: offset, high: bounds.high, redo: None }),
        // Whoever had it grow has records for it, and the settings' start was for the topic as it was first seen.
        (_, None) if added => start_at(shared, request, bounds.low, bounds.high).await,
        (_, None) => {
            let offset = first_offset(shared, request, bounds).await?;
            start_at(shared, request, offset, bounds.high).await
        }
    }
}

/// What people are told of an offset that someone moved: what is skipped, or that nothing is written twice.
fn moved(claim: &Claim, resume: &Resume) -> Option<Trouble> {
    let (part, to) = (&claim.part, claim.committed.filter(|_| claim.by_hand)?);
    match resume {
        Resume::Skip { from } => {
            let advice = format!(
                "The group's offset of {part} was set to {to} by hand, or by another program, and the lake has nothing from {from} on: what \
                 stands between is skipped, unless it was dead-lettered or dropped before. If that was not meant, stop the connector and set the offset to {from}."
            );
            Some(Trouble { code: "OFFSET_MOVED_FORWARD", advice })
        }
        Resume::Redo { intent: Intent { end, .. }, .. } | Resume::Done { end } => {
            let advice = format!(
                "The group's offset of {part} was set to {to} by hand, or by another program, but the lake has everything up to {end}: the \
                 connector goes on behind that, and writes nothing twice. To have it written again, give the \
                 connector another topics.dir, then move the offset."
            );
            Some(Trouble { code: "OFFSET_MOVED_BACK", advice })
        }
        Resume::FromLog | Resume::Refuse { .. } => None,
    }
}

/// The settings' start; it is stored, never left to be decided again.
async fn first_offset(shared: &Shared, request: &Request, bounds: Watermarks) -> Result<Offset, Halt> {
    match shared.context.settings.start {
        Start::Earliest => Ok(bounds.low),
        Start::Latest => Ok(bounds.high),
        Start::Timestamp(ms) => {
            let log = &shared.context.deps.log;
            let ask = || log.offset_for_time(&request.part, ms);
            Ok(patiently(shared, &request.cancel.soft, ask).await?.unwrap_or(bounds.high))
        }
    }
}

async fn start_at(shared: &Shared, request: &Request, offset: Offset, high: Offset) -> Result<Claimed, ClaimEnd> {
    commit(shared, &request.part, request.epoch, offset, DONE.to_owned(), &request.cancel).await?;
    Ok(Claimed { committed: offset, high, redo: None })
}

/// Why [`patiently`] came back without a result.
#[derive(Debug)]
pub(super) enum Halt {
    Cancelled,
    /// Never `Retry`.
    Error(SinkError),
}

/// Calls until it works; a destination or log that is away is waited for, for ever. Shows the trouble meanwhile.
pub(super) async fn patiently<T, E: Into<Refused>, F: Future<Output = Result<T, E>>>(
    shared: &Shared,
    stop: &CancellationToken,
    mut call: impl FnMut() -> F,
) -> Result<T, Halt> {
    let mut backoff = Backoff::default();
    let mut failing = None;
    loop {
        let result = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(Halt::Cancelled),
            result = call() => result,
        };
        let outage = match result.map_err(Into::into) {
            Ok(value) => return Ok(value),
            Err(Refused::ForNow(outage)) => outage,
            Err(Refused::ForGood(error)) => return Err(Halt::Error(error)),
        };
        let delay = backoff.next(outage.after);
        if backoff.failures() == 1 || backoff.failures().is_multiple_of(10) {
            let Outage { code, why, .. } = &outage;
            let (connector, failures) = (&shared.context.settings.name, backoff.failures());
            warn!(connector, code, why, failures, "What the task needs is away; the task waits for it.");
        }
        shared.outages.tell(&mut failing, &outage);
        tokio::select! {
            () = stop.cancelled() => return Err(Halt::Cancelled),
            () = tokio::time::sleep(delay) => {}
        }
    }
}

/// An error that no retry mends, for people.
pub(super) fn trouble(error: SinkError) -> Trouble {
    match error {
        SinkError::Stop { code, advice } | SinkError::NameRefused { code, advice, .. } => Trouble { code, advice },
        other => Trouble { code: "SINK_FAILED", advice: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(committed: Option<Offset>, end: Option<Offset>) -> Claim {
        let intent = end.map(|end| Intent { end, rows: 1, time_ms: 0, cfg: "0123456789abcdef".to_owned() });
        let part = TopicPartition::new("t", 0);
        Claim {
            part,
            cluster_id: "c".into(),
            topic_id: None,
            committed,
            intent,
            by_hand: false,
            low: 10,
            high: 20,
            partitions: None,
        }
    }

    #[test]
    fn guards() {
        let bounds = Watermarks { low: 10, high: 20 };
        let cases = [
            (None, None, None),
            (Some(10), None, None),
            (Some(20), None, None),
            (Some(21), None, Some("OFFSET_ABOVE_END")),
            (Some(9), None, Some("OFFSET_BELOW_START")),
            (Some(15), Some(19), None),
            (Some(15), Some(20), Some("OFFSET_ABOVE_END")),
            (Some(5), Some(12), None),
        ];
        for (committed, end, want) in cases {
            let code = misfit(&claim(committed, end), bounds).map(|refusal| refusal.code);
            assert_eq!(code, want, "{committed:?} {end:?}");
        }
    }
}
