//! What a task needs and can't have now. It waits, for ever, and shows meanwhile what for; the watchdog holds still.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use forebay_broker::{CommitError, LogError, TopicPartition};

use super::TaskContext;
use crate::{
    sinks::SinkError,
    status::{LOG_BROKEN, Trouble},
};

/// Something outside that does not work now.
#[derive(Debug)]
pub(super) struct Outage {
    pub code: &'static str,
    /// Label of the metric of retries.
    kind: &'static str,
    pub why: String,
    /// Its own wish, how long to wait.
    pub after: Option<Duration>,
}

impl Outage {
    pub fn destination(why: String, after: Option<Duration>) -> Self {
        Self { code: "DESTINATION_DOWN", kind: "destination", why, after }
    }

    pub fn registry(why: &impl ToString) -> Self {
        Self { code: "REGISTRY_DOWN", kind: "registry", why: why.to_string(), after: None }
    }

    pub fn dead_letters(why: &str) -> Self {
        let why = format!("Dead letters can't be written: {why}. Their partition waits until they can.");
        Self { code: "DLQ_DOWN", kind: "dlq", why, after: None }
    }

    pub fn log(error: &LogError) -> Self {
        let (code, hope) = match error {
            LogError::Denied(_) => ("LOG_DENIED", "Mend the rights; then the task goes on by itself."),
            _ => ("LOG_DOWN", "The task goes on by itself once the log answers."),
        };
        Self { code, kind: "log", why: format!("{error}. {hope}"), after: None }
    }

    pub fn commit(part: &TopicPartition, error: &CommitError) -> Self {
        let why = format!("The position of {part} is not committed: {error}. The log is asked again until it is.");
        Self { code: "LOG_DOWN", kind: "commit", why, after: None }
    }

    /// Open files could not be written on.
    pub fn spill(why: &str) -> Self {
        let why = format!("{why}: make room for temporary files (data_dir/tmp). Their rows are read again until then.");
        Self { code: "SPILL_FAILED", kind: "destination", why, after: None }
    }
}

/// Why a call did not succeed.
#[derive(Debug)]
pub(super) enum Refused {
    ForNow(Outage),
    /// Never `Retry`.
    ForGood(SinkError),
}

impl From<SinkError> for Refused {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::Retry { why, after } => Self::ForNow(Outage::destination(why, after)),
            error => Self::ForGood(error),
        }
    }
}

impl From<LogError> for Refused {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Fatal(why) => Self::ForGood(SinkError::stop(LOG_BROKEN, format!("{why}. Restart the process."))),
            error => Self::ForNow(Outage::log(&error)),
        }
    }
}

/// The outages of a task that last.
pub(super) struct Outages {
    context: TaskContext,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    /// By the order in which they began: the last is shown.
    lasting: BTreeMap<u64, Trouble>,
    begun: u64,
    /// The task is over: its status is no longer ours.
    over: bool,
}

/// An outage that lasts as long as this lives.
pub(super) struct Failing {
    outages: Arc<Outages>,
    number: u64,
}

impl Outages {
    pub fn of(context: &TaskContext) -> Arc<Self> {
        Arc::new(Self { context: context.clone(), now: Mutex::default() })
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more failed try; `failing` lasts until the caller drops it.
    pub fn tell(self: &Arc<Self>, failing: &mut Option<Failing>, outage: &Outage) {
        let labels = [self.context.settings.name.as_str(), outage.kind];
        self.context.deps.metrics.retries.with_label_values(&labels).inc();
        let mut now = self.now();
        let number = failing.as_ref().map_or(now.begun, |failing| failing.number);
        if failing.is_none() {
            now.begun += 1;
        }
        now.lasting.insert(number, Trouble { code: outage.code, advice: outage.why.clone() });
        self.show(&now);
        drop(now);
        failing.get_or_insert_with(|| Failing { outages: Arc::clone(self), number });
    }

    pub fn last(&self) -> bool {
        !self.now().lasting.is_empty()
    }

    /// What to show of the task now.
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble_of(&self.now())
    }

    fn trouble_of(&self, now: &Now) -> Option<Trouble> {
        now.lasting.values().next_back().cloned().or_else(|| self.context.wanted.borrow().trouble.clone())
    }

    fn show(&self, now: &Now) {
        if !now.over {
            self.context.board.trouble(self.context.number, self.trouble_of(now));
        }
    }

    /// The task is over; calls that still run show nothing more.
    pub fn close(&self) {
        self.now().over = true;
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        let mut now = self.outages.now();
        now.lasting.remove(&self.number);
        self.outages.show(&now);
    }
}
