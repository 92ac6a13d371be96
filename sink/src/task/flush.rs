//! One flush, from the cut to the commit: S1 close, S2 receipts, S3 intent, S4 write, S5 commit.

use std::sync::Arc;

use forebay_broker::{Epoch, TopicPartition};
use tracing::{debug, warn};

use super::{
    Cancel, CommitEnd, Shared,
    claim::{Halt, committed, patiently, trouble},
    commit,
    partition::LetterCall,
};
use crate::{
    batch::Reason,
    crash_point,
    intent::{DONE, Intent},
    memory::Share,
    sinks::{Group as OpenGroup, Sealed, SinkError, Written},
    status::Trouble,
    watermark::Group,
};

/// What is flushed.
pub(super) struct Job {
    pub part: TopicPartition,
    pub epoch: Epoch,
    /// The topic's identity at the claim.
    pub topic_id: Option<Arc<str>>,
    pub range: Group,
    pub reason: Reason,
    pub letters: Vec<LetterCall>,
    /// The intent found at the claim, if this is its redo.
    pub announced: Option<Intent>,
    pub cancel: Cancel,
    pub share: Share,
}

/// What became of it.
pub(super) struct Flushed {
    pub range: Group,
    pub reason: Reason,
    pub outcome: Outcome,
}

/// See [`Flushed`].
pub(super) enum Outcome {
    Committed {
        rows: u64,
        files: Written,
    },
    /// Nothing more will be written or committed; its records will be read again by whoever has the partition.
    Abandoned,
    /// The log refused a commit.
    Fenced,
    /// Claim again, and read again from the committed offset.
    ReadAgain(String),
    /// The topic was made anew meanwhile, under this identity: claim again, as it is for the claim to say what follows.
    Recreated(Arc<str>),
    /// Its files could not be closed, for want of disk space or the like: the same.
    Spoiled(String),
    Failed(Trouble),
}

impl From<CommitEnd> for Outcome {
    fn from(end: CommitEnd) -> Self {
        match end {
            CommitEnd::Fenced => Self::Fenced,
            CommitEnd::GaveUp => Self::Abandoned,
        }
    }
}

impl From<Halt> for Outcome {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Cancelled => Self::Abandoned,
            Halt::Error(SinkError::Retry { why, .. }) => Self::Spoiled(why),
            Halt::Error(error) => Self::Failed(trouble(error)),
        }
    }
}

/// Flushes. Without `content` no record of the range became a row, and there is only something to commit.
pub(super) async fn flush(shared: &Shared, mut job: Job, content: Option<Box<dyn OpenGroup>>) -> Flushed {
    let (range, reason) = (job.range, job.reason);
    let outcome = match steps(shared, &mut job, content).await {
        Ok((rows, files)) => Outcome::Committed { rows, files },
        Err(outcome) => outcome,
    };
    Flushed { range, reason, outcome }
}

async fn steps(shared: &Shared, job: &mut Job, content: Option<Box<dyn OpenGroup>>) -> Result<(u64, Written), Outcome> {
    let sealed = close(job, content).await?;
    receipts(job).await?;
    same_topic(shared, job).await?;
    let rows = sealed.as_ref().map_or(0, |sealed| sealed.rows());
    let mut written = Written::default();
    if let Some(sealed) = &sealed {
        announce(shared, job, rows).await?;
        written = write(shared, job, sealed.as_ref()).await?;
    } else if let Some(intent) = &job.announced {
        check_redo(shared, job, intent, 0);
    }
    commit(shared, &job.part, job.epoch, job.range.end + 1, DONE.to_owned(), &job.cancel).await?;
    Ok((rows, written))
}

/// S1: footers are written, nothing can change any more.
async fn close(job: &mut Job, content: Option<Box<dyn OpenGroup>>) -> Result<Option<Box<dyn Sealed>>, Outcome> {
    let Some(content) = content.filter(|content| content.rows() > 0) else { return Ok(None) };
    let end = job.range.end;
    let closed = tokio::task::spawn_blocking(move || content.seal(end)).await;
    crash_point!("batch.closed");
    match closed {
        Ok(Ok(sealed)) => {
            job.share.set(sealed.memory());
            Ok(Some(sealed))
        }
        Ok(Err(error)) => Err(Halt::Error(error).into()),
        Err(error) => Err(Outcome::ReadAgain(format!("closing the files was cut off: {error}"))),
    }
}

/// S2: every dead letter of the range has its receipt.
async fn receipts(job: &mut Job) -> Result<(), Outcome> {
    for call in job.letters.drain(..) {
        let result = tokio::select! {
            () = job.cancel.soft.cancelled() => return Err(Outcome::Abandoned),
            result = call => result,
        };
        match result {
            Ok(Ok(())) => {}
            Ok(Err(trouble)) => return Err(Outcome::Failed(trouble)),
            Err(error) => return Err(Outcome::ReadAgain(format!("sending dead letters was cut off: {error}"))),
        }
    }
    Ok(())
}

/// A consumer reads on, from where it is, in a topic that was deleted and made again at once: only the identity tells.
/// An announced group was claimed just now, and that compared.
async fn same_topic(shared: &Shared, job: &Job) -> Result<(), Outcome> {
    let Some(was) = job.topic_id.as_ref().filter(|_| job.announced.is_none()) else { return Ok(()) };
    let log = &shared.context.deps.log;
    match patiently(shared, &job.cancel.hard, || log.topic_id(&job.part.topic)).await? {
        Some(is) if is != *was => Err(Outcome::Recreated(is)),
        _ => Ok(()),
    }
}

/// S3: what will be written is announced, before any of it is. From here on the group has this end, whoever writes it.
async fn announce(shared: &Shared, job: &Job, rows: u64) -> Result<(), Outcome> {
    if let Some(intent) = &job.announced {
        check_redo(shared, job, intent, rows);
        return Ok(());
    }
    let sink = &shared.context.sink;
    patiently(shared, &job.cancel.soft, || sink.keep_cfg()).await?;
    if job.cancel.soft.is_cancelled() {
        return Err(Outcome::Abandoned);
    }
    let time_ms = jiff::Timestamp::now().as_millisecond();
    let intent = Intent { end: job.range.end, rows, time_ms, cfg: sink.cfg().to_owned() };
    crash_point!("s3.before_intent");
    commit(shared, &job.part, job.epoch, job.range.start, intent.to_string(), &job.cancel).await?;
    crash_point!("s3.after_intent");
    Ok(())
}

fn check_redo(shared: &Shared, job: &Job, intent: &Intent, rows: u64) {
    // One that was found in the store does not tell its rows.
    if intent.rows == rows || intent.rows == 0 {
        return;
    }
    let name = shared.context.settings.name.as_str();
    shared.context.deps.metrics.redo_mismatch.with_label_values(&[name]).inc();
    let (part, start, end, was) = (&job.part, job.range.start, job.range.end, intent.rows);
    warn!(connector = name, %part, start, end, was, rows, "A batch that was begun before has another number of rows now.");
}

/// S4, again and again until it is done.
async fn write(shared: &Shared, job: &Job, sealed: &dyn Sealed) -> Result<Written, Outcome> {
    let error = match patiently(shared, &job.cancel.hard, || sealed.write()).await {
        Ok(written) => return Ok(written),
        Err(Halt::Error(error)) => error,
        Err(halt) => return Err(halt.into()),
    };
    let unchanged = |offset| offset == Some(job.range.start);
    let found = committed(shared, &job.part, &job.cancel.hard).await?.map(|c| c.offset);
    match error {
        SinkError::OtherEnd { .. }
        | SinkError::Fenced { .. }
        | SinkError::NameRefused { .. }
        | SinkError::Rewound(_)
            if !unchanged(found) =>
        {
            debug!(part = %job.part, ?found, "The committed offset has moved.");
            Err(Outcome::ReadAgain(error.to_string()))
        }
        SinkError::OtherEnd { end, cfg } => Err(adopt(shared, job, end, cfg).await),
        SinkError::Rewound(why) => Err(rewound(shared, job, why).await),
        SinkError::Fenced { why, begun } => {
            let (part, start) = (&job.part, job.range.start);
            let place = if begun {
                ""
            } else {
                ", or leave them as they are and give the connector another topics.dir, into which everything from \
                 this offset on is written once more"
            };
            let advice = format!(
                "{why}, and the group's committed offset is still {start}: offsets were set back or lost. Move the \
                 files of {part} from this offset on away{place}."
            );
            Err(refused(shared, job, Trouble { code: "KEY_TAKEN", advice }, begun).await)
        }
        SinkError::NameRefused { code, advice, begun } => {
            Err(refused(shared, job, Trouble { code, advice }, begun).await)
        }
        error => Err(Outcome::Failed(trouble(error))),
    }
}

/// A file can't have its name. Where the group has no file yet nothing holds it in this place, and it is given free: what
/// a person changes may be the place. One that is begun stays announced, and is finished here.
async fn refused(shared: &Shared, job: &Job, trouble: Trouble, begun: bool) -> Outcome {
    if begun { Outcome::Failed(trouble) } else { withdraw(shared, job, trouble).await }
}

/// Takes the announcement back: it would tie these records to the settings it was made with, and so to this place.
async fn withdraw(shared: &Shared, job: &Job, trouble: Trouble) -> Outcome {
    match commit(shared, &job.part, job.epoch, job.range.start, DONE.to_owned(), &job.cancel).await {
        Ok(()) => Outcome::Failed(trouble),
        Err(end) => end.into(),
    }
}

/// The log was cut, or put back from a copy, and what is in the way is of records that it has lost.
async fn rewound(shared: &Shared, job: &Job, why: String) -> Outcome {
    let (part, start) = (&job.part, job.range.start);
    let advice = format!(
        "{why}: {part} was cut, or put back from an older copy, and has given its offsets again. Nothing was written \
         over. Give the connector another topics.dir, and restart the process: all records from offset {start} on are written \
         there, and what the old place holds of them stays as it is."
    );
    withdraw(shared, job, Trouble { code: "LOG_REWOUND", advice }).await
}

/// The anchor stands there with another end: a commit that came late has hidden its intent. It is announced again, and
/// the claim that follows redoes exactly that group.
async fn adopt(shared: &Shared, job: &Job, end: i64, cfg: String) -> Outcome {
    let log = &shared.context.deps.log;
    let high = match patiently(shared, &job.cancel.hard, || log.watermarks(&job.part)).await {
        Ok(bounds) => bounds.high,
        Err(halt) => return halt.into(),
    };
    if end >= high {
        let why = format!("The lake holds {} up to offset {end}, but the topic ends at {high}", job.part);
        return rewound(shared, job, why).await;
    }
    let name = shared.context.settings.name.as_str();
    let (part, start) = (&job.part, job.range.start);
    warn!(connector = name, %part, start, end, "A batch found in the store is finished first.");
    let intent = Intent { end, rows: 0, time_ms: jiff::Timestamp::now().as_millisecond(), cfg };
    match commit(shared, part, job.epoch, start, intent.to_string(), &job.cancel).await {
        Ok(()) => {
            shared.context.deps.metrics.intent_adopted.with_label_values(&[name]).inc();
            Outcome::ReadAgain("a batch found in the store is finished first".to_owned())
        }
        Err(end) => end.into(),
    }
}
