//! Expiry of old records: raises the low watermark durably, then deletes in bounded steps.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use fjall::Keyspace;

use super::{
    index, keys, now_ms,
    state::{Partition, Shared, Topic},
    writer::{Job as WriterJob, Put, PutOutcome},
};
use crate::{
    LogError, Offset,
    sync::{lock, read},
};

/// Records deleted in one write; between two, others may write.
const STEP_RECORDS: usize = 1_000;

/// The thread that looks for expired records. Ends when dropped.
pub(super) struct Job {
    end: Arc<End>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct End {
    now: Mutex<bool>,
    wake: Condvar,
}

impl End {
    /// Waits; true at the end.
    fn wait(&self, time: Duration) -> bool {
        let (ended, _) = self
            .wake
            .wait_timeout_while(lock(&self.now), time, |ended| !*ended)
            .unwrap_or_else(PoisonError::into_inner);
        *ended
    }
}

impl Job {
    pub fn spawn(shared: Arc<Shared>, every: Duration) -> std::io::Result<Self> {
        let end = Arc::new(End::default());
        let seen = end.clone();
        let run = move || {
            while !seen.wait(every) {
                if let Err(error) = expire_all(&shared, &seen) {
                    tracing::warn!(%error, "Expired records could not be removed; trying again later.");
                }
            }
        };
        let thread = std::thread::Builder::new().name("forebay-retention".to_owned()).spawn(run)?;
        Ok(Self { end, thread: Some(thread) })
    }
}

impl Job {
    /// Tells the thread to end. Hands it out, to be waited for.
    pub fn end(mut self) -> Option<JoinHandle<()>> {
        self.tell();
        self.thread.take()
    }

    fn tell(&self) {
        *lock(&self.end.now) = true;
        self.end.wake.notify_all();
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.tell();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn expire_all(shared: &Arc<Shared>, end: &End) -> Result<(), LogError> {
    let topics: Vec<_> = read(&shared.topics).values().cloned().collect();
    for topic in topics {
        for number in 0..topic.partition_count() {
            if let Some(partition) = topic.partition(number) {
                expire(shared, &topic, number, &partition, end)?;
            }
        }
    }
    Ok(())
}

fn expire(
    shared: &Arc<Shared>,
    topic: &Arc<Topic>,
    number: i32,
    partition: &Arc<Partition>,
    end: &End,
) -> Result<(), LogError> {
    let bounds = partition.watermarks();
    let cut = cut(topic, number, partition)?;
    if cut > bounds.low {
        raise_low(shared, topic, number, partition, cut)?;
        tracing::debug!(topic = &*topic.name, partition = number, low = cut, "Records expired.");
    }
    let low = cut.max(bounds.low);
    if low > partition.cleaned.load(Ordering::Acquire) {
        // After a start also what a crash between raising and deleting left.
        delete_below(shared, topic, number, low, end)?;
        partition.cleaned.store(low, Ordering::Release);
    }
    Ok(())
}

/// The first offset to keep. The high watermark is read before the time of the last append: a record that comes in
/// between is above it.
fn cut(topic: &Topic, number: i32, partition: &Partition) -> Result<Offset, LogError> {
    let bounds = partition.watermarks();
    let settings = topic.settings();
    let by_age = match settings.retention_ms {
        None => None,
        Some(age) => {
            let oldest = now_ms().saturating_sub(age);
            if partition.appended_ms.load(Ordering::Acquire) <= oldest {
                Some(bounds.high)
            } else {
                index::offset_for_age(&topic.records, number, bounds, oldest)?
            }
        }
    };
    let by_bytes = match settings.retention_bytes {
        None => None,
        Some(keep) => index::offset_for_bytes(&topic.records, number, partition, keep)?,
    };
    Ok(by_age.max(by_bytes).unwrap_or(bounds.low).clamp(bounds.low, bounds.high))
}

/// Durable before the first record goes: readers then know the gap for what it is, whatever happens next.
fn raise_low(
    shared: &Arc<Shared>,
    topic: &Arc<Topic>,
    number: i32,
    partition: &Arc<Partition>,
    low: Offset,
) -> Result<(), LogError> {
    let pair = (shared.small.lows.clone(), keys::low(&topic.id, number), Some(low.to_be_bytes().to_vec()));
    let raised = partition.clone();
    write(shared, vec![topic.clone()], vec![pair], move || raised.low.store(low, Ordering::Release))
}

/// Deletes records below `low`, and the marks that nothing needs any more.
fn delete_below(shared: &Arc<Shared>, topic: &Topic, number: i32, low: Offset, end: &End) -> Result<(), LogError> {
    let marks = index::mark_at_or_before(&topic.records, number, low)?.unwrap_or(0);
    let ranges =
        [(keys::record(number, 0), keys::record(number, low)), (keys::mark(number, 0), keys::mark(number, marks))];
    for (from, to) in ranges {
        // The keys deleted last are skipped in the next step: begun again from the start, each step would pass them.
        let mut from = from.to_vec();
        loop {
            let keys: Vec<_> = topic
                .records
                .range(from.clone()..to.to_vec())
                .take(STEP_RECORDS)
                .map(fjall::Guard::key)
                .collect::<Result<_, _>>()
                .map_err(index::unreadable)?;
            let Some(last) = keys.last() else { break };
            from = last.to_vec();
            from.push(0);
            if topic.deleted.load(Ordering::Acquire) || end.wait(Duration::ZERO) {
                return Ok(());
            }
            remove(shared, topic, &keys)?;
        }
    }
    Ok(())
}

/// Through the writer, like every write: a torn end of the journal is then always its last write alone.
fn remove(shared: &Shared, topic: &Topic, keys: &[fjall::UserKey]) -> Result<(), LogError> {
    write(shared, Vec::new(), keys.iter().map(|key| (topic.records.clone(), key.to_vec(), None)).collect(), || ())
}

/// Writes pairs with the next commit group and waits for it; `then` runs before anyone else sees them.
fn write(
    shared: &Shared,
    needs: Vec<Arc<Topic>>,
    pairs: Vec<(Keyspace, Vec<u8>, Option<Vec<u8>>)>,
    then: impl FnOnce() + Send + 'static,
) -> Result<(), LogError> {
    let (reply, answer) = std::sync::mpsc::sync_channel(1);
    let done = Box::new(move |outcome| {
        if let PutOutcome::Durable = outcome {
            then();
        }
        let _ = reply.send(outcome);
    });
    shared.queue.push_other(WriterJob::Put(Put { needs, pairs, done })).map_err(|_| LogError::Closed)?;
    match answer.recv() {
        Ok(PutOutcome::Durable | PutOutcome::TopicGone) => Ok(()),
        Ok(PutOutcome::Unknown(reason) | PutOutcome::Refused(reason)) => Err(LogError::Fatal(reason)),
        Err(_) => Err(LogError::Closed),
    }
}
