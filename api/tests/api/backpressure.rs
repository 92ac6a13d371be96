//! A log that is full, away, slow or unsure.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use forebay_avro::registry::{Change, MemoryStore, RegistryError, RegistryStore, Row};
use forebay_broker::sim::ProduceFault;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::{PATIENCE, Service, event, read_to_end, until};

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
    service.log.hold();
    service.post(&format!("{ONE}?timeout_ms=100"), event("late").to_string()).await.problem(504, "delivery_unknown");
    service.log.let_go();
    until("the record goes on its way", async || service.records("t").await.len() == 2).await;
    let metrics = service.get("/metrics").await.text;
    assert!(metrics.contains("forebay_events_total{outcome=\"unknown\",topic=\"t\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_untracked() {
    let service = Service::start().await;
    service.post(ONE, event("first").to_string()).await;
    service.log.hold();
    let body = event("gone").to_string();
    let head = format!(
        "POST {ONE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut socket = service.connect().await;
    socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    service.queued(1).await;
    drop(socket);
    service.log.let_go();
    let both = "forebay_events_total{outcome=\"accepted\",topic=\"t\"} 2";
    until("the event is counted", async || service.get("/metrics").await.text.contains(both)).await;
    assert_eq!(service.records("t").await.len(), 2);
}

#[tokio::test]
async fn a_full_queue_is_told_before_the_body_is_read() {
    let service = Service::start_with(|s| s.sim.producer.queue_records = 1).await;
    service.post(ONE, event("first").to_string()).await;
    service.log.hold();
    let held = service.post(ONE, event("held").to_string());
    let refused = async {
        // Until the first is in the queue there is room.
        service.queued(1).await;
        let mut socket = service.connect().await;
        let head = "POST /api/v1/events/t HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                    Expect: 100-continue\r\nContent-Length: 99\r\n\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut socket).await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("queue_full"), "{answer}");
        assert_eq!(service.get("/readyz").await.status, 503, "a publish would be refused");
        service.log.let_go();
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

/// A store that writes only when it may.
#[derive(Default)]
struct SlowStore {
    inner: MemoryStore,
    held: Arc<AtomicBool>,
}

impl RegistryStore for SlowStore {
    fn load(&self) -> Result<Vec<Row>, RegistryError> {
        self.inner.load()
    }

    fn write(&self, changes: &[Change]) -> Result<(), RegistryError> {
        while self.held.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.inner.write(changes)
    }
}

#[tokio::test]
async fn schemas_are_counted_until_the_registry_has_answered() {
    let store = SlowStore::default();
    let held = store.held.clone();
    let service = Service::start_with(|s| {
        s.settings.limits.admission_requests = 1;
        s.store = Arc::new(store);
    })
    .await;
    let new = json!({"schema": "\"int\""}).to_string();
    let (dry_run, event) = ("/api/v1/events/t/validate", event("e").to_string());
    for registry_door in [false, true] {
        held.store(true, Ordering::SeqCst);
        let registering = async {
            match registry_door {
                false => service.post("/api/v1/schemas/a/versions", &*new).await.status,
                true => service.registry("POST", "/subjects/b/versions", &[], &*new).await.status,
            }
        };
        let refused = async {
            while service.post(dry_run, &*event).await.status != 503 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            held.store(false, Ordering::SeqCst);
        };
        let both = async { tokio::join!(registering, refused).0 };
        let status = tokio::time::timeout(PATIENCE, both).await;
        held.store(false, Ordering::SeqCst);
        assert_eq!(status.expect("the text is not counted"), if registry_door { 200 } else { 201 });
        assert_eq!(service.post(dry_run, &*event).await.status, 200, "it is given back");
    }
}

#[tokio::test]
async fn schemas_beyond_the_limit_are_refused_before_their_turn() {
    let store = SlowStore::default();
    let held = store.held.clone();
    let service = Service::start_with(|s| s.store = Arc::new(store)).await;
    held.store(true, Ordering::SeqCst);
    let long = json!({"schema": format!("\"int\"{}", " ".repeat(1 << 20))}).to_string();
    let compacted = format!(r#"{{"schema": {{{} "type": "int"}}}}"#, " ".repeat(1 << 20));
    let all = async {
        let registering = service.post("/api/v1/schemas/a/versions", &*compacted);
        let refused = async {
            let refused = service.post("/api/v1/schemas/b/versions", &*long).await;
            assert!(refused.text.contains("over the limit of 1048576"), "{}", refused.text);
            let refused = service.registry("POST", "/subjects/c/versions", &[], &*long).await;
            assert!((refused.status, refused.text.contains("over the limit")) == (422, true), "{}", refused.text);
            held.store(false, Ordering::SeqCst);
        };
        tokio::join!(registering, refused).0
    };
    let registered = tokio::time::timeout(PATIENCE, all).await;
    held.store(false, Ordering::SeqCst);
    assert_eq!(registered.expect("it waits for its turn").status, 201, "white space around JSON does not count");
    assert_eq!(service.get("/api/v1/schemas/a/versions/latest").await.json()["schema"], r#"{"type":"int"}"#);
}
