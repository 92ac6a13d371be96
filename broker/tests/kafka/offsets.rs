//! Committed offsets, asked by someone who is no member of the group.

use std::{collections::BTreeMap, slice, sync::Arc, time::Duration};

use forebay_broker::{Committed, GroupSpec, Log, LogError, Polled, TopicPartition};
use forebay_components::{Kafka, require};

use super::{open, options, topic};

/// While the coordinator hangs nobody is told of offsets; the process lives on, and hears of them afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_hangs() {
    let mut kafka = require!(Kafka::single());
    // Over the time that a question may take: its answer is given up after it was.
    let log = open(kafka.brokers(), &options(&[("socket.timeout.ms", "11000")])).await;
    topic(&*log, "t", 1).await;
    let part = TopicPartition::new("t", 0);
    let at = Committed { offset: 0, metadata: "m".to_owned() };
    // Waits until the new cluster has a coordinator.
    assert!(log.committed("g", slice::from_ref(&part)).await.unwrap().is_empty());
    log.set_committed("g", &[(part.clone(), Some(at.clone()))]).await.unwrap();
    let asked = |group: &'static str| {
        let (log, part) = (Arc::clone(&log), part.clone());
        tokio::spawn(async move { Ok(log.committed(group, slice::from_ref(&part)).await?.remove(&part)) })
    };
    assert_eq!(asked("g").await.unwrap().unwrap(), Some(at.clone()));
    kafka.stop(1).unwrap();
    for answer in ["g", "g", "h"].map(asked) {
        let answer: Result<Option<Committed>, LogError> = answer.await.unwrap();
        assert!(matches!(answer, Err(LogError::Unavailable(_))), "{answer:?}");
    }
    // Until librdkafka has given up what it asked for.
    tokio::time::sleep(Duration::from_secs(4)).await;
    kafka.cont(1).unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            if let Ok(answer) = asked("g").await.unwrap() {
                return answer;
            }
        }
    });
    assert_eq!(answer.await.unwrap(), Some(at));
    log.close().await.unwrap();
}

/// More groups than are remembered, unknown ones too; members of a group never hear of who asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_groups_and_members_undisturbed() {
    let kafka = require!(Kafka::single());
    for protocol in ["classic", "consumer"] {
        let log = open(kafka.brokers(), &options(&[("group.protocol", protocol)])).await;
        let name = format!("many-{protocol}");
        topic(&*log, &name, 2).await;
        let parts = [0, 1].map(|partition| TopicPartition::new(&*name, partition));
        let spec = GroupSpec {
            group: format!("of-{protocol}"),
            topics: vec![name.clone()],
            all_topics: false,
            except: Vec::new(),
            revoke_timeout: Duration::from_secs(20),
        };
        let mut member = log.subscribe(spec.clone()).await.unwrap();
        let mut held = BTreeMap::new();
        while held.len() < parts.len() {
            if let Polled::Assigned(news) = member.poll(10, Duration::from_millis(100)).await.unwrap() {
                held.extend(news.into_iter().map(|news| (news.part, news.epoch)));
            }
        }
        let at = Committed { offset: 0, metadata: "mine".to_owned() };
        member.committer().commit(&parts[1], held[&parts[1]], &at).await.unwrap();
        for round in 0..20 {
            let of_others = log.committed(&format!("other-{round}"), &parts).await.unwrap();
            assert!(of_others.is_empty(), "{of_others:?}");
            let found = log.committed(&spec.group, &parts).await.unwrap();
            assert_eq!(found.into_iter().collect::<Vec<_>>(), [(parts[1].clone(), at.clone())]);
            let polled = member.poll(10, Duration::from_millis(10)).await.unwrap();
            assert!(matches!(polled, Polled::Idle), "{polled:?}");
        }
        member.close().await.unwrap();
        log.close().await.unwrap();
    }
}
