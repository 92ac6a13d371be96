//! What the tests share: a registry, schemas and records, a connector over any log, and an audit of the lake that reads
//! Parquet with nothing of ours.

#![allow(dead_code)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arrow::array::{Array, Int64Array, RecordBatch, StringArray, cast::AsArray, types::Int32Type};
use bytes::Bytes;
use forebay_avro::{
    encode::EncodeOptions,
    frame,
    plan::Plan,
    registry::{Embedded, MemoryStore, Registry},
};
use forebay_broker::sim::{SimLog, SimSettings};
use forebay_broker::{Committed, Headers, Log, NewRecord, Record, TopicPartition, TopicSpec, dead_letter::names};
use forebay_sink::{
    config::{ConnectorOptions, ConnectorSettings},
    connector::{Connector, Deps, clear_tmp},
    intent::DONE,
    memory::MemoryBudget,
    metrics::SinkMetrics,
    sinks::{lake::LakeSink, memory::MemoryStore as MemoryLake},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use self::faulty::{Faults, FaultySink};

pub mod bucket;
pub mod faulty;
pub mod slow;

pub const SCHEMA: &str = r#"{"type":"record","name":"Reading","fields":[
    {"name":"id","type":"long"},{"name":"name","type":"string"},{"name":"note","type":["null","string"],"default":null}]}"#;
pub const DLQ: &str = "events.dlq";

/// One row of the lake, or record of the log: topic, partition, offset, value's `id`.
pub type Coordinate = (String, i32, i64);

pub struct World {
    pub log: Arc<dyn Log>,
    pub registry: Arc<dyn Registry>,
    pub metrics: Arc<SinkMetrics>,
    pub gathered: prometheus::Registry,
    pub memory: Arc<MemoryBudget>,
    pub dir: PathBuf,
    pub temporary: Option<tempfile::TempDir>,
    pub schema_id: u32,
}

impl World {
    pub async fn new(log: Arc<dyn Log>) -> Self {
        let registry: Arc<dyn Registry> = Arc::new(Embedded::open(Arc::new(MemoryStore::default())).unwrap());
        let temporary = tempfile::tempdir().unwrap();
        let world = Self::at(log, registry, temporary.path()).await;
        Self { temporary: Some(temporary), ..world }
    }

    pub async fn at(log: Arc<dyn Log>, registry: Arc<dyn Registry>, dir: &Path) -> Self {
        let version = registry.register("readings-value", SCHEMA, &[]).await.unwrap();
        let gathered = prometheus::Registry::new();
        let metrics = Arc::new(SinkMetrics::new(&gathered).unwrap());
        let dir = dir.to_owned();
        clear_tmp(&dir.join("tmp")).unwrap();
        let schema_id = version.registered.id;
        Self { log, registry, metrics, gathered, memory: MemoryBudget::new(512 << 20), dir, temporary: None, schema_id }
    }

    pub fn lake(&self) -> PathBuf {
        self.dir.join("lake")
    }

    pub fn deps(&self) -> Deps {
        Deps {
            log: Arc::clone(&self.log),
            registry: Arc::clone(&self.registry),
            metrics: Arc::clone(&self.metrics),
            memory: Arc::clone(&self.memory),
            dlq_topic: DLQ.to_owned(),
            tmp_dir: self.dir.join("tmp"),
            reserve: None,
        }
    }

    /// `options` as JSON of a connector; columns about the record are on.
    pub fn settings(&self, options: &str) -> ConnectorSettings {
        let mut json: serde_json::Value = serde_json::from_str(options).unwrap();
        json["metadata"] = serde_json::json!({"columns": true});
        let options: ConnectorOptions = serde_json::from_value(json).unwrap();
        options.resolve("lake", &self.dir, &self.lake()).unwrap()
    }

    pub fn start(&self, options: &str) -> Connector {
        Connector::start(self.settings(options), self.deps())
    }

    /// Over a store in memory.
    pub fn start_on(&self, options: &str, store: &Arc<MemoryLake>) -> Connector {
        let settings = self.settings(options);
        let store: Arc<MemoryLake> = Arc::clone(store);
        let sink = LakeSink::new(&settings, store, self.dir.join("tmp"));
        Connector::start_with(settings, self.deps(), Arc::new(sink))
    }

    /// Over a store in memory, with faults of the lake itself.
    pub fn start_faulty(&self, options: &str, store: &Arc<MemoryLake>) -> (Connector, Arc<Faults>) {
        let settings = self.settings(options);
        let store: Arc<MemoryLake> = Arc::clone(store);
        let lake = LakeSink::new(&settings, store, self.dir.join("tmp"));
        let faults = Arc::new(Faults::default());
        let sink = FaultySink { lake, faults: Arc::clone(&faults) };
        (Connector::start_with(settings, self.deps(), Arc::new(sink)), faults)
    }

    pub async fn topic(&self, name: &str, partitions: i32) {
        let spec = TopicSpec { name: name.to_owned(), partitions, config: BTreeMap::new() };
        self.log.create_topic(&spec).await.unwrap();
    }

    pub fn value(&self, id: i64) -> Bytes {
        value(self.schema_id, id)
    }

    pub fn record(&self, topic: &str, partition: i32, value: Option<Bytes>) -> NewRecord {
        record(topic, partition, value)
    }

    /// `count` good records, ids from `from` on, spread over the partitions.
    pub async fn publish(&self, topic: &str, partitions: i32, from: i64, count: i64) {
        let records = (from..from + count)
            .map(|id| record(topic, i32::try_from(id % i64::from(partitions)).unwrap(), Some(self.value(id))))
            .collect();
        self.send(records).await;
    }

    pub async fn send(&self, records: Vec<NewRecord>) {
        for receipt in self.log.produce(records).unwrap().await {
            receipt.unwrap();
        }
    }

    /// What a group has committed of a topic.
    pub async fn committed(&self, group: &str, topic: &str) -> BTreeMap<TopicPartition, Committed> {
        let partitions = self.log.topic(topic).await.unwrap().partitions;
        let parts: Vec<_> = (0..partitions).map(|partition| TopicPartition::new(topic, partition)).collect();
        self.log.committed(group, &parts).await.unwrap()
    }

    pub async fn lag(&self, group: &str, topic: &str) -> i64 {
        let committed = self.committed(group, topic).await;
        let mut lag = 0;
        for partition in 0..self.log.topic(topic).await.unwrap().partitions {
            let part = TopicPartition::new(topic, partition);
            let high = self.log.watermarks(&part).await.unwrap().high;
            lag += high - committed.get(&part).map_or(0, |c| c.offset);
        }
        lag
    }

    /// Waits until everything in the topic is committed by the connector, and no intent is open.
    pub async fn settled(&self, topic: &str) {
        eventually("all to be committed", async || {
            let committed = self.committed("connect-lake", topic).await;
            self.lag("connect-lake", topic).await == 0 && committed.values().all(|c| c.metadata == DONE)
        })
        .await;
    }

    /// Every record in the log.
    pub async fn in_log(&self, topic: &str) -> Vec<Record> {
        let mut all = Vec::new();
        let Ok(info) = self.log.topic(topic).await else { return all };
        for partition in 0..info.partitions {
            let part = TopicPartition::new(topic, partition);
            let mut next = self.log.watermarks(&part).await.unwrap().low;
            loop {
                let some = self.log.read(&part, next, 1000, 1 << 20).await.unwrap();
                let Some(last) = some.last() else { break };
                next = last.offset + 1;
                all.extend(some);
            }
        }
        all
    }

    pub async fn coordinates(&self, topic: &str) -> BTreeSet<Coordinate> {
        let all = self.in_log(topic).await;
        all.iter().map(|r| (r.part.topic.to_string(), r.part.partition, r.offset)).collect()
    }

    /// Where the dead letters say they stood, by dedupe key.
    pub async fn dead(&self) -> BTreeMap<String, Coordinate> {
        let letters = self.in_log(DLQ).await;
        let text = |h: &Headers, name: &str| h.text(name).unwrap().to_owned();
        letters
            .iter()
            .map(|r| {
                let h = &r.headers;
                let at = (
                    text(h, names::TOPIC),
                    text(h, names::PARTITION).parse().unwrap(),
                    text(h, names::OFFSET).parse().unwrap(),
                );
                (text(h, names::DEDUPE_KEY), at)
            })
            .collect()
    }

    /// Fails unless every record of the topic is in the lake or in the DLQ, exactly once in the lake, never in both.
    pub async fn audit(&self, topic: &str) {
        let lake = read_lake(&self.lake());
        self.audit_rows(topic, lake).await;
    }

    pub async fn audit_rows(&self, topic: &str, rows: Vec<LakeRow>) {
        let mut seen = BTreeSet::new();
        for row in rows.iter().filter(|row| row.at.0 == topic) {
            assert!(seen.insert(row.at.clone()), "duplicated: {:?}", row.at);
        }
        let dead: BTreeSet<Coordinate> = self.dead().await.into_values().filter(|at| at.0 == topic).collect();
        let both: Vec<_> = seen.intersection(&dead).collect();
        assert!(both.is_empty(), "in the lake and in the DLQ: {both:?}");
        let all = self.coordinates(topic).await;
        let lost: Vec<_> = all.iter().filter(|at| !seen.contains(*at) && !dead.contains(*at)).collect();
        assert!(lost.is_empty(), "{} lost, first {:?}", lost.len(), lost.first());
        assert!(seen.is_subset(&all), "rows that never stood in the log");
    }
}

/// A world over a simulated log; call it in a runtime with paused time.
pub async fn simulated(seed: u64) -> (Arc<SimLog>, World, Arc<MemoryLake>) {
    let log = SimLog::new(SimSettings { seed, ..SimSettings::default() });
    let world = World::new(log.clone()).await;
    (log, world, Arc::new(MemoryLake::default()))
}

/// Rows of every object; also sees that groups of a partition never overlap and that rows ascend within an object.
pub fn read_store(store: &MemoryLake) -> Vec<LakeRow> {
    let mut ranges: BTreeMap<(String, String), BTreeSet<(i64, i64)>> = BTreeMap::new();
    let mut all = Vec::new();
    for (key, (bytes, metadata)) in store.objects() {
        let rows = read_parquet(bytes);
        assert!(rows.is_sorted_by_key(|row| row.at.2), "{key} is out of order");
        let number = |name: &str| metadata[name].parse::<i64>().unwrap();
        let (start, end) = (number("forebay-start"), number("forebay-end"));
        assert!(rows.iter().all(|row| (start..=end).contains(&row.at.2)), "{key} holds rows outside its range");
        assert_eq!(number("forebay-count"), rows.len() as i64);
        let part = (rows[0].at.0.clone(), rows[0].at.1.to_string());
        ranges.entry(part).or_default().insert((start, end));
        all.extend(rows);
    }
    for (part, ranges) in ranges {
        let ranges: Vec<_> = ranges.into_iter().collect();
        assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "groups of {part:?} overlap: {ranges:?}");
    }
    all
}

pub fn value(schema_id: u32, id: i64) -> Bytes {
    let schema = forebay_avro::schema::Schema::parse(SCHEMA, &[]).unwrap();
    let mut out = Vec::new();
    frame::write(schema_id, &mut out);
    let json = format!(r#"{{"id":{id},"name":"reading {id}","note":null}}"#);
    Plan::compile(&schema).unwrap().encode(&json, &EncodeOptions::default(), &mut out).unwrap();
    out.into()
}

pub fn record(topic: &str, partition: i32, value: Option<Bytes>) -> NewRecord {
    let mut headers = Headers::default();
    headers.push("correlation_id", &b"c-1"[..]);
    NewRecord {
        topic: topic.into(),
        partition: Some(partition),
        key: Some(Bytes::from_static(b"key")),
        value,
        headers,
        timestamp_ms: Some(1_795_235_045_678),
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct LakeRow {
    pub at: Coordinate,
    pub id: i64,
    pub name: String,
}

/// Every row of every Parquet file below a directory; a torn file fails.
pub fn read_lake(dir: &Path) -> Vec<LakeRow> {
    parquet_files(dir).iter().flat_map(|path| read_parquet(std::fs::read(path).unwrap().into())).collect()
}

pub fn read_parquet(bytes: Bytes) -> Vec<LakeRow> {
    let batches = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
    batches.flat_map(|batch| rows(&batch.unwrap())).collect()
}

fn rows(batch: &RecordBatch) -> Vec<LakeRow> {
    let column = |name: &str| batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
    let text = |name: &str| column(name).as_any().downcast_ref::<StringArray>().unwrap().clone();
    let long = |name: &str| column(name).as_any().downcast_ref::<Int64Array>().unwrap().clone();
    let (topic, offset, id, name) = (text("_topic"), long("_offset"), long("id"), text("name"));
    let partition = column("_partition").as_primitive::<Int32Type>().clone();
    assert_eq!(column("_headers").as_list::<i32>().len(), batch.num_rows());
    (0..batch.num_rows())
        .map(|n| LakeRow {
            at: (topic.value(n).to_owned(), partition.value(n), offset.value(n)),
            id: id.value(n),
            name: name.value(n).to_owned(),
        })
        .collect()
}

pub fn parquet_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = std::fs::read_dir(dir) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "parquet") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Waits for a condition, at most 120 s (of virtual time where it is paused).
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(120), waiting).await.is_ok(), "waited in vain for {what}");
}
