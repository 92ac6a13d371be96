//! From a request's records to a job for the writer: checked, placed and encoded on the caller's thread.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{
    LocalLog, format, now_ms,
    queue::{Charge, Refused},
    state::Topic,
    writer::{Append, Encoded, Job},
};
use crate::{NewRecord, PendingReceipts, ProduceError, partition, record::payload_bytes, sync::read};

/// What the records of one call share.
struct Call<'a> {
    log: &'a LocalLog,
    now_ms: i64,
    /// Number of the call, once a record without key needs it.
    turn: Option<u32>,
    /// The topic of the record before: mostly it is the same.
    topic: Option<Arc<Topic>>,
}

pub(super) fn produce(log: &LocalLog, records: Vec<NewRecord>) -> Result<PendingReceipts, ProduceError> {
    let charge = Charge { records: records.len(), bytes: records.iter().map(payload_bytes).sum() };
    // Looked at before the work of encoding, decided when the job is pushed.
    let usage = log.shared.queue.usage();
    if usage.records + charge.records > usage.max_records || usage.bytes + charge.bytes > usage.max_bytes {
        return Err(ProduceError::QueueFull);
    }
    let mut call = Call { log, now_ms: now_ms(), turn: None, topic: None };
    let records = records.into_iter().map(|record| call.encode(&record)).collect();
    let (reply, receipts) = oneshot::channel();
    match log.shared.queue.push_records(charge, || Job::Append(Append { records, charge, reply })) {
        Ok(()) => {}
        Err(Refused::Full) => return Err(ProduceError::QueueFull),
        Err(Refused::Closed) => {
            let why = log.shared.usable().err().map_or_else(|| "it was closed".to_owned(), |error| error.to_string());
            return Err(ProduceError::Unavailable(why));
        }
    }
    Ok(Box::pin(async move {
        let lost = |_| vec![Err(ProduceError::Unknown("the writer ended".to_owned())); charge.records];
        receipts.await.unwrap_or_else(lost)
    }))
}

impl Call<'_> {
    fn topic(&mut self, name: &Arc<str>) -> Result<Arc<Topic>, ProduceError> {
        if let Some(topic) = self.topic.as_ref().filter(|topic| topic.name == *name) {
            return Ok(topic.clone());
        }
        let found = read(&self.log.shared.topics).get(name).cloned();
        self.topic = found.clone();
        found.ok_or_else(|| ProduceError::UnknownTopic(name.to_string()))
    }

    fn encode(&mut self, record: &NewRecord) -> Result<Encoded, ProduceError> {
        let topic = self.topic(&record.topic)?;
        let bytes = payload_bytes(record);
        let settings = topic.settings();
        let max = settings.max_bytes_of(record, self.log.shared.record_bytes);
        if bytes > max {
            return Err(ProduceError::TooLarge { bytes, max });
        }
        let partition = partition::place(record, topic.partition_count(), &mut self.turn, &self.log.sticky)?;
        let stamp @ (timestamp_ms, _) = settings.stamp(record.timestamp_ms, self.now_ms);
        let mut value = Vec::with_capacity(format::room(record, bytes));
        format::encode(record, stamp, &mut value).map_err(|error| ProduceError::Invalid(error.to_string()))?;
        Ok(Encoded { topic, partition, timestamp_ms, value: value.into() })
    }
}
