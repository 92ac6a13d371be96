//! The end of a process whose Kafka cluster is away: it is told in seconds, and nothing that was acknowledged is lost.
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use forebay_components::{Kafka, require};
use forebay_tests::{
    lake,
    process::{Role, free_port},
};
use rustix::process::Signal;

/// 10 s are promised; the rest is for a debug build on a busy machine.
const END: Duration = Duration::from_secs(20);
/// For a condition that a machine at rest meets at once.
const PATIENCE: Duration = Duration::from_secs(60);

const EVENT: &str = r#"{"event_id": "e", "timestamp": "2026-03-01T00:00:00Z", "event_type": "seen", "payload": {}}"#;

/// How the cluster goes.
#[derive(Clone, Copy, Debug)]
enum Away {
    /// It hangs: connections stay, nothing is answered.
    Stopped,
    /// It refuses connections.
    Killed,
}

struct World {
    _dir: tempfile::TempDir,
    lake: std::path::PathBuf,
    role: Role,
    api: String,
    management: String,
}

impl World {
    async fn start(kafka: &Kafka) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let [api, management] = [free_port()?, free_port()?];
        let config = format!(
            "data_dir: ./data\nbroker:\n  url: \"kafka://{}\"\n  librdkafka: {{session.timeout.ms: 6000, heartbeat.interval.ms: 500}}\n\
             registry: {{listen: \"127.0.0.1:0\"}}\n\
             api: {{listen: \"127.0.0.1:{api}\", management_listen: \"127.0.0.1:{management}\"}}\n\
             topics:\n  t: {{partitions: 1}}\n\
             connectors:\n  lake: {{url: \"file://./lake\", topics: [t], batch: {{max_age_ms: 3600000}}}}\n",
            kafka.brokers()
        );
        std::fs::write(dir.path().join("forebay.yaml"), config)?;
        let lake = dir.path().join("lake");
        let role = Role::start(dir.path(), "up", "up")?;
        let [api, management] = [api, management].map(|port| format!("http://127.0.0.1:{port}"));
        let mut world = Self { _dir: dir, lake, role, api, management };
        world.ready().await?;
        Ok(world)
    }

    async fn ready(&mut self) -> Result<()> {
        self.role.ready(&format!("{}/readyz", self.management)).await
    }

    /// Hands in an event; the answer is the caller's to wait for.
    fn publish(&self) -> tokio::task::JoinHandle<reqwest::Result<reqwest::Response>> {
        let request = reqwest::Client::new().post(format!("{}/api/v1/events/t", self.api));
        tokio::spawn(request.header("content-type", "application/json").body(EVENT).send())
    }

    /// Waits until a metric is above zero.
    async fn until_some(&self, metric: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let text = reqwest::get(format!("{}/metrics", self.management)).await?.text().await?;
            let values =
                text.lines().filter(|line| line.starts_with(metric)).filter_map(|line| line.split(' ').next_back());
            if values.filter_map(|value| value.parse::<f64>().ok()).any(|value| value > 0.0) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("{metric} stays 0\n{}", self.role.log_end())
    }
}

/// SIGTERM with a batch open, and records on their way to a cluster that does not answer.
async fn ends_in_time(away: Away) -> Result<()> {
    let mut kafka = require!(Kafka::single(), Ok(()));
    let mut world = World::start(&kafka).await?;
    let answer = world.publish().await??;
    ensure!(answer.status() == 200, "{}", answer.text().await?);
    world.until_some("forebay_sink_oldest_uncommitted_seconds").await?;
    match away {
        Away::Stopped => kafka.stop(1)?,
        Away::Killed => kafka.kill(1)?,
    }
    let waiting: Vec<_> = (0..3).map(|_| world.publish()).collect();
    if let Away::Stopped = away {
        world.until_some("forebay_producer_queue_records").await?;
    }
    let started = Instant::now();
    world.role.signal(Signal::TERM)?;
    let status = world.role.ended(END).await?;
    println!("{away:?}: {status} after {:?}", started.elapsed());
    for answer in waiting {
        // Whoever waited has an answer, or lost the connection.
        if let Ok(answer) = answer.await? {
            ensure!(matches!(answer.status().as_u16(), 503 | 504), "{}", answer.status());
        }
    }
    ensure!(!world.lake.exists() || lake::files(&world.lake)?.is_empty(), "nothing could be committed");
    match away {
        Away::Stopped => kafka.cont(1)?,
        Away::Killed => kafka.start(1)?,
    }
    world.role.again()?;
    world.ready().await?;
    world.until_some("forebay_sink_oldest_uncommitted_seconds").await?;
    world.role.terminate().await?;
    ensure!(!lake::files(&world.lake)?.is_empty(), "the event is not in the lake\n{}", world.role.log_end());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_in_time_while_the_cluster_hangs() -> Result<()> {
    ends_in_time(Away::Stopped).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_in_time_while_the_cluster_is_down() -> Result<()> {
    ends_in_time(Away::Killed).await
}
