//! A log that is full, away, slow or unsure.

use std::time::{Duration, Instant};

use forebay_broker::sim::ProduceFault;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::{PATIENCE, Service, event, read_to_end};

const ONE: &str = "/api/v1/events/t";

#[tokio::test]
async fn each_fault_has_its_answer() {
    let service = Service::start().await;
    service.post(ONE, event("first").to_string()).await;
    for (fault, status, code, retry_after) in [
        (ProduceFault::QueueFull, 503, "queue_full", "1"),
        (ProduceFault::Refused, 503, "log_unavailable", "5"),
        (ProduceFault::Failed, 503, "log_unavailable", "5"),
        (ProduceFault::UnknownLost, 504, "delivery_unknown", "1"),
        (ProduceFault::UnknownStored, 504, "delivery_unknown", "1"),
    ] {
        service.log.script_produce([fault]);
        let answer = service.post(ONE, event("e").to_string()).await;
        let body = answer.problem(status, code);
        assert_eq!(
            (answer.header("retry-after"), &body["retryable"], &body["event_id"]),
            (retry_after, &json!(true), &json!("e"))
        );
        service.log.script_produce([fault]);
        let answer = service.post("/api/v1/events/t/batch", json!([event("a"), event("b")]).to_string()).await;
        let body = answer.problem(status, code);
        assert_eq!(answer.header("retry-after"), retry_after);
        let word = if code == "delivery_unknown" { "unknown" } else { "retry" };
        assert_eq!(body["summary"][word], 2, "{body}");
    }
}

#[tokio::test]
async fn no_receipt_in_time_is_told_as_unknown_and_still_counted() {
    let service = Service::start().await;
    service.post(ONE, event("first").to_string()).await;
    service.log.script_produce([ProduceFault::Delayed(Duration::from_secs(1))]);
    let began = Instant::now();
    service.post(&format!("{ONE}?timeout_ms=100"), event("late").to_string()).await.problem(504, "delivery_unknown");
    assert!(began.elapsed() < Duration::from_millis(900), "the caller does not wait for it");
    let stored = async {
        while service.records("t").await.len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, stored).await.expect("the record goes on its way");
    let metrics = service.get("/metrics").await.text;
    assert!(metrics.contains("forebay_events_total{outcome=\"unknown\",topic=\"t\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_untracked() {
    let service = Service::start().await;
    service.post(ONE, event("first").to_string()).await;
    service.log.script_produce([ProduceFault::Delayed(Duration::from_millis(400))]);
    let body = event("gone").to_string();
    let head = format!(
        "POST {ONE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut socket = service.connect().await;
    socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(socket);
    let counted = async {
        while !service.get("/metrics").await.text.contains("forebay_events_total{outcome=\"accepted\",topic=\"t\"} 2") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("the event was stored and never counted");
    assert_eq!(service.records("t").await.len(), 2);
}

#[tokio::test]
async fn a_full_queue_is_told_before_the_body_is_read() {
    let service = Service::start_with(|s| s.sim.producer.queue_records = 1).await;
    service.post(ONE, event("first").to_string()).await;
    service.log.script_produce([ProduceFault::Delayed(Duration::from_secs(1))]);
    let held = service.post(ONE, event("held").to_string());
    let refused = async {
        // Until the first is in the queue there is room.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut socket = service.connect().await;
        let head = "POST /api/v1/events/t HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                    Expect: 100-continue\r\nContent-Length: 99\r\n\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut socket).await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("queue_full"), "{answer}");
        assert_eq!(service.get("/readyz").await.status, 503, "a publish would be refused");
    };
    let (held, ()) = tokio::join!(held, refused);
    assert_eq!(held.status, 200);
}

#[tokio::test]
async fn a_dead_letter_without_receipt_is_no_success() {
    let service = Service::start().await;
    service.post(ONE, event("first").to_string()).await;
    let mut broken = event("b");
    broken["payload"] = json!(1);
    service.log.script_produce([ProduceFault::Failed]);
    let path = format!("{ONE}?on_invalid=dlq");
    service.post(&path, broken.to_string()).await.problem(503, "log_unavailable");
    assert_eq!(service.post(&path, broken.to_string()).await.status, 202);
    assert_eq!(service.records("events.dlq").await.len(), 1);
}
