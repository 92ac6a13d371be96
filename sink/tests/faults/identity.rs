//! The identity that the lake keeps of a topic, where the log could not always tell it.

use std::{sync::Arc, time::Duration};

use forebay_broker::{Committed, Log};
use forebay_sink::sinks::{Claim, Resume, Sink, SinkError, lake::LakeSink, memory::MemoryStore, store::ObjectStore};
use forebay_sink::{intent::DONE, status::State};

use super::{
    FAST, part,
    support::{slow::SlowLog, *},
};

fn claim(topic_id: Option<&str>) -> Claim {
    Claim {
        part: part(),
        cluster_id: "sim-cluster".into(),
        topic_id: topic_id.map(Into::into),
        committed: Some(0),
        intent: None,
        by_hand: false,
        low: 0,
        high: 10,
        partitions: None,
    }
}

async fn lake() -> (World, Arc<MemoryStore>, LakeSink) {
    let (_, world, store) = simulated(1).await;
    let lake = LakeSink::new(&world.settings(FAST), store.clone(), world.dir.join("tmp"));
    (world, store, lake)
}

#[tokio::test(start_paused = true)]
async fn an_identity_learned_later_is_kept() {
    let (_world, _, lake) = lake().await;
    for id in [None, Some("a"), None] {
        assert_eq!(lake.resume_from(&claim(id)).await, Ok(Resume::FromLog), "{id:?}");
        lake.adopt(&claim(id), false).await.unwrap();
    }
    let refused = lake.resume_from(&claim(Some("b"))).await.unwrap();
    assert!(matches!(&refused, Resume::Refuse { code: "TOPIC_RECREATED", .. }), "{refused:?}");
    // Another one is never taken over by itself.
    lake.adopt(&claim(Some("b")), false).await.unwrap();
    assert_eq!(lake.resume_from(&claim(Some("b"))).await, Ok(refused));
    lake.adopt(&claim(Some("b")), true).await.unwrap();
    assert_eq!(lake.resume_from(&claim(Some("b"))).await, Ok(Resume::FromLog));
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_is_unreadable_calls_a_person() {
    let (_world, store, lake) = lake().await;
    store.put_control("t/topic.json", "{\"cluster_id\":", true).await.unwrap();
    let Err(SinkError::Stop { code, advice }) = lake.resume_from(&claim(Some("a"))).await else { panic!() };
    assert_eq!(code, "IDENTITY_UNREADABLE");
    assert!(advice.contains("_forebay/lake/t/topic.json"), "{advice}");
}

#[tokio::test(start_paused = true)]
async fn files_from_before_the_topics_identity_was_known_are_ones_own() {
    let (log, world, store) = simulated(2).await;
    world.topic("t", 1).await;
    world.publish("t", 1, 0, 10).await;
    let connector = world.start_on(FAST, &store);
    world.settled("t").await;
    drop(connector);
    super::pass(60).await;
    // As if the log had told no id then, and the commit had been lost.
    let older = Arc::new(MemoryStore::default());
    for (key, (bytes, mut metadata)) in store.objects() {
        metadata.insert("forebay-topic-id".to_owned(), String::new());
        older.plant(&key, bytes, metadata);
    }
    log.overwrite_committed(super::GROUP, &part(), None);
    let _connector = world.start_on(FAST, &older);
    world.settled("t").await;
    assert_eq!(log.committed(super::GROUP, &[part()]).await.unwrap()[&part()].offset, 10);
    world.audit_rows("t", read_store(&older)).await;
}

/// Nobody tells a consumer; its records would get names and identity of the old topic's.
#[tokio::test(start_paused = true)]
async fn a_topic_made_anew_under_a_running_task_is_noticed() {
    let (log, mut world, store) = simulated(3).await;
    let slow = Arc::new(SlowLog::over(log));
    world.log = slow.clone();
    world.topic("t", 1).await;
    let connector = world.start_on(FAST, &store);
    world.publish("t", 1, 0, 10).await;
    world.settled("t").await;
    slow.recreate_topics();
    world.publish("t", 1, 10, 20).await;
    eventually("the refusal", async || connector.status().state == State::Failed).await;
    assert_eq!(connector.status().trouble.unwrap().code, "TOPIC_RECREATED");
    assert_eq!(read_store(&store).len(), 10);
}

/// As told: with the old files away it is delivered from its start, whatever was committed last and wherever topics start.
#[tokio::test(start_paused = true)]
async fn a_topic_made_anew_is_delivered_whole_once_there_is_room() {
    for (late_commit, start) in [(None, "earliest"), (Some(10), "earliest"), (Some(10), "latest"), (None, "latest")] {
        let (log, world, store) = simulated(3).await;
        world.topic("t", 1).await;
        let options = format!(r#"{{"start":"{start}","batch":{{"max_age_ms":300}}}}"#);
        let connector = world.start_on(&options, &store);
        eventually("the claim", async || world.committed(super::GROUP, "t").await.len() == 1).await;
        world.publish("t", 1, 0, 10).await;
        world.settled("t").await;
        assert!(connector.drain(Duration::from_secs(10)).await);
        log.recreate_topic("t").await.unwrap();
        let committed = late_commit.map(|offset| Committed { offset, metadata: DONE.to_owned() });
        log.overwrite_committed(super::GROUP, &part(), committed);
        for (from, records) in [(10, 5), (15, 25)] {
            world.publish("t", 1, from, records).await;
            let connector = world.start_on(&options, &store);
            eventually("the refusal", async || connector.status().state == State::Failed).await;
            let trouble = connector.status().trouble.unwrap();
            assert_eq!(trouble.code, "TOPIC_RECREATED", "{from}");
            assert!(trouble.advice.contains("move t/ and _forebay/lake/t/ away"), "{}", trouble.advice);
            drop(connector);
            super::pass(60).await;
        }
        let moved_away = Arc::new(MemoryStore::default());
        let _connector = world.start_on(&options, &moved_away);
        world.settled("t").await;
        assert_eq!(read_store(&moved_away).len(), 30);
        world.audit_rows("t", read_store(&moved_away)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn partitions_added_later_lose_no_record() {
    for start in [r#""latest""#, r#"{"timestamp_ms":9999999999999}"#] {
        let (log, world, store) = simulated(4).await;
        world.topic("t", 2).await;
        world.publish("t", 2, 0, 10).await;
        let _connector = world.start_on(&format!(r#"{{"start":{start},"batch":{{"max_age_ms":300}}}}"#), &store);
        eventually("the claims", async || world.committed(super::GROUP, "t").await.len() == 2).await;
        assert_eq!(world.lag(super::GROUP, "t").await, 0);
        log.grow_topic("t", 4).await.unwrap();
        world.publish("t", 4, 10, 40).await;
        world.settled("t").await;
        assert_eq!(read_store(&store).len(), 40, "{start}");
    }
}
