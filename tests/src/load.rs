//! Load: producers that number and hash their events, and remember what they were told.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use crate::audit::{Event, Place};

/// The topic under load.
pub const TOPIC: &str = "audited";

/// Its schema.
pub const SCHEMA: &str = r#"{"type":"record","name":"Audited","fields":[
  {"name":"producer","type":"int"},{"name":"seq","type":"long"},
  {"name":"pad","type":"string"},{"name":"sha256","type":"string"}]}"#;

/// Hash of an event's content.
pub fn hash(producer: u32, seq: u64, pad: &str) -> String {
    let digest = Sha256::digest(format!("{producer}/{seq}/{pad}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn event((producer, seq): Event) -> Value {
    let pad = "x".repeat((seq % 200) as usize);
    let sha256 = hash(producer, seq, &pad);
    json!({
        "event_id": format!("{producer}-{seq}"), "timestamp": "2026-11-20T08:00:00Z", "event_type": "audited",
        "payload": {"producer": producer, "seq": seq, "pad": pad, "sha256": sha256},
    })
}

/// One producer, at work until it is stopped.
pub struct Producer {
    stop: Arc<AtomicBool>,
    work: JoinHandle<Told>,
}

/// What a producer was told.
#[derive(Debug, Default)]
pub struct Told {
    /// Accepted events and their places.
    pub accepted: BTreeMap<Event, Place>,
    /// The next number to use.
    pub next: u64,
}

impl Producer {
    /// Publishes batches of 1 to 50 events from number `next` on. A batch without an answer is not sent again.
    pub fn start(url: &str, producer: u32, next: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let work = tokio::spawn(publish(format!("{url}/api/v1/events/{TOPIC}/batch"), producer, next, stop.clone()));
        Self { stop, work }
    }

    /// Lets the request in flight end.
    ///
    /// # Errors
    /// The producer panicked.
    pub async fn stop(self) -> Result<Told> {
        self.stop.store(true, Ordering::Relaxed);
        self.work.await.context("the producer ended early")
    }
}

async fn publish(url: String, producer: u32, next: u64, stop: Arc<AtomicBool>) -> Told {
    let client = reqwest::Client::new();
    let mut told = Told { next, ..Told::default() };
    while !stop.load(Ordering::Relaxed) {
        let size = 1 + told.next % 50;
        let numbers: Vec<Event> = (told.next..told.next + size).map(|seq| (producer, seq)).collect();
        told.next += size;
        let body = json!({"events": numbers.iter().map(|n| event(*n)).collect::<Vec<_>>()}).to_string();
        let request = client.post(&url).header("content-type", "application/json").body(body);
        match send(request).await {
            Some(answer) => note(&answer, &numbers, &mut told.accepted),
            // The service is gone or going: its next start comes soon, or we are stopped.
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    told
}

async fn send(request: reqwest::RequestBuilder) -> Option<Value> {
    request.timeout(Duration::from_secs(15)).send().await.ok()?.json().await.ok()
}

fn note(answer: &Value, numbers: &[Event], accepted: &mut BTreeMap<Event, Place>) {
    for (result, number) in answer["results"].as_array().into_iter().flatten().zip(numbers) {
        let place = (result["partition"].as_i64(), result["offset"].as_i64());
        if let (true, (Some(partition), Some(offset))) = (result["status"] == "accepted", place) {
            accepted.insert(*number, (partition as i32, offset));
        }
    }
}
