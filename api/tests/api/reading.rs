//! Reading back: the newest events of a topic.

use forebay_avro::registry::Registry as _;
use forebay_broker::{Headers, Log as _, NewRecord};
use serde_json::{Value, json};

use crate::support::{Service, event};

fn ids(body: &Value) -> Vec<&str> {
    body["events"].as_array().unwrap().iter().map(|e| e["event_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_was_published_comes_back_newest_first() {
    let service = Service::start().await;
    for i in 0..12 {
        let mut event = event(&format!("e-{i}"));
        event["event_type"] = json!(if i % 2 == 0 { "even" } else { "odd" });
        event["metadata"] = json!({"n": i});
        let answer = service.post("/api/v1/events/t", event.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        tokio::time::sleep(std::time::Duration::from_millis(2)).await; // record timestamps of their own
    }
    let body = service.get("/api/v1/events/t/latest").await.json();
    assert_eq!(ids(&body), (2..12).rev().map(|i| format!("e-{i}")).collect::<Vec<_>>());
    assert_eq!((&body["topic"], &body["partial"]), (&json!("t"), &json!(false)));
    let newest = &body["events"][0];
    let mut sent = event("e-11");
    sent["event_type"] = json!("odd");
    sent["metadata"] = json!({"n": 11});
    sent["timestamp"] = json!("2026-05-01T12:00:00.000Z");
    for member in ["event_id", "timestamp", "event_type", "payload", "metadata"] {
        assert_eq!(newest[member], sent[member], "{member}");
    }
    let record = service.records("t").await.into_iter().max_by_key(|r| r.timestamp_ms).unwrap();
    assert_eq!(newest["partition"], record.part.partition);
    assert_eq!(newest["offset"], record.offset);
    assert_eq!(newest["key"], "u-1");
    assert_eq!(newest["headers"]["metadata"], r#"{"n":11}"#);
    assert_eq!(body["high_watermarks"][record.part.partition.to_string()], 12, "one key, one partition");
    assert!(newest["record_timestamp"].as_str().unwrap().ends_with('Z'));

    let odd = service.get("/api/v1/events/t/latest?event_type=odd,none&limit=3").await.json();
    assert_eq!(ids(&odd), ["e-11", "e-9", "e-7"]);
    let body = service.get("/api/v1/events/t/latest?partition=4").await.problem(422, "request_validation_failed");
    assert_eq!(body["errors"][0]["loc"], json!(["query", "partition"]));
    assert!(body["errors"][0]["msg"].as_str().unwrap().contains("t has the partitions 0 to 3"), "{body}");
    let part = service.get(&format!("/api/v1/events/t/latest?partition={}", record.part.partition)).await.json();
    assert_eq!(part["high_watermarks"].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn what_can_not_be_decoded_is_shown_all_the_same() {
    let service = Service::start().await;
    service.post("/api/v1/topics", json!({"name": "raw", "partitions": 1}).to_string()).await;
    service
        .registry
        .register("raw-value", r#"{"type":"record","name":"a.Row","fields":[{"name":"n","type":"int"}]}"#, &[])
        .await
        .unwrap();
    let record = |value: &[u8]| NewRecord {
        topic: "raw".into(),
        partition: Some(0),
        key: Some(vec![0xff].into()),
        value: Some(value.to_vec().into()),
        headers: Headers::default(),
        timestamp_ms: None,
    };
    let values: [&[u8]; 4] = [b"plain", &[0, 0, 0, 0, 99, 2], &[0, 0, 0, 0, 1, 0x80], &[0, 0, 0, 0, 1, 14]];
    service.log.produce(values.map(record).to_vec()).unwrap().await;
    let body = service.get("/api/v1/events/raw/latest").await.json();
    let mut events = body["events"].as_array().unwrap().clone();
    events.sort_by_key(|e| e["offset"].as_i64());
    for (index, detail) in [(0, ""), (1, "no schema has id 99"), (2, "")] {
        assert_eq!((&events[index]["event"], &events[index]["error"]["code"]), (&json!(null), &json!("undecodable")));
        assert!(events[index]["error"]["detail"].as_str().unwrap().contains(detail), "{}", events[index]);
    }
    assert_eq!(events[0]["value_base64"], "cGxhaW4=");
    assert_eq!(events[0]["key"], json!({"base64": "/w=="}));
    assert_eq!(
        (&events[3]["event_id"], &events[3]["event_type"], &events[3]["payload"]),
        (&json!("raw-0-3"), &json!("a.Row"), &json!({"n": 7})),
        "a record of another tool"
    );
}

#[tokio::test]
async fn parameters_and_limits_of_latest() {
    let service = Service::start().await;
    service.post("/api/v1/events/t", event("e").to_string()).await;
    for (query, status) in [
        ("limit=0", 422),
        ("limit=1", 200),
        ("limit=999", 200),
        ("limit=1000", 200),
        ("limit=1001", 422),
        ("partition=-1", 422),
        ("limits=1", 422),
        ("partition=77", 422),
        ("partition=2147483647", 422),
    ] {
        let answer = service.get(&format!("/api/v1/events/t/latest?{query}")).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text);
    }
    service.get("/api/v1/events/nope/latest").await.problem(404, "unknown_topic");
    let busy = Service::start_with(|s| s.settings.limits.reads = 0).await;
    let answer = busy.get("/api/v1/events/events.dlq/latest").await;
    answer.problem(503, "queue_full");
    assert_eq!(answer.header("retry-after"), "1");
}
