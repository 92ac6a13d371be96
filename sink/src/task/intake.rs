//! From polled records to open groups, and from open groups to flushes: what the loop does with each partition.

use std::{collections::BTreeSet, sync::Arc};

use forebay_avro::registry::RegistryError;
use forebay_broker::{
    Epoch, Record, TopicPartition,
    dead_letter::{Reason as DlqReason, Stage},
};
use tokio::time::Instant;
use tracing::warn;

use super::{
    End, Event, Mode, Task, TaskContext,
    claim::trouble,
    letters::verdicts,
    outage::Outage,
    partition::{MAX_LETTER_CALLS, OpenGroup, Reading, size},
};
use crate::{
    batch::Demand,
    config::{NullValues, OnBadRecord},
    converter::Converted,
    crash_point,
    dlq::{Rejection, writer::Rejected},
    sinks::{Added, GroupSpec, Row, SinkError},
};

/// Rows handed to a sink at once.
const CHUNK_ROWS: usize = 500;

/// Records taken from those waiting.
#[derive(Default)]
struct Chunk {
    rows: Vec<Row>,
    /// The record of each row.
    records: Vec<Record>,
    letters: Vec<Rejected>,
    dropped: u64,
    stop: Stop,
}

/// Why a chunk ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stop {
    #[default]
    Room,
    RedoEnd,
    Schema,
    NeedsSchema(u32),
}

impl Chunk {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.letters.is_empty() && self.dropped == 0
    }
}

impl Task {
    /// Records of one partition came; those of a former assignment are dropped.
    pub(super) fn take_in(&mut self, epoch: Epoch, records: Vec<Record>) {
        let Some(part) = records.first().map(|record| record.part.clone()) else { return };
        let Some(partition) = self.current(&part, epoch) else { return };
        partition.high = records.last().map_or(partition.high, |last| partition.high.max(last.offset + 1));
        if let Some(reading) = partition.reading_mut() {
            reading.waiting_bytes += records.iter().map(size).sum::<usize>();
            reading.waiting.extend(records);
            reading.account();
        }
    }

    /// Converts and encodes what waits, as far as it may go now.
    pub(super) fn digest(&mut self, part: &TopicPartition) -> Result<(), End> {
        loop {
            if let Some(reason) = self.due(part, Demand::default())
                && !self.start_flush(part, reason)
            {
                return Ok(());
            }
            self.heed_eof(part);
            let Some(chunk) = self.take_chunk(part) else { return Ok(()) };
            let stop = chunk.stop;
            self.apply(part, chunk)?;
            match stop {
                Stop::Room | Stop::RedoEnd => {}
                Stop::Schema => {
                    let due = self.due(part, Demand { schema: true, ..Demand::default() });
                    if !due.is_some_and(|reason| self.start_flush(part, reason)) {
                        return Ok(());
                    }
                }
                Stop::NeedsSchema(id) => {
                    self.look_up(part, id);
                    return Ok(());
                }
            }
        }
    }

    fn take_chunk(&mut self, part: &TopicPartition) -> Option<Chunk> {
        let context = &self.shared.context;
        let reading = self.parts.get_mut(part)?.reading_mut()?;
        let calls = if context.settings.on_bad_record == OnBadRecord::Fail { 1 } else { MAX_LETTER_CALLS };
        let blocked = reading.is_held() || reading.lookup.is_some() || reading.letter_calls() >= calls;
        if self.mode != Mode::Run || blocked || reading.waiting.is_empty() {
            return None;
        }
        reading.hold = None;
        Some(cut_chunk(context, reading))
    }

    /// Rows into the open group, bad records to the DLQ.
    fn apply(&mut self, part: &TopicPartition, chunk: Chunk) -> Result<(), End> {
        if chunk.is_empty() {
            return Ok(());
        }
        let Chunk { rows, records, mut letters, dropped, .. } = chunk;
        let rejected = match self.add(part, &rows) {
            Ok(added) => added.rejected,
            Err(SinkError::Retry { why, after }) => return self.hold(part, &why, after),
            Err(error) => return Err(End::Failed(trouble(error))),
        };
        let rejected = rejected.into_iter();
        letters.extend(rejected.filter_map(|(index, why)| Some(Rejected { record: records.get(index)?.clone(), why })));
        letters.sort_by_key(|letter| letter.record.offset);
        let TaskContext { settings, deps, .. } = &self.shared.context;
        deps.metrics.dropped.with_label_values(&[settings.name.as_str(), "null_value"]).inc_by(dropped);
        let verdicts = verdicts(&records, &letters);
        self.send_letters(part, letters);
        if let Some(reading) = self.reading(part) {
            reading.account();
        }
        self.judge(verdicts);
        Ok(())
    }

    /// Opens the batch if this is its first chunk, and encodes the rows.
    fn add(&mut self, part: &TopicPartition, rows: &[Row]) -> Result<Added, SinkError> {
        let TaskContext { deps, sink, .. } = &self.shared.context;
        let Some(partition) = self.parts.get_mut(part) else { return Ok(Added::default()) };
        let (epoch, topic_id) = (partition.epoch, partition.topic_id.clone());
        let Some(reading) = partition.reading_mut() else { return Ok(Added::default()) };
        let open = reading.open.get_or_insert_with(OpenGroup::now);
        if rows.is_empty() {
            return Ok(Added::default());
        }
        crash_point!("convert.done");
        if let Some(group) = &mut open.group {
            return group.add(rows);
        }
        let spec = GroupSpec {
            part: part.clone(),
            cluster_id: deps.log.cluster_id().into(),
            topic_id,
            epoch,
            start: reading.mark.start(),
            cfg: reading.redo.as_ref().map_or_else(|| sink.cfg().to_owned(), |intent| intent.cfg.clone()),
        };
        open.group.insert(sink.open(&spec)?).add(rows)
    }

    /// Encoding failed for want of disk space or the like: what is open is dropped and read again later.
    fn hold(&mut self, part: &TopicPartition, why: &str, after: Option<std::time::Duration>) -> Result<(), End> {
        let name = self.name().to_owned();
        let Some(partition) = self.parts.get_mut(part) else { return Ok(()) };
        self.shared.outages.tell(&mut partition.failing, &Outage::spill(why));
        let delay = partition.backoff.next(after);
        let Some(reading) = partition.reading_mut() else { return Ok(()) };
        reading.rewind();
        reading.hold = Some(Instant::now() + delay);
        let start = reading.mark.start();
        warn!(connector = name, %part, why, delay_ms = delay.as_millis(), "Rows can't be encoded now; they will be read again.");
        let answer = self.consumer.seek(part, start);
        self.steered(part, answer)
    }

    fn look_up(&mut self, part: &TopicPartition, id: u32) {
        if let Some(reading) = self.reading(part) {
            reading.lookup = Some(id);
        }
        if !self.looking_up.insert(id) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.running.push(Box::pin(async move {
            let mut failing = None;
            let failed = |error: &RegistryError| shared.outages.tell(&mut failing, &Outage::registry(error));
            shared.context.converter.look_up(id, failed).await;
            Event::Schema(id)
        }));
    }

    /// The partition ends here, and everything before was taken: also what can't be seen is done (gaps).
    fn heed_eof(&mut self, part: &TopicPartition) {
        let Some(reading) = self.reading(part).filter(|reading| reading.redo.is_none()) else { return };
        if !reading.waiting.is_empty() {
            return;
        }
        if let Some(end) = reading.eof.take() {
            reading.mark.reached(end);
            if reading.open.is_none() && reading.mark.position() > reading.mark.start() {
                reading.open = Some(OpenGroup::now());
            }
        }
    }

    pub(super) fn reading(&mut self, part: &TopicPartition) -> Option<&mut Reading> {
        self.parts.get_mut(part)?.reading_mut()
    }
}

/// Takes records until a chunk is full, or something must happen before the next one.
fn cut_chunk(context: &TaskContext, reading: &mut Reading) -> Chunk {
    let TaskContext { settings, converter, .. } = context;
    let mut chunk = Chunk::default();
    let mut ids = BTreeSet::new();
    let left = usize::try_from(settings.limits.max_rows.saturating_sub(reading.rows())).unwrap_or(usize::MAX);
    let room = if reading.redo.is_some() { CHUNK_ROWS } else { CHUNK_ROWS.min(left) };
    while chunk.rows.len() < room {
        let Some(record) = reading.waiting.front() else { break };
        if reading.redo.as_ref().is_some_and(|intent| record.offset > intent.end) {
            chunk.stop = Stop::RedoEnd;
            break;
        }
        let converted = converter.convert(record);
        if let Converted::NeedsSchema(id) = converted {
            chunk.stop = Stop::NeedsSchema(id);
            break;
        }
        if let Converted::Row(row) = &converted {
            ids.insert(row.schema_id);
            let group = reading.group();
            let full = group.map_or(ids.len() > 4, |group| group.is_full_for(&ids));
            if full && reading.redo.is_none() {
                chunk.stop = Stop::Schema;
                break;
            }
        }
        let Some(record) = reading.waiting.pop_front() else { break };
        reading.waiting_bytes = reading.waiting_bytes.saturating_sub(size(&record));
        if !reading.mark.read(record.offset) {
            crash_point!("task.skipped");
            continue;
        }
        match converted {
            Converted::Row(row) => {
                chunk.rows.push(row);
                chunk.records.push(record);
            }
            Converted::Rejected(why) => chunk.letters.push(Rejected { record, why }),
            Converted::Null if settings.null_values == NullValues::Ignore => {
                crash_point!("task.skipped");
                chunk.dropped += 1;
            }
            Converted::Null => {
                let message = "The record has no value (a tombstone), and this sink has nothing to write for it.";
                let why = Rejection::new(DlqReason::NullValue, Stage::TaskPut, "forebay.sink.lake", message);
                chunk.letters.push(Rejected { record, why });
            }
            Converted::NeedsSchema(_) => {}
        }
    }
    chunk
}
