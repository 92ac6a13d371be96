//! A service on ports of its own, and clients that say exactly what they send.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use forebay_api::{
    Deps, Drained, Listeners, Settings,
    config::{ApiOptions, Surroundings, TopicOptions},
    control::ConnectorControl,
    serve,
};
use forebay_avro::registry::{Embedded, MemoryStore, Registry, RegistryStore};
use forebay_broker::{
    Log, Record, TopicPartition,
    sim::{SimLog, SimSettings},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Longest that anything in these tests may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a test changes before the service starts.
pub struct Setup {
    pub settings: Settings,
    pub sim: SimSettings,
    /// Instead of the embedded one.
    pub registry: Option<Arc<dyn Registry>>,
    pub connectors: Option<Arc<dyn ConnectorControl>>,
    /// Of the embedded registry.
    pub store: Arc<dyn RegistryStore>,
}

pub struct Service {
    pub address: SocketAddr,
    pub management: SocketAddr,
    pub registry_door: SocketAddr,
    pub log: Arc<SimLog>,
    pub registry: Arc<Embedded>,
    pub shutdown: CancellationToken,
    pub task: JoinHandle<Drained>,
    client: reqwest::Client,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {:?}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that this is a problem of a code, whole.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, self.header("content-type")), (status, "application/problem+json"), "{}", self.text);
        let body = self.json();
        assert_eq!((&body["code"], &body["status"]), (&json!(code), &json!(status)), "{body}");
        assert_eq!(body["type"], format!("/problems/{code}"));
        assert_eq!(body["correlation_id"], self.header("x-correlation-id"));
        for member in ["title", "detail", "instance"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {body}");
        }
        assert!(body["retryable"].is_boolean());
        body
    }
}

pub fn settings(topics: Value) -> Settings {
    let topics: BTreeMap<String, TopicOptions> = serde_json::from_value(topics).unwrap();
    let around = Surroundings {
        base: Path::new("."),
        local_log: true,
        record_bytes: 1_000_000,
        dlq_topic: "events.dlq",
        registry_listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
    };
    let mut settings = Settings::resolve(&ApiOptions::default(), &topics, around).unwrap();
    settings.listen.set_port(0);
    if let Some(management) = &mut settings.management_listen {
        management.set_port(0);
    }
    settings.drain.ready_wait = Duration::from_millis(50);
    settings.drain.finish_by = Duration::from_secs(5);
    settings
}

impl Service {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup {
            settings: settings(json!({})),
            sim: SimSettings::default(),
            registry: None,
            connectors: None,
            store: Arc::new(MemoryStore::default()),
        };
        change(&mut setup);
        let log = SimLog::new(setup.sim);
        let registry = Arc::new(Embedded::open(setup.store).unwrap());
        let listeners = Listeners::bind(&setup.settings).await.unwrap();
        let address = listeners.api.as_ref().unwrap().local_addr().unwrap();
        let management = listeners.management.as_ref().unwrap().local_addr().unwrap();
        let registry_door = listeners.registry.as_ref().unwrap().local_addr().unwrap();
        let deps = Deps {
            log: log.clone(),
            registry: setup.registry.unwrap_or_else(|| registry.clone()),
            embedded: Some(Embedded::clone(&registry)),
            connectors: setup.connectors,
            metrics: prometheus::Registry::new(),
        };
        let shutdown = CancellationToken::new();
        let serving = serve(setup.settings, listeners, deps, shutdown.clone());
        let task = tokio::spawn(async move { serving.await.unwrap() });
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { address, management, registry_door, log, registry, shutdown, task, client }
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        let answer = send(&self.client, self.address, method, path, headers, body.into()).await;
        crate::contract::check(method, path, &answer);
        answer
    }

    /// The same for what the document does not know.
    pub async fn send_unchecked(&self, method: &str, path: &str) -> Answer {
        send(&self.client, self.address, method, path, &[], Vec::new()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub async fn get_management(&self, path: &str) -> Answer {
        send(&self.client, self.management, "GET", path, &[], Vec::new()).await
    }

    /// To the registry's listener.
    pub async fn registry(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        send(&self.client, self.registry_door, method, path, headers, body.into()).await
    }

    /// POST of JSON.
    pub async fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], body).await
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes on a new connection and reads until it closes.
    pub async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut socket = self.connect().await;
        // A service that closes early may make this fail; what it answered still counts.
        let _ = socket.write_all(bytes.as_ref()).await;
        read_to_end(&mut socket).await
    }

    /// All records of a topic, by partition and offset.
    pub async fn records(&self, topic: &str) -> Vec<Record> {
        let mut records = Vec::new();
        let Ok(info) = self.log.topic(topic).await else { return records };
        for partition in 0..info.partitions {
            let part = TopicPartition::new(topic, partition);
            let mut from = self.log.watermarks(&part).await.unwrap().low;
            loop {
                let some = self.log.read(&part, from, 1_000, 1 << 20).await.unwrap();
                let Some(last) = some.last() else { break };
                from = last.offset + 1;
                records.extend(some);
            }
        }
        records
    }

    /// Waits until so many records are in the log's queue.
    pub async fn queued(&self, records: usize) {
        until("the records are in the queue", async || self.log.queue().records == records).await;
    }

    /// The service must still answer.
    pub async fn assert_alive(&self) {
        assert_eq!(self.get("/livez").await.status, 200);
    }
}

async fn send(
    client: &reqwest::Client,
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Answer {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = client.request(method, format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.body(body).send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, text: response.text().await.unwrap() }
}

/// Waits until it is so.
pub async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
}

/// Reads until the other side closes.
pub async fn read_to_end(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = async {
        let mut buf = [0; 4096];
        // A reset ends it like an end.
        while let Ok(n @ 1..) = socket.read(&mut buf).await {
            bytes.extend_from_slice(&buf[..n]);
        }
    };
    timeout(PATIENCE, read).await.expect("the connection stays open");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads one answer (with Content-Length) and leaves the connection open.
pub async fn read_answer(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = async {
        loop {
            let mut byte = [0];
            socket.read_exact(&mut byte).await.unwrap();
            bytes.push(byte[0]);
            let text = String::from_utf8_lossy(&bytes).to_lowercase();
            let Some(head) = text.strip_suffix("\r\n\r\n") else { continue };
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
            let mut body = vec![0; length];
            socket.read_exact(&mut body).await.unwrap();
            bytes.extend(body);
            return;
        }
    };
    timeout(PATIENCE, read).await.expect("no answer");
    String::from_utf8(bytes).unwrap()
}

/// How many answers stand in what a connection sent.
pub fn answers(text: &str) -> usize {
    text.matches("HTTP/1.1 ").count() + text.matches("HTTP/1.0 ").count()
}

/// An event that the default envelope takes.
pub fn event(id: &str) -> Value {
    json!({
        "event_id": id,
        "timestamp": "2026-05-01T12:00:00Z",
        "event_type": "test.happened",
        "payload": {"user_id": "u-1", "amount": 12.5},
    })
}

/// The event as text of exactly `bytes` bytes: JSON may end in spaces.
pub fn padded(event: &Value, bytes: usize) -> String {
    let text = event.to_string();
    assert!(text.len() <= bytes);
    format!("{text:<bytes$}")
}
