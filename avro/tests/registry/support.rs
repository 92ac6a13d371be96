//! A registry that answers as it is told, and a client to it.

use std::time::Duration;

use forebay_avro::registry::{
    Remote,
    config::{RegistryAuth, RemoteSettings},
};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

pub const USER: &str = r#"{"type":"record","name":"User","namespace":"t","fields":[{"name":"id","type":"long"}]}"#;
/// Data of `USER` can't be read with it.
pub const USER_WITH_AGE: &str = r#"{"type":"record","name":"User","namespace":"t","fields":[{"name":"id","type":"long"},{"name":"age","type":"int"}]}"#;

/// Settings that wait for nothing and forget nothing within a test.
pub fn settings(url: &str) -> RemoteSettings {
    RemoteSettings {
        urls: url.split(',').map(|url| url.parse().unwrap()).collect(),
        auth: RegistryAuth::None,
        ca_file: None,
        timeout: Duration::from_secs(20),
        latest_ttl: Duration::from_secs(3_600),
        unknown_ttl: Duration::from_secs(3_600),
    }
}

pub fn client(server: &MockServer) -> Remote {
    Remote::open(&settings(&server.uri())).unwrap()
}

pub fn version(subject: &str, version: u32, id: u32, schema: &str) -> Value {
    json!({"subject": subject, "version": version, "id": id, "schema": schema})
}

pub fn ok(body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(body.to_string(), "application/vnd.schemaregistry.v1+json")
}

pub fn error(status: u16, code: u32) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({"error_code": code, "message": format!("message {code}")}))
}

/// Answers every GET of a path.
pub async fn get(server: &MockServer, at: &str, answer: ResponseTemplate) {
    Mock::given(method("GET")).and(path(at)).respond_with(answer).mount(server).await;
}

/// How many requests of a path there were.
pub async fn asked(server: &MockServer, at: &str) -> usize {
    let requests = server.received_requests().await.unwrap();
    requests.iter().filter(|request| request.url.path() == at).count()
}

/// Tries until it is so.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !so().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}: not within 30 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
