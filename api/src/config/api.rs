//! `api:` of the configuration: listeners, time-outs, limits.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use forebay_broker::config::DlqSettings;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{ConfigError, DrainSettings, Settings, Surroundings, TopicSettings};

/// The HTTP service.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiOptions {
    /// Address that takes events; default `127.0.0.1:8080`.
    #[schemars(with = "Option<String>")]
    pub listen: Option<SocketAddr>,
    /// Address of `/livez`, `/readyz`, `/metrics` and `/api/v1/connectors`, outside every limit; default `127.0.0.1:9090`.
    /// `forebay sink` takes the next free port if it is taken; give workers beside an API an address of their own.
    #[schemars(with = "Option<String>")]
    pub management_listen: Option<SocketAddr>,
    /// Listen beyond loopback although callers show no credential; default false.
    pub allow_anonymous: Option<bool>,
    /// Create a topic when the first event for it comes; default true on `local://`, else false.
    pub topics_auto_create: Option<bool>,
    /// Most topics that the log may have, by whomever made, for an event to create one more; default 1000.
    pub topics_auto_create_max: Option<usize>,
    /// How long a publish waits for its receipts, 100 to 30000 ms; a request may ask for less. Default 10000.
    pub timeout_ms: Option<u64>,
    /// Serve `/docs`, the page of `/openapi.json`; default true.
    pub docs: Option<bool>,
    /// Largest event as JSON; default 1 MiB.
    pub event_bytes: Option<usize>,
    /// Largest body on the wire; default 10 MiB.
    pub body_bytes: Option<usize>,
    /// Largest body after decompression; default 10 MiB.
    pub inflated_bytes: Option<usize>,
    /// Most events in one batch; default 10000.
    pub batch_events: Option<usize>,
    /// Deepest nesting of an event, which itself is level 1; default and maximum 64.
    pub json_depth: Option<usize>,
    /// Longest number literal; default 1024 characters.
    pub number_chars: Option<usize>,
    /// Largest `metadata` of an event; default 16 KiB.
    pub metadata_bytes: Option<usize>,
    /// All headers of one record, names and values; default 32 KiB.
    pub record_headers_bytes: Option<usize>,
    /// Longest key; default 1 KiB.
    pub key_bytes: Option<usize>,
    /// Seconds for the request line and the headers; default 10.
    pub header_timeout_s: Option<u64>,
    /// Seconds for a whole body, and for a client to take any byte of an answer (over HTTP/2: 16 KiB of it); default 30.
    pub body_timeout_s: Option<u64>,
    /// Seconds a connection may stay open between requests; default 75.
    pub idle_timeout_s: Option<u64>,
    /// Longest request target; default 8 KiB.
    pub uri_bytes: Option<usize>,
    /// All request headers, names and values; default 32 KiB.
    pub header_bytes: Option<usize>,
    /// Most request headers; default 100.
    pub header_count: Option<usize>,
    /// Most connections; one more is closed at once. Default 65536.
    pub connections: Option<usize>,
    /// Most concurrent HTTP/2 streams a connection; default 256.
    pub http2_streams: Option<u32>,
    /// Bytes of bodies held at a time, over all requests; default 64 MiB.
    pub admission_bytes: Option<usize>,
    /// Requests with a body at a time; default 4096.
    pub admission_requests: Option<usize>,
    /// Reads of topics (`latest`) at a time, each until its answer is sent; default 64.
    pub reads: Option<usize>,
}

/// Every limit of the service, by the names of [`ApiOptions`].
#[derive(Clone, Debug)]
pub struct Limits {
    /// Topics in the log from which on no event creates one.
    pub topics_auto_create_max: usize,
    /// Largest event as JSON.
    pub event_bytes: usize,
    /// Largest body on the wire.
    pub body_bytes: usize,
    /// Largest body after decompression.
    pub inflated_bytes: usize,
    /// Most events in one batch.
    pub batch_events: usize,
    /// Deepest nesting of an event.
    pub json_depth: usize,
    /// Longest number literal, in characters.
    pub number_chars: usize,
    /// Largest `metadata`.
    pub metadata_bytes: usize,
    /// All headers of one record.
    pub record_headers_bytes: usize,
    /// Longest key.
    pub key_bytes: usize,
    /// For the request line and the headers.
    pub header_timeout: Duration,
    /// For a whole body, and for a client to take any byte of an answer.
    pub body_timeout: Duration,
    /// For a connection between requests.
    pub idle_timeout: Duration,
    /// Longest request target.
    pub uri_bytes: usize,
    /// All request headers, names and values.
    pub header_bytes: usize,
    /// Most request headers.
    pub header_count: usize,
    /// Most connections.
    pub connections: usize,
    /// Most concurrent HTTP/2 streams a connection.
    pub http2_streams: u32,
    /// Bytes of bodies held at a time.
    pub admission_bytes: usize,
    /// Requests with a body at a time.
    pub admission_requests: usize,
    /// Reads of topics at a time.
    pub reads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            topics_auto_create_max: 1_000,
            event_bytes: 1 << 20,
            body_bytes: 10 << 20,
            inflated_bytes: 10 << 20,
            batch_events: 10_000,
            json_depth: 64,
            number_chars: 1024,
            metadata_bytes: 16 << 10,
            record_headers_bytes: 32 << 10,
            key_bytes: 1 << 10,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            uri_bytes: 8 << 10,
            header_bytes: 32 << 10,
            header_count: 100,
            connections: 65_536,
            http2_streams: 256,
            admission_bytes: 64 << 20,
            admission_requests: 4096,
            reads: 64,
        }
    }
}

/// Shortest and longest wait for receipts, ms (fixed).
pub(crate) const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 100..=30_000;

/// hyper's own bounds, which must stand above ours so that our answer is the one seen (settings stay below).
pub(crate) const HYPER_HEADER_BYTES: usize = 64 << 10;
/// As above, fields.
pub(crate) const HYPER_HEADER_COUNT: usize = 256;

fn bounded<T: PartialOrd + Copy + std::fmt::Display>(
    key: &str,
    given: Option<T>,
    default: T,
    min: T,
    max: T,
) -> Result<T, ConfigError> {
    let value = given.unwrap_or(default);
    if value < min || value > max {
        return Err(ConfigError::new(format!("api.{key}"), format!("{value} is outside {min} to {max}")));
    }
    Ok(value)
}

fn seconds(key: &str, given: Option<u64>, default: Duration) -> Result<Duration, ConfigError> {
    Ok(Duration::from_secs(bounded(key, given, default.as_secs(), 1, 3600)?))
}

impl ApiOptions {
    pub(super) fn resolve(
        &self,
        topics: BTreeMap<String, TopicSettings>,
        around: Surroundings<'_>,
    ) -> Result<Settings, ConfigError> {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let timeout = bounded("timeout_ms", self.timeout_ms, 10_000, *TIMEOUT_MS.start(), *TIMEOUT_MS.end())?;
        Ok(Settings {
            listen: self.listen.unwrap_or_else(|| loopback(8080)),
            management_listen: Some(self.management_listen.unwrap_or_else(|| loopback(9090))),
            registry_listen: around.registry_listen,
            allow_anonymous: self.allow_anonymous.unwrap_or(false),
            topics_auto_create: self.topics_auto_create.unwrap_or(around.local_log),
            timeout: Duration::from_millis(timeout),
            docs: self.docs.unwrap_or(true),
            limits: self.limits()?,
            topics,
            prepare: true,
            record_bytes: around.record_bytes,
            dlq: DlqSettings { topic: around.dlq_topic.to_owned() },
            drain: DrainSettings::default(),
        })
    }

    fn limits(&self) -> Result<Limits, ConfigError> {
        const GIB: usize = 1 << 30;
        let d = Limits::default();
        Ok(Limits {
            topics_auto_create_max: bounded(
                "topics_auto_create_max",
                self.topics_auto_create_max,
                d.topics_auto_create_max,
                1,
                100_000,
            )?,
            event_bytes: bounded("event_bytes", self.event_bytes, d.event_bytes, 1, GIB)?,
            body_bytes: bounded("body_bytes", self.body_bytes, d.body_bytes, 1, GIB)?,
            inflated_bytes: bounded("inflated_bytes", self.inflated_bytes, d.inflated_bytes, 1, GIB)?,
            batch_events: bounded("batch_events", self.batch_events, d.batch_events, 1, 1_000_000)?,
            json_depth: bounded("json_depth", self.json_depth, d.json_depth, 1, 64)?,
            number_chars: bounded("number_chars", self.number_chars, d.number_chars, 1, 1 << 20)?,
            metadata_bytes: bounded("metadata_bytes", self.metadata_bytes, d.metadata_bytes, 2, 1 << 20)?,
            record_headers_bytes: bounded(
                "record_headers_bytes",
                self.record_headers_bytes,
                d.record_headers_bytes,
                1 << 10,
                1 << 20,
            )?,
            key_bytes: bounded("key_bytes", self.key_bytes, d.key_bytes, 1, 1 << 20)?,
            header_timeout: seconds("header_timeout_s", self.header_timeout_s, d.header_timeout)?,
            body_timeout: seconds("body_timeout_s", self.body_timeout_s, d.body_timeout)?,
            idle_timeout: seconds("idle_timeout_s", self.idle_timeout_s, d.idle_timeout)?,
            uri_bytes: bounded("uri_bytes", self.uri_bytes, d.uri_bytes, 256, HYPER_HEADER_BYTES / 2)?,
            header_bytes: bounded("header_bytes", self.header_bytes, d.header_bytes, 1 << 10, HYPER_HEADER_BYTES / 2)?,
            header_count: bounded("header_count", self.header_count, d.header_count, 10, HYPER_HEADER_COUNT - 1)?,
            connections: bounded("connections", self.connections, d.connections, 1, 1 << 20)?,
            http2_streams: bounded("http2_streams", self.http2_streams, d.http2_streams, 1, 10_000)?,
            admission_bytes: bounded("admission_bytes", self.admission_bytes, d.admission_bytes, 64 << 10, 64 * GIB)?,
            admission_requests: bounded(
                "admission_requests",
                self.admission_requests,
                d.admission_requests,
                1,
                1 << 20,
            )?,
            reads: bounded("reads", self.reads, d.reads, 1, 10_000)?,
        })
    }
}
