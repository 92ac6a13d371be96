//! `kill -9` of a process that appends, at random moments, over and over on one directory; with the feature
//! `failpoints` also at named points. Every acknowledged record and commit must be there, and offsets have no gaps.
//!
//! The test starts itself again as the child (`kill child DIR ROUND [POINT:NTH]`), so it has no test harness.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test: a failed expectation is the result")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use forebay_broker::{
    Committed, GroupSpec, Log, LogError, NewRecord, Polled, TopicPartition, TopicSpec,
    config::ProducerSettings,
    local::{LocalLog, LocalSettings},
};

const PARTITIONS: i32 = 3;
/// At least so many kills, and more where the disk is slow, until enough was acknowledged to tell.
const ROUNDS: u64 = 12;
const ENOUGH_RECORDS: usize = 500;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|arg| arg == "child") {
        child(Path::new(&args[2]), &args[3], args.get(4).map(String::as_str));
        return;
    }
    // `cargo test -- --list` and the like: there is one test.
    if args.iter().any(|arg| arg == "--list") {
        let _ = writeln!(std::io::stdout(), "kill: test");
        return;
    }
    killed_at_random_moments();
    #[cfg(feature = "failpoints")]
    {
        killed_at_named_points();
        a_failed_write_ends_the_log();
    }
}

fn open(dir: &Path) -> Result<Arc<LocalLog>, LogError> {
    LocalLog::open(LocalSettings {
        dir: dir.to_owned(),
        group_commit: Duration::from_millis(1),
        cache_bytes: 8 << 20,
        retention_check: Duration::from_secs(60),
        min_free_bytes: Some(0),
        producer: ProducerSettings {
            queue_bytes: 8 << 20,
            queue_records: 10_000,
            linger: Duration::ZERO,
            record_bytes: 1_000_000,
        },
    })
}

/// Appends and commits until it is killed; says on stdout what was acknowledged.
fn child(dir: &Path, round: &str, point: Option<&str>) {
    let _scenario = point.map(crash_at);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let log = open(dir).unwrap();
        let spec = TopicSpec { name: "t".into(), partitions: PARTITIONS, config: BTreeMap::new() };
        match log.create_topic(&spec).await {
            Ok(_) | Err(LogError::TopicExists(_)) => {}
            Err(error) => panic!("{error}"),
        }
        say("ready");
        let tasks: Vec<_> = (0..4).map(|task| tokio::spawn(append(log.clone(), format!("{round}/{task}")))).collect();
        let committing = tokio::spawn(commit(log.clone()));
        for task in tasks {
            task.await.unwrap();
        }
        committing.abort();
    });
}

#[cfg(feature = "failpoints")]
fn crash_at(point: &str) -> fail::FailScenario<'static> {
    let scenario = fail::FailScenario::setup();
    let (name, nth) = point.split_once(':').unwrap();
    let nth: u64 = nth.parse().unwrap();
    let passed = std::sync::atomic::AtomicU64::new(0);
    fail::cfg_callback(name, move || {
        if passed.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 == nth {
            std::process::abort();
        }
    })
    .unwrap();
    scenario
}

#[cfg(not(feature = "failpoints"))]
fn crash_at(_: &str) {}

/// One line, whole or not at all as far as the parent can tell: it needs the line's end.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

async fn append(log: Arc<LocalLog>, prefix: String) {
    for call in 0..100_000 {
        let records: Vec<_> = (0..1 + call % 20)
            .map(|n| NewRecord {
                topic: "t".into(),
                partition: Some((call + n) % PARTITIONS),
                key: None,
                value: Some(format!("{prefix}/{call}/{n}").into()),
                headers: Default::default(),
                timestamp_ms: None,
            })
            .collect();
        let values: Vec<_> = records.iter().map(|record| record.value.clone().unwrap()).collect();
        let receipts = log.produce(records).unwrap().await;
        for (receipt, value) in receipts.into_iter().zip(values) {
            let receipt = receipt.unwrap();
            say(&format!("record {} {} {}", receipt.partition, receipt.offset, str::from_utf8(&value).unwrap()));
        }
    }
}

async fn commit(log: Arc<LocalLog>) {
    let spec = GroupSpec {
        group: "g".into(),
        topics: vec!["t".into()],
        all_topics: false,
        except: vec![],
        revoke_timeout: Duration::from_secs(10),
    };
    let mut consumer = log.subscribe(spec).await.unwrap();
    let committer = consumer.committer();
    loop {
        match consumer.poll(100, Duration::from_secs(1)).await.unwrap() {
            Polled::Assigned(news) => {
                for news in news {
                    consumer.seek(&news.part, news.committed.map_or(0, |committed| committed.offset)).unwrap();
                }
            }
            Polled::Records { epoch, records } => {
                let last = records.last().unwrap();
                let offset = last.offset + 1;
                let committed = Committed { offset, metadata: format!("intent {offset}") };
                committer.commit(&last.part, epoch, &committed).await.unwrap();
                say(&format!("commit {} {offset}", last.part.partition));
            }
            _ => {}
        }
    }
}

/// What the children were told, over all rounds.
#[derive(Default)]
struct Told {
    records: BTreeMap<(i32, i64), String>,
    commits: BTreeMap<i32, i64>,
}

impl Told {
    fn note(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        match *words.as_slice() {
            ["record", partition, offset, value] => {
                let at = (partition.parse().unwrap(), offset.parse().unwrap());
                assert!(self.records.insert(at, value.to_owned()).is_none(), "an offset was given twice: {line}");
            }
            ["commit", partition, offset] => {
                self.commits.insert(partition.parse().unwrap(), offset.parse().unwrap());
            }
            _ => {}
        }
    }
}

/// Runs a child until it dies: of `SIGKILL` so long after it is ready, or by itself. Returns whether it was ready.
fn run_child(dir: &Path, round: u64, kill_after: Option<Duration>, point: Option<&str>, told: &mut Told) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("child").arg(dir).arg(round.to_string()).args(point).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    let mut ready = false;
    let mut killer = None;
    loop {
        line.clear();
        lines.read_line(&mut line).unwrap();
        // Cut in the middle by the kill, or the end.
        let Some(whole) = line.strip_suffix('\n') else { break };
        if whole == "ready" {
            ready = true;
            let pid = rustix::process::Pid::from_child(&child);
            killer = kill_after.map(|after| {
                std::thread::spawn(move || {
                    std::thread::sleep(after);
                    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
                })
            });
        } else {
            told.note(whole);
        }
    }
    if let Some(killer) = killer {
        killer.join().unwrap();
    }
    assert!(!child.wait().unwrap().success(), "the child was to die");
    ready
}

fn verify(dir: &Path, told: &Told) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let log = open(dir).unwrap();
        let mut values = BTreeSet::new();
        for partition in 0..PARTITIONS {
            let part = TopicPartition::new("t", partition);
            let bounds = log.watermarks(&part).await.unwrap();
            let mut next = 0;
            while next < bounds.high {
                for record in log.read(&part, next, 1_000, 1 << 20).await.unwrap() {
                    assert_eq!(record.offset, next, "offsets without gaps");
                    next += 1;
                    let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                    if let Some(acknowledged) = told.records.get(&(partition, record.offset)) {
                        assert_eq!(&value, acknowledged, "{part} {}", record.offset);
                    }
                    assert!(values.insert(value), "stored twice");
                }
            }
            let acknowledged = told.records.keys().filter(|(p, _)| *p == partition).map(|(_, o)| o + 1).max();
            assert!(acknowledged.unwrap_or(0) <= bounds.high, "acknowledged records are missing");
        }
        let parts: Vec<_> = told.commits.keys().map(|partition| TopicPartition::new("t", *partition)).collect();
        let committed = log.committed("g", &parts).await.unwrap();
        for (partition, offset) in &told.commits {
            let found = &committed[&TopicPartition::new("t", *partition)];
            assert!(found.offset >= *offset, "an acknowledged commit is missing");
            assert_eq!(found.metadata, format!("intent {}", found.offset));
        }
        log.close().await.unwrap();
    });
}

fn killed_at_random_moments() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let mut told = Told::default();
    let mut seed = u64::from(std::process::id());
    let mut round = 0;
    while round < ROUNDS || told.records.len() < ENOUGH_RECORDS || told.commits.is_empty() {
        assert!(round < 20 * ROUNDS, "hardly anything is acknowledged: {} records", told.records.len());
        // Moments, not data: any spread will do.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let after = Duration::from_millis(5 + (seed >> 33) % 250);
        assert!(run_child(&dir, round, Some(after), None, &mut told));
        verify(&dir, &told);
        round += 1;
    }
    let _ = writeln!(
        std::io::stdout(),
        "killed {round} times: {} acknowledged records and all commits are there",
        told.records.len()
    );
}

#[cfg(feature = "failpoints")]
fn killed_at_named_points() {
    for point in ["local.appended", "local.fsynced"] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("log");
        let mut told = Told::default();
        for (round, nth) in [1, 2, 5, 20, 60].into_iter().enumerate() {
            run_child(&dir, round as u64, None, Some(&format!("{point}:{nth}")), &mut told);
            if told.records.is_empty() {
                continue;
            }
            verify(&dir, &told);
        }
        assert!(!told.records.is_empty(), "{point} was reached before anything was acknowledged each time");
    }
    let _ = writeln!(std::io::stdout(), "killed at each named point: nothing acknowledged was lost");
}

/// After an I/O error nothing is promised and nothing taken, and everyone is told; the next start recovers.
#[cfg(feature = "failpoints")]
fn a_failed_write_ends_the_log() {
    use forebay_broker::ProduceError;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let record = |value: &'static str| NewRecord {
        topic: "t".into(),
        partition: Some(0),
        key: None,
        value: Some(value.into()),
        headers: Default::default(),
        timestamp_ms: None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let part = TopicPartition::new("t", 0);
    runtime.block_on(async {
        let log = open(&dir).unwrap();
        let spec = TopicSpec { name: "t".into(), partitions: 1, config: BTreeMap::new() };
        log.create_topic(&spec).await.unwrap();
        assert!(log.produce(vec![record("a")]).unwrap().await[0].is_ok());
        let group = GroupSpec {
            group: "g".into(),
            topics: vec!["t".into()],
            all_topics: false,
            except: vec![],
            revoke_timeout: Duration::from_secs(10),
        };
        let mut consumer = log.subscribe(group).await.unwrap();
        assert!(matches!(consumer.poll(1, Duration::from_secs(60)).await, Ok(Polled::Assigned(_))));
        let scenario = fail::FailScenario::setup();
        fail::cfg("local.write_fails", "1*return").unwrap();
        let receipts = log.produce(vec![record("b"), record("c")]).unwrap().await;
        assert!(receipts.iter().all(|receipt| matches!(receipt, Err(ProduceError::Unknown(_)))), "{receipts:?}");
        scenario.teardown();
        assert!(matches!(log.produce(vec![record("d")]), Err(ProduceError::Unavailable(_))));
        assert!(matches!(log.health().await, Err(LogError::Fatal(_))));
        assert!(matches!(log.create_topic(&spec).await, Err(LogError::Fatal(_))));
        assert!(matches!(consumer.poll(1, Duration::from_secs(60)).await, Err(LogError::Fatal(_))));
        assert_eq!(log.watermarks(&part).await.unwrap().high, 1, "nothing shows that is not durable");
        assert_eq!(log.queue().records, 0);
        log.close().await.unwrap();
        drop((consumer, log));
        let log = open(&dir).unwrap();
        assert_eq!(log.produce(vec![record("e")]).unwrap().await[0].as_ref().unwrap().offset, 1);
    });
    let _ = writeln!(std::io::stdout(), "a failed write ended the log, and the next start recovered it");
}
