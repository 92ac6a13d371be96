//! A registry that hangs, refuses one subject, or holds what is no Avro: the rest goes on.

use std::time::{Duration, Instant};

use forebay_avro::registry::config::RemoteSettings;
use forebay_broker::{Headers, Log, NewRecord, TopicSpec};
use futures_util::future::join_all;
use serde_json::json;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

use crate::{
    registry_away::{FLIGHT, answer, flight, open, remote_settings},
    support::{PATIENCE, Service},
};

async fn refuse(server: &MockServer, verb: &str, at: &str, status: u16, code: u32) {
    let body = json!({"error_code": code, "message": "no"});
    let refusal = ResponseTemplate::new(status).set_body_json(body);
    Mock::given(method(verb)).and(path(at)).respond_with(refusal).mount(server).await;
}

async fn asked(server: &MockServer, at: &str) -> usize {
    server.received_requests().await.unwrap().iter().filter(|request| request.url.path() == at).count()
}

async fn with_registry(server: &MockServer) -> Service {
    let remote = open(RemoteSettings { unknown_ttl: Duration::from_secs(60), ..remote_settings(&server.uri()) });
    Service::start_with(|setup| setup.registry = Some(remote)).await
}

async fn topic(service: &Service, name: &str) {
    let spec = TopicSpec { name: name.to_owned(), partitions: 1, config: Default::default() };
    service.log.create_topic(&spec).await.unwrap();
}

#[tokio::test]
async fn one_record_without_avro_hides_no_others() {
    let server = MockServer::start().await;
    answer(&server, "GET", "/schemas/ids/5", json!({"schema": "syntax", "schemaType": "PROTOBUF"})).await;
    answer(&server, "GET", "/schemas/ids/6", json!({ "schema": FLIGHT })).await;
    let service = with_registry(&server).await;
    topic(&service, "raw").await;
    let values: [&[u8]; 2] = [&[0, 0, 0, 0, 5, 1], &[0, 0, 0, 0, 6, 4, b'N', b'1']];
    for value in values {
        let record = NewRecord {
            topic: "raw".into(),
            partition: Some(0),
            key: None,
            value: Some(value.to_vec().into()),
            headers: Headers::default(),
            timestamp_ms: None,
        };
        service.log.produce(vec![record]).unwrap().await;
    }
    let latest = service.get("/api/v1/events/raw/latest").await;
    assert_eq!(latest.status, 200, "{}", latest.text);
    let events = latest.json()["events"].clone();
    assert_eq!(events[0]["payload"], json!({"tail": "N1"}), "{events}");
    let error = &events[1]["error"];
    assert_eq!(error["code"], "undecodable", "{events}");
    assert!(error["detail"].as_str().unwrap().contains("Protobuf, not Avro"), "{error}");
}

#[tokio::test]
async fn health_does_not_hang_with_the_registry() {
    let server = MockServer::start().await;
    let slow = ResponseTemplate::new(200).set_body_json(json!({})).set_delay(PATIENCE);
    Mock::given(method("GET")).and(path("/config")).respond_with(slow).mount(&server).await;
    let service = with_registry(&server).await;
    let began = Instant::now();
    for health in join_all((0..50).map(|_| service.get("/api/v1/health"))).await {
        assert_eq!((health.status, &health.json()["status"]), (200, &json!("degraded")), "{}", health.text);
    }
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    assert!(asked(&server, "/config").await <= 2, "they share one question");
}

#[tokio::test]
async fn a_refused_subject_leaves_out_one_topic_of_the_document() {
    let server = MockServer::start().await;
    let version = json!({"subject": "ours-value", "version": 1, "id": 7, "schema": FLIGHT});
    answer(&server, "GET", "/subjects/ours-value/versions/latest", version).await;
    refuse(&server, "GET", "/subjects/foreign-value/versions/latest", 403, 40301).await;
    let service = with_registry(&server).await;
    for name in ["foreign", "ours"] {
        topic(&service, name).await;
    }
    let document = service.get("/openapi.json").await.json();
    assert!(document["paths"]["/api/v1/events/ours"].is_object());
    assert!(document["paths"].get("/api/v1/events/foreign").is_none());
}

#[tokio::test]
async fn a_wrong_schema_id_is_asked_for_once() {
    let server = MockServer::start().await;
    answer(&server, "GET", "/subjects/t-value/versions", json!([1, 2])).await;
    for (number, id) in [(1, 6), (2, 7)] {
        let version = json!({"subject": "t-value", "version": number, "id": id, "schema": FLIGHT});
        answer(&server, "GET", &format!("/subjects/t-value/versions/{number}"), version).await;
    }
    let service = with_registry(&server).await;
    topic(&service, "t").await;
    for id in [98, 99, 98, 99] {
        let refused = service.post(&format!("/api/v1/events/t?schema_id={id}"), flight()).await;
        refused.problem(422, "schema_mismatch");
    }
    assert_eq!(service.post("/api/v1/events/t?schema_id=6", flight()).await.status, 200);
    assert_eq!(server.received_requests().await.unwrap().len(), 3, "the list and its versions, each once");
}

#[tokio::test]
async fn a_refusal_does_not_tell_where_the_registry_is() {
    let server = MockServer::start().await;
    for (subject, code) in [("a", 42201), ("b", 42205)] {
        refuse(&server, "POST", &format!("/subjects/{subject}/versions"), 422, code).await;
        refuse(&server, "POST", &format!("/compatibility/subjects/{subject}/versions"), 422, code).await;
    }
    let service = with_registry(&server).await;
    let new = json!({ "schema": FLIGHT }).to_string();
    let address = server.address().to_string();
    for at in ["a/versions", "b/versions", "a/compatibility"] {
        let refused = service.post(&format!("/api/v1/schemas/{at}"), &*new).await;
        refused.problem(422, "request_validation_failed");
        assert!(refused.text.contains("answered 422 (no)") && !refused.text.contains(&address), "{}", refused.text);
    }
}
