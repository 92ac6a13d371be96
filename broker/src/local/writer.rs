//! The one thread that writes: assigns offsets, gathers commit groups, fsyncs each, then shows and answers.

use std::{
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use fjall::{Keyspace, OwnedWriteBatch, PersistMode, UserValue};
use tokio::sync::oneshot;

use super::{
    buffers::Buffers,
    index::RunningMark,
    keys, now_ms,
    queue::Charge,
    state::{Partition, Shared, Topic, reason},
};
use crate::{ProduceError, Receipt, Receipts, sync::lock};

/// A commit group is closed when it has so many bytes, however young it is.
const GROUP_BYTES: usize = 1 << 20;

/// Work for the writer.
pub(super) enum Job {
    /// Records to append.
    Append(Append),
    /// Pairs to write with the next commit group.
    Put(Put),
    /// Something that must not run beside writes; a commit group before it is finished first.
    Alone(Alone),
}

/// What runs between two commit groups.
pub(super) type Alone = Box<dyn FnOnce(&Arc<Shared>) + Send>;

/// The records of one produce call.
pub(super) struct Append {
    pub records: Vec<Result<Encoded, ProduceError>>,
    pub charge: Charge,
    pub reply: oneshot::Sender<Receipts>,
}

/// A record ready to be stored.
pub(super) struct Encoded {
    pub topic: Arc<Topic>,
    pub partition: i32,
    pub timestamp_ms: i64,
    pub value: UserValue,
}

/// Small writes that go with a commit group.
pub(super) struct Put {
    /// Written only if all these topics still exist.
    pub needs: Vec<Arc<Topic>>,
    /// `None` deletes.
    pub pairs: Vec<(Keyspace, Vec<u8>, Option<Vec<u8>>)>,
    /// Runs once with the outcome, after the fsync.
    pub done: Box<dyn FnOnce(PutOutcome) + Send>,
}

/// What became of a [`Put`].
#[derive(Clone, Debug)]
pub(super) enum PutOutcome {
    Durable,
    /// A topic that it needs is gone.
    TopicGone,
    /// The log broke while it was written: it may be stored.
    Unknown(String),
    /// Certainly not stored.
    Refused(String),
}

pub(super) fn spawn(shared: Arc<Shared>, group_commit: Duration) -> std::io::Result<JoinHandle<()>> {
    let mut writer = Writer { shared, group_commit, buffers: Buffers::default() };
    std::thread::Builder::new().name("forebay-log-writer".to_owned()).spawn(move || writer.run())
}

struct Writer {
    shared: Arc<Shared>,
    group_commit: Duration,
    buffers: Buffers,
}

/// What is written and fsynced together.
struct Group {
    batch: OwnedWriteBatch,
    bytes: usize,
    now_ms: i64,
    appends: Vec<(oneshot::Sender<Receipts>, Receipts, Charge)>,
    puts: Vec<Box<dyn FnOnce(PutOutcome) + Send>>,
    moved: Vec<Arc<Partition>>,
}

/// A panic of the writer must not leave callers waiting for ever.
struct Alarm(Arc<Shared>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.break_down("the writer thread panicked".to_owned());
            while let Some(job) = self.0.queue.pop(None) {
                refuse(&self.0, job);
            }
        }
    }
}

impl Writer {
    fn run(&mut self) {
        let _alarm = Alarm(self.shared.clone());
        while let Some(job) = self.shared.queue.pop(None) {
            if self.shared.broken.get().is_some() {
                refuse(&self.shared, job);
                continue;
            }
            self.group_from(job);
        }
        self.shared.wake_readers();
    }

    /// Gathers and commits the group that begins with this job.
    fn group_from(&mut self, first: Job) {
        let batch = self.shared.db.batch().durability(Some(PersistMode::SyncAll));
        let now_ms = now_ms();
        let mut group = Group { batch, bytes: 0, now_ms, appends: Vec::new(), puts: Vec::new(), moved: Vec::new() };
        let deadline = Instant::now() + self.group_commit;
        let mut next = Some(first);
        let mut alone = None;
        while let Some(job) = next.take() {
            match job {
                Job::Append(append) => self.append(&mut group, append),
                Job::Put(put) => self.put(&mut group, put),
                Job::Alone(run) => {
                    alone = Some(run);
                    break;
                }
            }
            if group.bytes < GROUP_BYTES {
                next = self.shared.queue.pop(Some(deadline));
            }
        }
        self.commit(group);
        if let Err(error) = self.buffers.relieve() {
            self.shared.break_down(reason(&error));
        }
        if let Some(run) = alone {
            run(&self.shared);
            self.shared.queue.release_other();
        }
    }

    fn append(&mut self, group: &mut Group, append: Append) {
        let room = self.shared.free.check();
        let mut receipts = Vec::with_capacity(append.records.len());
        for record in append.records {
            receipts.push(match (record, &room) {
                (Err(error), _) => Err(error),
                (Ok(_), Err(reason)) => Err(ProduceError::NoRoom(reason.clone())),
                (Ok(record), Ok(())) => self.append_one(group, record),
            });
        }
        group.appends.push((append.reply, receipts, append.charge));
    }

    fn append_one(&mut self, group: &mut Group, record: Encoded) -> Result<Receipt, ProduceError> {
        let Encoded { topic, partition, timestamp_ms, value } = record;
        let found = topic.partition(partition).filter(|_| !topic.deleted.load(Ordering::Acquire));
        let state = found.ok_or_else(|| ProduceError::UnknownTopic(topic.name.to_string()))?;
        let mut tail = lock(&state.tail);
        let offset = tail.next;
        let running = match &mut tail.mark {
            Some(running) => running,
            none => {
                let recovered = RunningMark::recover(&topic.records, partition, state.watermarks())
                    .map_err(|error| ProduceError::Unavailable(error.to_string()))?;
                none.insert(recovered)
            }
        };
        if let Some(mark) = running.due(group.now_ms) {
            group.batch.insert(&topic.records, keys::mark(partition, offset), mark.encode());
        }
        running.add(timestamp_ms, value.len() as u64);
        group.bytes += value.len();
        self.buffers.add(&topic, value.len() as u64);
        group.batch.insert(&topic.records, keys::record(partition, offset), value);
        tail.next = offset + 1;
        let first = !std::mem::replace(&mut tail.moved, true);
        drop(tail);
        if first {
            group.moved.push(state);
        }
        Ok(Receipt { partition, offset })
    }

    fn put(&self, group: &mut Group, put: Put) {
        if put.needs.iter().any(|topic| topic.deleted.load(Ordering::Acquire)) {
            (put.done)(PutOutcome::TopicGone);
            self.shared.queue.release_other();
            return;
        }
        for (keyspace, key, value) in put.pairs {
            group.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            match value {
                Some(value) => group.batch.insert(&keyspace, key, value),
                None => group.batch.remove(&keyspace, key),
            }
        }
        group.puts.push(put.done);
    }

    fn commit(&self, group: Group) {
        crash_point("local.appended");
        let outcome = write(group.batch);
        crash_point("local.fsynced");
        match &outcome {
            Ok(()) => {
                for partition in group.moved {
                    let mut tail = lock(&partition.tail);
                    tail.moved = false;
                    partition.appended_ms.fetch_max(group.now_ms, Ordering::AcqRel);
                    partition.high.store(tail.next, Ordering::Release);
                }
                self.shared.wake_readers();
            }
            // The disk may hold the group or parts of it: the next start will tell.
            Err(reason) => self.shared.break_down(reason.clone()),
        }
        for done in group.puts {
            done(outcome.clone().map_or_else(PutOutcome::Unknown, |()| PutOutcome::Durable));
            self.shared.queue.release_other();
        }
        for (reply, mut receipts, charge) in group.appends {
            if let Err(reason) = &outcome {
                receipts.iter_mut().filter(|r| r.is_ok()).for_each(|r| *r = Err(ProduceError::Unknown(reason.clone())));
            }
            self.shared.queue.release(charge);
            // The caller may have stopped waiting; the records are stored all the same.
            let _ = reply.send(receipts);
        }
    }
}

/// Answers a job that the broken log does not take.
fn refuse(shared: &Shared, job: Job) {
    let reason = shared.broken.get().cloned().unwrap_or_default();
    match job {
        Job::Append(append) => {
            let refused = append.records.iter().map(|_| Err(ProduceError::Unavailable(reason.clone()))).collect();
            shared.queue.release(append.charge);
            let _ = append.reply.send(refused);
        }
        Job::Put(put) => {
            (put.done)(PutOutcome::Refused(reason));
            shared.queue.release_other();
        }
        // Its caller sees its answer channel closed.
        Job::Alone(_) => shared.queue.release_other(),
    }
}

/// Writes and fsyncs. The feature `failpoints` can make it fail.
fn write(batch: OwnedWriteBatch) -> Result<(), String> {
    fail::fail_point!("local.write_fails", |_| Err("writing to disk failed: injected".to_owned()));
    batch.commit().map_err(|error| reason(&error))
}

/// A named place where tests of crashes stop the process; nothing without the feature `failpoints`.
fn crash_point(_name: &'static str) {
    fail::fail_point!(_name);
}
