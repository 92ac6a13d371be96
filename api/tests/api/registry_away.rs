//! A registry elsewhere: not there when the service starts, changed by others, without Avro.

use std::{sync::Arc, time::Duration};

use forebay_avro::registry::{
    Registry, Remote,
    config::{RegistryAuth, RemoteSettings},
};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, method, path},
};

use crate::support::{Answer, Service, settings};

pub const FLIGHT: &str = r#"{"type":"record","name":"Flight","fields":[{"name":"tail","type":"string"}]}"#;

pub async fn answer(server: &MockServer, verb: &str, at: &str, body: Value) {
    Mock::given(method(verb))
        .and(path(at))
        .respond_with(ResponseTemplate::new(200).set_body_json(body))
        .mount(server)
        .await;
}

#[tokio::test]
async fn the_service_starts_refuses_and_registers_its_schema_files_later() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(503)).mount(&server).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("flight.avsc");
    std::fs::write(&file, FLIGHT).unwrap();
    let remote = remote(&server.uri());
    let topics = json!({"flights": {"schema_file": file}, "more": {"schema_file": file}, "plain": {}});
    let began = tokio::time::Instant::now();
    let service = Service::start_with(|setup| {
        setup.settings = settings(topics);
        setup.registry = Some(remote);
    })
    .await;
    for topic in ["flights", "more", "plain"].repeat(5) {
        let refused = publish(&service, topic).await.problem(503, "registry_unavailable");
        assert_eq!(refused["retryable"], true);
    }
    let tried = server.received_requests().await.unwrap();
    let registrations = tried.iter().filter(|request| request.method == "POST").count() as u64;
    let most = 3 + began.elapsed().as_secs();
    assert!(registrations <= most, "one file at start, and at most one a second for all events: {registrations}");
    assert_eq!(service.get_management("/readyz").await.status, 200);
    assert_eq!(service.get("/api/v1/health").await.json()["status"], "degraded");

    server.reset().await;
    answer(&server, "GET", "/schemas/ids/7", json!({"schema": FLIGHT})).await;
    for subject in ["flights-value", "more-value"] {
        let version = json!({"subject": subject, "version": 1, "id": 7, "schema": FLIGHT});
        answer(&server, "POST", &format!("/subjects/{subject}/versions"), json!({"id": 7})).await;
        answer(&server, "POST", &format!("/subjects/{subject}"), version.clone()).await;
        answer(&server, "GET", &format!("/subjects/{subject}/versions/latest"), version).await;
    }
    for topic in ["flights", "more"] {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while publish(&service, topic).await.status != 200 {
            assert!(tokio::time::Instant::now() < deadline, "{topic} takes no events");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

const WITH_GATE: &str = r#"{"type":"record","name":"Flight","fields":[{"name":"tail","type":"string"},{"name":"gate","type":"string","default":""}]}"#;

#[tokio::test]
async fn a_version_that_others_register_is_used_at_once_when_the_subject_is_forgotten() {
    let elsewhere = Service::start().await;
    let registered = elsewhere.registry.register("t-value", FLIGHT, &[]).await.unwrap();
    let remote = remote(&format!("http://{}", elsewhere.registry_door));
    let service = Service::start_with(|setup| setup.registry = Some(remote)).await;
    let with_gate = flight().replace("\"N1\"", r#""N1","gate":"A4""#);
    assert_eq!(publish(&service, "t").await.status, 200);
    elsewhere.registry.register("t-value", WITH_GATE, &[]).await.unwrap();
    let refused = service.post("/api/v1/events/t", &*with_gate).await.problem(422, "schema_validation_failed");
    assert_eq!(refused["errors"][0]["pointer"], "/payload/gate", "within the time to live: {refused}");

    // Of another subject, that is no help.
    for (path, helps) in [("/api/v1/schemas/u-value/cache", false), ("/api/v1/schemas/t-value/cache", true)] {
        let answer = service.send("DELETE", path, &[], "").await;
        assert_eq!((answer.status, &*answer.text), (204, ""), "{path}");
        let published = service.post("/api/v1/events/t", &*with_gate).await;
        assert_eq!(published.status, if helps { 200 } else { 422 }, "{path}: {}", published.text);
    }

    // What no version of the subject holds any more takes no events, once it is forgotten.
    let first = format!("/api/v1/events/t?schema_id={}", registered.registered.id);
    assert_eq!(service.post(&first, flight()).await.status, 200);
    for permanent in [false, true] {
        let path = format!("/subjects/t-value/versions/1?permanent={permanent}");
        assert_eq!(elsewhere.registry("DELETE", &path, &[], "").await.status, 200);
    }
    assert_eq!(service.send("DELETE", "/api/v1/schemas/t-value/cache", &[], "").await.status, 204);
    service.post(&first, flight()).await.problem(422, "schema_mismatch");
}

#[tokio::test]
async fn metrics_tell_how_often_the_registry_had_to_be_asked() {
    let server = MockServer::start().await;
    let version = json!({"subject": "t-value", "version": 1, "id": 7, "schema": FLIGHT});
    answer(&server, "GET", "/subjects/t-value/versions/latest", version).await;
    let remote = remote(&server.uri());
    let service = Service::start_with(|setup| setup.registry = Some(remote)).await;
    let counted = async |result: &str| {
        let text = service.get("/metrics").await.text;
        let name = format!("forebay_schema_cache_total{{result=\"{result}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("{name}: {text}")).parse::<u64>().unwrap()
    };
    for _ in 0..5 {
        assert_eq!(publish(&service, "t").await.status, 200);
    }
    // The page of the API looks at the schema too.
    assert_eq!((counted("miss").await, counted("stale").await, counted("negative").await), (1, 0, 0));
    assert!(counted("hit").await >= 4);
    server.reset().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(503)).mount(&server).await;
    assert_eq!(service.send("DELETE", "/api/v1/schemas/t-value/cache", &[], "").await.status, 204);
    assert_eq!(publish(&service, "t").await.status, 200);
    assert!(counted("stale").await >= 1, "the older answer serves");

    let own = Service::start().await;
    assert_eq!(publish(&own, "t").await.status, 200);
    assert!(!own.get("/metrics").await.text.contains("forebay_schema_cache_total"), "it is asked itself");
}

#[tokio::test]
async fn the_registry_inside_has_nothing_to_forget() {
    let service = Service::start().await;
    for subject in ["t-value", "never%2Fseen"] {
        assert_eq!(service.send("DELETE", &format!("/api/v1/schemas/{subject}/cache"), &[], "").await.status, 204);
    }
    for path in ["/api/v1/schemas/%FF/cache", "/api/v1/schemas/t-value/cache?all=true"] {
        service.send("DELETE", path, &[], "").await.problem(422, "request_validation_failed");
    }
    let method = service.get("/api/v1/schemas/t-value/cache").await;
    method.problem(405, "method_not_allowed");
    assert_eq!(method.header("allow"), "DELETE");
}

#[tokio::test]
async fn a_schema_that_is_no_avro_takes_no_events() {
    let server = MockServer::start().await;
    let protobuf = json!({"subject": "t-value", "version": 1, "id": 1, "schema": "syntax", "schemaType": "PROTOBUF"});
    answer(&server, "GET", "/subjects/t-value/versions/latest", protobuf).await;
    let remote = remote(&server.uri());
    let service = Service::start_with(|setup| setup.registry = Some(remote)).await;
    let refused = publish(&service, "t").await.problem(409, "schema_unsupported");
    assert!(refused["detail"].as_str().unwrap().contains("Protobuf, not Avro"), "{refused}");
}

fn remote(url: &str) -> Arc<Remote> {
    open(remote_settings(url))
}

pub fn remote_settings(url: &str) -> RemoteSettings {
    RemoteSettings {
        urls: vec![url.parse().unwrap()],
        auth: RegistryAuth::None,
        ca_file: None,
        timeout: Duration::from_secs(20),
        latest_ttl: Duration::from_secs(60),
        unknown_ttl: Duration::ZERO,
    }
}

pub fn open(settings: RemoteSettings) -> Arc<Remote> {
    Arc::new(Remote::open(&settings).unwrap())
}

pub fn flight() -> String {
    json!({
        "event_id": "1",
        "timestamp": "2024-05-01T12:00:00Z",
        "event_type": "flight",
        "payload": {"tail": "N1"},
    })
    .to_string()
}

async fn publish(service: &Service, topic: &str) -> Answer {
    service.post(&format!("/api/v1/events/{topic}"), flight()).await
}
