//! The service under test: the API over a log, in a process of its own.

use std::{io::BufRead, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use forebay_api::{Deps, Listeners, config};
use forebay_avro::registry::{Embedded, MemoryStore, Registry, RegistryStore};
use forebay_bench::sample;
use forebay_broker::{
    Log, TopicPartition, TopicSpec,
    config::{BrokerOptions, ProducerOptions},
    local::{LocalLog, LocalSettings},
    sim::{SimLog, SimSettings},
};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 8;

/// Serves on a free port, which is the first line printed; `count` on standard input prints the number of records,
/// `stop` or its end stops.
pub fn serve(log: &str) -> Result<()> {
    let runtime = Runtime::new()?;
    let scratch = tempfile::tempdir()?;
    let inside = runtime.enter();
    let (log, store) = open(log, scratch.path())?;
    drop(inside);
    let shutdown = CancellationToken::new();
    let service = runtime.block_on(start(log.clone(), store, shutdown.clone()))?;
    for line in std::io::stdin().lock().lines() {
        match line?.as_str() {
            "count" => println!("{}", runtime.block_on(count(&log))?),
            _ => break,
        }
    }
    shutdown.cancel();
    runtime.block_on(service)??;
    runtime.block_on(log.close())?;
    Ok(())
}

fn open(log: &str, scratch: &std::path::Path) -> Result<(Arc<dyn Log>, Arc<dyn RegistryStore>)> {
    match log {
        "local" => {
            let url = Some(format!("local://{}", scratch.display()));
            let broker = BrokerOptions { url, ..Default::default() }.settings()?;
            let log = LocalLog::open(LocalSettings::new(
                scratch.to_owned(),
                &broker,
                ProducerOptions::default().settings(&broker.url)?,
            ))?;
            let store = log.registry_store();
            Ok((log, store))
        }
        "memory" => {
            let settings = SimSettings { latency: Duration::ZERO, ..SimSettings::default() };
            Ok((SimLog::new(settings), Arc::new(MemoryStore::default())))
        }
        other => bail!("no log {other:?}: local or memory"),
    }
}

type Running = tokio::task::JoinHandle<Result<forebay_api::Drained, forebay_api::ServeError>>;

async fn start(log: Arc<dyn Log>, store: Arc<dyn RegistryStore>, shutdown: CancellationToken) -> Result<Running> {
    let registry = Embedded::open(store)?;
    registry.register(&format!("{TOPIC}-value"), sample::SCHEMA, &[]).await?;
    let spec = TopicSpec { name: TOPIC.into(), partitions: PARTITIONS, config: Default::default() };
    log.create_topic(&spec).await?;
    let mut settings = settings()?;
    settings.listen = ([127, 0, 0, 1], 0).into();
    settings.management_listen = None;
    settings.drain.ready_wait = Duration::ZERO;
    let listeners = Listeners::bind(&settings).await?;
    println!("{}", listeners.api.as_ref().context("no listener")?.local_addr()?.port());
    let deps = Deps {
        log,
        registry: Arc::new(registry),
        embedded: None,
        connectors: None,
        metrics: prometheus::Registry::new(),
    };
    Ok(tokio::spawn(forebay_api::serve(settings, listeners, deps, shutdown)))
}

fn settings() -> Result<config::Settings> {
    let key = serde_json::json!({ "key": "/payload/order_id" });
    let topics = [(TOPIC.to_owned(), serde_json::from_value(key)?)].into();
    let around = config::Surroundings {
        base: std::path::Path::new("."),
        local_log: true,
        record_bytes: 1_000_000,
        dlq_topic: "events.dlq",
        registry_listen: None,
    };
    Ok(config::Settings::resolve(&config::ApiOptions::default(), &topics, around)?)
}

async fn count(log: &Arc<dyn Log>) -> Result<i64> {
    let mut sum = 0;
    for partition in 0..PARTITIONS {
        sum += log.watermarks(&TopicPartition::new(TOPIC, partition)).await.context("watermarks")?.high;
    }
    Ok(sum)
}
