//! Logs: what they say, and what they never hold.

use std::{
    io,
    sync::{Arc, Mutex},
};

use serde_json::json;

use crate::support::{Service, event};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn requests_are_logged_without_their_payload() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_writer(move || writer.clone())
        .finish();
    // With one subscriber alone, a place that logs and is first met by another test's thread would be silent for ever.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    // The whole service runs on this test's thread.
    let _guard = tracing::subscriber::set_default(subscriber);
    let service = Service::start().await;
    let mut secret = event("canary-id");
    secret["payload"] = json!({"card": "canary-4111", "user_id": "canary-user"});
    let headers =
        [("content-type", "application/json"), ("x-correlation-id", "request-7"), ("event-key", "canary-key")];
    assert_eq!(service.send("POST", "/api/v1/events/t", &headers, secret.to_string()).await.status, 200);
    secret["payload"] = json!("canary-4111");
    let dlq = "/api/v1/events/t?on_invalid=dlq";
    assert_eq!(service.send("POST", dlq, &headers, secret.to_string()).await.status, 202);
    service
        .send("POST", "/api/v1/events/t", &headers, secret.to_string())
        .await
        .problem(422, "schema_validation_failed");
    service.get("/a%0A%1b%5b31m%7D%7B?token=canary-query").await.problem(404, "not_found");
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("request-7") && text.contains("\"code\":\"schema_validation_failed\""), "{text}");
    assert!(!text.contains("canary"), "{text}");
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{text}");
    assert!(!text.contains('\u{1b}'));
}
