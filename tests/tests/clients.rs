//! Apache Kafka and S3 in the place of the embedded parts: the same lake, clients that know nothing of us, and schemas
//! that change while events flow.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use arrow::{
    array::ArrayRef,
    compute::cast,
    datatypes::DataType,
    util::display::{ArrayFormatter, FormatOptions},
};
use forebay_components::{Kafka, S3, python, require};
use forebay_tests::{
    lake,
    process::{Role, free_port},
};
use serde_json::{Value, json};

/// For rows to arrive in the lake.
const PATIENCE: Duration = Duration::from_secs(90);

const SCHEMA: &str = r#"{"type":"record","name":"Reading","namespace":"n","fields":[
    {"name":"device","type":"string"},
    {"name":"value","type":"double"},
    {"name":"kind","type":{"type":"enum","name":"Kind","symbols":["WIND","RAIN"]}},
    {"name":"tags","type":{"type":"map","values":"string"},"default":{}},
    {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-millis"}],"default":null}]}"#;

/// A running system, where its lake lies, and where it listens.
struct Running {
    dir: tempfile::TempDir,
    role: Role,
    lake: PathBuf,
    api: String,
    registry: String,
}

/// Starts `forebay up`; only its URLs differ.
async fn up(broker: &str, lake: (&str, PathBuf), s3: &str) -> Result<Running> {
    let dir = tempfile::tempdir()?;
    let [api, management, registry] = [free_port()?, free_port()?, free_port()?];
    let config = format!(
        "data_dir: ./data\nbroker: {{url: \"{broker}\"}}\nregistry: {{listen: \"127.0.0.1:{registry}\"}}\n\
         api: {{listen: \"127.0.0.1:{api}\", management_listen: \"127.0.0.1:{management}\"}}\n\
         topics:\n  readings: {{partitions: 3, key: /payload/device, schema_file: reading.avsc, record_timestamp: event, \
         retention_ms: -1}}\n\
         connectors:\n  lake:\n    sink: s3\n    url: \"{}\"\n{s3}    topics: [readings]\n    partitioner: hourly\n\
         \x20   batch: {{max_age_ms: 300, max_rows: 250}}\n    metadata.columns: true\n",
        lake.0
    );
    std::fs::write(dir.path().join("forebay.yaml"), config)?;
    std::fs::write(dir.path().join("reading.avsc"), SCHEMA)?;
    let mut role = Role::start(dir.path(), "up", "up")?;
    role.ready(&format!("http://127.0.0.1:{management}/readyz")).await?;
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    Ok(Running { role, lake: dir.path().join(lake.1), dir, api: url(api), registry: url(registry) })
}

async fn on_kafka(kafka: &Kafka, s3: &S3, prefix: &str) -> Result<Running> {
    let store = format!(
        "    s3: {{endpoint_url: \"{}\", region: {}, access_key_id: {}, secret_access_key: {}}}\n",
        s3.endpoint, s3.region, s3.access_key, s3.secret_key
    );
    let place = s3.root()?.join(&s3.bucket).join(prefix);
    up(&format!("kafka://{}", kafka.brokers()), (&format!("s3://{}/{prefix}", s3.bucket), place), &store).await
}

impl Running {
    async fn publish(&self, events: &[Value]) -> Result<Value> {
        let request = reqwest::Client::new().post(format!("{}/api/v1/events/readings/batch", self.api));
        let request = request.header("content-type", "application/json").header("x-correlation-id", "one-and-the-same");
        let answer = request.body(json!({ "events": events }).to_string()).send().await?;
        Ok(answer.json().await?)
    }

    /// Rows of the lake as text, with their columns' names; a set, after the check that none stands twice.
    fn rows(&self) -> Result<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        for file in lake::files(&self.lake.join("readings"))? {
            let folder = file.parent().and_then(|dir| dir.strip_prefix(&self.lake).ok()).context("outside")?.to_owned();
            for batch in lake::read(&file)? {
                let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
                let options = FormatOptions::default().with_null("null");
                let arrays = batch.columns().iter().map(plain).collect::<Result<Vec<_>>>()?;
                let columns: Vec<_> =
                    arrays.iter().map(|array| ArrayFormatter::try_new(array, &options)).collect::<Result<_, _>>()?;
                for row in 0..batch.num_rows() {
                    let cells: Vec<_> = names
                        .iter()
                        .zip(&columns)
                        .map(|(name, column)| format!("{name}={}", column.value(row)))
                        .collect();
                    let line = format!("{}: {}", folder.display(), cells.join(" "));
                    ensure!(all.insert(line.clone()), "twice in the lake: {line}");
                }
            }
        }
        Ok(all)
    }

    async fn rows_once(&self, count: usize) -> Result<BTreeSet<String>> {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let rows = self.rows()?;
            if rows.len() >= count {
                return Ok(rows);
            }
            if std::time::Instant::now() > deadline {
                bail!("{} of {count} rows in the lake:\n{}", rows.len(), self.role.log_end());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn python(&self, python: &Path, script: &str, args: &[&str]) -> Result<String> {
        let path = self.dir.path().join("client.py");
        std::fs::write(&path, script)?;
        let ran = Command::new("timeout").arg("90").arg(python).arg(&path).args(args).output()?;
        let out = String::from_utf8_lossy(&ran.stdout).into_owned();
        ensure!(ran.status.success(), "{}\n{out}{}", ran.status, String::from_utf8_lossy(&ran.stderr));
        Ok(out)
    }
}

/// Times as numbers: their zones have no names here.
fn plain(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Timestamp(..) => Ok(cast(array, &DataType::Int64)?),
        _ => Ok(array.clone()),
    }
}

fn event(n: u64) -> Value {
    let kind = if n.is_multiple_of(3) { "RAIN" } else { "WIND" };
    let mut payload = json!({"device": format!("d-{}", n % 17), "value": n as f64 / 4.0, "kind": kind});
    if n.is_multiple_of(5) {
        payload["tags"] = json!({"site": format!("ö{n}")});
        payload["at"] = json!("2026-03-01T00:00:00.250Z");
    }
    let timestamp = format!("2026-03-0{}T{:02}:30:00.{:03}Z", 1 + n % 3, n % 24, n % 1000);
    json!({"event_id": n.to_string(), "timestamp": timestamp, "event_type": "reading", "payload": payload})
}

/// Row by row: folders, values, metadata columns, offsets.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_configuration_gives_the_same_lake() -> Result<()> {
    let kafka = require!(Kafka::single(), Ok(()));
    let s3 = require!(S3::start(), Ok(()));
    let embedded = up("local://./data/log", ("file://./data/lake", "data/lake".into()), "").await?;
    let cluster = on_kafka(&kafka, &s3, "lake").await?;
    let mut lakes = Vec::new();
    for system in [&embedded, &cluster] {
        for batch in 0..10 {
            let events: Vec<_> = (batch * 100..batch * 100 + 100).map(event).collect();
            let answer = system.publish(&events).await?;
            ensure!(answer["summary"]["accepted"] == 100, "{answer}");
        }
        lakes.push(system.rows_once(1_000).await?);
    }
    let odd: Vec<_> = lakes[0].symmetric_difference(&lakes[1]).take(4).collect();
    ensure!(odd.is_empty() && lakes[0].len() == 1_000, "rows that only one lake has: {odd:#?}");
    Ok(())
}

const CLIENT: &str = r#"
import sys
from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

brokers, registry, what = sys.argv[1:4]
client = SchemaRegistryClient({"url": registry})
context = SerializationContext("readings", MessageField.VALUE)
if what == "write":
    schema = client.get_latest_version("readings-value").schema
    serialize = AvroSerializer(client, schema, conf={"auto.register.schemas": False, "use.latest.version": True})
    producer = Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random"})
    for n in range(300):
        row = {"device": f"python-{n % 7}", "value": n / 2, "kind": "RAIN", "tags": {}, "at": None}
        producer.produce("readings", key=row["device"], value=serialize(row, context), timestamp=1772323200000 + n)
    assert producer.flush(30) == 0
    print("written")
else:
    deserialize = AvroDeserializer(client)
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "python", "auto.offset.reset": "earliest",
                         "enable.partition.eof": False})
    consumer.subscribe(["readings"])
    seen = {}
    while len(seen) < int(sys.argv[4]):
        message = consumer.poll(30)
        assert message is not None, f"only {len(seen)} records"
        assert message.error() is None, message.error()
        value = deserialize(message.value(), context)
        seen[(message.partition(), message.offset())] = value
    consumer.close()
    readings = [v for v in seen.values() if not v["device"].startswith("python")]
    print(len(readings), sum(v["value"] for v in readings), sorted({v["kind"] for v in readings}))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_python_program_writes_and_reads_by_itself() -> Result<()> {
    let python = require!(python(), Ok(()));
    let kafka = require!(Kafka::single(), Ok(()));
    let s3 = require!(S3::start(), Ok(()));
    let system = on_kafka(&kafka, &s3, "lake").await?;
    let events: Vec<_> = (0..200).map(event).collect();
    let answer = system.publish(&events).await?;
    ensure!(answer["summary"]["accepted"] == 200, "{answer}");
    let args = [kafka.brokers(), system.registry.as_str()];
    let wrote = system.python(&python, CLIENT, &[args[0], args[1], "write"])?;
    ensure!(wrote.trim() == "written", "{wrote}");
    let rows = system.rows_once(500).await?;
    let theirs = rows.iter().filter(|row| row.contains("device=python-")).count();
    ensure!((rows.len(), theirs) == (500, 300), "{} rows, {theirs} of the program", rows.len());
    let read = system.python(&python, CLIENT, &[args[0], args[1], "read", "500"])?;
    let sum: f64 = (0..200).map(|n| f64::from(n) / 4.0).sum();
    ensure!(read.trim() == format!("200 {sum:?} ['RAIN', 'WIND']"), "{read}");
    Ok(())
}

/// A field more while events flow: nothing restarts, both versions are in the lake, nothing is lost. An incompatible
/// version is refused in words.
#[tokio::test(flavor = "multi_thread")]
async fn a_subject_gains_a_field_while_events_flow() -> Result<()> {
    let kafka = require!(Kafka::single(), Ok(()));
    let s3 = require!(S3::start(), Ok(()));
    let system = on_kafka(&kafka, &s3, "lake").await?;
    let register = async |schema: String| -> Result<(u16, Value)> {
        let request = reqwest::Client::new().post(format!("{}/api/v1/schemas/readings-value/versions", system.api));
        let request = request.header("content-type", "application/json");
        let answer = request.body(json!({ "schema": schema }).to_string()).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    };
    let narrower = SCHEMA.replace(r#""symbols":["WIND","RAIN"]"#, r#""symbols":["WIND"]"#);
    let (status, refused) = register(narrower).await?;
    ensure!(status == 409 && refused["code"] == "schema_incompatible", "{status} {refused}");
    ensure!(refused.to_string().contains("RAIN"), "the words name what is in the way: {refused}");
    let wider =
        SCHEMA.replace(r#"{"name":"value""#, r#"{"name":"unit","type":"string","default":"m/s"},{"name":"value""#);
    let (mut sent, mut with_unit) = (0_u64, 0_u64);
    for round in 0..40 {
        if round == 10 {
            let (status, answer) = register(wider.clone()).await?;
            ensure!(status == 201 && answer["version"] == 2, "{answer}");
        }
        let unit = round >= 20;
        let events: Vec<_> = (sent..sent + 25)
            .map(event)
            .map(|mut event| {
                if unit {
                    event["payload"]["unit"] = json!("km/h");
                }
                event
            })
            .collect();
        let answer = system.publish(&events).await?;
        ensure!(answer["summary"]["accepted"] == 25, "round {round}: {answer}");
        sent += 25;
        with_unit += if unit { 25 } else { 0 };
    }
    let rows = system.rows_once(usize::try_from(sent)?).await?;
    let count = |word: &str| rows.iter().filter(|row| row.contains(word)).count() as u64;
    let without = rows.iter().filter(|row| !row.contains("unit=")).count() as u64;
    ensure!(
        rows.len() as u64 == sent && count("unit=km/h") == with_unit,
        "{} rows, {}",
        rows.len(),
        count("unit=km/h")
    );
    ensure!(without >= 250 && without + count("unit=m/s") == sent - with_unit, "both versions: {without} without");
    Ok(())
}
