//! kill -9 of the whole system, again and again, while it takes events in and delivers them.
#![allow(clippy::print_stdout)]

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use forebay_tests::{
    audit::{Evidence, settled},
    harness::System,
    lake,
    load::{Producer, SCHEMA, TOPIC},
};

const PRODUCERS: u32 = 3;

const CONFIG: &str = "topics:\n  audited:\n    partitions: 3\n    key: /payload/producer\n    schema_file: audited.avsc\n\
connectors:\n  lake:\n    sink: s3\n    url: \"file://./data/lake\"\n    topics: [\"*\"]\n    format: parquet\n\
\x20   batch: {max_age_ms: 150, max_rows: 400}\n    metadata.columns: true\n";

fn system(dir: &std::path::Path) -> Result<System> {
    std::fs::write(dir.join("audited.avsc"), SCHEMA)?;
    System::new(dir, CONFIG)
}

/// Loads the system for `run` and then ends it as `end` does; what was acknowledged goes to the evidence.
async fn load(
    system: &mut System,
    next: &mut BTreeMap<u32, u64>,
    evidence: &mut Evidence,
    run: Duration,
    end: impl AsyncFnOnce(&mut System) -> Result<()>,
) -> Result<()> {
    let start = |n: u32, next: &BTreeMap<u32, u64>| Producer::start(&system.url, n, next.get(&n).copied().unwrap_or(0));
    let producers: Vec<_> = (0..PRODUCERS).map(|n| (n, start(n, next))).collect();
    tokio::time::sleep(run).await;
    end(system).await?;
    for (n, producer) in producers {
        let told = producer.stop().await?;
        next.insert(n, told.next);
        evidence.acknowledged.extend(told.accepted);
    }
    Ok(())
}

/// Lets the lake catch up, ends in order and audits everything.
async fn settle(system: &mut System, mut evidence: Evidence) -> Result<()> {
    system.lake_holds_all(TOPIC).await?;
    system.terminate().await?;
    lake::gather(&system.dir, &mut evidence).await?;
    println!("{}", settled(&evidence)?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_lose_and_double_nothing() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut system = system(dir.path())?;
    let (mut next, mut evidence) = (BTreeMap::new(), Evidence::default());
    let mut seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos() as u64 | 1;
    println!("seed {seed}");
    for round in 0..10 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let run = Duration::from_millis(300 + (seed >> 33) % 1200);
        system.start(None).await.with_context(|| format!("start {round}"))?;
        load(&mut system, &mut next, &mut evidence, run, async |system| system.kill()).await?;
    }
    system.start(None).await?;
    settle(&mut system, evidence).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_ends_in_time_and_loses_nothing() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut system = system(dir.path())?;
    let (mut next, mut evidence) = (BTreeMap::new(), Evidence::default());
    for _ in 0..2 {
        system.start(None).await?;
        load(&mut system, &mut next, &mut evidence, Duration::from_millis(800), async |system| {
            let took = system.terminate().await?;
            // The promised 10 s, and as much again for a machine that does other things too.
            ensure!(took <= Duration::from_secs(20), "the drain took {took:?}");
            Ok(())
        })
        .await?;
    }
    system.start(None).await?;
    settle(&mut system, evidence).await
}

/// Crash points of the path out and of the log, reached in the whole system.
#[tokio::test(flavor = "multi_thread")]
async fn named_crash_points_lose_and_double_nothing() -> Result<()> {
    let points = [
        "local.appended:40",
        "local.fsynced:40",
        "s3.before_intent:3",
        "s3.after_intent:3",
        "dir.linked:4",
        "commit.done:5",
    ];
    let dir = tempfile::tempdir()?;
    let mut system = system(dir.path())?;
    let (mut next, mut evidence) = (BTreeMap::new(), Evidence::default());
    for point in points {
        system.start(Some(point)).await.with_context(|| point.to_owned())?;
        load(&mut system, &mut next, &mut evidence, Duration::ZERO, async |system| {
            let status =
                system.wait(Duration::from_secs(120)).await.with_context(|| format!("{point} was not reached"))?;
            ensure!(!status.success(), "{point} ended with {status}");
            Ok(())
        })
        .await?;
    }
    system.start(None).await?;
    settle(&mut system, evidence).await
}
