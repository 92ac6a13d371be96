//! Limits of events, each at n - 1, n, n + 1.

use serde_json::{Value, json};

use crate::support::{Answer, Service, event, padded};

const ONE: &str = "/api/v1/events/t";

#[track_caller]
fn expect(answer: &Answer, name: &str, status: u16, code: &str, kind: Option<&str>) {
    assert_eq!(answer.status, status, "{name}: {}", answer.text);
    if status == 200 {
        return;
    }
    let body = answer.problem(status, code);
    if let Some(kind) = kind {
        let kinds: Vec<_> = body["errors"].as_array().unwrap().iter().map(|e| e["type"].clone()).collect();
        assert!(kinds.contains(&json!(kind)), "{name}: {body}");
    }
}

fn with_payload(payload: Value) -> String {
    let mut event = event("e");
    event["payload"] = payload;
    event.to_string()
}

#[tokio::test]
async fn event_bytes() {
    let service = Service::start_with(|s| s.settings.limits.event_bytes = 1_000).await;
    for (bytes, status) in [(999, 200), (1_000, 200), (1_001, 413)] {
        let fill = bytes - with_payload(json!({"x": ""})).len();
        let answer = service.post(ONE, with_payload(json!({"x": "y".repeat(fill)}))).await;
        expect(&answer, &format!("{bytes} bytes"), status, "event_too_large", None);
    }
    let spaces = service.post(ONE, padded(&event("e"), 2_000)).await;
    assert_eq!(spaces.status, 200, "space around an event is no part of it: {}", spaces.text);
}

#[tokio::test]
async fn record_bytes() {
    let service = Service::start_with(|s| s.settings.record_bytes = 1_000).await;
    // Frame 5, event_id 2, timestamp 6, event_type 14, user_id 1, payload 2 + its text `{"x":"…"}` of 8 + fill.
    let overhead = 5 + 2 + 6 + 14 + 1 + 2 + 8;
    for (bytes, status) in [(999, 200), (1_000, 200), (1_001, 413)] {
        let answer = service.post(ONE, with_payload(json!({"x": "y".repeat(bytes - overhead)}))).await;
        if status == 200 {
            let longest = service.records("t").await.iter().map(|r| r.value.as_ref().unwrap().len()).max();
            assert_eq!(longest, Some(bytes));
        }
        expect(&answer, &format!("{bytes} bytes"), status, "event_too_large", None);
    }
}

#[tokio::test]
async fn batch_events() {
    let service = Service::start_with(|s| s.settings.limits.batch_events = 5).await;
    for (events, status) in [(4, 200), (5, 200), (6, 413)] {
        let batch: Vec<_> = (0..events).map(|i| event(&i.to_string())).collect();
        let answer = service.post("/api/v1/events/t/batch", json!(batch).to_string()).await;
        expect(&answer, &format!("{events} events"), status, "batch_too_long", None);
    }
    assert_eq!(service.records("t").await.len(), 9, "nothing of the third batch was used");
}

#[tokio::test]
async fn json_depth() {
    let service = Service::start().await;
    for (depth, status) in [(63, 200), (64, 200), (65, 422)] {
        // The event is level 1, the payload 2; the arrays in it go on from 3.
        let arrays = depth - 2;
        let payload = format!("{{\"x\":{}{}}}", "[".repeat(arrays), "]".repeat(arrays));
        let body = with_payload(json!("P")).replace("\"P\"", &payload);
        let answer = service.post(ONE, body).await;
        expect(&answer, &format!("depth {depth}"), status, "schema_validation_failed", Some("json_depth"));
    }
}

#[tokio::test]
async fn number_chars() {
    let service = Service::start_with(|s| s.settings.limits.number_chars = 20).await;
    for (chars, status) in [(19, 200), (20, 200), (21, 422)] {
        let body = with_payload(json!({"x": "N"})).replace("\"N\"", &"7".repeat(chars));
        let answer = service.post(ONE, body).await;
        expect(&answer, &format!("{chars} digits"), status, "schema_validation_failed", Some("number_too_long"));
    }
}

#[tokio::test]
async fn metadata_bytes_and_record_headers() {
    let service = Service::start_with(|s| s.settings.limits.metadata_bytes = 100).await;
    let with_metadata = |bytes: usize| {
        let mut event = event("e");
        event["metadata"] = json!({"m": "x".repeat(bytes - r#"{"m":""}"#.len())});
        event.to_string()
    };
    for (bytes, status) in [(99, 200), (100, 200), (101, 422)] {
        let answer = service.post(ONE, with_metadata(bytes)).await;
        expect(&answer, &format!("{bytes} bytes"), status, "schema_validation_failed", Some("metadata_too_large"));
    }
    // Headers: `correlation_id` of 14 + 1, `metadata` of 8 + its text.
    let service = Service::start_with(|s| s.settings.limits.record_headers_bytes = 200).await;
    for (bytes, status) in [(176, 200), (177, 200), (178, 422)] {
        let headers = [("content-type", "application/json"), ("x-correlation-id", "c")];
        let answer = service.send("POST", ONE, &headers, with_metadata(bytes)).await;
        expect(&answer, &format!("{bytes} bytes"), status, "schema_validation_failed", Some("metadata_too_large"));
    }
}

#[tokio::test]
async fn timeout_ms() {
    let service = Service::start().await;
    for (ms, kind) in [
        ("99", Some("greater_than_equal")),
        ("100", None),
        ("101", None),
        ("29999", None),
        ("30000", None),
        ("30001", Some("less_than_equal")),
    ] {
        let answer = service.post(&format!("{ONE}?timeout_ms={ms}"), event("e").to_string()).await;
        let status = if kind.is_some() { 422 } else { 200 };
        expect(&answer, ms, status, "request_validation_failed", kind);
    }
}
