//! What is watched by time: memory, lag, and whether the task still gets on.

use std::sync::Arc;

use forebay_broker::{LogError, Offset, TopicPartition};
use tokio::time::{Duration, Instant};
use tracing::{error, info};

use super::{End, Event, Mode, Task, TaskContext, outage::Outage, partition::Partition};
use crate::{batch::Reason, memory::Pressure, status::Trouble};

/// How often the task looks at itself, and asks the log for its high watermarks.
const WATCH_EVERY: Duration = Duration::from_secs(1);

impl Task {
    /// Over the budget nothing is read, until it is well below again.
    pub(super) fn watch_memory(&mut self) {
        match self.shared.context.deps.memory.pressure() {
            Pressure::Full => self.throttled = true,
            Pressure::Low => self.throttled = false,
            Pressure::Middle | Pressure::High => {}
        }
    }

    /// Pauses what can't be taken in now, resumes what can. A redo is never held up: it must reach its end.
    pub(super) fn steer_consumer(&mut self, names: &[TopicPartition]) -> Result<(), End> {
        for name in names {
            let Some(partition) = self.parts.get_mut(name) else { continue };
            let Some(reading) = partition.reading() else { continue };
            let full = self.throttled && reading.redo.is_none();
            let wanted = full || reading.is_held() || self.mode != Mode::Run || !reading.waiting.is_empty();
            if wanted == partition.paused {
                continue;
            }
            partition.paused = wanted;
            let one = std::slice::from_ref(name);
            let answer = if wanted { self.consumer.pause(one) } else { self.consumer.resume(one) };
            self.steered(name, answer)?;
        }
        Ok(())
    }

    /// Asks for high watermarks when it is time, and sees whether partitions with lag get on.
    pub(super) fn watch(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if now < self.watch_due {
            return Ok(());
        }
        self.watch_due = now + WATCH_EVERY;
        self.ask_highs();
        self.show_age(now);
        self.find_stuck(now)
    }

    /// One question at a time: a log that is slow or away must not gather them.
    fn ask_highs(&mut self) {
        if std::mem::replace(&mut self.asking_highs, true) {
            return;
        }
        let parts: Vec<TopicPartition> =
            self.parts.iter().filter(|(_, p)| p.reading().is_some()).map(|(n, _)| n.clone()).collect();
        let shared = Arc::clone(&self.shared);
        self.running.push(Box::pin(async move {
            let mut highs = Vec::with_capacity(parts.len());
            let mut fault = None;
            for part in parts {
                match shared.context.deps.log.watermarks(&part).await {
                    Ok(bounds) => highs.push((part, bounds.high)),
                    // A topic that is gone is the group's to tell.
                    Err(LogError::UnknownTopic(_)) => {}
                    Err(error) => {
                        fault = Some(error);
                        break;
                    }
                }
            }
            Event::Highs { highs, fault }
        }));
    }

    fn show_age(&self, now: Instant) {
        let TaskContext { number, board, .. } = &self.shared.context;
        let oldest = self.parts.values().filter_map(|p| p.measure(now)).map(|open| open.age).max();
        board.oldest(*number, oldest.unwrap_or_default());
    }

    fn find_stuck(&mut self, now: Instant) -> Result<(), End> {
        let limit = self.shared.context.settings.stuck_after;
        if self.shared.outages.last() || self.mode != Mode::Run {
            for partition in self.parts.values_mut() {
                partition.progress = now;
            }
            return Ok(());
        }
        let idle = |p: &Partition| now.saturating_duration_since(p.progress);
        let longest = self.parts.iter().filter(|(_, p)| p.high > p.committed).max_by_key(|(_, p)| idle(p));
        let Some((part, partition)) = longest.filter(|(_, p)| idle(p) >= limit) else {
            if std::mem::take(&mut self.stuck_told) {
                info!(connector = self.name(), "The task gets on again.");
                self.show_state();
            }
            return Ok(());
        };
        let lag = partition.high - partition.committed;
        let advice = format!(
            "{part} has {lag} records to write, and none was committed for {} s though the destination answers.",
            idle(partition).as_secs()
        );
        let trouble = Trouble { code: "STUCK", advice };
        if idle(partition) >= limit * 2 {
            return Err(End::Stuck(trouble));
        }
        if !self.stuck_told {
            self.stuck_told = true;
            error!(connector = self.name(), advice = trouble.advice, "The task does not get on.");
            self.shared.context.board.trouble(self.shared.context.number, Some(trouble));
        }
        Ok(())
    }

    pub(super) fn saw_highs(&mut self, highs: Vec<(TopicPartition, Offset)>, fault: Option<&LogError>) {
        self.asking_highs = false;
        match fault {
            Some(error) => self.shared.outages.tell(&mut self.highs_failing, &Outage::log(error)),
            None => self.highs_failing = None,
        }
        for (part, high) in highs {
            if let Some(partition) = self.parts.get_mut(&part) {
                partition.high = partition.high.max(high);
                if partition.high <= partition.committed {
                    partition.progress = Instant::now();
                }
                self.show_lag(&part);
            }
        }
    }

    fn show_lag(&self, part: &TopicPartition) {
        let TaskContext { number, board, .. } = &self.shared.context;
        let Some(partition) = self.parts.get(part) else { return };
        board.partition(*number, part, partition.committed, Some(partition.high));
    }

    /// A batch is in the store and committed.
    pub(super) fn count(&self, part: &TopicPartition, reason: Reason, rows: u64, file_bytes: &[u64]) {
        let TaskContext { settings, deps, board, .. } = &self.shared.context;
        let (name, topic) = (settings.name.as_str(), deps.metrics.topic(&part.topic));
        let bytes = file_bytes.iter().sum();
        deps.metrics.rows.with_label_values(&[name, topic]).inc_by(rows);
        deps.metrics.bytes.with_label_values(&[name, topic]).inc_by(bytes);
        deps.metrics.flushes.with_label_values(&[name, reason.label()]).inc();
        for size in file_bytes {
            deps.metrics.object_bytes.with_label_values(&[name]).observe(*size as f64);
        }
        if rows > 0 {
            board.flushed(rows, bytes, jiff::Timestamp::now().as_millisecond());
        }
        self.show_lag(part);
    }
}
