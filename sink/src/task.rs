//! A task: one consumer, the loop over what it tells, and the only place that commits.
//!
//! The loop never waits for a destination: claims, flushes and schema look-ups run beside it and come back as events.
//! Each event carries the epoch of its assignment; one of a former assignment changes nothing.

use std::{
    collections::{BTreeMap, HashSet},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use forebay_broker::{
    CommitError, Committed, Committer, Consumer, Epoch, GroupSpec, LogError, Offset, Polled, TopicPartition,
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::{
    claim::{ClaimEnd, Claimed},
    flush::Flushed,
    outage::{Failing, Outage, Outages},
    partition::Partition,
    rebalance::PendingRevoke,
};
use crate::{
    breaker::BadRate,
    config::ConnectorSettings,
    connector::{Deps, Mode, Wanted},
    converter::Converter,
    crash_point,
    dlq::writer::DlqWriter,
    retry::Backoff,
    sinks::Sink,
    status::{Board, LOG_BROKEN, State, Trouble},
};

mod claim;
mod cut;
mod flush;
mod intake;
mod letters;
mod outage;
mod partition;
mod rebalance;
mod watchdog;

/// Records of one poll.
const POLL_RECORDS: usize = 500;
/// A poll without records returns after this; every timer of the loop is looked at then.
const POLL_WAIT: Duration = Duration::from_millis(100);

/// What a task works with.
#[derive(Clone)]
pub(crate) struct TaskContext {
    pub number: usize,
    pub settings: Arc<ConnectorSettings>,
    pub deps: Deps,
    pub sink: Arc<dyn Sink>,
    pub converter: Arc<Converter>,
    pub dlq: Arc<DlqWriter>,
    pub board: Arc<Board>,
    pub bad_rate: Arc<Mutex<BadRate>>,
    pub wanted: Arc<watch::Sender<Wanted>>,
}

/// Why a task ended.
#[derive(Debug)]
pub(crate) enum End {
    /// As asked, everything written.
    Stopped,
    /// A person must act.
    Failed(Trouble),
    /// No progress for long: start again, the third time in a row a person must act.
    Stuck(Trouble),
    /// A fault of the log that may pass.
    Restart(String),
}

/// How a task ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub why: End,
    /// It has committed a batch.
    pub got_on: bool,
}

/// What runs beside the loop shares this with it.
struct Shared {
    context: TaskContext,
    committer: Arc<dyn Committer>,
    outages: Arc<Outages>,
}

/// How to stop what runs beside the loop.
#[derive(Clone, Debug, Default)]
struct Cancel {
    /// Before anything was announced or written.
    soft: CancellationToken,
    /// At once, save a commit in flight.
    hard: CancellationToken,
}

/// What came back from beside the loop.
enum Event {
    Claimed { part: TopicPartition, epoch: Epoch, result: Result<Claimed, ClaimEnd> },
    Flushed { part: TopicPartition, epoch: Epoch, flushed: Flushed },
    Schema(u32),
    Highs { highs: Vec<(TopicPartition, Offset)>, fault: Option<LogError> },
}

type Running = FuturesUnordered<Pin<Box<dyn Future<Output = Event> + Send>>>;

struct Task {
    shared: Arc<Shared>,
    consumer: Box<dyn Consumer>,
    parts: BTreeMap<TopicPartition, Partition>,
    running: Running,
    revokes: Vec<PendingRevoke>,
    looking_up: HashSet<u32>,
    wanted: watch::Receiver<Wanted>,
    mode: Mode,
    throttled: bool,
    watch_due: Instant,
    /// The log was asked for its high watermarks and has not answered yet.
    asking_highs: bool,
    highs_failing: Option<Failing>,
    poll_backoff: Backoff,
    poll_failing: Option<Failing>,
    poll_after: Instant,
    stuck_told: bool,
    got_on: bool,
}

/// Runs a task to its end.
pub(crate) async fn run(context: &TaskContext) -> Ended {
    let settings = &context.settings;
    let spec = GroupSpec {
        group: settings.group(),
        topics: settings.topics.clone(),
        all_topics: settings.all_topics,
        except: [settings.topics_except.as_slice(), &[context.dlq.topic("").to_string()]].concat(),
        revoke_timeout: settings.revoke_timeout + Duration::from_secs(5),
    };
    let consumer = match context.deps.log.subscribe(spec).await {
        Ok(consumer) => consumer,
        Err(error) => return Ended { why: log_fault(&error), got_on: false },
    };
    let outages = Outages::of(context);
    let shared = Shared { context: context.clone(), committer: consumer.committer(), outages };
    let now = Instant::now();
    let mut task = Task {
        shared: Arc::new(shared),
        consumer,
        parts: BTreeMap::new(),
        running: FuturesUnordered::new(),
        revokes: Vec::new(),
        looking_up: HashSet::new(),
        wanted: context.wanted.subscribe(),
        mode: Mode::Run,
        throttled: false,
        watch_due: now,
        asking_highs: false,
        highs_failing: None,
        poll_backoff: Backoff::default(),
        poll_failing: None,
        poll_after: now,
        stuck_told: false,
        got_on: false,
    };
    task.show_state();
    let why = loop {
        if let Err(end) = task.turn().await {
            break end;
        }
    };
    let got_on = task.got_on;
    task.leave().await;
    Ended { why, got_on }
}

impl Task {
    /// One turn of the loop: first what time demands, then the first thing that happens.
    async fn turn(&mut self) -> Result<(), End> {
        self.follow_wishes();
        self.tend()?;
        if self.mode == Mode::Stop && self.is_drained() {
            return Err(End::Stopped);
        }
        let polling = Instant::now() >= self.poll_after;
        tokio::select! {
            biased;
            _ = self.wanted.changed() => Ok(()),
            Some(event) = self.running.next() => self.hear(event),
            polled = self.consumer.poll(POLL_RECORDS, POLL_WAIT), if polling => self.polled(polled),
            () = tokio::time::sleep(POLL_WAIT), if !polling => Ok(()),
        }
    }

    fn polled(&mut self, polled: Result<Polled, LogError>) -> Result<(), End> {
        let polled = match polled {
            Ok(polled) => polled,
            Err(error @ (LogError::Unavailable(_) | LogError::Denied(_))) => {
                warn!(connector = self.name(), %error, "The log gives no records; the task waits for it.");
                self.shared.outages.tell(&mut self.poll_failing, &Outage::log(&error));
                self.poll_after = Instant::now() + self.poll_backoff.next(None);
                return Ok(());
            }
            Err(error) => return Err(log_fault(&error)),
        };
        self.poll_backoff.reset();
        self.poll_failing = None;
        match polled {
            Polled::Records { epoch, records } => {
                crash_point!("consume.polled");
                self.take_in(epoch, records);
            }
            Polled::Eof { part, epoch, offset } => {
                if let Some(partition) = self.current(&part, epoch) {
                    partition.high = partition.high.max(offset);
                    if let Some(reading) = partition.reading_mut() {
                        reading.eof = Some(offset);
                    }
                }
            }
            Polled::Assigned(assigned) => self.assigned(assigned),
            Polled::Revoke(revoke) => self.revoked(revoke),
            Polled::Lost(parts) => self.lost(&parts),
            Polled::Idle => {}
        }
        Ok(())
    }

    fn hear(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Claimed { part, epoch, result } => self.claimed(&part, epoch, result),
            Event::Flushed { part, epoch, flushed } => self.flushed(&part, epoch, flushed),
            Event::Schema(id) => {
                self.looking_up.remove(&id);
                for reading in self.parts.values_mut().filter_map(Partition::reading_mut) {
                    reading.lookup = reading.lookup.filter(|waited| *waited != id);
                }
                Ok(())
            }
            Event::Highs { highs, fault } => {
                self.saw_highs(highs, fault.as_ref());
                Ok(())
            }
        }
    }

    /// What time and state demand: digest, flush, pause or resume, give back, claim again, watch.
    fn tend(&mut self) -> Result<(), End> {
        self.watch_memory();
        let names: Vec<TopicPartition> = self.parts.keys().cloned().collect();
        for part in &names {
            self.collect_letters(part)?;
            self.digest(part)?;
            self.flush_if_due(part);
            self.claim_again_if_due(part);
        }
        self.flush_for_memory();
        self.steer_consumer(&names)?;
        self.finish_revokes();
        self.watch()
    }

    fn follow_wishes(&mut self) {
        let wanted = self.wanted.borrow_and_update().mode;
        if wanted != self.mode {
            info!(connector = self.name(), task = self.shared.context.number, mode = ?wanted, "The task changes its mode.");
            self.mode = wanted;
            self.show_state();
        }
    }

    fn show_state(&self) {
        let TaskContext { number, board, .. } = &self.shared.context;
        let state = if self.mode == Mode::Pause { State::Paused } else { State::Running };
        board.task(*number, state, self.shared.outages.trouble());
    }

    fn name(&self) -> &str {
        &self.shared.context.settings.name
    }

    /// A partition, if it is still of this assignment; otherwise the result is counted as stale.
    fn current(&mut self, part: &TopicPartition, epoch: Epoch) -> Option<&mut Partition> {
        let context = &self.shared.context;
        let found = self.parts.get_mut(part).filter(|partition| partition.epoch == epoch);
        if found.is_none() {
            context.deps.metrics.stale_results.with_label_values(&[context.settings.name.as_str()]).inc();
        }
        found
    }

    fn is_drained(&self) -> bool {
        self.parts.values().all(Partition::is_drained) && self.revokes.is_empty()
    }

    /// Leaves the group. What runs beside the loop is dropped: a commit in flight may still count, and is right.
    async fn leave(self) {
        let Self { consumer, shared, parts, running, revokes, .. } = self;
        drop(running);
        // Nothing runs for them any more, and the group waits for them.
        drop(revokes);
        shared.outages.close();
        drop(parts);
        shared.context.board.leave(shared.context.number);
        if let Err(error) = consumer.close().await {
            warn!(connector = shared.context.settings.name, %error, "The consumer group was not left in order.");
        }
    }
}

fn log_fault(error: &LogError) -> End {
    match error {
        LogError::Fatal(_) => {
            End::Failed(Trouble { code: LOG_BROKEN, advice: format!("{error}. Restart the process.") })
        }
        LogError::Closed => End::Stopped,
        LogError::Invalid(why) => End::Failed(Trouble { code: "LOG_REFUSED", advice: why.clone() }),
        other => End::Restart(other.to_string()),
    }
}

/// Why a commit was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CommitEnd {
    /// The assignment is over, or the log believes so.
    Fenced,
    /// It was told to stop trying.
    GaveUp,
}

/// Commits one position: an intent (S3), or that a batch is done (S5). Nothing else in this program commits. If it is
/// not known what became of it, the same is sent again; a call that was made is always waited for.
async fn commit(
    shared: &Shared,
    part: &TopicPartition,
    epoch: Epoch,
    offset: Offset,
    metadata: String,
    cancel: &Cancel,
) -> Result<(), CommitEnd> {
    let committed = Committed { offset, metadata };
    let mut backoff = Backoff::default();
    let mut failing = None;
    loop {
        crash_point!("commit.before");
        let result = answer(shared.committer.commit(part, epoch, &committed)).await;
        crash_point!("commit.done");
        let why = match result {
            Ok(()) => return Ok(()),
            Err(CommitError::Fenced) => return Err(CommitEnd::Fenced),
            Err(error) => error,
        };
        warn!(connector = shared.context.settings.name, %part, %why, "A commit is sent again.");
        shared.outages.tell(&mut failing, &Outage::commit(part, &why));
        tokio::select! {
            () = cancel.hard.cancelled() => return Err(CommitEnd::GaveUp),
            () = tokio::time::sleep(backoff.next(None)) => {}
        }
    }
}

/// What the log answers to a commit. Its first poll, which sends it, stands apart: a crash can fall behind it.
async fn answer<T>(mut call: impl Future<Output = T> + Unpin) -> T {
    let first = futures_util::poll!(&mut call);
    crash_point!("commit.sent");
    match first {
        Poll::Ready(answer) => answer,
        Poll::Pending => call.await,
    }
}
