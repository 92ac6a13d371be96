//! Two members: partitions that change hands.

use super::*;
use crate::{CommitError, Committed, Epoch, Revoke};

async fn revoked(consumer: &mut Box<dyn Consumer>) -> Revoke {
    match next(consumer).await {
        Polled::Revoke(revoke) => revoke,
        other => panic!("expected a revoke, got {other:?}"),
    }
}

fn at(offset: Offset) -> Committed {
    Committed { offset, metadata: format!("at {offset}") }
}

/// A topic with two partitions, a member that has both, and a second one that makes one of them change hands.
async fn two_members(log: &Arc<dyn Log>) -> (Box<dyn Consumer>, Box<dyn Consumer>, Revoke, Epoch) {
    two_members_within(log, REVOKE).await
}

/// The same, with so much time for each revoke.
async fn two_members_within(
    log: &Arc<dyn Log>,
    revoke_timeout: Duration,
) -> (Box<dyn Consumer>, Box<dyn Consumer>, Revoke, Epoch) {
    topic(log, "t", 2).await;
    fill(log, "t", 0, 5).await;
    fill(log, "t", 1, 5).await;
    let spec = GroupSpec { revoke_timeout, ..group(&["t"]) };
    let mut first = log.subscribe(spec.clone()).await.unwrap();
    let had = assigned(&mut first).await;
    let second = log.subscribe(spec).await.unwrap();
    let revoke = revoked(&mut first).await;
    assert_eq!(revoke.parts.len(), 1);
    let epoch = had.iter().find(|news| news.part == revoke.parts[0]).unwrap().epoch;
    (first, second, revoke, epoch)
}

pub(super) async fn second_member_takes_half(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 4).await;
    for partition in 0..4 {
        fill(&log, "t", partition, 5).await;
    }
    let (mut first, had) = subscribe_from_start(&log, &["t"]).await;
    let mut second = log.subscribe(group(&["t"])).await.unwrap();
    let revoke = loop {
        match next(&mut first).await {
            Polled::Revoke(revoke) => break revoke,
            Polled::Records { .. } | Polled::Eof { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    let mut moved = revoke.parts.clone();
    moved.sort();
    assert_eq!(moved.len(), 2);
    revoke.done();
    let mut got = assigned(&mut second).await;
    if got.len() < 2 {
        got.extend(assigned(&mut second).await);
    }
    got.sort_by(|a, b| a.part.cmp(&b.part));
    assert_eq!(got.iter().map(|news| news.part.clone()).collect::<Vec<_>>(), moved);
    for news in &got {
        let before = had.iter().find(|had| had.part == news.part).unwrap();
        assert!(news.epoch > before.epoch, "epochs grow");
        assert_eq!(news.topic_id, before.topic_id);
    }
    // Each reads its own, and only that.
    for news in &got {
        second.seek(&news.part, 0).unwrap();
    }
    let mut seen = 0;
    while seen < 10 {
        match next(&mut second).await {
            Polled::Records { records, .. } => {
                assert!(records.iter().all(|record| moved.contains(&record.part)));
                seen += records.len();
            }
            Polled::Eof { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    let kept: Vec<_> = had.iter().filter(|had| !moved.contains(&had.part)).collect();
    for had in kept {
        first.committer().commit(&had.part, had.epoch, &at(1)).await.expect("what did not move goes on");
    }
}

pub(super) async fn revoke_waits_for_done(subject: &mut dyn Subject) {
    let log = subject.log();
    let (_first, mut second, revoke, _) = two_members(&log).await;
    idle(&mut second).await;
    let part = revoke.parts[0].clone();
    revoke.done();
    assert_eq!(assigned(&mut second).await[0].part, part);
}

pub(super) async fn lost_at_the_deadline(subject: &mut dyn Subject) {
    let log = subject.log();
    let (mut first, mut second, revoke, epoch) = two_members_within(&log, Duration::from_secs(1)).await;
    let part = revoke.parts[0].clone();
    // Never answered: after the time given it is the other's.
    assert_eq!(assigned(&mut second).await[0].part, part);
    match next(&mut first).await {
        Polled::Lost(parts) => assert_eq!(parts, std::slice::from_ref(&part)),
        other => panic!("{other:?}"),
    }
    let late = first.committer().commit(&part, epoch, &at(3)).await;
    assert!(matches!(late, Err(CommitError::Fenced)));
    revoke.done();
    idle(&mut first).await;
}

pub(super) async fn old_epochs_are_fenced(subject: &mut dyn Subject) {
    let log = subject.log();
    let (first, mut second, revoke, epoch) = two_members(&log).await;
    let part = revoke.parts[0].clone();
    revoke.done();
    let news = assigned(&mut second).await.remove(0);
    for (committer, epoch) in [(first.committer(), epoch), (first.committer(), news.epoch), (second.committer(), epoch)]
    {
        assert!(matches!(committer.commit(&part, epoch, &at(3)).await, Err(CommitError::Fenced)));
    }
    assert!(log.committed("g", slice::from_ref(&part)).await.unwrap().is_empty());
    let committer = second.committer();
    committer.commit(&part, news.epoch, &at(2)).await.unwrap();
    second.close().await.unwrap();
    assert!(matches!(committer.commit(&part, news.epoch, &at(3)).await, Err(CommitError::Fenced)));
    assert_eq!(log.committed("g", slice::from_ref(&part)).await.unwrap()[&part], at(2));
}

pub(super) async fn commits_count_until_done(subject: &mut dyn Subject) {
    let log = subject.log();
    let (first, mut second, revoke, epoch) = two_members(&log).await;
    let part = revoke.parts[0].clone();
    let (committer, moved) = (first.committer(), part.clone());
    // Sent before done, perhaps still on its way at done: the next owner sees it.
    let commit = tokio::spawn(async move { committer.commit(&moved, epoch, &at(4)).await });
    tokio::task::yield_now().await;
    first.committer().commit(&part, epoch, &at(3)).await.unwrap();
    let outcome = commit.await.unwrap();
    revoke.done();
    let news = assigned(&mut second).await.remove(0);
    outcome.unwrap();
    assert_eq!(news.committed, log.committed("g", slice::from_ref(&part)).await.unwrap().remove(&part));
    assert!(news.committed.is_some());
}

pub(super) async fn receipts_arrive_after_the_revoke(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "dlq", 1).await;
    let (_first, mut second, revoke, _) = two_members(&log).await;
    let pending = log.produce(vec![record("dlq", 0, "dead letter")]).unwrap();
    revoke.done();
    assigned(&mut second).await;
    assert_eq!(pending.await[0].as_ref().unwrap().offset, 0);
}

pub(super) async fn a_member_that_leaves_hands_on(subject: &mut dyn Subject) {
    let log = subject.log();
    let (first, mut second, revoke, _) = two_members(&log).await;
    revoke.done();
    let mut parts: Vec<_> = assigned(&mut second).await.into_iter().map(|news| news.part).collect();
    first.close().await.unwrap();
    parts.extend(assigned(&mut second).await.into_iter().map(|news| news.part));
    parts.sort();
    assert_eq!(parts, [TopicPartition::new("t", 0), TopicPartition::new("t", 1)]);
}

pub(super) async fn a_deleted_topic_is_lost(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 1).await;
    topic(&log, "u", 1).await;
    fill(&log, "u", 0, 1).await;
    let (mut consumer, had) = subscribe_from_start(&log, &["t", "u"]).await;
    assert_eq!(had.len(), 2);
    log.delete_topic("t").await.unwrap();
    let (mut lost, mut read) = (None, 0);
    while lost.is_none() || read == 0 {
        match next(&mut consumer).await {
            Polled::Lost(parts) => lost = Some(parts),
            // A cluster hands it to nobody in order.
            Polled::Revoke(revoke) => {
                lost = Some(revoke.parts.clone());
                revoke.done();
            }
            Polled::Records { records, .. } => read += records.len(),
            Polled::Eof { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    let part = TopicPartition::new("t", 0);
    assert_eq!(lost, Some(vec![part.clone()]));
    let epoch = had.iter().find(|news| news.part == part).unwrap().epoch;
    let committer = consumer.committer();
    let fenced = async {
        // What was given back in order is closed to commits a moment after it was.
        while !matches!(committer.commit(&part, epoch, &at(0)).await, Err(CommitError::Fenced)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, fenced).await.expect("nothing more is committed");
    topic(&log, "t", 1).await;
    let news = loop {
        match next(&mut consumer).await {
            Polled::Assigned(news) => break news,
            Polled::Eof { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert_ne!(news[0].topic_id, had.iter().find(|had| had.part == part).unwrap().topic_id);
    assert!(news[0].epoch > epoch);
}

pub(super) async fn setting_offsets_waits_for_a_last_commit(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 1).await;
    fill(&log, "t", 0, 5).await;
    for round in 0..20 {
        let (consumer, had) = subscribe_from_start(&log, &["t"]).await;
        let (committer, news) = (consumer.committer(), had[0].clone());
        let part = news.part.clone();
        let commit = tokio::spawn(async move { committer.commit(&news.part, news.epoch, &at(1)).await });
        tokio::task::yield_now().await;
        consumer.close().await.unwrap();
        log.set_committed("g", &[(part.clone(), Some(at(4)))]).await.unwrap();
        assert!(matches!(commit.await.unwrap(), Ok(()) | Err(CommitError::Fenced)));
        assert_eq!(log.committed("g", slice::from_ref(&part)).await.unwrap()[&part], at(4), "round {round}");
    }
}
