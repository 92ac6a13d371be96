//! When a batch is cut, and its flush begins.

use std::sync::Arc;

use forebay_broker::TopicPartition;
use tokio::time::Instant;

use super::{
    Cancel, Event, Mode, Task,
    flush::{Job, flush},
    partition::Partition,
};
use crate::{
    batch::{Demand, Open, Reason, due},
    memory::Pressure,
};

impl Task {
    /// Why the partition's batch is to be flushed now, if it is; `demand` is what the caller knows of, the redo and the
    /// drain stand in the task.
    pub(super) fn due(&self, part: &TopicPartition, demand: Demand) -> Option<Reason> {
        let reading = self.parts.get(part)?.reading()?;
        let redo = reading.redo_state();
        let open = reading.measure(Instant::now()).or(redo.map(|_| Open::default()))?;
        let demand = Demand { redo, drain: self.mode != Mode::Run, ..demand };
        due(&self.shared.context.settings.limits, &open, &demand)
    }

    pub(super) fn flush_if_due(&mut self, part: &TopicPartition) {
        if let Some(reason) = self.due(part, Demand::default()) {
            self.start_flush(part, reason);
        }
    }

    /// Near a limit of the whole task, the group that weighs most on it is flushed.
    pub(super) fn flush_for_memory(&mut self) {
        let limits = &self.shared.context.settings.limits;
        let pressed = self.shared.context.deps.memory.pressure() >= Pressure::High;
        let crowded = self.parts.values().map(Partition::files).sum::<usize>() >= limits.max_open_files;
        if !pressed && !crowded {
            return;
        }
        let free = self.parts.iter().filter_map(|(part, partition)| Some((part, partition.reading()?)));
        let free = free.filter(|(_, r)| r.flush.is_none() && r.redo.is_none() && r.rows() > 0);
        let demand = Demand { memory: pressed, open_files: crowded, ..Demand::default() };
        let heaviest = if pressed {
            free.max_by_key(|(_, r)| r.share.bytes())
        } else {
            free.min_by_key(|(_, r)| r.open.as_ref().map(|open| open.since))
        };
        if let Some(part) = heaviest.map(|(part, _)| part.clone())
            && let Some(reason) = self.due(&part, demand)
        {
            self.start_flush(&part, reason);
        }
    }

    /// Cuts what is open and sends it on its way. False: it can't now, because another flush runs, or
    /// there is nothing to cut; then nothing has changed.
    pub(super) fn start_flush(&mut self, part: &TopicPartition, reason: Reason) -> bool {
        let flushing = self.parts.values().filter(|p| p.is_flushing()).count();
        let shared = Arc::clone(&self.shared);
        let Some(partition) = self.parts.get_mut(part) else { return false };
        let (epoch, topic_id) = (partition.epoch, partition.topic_id.clone());
        let Some(reading) = partition.reading_mut() else { return false };
        if reading.flush.is_some() || flushing >= shared.context.settings.flushes_in_flight {
            return false;
        }
        let range = match &reading.redo {
            Some(intent) => reading.mark.cut_at(intent.end),
            None => reading.mark.cut(),
        };
        let Some(range) = range else { return false };
        let announced = reading.redo.take();
        let (content, letters) = reading.open.take().map_or((None, Vec::new()), |open| (open.group, open.letters));
        let mut share = shared.context.deps.memory.share();
        share.set(content.as_ref().map_or(0, |group| group.memory()));
        reading.account();
        let cancel = Cancel::default();
        reading.flush = Some(cancel.clone());
        let part = part.clone();
        let job = Job { part: part.clone(), epoch, topic_id, range, reason, letters, announced, cancel, share };
        self.running.push(Box::pin(async move {
            let flushed = flush(&shared, job, content).await;
            Event::Flushed { part, epoch, flushed }
        }));
        true
    }
}
