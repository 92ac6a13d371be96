//! The identity that the lake keeps of a topic, where the log could not always tell it.

use std::sync::Arc;

use forebay_broker::Log;
use forebay_sink::sinks::{Claim, Resume, Sink, SinkError, lake::LakeSink, memory::MemoryStore, store::ObjectStore};

use super::{FAST, part, support::*};

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
