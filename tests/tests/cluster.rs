//! The system as a team runs it: Apache Kafka, S3, a registry elsewhere, the service and two sink workers as processes
//! of their own, under load and under faults, audited record by record.
#![allow(clippy::print_stdout)]

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use forebay_broker::{
    Log, NewRecord, TopicPartition,
    config::{BrokerOptions, ProducerOptions},
};
use forebay_components::{Apicurio, Kafka, S3, require};
use forebay_tests::{
    audit::{Evidence, settled},
    lake,
    load::{Producer, SCHEMA, TOPIC, Told},
    process::{Role, free_port},
};
use rustix::process::Signal;

const PRODUCERS: u32 = 3;
/// Shorter than a stop of the test, longer than a pause of a busy machine.
const SESSION_MS: u64 = 4_000;

/// Where everything is.
struct World {
    dir: tempfile::TempDir,
    servers: String,
    lake: std::path::PathBuf,
    api: u16,
    management: u16,
}

impl World {
    fn new(kafka: &Kafka, s3: &S3, registry: &Apicurio) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let (api, management) = (free_port()?, free_port()?);
        let config = format!(
            "data_dir: ./data\n\
             broker:\n  url: \"kafka://{}\"\n  librdkafka: {{session.timeout.ms: {SESSION_MS}, heartbeat.interval.ms: 500}}\n\
             registry: {{url: \"{}\"}}\n\
             api: {{listen: \"127.0.0.1:{api}\", management_listen: \"127.0.0.1:{management}\"}}\n\
             topics:\n  {TOPIC}: {{partitions: 4, key: /payload/producer, schema_file: audited.avsc}}\n\
             connectors:\n  lake:\n    sink: s3\n    url: \"s3://{}/lake\"\n\
             \x20   s3: {{endpoint_url: \"{}\", region: {}, access_key_id: {}, secret_access_key: {}}}\n\
             \x20   topics: [\"{TOPIC}\"]\n    batch: {{max_age_ms: 200, max_rows: 400}}\n    metadata.columns: true\n",
            kafka.brokers(),
            registry.url,
            s3.bucket,
            s3.endpoint,
            s3.region,
            s3.access_key,
            s3.secret_key,
        );
        std::fs::write(dir.path().join("forebay.yaml"), config)?;
        std::fs::write(dir.path().join("audited.avsc"), SCHEMA)?;
        let lake = s3.root()?.join(&s3.bucket).join("lake");
        Ok(Self { dir, servers: kafka.brokers().to_owned(), lake, api, management })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    async fn service(&self) -> Result<Role> {
        let mut service = Role::start(self.path(), "api", "api")?;
        service.ready(&format!("http://127.0.0.1:{}/readyz", self.management)).await?;
        Ok(service)
    }

    fn producers(&self) -> Vec<Producer> {
        (0..PRODUCERS).map(|n| Producer::start(&format!("http://127.0.0.1:{}", self.api), n, 0)).collect()
    }

    /// Waits until a line stands in the metrics of the service.
    async fn shown(&self, line: &str) -> Result<()> {
        let mut text = String::new();
        for _ in 0..300 {
            text = reqwest::get(format!("http://127.0.0.1:{}/metrics", self.management)).await?.text().await?;
            if text.lines().any(|shown| shown == line) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        bail!("{line} is not shown within a minute\n{text}")
    }

    async fn log(&self) -> Result<Arc<dyn Log>> {
        let url = Some(format!("kafka://{}", self.servers));
        let broker = BrokerOptions { url, ..Default::default() }.settings()?;
        let producer = ProducerOptions::default().settings(&broker.url)?;
        Ok(forebay_broker::open(&broker, producer).await?.log)
    }

    /// Waits until the connector has committed all there is.
    async fn delivered(&self, workers: &[Role]) -> Result<()> {
        let log = self.log().await?;
        let mut last = String::new();
        for _ in 0..600 {
            let partitions = log.topic(TOPIC).await?.partitions;
            let parts: Vec<_> = (0..partitions).map(|partition| TopicPartition::new(TOPIC, partition)).collect();
            let committed = log.committed("connect-lake", &parts).await?;
            let mut lag = 0;
            for part in parts {
                let high = log.watermarks(&part).await?.high;
                lag += high - committed.get(&part).filter(|at| at.metadata == "v1;done").map_or(0, |at| at.offset);
            }
            if lag == 0 {
                return Ok(());
            }
            last = format!("{lag} behind, {committed:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let logs: Vec<_> = workers.iter().map(Role::log_end).collect();
        bail!("the lake lags: {last}\n{}", logs.join("\n----\n"))
    }

    /// Holds answers, topic and lake against each other.
    async fn audit(&self, told: Vec<Told>) -> Result<()> {
        let mut evidence = Evidence::default();
        for told in told {
            evidence.acknowledged.extend(told.accepted);
        }
        lake::gather_rows(&self.lake, &mut evidence)?;
        lake::gather_records(&*self.log().await?, &mut evidence).await?;
        println!("{}", settled(&evidence)?);
        Ok(())
    }
}

async fn stop(producers: Vec<Producer>) -> Result<Vec<Told>> {
    let mut told = Vec::new();
    for producer in producers {
        told.push(producer.stop().await?);
    }
    Ok(told)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_killed_stopped_and_rebalanced_lose_and_double_nothing() -> Result<()> {
    let kafka = require!(Kafka::single(), Ok(()));
    let s3 = require!(S3::start(), Ok(()));
    let registry = require!(Apicurio::start(), Ok(()));
    let world = World::new(&kafka, &s3, &registry)?;
    let mut service = world.service().await?;
    let mut workers = [Role::start(world.path(), "sink", "sink-0")?, Role::start(world.path(), "sink", "sink-1")?];
    let producers = world.producers();
    let mut seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos() as u64 | 1;
    println!("seed {seed}");
    for round in 0..10_usize {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pause = Duration::from_millis(300 + (seed >> 33) % 1500);
        // One dies; the group notices when its session is over. The other leaves in order and comes back.
        let (dies, leaves) = (round % 2, (round + 1) % 2);
        tokio::time::sleep(pause).await;
        workers[dies].kill()?;
        workers[dies].again()?;
        tokio::time::sleep(pause).await;
        workers[leaves].terminate().await.with_context(|| format!("round {round}"))?;
        workers[leaves].again()?;
        if round % 5 == 4 {
            // Past its session: its partitions go to the other, and it wakes up as a zombie.
            workers[dies].signal(Signal::STOP)?;
            tokio::time::sleep(Duration::from_millis(SESSION_MS + 1_500)).await;
            workers[dies].signal(Signal::CONT)?;
        }
    }
    let told = stop(producers).await?;
    world.delivered(&workers).await?;
    for worker in &mut workers {
        worker.terminate().await?;
    }
    service.terminate().await?;
    world.audit(told).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_under_load_loses_no_acknowledged_event() -> Result<()> {
    let mut kafka = require!(Kafka::three(), Ok(()));
    let s3 = require!(S3::start(), Ok(()));
    let registry = require!(Apicurio::start(), Ok(()));
    let world = World::new(&kafka, &s3, &registry)?;
    let mut service = world.service().await?;
    let mut worker = Role::start(world.path(), "sink", "sink-0")?;
    let producers = world.producers();
    tokio::time::sleep(Duration::from_secs(2)).await;
    kafka.kill(2)?;
    // The service stays up and answers; what it can't store it says.
    for _ in 0..10 {
        let live = reqwest::get(format!("http://127.0.0.1:{}/livez", world.management)).await?;
        ensure!(live.status().is_success(), "the service is not alive: {}", live.status());
        tokio::time::sleep(Duration::from_millis(800)).await;
    }
    world.shown("forebay_broker_up{broker=\"2\"} 0").await?;
    kafka.start(2)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let told = stop(producers).await?;
    world.delivered(std::slice::from_ref(&worker)).await?;
    worker.terminate().await?;
    service.terminate().await?;
    world.audit(told).await
}

/// Someone adds partitions to a topic while a sink runs: it takes them up, on an idle machine within 10 s, and delivers what comes there.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_added_are_delivered() -> Result<()> {
    let kafka = require!(Kafka::single(), Ok(()));
    let s3 = require!(S3::start(), Ok(()));
    let registry = require!(Apicurio::start(), Ok(()));
    let world = World::new(&kafka, &s3, &registry)?;
    let mut service = world.service().await?;
    let mut worker = Role::start(world.path(), "sink", "sink-0")?;
    let producers = world.producers();
    let log = world.log().await?;
    let first = async {
        loop {
            for partition in 0..4 {
                if let Some(record) = log.read(&TopicPartition::new(TOPIC, partition), 0, 1, 1).await?.pop() {
                    return anyhow::Ok(record);
                }
            }
        }
    };
    let some = tokio::time::timeout(Duration::from_secs(60), first).await.context("nothing was produced")??;
    stop(producers).await?;
    world.delivered(std::slice::from_ref(&worker)).await?;
    log.grow_topic(TOPIC, 7).await?;
    let record = NewRecord {
        topic: TOPIC.into(),
        partition: Some(6),
        key: some.key,
        value: some.value,
        headers: some.headers,
        timestamp_ms: None,
    };
    let receipts = log.produce(vec![record])?.await;
    ensure!(receipts.iter().all(Result::is_ok), "{receipts:?}");
    let added = TopicPartition::new(TOPIC, 6);
    let taken_up = async {
        while !log.committed("connect-lake", std::slice::from_ref(&added)).await?.contains_key(&added) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    let taken_up = tokio::time::timeout(Duration::from_secs(60), taken_up).await;
    taken_up.with_context(|| format!("not taken up within 60 s\n{}", worker.log_end()))??;
    world.delivered(std::slice::from_ref(&worker)).await?;
    worker.terminate().await?;
    service.terminate().await?;
    let files = lake::files(&world.lake.join(TOPIC).join("partition=6"))?;
    ensure!(files.len() == 1, "{files:?}");
    Ok(())
}
