//! A registry elsewhere that is not there when the service starts.

use std::{sync::Arc, time::Duration};

use forebay_avro::registry::{
    Remote,
    config::{RegistryAuth, RemoteSettings},
};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, method, path},
};

use crate::support::{Answer, Service, settings};

const FLIGHT: &str = r#"{"type":"record","name":"Flight","fields":[{"name":"tail","type":"string"}]}"#;

async fn answer(server: &MockServer, verb: &str, at: &str, body: Value) {
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
    let remote = remote(&server);
    let topics = json!({"flights": {"schema_file": file}, "more": {"schema_file": file}, "plain": {}});
    let service = Service::start_with(|setup| {
        setup.settings = settings(topics);
        setup.registry = Some(remote);
    })
    .await;
    for topic in ["flights", "more", "plain"] {
        let refused = publish(&service, topic).await.problem(503, "registry_unavailable");
        assert_eq!(refused["retryable"], true);
    }
    let tried = server.received_requests().await.unwrap();
    let registrations = tried.iter().filter(|request| request.method == "POST").count();
    assert!(registrations <= 3, "one file at start, and at most one a second for all events: {registrations}");
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

#[tokio::test]
async fn a_schema_that_is_no_avro_takes_no_events() {
    let server = MockServer::start().await;
    let protobuf = json!({"subject": "t-value", "version": 1, "id": 1, "schema": "syntax", "schemaType": "PROTOBUF"});
    answer(&server, "GET", "/subjects/t-value/versions/latest", protobuf).await;
    let remote = remote(&server);
    let service = Service::start_with(|setup| setup.registry = Some(remote)).await;
    let refused = publish(&service, "t").await.problem(409, "schema_unsupported");
    assert!(refused["detail"].as_str().unwrap().contains("Protobuf, not Avro"), "{refused}");
}

fn remote(server: &MockServer) -> Arc<Remote> {
    let settings = RemoteSettings {
        urls: vec![server.uri().parse().unwrap()],
        auth: RegistryAuth::None,
        ca_file: None,
        timeout: Duration::from_secs(20),
        latest_ttl: Duration::from_secs(60),
        unknown_ttl: Duration::ZERO,
    };
    Arc::new(Remote::open(&settings).unwrap())
}

async fn publish(service: &Service, topic: &str) -> Answer {
    let event = json!({
        "event_id": "1",
        "timestamp": "2024-05-01T12:00:00Z",
        "event_type": "flight",
        "payload": {"tail": "N1"},
    });
    service.post(&format!("/api/v1/events/{topic}"), event.to_string()).await
}
