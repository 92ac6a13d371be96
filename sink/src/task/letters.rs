//! Bad records: their dead letters, and the breaker that pauses the connector when most records are bad.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
};

use forebay_broker::{Offset, Record, TopicPartition};
use futures_util::FutureExt;
use tokio_util::task::AbortOnDropHandle;

use super::{End, Mode, Task, TaskContext, outage::Outage};
use crate::{
    config::OnBadRecord,
    dlq::{Rejection, writer::Rejected},
    status::Trouble,
};

impl Task {
    pub(super) fn send_letters(&mut self, part: &TopicPartition, mut letters: Vec<Rejected>) {
        let TaskContext { number, settings, dlq, board, .. } = &self.shared.context;
        let Some(partition) = self.parts.get_mut(part) else { return };
        let topic_id = partition.topic_id.clone();
        let open = partition.reading_mut().and_then(|reading| reading.open.as_mut());
        let Some(open) = open.filter(|_| !letters.is_empty()) else { return };
        let fail = settings.on_bad_record == OnBadRecord::Fail;
        if fail {
            letters.truncate(1);
        }
        let (dlq, board, outages) = (Arc::clone(dlq), Arc::clone(board), Arc::clone(&self.shared.outages));
        let number = *number;
        let bad = letters.first().filter(|_| fail).map(|letter| bad_record(&letter.record, &letter.why));
        let call = async move {
            let count = letters.len() as u64;
            let mut failing = None;
            let failed = |why: &str| outages.tell(&mut failing, &Outage::dead_letters(why));
            dlq.send(number, topic_id, letters, failed).await?;
            board.dead_letters(count);
            bad.map_or(Ok(()), Err)
        };
        open.letters.push(AbortOnDropHandle::new(tokio::spawn(call)));
    }

    /// Strikes off calls of dead letters that have their receipts.
    pub(super) fn collect_letters(&mut self, part: &TopicPartition) -> Result<(), End> {
        let Some(open) = self.reading(part).and_then(|reading| reading.open.as_mut()) else { return Ok(()) };
        let mut failed = None;
        open.letters.retain_mut(|call| match call.now_or_never() {
            None => true,
            Some(Ok(Ok(()))) => false,
            Some(Ok(Err(trouble))) => {
                failed = Some(End::Failed(trouble));
                false
            }
            Some(Err(error)) => {
                failed = Some(End::Restart(format!("sending dead letters was cut off: {error}")));
                false
            }
        });
        failed.map_or(Ok(()), Err)
    }

    /// Verdicts for the bad-rate breaker, which all tasks share.
    pub(super) fn judge(&self, verdicts: impl IntoIterator<Item = bool>) {
        let mut rate = self.shared.context.bad_rate.lock().unwrap_or_else(PoisonError::into_inner);
        let trips = verdicts.into_iter().filter(|bad| rate.saw(*bad)).count();
        if trips > 0 {
            rate.reset();
            self.trip();
        }
    }

    /// Too many bad records: the fault is elsewhere. All tasks pause until a person resumes.
    fn trip(&self) {
        let TaskContext { settings, wanted, .. } = &self.shared.context;
        let advice = format!(
            "More than {} % of the last records are bad (see the dead letters). Mend the cause, then: `forebay \
             connectors resume {}`; errors.max_rate: 1 turns this check off.",
            settings.max_error_rate * 100.0,
            settings.name
        );
        wanted.send_modify(|wanted| {
            if wanted.mode == Mode::Run {
                wanted.mode = Mode::Pause;
                wanted.trouble = Some(Trouble { code: "BAD_RATE", advice });
            }
        });
    }
}

/// Whether each record is bad, in the order of the log. A row that could not be encoded is among both.
pub(super) fn verdicts(of_rows: &[Record], letters: &[Rejected]) -> impl Iterator<Item = bool> + use<> {
    let mut verdicts: BTreeMap<Offset, bool> = of_rows.iter().map(|record| (record.offset, false)).collect();
    verdicts.extend(letters.iter().map(|letter| (letter.record.offset, true)));
    verdicts.into_values()
}

fn bad_record(record: &Record, why: &Rejection) -> Trouble {
    let advice = format!(
        "The record at {} offset {} is bad ({}: {}). It is in the DLQ; on_bad_record: dlq goes on after such records.",
        record.part, record.offset, why.reason, why.message
    );
    Trouble { code: "BAD_RECORD", advice }
}
