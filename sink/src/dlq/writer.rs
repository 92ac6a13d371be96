//! Sends dead letters and waits for their receipts: for ever, because a record counts as done only with its receipt.

use std::sync::Arc;

use forebay_broker::{
    Log, NewRecord, ProduceError, Receipts, Record,
    dead_letter::{DeadLetter, Origin, topic},
};
use tracing::warn;

use super::Rejection;
use crate::{
    config::ConnectorSettings,
    connector::Deps,
    crash_point,
    metrics::SinkMetrics,
    retry::{self, Backoff},
    status::Trouble,
};

/// Dead letters handed to the log at once.
const CHUNK_RECORDS: usize = 200;
/// About so many bytes at once; one larger letter goes alone.
const CHUNK_BYTES: usize = 4 << 20;

/// A record that can't be written, and why.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// As it stood in the log.
    pub record: Record,
    /// Why.
    pub why: Rejection,
}

/// Writes dead letters of one connector.
pub struct DlqWriter {
    log: Arc<dyn Log>,
    metrics: Arc<SinkMetrics>,
    connector: Arc<str>,
    topic: String,
    destination: String,
}

impl DlqWriter {
    pub(crate) fn new(settings: &ConnectorSettings, deps: &Deps, destination: String) -> Self {
        Self {
            log: Arc::clone(&deps.log),
            metrics: Arc::clone(&deps.metrics),
            connector: settings.name.as_str().into(),
            topic: deps.dlq_topic.clone(),
            destination,
        }
    }

    /// The topic for dead letters of `source`.
    pub fn topic(&self, source: &str) -> Arc<str> {
        self.topic.replace("{topic}", source).replace("{connector}", &self.connector).into()
    }

    /// Whether a topic holds dead letters, of this connector or another.
    pub fn is_dead_letter_topic(&self, topic: &str) -> bool {
        topic::can_be(topic, &self.topic)
    }

    /// Sends all and returns when each has its receipt. While the log can't take them it tries on, for ever; `failed`
    /// hears why after every try. An error needs a person.
    pub async fn send(
        &self,
        task: usize,
        topic_id: Option<Arc<str>>,
        letters: Vec<Rejected>,
        mut failed: impl FnMut(&str) + Send,
    ) -> Result<(), Trouble> {
        for chunk in chunks(&letters) {
            self.send_chunk(task, topic_id.as_ref(), chunk, &mut failed).await?;
        }
        Ok(())
    }

    async fn send_chunk(
        &self,
        task: usize,
        topic_id: Option<&Arc<str>>,
        chunk: &[Rejected],
        failed: &mut (impl FnMut(&str) + Send),
    ) -> Result<(), Trouble> {
        let mut open: Vec<&Rejected> = chunk.iter().collect();
        let mut limit = usize::MAX;
        let mut made = false;
        let mut backoff = Backoff::default();
        while !open.is_empty() {
            let records =
                open.iter().map(|letter| self.record(task, topic_id, letter, limit)).collect::<Result<_, _>>()?;
            crash_point!("dlq.before_produce");
            let error = match self.log.produce(records) {
                Ok(pending) => {
                    crash_point!("dlq.queued");
                    let receipts = pending.await;
                    crash_point!("dlq.receipt");
                    self.keep_failed(&mut open, receipts)
                }
                Err(error) => Some(error),
            };
            let Some(error) = error else { continue };
            if let Some(why) = self.recover(error, &mut limit, &mut made).await? {
                failed(&why);
                let delay = backoff.next(None);
                if backoff.failures() == 1 || backoff.failures().is_multiple_of(10) {
                    let (connector, waiting) = (&*self.connector, chunk.len());
                    warn!(connector, waiting, why, "Dead letters can't be written now; their partition waits.");
                }
                tokio::time::sleep(delay).await;
            }
        }
        Ok(())
    }

    /// Strikes off what has its receipt; the last failure among the others.
    fn keep_failed(&self, open: &mut Vec<&Rejected>, receipts: Receipts) -> Option<ProduceError> {
        let mut last = None;
        let mut receipts = receipts.into_iter();
        open.retain(|letter| match receipts.next() {
            Some(Ok(_)) => {
                let reason = letter.why.reason.to_string();
                self.metrics.dead_letters.with_label_values(&[&*self.connector, reason.as_str()]).inc();
                false
            }
            Some(Err(error)) => {
                last = Some(error);
                true
            }
            None => true,
        });
        last
    }

    /// Mends what a failure was for, or tells what to wait for; the caller tries again. `made`: the topic was made, or
    /// found, before.
    async fn recover(
        &self,
        error: ProduceError,
        limit: &mut usize,
        made: &mut bool,
    ) -> Result<Option<String>, Trouble> {
        match error {
            ProduceError::TooLarge { max, .. } if max < *limit => {
                *limit = max;
                Ok(None)
            }
            ProduceError::TooLarge { bytes, max } => Err(too_large(&format!("{bytes} bytes"), max)),
            ProduceError::Invalid(why) => {
                let advice = format!("The log refuses dead letters: {why}. Check the setting dlq.topic.");
                Err(Trouble { code: "DLQ_REFUSED", advice })
            }
            ProduceError::KeyRequired(name) => Ok(Some(topic::compaction_advice(&name))),
            ProduceError::Timestamp(outside) => {
                Ok(Some(format!("{outside}. {}", topic::timestamp_advice(&outside.topic))))
            }
            ProduceError::UnknownTopic(name) => match topic::ensure(&*self.log, &name).await {
                Ok(()) if *made => {
                    Ok(Some(format!("the topic {name:?} exists, and the log says that it knows no such topic")))
                }
                Ok(()) => {
                    *made = true;
                    // Until all of a cluster know it.
                    tokio::time::sleep(retry::FIRST).await;
                    Ok(None)
                }
                Err(why) => Ok(Some(format!("the topic {name:?} can't be made: {why}"))),
            },
            error => Ok(Some(error.to_string())),
        }
    }

    fn record(
        &self,
        task: usize,
        topic_id: Option<&Arc<str>>,
        letter: &Rejected,
        limit: usize,
    ) -> Result<NewRecord, Trouble> {
        let record = &letter.record;
        let body = record.key.as_ref().map_or(0, |k| k.len()) + record.value.as_ref().map_or(0, |v| v.len());
        let headers = self
            .describe(task, topic_id, letter)
            .headers_within(&record.headers, limit.saturating_sub(body))
            .ok_or_else(|| too_large(&format!("The record at {} offset {}", record.part, record.offset), limit))?;
        Ok(NewRecord {
            topic: self.topic(&record.part.topic),
            partition: None,
            key: record.key.clone(),
            value: record.value.clone(),
            headers,
            timestamp_ms: Some(record.timestamp_ms),
        })
    }

    fn describe(&self, task: usize, topic_id: Option<&Arc<str>>, letter: &Rejected) -> DeadLetter {
        let Rejected { record, why } = letter;
        DeadLetter {
            origin: Origin::Log {
                cluster_id: self.log.cluster_id().into(),
                topic_id: topic_id.cloned(),
                part: record.part.clone(),
                offset: record.offset,
            },
            connector: Arc::clone(&self.connector),
            task: u32::try_from(task).ok(),
            stage: why.stage,
            reason: why.reason,
            component: why.component,
            message: why.message.clone(),
            causes: Vec::new(),
            errors: why.errors.clone(),
            schema_id: why.schema_id,
            subject: None,
            reader_schema_id: None,
            destination: Some(self.destination.clone()),
            timestamp_ms: record.timestamp_ms,
            timestamp_type: record.timestamp_type,
            failed_at_ms: jiff::Timestamp::now().as_millisecond(),
            tries: why.tries,
        }
    }
}

fn too_large(what: &str, max: usize) -> Trouble {
    let advice = format!(
        "{what} with the headers of a dead letter does not fit into {max} bytes: raise max.message.bytes of the \
         dead-letter topic."
    );
    Trouble { code: "DLQ_TOO_LARGE", advice }
}

/// Cuts into pieces that the log's queue takes, in order.
fn chunks(letters: &[Rejected]) -> Vec<&[Rejected]> {
    let mut out = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (index, letter) in letters.iter().enumerate() {
        let size = letter.record.value.as_ref().map_or(0, |v| v.len()) + letter.record.headers.bytes() + 4096;
        if index > from && (index - from >= CHUNK_RECORDS || bytes + size > CHUNK_BYTES) {
            out.extend(letters.get(from..index));
            (from, bytes) = (index, 0);
        }
        bytes += size;
    }
    out.extend(letters.get(from..).filter(|rest| !rest.is_empty()));
    out
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use forebay_broker::{
        Headers, TimestampType, TopicPartition,
        dead_letter::{Reason, Stage},
    };

    use super::*;

    fn letter(bytes: usize) -> Rejected {
        let record = Record {
            part: TopicPartition::new("t", 0),
            offset: 0,
            key: None,
            value: Some(Bytes::from(vec![0; bytes])),
            headers: Headers::default(),
            timestamp_ms: 0,
            timestamp_type: TimestampType::Create,
        };
        Rejected { record, why: Rejection::new(Reason::DecodeFailed, Stage::ValueConverter, "test", "") }
    }

    #[test]
    fn chunks_keep_order_and_limits() {
        let letters: Vec<_> = (0..450).map(|_| letter(1)).collect();
        assert_eq!(chunks(&letters).iter().map(|c| c.len()).collect::<Vec<_>>(), [200, 200, 50]);
        let large = [letter(3 << 20), letter(3 << 20), letter(9 << 20), letter(1)];
        assert_eq!(chunks(&large).iter().map(|c| c.len()).collect::<Vec<_>>(), [1, 1, 1, 1]);
        assert!(chunks(&[]).is_empty());
    }
}
