//! Metrics of the service. Labels are bounded: topics beyond the first thousand share `other`, and everything else that
//! becomes a label comes from a closed list, or names one of the cluster's brokers.

mod scrape;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use forebay_broker::QueueUsage;
use http::Method;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
    TextEncoder, core::Collector,
};
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use self::scrape::Now;
use self::scrape::Scraped;
use crate::problem::Code;

/// Most values of the label `topic`; more share [`OTHER`] (fixed).
const MAX_TOPICS: usize = 1_000;
const OTHER: &str = "other";
/// `kafka_producer_throughput` is the mean of this many seconds.
const THROUGHPUT_SECONDS: u64 = 10;

/// The words of an event's outcome, as results and metrics use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Fsynced in the log.
    Accepted,
    /// Invalid, and stored as a dead letter.
    DeadLettered,
    /// Refused: `error` holds every reason.
    Invalid,
    /// Certainly not stored: send it again.
    Retry,
    /// No answer in time, so it may be stored: send it again with the same `event_id`.
    Unknown,
}

impl Outcome {
    pub(crate) const ALL: [Self; 5] = [Self::Accepted, Self::DeadLettered, Self::Invalid, Self::Retry, Self::Unknown];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::DeadLettered => "dead_lettered",
            Self::Invalid => "invalid",
            Self::Retry => "retry",
            Self::Unknown => "unknown",
        }
    }
}

/// All metrics of one service.
pub(crate) struct Metrics {
    registry: Registry,
    started: Instant,
    requests: HistogramVec,
    rejected: IntCounterVec,
    throughput: GaugeVec,
    events: IntCounterVec,
    event_bytes: IntCounterVec,
    fields_ignored: IntCounterVec,
    batch_events: Histogram,
    receipt_seconds: HistogramVec,
    validation_failures: IntCounterVec,
    scraped: Scraped,
    topics: Mutex<TopicLabels>,
    unnamed: OnceLock<Arc<TopicMetrics>>,
}

#[derive(Default)]
struct TopicLabels {
    names: HashSet<String>,
    rates: Vec<Throughput>,
}

/// The rate of a topic, shown under its label as long as anybody else holds it.
struct Throughput {
    label: Box<str>,
    gauge: Gauge,
    rate: Arc<Rate>,
}

impl TopicLabels {
    /// Takes the gauges away that nobody counts for any more: their last value would stand for ever.
    fn sweep(&mut self, throughput: &GaugeVec) {
        let gone: Vec<_> = self.rates.extract_if(.., |of| Arc::strong_count(&of.rate) == 1).collect();
        for Throughput { label, .. } in gone {
            if self.rates.iter().all(|of| of.label != label) {
                // It fails only where there is none.
                let _ = throughput.remove_label_values(&[&label]);
            }
        }
    }
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<C>,
) -> prometheus::Result<C> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// A metric of one of these names is registered already.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let histogram =
            |name: &str, help: &str, buckets: &[f64]| HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let seconds =
            [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
        let requests = histogram("api_request_duration_seconds", "Time from headers to answer.", &seconds);
        let receipts = histogram("forebay_produce_receipt_seconds", "Time from produce to all receipts.", &seconds);
        let batch = histogram(
            "forebay_batch_events",
            "Events per batch.",
            &[1.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1e3, 5e3, 1e4],
        );
        let throughput = Opts::new("kafka_producer_throughput", "Receipts per second, mean of 10 s.");
        Ok(Self {
            registry: registry.clone(),
            started: Instant::now(),
            requests: registered(registry, HistogramVec::new(requests, &["route", "method", "status"]))?,
            rejected: counters("forebay_rejected_total", "Requests refused.", &["code"])?,
            throughput: registered(registry, GaugeVec::new(throughput, &["topic"]))?,
            events: counters("forebay_events_total", "Events by what became of them.", &["topic", "outcome"])?,
            event_bytes: counters("forebay_event_bytes_total", "Bytes of encoded values stored.", &["topic"])?,
            fields_ignored: counters(
                "forebay_fields_ignored_total",
                "Members skipped under unknown_fields: ignore.",
                &["topic"],
            )?,
            batch_events: registered(registry, Histogram::with_opts(batch))?,
            receipt_seconds: registered(registry, HistogramVec::new(receipts, &["topic", "outcome"]))?,
            validation_failures: counters(
                "forebay_validation_failures_total",
                "Offending places in events.",
                &["topic", "type"],
            )?,
            scraped: Scraped::new(registry)?,
            topics: Mutex::default(),
            unnamed: OnceLock::new(),
        })
    }

    /// Counts one answered request.
    pub(crate) fn request(&self, route: &str, method: &Method, status: u16, took: Duration) {
        let method = match *method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::HEAD => "HEAD",
            Method::DELETE => "DELETE",
            Method::OPTIONS => "OPTIONS",
            _ => OTHER,
        };
        let mut digits = [0; 3];
        let status = three_digits(status, &mut digits);
        self.requests.with_label_values(&[route, method, status]).observe(took.as_secs_f64());
    }

    /// Counts one refused request.
    pub(crate) fn rejected(&self, code: Code) {
        self.rejected.with_label_values(&[code.info().code]).inc();
    }

    /// The metrics of a topic that exists, to be kept beside it.
    pub(crate) fn topic(&self, name: &str) -> Arc<TopicMetrics> {
        let mut labels = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if !labels.names.contains(name) {
            if labels.names.len() >= MAX_TOPICS {
                drop(labels);
                return self.unnamed();
            }
            labels.names.insert(name.to_owned());
        }
        Arc::new(self.labelled(name, &mut labels))
    }

    /// What topics share that have no label of their own: those beyond the limit, and those that only a caller thinks of.
    pub(crate) fn unnamed(&self) -> Arc<TopicMetrics> {
        let made = || {
            let mut labels = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::new(self.labelled(OTHER, &mut labels))
        };
        self.unnamed.get_or_init(made).clone()
    }

    fn labelled(&self, label: &str, labels: &mut TopicLabels) -> TopicMetrics {
        let rate = Arc::new(Rate::new(self.started));
        labels.sweep(&self.throughput);
        let gauge = self.throughput.with_label_values(&[label]);
        labels.rates.push(Throughput { label: label.into(), gauge, rate: rate.clone() });
        TopicMetrics {
            events: Outcome::ALL.map(|outcome| self.events.with_label_values(&[label, outcome.word()])),
            bytes: self.event_bytes.with_label_values(&[label]),
            fields_ignored: self.fields_ignored.with_label_values(&[label]),
            receipt_stored: self.receipt_seconds.with_label_values(&[label, "stored"]),
            receipt_failed: self.receipt_seconds.with_label_values(&[label, "failed"]),
            validation_failures: self.validation_failures.clone(),
            batch_events: self.batch_events.clone(),
            label: label.into(),
            rate,
        }
    }

    /// Everything in Prometheus's text format 0.0.4.
    pub(crate) fn text(&self, now: &Now) -> prometheus::Result<String> {
        self.refresh(now);
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// The same as JSON: name -> list of `{labels, value}` (histograms: `sum` and `count`).
    pub(crate) fn json(&self, now: &Now) -> serde_json::Value {
        self.refresh(now);
        let families = self.registry.gather();
        families
            .iter()
            .map(|family| (family.name().to_owned(), samples(family)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    fn refresh(&self, now: &Now) {
        self.scraped.set(now);
        let mut labels = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        labels.sweep(&self.throughput);
        // A label may be shared.
        labels.rates.iter().for_each(|of| of.gauge.set(0.0));
        labels.rates.iter().for_each(|of| of.gauge.add(of.rate.per_second()));
    }
}

/// How full the producer's queue is, 0 to 1.
pub(crate) fn utilization(queue: QueueUsage) -> f64 {
    let part = |used: usize, max: usize| if max == 0 { 0.0 } else { used as f64 / max as f64 };
    part(queue.records, queue.max_records).max(part(queue.bytes, queue.max_bytes))
}

fn samples(family: &prometheus::proto::MetricFamily) -> serde_json::Value {
    let sample = |metric: &prometheus::proto::Metric| {
        let labels: serde_json::Map<_, _> =
            metric.get_label().iter().map(|pair| (pair.name().to_owned(), pair.value().into())).collect();
        match family.get_field_type() {
            prometheus::proto::MetricType::HISTOGRAM => {
                let histogram = metric.get_histogram();
                serde_json::json!({"labels": labels, "sum": histogram.get_sample_sum(), "count": histogram.get_sample_count()})
            }
            prometheus::proto::MetricType::COUNTER => {
                serde_json::json!({"labels": labels, "value": metric.get_counter().get_value()})
            }
            _ => serde_json::json!({"labels": labels, "value": metric.get_gauge().get_value()}),
        }
    };
    family.get_metric().iter().map(sample).collect()
}

fn three_digits(status: u16, out: &mut [u8; 3]) -> &str {
    let mut rest = status;
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    std::str::from_utf8(out).unwrap_or(OTHER)
}

/// A topic's own counters, found once.
pub(crate) struct TopicMetrics {
    events: [IntCounter; Outcome::ALL.len()],
    bytes: IntCounter,
    fields_ignored: IntCounter,
    receipt_stored: Histogram,
    receipt_failed: Histogram,
    validation_failures: IntCounterVec,
    batch_events: Histogram,
    label: Box<str>,
    rate: Arc<Rate>,
}

impl TopicMetrics {
    /// Counts `n` events of one outcome.
    pub(crate) fn events(&self, outcome: Outcome, n: usize) {
        self.events[outcome as usize].inc_by(n as u64);
    }

    /// Counts members that were skipped.
    pub(crate) fn fields_ignored(&self, n: u64) {
        self.fields_ignored.inc_by(n);
    }

    /// Counts one batch of a batch request.
    pub(crate) fn batch(&self, events: usize) {
        self.batch_events.observe(events as f64);
    }

    /// Counts one offending place.
    pub(crate) fn violation(&self, kind: &str) {
        self.validation_failures.with_label_values(&[&*self.label, kind]).inc();
    }

    /// Counts what one produce call came to.
    pub(crate) fn receipts(&self, stored: usize, bytes: usize, all_stored: bool, took: Duration) {
        self.bytes.inc_by(bytes as u64);
        self.rate.add(stored as u64);
        let histogram = if all_stored { &self.receipt_stored } else { &self.receipt_failed };
        histogram.observe(took.as_secs_f64());
    }
}

/// Counts per second over the last [`THROUGHPUT_SECONDS`] whole seconds.
struct Rate {
    started: Instant,
    slots: Mutex<[(u64, u64); THROUGHPUT_SECONDS as usize + 1]>,
}

impl Rate {
    fn new(started: Instant) -> Self {
        Self { started, slots: Mutex::default() }
    }

    fn add(&self, n: u64) {
        add_at(&mut self.slots.lock().unwrap_or_else(PoisonError::into_inner)[..], self.started.elapsed().as_secs(), n);
    }

    fn per_second(&self) -> f64 {
        mean_at(&self.slots.lock().unwrap_or_else(PoisonError::into_inner)[..], self.started.elapsed().as_secs())
    }
}

/// Adds to the slot of a second; an older second in the same slot is forgotten.
fn add_at(slots: &mut [(u64, u64)], second: u64, n: u64) {
    let index = usize::try_from(second % slots.len() as u64).unwrap_or_default();
    let slot = &mut slots[index];
    if slot.0 != second {
        *slot = (second, 0);
    }
    slot.1 += n;
}

/// Mean of the seconds before this one, which is still filling.
fn mean_at(slots: &[(u64, u64)], second: u64) -> f64 {
    let whole = second.saturating_sub(THROUGHPUT_SECONDS)..second;
    let sum: u64 = slots.iter().filter(|slot| whole.contains(&slot.0)).map(|slot| slot.1).sum();
    sum as f64 / THROUGHPUT_SECONDS as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_beyond_the_limit_share_a_label() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        for i in 0..MAX_TOPICS + 50 {
            metrics.topic(&format!("t{i}")).events(Outcome::Accepted, 1);
        }
        let text = metrics.text(&Now::default()).unwrap();
        assert!(text.contains("forebay_events_total{outcome=\"accepted\",topic=\"other\"} 50"), "fifty share one");
        let lines = text.lines().filter(|l| l.starts_with("forebay_events_total{outcome=\"accepted\"")).count();
        assert_eq!(lines, MAX_TOPICS + 1);
    }

    #[test]
    fn a_topic_that_is_gone_has_no_throughput_and_one_made_again_has() {
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let shown = || {
            let text = metrics.text(&Now::default()).unwrap();
            text.lines().filter(|l| l.starts_with("kafka_producer_throughput{")).map(str::to_owned).collect::<Vec<_>>()
        };
        let (first, again) = (metrics.topic("t"), metrics.topic("t"));
        let one = ["kafka_producer_throughput{topic=\"t\"} 0"];
        assert_eq!(shown(), one);
        drop(first);
        assert_eq!(shown(), one, "another still counts under the label");
        drop(again);
        metrics.topic("u");
        assert_eq!(shown(), [""; 0]);
        let _made_again = metrics.topic("t");
        assert_eq!(shown(), one);
    }

    #[test]
    fn throughput_is_the_mean_of_ten_whole_seconds() {
        let mut slots = [(0, 0); THROUGHPUT_SECONDS as usize + 1];
        for second in 100..110 {
            add_at(&mut slots, second, 50);
        }
        add_at(&mut slots, 110, 999);
        assert_eq!(mean_at(&slots, 110), 50.0);
        assert_eq!(mean_at(&slots, 115), (4.0 * 50.0 + 50.0 + 999.0) / 10.0);
        assert_eq!(mean_at(&slots, 130), 0.0);
    }

    #[test]
    fn requests_are_counted_by_closed_labels() {
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let odd = Method::from_bytes(b"BREW").unwrap();
        metrics.request("unmatched", &odd, 404, Duration::from_millis(1));
        let json = metrics.json(&Now { held: (3, 4), ..Now::default() });
        assert_eq!(
            json["api_request_duration_seconds"][0]["labels"],
            serde_json::json!({"method": "other", "route": "unmatched", "status": "404"})
        );
        assert_eq!(json["forebay_inflight_bytes"][0]["value"], 4.0);
    }
}
