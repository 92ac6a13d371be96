//! Topics, schemas, connectors, health, metrics.

use std::sync::Arc;

use forebay_api::{
    Deps, Drained, Listeners,
    control::{ConnectorControl, ConnectorState, ConnectorStatus, NotTaken, Order, PartitionStatus, TaskStatus},
    serve,
};
use forebay_avro::registry::{Embedded, MemoryStore};
use forebay_broker::{
    Log as _, LogError,
    sim::{SimLog, SimSettings},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{PATIENCE, Service, event, settings};

#[tokio::test]
async fn topics_are_created_listed_and_shown() {
    let service = Service::start().await;
    let new = json!({"name": "orders", "partitions": 3, "config": {"retention.ms": "60000"}});
    let answer = service.post("/api/v1/topics", new.to_string()).await;
    assert_eq!((answer.status, answer.header("location")), (201, "/api/v1/topics/orders"), "{}", answer.text);
    service.post("/api/v1/topics", new.to_string()).await.problem(409, "topic_exists");
    service.post("/api/v1/events/orders", event("e").to_string()).await;
    let shown = service.get("/api/v1/topics/orders").await.json();
    assert_eq!(
        (&shown["name"], &shown["partitions"], &shown["config"]["retention.ms"]),
        (&json!("orders"), &json!(3), &json!("60000"))
    );
    let high: i64 = shown["watermarks"].as_array().unwrap().iter().map(|w| w["high_watermark"].as_i64().unwrap()).sum();
    assert_eq!(high, 1);
    let names: Vec<_> = service.get("/api/v1/topics").await.json()["topics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["name"].clone())
        .collect();
    assert_eq!(names, ["events.dlq", "orders"]);
    service.get("/api/v1/topics/nope").await.problem(404, "unknown_topic");
    for (body, status, code) in [
        (json!({"name": "a/b"}), 422, "request_validation_failed"),
        (json!({"name": "x", "partitions": 0}), 422, "request_validation_failed"),
        (json!({"name": "x", "partitions": 10_001}), 422, "request_validation_failed"),
        (json!({"name": "x", "config": {"nope": "1"}}), 422, "request_validation_failed"),
        (json!({"name": "x", "partition": 1}), 422, "request_validation_failed"),
        (json!({"name": "__x"}), 403, "forbidden"),
    ] {
        service.post("/api/v1/topics", body.to_string()).await.problem(status, code);
    }
    service.post("/api/v1/topics", "{").await.problem(400, "malformed_json");
}

/// Better no topic than one that keeps what it was told to drop.
#[tokio::test]
async fn a_log_that_compacts_nothing_says_so() {
    let service = Service::start().await;
    let new = json!({"name": "latest", "config": {"cleanup.policy": "compact"}});
    let answer = service.post("/api/v1/topics", new.to_string()).await;
    let problem = answer.problem(422, "request_validation_failed");
    let msg = problem["errors"][0]["msg"].as_str().unwrap();
    assert!(msg.contains("cleanup.policy") && msg.contains("only \"delete\""), "{msg}");
    service.get("/api/v1/topics/latest").await.problem(404, "unknown_topic");
}

#[tokio::test]
async fn configured_topics_and_schemas_stand_before_the_first_request() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.avsc");
    std::fs::write(&file, r#"{"type":"record","name":"T","fields":[{"name":"a","type":"int"}]}"#).unwrap();
    let service = Service::start_with(|s| {
        s.settings.topics = settings(json!({"t": {"partitions": 7, "schema_file": file}})).topics;
    })
    .await;
    // The listener is bound before, so a request waits until all is set up.
    service.assert_alive().await;
    assert_eq!(service.log.topic("t").await.unwrap().partitions, 7);
    let version = service.get("/api/v1/schemas/t-value/versions/latest").await.json();
    assert_eq!((&version["version"], &version["subject"]), (&json!(1), &json!("t-value")));
}

#[tokio::test]
async fn schemas_are_registered_checked_and_shown() {
    let service = Service::start().await;
    let path = "/api/v1/schemas/orders-value/versions";
    let first = json!({"type": "record", "name": "O", "fields": [{"name": "a", "type": "int"}]});
    let answer = service.post(path, json!({"schema": first.to_string()}).to_string()).await;
    assert_eq!((answer.status, answer.json()), (201, json!({"id": 1, "version": 1})));
    let second =
        json!({"type": "record", "name": "O", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": "int"}]});
    let check = "/api/v1/schemas/orders-value/compatibility";
    let dry = service.post(check, json!({"schema": second}).to_string()).await.json();
    assert_eq!((&dry["compatible"], dry["differences"].as_array().unwrap().len()), (&json!(false), 1), "{dry}");
    let body = service.post(path, json!({"schema": second}).to_string()).await.problem(409, "schema_incompatible");
    assert_eq!(body["errors"].as_array().unwrap().len(), 1, "{body}");
    assert_eq!(service.get(path).await.json(), json!({"subject": "orders-value", "versions": [1]}));
    assert_eq!(service.get("/api/v1/schemas").await.json(), json!({"subjects": ["orders-value"]}));
    let shown = service.get(&format!("{path}/1")).await.json();
    assert_eq!((&shown["id"], &shown["schema"]), (&json!(1), &json!(first.to_string())));
    service.get(&format!("{path}/2")).await.problem(404, "unknown_schema");
    service.get(&format!("{path}/0")).await.problem(422, "request_validation_failed");
    service.get("/api/v1/schemas/nope/versions").await.problem(404, "unknown_schema");
    for bad in [json!({"schema": "{"}), json!({"schema": {"type": "nope"}}), json!({"text": "x"}), json!({})] {
        service.post(path, bad.to_string()).await.problem(422, "request_validation_failed");
    }
    let nested = json!({"schema": {"type": "array", "items": "O"}, "references": [{"name": "O", "subject": "orders-value", "version": 1}]});
    let answer = service.post("/api/v1/schemas/list-value/versions", nested.to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let shown = service.get("/api/v1/schemas/list-value/versions/latest").await.json();
    assert_eq!(shown["references"], json!([{"name": "O", "subject": "orders-value", "version": 1}]));
}

struct Fixed;

fn status() -> ConnectorStatus {
    ConnectorStatus {
        name: "lake".into(),
        sink: "s3".into(),
        destination: "file:lake".into(),
        state: ConnectorState::Paused,
        lag: Some(4),
        rows: Some(5),
        bytes: Some(100),
        dead_letters: None,
        last_flush: None,
        tasks: vec![TaskStatus { task: 0, state: ConnectorState::Paused, code: Some("X".into()), advice: None }],
        partitions: vec![PartitionStatus {
            topic: "t".into(),
            partition: 1,
            committed: Some(5),
            high_watermark: 9,
            lag: 4,
        }],
    }
}

#[async_trait::async_trait]
impl ConnectorControl for Fixed {
    async fn connectors(&self) -> Result<Vec<ConnectorStatus>, LogError> {
        Ok(vec![status()])
    }

    async fn connector(&self, name: &str) -> Result<Option<ConnectorStatus>, LogError> {
        Ok((name == "lake").then(status))
    }

    fn order(&self, name: &str, order: Order) -> Result<(), NotTaken> {
        match (name, order) {
            ("lake", Order::Resume) => Ok(()),
            ("lake", _) => Err(NotTaken::Elsewhere("ask there".into())),
            _ => Err(NotTaken::Unknown),
        }
    }
}

#[tokio::test]
async fn a_process_that_only_delivers_shows_itself_on_the_next_free_port() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings(json!({}));
    settings.management_listen = Some(taken.local_addr().unwrap());
    let listeners = Listeners::bind_management(&settings).await.unwrap();
    assert!(listeners.api.is_none());
    let address = listeners.management.as_ref().unwrap().local_addr().unwrap();
    assert!(address.port() > taken.local_addr().unwrap().port());
    let deps = Deps {
        log: SimLog::new(SimSettings::default()),
        registry: Arc::new(Embedded::open(Arc::new(MemoryStore::default())).unwrap()),
        embedded: None,
        connectors: Some(Arc::new(Fixed)),
        metrics: prometheus::Registry::new(),
    };
    let shutdown = CancellationToken::new();
    settings.prepare = false;
    let served = tokio::spawn(serve(settings, listeners, deps, shutdown.clone()));
    for (path, status) in
        [("/readyz", 200), ("/api/v1/connectors/lake", 200), ("/metrics", 200), ("/api/v1/topics", 404)]
    {
        let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path}");
    }
    let told = reqwest::Client::new().post(format!("http://{address}/api/v1/connectors/lake/resume")).send().await;
    assert_eq!(told.unwrap().status().as_u16(), 202);
    shutdown.cancel();
    let drained = tokio::time::timeout(PATIENCE, served).await.expect("the drain has no end").unwrap().unwrap();
    assert_eq!(drained, Drained { requests_cut: 0 });
}

#[tokio::test]
async fn connectors_are_shown() {
    let service = Service::start_with(|s| s.connectors = Some(Arc::new(Fixed))).await;
    let lake = service.get("/api/v1/connectors/lake").await.json();
    assert_eq!(lake["partitions"][0]["lag"], 4);
    assert_eq!(lake["state"], "paused");
    assert_eq!(service.get("/api/v1/connectors").await.json(), json!({"connectors": [lake]}));
    service.get("/api/v1/connectors/nope").await.problem(404, "not_found");
    let bare = Service::start().await;
    assert_eq!(bare.get("/api/v1/connectors").await.json(), json!({"connectors": []}));
}

#[tokio::test]
async fn connectors_are_told_what_to_do() {
    let service = Service::start_with(|s| s.connectors = Some(Arc::new(Fixed))).await;
    let tell = async |path: &str| service.post(&format!("/api/v1/connectors/{path}"), String::new()).await;
    let told = tell("lake/resume").await;
    assert_eq!((told.status, told.text.as_str()), (202, ""));
    assert_eq!(tell("lake/pause").await.problem(409, "connector_elsewhere")["detail"], "ask there");
    tell("lake/restart").await.problem(409, "connector_elsewhere");
    tell("nope/restart").await.problem(404, "not_found");
    tell("lake/resume?x=1").await.problem(422, "request_validation_failed");
    tell("lake/stop").await.problem(404, "not_found");
    service.get("/api/v1/connectors/lake/pause").await.problem(405, "method_not_allowed");
    let bare = Service::start().await;
    bare.post("/api/v1/connectors/lake/resume", String::new()).await.problem(404, "not_found");
}

/// Connectors over a log that is away.
struct Away;

#[async_trait::async_trait]
impl ConnectorControl for Away {
    async fn connectors(&self) -> Result<Vec<ConnectorStatus>, LogError> {
        Err(LogError::Unavailable("no broker".to_owned()))
    }

    async fn connector(&self, _: &str) -> Result<Option<ConnectorStatus>, LogError> {
        self.connectors().await.map(|_| None)
    }

    fn order(&self, _: &str, _: Order) -> Result<(), NotTaken> {
        Err(NotTaken::Unknown)
    }
}

#[tokio::test]
async fn a_log_that_is_away_is_not_shown_as_no_connectors() {
    let service = Service::start_with(|s| s.connectors = Some(Arc::new(Away))).await;
    for path in ["/api/v1/connectors", "/api/v1/connectors/lake"] {
        let refused = service.get(path).await.problem(503, "log_unavailable");
        assert_eq!(refused["retryable"], true, "{path}");
    }
}

#[tokio::test]
async fn health_follows_the_log() {
    let service = Service::start().await;
    assert_eq!(service.get("/readyz").await.status, 200);
    let health = service.get("/api/v1/health").await;
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("healthy")));
    service.log.away(std::time::Duration::from_secs(3600));
    let health = service.get("/api/v1/health").await;
    assert_eq!((health.status, &health.json()["status"]), (503, &json!("unhealthy")), "{}", health.text);
    for ready in [service.get("/readyz").await, service.get_management("/readyz").await] {
        assert_eq!(ready.status, 503);
    }
    assert_eq!(service.get_management("/livez").await.status, 200, "alive all the same");
}

#[tokio::test]
async fn metrics_as_text_and_json() {
    let service = Service::start().await;
    service.post("/api/v1/events/t", event("e").to_string()).await;
    service.post("/api/v1/events/t", "{").await;
    let text = service.get("/metrics").await;
    assert_eq!(text.header("content-type"), "text/plain; version=0.0.4");
    for line in [
        "api_request_duration_seconds_count{method=\"POST\",route=\"/api/v1/events/{topic}\",status=\"200\"} 1",
        "forebay_events_total{outcome=\"accepted\",topic=\"t\"} 1",
        "forebay_rejected_total{code=\"malformed_json\"} 1",
        "kafka_producer_throughput{topic=\"t\"}",
        "forebay_producer_queue_utilization 0",
    ] {
        assert!(text.text.contains(line), "{line} is not in\n{}", text.text);
    }
    assert_eq!(service.get_management("/metrics").await.status, 200);
    let json = service.send("GET", "/api/v1/metrics", &[("accept", "application/json")], "").await.json();
    assert_eq!(json["forebay_events_total"].as_array().unwrap().len(), 5, "one per outcome: {json}");
    service.get_management("/api/v1/topics").await.problem(404, "not_found");
}
