//! What is counted: one set per process, labelled by connector.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, core::Collector};

use crate::status::{State, TaskStatus};

/// Values of the label `topic` beyond this many become `other`.
const MAX_TOPICS: usize = 1000;

/// Metrics of all sinks of a process.
#[derive(Debug)]
pub struct SinkMetrics {
    pub(crate) lag: IntGaugeVec,
    pub(crate) rows: IntCounterVec,
    pub(crate) bytes: IntCounterVec,
    pub(crate) flushes: IntCounterVec,
    pub(crate) object_bytes: HistogramVec,
    pub(crate) oldest_seconds: GaugeVec,
    pub(crate) retries: IntCounterVec,
    pub(crate) dead_letters: IntCounterVec,
    pub(crate) dropped: IntCounterVec,
    pub(crate) stale_results: IntCounterVec,
    pub(crate) redo_mismatch: IntCounterVec,
    pub(crate) intent_adopted: IntCounterVec,
    pub(crate) rebased: IntCounterVec,
    states: IntGaugeVec,
    troubled: IntGaugeVec,
    /// Connectors and codes that `troubled` has had: they read 0 once the trouble is over.
    troubles: Mutex<HashSet<(String, &'static str)>>,
    topics: Mutex<HashSet<String>>,
}

impl SinkMetrics {
    /// Registers all; twice with one registry is an error.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let c =
            |name: &str, help: &str, labels: &[&str]| keep(registry, IntCounterVec::new(Opts::new(name, help), labels));
        let sizes = prometheus::exponential_buckets(4096.0, 4.0, 10)?;
        Ok(Self {
            lag: keep(
                registry,
                IntGaugeVec::new(
                    Opts::new("kafka_consumer_lag", "High watermark less committed offset."),
                    &["group", "topic", "partition"],
                ),
            )?,
            rows: c("forebay_sink_rows_total", "Rows in committed batches.", &["connector", "topic"])?,
            bytes: c("forebay_sink_bytes_total", "Bytes of files in committed batches.", &["connector", "topic"])?,
            flushes: c(
                "forebay_sink_flushes_total",
                "Batches committed, by why they were closed.",
                &["connector", "reason"],
            )?,
            object_bytes: keep(
                registry,
                HistogramVec::new(
                    HistogramOpts::new("forebay_sink_object_bytes", "Size of files written.").buckets(sizes),
                    &["connector"],
                ),
            )?,
            oldest_seconds: keep(
                registry,
                GaugeVec::new(
                    Opts::new(
                        "forebay_sink_oldest_uncommitted_seconds",
                        "Age of the oldest record read and not committed.",
                    ),
                    &["connector"],
                ),
            )?,
            retries: c(
                "forebay_sink_retries_total",
                "Tries after a failure, by class of the failure.",
                &["connector", "class"],
            )?,
            dead_letters: c(
                "forebay_sink_dead_letters_total",
                "Records sent to the DLQ, by reason.",
                &["connector", "reason"],
            )?,
            dropped: c("forebay_sink_dropped_total", "Records dropped on purpose, by why.", &["connector", "why"])?,
            stale_results: c(
                "forebay_sink_stale_results_total",
                "Results of a former assignment, ignored.",
                &["connector"],
            )?,
            redo_mismatch: c(
                "forebay_sink_redo_mismatch_total",
                "Finished intents whose row count had changed.",
                &["connector"],
            )?,
            intent_adopted: c(
                "forebay_sink_intent_adopted_total",
                "Groups found in the store and finished as an intent.",
                &["connector"],
            )?,
            rebased: c(
                "forebay_sink_rebased_total",
                "Partitions whose offset was moved by on_offset_mismatch.",
                &["connector"],
            )?,
            states: keep(
                registry,
                IntGaugeVec::new(Opts::new("forebay_sink_tasks", "Tasks by state."), &["connector", "state"]),
            )?,
            troubled: keep(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "forebay_sink_tasks_troubled",
                        "Tasks that wait for something outside or for a person, by the code in their status.",
                    ),
                    &["connector", "code"],
                ),
            )?,
            troubles: Mutex::default(),
            topics: Mutex::default(),
        })
    }

    /// The label for a topic: itself, or `other` once there are 1,000.
    pub(crate) fn topic<'a>(&self, topic: &'a str) -> &'a str {
        let mut known = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(topic) || (known.len() < MAX_TOPICS && known.insert(topic.to_owned())) {
            topic
        } else {
            "other"
        }
    }

    /// A connector's tasks, by state and by what is wrong.
    pub(crate) fn tasks(&self, connector: &str, tasks: &[TaskStatus]) {
        let count = |which: &dyn Fn(&TaskStatus) -> bool| {
            i64::try_from(tasks.iter().filter(|task| which(task)).count()).unwrap_or(i64::MAX)
        };
        for state in State::ALL {
            self.states.with_label_values(&[connector, state.label()]).set(count(&|task| task.state == state));
        }
        let code = |task: &TaskStatus| task.trouble.as_ref().map(|trouble| trouble.code);
        let mut known = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(tasks.iter().filter_map(code).map(|code| (connector.to_owned(), code)));
        for (of, known) in known.iter().filter(|(of, _)| of == connector) {
            self.troubled.with_label_values(&[of.as_str(), *known]).set(count(&|task| code(task) == Some(known)));
        }
    }
}

fn keep<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: Result<C, prometheus::Error>,
) -> Result<C, prometheus::Error> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_label_is_bounded() {
        let metrics = SinkMetrics::new(&Registry::new()).unwrap();
        let names: Vec<String> = (0..MAX_TOPICS + 5).map(|n| format!("t{n}")).collect();
        let others = names.iter().filter(|n| metrics.topic(n) == "other").count();
        assert_eq!(others, 5);
        assert_eq!(metrics.topic("t0"), "t0");
    }
}
