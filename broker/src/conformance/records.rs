//! Producing and reading.

use super::*;
use crate::{LogError, ProduceError, partition::for_key};

pub(super) async fn order_per_partition(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 2).await;
    // Many calls at once, without waiting: each partition keeps the order of the calls and of the records in them.
    let calls: Vec<_> = (0..50)
        .map(|call| (0..20).map(|n| record("t", n % 2, format!("{call}/{n}"))).collect())
        .map(|records| log.produce(records).unwrap())
        .collect();
    for call in calls {
        assert!(call.await.iter().all(Result::is_ok));
    }
    for partition in 0..2 {
        let records = read_all(&log, &TopicPartition::new("t", partition)).await;
        let expected: Vec<_> = (0..50)
            .flat_map(|call| (0..20).filter(move |n| n % 2 == partition).map(move |n| format!("{call}/{n}")))
            .collect();
        assert_eq!(records.iter().map(text).collect::<Vec<_>>(), expected);
        assert!(records.is_sorted_by(|a, b| a.offset < b.offset));
    }
}

pub(super) async fn receipts_match_what_is_read_back(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 3).await;
    let receipts = produce(&log, (0..300).map(|n| record("t", n % 3, n.to_string())).collect()).await;
    for (n, receipt) in receipts.iter().enumerate() {
        let part = TopicPartition::new("t", receipt.partition);
        let read = log.read(&part, receipt.offset, 1, 1).await.unwrap();
        assert_eq!((read[0].offset, text(&read[0])), (receipt.offset, n.to_string().as_str()));
        assert_eq!(read[0].part, part);
    }
    let bounds = log.watermarks(&TopicPartition::new("t", 0)).await.unwrap();
    assert_eq!((bounds.low, bounds.high), (0, 100));
}

pub(super) async fn headers_null_key_tombstone_and_empty_value(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 1).await;
    let mut headers = Headers::default();
    headers.push("h", &b"1"[..]);
    headers.push("h", &b"\xff\0"[..]);
    headers.push("", &b""[..]);
    headers.0.push(("null".into(), None));
    let all = [
        NewRecord { headers: headers.clone(), ..record("t", 0, "v") },
        NewRecord { key: Some("k".into()), value: None, ..record("t", 0, "") },
        NewRecord { key: Some("".into()), ..record("t", 0, "") },
    ];
    produce(&log, all.to_vec()).await;
    let read = read_all(&log, &TopicPartition::new("t", 0)).await;
    for (read, sent) in read.iter().zip(&all) {
        assert_eq!((&read.key, &read.value, &read.headers), (&sent.key, &sent.value, &sent.headers));
    }
    assert_eq!(read.len(), 3);
    assert_eq!(read[0].headers.get("h"), Some(&b"\xff\0"[..]));
}

pub(super) async fn keys_choose_the_partition_as_in_java(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 7).await;
    let keys: Vec<String> = (0..100).map(|n| format!("key-{n}")).collect();
    let keyed = |key: &String| NewRecord { partition: None, key: Some(key.clone().into()), ..record("t", 0, "v") };
    let receipts = produce(&log, keys.iter().map(keyed).collect()).await;
    for (key, receipt) in keys.iter().zip(receipts) {
        assert_eq!(receipt.partition, for_key(key.as_bytes(), 7), "{key}");
    }
}

pub(super) async fn records_without_key_of_one_call_stay_together(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 4).await;
    let mut used = std::collections::BTreeSet::new();
    for _ in 0..64 {
        let free = |n: i32| NewRecord { partition: None, ..record("t", 0, n.to_string()) };
        let receipts = produce(&log, (0..10).map(free).collect()).await;
        assert!(receipts.iter().all(|receipt| receipt.partition == receipts[0].partition));
        used.insert(receipts[0].partition);
    }
    assert_eq!(used.len(), 4, "calls spread over all partitions");
}

pub(super) async fn unknown_topic_and_partition(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 1).await;
    let records = vec![record("t", 0, "a"), record("none", 0, "b"), record("t", 1, "c"), record("t", 0, "d")];
    let receipts = log.produce(records).unwrap().await;
    assert_eq!(receipts[0].as_ref().unwrap().offset, 0);
    assert_eq!(receipts[1], Err(ProduceError::UnknownTopic("none".into())));
    assert!(matches!(receipts[2], Err(ProduceError::UnknownTopic(_))));
    assert_eq!(receipts[3].as_ref().unwrap().offset, 1, "its neighbours are stored");
    let part = TopicPartition::new("none", 0);
    assert!(matches!(log.read(&part, 0, 1, 1).await, Err(LogError::UnknownTopic(_))));
    assert!(matches!(log.watermarks(&part).await, Err(LogError::UnknownTopic(topic)) if *topic == *part.topic));
    assert!(matches!(log.topic("none").await, Err(LogError::UnknownTopic(_))));
    assert!(matches!(log.delete_topic("none").await, Err(LogError::UnknownTopic(_))));
}

pub(super) async fn too_large(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 1).await;
    topic_with(&log, "roomy", 1, &[("max.message.bytes", "200000")]).await;
    let max = LIMITS.record_bytes;
    let of = |topic: &str, bytes: usize| record(topic, 0, "x".repeat(bytes));
    let mut headed = of("t", max - 5);
    headed.headers.push("name", &b"v"[..]);
    let over = NewRecord { key: Some("k".into()), ..headed.clone() };
    let records = vec![of("t", max), of("t", max + 1), headed, over, of("roomy", 200_000), of("roomy", 200_001)];
    let receipts = log.produce(records).unwrap().await;
    let sizes: Vec<_> = receipts
        .iter()
        .map(|receipt| match receipt {
            Ok(_) => None,
            Err(ProduceError::TooLarge { bytes, max }) => Some((*bytes, *max)),
            Err(other) => panic!("{other}"),
        })
        .collect();
    assert_eq!(sizes, [None, Some((max + 1, max)), None, Some((max + 1, max)), None, Some((200_001, 200_000))]);
}

pub(super) async fn queue_full_at_once(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 1).await;
    let call = |count: usize| (0..count).map(|n| record("t", 0, n.to_string())).collect::<Vec<_>>();
    let limits = log.queue();
    assert_eq!((limits.records, limits.max_records, limits.max_bytes), (0, LIMITS.queue_records, LIMITS.queue_bytes));
    assert_eq!(log.produce(call(LIMITS.queue_records + 1)).err(), Some(ProduceError::QueueFull));
    let large: Vec<_> = (0..90).map(|_| record("t", 0, "x".repeat(100_000))).collect();
    assert_eq!(log.produce(large).err(), Some(ProduceError::QueueFull), "by bytes");
    let pending = log.produce(call(LIMITS.queue_records)).unwrap();
    // Nothing of the refused calls was stored, and room comes back with the receipts.
    assert!(pending.await.iter().all(Result::is_ok));
    assert_eq!(log.queue().records, 0);
    assert_eq!(log.queue().bytes, 0);
    produce(&log, call(LIMITS.queue_records)).await;
    let bounds = log.watermarks(&TopicPartition::new("t", 0)).await.unwrap();
    assert_eq!(bounds.high, 2 * LIMITS.queue_records as i64);
}

pub(super) async fn read_limits(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 1).await;
    let part = TopicPartition::new("t", 0);
    produce(&log, (0..10).map(|_| record("t", 0, "x".repeat(1_000))).collect()).await;
    assert_eq!(log.read(&part, 0, 3, 1 << 20).await.unwrap().len(), 3);
    assert_eq!(log.read(&part, 8, 3, 1 << 20).await.unwrap().len(), 2);
    assert_eq!(log.read(&part, 0, 10, 1).await.unwrap().len(), 1, "at least one");
    let some = log.read(&part, 0, 10, 3_500).await.unwrap().len();
    assert!((2..=4).contains(&some), "{some}");
}

pub(super) async fn read_outside_the_bounds(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 1).await;
    let part = TopicPartition::new("t", 0);
    assert!(log.read(&part, 0, 1, 1).await.unwrap().is_empty());
    fill(&log, "t", 0, 2).await;
    assert!(log.read(&part, 2, 1, 1).await.unwrap().is_empty());
    for offset in [-1, 3] {
        match log.read(&part, offset, 1, 1).await {
            Err(LogError::OffsetOutOfRange { offset: asked, low: 0, high: 2, .. }) => assert_eq!(asked, offset),
            other => panic!("{other:?}"),
        }
    }
}

pub(super) async fn dropped_receipts_do_not_take_records_back(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 1).await;
    drop(log.produce(vec![record("t", 0, "a")]).unwrap());
    produce(&log, vec![record("t", 0, "b")]).await;
    let read = read_all(&log, &TopicPartition::new("t", 0)).await;
    assert_eq!(read.iter().map(text).collect::<Vec<_>>(), ["a", "b"]);
}
