//! Disks that are full, read-only, or can't link: what callers hear, what goes on, and that nothing is lost.
#![allow(clippy::print_stdout)]

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use forebay_components::{Unavailable, python, require};
use forebay_tests::{
    audit::{Evidence, settled},
    disk::Disk,
    harness::System,
    lake,
    load::{Producer, SCHEMA, TOPIC},
};
use serde_json::Value;

const PRODUCERS: u32 = 3;
/// For anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(90);
const TOPICS: &str =
    "topics:\n  audited:\n    partitions: 3\n    key: /payload/producer\n    schema_file: audited.avsc\n";
const LOCAL: &str = "{url: \"local://./data/log\"}";

fn disk(at: &Path, kib: u32) -> Result<Disk, Unavailable> {
    Disk::new(at, kib).map_err(|error| Unavailable::NotAllowed(format!("{error:#}")))
}

/// A system whose lake is in a folder; `options` are more of its connector's.
fn system(dir: &Path, broker: &str, lake: &str, options: &str) -> Result<System> {
    std::fs::write(dir.join("audited.avsc"), SCHEMA)?;
    let connector = format!(
        "connectors:\n  lake:\n    sink: s3\n    url: \"file://./{lake}\"\n    topics: [\"*\"]\n    format: parquet\n\
         \x20   metadata.columns: true\n    {options}\n"
    );
    System::on(dir, broker, &format!("{TOPICS}{connector}"))
}

/// Numbers of events, and what callers were told, over several times of load.
#[derive(Default)]
struct Load {
    next: BTreeMap<u32, u64>,
    evidence: Evidence,
}

impl Load {
    /// Sends events until `enough`.
    async fn until(&mut self, system: &mut System, enough: impl AsyncFnMut(&mut System) -> Result<bool>) -> Result<()> {
        let start = |n| Producer::start(&system.url, n, self.next.get(&n).copied().unwrap_or(0));
        let producers: Vec<_> = (0..PRODUCERS).map(|n| (n, start(n))).collect();
        let waited = eventually(system, enough).await;
        for (n, producer) in producers {
            let told = producer.stop().await?;
            self.next.insert(n, told.next);
            self.evidence.acknowledged.extend(told.accepted);
        }
        waited
    }

    /// Sends until `more` further events are accepted and the log has them.
    async fn some(&mut self, system: &mut System, more: i64) -> Result<()> {
        let goal = stored(system).await? + more;
        self.until(system, async |system| Ok(stored(system).await? >= goal)).await
    }

    /// Holds what was told against what `dir/data` has.
    async fn settle(mut self, dir: &Path) -> Result<()> {
        lake::gather(dir, &mut self.evidence).await?;
        println!("{}", settled(&self.evidence)?);
        Ok(())
    }
}

async fn eventually(system: &mut System, mut is: impl AsyncFnMut(&mut System) -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if is(system).await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("not within {PATIENCE:?}: {}\n{}", system.get("/api/v1/connectors/lake").await?, system.log_end())
}

async fn stored(system: &System) -> Result<i64> {
    let topic = system.get(&format!("/api/v1/topics/{TOPIC}")).await?;
    Ok(topic["watermarks"].as_array().into_iter().flatten().filter_map(|part| part["high_watermark"].as_i64()).sum())
}

async fn is_ready(system: &mut System) -> Result<bool> {
    Ok(reqwest::get(format!("{}/readyz", system.url)).await?.status().is_success())
}

/// What the lake's task waits for, if it does.
async fn waits(system: &System, code: &str) -> Result<Option<String>> {
    let connector = system.get("/api/v1/connectors/lake").await?;
    ensure!(connector["state"] == "running" && connector["dead_letters"] == 0, "{connector}");
    let task = &connector["tasks"][0];
    Ok((task["code"] == code).then(|| task["advice"].as_str().unwrap_or_default().to_owned()))
}

/// Sends events until the lake's task waits, and says why.
async fn load_until_it_waits(load: &mut Load, system: &mut System, code: &str, why: &str) -> Result<()> {
    load.until(system, async |system| Ok(waits(system, code).await?.is_some_and(|advice| advice.contains(why)))).await
}

/// How often the processes' log has it.
fn told(dir: &Path, text: &str) -> Result<usize> {
    Ok(std::fs::read_to_string(dir.join("forebay.log"))?.matches(text).count())
}

async fn send(system: &System) -> Result<(u16, Value)> {
    let event = r#"{"event_id":"1","timestamp":"2026-11-20T08:00:00Z","event_type":"audited",
        "payload":{"producer":99,"seq":0,"pad":"","sha256":""}}"#;
    system.post(&format!("/api/v1/events/{TOPIC}"), event).await
}

/// The log and the lake on one disk, as by default.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_refused_and_waited_for_until_there_is_room() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let disk = require!(disk(&dir.path().join("disk"), 96 << 10), Ok(()));
    let broker = "{url: \"local://./disk/log\", min_free_bytes: 33554432}";
    let mut system = system(dir.path(), broker, "disk/lake", "batch: {max_age_ms: 1500}")?;
    system.through = disk.enter(dir.path());
    let mut load = Load::default();
    system.start(None).await?;
    load.some(&mut system, 1_000).await?;
    // Some 10 MiB are left, of 32 that the log wants, and 16 that the lake leaves it.
    let mut taken = false;
    load.until(&mut system, async |system| {
        if !std::mem::replace(&mut taken, true) {
            disk.take_away(84 << 10)?;
        }
        let why = waits(system, "DESTINATION_DOWN").await?;
        Ok(!is_ready(system).await? && why.is_some_and(|why| why.contains("broker.min_free_bytes")))
    })
    .await?;
    system.kill()?;
    system.start(None).await?;
    ensure!(!is_ready(&mut system).await?, "it runs without room, but is not ready");
    for _ in 0..20 {
        ensure!(send(&system).await?.0 == 503, "taken without room");
    }
    ensure!(
        told(dir.path(), "takes no records until there is room")? == 2,
        "once for each process:\n{}",
        system.log_end()
    );
    let (status, problem) = send(&system).await?;
    ensure!(status == 503 && problem["code"] == "log_unavailable" && problem["retryable"] == true, "{problem}");
    let detail = problem["detail"].as_str().context("no detail")?;
    ensure!(detail.contains("disk is almost full") && detail.contains("make room"), "{detail}");
    ensure!(!detail.contains("disk/log"), "where it is, is no caller's business: {detail}");
    let stopped_at = stored(&system).await?;
    disk.give_back()?;
    eventually(&mut system, is_ready).await?;
    ensure!(told(dir.path(), "it takes records again")? == 1, "it is told when it is over:\n{}", system.log_end());
    load.some(&mut system, 500).await?;
    ensure!(stored(&system).await? > stopped_at, "nothing was taken again");
    system.kill()?;
    system.start(None).await?;
    system.lake_holds_all(TOPIC).await?;
    system.terminate().await?;
    disk.copy_to(&dir.path().join("seen/data"))?;
    load.settle(&dir.path().join("seen")).await
}

/// Without a reserve the log itself meets the end of its disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_ends_its_process_and_has_all_it_acknowledged() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let disk = require!(disk(&dir.path().join("data/log"), 4 << 10), Ok(()));
    let broker = "{url: \"local://./data/log\", min_free_bytes: 0}";
    let mut system = system(dir.path(), broker, "data/lake", "batch: {max_age_ms: 150}")?;
    system.through = disk.enter(dir.path());
    let mut load = Load::default();
    system.start(None).await?;
    load.until(&mut system, async |system| Ok(system.ended()?.is_some())).await?;
    let status = system.wait(PATIENCE).await?;
    ensure!(status.code() == Some(1), "{status}");
    let told = system.log_end();
    ensure!(told.contains("No space left on device") && told.contains("make room"), "{told}");
    ensure!(told.contains("start again"), "{told}");
    disk.resize(64 << 10)?;
    system.start(None).await?;
    load.some(&mut system, 200).await?;
    system.lake_holds_all(TOPIC).await?;
    system.terminate().await?;
    disk.copy_to(&dir.path().join("seen/data/log"))?;
    std::fs::rename(dir.path().join("data/lake"), dir.path().join("seen/data/lake"))?;
    load.settle(&dir.path().join("seen")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_that_is_full_or_read_only_is_waited_for() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let disk = require!(disk(&dir.path().join("data/lake"), 384), Ok(()));
    let mut system = system(dir.path(), LOCAL, "data/lake", "batch: {max_age_ms: 150}")?;
    system.through = disk.enter(dir.path());
    let mut load = Load::default();
    system.start(None).await?;
    load_until_it_waits(&mut load, &mut system, "DESTINATION_DOWN", "No space left on device").await?;
    ensure!(is_ready(&mut system).await?, "events are taken all the same");
    disk.resize(64 << 10)?;
    system.lake_holds_all(TOPIC).await?;
    disk.read_only(true)?;
    load_until_it_waits(&mut load, &mut system, "DESTINATION_DOWN", "Read-only file system").await?;
    disk.read_only(false)?;
    system.lake_holds_all(TOPIC).await?;
    system.terminate().await?;
    disk.copy_to(&dir.path().join("seen/data/lake"))?;
    std::fs::rename(dir.path().join("data/log"), dir.path().join("seen/data/log"))?;
    load.settle(&dir.path().join("seen")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_for_temporary_files_is_waited_for() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let disk = require!(disk(&dir.path().join("data/tmp"), 16), Ok(()));
    let mut system = system(dir.path(), LOCAL, "data/lake", "batch: {max_age_ms: 1000}\n    spill_bytes: 4096")?;
    system.through = disk.enter(dir.path());
    let mut load = Load::default();
    system.start(None).await?;
    load_until_it_waits(&mut load, &mut system, "SPILL_FAILED", "No space left on device").await?;
    disk.resize(256 << 10)?;
    system.lake_holds_all(TOPIC).await?;
    system.terminate().await?;
    load.settle(dir.path()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_without_hard_links_is_written_once_all_the_same() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let python = require!(python(), Ok(()));
    let mut system = system(dir.path(), LOCAL, "data/lake", "batch: {max_age_ms: 150}")?;
    let launcher = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/without_links.py");
    system.through = vec![python.display().to_string(), launcher.display().to_string()];
    let mut load = Load::default();
    for _ in 0..3 {
        system.start(None).await?;
        load.some(&mut system, 500).await?;
        system.kill()?;
    }
    for point in ["dir.sidecar_written:2", "dir.linked:2"] {
        system.start(Some(point)).await?;
        load.until(&mut system, async |system| Ok(system.ended()?.is_some())).await?;
        ensure!(!system.wait(PATIENCE).await?.success(), "{point} was not reached");
    }
    system.start(None).await?;
    system.lake_holds_all(TOPIC).await?;
    system.terminate().await?;
    load.settle(dir.path()).await
}
