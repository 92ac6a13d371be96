//! Timestamps, seeks by time, retention.

use super::*;
use crate::{LogError, TimestampType, Watermarks, dead_letter};

/// A cluster's retention goes by the timestamps of records, and these are of 1970.
const KEEP: (&str, &str) = ("retention.ms", "-1");

fn at(timestamp_ms: i64) -> NewRecord {
    NewRecord { timestamp_ms: Some(timestamp_ms), ..record("t", 0, "v") }
}

pub(super) async fn timestamps_are_kept_or_set(subject: &mut dyn Subject) {
    let log = subject.log();
    topic_with(&log, "t", 1, &[KEEP]).await;
    produce(&log, vec![at(-5), at(1_234), record("t", 0, "now"), record("t", 0, "now")]).await;
    let read = read_all(&log, &TopicPartition::new("t", 0)).await;
    assert_eq!((read[0].timestamp_ms, read[1].timestamp_ms), (-5, 1_234));
    assert!(read[2].timestamp_ms > 1_700_000_000_000, "{}", read[2].timestamp_ms);
    assert!(read.iter().all(|record| record.timestamp_type == TimestampType::Create));
}

pub(super) async fn seek_by_time(subject: &mut dyn Subject) {
    let log = subject.log();
    topic_with(&log, "t", 2, &[KEEP]).await;
    let part = TopicPartition::new("t", 0);
    assert_eq!(log.offset_for_time(&part, 0).await.unwrap(), None);
    // In calls of their own and out of order: the first in the log counts, not the earliest.
    for stamp in [100, 200, 150, 400, 300] {
        produce(&log, vec![at(stamp)]).await;
    }
    let table = [
        (i64::MIN, Some(0)),
        (100, Some(0)),
        (101, Some(1)),
        (200, Some(1)),
        (201, Some(3)),
        (400, Some(3)),
        (401, None),
    ];
    for (stamp, expected) in table {
        assert_eq!(log.offset_for_time(&part, stamp).await.unwrap(), expected, "{stamp}");
    }
    assert_eq!(log.offset_for_time(&TopicPartition::new("t", 1), 0).await.unwrap(), None);
}

pub(super) async fn seek_by_time_among_many(subject: &mut dyn Subject) {
    let log = subject.log();
    topic_with(&log, "t", 2, &[KEEP]).await;
    // A sawtooth that rises: 0 1 2 3 4 -> 0 100 50 300 250 …
    let stamp = |n: i64| if n % 2 == 0 { n * 50 } else { n * 100 };
    for call in 0..12 {
        let mut records: Vec<_> = (0..500).map(|n| at(stamp(call * 500 + n))).collect();
        records.push(record("t", 1, "other partition"));
        produce(&log, records).await;
    }
    subject_agrees(&log, stamp).await;
    drop(log);
    subject.reopen().await;
    let log = subject.log();
    subject_agrees(&log, stamp).await;
    produce(&log, vec![at(10_000_000)]).await;
    let part = TopicPartition::new("t", 0);
    assert_eq!(log.offset_for_time(&part, 9_999_999).await.unwrap(), Some(6_000));
}

async fn subject_agrees(log: &Arc<dyn Log>, stamp: impl Fn(i64) -> i64) {
    let part = TopicPartition::new("t", 0);
    for target in (0..700_000).step_by(1_999) {
        let expected = (0..6_000).find(|n| stamp(*n) >= target);
        assert_eq!(log.offset_for_time(&part, target).await.unwrap(), expected, "{target}");
    }
}

/// Text that no codec makes smaller.
struct Noise(u64);

impl Noise {
    fn text(&mut self, length: usize) -> String {
        let letters = || {
            // xorshift64
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            char::from(b'0' + (self.0 >> 33) as u8 % 75)
        };
        std::iter::repeat_with(letters).take(length).collect()
    }
}

/// Waits until retention has moved the low watermark.
async fn low_rises(log: &Arc<dyn Log>, part: &TopicPartition, enough: impl Fn(Watermarks) -> bool) -> Watermarks {
    let wait = async {
        loop {
            let bounds = log.watermarks(part).await.unwrap();
            if enough(bounds) {
                return bounds;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("retention passes")
}

pub(super) async fn retention_by_bytes(subject: &mut dyn Subject) {
    let log = subject.log();
    topic_with(&log, "t", 1, &subject.small_segments()).await;
    let part = TopicPartition::new("t", 0);
    let mut noise = Noise(1);
    for _ in 0..30 {
        produce(&log, (0..100).map(|_| record("t", 0, noise.text(1_000))).collect()).await;
    }
    // Only now, so that the low watermark rises once: what is read below stays.
    log.set_topic("t", &[("retention.bytes".to_owned(), "1000000".to_owned())].into()).await.unwrap();
    let bounds = low_rises(&log, &part, |bounds| bounds.low >= 1_000).await;
    assert_eq!(bounds.high, 3_000);
    // What a log keeps with each record counts too.
    assert!(bounds.low <= 2_020, "keeps at least what was asked: {bounds:?}");
    let read = read_all(&log, &part).await;
    assert_eq!(read.first().unwrap().offset, bounds.low);
    assert_eq!(read.len() as i64, bounds.high - bounds.low);
    assert!(log.read(&part, bounds.low - 1, 1, 1).await.is_err(), "what is below is gone");
    drop(log);
    subject.reopen().await;
    let log = subject.log();
    let again = log.watermarks(&part).await.unwrap();
    assert!(again.low >= bounds.low && again.high == bounds.high, "{again:?}");

    let (mut consumer, _) = subscribe_from_start(&log, &["t"]).await;
    let error = loop {
        match consumer.poll(500, PATIENCE).await {
            Ok(Polled::Idle) => panic!("nobody says that the first records are gone"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    let LogError::OffsetOutOfRange { low, .. } = error else { panic!("{error}") };
    consumer.seek(&part, low).unwrap();
    let (records, end) = until_eof(&mut consumer).await;
    assert_eq!((records.first().unwrap().offset, records.len() as i64, end), (low, end - low, 3_000));
}

pub(super) async fn retention_by_age(subject: &mut dyn Subject) {
    let log = subject.log();
    topic_with(&log, "t", 1, &[("retention.ms", "300")]).await;
    topic(&log, "kept", 1).await;
    let part = TopicPartition::new("t", 0);
    fill(&log, "t", 0, 10).await;
    fill(&log, "kept", 0, 10).await;
    // Old by its timestamp is not old: it was appended today.
    produce(&log, vec![NewRecord { topic: "kept".into(), ..at(0) }]).await;
    let bounds = low_rises(&log, &part, |bounds| bounds.low == 10).await;
    assert_eq!(bounds.high, 10, "an empty partition keeps its place");
    let kept = log.watermarks(&TopicPartition::new("kept", 0)).await.unwrap();
    assert_eq!((kept.low, kept.high), (0, 11));
    drop(log);
    subject.reopen().await;
    let log = subject.log();
    let receipts = produce(&log, vec![record("t", 0, "next")]).await;
    assert_eq!(receipts[0].offset, 10, "offsets are never given twice");
}

/// Whatever the age of their events; and a seek by time finds them by when they failed.
pub(super) async fn dead_letters_are_kept_from_when_they_failed(subject: &mut dyn Subject) {
    let log = subject.log();
    let name = "events.dlq";
    for _ in 0..2 {
        dead_letter::topic::ensure(&*log, name).await.unwrap();
    }
    let info = log.topic(name).await.unwrap();
    assert_eq!((info.partitions, info.config["retention.ms"].as_str()), (6, "2592000000"));
    assert_eq!(info.config["max.message.bytes"], "2097152");
    assert!(dead_letter::topic::counts_from_failure(&info));
    let letter = |stamp| NewRecord { timestamp_ms: Some(stamp), ..record(name, 0, "v") };
    topic(&log, "now", 1).await;
    produce(&log, vec![record("now", 0, "now")]).await;
    let started = read_all(&log, &TopicPartition::new("now", 0)).await[0].timestamp_ms;
    topic_with(&log, "t", 1, &[("retention.ms", "300")]).await;
    produce(&log, vec![record("t", 0, "soon gone"), letter(0), letter(i64::MAX / 2)]).await;
    // Retention has passed once it took this.
    low_rises(&log, &TopicPartition::new("t", 0), |bounds| bounds.low == 1).await;
    let part = TopicPartition::new(name, 0);
    let read = read_all(&log, &part).await;
    assert_eq!(read.len(), 2);
    for letter in &read {
        assert_eq!(letter.timestamp_type, TimestampType::Append);
        assert!((started - 60_000..started + 60_000).contains(&letter.timestamp_ms), "{}", letter.timestamp_ms);
    }
    assert_eq!(log.offset_for_time(&part, started - 60_000).await.unwrap(), Some(0));
    assert_eq!(log.offset_for_time(&part, started + 60_000).await.unwrap(), None);
}
