//! One member: commits, positions, ends.

use std::collections::BTreeSet;

use super::*;
use crate::{CommitError, Committed, LogError};

fn position(offset: Offset, metadata: impl Into<String>) -> Committed {
    Committed { offset, metadata: metadata.into() }
}

pub(super) async fn commit_metadata_round_trips(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 1).await;
    fill(&log, "t", 0, 5).await;
    let part = TopicPartition::new("t", 0);
    for metadata in [String::new(), "x".repeat(256), "ä".repeat(2_000)] {
        let (consumer, assigned) = subscribe_from_start(&log, &["t"]).await;
        let committed = position(3, metadata);
        consumer.committer().commit(&part, assigned[0].epoch, &committed).await.unwrap();
        assert_eq!(log.committed("g", slice::from_ref(&part)).await.unwrap()[&part], committed);
        let refused = consumer.committer().commit(&part, assigned[0].epoch, &position(4, "x".repeat(4_001))).await;
        assert!(matches!(refused, Err(CommitError::Unavailable(_))));
        consumer.close().await.unwrap();
        let mut next = log.subscribe(group(&["t"])).await.unwrap();
        assert_eq!(super::assigned(&mut next).await[0].committed.as_ref(), Some(&committed));
    }
    drop(log);
    subject.reopen().await;
    assert_eq!(subject.log().committed("g", slice::from_ref(&part)).await.unwrap()[&part].metadata.len(), 4_000);
}

pub(super) async fn same_offset_with_other_metadata(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 1).await;
    fill(&log, "t", 0, 5).await;
    let part = TopicPartition::new("t", 0);
    let (consumer, assigned) = subscribe_from_start(&log, &["t"]).await;
    for (offset, metadata) in [(3, "first"), (3, "second"), (2, "back")] {
        consumer.committer().commit(&part, assigned[0].epoch, &position(offset, metadata)).await.unwrap();
        assert_eq!(log.committed("g", slice::from_ref(&part)).await.unwrap()[&part], position(offset, metadata));
    }
}

pub(super) async fn end_is_told_once_per_arrival(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 1).await;
    let (mut consumer, _) = subscribe_from_start(&log, &["t"]).await;
    assert_eq!(until_eof(&mut consumer).await.1, 0, "an empty partition has an end too");
    idle(&mut consumer).await;
    for end in [2, 4] {
        fill(&log, "t", 0, 2).await;
        let (records, offset) = until_eof(&mut consumer).await;
        assert_eq!((records.last().unwrap().offset, offset), (end - 1, end));
        idle(&mut consumer).await;
    }
}

pub(super) async fn end_above_gaps(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 1).await;
    fill(&log, "t", 0, 10).await;
    let part = TopicPartition::new("t", 0);
    if !subject.compact(&part, vec![0, 4, 5, 8, 9]).await {
        return;
    }
    let (mut consumer, _) = subscribe_from_start(&log, &["t"]).await;
    let (records, end) = until_eof(&mut consumer).await;
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [1, 2, 3, 6, 7]);
    assert_eq!(end, 10, "the end stands above the gap");
    consumer.seek(&part, 8).unwrap();
    assert_eq!(until_eof(&mut consumer).await, (vec![], 10));
    fill(&log, "t", 0, 1).await;
    assert_eq!(until_eof(&mut consumer).await.1, 11);
}

pub(super) async fn pause_resume_seek(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 2).await;
    fill(&log, "t", 0, 10).await;
    let part = TopicPartition::new("t", 0);
    let mut consumer = log.subscribe(group(&["t"])).await.unwrap();
    assert_eq!(assigned(&mut consumer).await.len(), 2);
    idle(&mut consumer).await;
    consumer.seek(&part, 4).unwrap();
    match consumer.poll(3, PATIENCE).await.unwrap() {
        Polled::Records { records, .. } => assert_eq!((records.len(), records[0].offset), (3, 4)),
        other => panic!("{other:?}"),
    }
    consumer.pause(std::slice::from_ref(&part)).unwrap();
    idle(&mut consumer).await;
    fill(&log, "t", 0, 1).await;
    idle(&mut consumer).await;
    consumer.resume(std::slice::from_ref(&part)).unwrap();
    let (records, end) = until_eof(&mut consumer).await;
    assert_eq!((records.first().unwrap().offset, end), (7, 11), "goes on at the position reached");
    consumer.seek(&part, 9).unwrap();
    assert_eq!(until_eof(&mut consumer).await.0.len(), 2);
    let other = TopicPartition::new("t", 9);
    assert!(matches!(consumer.seek(&other, 0), Err(LogError::Invalid(_))));
    assert!(matches!(consumer.pause(&[other]), Err(LogError::Invalid(_))));
}

pub(super) async fn appends_wake_the_poll(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 1).await;
    let (mut consumer, _) = subscribe_from_start(&log, &["t"]).await;
    until_eof(&mut consumer).await;
    let producer = log.clone();
    let produced = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        fill(&producer, "t", 0, 1).await;
    });
    // Far longer than the case may take: only a wake-up ends it.
    match consumer.poll(1, Duration::from_secs(3_600)).await.unwrap() {
        Polled::Records { records, .. } => assert_eq!(records[0].offset, 0),
        other => panic!("{other:?}"),
    }
    produced.await.unwrap();
}

pub(super) async fn polls_can_be_cancelled(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 1).await;
    fill(&log, "t", 0, 2_000).await;
    let (mut consumer, _) = subscribe_from_start(&log, &["t"]).await;
    let mut seen = Vec::new();
    for round in 0.. {
        let polled = tokio::time::timeout(Duration::from_micros(round % 50 * 10), consumer.poll(7, PATIENCE)).await;
        match polled {
            Ok(Ok(Polled::Records { records, .. })) => seen.extend(records.iter().map(|record| record.offset)),
            Ok(Ok(Polled::Eof { .. })) => break,
            Ok(other) => panic!("{other:?}"),
            Err(_) => {}
        }
    }
    assert_eq!(seen, (0..2_000).collect::<Vec<_>>(), "nothing lost, nothing twice");
}

pub(super) async fn all_partitions_get_their_turn(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 4).await;
    for partition in 0..4 {
        fill(&log, "t", partition, 400).await;
    }
    let (mut consumer, _) = subscribe_from_start(&log, &["t"]).await;
    let mut seen = std::collections::BTreeSet::new();
    // What is read ahead may come one partition after the other.
    let polls = if subject.reads_ahead() { 16 } else { 4 };
    for _ in 0..polls {
        match next_records(&mut consumer).await {
            Some(records) => seen.insert(records[0].part.partition),
            None => continue,
        };
    }
    assert_eq!(seen.len(), 4);
}

/// Records of one poll of 100; none at an end.
async fn next_records(consumer: &mut Box<dyn Consumer>) -> Option<Vec<Record>> {
    match consumer.poll(100, PATIENCE).await.unwrap() {
        Polled::Records { records, .. } => Some(records),
        Polled::Eof { .. } => None,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn set_committed_needs_an_empty_group(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 1).await;
    let part = TopicPartition::new("t", 0);
    log.set_committed("g", &[(part.clone(), Some(position(0, "a")))]).await.unwrap();
    let (consumer, assigned) = subscribe_from_start(&log, &["t"]).await;
    assert_eq!(assigned[0].committed, Some(position(0, "a")));
    let refused = log.set_committed("g", &[(part.clone(), None)]).await;
    assert!(matches!(refused, Err(LogError::GroupNotEmpty(_))));
    consumer.close().await.unwrap();
    log.set_committed("g", &[(part.clone(), None)]).await.unwrap();
    assert!(log.committed("g", slice::from_ref(&part)).await.unwrap().is_empty());
    for bad in [position(-1, ""), position(0, "x".repeat(4_001))] {
        let refused = log.set_committed("g", &[(part.clone(), Some(bad))]).await;
        assert!(matches!(refused, Err(LogError::Invalid(_))));
    }
    let refused = log.set_committed("g", &[(TopicPartition::new("none", 0), None)]).await;
    assert!(matches!(refused, Err(LogError::UnknownTopic(_))));
}

pub(super) async fn all_topics_follows_new_ones(subject: &mut dyn Subject) {
    let log = subject.log();
    for name in ["a", "_schemas", "__state", "replay.lake", "events.dlq"] {
        topic(&log, name, 1).await;
    }
    let spec = GroupSpec { all_topics: true, except: vec!["events.dlq".into()], ..group(&["__state", "later"]) };
    let mut consumer = log.subscribe(spec).await.unwrap();
    let names = |mut assigned: Vec<Assigned>| {
        assigned.sort_by(|a, b| a.part.cmp(&b.part));
        assigned.iter().map(|a| a.part.topic.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(assigned(&mut consumer).await), ["__state", "a"], "by name also internal ones");
    for name in ["b", "later"] {
        topic(&log, name, 1).await;
        assert_eq!(names(assigned(&mut consumer).await), [name]);
    }
    topic(&log, "__more", 1).await;
    idle(&mut consumer).await;
}

pub(super) async fn position_outside_the_bounds(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 40).await;
    fill(&log, "t", 0, 2).await;
    let (mut consumer, parts) = subscribe_from_start(&log, &["t"]).await;
    // At once after the assignment, while the log may still be looking for where these partitions begin.
    let lost: Vec<TopicPartition> = parts.into_iter().map(|at| at.part).filter(|part| part.partition > 0).collect();
    lost.iter().for_each(|part| consumer.seek(part, 5).unwrap());
    let (mut records, mut told) = (0, BTreeSet::new());
    while records < 2 || told.len() < lost.len() {
        match consumer.poll(10, PATIENCE).await {
            Ok(Polled::Records { records: some, .. }) => records += some.len(),
            Ok(Polled::Eof { .. }) => {}
            Err(LogError::OffsetOutOfRange { part, offset: 5, low: 0, high: 0 }) => {
                assert!(lost.contains(&part));
                // Else it would be told again and again.
                consumer.pause(std::slice::from_ref(&part)).unwrap();
                told.insert(part);
            }
            other => panic!("{other:?}, after {records} records and {} of {} errors", told.len(), lost.len()),
        }
    }
    let again = &lost[..2];
    consumer.resume(again).unwrap();
    for part in again {
        consumer.seek(part, 0).unwrap();
        fill(&log, "t", part.partition, 3).await;
    }
    let mut read: BTreeMap<TopicPartition, Vec<Offset>> = BTreeMap::new();
    while read.values().map(Vec::len).sum::<usize>() < 6 {
        if let Polled::Records { records, .. } = next(&mut consumer).await {
            records.iter().for_each(|record| read.entry(record.part.clone()).or_default().push(record.offset));
        }
    }
    assert!(again.iter().all(|part| read[part] == [0, 1, 2]), "a seek into the bounds reads on: {read:?}");
}
