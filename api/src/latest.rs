//! The newest records of a topic, read back in blocks under a budget. Knows no HTTP, and not what the bytes mean.

use std::{collections::BTreeMap, sync::Arc};

use forebay_broker::{Log, LogError, Offset, Record, TopicPartition};

/// Most records read for one answer (fixed).
const BUDGET_RECORDS: usize = 10_000;
/// Most bytes of values read for one answer (fixed).
const BUDGET_BYTES: usize = 8 << 20;
/// Least records read at a time (fixed).
const BLOCK: usize = 16;
/// Bytes asked of the log at a time (fixed).
const READ_BYTES: usize = 1 << 20;

/// What to look for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub limit: usize,
    /// One partition, or all.
    pub partition: Option<i32>,
}

/// Chooses among records, and makes of them what is shown.
#[async_trait::async_trait]
pub(crate) trait Take: Send {
    type Taken: Send;
    /// `None` if the record is not wanted.
    async fn take(&mut self, record: &Record) -> Option<Self::Taken>;
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Newest<T> {
    /// Newest first by record timestamp, then partition, then offset.
    pub found: Vec<(Record, T)>,
    pub high_watermarks: BTreeMap<i32, Offset>,
    /// The budget was spent before all partitions had given enough.
    pub partial: bool,
}

/// Why nothing was looked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRead {
    /// The topic has no such partition.
    #[error("must be at most {}: {topic} has the partitions 0 to {}", .partitions - 1, .partitions - 1)]
    NoPartition { topic: Arc<str>, partitions: i32 },
    #[error(transparent)]
    Log(#[from] LogError),
}

/// How far back one partition was read.
struct Back {
    part: TopicPartition,
    low: Offset,
    /// Everything from here on was looked at.
    end: Offset,
    matched: usize,
}

/// What may still be read.
struct Budget {
    records: usize,
    bytes: usize,
    /// Bytes of the largest record so far.
    largest: usize,
}

impl Budget {
    fn spend(&mut self, record: &Record) {
        let bytes = record.value.as_ref().map_or(0, bytes::Bytes::len);
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.largest = self.largest.max(bytes);
    }

    fn is_spent(&self) -> bool {
        self.records == 0 || self.bytes == 0
    }

    /// Records of the next block: few until it is known how large they are, then as many as wanted and there is room
    /// for. A block is read whole, so that its newest records are never the ones left out.
    fn block(&self, wanted: usize) -> usize {
        let fitting = self.bytes.checked_div(self.largest).unwrap_or(BLOCK);
        fitting.max(BLOCK).min(wanted.max(BLOCK)).min(self.records)
    }
}

/// Reads back from the high watermarks until each partition gave `limit` records that are wanted, or is read out.
///
/// # Errors
/// Those of the log, and a partition that the topic does not have.
pub(crate) async fn newest<T: Take>(
    log: &dyn Log,
    topic: &str,
    wanted: &Wanted,
    take: &mut T,
) -> Result<Newest<T::Taken>, NotRead> {
    let mut backs = start(log, topic, wanted.partition).await?;
    let high_watermarks = backs.iter().map(|back| (back.part.partition, back.end)).collect();
    let mut budget = Budget { records: BUDGET_RECORDS, bytes: BUDGET_BYTES, largest: 0 };
    let mut found = Vec::new();
    let unfinished = |back: &Back| back.matched < wanted.limit && back.end > back.low;
    while backs.iter().any(unfinished) && !budget.is_spent() {
        for back in backs.iter_mut().filter(|back| unfinished(back)) {
            if budget.is_spent() {
                break;
            }
            let block = read_block(log, back, budget.block(wanted.limit)).await?;
            block.iter().for_each(|record| budget.spend(record));
            for record in block.into_iter().rev() {
                if back.matched == wanted.limit {
                    break;
                }
                if let Some(taken) = take.take(&record).await {
                    back.matched += 1;
                    found.push((record, taken));
                }
            }
        }
    }
    let partial = backs.iter().any(unfinished);
    found.sort_by(|(a, _), (b, _)| {
        let order = |r: &Record| (std::cmp::Reverse(r.timestamp_ms), r.part.partition, std::cmp::Reverse(r.offset));
        order(a).cmp(&order(b))
    });
    found.truncate(wanted.limit);
    Ok(Newest { found, high_watermarks, partial })
}

async fn start(log: &dyn Log, topic: &str, partition: Option<i32>) -> Result<Vec<Back>, NotRead> {
    let info = log.topic(topic).await?;
    let partitions = match partition {
        Some(one) if one >= info.partitions => {
            return Err(NotRead::NoPartition { topic: info.name, partitions: info.partitions });
        }
        Some(one) => one..=one,
        None => 0..=info.partitions - 1,
    };
    let mut backs = Vec::new();
    for partition in partitions {
        let part = TopicPartition { topic: Arc::clone(&info.name), partition };
        let marks = log.watermarks(&part).await?;
        backs.push(Back { part, low: marks.low, end: marks.high, matched: 0 });
    }
    Ok(backs)
}

/// The records of up to `count` offsets before what was looked at, in ascending order.
async fn read_block(log: &dyn Log, back: &mut Back, count: usize) -> Result<Vec<Record>, LogError> {
    let end = back.end;
    let mut from = end.saturating_sub(Offset::try_from(count).unwrap_or(Offset::MAX)).max(back.low);
    back.end = from;
    let mut block = Vec::new();
    while from < end {
        let some = match log.read(&back.part, from, count, READ_BYTES).await {
            // Retention was faster: what is left begins later.
            Err(LogError::OffsetOutOfRange { low, .. }) if low > from => {
                (back.low, back.end) = (low, low);
                from = low;
                continue;
            }
            some => some?,
        };
        let Some(last) = some.last() else { break };
        from = last.offset + 1;
        block.extend(some.into_iter().filter(|record| record.offset < end));
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use forebay_broker::{
        NewRecord, TopicSpec,
        sim::{SimLog, SimSettings},
    };

    use super::*;

    /// A topic of two partitions; record `i` has the timestamp `i` and stands in partition `i % 2`.
    async fn log(records: usize, bytes: usize) -> Arc<SimLog> {
        let log = SimLog::new(SimSettings::default());
        let spec = TopicSpec { name: "t".into(), partitions: 2, config: BTreeMap::new() };
        log.create_topic(&spec).await.unwrap();
        for i in 0..records {
            let record = NewRecord {
                topic: "t".into(),
                partition: Some((i % 2) as i32),
                key: None,
                value: Some(vec![0; bytes].into()),
                headers: forebay_broker::Headers::default(),
                timestamp_ms: Some(i as i64),
            };
            log.produce(vec![record]).unwrap().await.remove(0).unwrap();
        }
        log
    }

    /// Timestamps that this divides.
    struct Every(i64);

    #[async_trait::async_trait]
    impl Take for Every {
        type Taken = ();

        async fn take(&mut self, record: &Record) -> Option<()> {
            (record.timestamp_ms % self.0 == 0).then_some(())
        }
    }

    async fn timestamps(log: &SimLog, limit: usize, partition: Option<i32>, every: i64) -> (Vec<i64>, bool) {
        let newest = newest(log, "t", &Wanted { limit, partition }, &mut Every(every)).await.unwrap();
        (newest.found.iter().map(|(record, ())| record.timestamp_ms).collect(), newest.partial)
    }

    #[tokio::test(start_paused = true)]
    async fn newest_first_over_all_partitions() {
        let log = log(100, 10).await;
        assert_eq!(timestamps(&log, 3, None, 1).await, (vec![99, 98, 97], false));
        assert_eq!(timestamps(&log, 3, Some(0), 1).await, (vec![98, 96, 94], false));
        assert_eq!(timestamps(&log, 3, None, 30).await, (vec![90, 60, 30], false), "filtered, further back");
        assert_eq!(timestamps(&log, 1_000, None, 1).await.0.len(), 100, "fewer than asked for");
        let refused = async |topic, partition| {
            newest(&*log, topic, &Wanted { limit: 1, partition }, &mut Every(1)).await.unwrap_err().to_string()
        };
        assert_eq!(refused("nope", None).await, r#"topic "nope" does not exist"#);
        assert_eq!(refused("t", Some(2)).await, "must be at most 1: t has the partitions 0 to 1");
    }

    #[tokio::test(start_paused = true)]
    async fn low_watermarks_and_gaps() {
        let log = log(100, 10).await;
        log.raise_low(&TopicPartition::new("t", 0), 45).unwrap();
        log.compact(&TopicPartition::new("t", 1), 0..48).unwrap();
        let (mut all, partial) = timestamps(&log, 1_000, None, 1).await;
        all.sort_unstable();
        assert_eq!((all, partial), (vec![90, 92, 94, 96, 97, 98, 99], false));
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_is_told() {
        let log = log(100, 500_000).await;
        let (found, partial) = timestamps(&log, 1_000, None, 1).await;
        assert!(partial && (16..100).contains(&found.len()), "{}", found.len());
        assert_eq!(found[0], 99, "the newest are never left out");
        let (found, partial) = timestamps(&log, 5, None, 1).await;
        assert_eq!((found, partial), (vec![99, 98, 97, 96, 95], false), "enough within the budget");
    }
}
