//! Every named crash point is reached, the process aborts there, starts again, and the lake is audited record by record:
//! nothing lost, nothing doubled, no torn file. A point that is never reached fails the run.
//!
//! Once into a directory and once into a bucket, where an S3 server is installed.
//!
//! `cargo test -p forebay-sink --features failpoints --test crash [POINT]`

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, ExitCode},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use forebay_avro::registry::{Embedded, Registry};
use forebay_broker::{
    config::ProducerSettings,
    local::{LocalLog, LocalSettings},
};
use forebay_components::S3;
use support::*;

const POINTS: &[&str] = &[
    "consume.polled",
    "task.skipped",
    "convert.done",
    "batch.closed",
    "s3.before_intent",
    "s3.after_intent",
    "s3.before_put",
    "s3.after_put",
    "s3.between_files",
    "dlq.before_produce",
    "dlq.queued",
    "dlq.receipt",
    "commit.before",
    "commit.sent",
    "commit.done",
    "revoke.start",
    "revoke.done",
];

/// Of a directory alone.
const DIRECTORY_POINTS: &[&str] = &["dir.tmp_synced", "dir.sidecar_written", "dir.linked", "dir.synced"];
/// Of a bucket alone; all its files are uploaded in parts.
const UPLOAD_POINTS: &[&str] = &["s3.multipart_created", "s3.part_uploaded", "s3.before_complete", "s3.after_complete"];

/// Which pass of a point aborts. The first must be reached; a later one may be beyond the run's end.
const PASSES: [u64; 2] = [1, 4];
/// Runs side by side: they mostly wait.
const WORKERS: usize = 4;
const RECORDS: i64 = 240;
const OPTIONS: &str = r#"{"null_values":"ignore","errors":{"max_rate":1},"batch":{"max_rows":40,"max_age_ms":100}}"#;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["child", dir, options] => run(child(Path::new(dir), options, None)),
        ["child", dir, options, point, pass] => {
            run(child(Path::new(dir), options, Some((point, pass.parse().unwrap()))))
        }
        rest => parent(rest.iter().find(|arg| !arg.starts_with('-')).copied().unwrap_or_default()),
    }
}

fn run(work: impl Future<Output = ()>) -> ExitCode {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work);
    ExitCode::SUCCESS
}

struct Case<'a> {
    point: &'static str,
    pass: u64,
    s3: Option<&'a S3>,
}

impl Case<'_> {
    fn name(&self) -> String {
        let store = if self.s3.is_some() { "bucket" } else { "directory" };
        format!("{} into a {store}, pass {}", self.point, self.pass)
    }

    /// A connector's, for a place in the bucket that no other case has.
    fn options(&self) -> String {
        let Some(s3) = self.s3 else { return OPTIONS.to_owned() };
        let single_put_bytes = if UPLOAD_POINTS.contains(&self.point) { 1 } else { 16 << 20 };
        let section = serde_json::json!({"single_put_bytes": single_put_bytes});
        bucket::options(s3, &self.prefix(), OPTIONS, section)
    }

    fn prefix(&self) -> String {
        format!("{}-{}", self.point, self.pass)
    }
}

fn cases<'a>(s3: Option<&'a S3>) -> Vec<Case<'a>> {
    let stores: &[(Option<&'a S3>, &[&'static str])] = &[(None, DIRECTORY_POINTS), (s3, UPLOAD_POINTS)];
    let mut cases = Vec::new();
    for pass in PASSES {
        for (s3, own) in stores.iter().take(1 + usize::from(s3.is_some())) {
            let points = POINTS.iter().chain(own.iter());
            cases.extend(points.map(|point| Case { point, pass, s3: *s3 }));
        }
    }
    cases
}

fn parent(filter: &str) -> ExitCode {
    let s3 = forebay_components::available(S3::start());
    let all = cases(s3.as_ref());
    let count = all.len();
    let cases = Mutex::new(all.into_iter().filter(|case| case.point.contains(filter)));
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some(case) = cases.lock().unwrap().next() else { break };
                    let result = std::panic::catch_unwind(|| try_out(&case));
                    println!("crash at {}: {}", case.name(), if result.is_ok() { "ok" } else { "FAILED" });
                    if result.is_err() {
                        failures.lock().unwrap().push(case.name());
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    println!("{count} crashes, {} failed: {failures:?}", failures.len());
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn try_out(case: &Case) {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let world = open(dir.path()).await;
        fill(&world).await;
        close(world).await;
    });
    let options = case.options();
    let child = |args: &[&str]| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("child").arg(dir.path()).arg(&options).args(args).output().unwrap()
    };
    let crashed = child(&[case.point, &case.pass.to_string()]);
    let aborted = !crashed.status.success();
    let errors = String::from_utf8_lossy(&crashed.stderr);
    assert!(aborted || case.pass > 1, "{} was never reached: {errors}", case.point);
    assert!(!errors.contains("panicked"), "{errors}");
    let finished = child(&[]);
    assert!(finished.status.success(), "{}", String::from_utf8_lossy(&finished.stderr));
    run(async {
        let world = open(dir.path()).await;
        let rows = match case.s3 {
            None => read_lake(&world.lake()),
            Some(s3) => bucket::rows(&bucket::objects(s3, &case.prefix()).await),
        };
        audit(&world, rows).await;
        close(world).await;
    });
}

async fn open(dir: &Path) -> World {
    let producer = ProducerSettings {
        queue_bytes: 64 << 20,
        queue_records: 100_000,
        linger: Duration::ZERO,
        record_bytes: 1_000_000,
    };
    let log = LocalLog::open(LocalSettings {
        dir: dir.join("log"),
        group_commit: Duration::from_millis(1),
        cache_bytes: 4 << 20,
        retention_check: Duration::from_secs(30),
        min_free_bytes: Some(1 << 20),
        producer,
    })
    .unwrap();
    let registry: Arc<dyn Registry> = Arc::new(Embedded::open(log.registry_store()).unwrap());
    World::at(log, registry, dir).await
}

async fn close(world: World) {
    world.log.close().await.unwrap();
}

/// Two schemas in turn, every tenth record bad, every fifteenth without value.
async fn fill(world: &World) {
    let other = world.registry.register("other-value", &SCHEMA.replace("Reading", "Other"), &[]).await.unwrap();
    let ids = [world.schema_id, other.registered.id];
    world.topic("t", 2).await;
    let value_of = |n: i64| match n {
        n if n % 15 == 7 => None,
        n if n % 10 == 3 => Some("bad".into()),
        n => Some(value(ids[usize::from(n % 4 < 2)], n)),
    };
    let records = (0..RECORDS).map(|n| world.record("t", i32::from(n >= RECORDS / 2), value_of(n))).collect();
    world.send(records).await;
}

/// Delivers everything, while a second connector joins the group, and so a rebalance comes.
async fn child(dir: &Path, options: &str, crash: Option<(&str, u64)>) {
    let _scenario = fail::FailScenario::setup();
    if let Some((point, pass)) = crash {
        let passes = AtomicU64::new(0);
        let abort = move || {
            if passes.fetch_add(1, Ordering::SeqCst) + 1 == pass {
                std::process::abort();
            }
        };
        fail::cfg_callback(point, abort).unwrap();
    }
    let world = open(dir).await;
    let first = world.start(options);
    tokio::time::sleep(Duration::from_millis(60)).await;
    let second = world.start(options);
    world.settled("t").await;
    first.drain(Duration::from_secs(60)).await;
    second.drain(Duration::from_secs(60)).await;
    close(world).await;
}

async fn audit(world: &World, found: Vec<LakeRow>) {
    let mut rows = BTreeSet::new();
    for row in found {
        assert_eq!(row.name, format!("reading {}", row.id));
        assert!(rows.insert((row.at.clone(), row.id)), "duplicated: {:?}", row.at);
    }
    let all = world.in_log("t").await;
    let at = |r: &forebay_broker::Record| (r.part.topic.to_string(), r.part.partition, r.offset);
    let (good, bad): (Vec<_>, Vec<_>) =
        all.iter().filter(|r| r.value.is_some()).partition(|r| r.value.as_deref() != Some(b"bad"));
    let want: BTreeSet<Coordinate> = good.into_iter().map(at).collect();
    let have: BTreeSet<Coordinate> = rows.into_iter().map(|(at, _)| at).collect();
    assert_eq!(have, want, "the lake holds exactly the good records");
    let dead: BTreeSet<Coordinate> = world.dead().await.into_values().collect();
    assert_eq!(dead, bad.into_iter().map(at).collect(), "the DLQ holds exactly the bad records, by dedupe key");
    let committed = world.committed("connect-lake", "t").await;
    assert!(
        committed.values().all(|c| c.offset == RECORDS / 2 && c.metadata == forebay_sink::intent::DONE),
        "{committed:?}"
    );
}
