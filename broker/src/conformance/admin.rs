//! Topics, identities, reopening.

use super::*;
use crate::{Committed, LogError, ProduceError};

pub(super) async fn topics_come_and_go(subject: &mut dyn Subject) {
    let log = subject.log();
    topic_with(&log, "b", 2, &[("retention.ms", "1000000")]).await;
    topic(&log, "a", 1).await;
    topic(&log, "__internal", 1).await;
    let names: Vec<_> = topics(&log).await.into_iter().map(|info| info.name.to_string()).collect();
    assert_eq!(names, ["__internal", "a", "b"]);
    let info = log.topic("b").await.unwrap();
    assert_eq!((info.partitions, info.config["retention.ms"].as_str()), (2, "1000000"));
    let again = log.create_topic(&TopicSpec { name: "a".into(), partitions: 1, config: BTreeMap::new() }).await;
    assert!(matches!(again, Err(LogError::TopicExists(_))));
    log.delete_topic("a").await.unwrap();
    assert!(matches!(log.topic("a").await, Err(LogError::UnknownTopic(_))));
    let receipts = log.produce(vec![record("a", 0, "x")]).unwrap().await;
    assert_eq!(receipts[0], Err(ProduceError::UnknownTopic("a".into())));
}

pub(super) async fn names_and_settings_are_checked(subject: &mut dyn Subject) {
    let log = subject.log();
    let table = [("", 1, None), ("a/b", 1, None), ("t", 0, None), ("t", 10_001, None), ("t", 1, Some("no.such"))];
    for (name, partitions, setting) in table {
        let config = setting.map(|setting: &str| (setting.to_owned(), "1".to_owned())).into_iter().collect();
        let made = log.create_topic(&TopicSpec { name: name.into(), partitions, config }).await;
        assert!(matches!(made, Err(LogError::Invalid(_))), "{name} {partitions} {setting:?}");
    }
    assert!(topics(&log).await.is_empty());
    assert!(matches!(
        log.subscribe(GroupSpec { group: String::new(), ..group(&["t"]) }).await,
        Err(LogError::Invalid(_))
    ));
    assert!(matches!(log.subscribe(group(&[])).await, Err(LogError::Invalid(_))));
}

pub(super) async fn a_topic_made_again_is_another(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 1).await;
    let part = TopicPartition::new("t", 0);
    let first = log.topic("t").await.unwrap().id;
    fill(&log, "t", 0, 5).await;
    log.set_committed("g", &[(part.clone(), Some(Committed { offset: 3, metadata: "m".into() }))]).await.unwrap();
    log.delete_topic("t").await.unwrap();
    topic(&log, "t", 1).await;
    let second = log.topic("t").await.unwrap().id;
    assert!(first.is_some() && first != second);
    assert_eq!(log.topic_id("t").await.unwrap(), second);
    assert!(matches!(log.topic_id("none").await, Err(LogError::UnknownTopic(_))));
    assert_eq!(log.watermarks(&part).await.unwrap().high, 0);
    assert!(log.committed("g", slice::from_ref(&part)).await.unwrap().is_empty(), "commits go with their topic");
    assert_eq!(produce(&log, vec![record("t", 0, "x")]).await[0].offset, 0);
    drop(log);
    subject.reopen().await;
    let log = subject.log();
    assert_eq!(log.topic("t").await.unwrap().id, second);
    assert_eq!(read_all(&log, &part).await.len(), 1);
}

/// Where a log compacts, records without a key are refused alone; where it does not, it says so before there is a topic.
pub(super) async fn compacted_topics_want_keys(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "plain", 1).await;
    assert_eq!(log.topic("plain").await.unwrap().compacted, Some(false));
    let config = [("cleanup.policy".to_owned(), "compact".to_owned())].into();
    let info = match log.create_topic(&TopicSpec { name: "t".into(), partitions: 1, config }).await {
        Err(LogError::Invalid(why)) => {
            assert!(why.contains("cleanup.policy \"compact\"") && why.contains("only \"delete\""), "{why}");
            assert!(matches!(log.topic("t").await, Err(LogError::UnknownTopic(_))));
            return;
        }
        made => made.unwrap(),
    };
    let listed = topics(&log).await.into_iter().find(|info| &*info.name == "t");
    for info in [info, log.topic("t").await.unwrap(), listed.unwrap()] {
        assert_eq!(info.compacted, Some(true));
    }
    assert!(log.is_compacted("t") && !log.is_compacted("plain"));
    let keyless = |topic| NewRecord { key: None, ..record(topic, 0, "x") };
    let keyed = |topic| NewRecord { key: Some("k".into()), ..record(topic, 0, "y") };
    let tombstone = NewRecord { value: None, ..keyed("t") };
    let receipts = log.produce(vec![keyless("t"), keyed("t"), keyless("plain"), tombstone]).unwrap().await;
    assert_eq!(receipts[0], Err(ProduceError::KeyRequired("t".into())));
    assert!(receipts[1..].iter().all(Result::is_ok), "{receipts:?}");
}

pub(super) async fn grow_a_topic(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 1).await;
    fill(&log, "t", 0, 3).await;
    let id = log.topic("t").await.unwrap().id;
    let (mut consumer, _) = subscribe_from_start(&log, &["t"]).await;
    let (records, _) = until_eof(&mut consumer).await;
    assert_eq!(records.len(), 3);
    let grown = log.grow_topic("t", 3).await.unwrap();
    assert_eq!((grown.partitions, grown.id), (3, id));
    assert!(matches!(log.grow_topic("t", 2).await, Err(LogError::Invalid(_))));
    assert_eq!(assigned(&mut consumer).await.len(), 2, "a member gets the new ones");
    fill(&log, "t", 2, 1).await;
    assert_eq!(log.watermarks(&TopicPartition::new("t", 0)).await.unwrap().high, 3);
    drop((consumer, log));
    subject.reopen().await;
    assert_eq!(subject.log().topic("t").await.unwrap().partitions, 3);
}

pub(super) async fn settings_change_one_by_one(subject: &mut dyn Subject) {
    let log = subject.log();
    topic_with(&log, "t", 2, &[("retention.ms", "1000000"), ("max.message.bytes", "1000")]).await;
    fill(&log, "t", 0, 3).await;
    let before = log.topic("t").await.unwrap();
    let of = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let changed = log.set_topic("t", &of(&[("retention.ms", "-1"), ("retention.bytes", "5000000")])).await.unwrap();
    let expected = of(&[("max.message.bytes", "1000"), ("retention.bytes", "5000000"), ("retention.ms", "-1")]);
    assert_eq!((&changed.id, changed.partitions, &changed.config), (&before.id, 2, &expected));
    assert_eq!(log.topic("t").await.unwrap().config, expected, "the others stay as they were");
    for bad in [("no.such", "1"), ("retention.ms", "soon")] {
        let refused = log.set_topic("t", &of(&[("retention.bytes", "7"), bad])).await;
        assert!(matches!(refused, Err(LogError::Invalid(_))), "{bad:?}: {refused:?}");
    }
    assert!(matches!(log.set_topic("none", &of(&[("retention.ms", "1")])).await, Err(LogError::UnknownTopic(_))));
    log.set_topic("t", &of(&[("max.message.bytes", "2000")])).await.unwrap();
    let receipts = log.produce(vec![record("t", 0, "x".repeat(1_500))]).unwrap().await;
    assert!(receipts[0].is_ok(), "a limit counts once it is set: {receipts:?}");
    drop(log);
    subject.reopen().await;
    let after = subject.log().topic("t").await.unwrap().config;
    assert_eq!(after, of(&[("max.message.bytes", "2000"), ("retention.bytes", "5000000"), ("retention.ms", "-1")]));
    assert_eq!(read_all(&subject.log(), &TopicPartition::new("t", 0)).await.len(), 4);
}

pub(super) async fn reopening_keeps_everything(subject: &mut dyn Subject) {
    let log = subject.log();
    topic_with(&log, "t", 2, &[("retention.bytes", "-1")]).await;
    topic(&log, "gone", 1).await;
    let part = TopicPartition::new("t", 1);
    let mut with_headers = record("t", 1, "v");
    with_headers.headers.push("h", &b"1"[..]);
    produce(&log, vec![with_headers, record("t", 0, "w")]).await;
    let position = Committed { offset: 1, metadata: "intent".into() };
    log.set_committed("g", &[(part.clone(), Some(position.clone()))]).await.unwrap();
    log.delete_topic("gone").await.unwrap();
    let (cluster, info) = (log.cluster_id().to_owned(), log.topic("t").await.unwrap());
    drop(log);
    for _ in 0..3 {
        subject.reopen().await;
        let log = subject.log();
        assert_eq!(log.cluster_id(), cluster);
        let again = log.topic("t").await.unwrap();
        assert_eq!((&again.id, again.partitions, &again.config), (&info.id, 2, &info.config));
        assert_eq!(topics(&log).await.len(), 1);
        let read = read_all(&log, &part).await;
        assert_eq!((text(&read[0]), read[0].headers.text("h")), ("v", Some("1")));
        assert_eq!(log.committed("g", slice::from_ref(&part)).await.unwrap()[&part], position);
        log.health().await.unwrap();
    }
}

pub(super) async fn offsets_go_on_after_reopening(subject: &mut dyn Subject) {
    for round in 0..5 {
        let log = subject.log();
        if round == 0 {
            topic(&log, "t", 1).await;
        }
        let receipts = produce(&log, (0..10).map(|n| record("t", 0, n.to_string())).collect()).await;
        let offsets: Vec<_> = receipts.iter().map(|receipt| receipt.offset).collect();
        assert_eq!(offsets, (round * 10..round * 10 + 10).collect::<Vec<_>>());
        drop(log);
        subject.reopen().await;
    }
}

pub(super) async fn closed_refuses(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&log, "t", 1).await;
    let pending = log.produce(vec![record("t", 0, "a")]).unwrap();
    let (mut consumer, _) = subscribe_from_start(&log, &["t"]).await;
    log.close().await.unwrap();
    log.close().await.unwrap();
    assert!(pending.await[0].is_ok(), "what was accepted is finished");
    assert!(matches!(log.produce(vec![record("t", 0, "b")]), Err(ProduceError::Unavailable(_))));
    assert!(matches!(log.health().await, Err(LogError::Closed)));
    assert!(matches!(log.subscribe(group(&["t"])).await, Err(LogError::Closed)));
    assert!(matches!(consumer.poll(1, PATIENCE).await, Err(LogError::Closed)));
    drop((consumer, log));
    subject.reopen().await;
    assert_eq!(read_all(&subject.log(), &TopicPartition::new("t", 0)).await.len(), 1);
}
