//! Topics that take less than a batch of ours may have.

use std::{collections::BTreeMap, time::Duration};

use forebay_broker::{
    Log, NewRecord, ProduceError, TopicPartition, TopicSpec,
    config::ProducerSettings,
    conformance::LIMITS,
    kafka::{KafkaLog, KafkaSettings, batch_advice},
};
use forebay_components::{Kafka, require};

use super::{options, record};

const LIMIT: usize = 20_000;
const RECORDS: i32 = 300;

/// Bytes that no codec makes smaller.
fn noise(seed: i32) -> Vec<u8> {
    let mut state = u64::from(seed.unsigned_abs()) + 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(1_000).collect()
}

async fn open_with(servers: &str, librdkafka: &BTreeMap<String, String>) -> std::sync::Arc<KafkaLog> {
    // Long enough for all records to meet in one batch.
    let producer = ProducerSettings { linger: Duration::from_millis(300), ..LIMITS };
    KafkaLog::open(KafkaSettings { servers: servers.to_owned(), librdkafka: librdkafka.clone(), producer })
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_refused_blames_no_record_and_names_the_setting_that_helps() {
    let kafka = require!(Kafka::single());
    let plain = open_with(kafka.brokers(), &BTreeMap::new()).await;
    let config = BTreeMap::from([("max.message.bytes".to_owned(), LIMIT.to_string())]);
    let info = plain.create_topic(&TopicSpec { name: "t".to_owned(), partitions: 1, config }).await.unwrap();
    let calls = || (0..RECORDS).map(|n| NewRecord { value: Some(noise(n).into()), ..record("t", n) }).collect();
    let setting = format!("batch.size: {LIMIT}");
    let fates = plain.produce(calls()).unwrap().await;
    let refused: Vec<_> = fates.iter().filter_map(|fate| fate.as_ref().err()).collect();
    assert!(!refused.is_empty());
    for why in refused {
        assert!(matches!(why, ProduceError::Unavailable(why) if why.contains(&setting)), "{why}");
    }
    assert!(batch_advice(&info, &BTreeMap::new()).unwrap().contains(&setting));
    let stored = fates.iter().filter(|fate| fate.is_ok()).count() as i64;
    let part = TopicPartition::new("t", 0);
    assert_eq!(plain.watermarks(&part).await.unwrap().high, stored, "what was refused is not there");
    plain.close().await.unwrap();

    let smaller = options(&[("batch.size", &LIMIT.to_string())]);
    assert_eq!(batch_advice(&info, &smaller), None);
    let log = open_with(kafka.brokers(), &smaller).await;
    let fates = log.produce(calls()).unwrap().await;
    let offsets: Vec<_> = fates.into_iter().map(|fate| fate.unwrap().offset).collect();
    assert_eq!(offsets, (stored..stored + i64::from(RECORDS)).collect::<Vec<_>>());
    // One record may be as large as the topic takes, less its frame.
    let over = NewRecord { value: Some(vec![b'x'; LIMIT + 1].into()), ..record("t", 0) };
    assert!(matches!(log.produce(vec![over]).unwrap().await[0], Err(ProduceError::TooLarge { .. })));
    log.close().await.unwrap();
}
