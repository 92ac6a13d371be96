//! What all requests of one service share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::sync::Semaphore;

use crate::{
    admission::Admission,
    body::BodyLimits,
    config::Settings,
    metrics::Metrics,
    openapi::Live,
    probe::Probe,
    problem::{Code, Problem},
    publish::Publisher,
    server::Deps,
};

/// One service.
pub(crate) struct App {
    pub settings: Arc<Settings>,
    pub deps: Deps,
    pub publisher: Publisher,
    pub metrics: Arc<Metrics>,
    pub admission: Arc<Admission>,
    /// What is served as `/openapi.json`.
    pub document: Live,
    pub registry_probe: Probe,
    /// Permits for reads of topics, until their answers are sent.
    pub reads: Arc<Semaphore>,
    pub started: Instant,
    /// Requests between their headers and the last byte of their answer.
    pub in_flight: AtomicUsize,
    phase: AtomicU8,
}

/// Life of a service. It only ever goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Takes requests, says that it is ready.
    Ready,
    /// Takes requests, says that it is not ready.
    Draining,
    /// Refuses new requests.
    Closing,
}

impl App {
    /// # Errors
    /// Metrics of these names are registered already.
    pub(crate) fn new(settings: Settings, deps: Deps) -> prometheus::Result<Self> {
        let settings = Arc::new(settings);
        let metrics = Arc::new(Metrics::new(&deps.metrics)?);
        let limits = &settings.limits;
        Ok(Self {
            publisher: Publisher::new(settings.clone(), deps.log.clone(), deps.registry.clone(), metrics.clone()),
            admission: Admission::new(limits.admission_bytes, limits.admission_requests),
            document: Live::default(),
            registry_probe: Probe::default(),
            reads: Arc::new(Semaphore::new(limits.reads)),
            started: Instant::now(),
            in_flight: AtomicUsize::new(0),
            phase: AtomicU8::new(Phase::Ready as u8),
            settings,
            deps,
            metrics,
        })
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.phase.load(Ordering::Acquire) >= Phase::Draining as u8
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.phase.load(Ordering::Acquire) >= Phase::Closing as u8
    }

    /// Limits of a request's body.
    pub(crate) fn body_limits(&self) -> BodyLimits {
        let limits = &self.settings.limits;
        BodyLimits {
            wire_bytes: limits.body_bytes,
            inflated_bytes: limits.inflated_bytes,
            timeout: limits.body_timeout,
        }
    }

    /// Whether the producer's queue has room at all; asked before a body is read.
    pub(crate) fn check_queue(&self) -> Result<(), Problem> {
        let queue = self.deps.log.queue();
        if queue.records >= queue.max_records || queue.bytes >= queue.max_bytes {
            return Err(Problem::new(Code::QueueFull, "The producer's queue is full: try again shortly."));
        }
        Ok(())
    }

    /// Counts a request until the guard is dropped.
    pub(crate) fn count(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(self.clone())
    }
}

/// A counted request.
pub(crate) struct InFlight(Arc<App>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}
