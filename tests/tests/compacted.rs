//! A topic of a Kafka cluster that is compacted, or limits timestamps, also while it runs, as those meet it who publish,
//! look at the documents, or run the service.

use std::{future::Future, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use forebay_broker::{
    Headers, NewRecord,
    config::{BrokerOptions, ProducerOptions},
};
use forebay_components::{Kafka, python, require};
use forebay_tests::{
    harness::binary,
    process::{Role, free_port},
};
use serde_json::{Value, json};

/// For a change of a topic to be seen: 10 s on an idle machine.
const SEEN: Duration = Duration::from_secs(60);

const ALTER: &str = r#"
import sys
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
servers, topic, setting, value = sys.argv[1:]
entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
admin = AdminClient({"bootstrap.servers": servers})
for done in admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])]).values():
    done.result(30)
"#;

struct World {
    dir: tempfile::TempDir,
    python: PathBuf,
    servers: String,
    role: Role,
    api: String,
}

impl World {
    async fn start(kafka: &Kafka, python: PathBuf) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let [api, management] = [free_port()?, free_port()?];
        // Requests that come together share a batch.
        let config = format!(
            "data_dir: ./data\nbroker: {{url: \"kafka://{}\"}}\nproducer: {{linger_ms: 500}}\n\
             registry: {{listen: \"127.0.0.1:0\"}}\n\
             api: {{listen: \"127.0.0.1:{api}\", management_listen: \"127.0.0.1:{management}\"}}\n\
             topics:\n  t: {{partitions: 1}}\n  bad: {{partitions: 1}}\n  \
             timed: {{partitions: 1, record_timestamp: event, retention_ms: -1}}\n\
             connectors:\n  lake: {{url: \"file://./lake\", topics: [bad]}}\n",
            kafka.brokers()
        );
        std::fs::write(dir.path().join("forebay.yaml"), config)?;
        let mut role = Role::start(dir.path(), "up", "up")?;
        role.ready(&format!("http://127.0.0.1:{management}/readyz")).await?;
        let servers = kafka.brokers().to_owned();
        Ok(Self { dir, python, servers, role, api: format!("http://127.0.0.1:{api}") })
    }

    fn compact(&self, topic: &str, policy: &str) -> Result<()> {
        self.alter(topic, "cleanup.policy", policy)
    }

    fn alter(&self, topic: &str, setting: &str, value: &str) -> Result<()> {
        let mut command = Command::new("timeout");
        command.arg("60").arg(&self.python).args(["-c", ALTER, &self.servers, topic, setting, value]);
        let ran = command.output()?;
        ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        Ok(())
    }

    async fn post(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        self.post_to("t", path, body).await
    }

    async fn post_to(&self, topic: &str, path: &str, body: &Value) -> Result<(u16, Value)> {
        let request = reqwest::Client::new().post(format!("{}/api/v1/events/{topic}{path}", self.api));
        let answer = request.header("content-type", "application/json").body(body.to_string()).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    async fn get(&self, path: &str) -> Result<Value> {
        Ok(reqwest::get(format!("{}{path}", self.api)).await?.json().await?)
    }

    /// Waits until `met` says so.
    async fn until<F: Future<Output = Result<bool>>>(&self, what: &str, met: impl Fn() -> F) -> Result<()> {
        let wait = async {
            while !met().await? {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            anyhow::Ok(())
        };
        let waited = tokio::time::timeout(SEEN, wait).await;
        waited.with_context(|| format!("not in time: {what}\n{}", self.role.log_end()))?
    }

    /// Waits until an event without a key is told to be this.
    async fn keyless_is(&self, status: u16) -> Result<()> {
        self.until("what is known of the topic follows it", || async {
            Ok(self.post("/validate", &event(None)).await?.0 == status)
        })
        .await
    }

    async fn lake(&self) -> Result<Value> {
        Ok(self.get("/api/v1/connectors/lake").await?["tasks"][0].clone())
    }

    /// What `forebay check` finds about one thing.
    fn check(&self, what: &str) -> Result<String> {
        let ran = Command::new(binary()?).args(["check", "--json"]).current_dir(self.dir.path()).output()?;
        let findings: Value = serde_json::from_slice(&ran.stdout)?;
        let found = findings.as_array().into_iter().flatten().find(|finding| finding["what"] == what);
        Ok(found.with_context(|| format!("no {what} in {findings}"))?["says"].to_string())
    }
}

fn event(user: Option<&str>) -> Value {
    let payload = user.map_or_else(|| json!({}), |user| json!({"user_id": user}));
    json!({"event_id": "e", "timestamp": "2026-03-01T00:00:00Z", "event_type": "seen", "payload": payload})
}

fn statuses(answer: &Value) -> Vec<&str> {
    answer["results"].as_array().into_iter().flatten().filter_map(|result| result["status"].as_str()).collect()
}

/// 422 `key_required` at the place that lacks the key; the same alone and in a batch but for the way there.
fn refused(problem: &Value, loc: &Value) -> Result<()> {
    let item = &problem["errors"][0];
    ensure!(problem["code"] == "key_required" && problem["status"] == 422, "{problem}");
    ensure!(problem["retryable"] == false && item["type"] == "key_required", "{problem}");
    ensure!(item["loc"] == *loc && item["pointer"] == "/payload/user_id", "{problem}");
    ensure!(
        item["msg"].as_str().is_some_and(|msg| msg.contains("compacted") && msg.contains("Event-Key")),
        "{problem}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_a_key_is_refused_alone() -> Result<()> {
    let kafka = require!(Kafka::single(), Ok(()));
    let python = require!(python(), Ok(()));
    let world = World::start(&kafka, python).await?;
    let (status, answer) = world.post("", &event(None)).await?;
    ensure!(status == 200, "{answer}");
    world.compact("t", "compact")?;
    world.keyless_is(422).await?;
    known(&world).await?;
    // What is known was just made new: the next change is met by records on their way.
    world.compact("t", "delete")?;
    world.keyless_is(200).await?;
    world.compact("t", "compact,delete")?;
    changed_meanwhile(&world).await?;
    dead_letter_topic(&world).await
}

/// Every way to publish to a topic that is known to be compacted.
async fn known(world: &World) -> Result<()> {
    let (own, in_batch) = (json!(["body", "payload", "user_id"]), json!(["body", "events", 1, "payload", "user_id"]));
    for path in ["", "/validate"] {
        let (status, answer) = world.post(path, &event(None)).await?;
        ensure!(status == 422, "{answer}");
        refused(&answer, &own)?;
        let (status, answer) = world.post(path, &event(Some("u"))).await?;
        ensure!(status == 200, "{answer}");
    }
    let batch = json!({"events": [event(Some("u")), event(None), event(Some("v"))]});
    let (status, answer) = world.post("/batch", &batch).await?;
    ensure!(status == 207 && statuses(&answer) == ["accepted", "invalid", "accepted"], "{answer}");
    refused(&answer["results"][1]["error"], &in_batch)?;
    let (status, answer) = world.post("/batch?atomic=validate", &batch).await?;
    ensure!(status == 422 && statuses(&answer) == ["retry", "invalid", "retry"], "{answer}");
    refused(&answer["results"][1]["error"], &in_batch)?;
    let (status, answer) = world.post("/batch?on_invalid=dlq", &batch).await?;
    ensure!(status == 202 && statuses(&answer) == ["accepted", "dead_lettered", "accepted"], "{answer}");
    let keyed = reqwest::Client::new().post(format!("{}/api/v1/events/t", world.api)).header("event-key", "k");
    let answer = keyed.header("content-type", "application/json").body(event(None).to_string()).send().await?;
    ensure!(answer.status() == 200, "{}", answer.text().await?);

    let operation = world.get("/openapi.json?topic=t").await?["paths"]["/api/v1/events/t"]["post"].clone();
    let says = operation["description"].as_str().unwrap_or_default();
    ensure!(says.contains("Every event needs a key") && says.contains("/payload/user_id"), "{operation}");
    let example = &operation["requestBody"]["content"]["application/json"]["example"];
    let (status, answer) = world.post("/validate", example).await?;
    ensure!(status == 200, "{example}: {answer}");
    let says = world.check("topics.t.key")?;
    ensure!(says.contains("compacted") && says.contains("key_required"), "{says}");
    Ok(())
}

/// One request brings the event that the cluster refuses, others share its batch.
async fn changed_meanwhile(world: &World) -> Result<()> {
    let batch = json!([event(Some("u")), event(None)]);
    let (before, after) = (event(Some("a")), event(Some("b")));
    let (before, own, after) =
        tokio::try_join!(world.post("", &before), world.post("/batch", &batch), world.post("", &after))?;
    let (status, answer) = own;
    ensure!(status == 207 && statuses(&answer) == ["retry", "invalid"], "{answer}");
    refused(&answer["results"][1]["error"], &json!(["body", 1, "payload", "user_id"]))?;
    for (status, answer) in [before, after] {
        ensure!(status == 503 && answer["code"] == "log_unavailable" && answer["retryable"] == true, "{answer}");
    }
    // It was learnt from: nobody else is harmed.
    let (status, answer) = world.post("/batch", &batch).await?;
    ensure!(status == 207 && statuses(&answer) == ["accepted", "invalid"], "{answer}");
    Ok(())
}

/// A topic for dead letters that someone compacted takes those with a key only. It is ours to mend, and everyone is
/// told what; then all goes on by itself.
async fn dead_letter_topic(world: &World) -> Result<()> {
    world.compact("events.dlq", "compact")?;
    let (status, answer) = world.post("?on_invalid=dlq", &event(None)).await?;
    ensure!(status == 503 && answer["code"] == "log_unavailable" && answer["retryable"] == true, "{answer}");
    let says = world.check("dlq.topic")?;
    ensure!(says.contains("WARNING: events.dlq is compacted") && says.contains("cleanup.policy=delete"), "{says}");

    let broker = BrokerOptions { url: Some(format!("kafka://{}", world.servers)), ..Default::default() }.settings()?;
    let log = forebay_broker::open(&broker, ProducerOptions::default().settings(&broker.url)?).await?.log;
    let record = NewRecord {
        topic: "bad".into(),
        partition: None,
        key: None,
        value: Some("no Avro".into()),
        headers: Headers::default(),
        timestamp_ms: None,
    };
    ensure!(log.produce(vec![record])?.await.iter().all(Result::is_ok), "not produced");
    world
        .until("the connector says what it waits for", || async {
            let task = world.lake().await?;
            let advice = task["advice"].as_str().unwrap_or_default();
            Ok(task["code"] == "DLQ_DOWN"
                && advice.contains("--entity-name events.dlq --add-config cleanup.policy=delete"))
        })
        .await?;
    let dead = log.topic("events.dlq").await?;
    ensure!(dead.compacted == Some(true), "{dead:?}");

    world.compact("events.dlq", "delete")?;
    world.until("the connector goes on", || async { Ok(world.lake().await?["code"].is_null()) }).await?;
    let (status, answer) = world.post("?on_invalid=dlq", &event(None)).await?;
    ensure!(status == 202 && answer["status"] == "dead_lettered", "{answer}");
    log.close().await?;
    Ok(())
}

/// So many seconds from now.
fn at(ahead_s: i64) -> Value {
    let time = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(ahead_s);
    json!({"event_id": "e", "timestamp": time.to_string(), "event_type": "seen", "payload": {}})
}

/// 422 `timestamp_out_of_range` at the timestamp, with the limit that it passes and what to do.
fn untaken(problem: &Value, event: &Value, loc: &Value, setting: &str) -> Result<()> {
    let item = &problem["errors"][0];
    ensure!(problem["code"] == "timestamp_out_of_range" && problem["status"] == 422, "{problem}");
    ensure!(problem["retryable"] == false && item["type"] == "timestamp_out_of_range", "{problem}");
    ensure!(item["loc"] == *loc && item["pointer"] == "/timestamp", "{problem}");
    let msg = item["msg"].as_str().unwrap_or_default();
    let time = event["timestamp"].as_str().and_then(|time| time.split_once('.')).context("a time")?.0;
    ensure!(msg.starts_with(time) && msg.contains(setting), "{problem}");
    ensure!(msg.contains("3600000 ms") && msg.contains("topics.timed.record_timestamp: receipt"), "{problem}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timestamp_that_the_cluster_does_not_take_is_refused_alone() -> Result<()> {
    let kafka = require!(Kafka::single(), Ok(()));
    let python = require!(python(), Ok(()));
    let world = World::start(&kafka, python).await?;
    let (hour, after) = (3_600, "message.timestamp.after.max.ms");
    let (late, years_ago) = (at(2 * hour), event(Some("u")));
    for path in ["", "/validate"] {
        let (status, answer) = world.post_to("timed", path, &late).await?;
        ensure!(status == 422, "{answer}");
        untaken(&answer, &late, &json!(["body", "timestamp"]), after)?;
        // Where the time of receipt counts any will do.
        let (status, answer) = world.post(path, &late).await?;
        ensure!(status == 200, "{answer}");
    }
    let batch = json!({"events": [years_ago, late, at(0)]});
    let in_batch = json!(["body", "events", 1, "timestamp"]);
    let (status, answer) = world.post_to("timed", "/batch", &batch).await?;
    ensure!(status == 207 && statuses(&answer) == ["accepted", "invalid", "accepted"], "{answer}");
    untaken(&answer["results"][1]["error"], &late, &in_batch, after)?;
    let (status, answer) = world.post_to("timed", "/batch?atomic=validate", &batch).await?;
    ensure!(status == 422 && statuses(&answer) == ["retry", "invalid", "retry"], "{answer}");
    let (status, answer) = world.post_to("timed", "/batch?on_invalid=dlq", &batch).await?;
    ensure!(status == 202 && statuses(&answer) == ["accepted", "dead_lettered", "accepted"], "{answer}");
    let says = world.check("topics.timed.record_timestamp")?;
    ensure!(says.contains("over 3600000 ms ahead of now") && !says.contains("before now"), "{says}");

    // The cluster's clock decides what is close; one request brings it, others share its batch.
    let close = at(hour + 30);
    let shared = json!([at(0), close]);
    let in_shared = json!(["body", 1, "timestamp"]);
    let neighbours = || world.post_to("timed", "", &years_ago);
    let (before, own, behind) =
        tokio::try_join!(neighbours(), world.post_to("timed", "/batch", &shared), neighbours())?;
    ensure!(own.0 == 207 && statuses(&own.1) == ["retry", "invalid"], "{}", own.1);
    untaken(&own.1["results"][1]["error"], &close, &in_shared, after)?;
    for (status, answer) in [before, behind] {
        ensure!(status == 503 && answer["code"] == "log_unavailable" && answer["retryable"] == true, "{answer}");
    }

    // So it does with a limit that was set a moment ago, which is learnt from.
    world.alter("timed", "message.timestamp.before.max.ms", "3600000")?;
    let old = at(-24 * hour);
    let shared = json!([at(0), old]);
    for (status_of_other, told) in [(503, "retry"), (200, "accepted")] {
        let (other, own) = tokio::try_join!(
            async { world.post_to("timed", "", &at(0)).await },
            world.post_to("timed", "/batch", &shared)
        )?;
        ensure!(own.0 == 207 && statuses(&own.1) == [told, "invalid"], "{}", own.1);
        untaken(&own.1["results"][1]["error"], &old, &in_shared, "message.timestamp.before.max.ms")?;
        ensure!(other.0 == status_of_other, "{}", other.1);
    }
    Ok(())
}
