//! What others count or know, read whenever somebody looks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use forebay_avro::registry::Lookups;
use forebay_broker::QueueUsage;
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::{registered, utilization};
use crate::state::App;

/// Everything as it is now.
#[derive(Debug, Default)]
pub(crate) struct Now {
    pub queue: QueueUsage,
    /// Whether each broker is up, by its id.
    pub brokers: BTreeMap<i32, bool>,
    /// Of the client to a registry elsewhere.
    pub lookups: Option<Lookups>,
    /// Requests whose body is held, and bytes of these.
    pub held: (usize, usize),
}

impl Now {
    pub(crate) fn of(app: &App) -> Self {
        Self {
            queue: app.deps.log.queue(),
            brokers: app.deps.log.brokers_up(),
            lookups: app.deps.registry.lookups(),
            held: (app.admission.requests(), app.admission.bytes()),
        }
    }
}

/// The metrics of [`Now`].
pub(super) struct Scraped {
    queue_records: IntGauge,
    queue_bytes: IntGauge,
    queue_utilization: Gauge,
    producer_rebuilds: IntCounter,
    inflight_requests: IntGauge,
    inflight_bytes: IntGauge,
    broker_up: IntGaugeVec,
    schema_cache: IntCounterVec,
    /// Brokers that have a series. Held while all of this is set: two may look at once.
    shown: Mutex<BTreeSet<i32>>,
}

impl Scraped {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| registered(registry, IntGauge::new(name, help));
        let broker_up = Opts::new(
            "forebay_broker_up",
            "Whether the producer reaches a broker (kafka://), by its id; a broker that it has nothing to send to may be left out.",
        );
        let schema_cache = Opts::new(
            "forebay_schema_cache_total",
            "Lookups of schemas and versions by the client of a registry elsewhere: answered from memory (hit; negative: as \
             unknown), by the registry (miss), or with an older answer because it gave none (stale).",
        );
        Ok(Self {
            queue_records: gauge("forebay_producer_queue_records", "Records waiting for their receipt.")?,
            queue_bytes: gauge("forebay_producer_queue_bytes", "Their bytes.")?,
            queue_utilization: registered(
                registry,
                Gauge::new("forebay_producer_queue_utilization", "The fuller of records and bytes, 0 to 1."),
            )?,
            producer_rebuilds: registered(
                registry,
                IntCounter::new("forebay_producer_rebuilds_total", "Clients made anew after a fatal error (kafka://)."),
            )?,
            inflight_requests: gauge("forebay_inflight_requests", "Requests whose body is held.")?,
            inflight_bytes: gauge("forebay_inflight_bytes", "Bytes of bodies held.")?,
            broker_up: registered(registry, IntGaugeVec::new(broker_up, &["broker"]))?,
            schema_cache: registered(registry, IntCounterVec::new(schema_cache, &["result"]))?,
            shown: Mutex::default(),
        })
    }

    pub(super) fn set(&self, now: &Now) {
        let gauge = |gauge: &IntGauge, value: usize| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        gauge(&self.queue_records, now.queue.records);
        gauge(&self.queue_bytes, now.queue.bytes);
        gauge(&self.inflight_requests, now.held.0);
        gauge(&self.inflight_bytes, now.held.1);
        self.queue_utilization.set(utilization(now.queue));
        raise(&self.producer_rebuilds, now.queue.rebuilds);
        self.brokers(&now.brokers, &mut shown);
        if let Some(Lookups { hit, miss, stale, negative }) = now.lookups {
            for (result, count) in [("hit", hit), ("miss", miss), ("stale", stale), ("negative", negative)] {
                raise(&self.schema_cache.with_label_values(&[result]), count);
            }
        }
    }

    fn brokers(&self, brokers: &BTreeMap<i32, bool>, shown: &mut BTreeSet<i32>) {
        for gone in shown.extract_if(.., |id| !brokers.contains_key(id)) {
            // It fails only where there is none.
            let _ = self.broker_up.remove_label_values(&[&gone.to_string()]);
        }
        for (id, up) in brokers {
            self.broker_up.with_label_values(&[&id.to_string()]).set(i64::from(*up));
            shown.insert(*id);
        }
    }
}

/// Brings a counter up to what its owner counted.
fn raise(counter: &IntCounter, count: u64) {
    counter.inc_by(count.saturating_sub(counter.get()));
}

#[cfg(test)]
mod tests {
    use super::{super::Metrics, *};

    /// The lines of a metric.
    fn lines(metrics: &Metrics, now: &Now, name: &str) -> Vec<String> {
        let text = metrics.text(now).unwrap();
        text.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
    }

    #[test]
    fn a_broker_has_a_series_for_as_long_as_it_is_told_of() {
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let looks: [&[(i32, bool)]; 5] =
            [&[], &[(1, true), (2, true)], &[(1, true), (2, false)], &[(1, true), (3, true)], &[]];
        for brokers in looks {
            let now = Now { brokers: brokers.iter().copied().collect(), ..Now::default() };
            let line = |(id, up): &(i32, bool)| format!("forebay_broker_up{{broker=\"{id}\"}} {}", i32::from(*up));
            let expected: Vec<_> = brokers.iter().map(line).collect();
            assert_eq!(lines(&metrics, &now, "forebay_broker_up"), expected);
        }
    }

    #[test]
    fn counts_of_others_are_shown_as_they_are() {
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let shown = |now: &Now| lines(&metrics, now, "forebay_schema_cache_total");
        assert_eq!(shown(&Now::default()), [""; 0], "the embedded registry is asked itself");
        for times in 1..3 {
            let lookups = Lookups { hit: 40 * times, miss: 3 * times, stale: 2 * times, negative: 0 };
            let queue = QueueUsage { rebuilds: times, ..QueueUsage::default() };
            let now = Now { lookups: Some(lookups), queue, ..Now::default() };
            let line = |result: &str, count: u64| format!("forebay_schema_cache_total{{result=\"{result}\"}} {count}");
            let all = [("hit", 40 * times), ("miss", 3 * times), ("negative", 0), ("stale", 2 * times)];
            assert_eq!(shown(&now), all.map(|(result, count)| line(result, count)));
            assert_eq!(shown(&now), all.map(|(result, count)| line(result, count)), "looking counts nothing");
            let rebuilds = lines(&metrics, &now, "forebay_producer_rebuilds_total");
            assert_eq!(rebuilds, [format!("forebay_producer_rebuilds_total {times}")]);
        }
    }
}
