//! What a connector says about itself: a plain snapshot for people and for the HTTP service.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use forebay_broker::{Offset, TopicPartition};

use crate::{config::ConnectorSettings, metrics::SinkMetrics};

/// State of a connector or task, in Kafka Connect's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Started, no partition yet.
    #[default]
    Unassigned,
    /// At work.
    Running,
    /// Reads nothing until resumed.
    Paused,
    /// Between two tries.
    Restarting,
    /// A person must act: see code and advice.
    Failed,
    /// Ended as asked.
    Stopped,
}

impl State {
    /// Every state, so that metrics show each of them, also at 0.
    pub const ALL: [Self; 6] =
        [Self::Unassigned, Self::Running, Self::Paused, Self::Restarting, Self::Failed, Self::Stopped];

    /// As shown and as metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unassigned => "UNASSIGNED",
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Restarting => "RESTARTING",
            Self::Failed => "FAILED",
            Self::Stopped => "STOPPED",
        }
    }
}

/// Something that needs, or may need, a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Stable code, e.g. `TOPIC_RECREATED`, `BAD_RATE`, `STUCK`, `DESTINATION_DOWN`.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub advice: String,
}

/// The code of a log that only a new process mends.
pub(crate) const LOG_BROKEN: &str = "LOG_BROKEN";

impl Trouble {
    /// Of a failed task: the advice ends with the command that starts it again.
    pub(crate) fn with_command(self, connector: &str) -> Self {
        let Self { code, advice } = self;
        if code == LOG_BROKEN {
            return Self { code, advice };
        }
        let advice = advice.trim_end_matches('.');
        let advice = format!(
            "{advice}. Then: `forebay connectors restart {connector}`, or start the process anew if you changed its \
             configuration."
        );
        Self { code, advice }
    }
}

/// One task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskStatus {
    /// What it does now.
    pub state: State,
    /// Why it is not well, if it is not.
    pub trouble: Option<Trouble>,
}

/// One assigned partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Topic and partition.
    pub part: TopicPartition,
    /// Task that has it.
    pub task: usize,
    /// Committed: everything below is in the store, in the DLQ, or dropped on purpose and counted.
    pub committed: Offset,
    /// High watermark, when last asked.
    pub high: Offset,
    /// Records not yet committed: `high - committed`.
    pub lag: i64,
}

/// A connector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectorStatus {
    /// Its key under `connectors:` in the configuration.
    pub name: String,
    /// The worst of its tasks.
    pub state: State,
    /// Its tasks: the index is the task's number.
    pub tasks: Vec<TaskStatus>,
    /// Partitions that its tasks have claimed, sorted by topic and number.
    pub partitions: Vec<PartitionStatus>,
    /// Records not yet committed, over these partitions.
    pub lag: i64,
    /// Rows written since start.
    pub rows: u64,
    /// Bytes of the files written since start.
    pub bytes: u64,
    /// Dead letters since start.
    pub dead_letters: u64,
    /// Last commit of rows, ms since the epoch.
    pub last_flush_ms: Option<i64>,
    /// The first trouble among the tasks.
    pub trouble: Option<Trouble>,
}

/// Where tasks write their state down, and the connector and the metrics get it from.
#[derive(Debug)]
pub(crate) struct Board {
    connector: String,
    group: String,
    metrics: Arc<SinkMetrics>,
    facts: Mutex<Facts>,
}

#[derive(Debug, Default)]
struct Facts {
    tasks: Vec<TaskStatus>,
    /// Of each task: the age of the oldest record that it has read and not committed.
    oldest: Vec<Duration>,
    partitions: BTreeMap<TopicPartition, PartitionStatus>,
    rows: u64,
    bytes: u64,
    dead_letters: u64,
    last_flush_ms: Option<i64>,
}

impl Board {
    pub(crate) fn new(settings: &ConnectorSettings, metrics: Arc<SinkMetrics>) -> Arc<Self> {
        let (connector, tasks) = (settings.name.clone(), settings.tasks_max);
        let facts = Facts {
            tasks: vec![TaskStatus::default(); tasks],
            oldest: vec![Duration::ZERO; tasks],
            ..Facts::default()
        };
        metrics.tasks(&connector, &facts.tasks);
        Arc::new(Self { connector, group: settings.group(), metrics, facts: Mutex::new(facts) })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Facts) -> T) -> T {
        change(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, task: usize, change: impl FnOnce(&mut TaskStatus)) {
        self.with(|facts| {
            if let Some(status) = facts.tasks.get_mut(task) {
                change(status);
                self.metrics.tasks(&self.connector, &facts.tasks);
            }
        });
    }

    pub(crate) fn task(&self, task: usize, state: State, trouble: Option<Trouble>) {
        self.change(task, |status| *status = TaskStatus { state, trouble });
    }

    pub(crate) fn trouble(&self, task: usize, trouble: Option<Trouble>) {
        self.change(task, |status| status.trouble = trouble);
    }

    pub(crate) fn partition(&self, task: usize, part: &TopicPartition, committed: Offset, high: Option<Offset>) {
        self.with(|facts| {
            let status = facts.partitions.entry(part.clone()).or_insert_with(|| PartitionStatus {
                part: part.clone(),
                task,
                committed,
                high: committed,
                lag: 0,
            });
            status.task = task;
            status.committed = committed;
            status.high = high.unwrap_or(status.high).max(committed);
            status.lag = status.high - committed;
            self.metrics.lag.with_label_values(&self.lag_labels(part)).set(status.lag);
        });
    }

    fn lag_labels<'a>(&'a self, part: &'a TopicPartition) -> [String; 3] {
        [self.group.clone(), self.metrics.topic(&part.topic).to_owned(), part.partition.to_string()]
    }

    /// How long the oldest record waits that the task has read and not committed. The metric shows the longest of all.
    pub(crate) fn oldest(&self, task: usize, age: Duration) {
        self.with(|facts| {
            if let Some(oldest) = facts.oldest.get_mut(task) {
                *oldest = age;
            }
            let longest = facts.oldest.iter().max().copied().unwrap_or_default();
            self.metrics.oldest_seconds.with_label_values(&[&*self.connector]).set(longest.as_secs_f64());
        });
    }

    /// The task has this partition no more; one that another task has taken over is that one's.
    pub(crate) fn forget(&self, task: usize, part: &TopicPartition) {
        self.with(|facts| {
            if facts.partitions.get(part).is_some_and(|status| status.task == task) {
                facts.partitions.remove(part);
                // There: it came with the partition.
                let _ = self.metrics.lag.remove_label_values(&self.lag_labels(part));
            }
        });
    }

    /// The task is over: it has no partition and waits with no record.
    pub(crate) fn leave(&self, task: usize) {
        let parts = self.with(|facts| facts.partitions.keys().cloned().collect::<Vec<_>>());
        parts.iter().for_each(|part| self.forget(task, part));
        self.oldest(task, Duration::ZERO);
    }

    pub(crate) fn flushed(&self, rows: u64, bytes: u64, now_ms: i64) {
        self.with(|facts| {
            facts.rows += rows;
            facts.bytes += bytes;
            facts.last_flush_ms = Some(now_ms);
        });
    }

    pub(crate) fn dead_letters(&self, count: u64) {
        self.with(|facts| facts.dead_letters += count);
    }

    pub(crate) fn snapshot(&self) -> ConnectorStatus {
        self.with(|facts| {
            let partitions: Vec<_> = facts.partitions.values().cloned().collect();
            ConnectorStatus {
                name: self.connector.clone(),
                state: worst(&facts.tasks),
                tasks: facts.tasks.clone(),
                lag: partitions.iter().map(|p| p.lag).sum(),
                partitions,
                rows: facts.rows,
                bytes: facts.bytes,
                dead_letters: facts.dead_letters,
                last_flush_ms: facts.last_flush_ms,
                trouble: facts.tasks.iter().find_map(|t| t.trouble.clone()),
            }
        })
    }
}

/// A failed task is never hidden behind a running one.
fn worst(tasks: &[TaskStatus]) -> State {
    let order = [State::Failed, State::Restarting, State::Paused, State::Running, State::Unassigned, State::Stopped];
    order.into_iter().find(|state| tasks.iter().any(|t| t.state == *state)).unwrap_or(State::Stopped)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use prometheus::{Encoder, Registry, TextEncoder};

    use super::*;
    use crate::config::ConnectorOptions;

    fn board(registry: &Registry) -> Arc<Board> {
        let options = ConnectorOptions { tasks_max: Some(2), ..ConnectorOptions::default() };
        let settings = options.resolve("lake", Path::new("/"), Path::new("/lake")).unwrap();
        Board::new(&settings, Arc::new(SinkMetrics::new(registry).unwrap()))
    }

    /// Lines of the metrics that begin so and are not 0.
    fn told(registry: &Registry, start: &str) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines = text.lines().filter(|line| line.starts_with(start) && !line.ends_with(" 0"));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_failed_task_shows() {
        let board = board(&Registry::new());
        board.task(0, State::Running, None);
        let trouble = Trouble { code: "KEY_TAKEN", advice: "move it".to_owned() };
        board.task(1, State::Failed, Some(trouble.clone()));
        let status = board.snapshot();
        assert_eq!((status.state, status.trouble), (State::Failed, Some(trouble)));
    }

    #[test]
    fn lag_is_high_less_committed_and_a_lost_partition_leaves() {
        let board = board(&Registry::new());
        let part = TopicPartition::new("t", 0);
        board.partition(0, &part, 5, Some(12));
        assert_eq!(board.snapshot().lag, 7);
        board.partition(1, &part, 12, None);
        board.forget(0, &part);
        assert_eq!(board.snapshot().partitions.len(), 1, "it moved to task 1 already");
        board.forget(1, &part);
        assert!(board.snapshot().partitions.is_empty());
    }

    #[test]
    fn lag_leaves_the_metrics_with_its_partition() {
        let registry = Registry::new();
        let board = board(&registry);
        let lag = |partition, lag| {
            format!(r#"kafka_consumer_lag{{group="connect-lake",partition="{partition}",topic="t"}} {lag}"#)
        };
        for (task, partition) in [(0, 0), (0, 1), (1, 2)] {
            board.partition(task, &TopicPartition::new("t", partition), 5, Some(12));
        }
        board.partition(1, &TopicPartition::new("t", 1), 6, None);
        board.leave(0);
        assert_eq!(told(&registry, "kafka_consumer_lag"), [lag(1, 6), lag(2, 7)].join("\n"), "1 is of task 1 by now");
        board.forget(1, &TopicPartition::new("t", 2));
        assert_eq!(told(&registry, "kafka_consumer_lag"), lag(1, 6));
    }

    #[test]
    fn the_oldest_record_of_all_tasks_counts() {
        let registry = Registry::new();
        let board = board(&registry);
        let told = || told(&registry, "forebay_sink_oldest").replace("forebay_sink_oldest_uncommitted_seconds", "");
        board.oldest(1, Duration::from_secs(70));
        board.oldest(0, Duration::from_secs(3));
        assert_eq!(told(), r#"{connector="lake"} 70"#);
        board.leave(1);
        assert_eq!(told(), r#"{connector="lake"} 3"#);
    }

    #[test]
    fn metrics_tell_states_and_what_is_wrong() {
        let registry = Registry::new();
        let board = board(&registry);
        let told = || told(&registry, "forebay_sink_tasks");
        assert_eq!(told(), r#"forebay_sink_tasks{connector="lake",state="UNASSIGNED"} 2"#);
        board.task(0, State::Running, None);
        let down = Trouble { code: "DESTINATION_DOWN", advice: "no route".to_owned() };
        board.trouble(0, Some(down.clone()));
        board.task(1, State::Failed, Some(Trouble { code: "KEY_TAKEN", advice: "move it".to_owned() }));
        let both = [
            r#"forebay_sink_tasks{connector="lake",state="FAILED"} 1"#,
            r#"forebay_sink_tasks{connector="lake",state="RUNNING"} 1"#,
            r#"forebay_sink_tasks_troubled{code="DESTINATION_DOWN",connector="lake"} 1"#,
            r#"forebay_sink_tasks_troubled{code="KEY_TAKEN",connector="lake"} 1"#,
        ];
        assert_eq!(told(), both.join("\n"));
        board.task(1, State::Running, Some(down));
        board.trouble(0, None);
        let one = [
            r#"forebay_sink_tasks{connector="lake",state="RUNNING"} 2"#,
            r#"forebay_sink_tasks_troubled{code="DESTINATION_DOWN",connector="lake"} 1"#,
        ];
        assert_eq!(told(), one.join("\n"), "a trouble that is over reads 0");
    }
}
