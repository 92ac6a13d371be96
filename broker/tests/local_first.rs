//! First steps on the embedded log.

use std::{sync::Arc, time::Duration};

use forebay_broker::{
    Committed, GroupSpec, Log, NewRecord, Polled, TopicPartition, TopicSpec,
    config::{BrokerOptions, ProducerOptions},
    local::{LocalLog, LocalSettings},
};

fn open(dir: &std::path::Path) -> Arc<LocalLog> {
    let options = BrokerOptions { url: Some(format!("local://{}", dir.display())), ..Default::default() };
    let producer = ProducerOptions::default().settings().unwrap();
    LocalLog::open(LocalSettings::new(&options.settings().unwrap(), producer)).unwrap()
}

fn record(topic: &str, value: &str) -> NewRecord {
    NewRecord {
        topic: topic.into(),
        partition: Some(0),
        key: None,
        value: Some(value.to_owned().into()),
        headers: Default::default(),
        timestamp_ms: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn produce_consume_commit_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.create_topic(&TopicSpec { name: "t".into(), partitions: 2, config: Default::default() }).await.unwrap();
    let receipts = log.produce(vec![record("t", "a"), record("t", "b"), record("no", "c")]).unwrap().await;
    assert_eq!(receipts[1].as_ref().unwrap().offset, 1);
    assert!(receipts[2].is_err());
    let spec = GroupSpec {
        group: "g".into(),
        topics: vec!["t".into()],
        all_topics: false,
        except: vec![],
        revoke_timeout: Duration::from_secs(5),
    };
    let mut consumer = log.subscribe(spec).await.unwrap();
    let Polled::Assigned(news) = consumer.poll(10, Duration::from_secs(1)).await.unwrap() else { panic!() };
    for assigned in &news {
        consumer.seek(&assigned.part, 0).unwrap();
    }
    let Polled::Records { records, epoch } = consumer.poll(10, Duration::from_secs(1)).await.unwrap() else { panic!() };
    assert_eq!(records.len(), 2);
    let committed = Committed { offset: 2, metadata: "m".into() };
    consumer.committer().commit(&records[0].part, epoch, &committed).await.unwrap();
    drop(consumer);
    let id = log.cluster_id().to_owned();
    log.close().await.unwrap();
    drop(log);
    let log = open(dir.path());
    assert_eq!(log.cluster_id(), id);
    let part = TopicPartition::new("t", 0);
    assert_eq!(log.committed("g").await.unwrap()[&part], committed);
    assert_eq!(log.read(&part, 0, 10, 1 << 20).await.unwrap().len(), 2);
}
