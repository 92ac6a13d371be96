//! One connection's time: which phase it is in, and when it has to be closed. hyper knows one header timer that also
//! runs between requests; this clock tells the two apart, and bounds a client that takes no bytes.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

/// The time-outs of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnTimeouts {
    /// From the accept, or from the first byte after an idle time, to the end of the headers.
    pub header: Duration,
    /// Between requests.
    pub idle: Duration,
    /// For the client to take any byte of an answer.
    pub write: Duration,
}

impl ConnTimeouts {
    /// No deadline that is set from now on is nearer than this.
    fn shortest(&self) -> Duration {
        self.header.min(self.idle).min(self.write)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No byte, or only part of a request's headers, has come.
    Headers,
    /// A request is being read, handled or answered.
    Request,
    /// Nothing since the last answer.
    Idle,
}

/// Phase and deadline, as a function of what happened; pure, so that it is tested by a table.
#[derive(Debug)]
struct Clock {
    phase: Phase,
    since: Instant,
    in_flight: u32,
    /// Bytes between requests are frames (pings, windows), no beginning of headers.
    http2: bool,
    write_blocked: Option<Instant>,
}

impl Clock {
    fn new(now: Instant) -> Self {
        Self { phase: Phase::Headers, since: now, in_flight: 0, http2: false, write_blocked: None }
    }

    fn bytes_read(&mut self, now: Instant) {
        if self.phase == Phase::Idle && !self.http2 {
            (self.phase, self.since) = (Phase::Headers, now);
        }
    }

    fn request_begun(&mut self, http2: bool) {
        self.http2 = http2;
        self.in_flight += 1;
        self.phase = Phase::Request;
    }

    fn request_done(&mut self, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if self.in_flight == 0 {
            (self.phase, self.since) = (Phase::Idle, now);
        }
    }

    fn written(&mut self, now: Instant, blocked: bool) {
        self.write_blocked = blocked.then(|| self.write_blocked.unwrap_or(now));
    }

    fn deadline(&self, timeouts: &ConnTimeouts) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Headers => Some(self.since + timeouts.header),
            Phase::Request => None,
            Phase::Idle => Some(self.since + timeouts.idle),
        };
        let write = self.write_blocked.map(|since| since + timeouts.write);
        phase.into_iter().chain(write).min()
    }
}

/// A connection's clock, shared by its socket, its requests and its task.
#[derive(Debug)]
pub(crate) struct Conn {
    clock: Mutex<Clock>,
    timeouts: ConnTimeouts,
}

impl Conn {
    pub(crate) fn new(timeouts: ConnTimeouts) -> Arc<Self> {
        Arc::new(Self { clock: Mutex::new(Clock::new(Instant::now())), timeouts })
    }

    /// The socket has given bytes, or its end.
    pub(crate) fn bytes_read(&self) {
        self.clock().bytes_read(Instant::now());
    }

    /// The socket has taken bytes, or would not (`blocked`).
    pub(crate) fn written(&self, blocked: bool) {
        self.clock().written(Instant::now(), blocked);
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        // Nothing inside the lock panics; a poisoned clock would still be right.
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks a request until the guard is dropped.
    pub(crate) fn request(self: &Arc<Self>, http2: bool) -> RequestGuard {
        self.clock().request_begun(http2);
        RequestGuard(self.clone())
    }

    /// Resolves when the connection's time is up. It wakes at least every [`ConnTimeouts::shortest`], which no deadline
    /// set meanwhile can undercut; so requests need not wake it.
    pub(crate) async fn expired(&self) {
        loop {
            let now = Instant::now();
            let deadline = self.clock().deadline(&self.timeouts);
            match deadline {
                Some(deadline) if deadline <= now => return,
                Some(deadline) => tokio::time::sleep_until(deadline.min(now + self.timeouts.shortest())).await,
                None => tokio::time::sleep(self.timeouts.shortest()).await,
            }
        }
    }
}

/// A request in flight on a connection.
#[derive(Debug)]
pub(crate) struct RequestGuard(Arc<Conn>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.clock().request_done(Instant::now());
    }
}

/// An answer's body that holds its request's guards until the last byte was handed over.
pub(crate) struct Guarded<B, G> {
    body: B,
    _guard: G,
}

impl<B, G> Guarded<B, G> {
    pub(crate) fn new(body: B, guard: G) -> Self {
        Self { body, _guard: guard }
    }
}

impl<B: Body + Unpin, G: Unpin> Body for Guarded<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: ConnTimeouts =
        ConnTimeouts { header: Duration::from_secs(10), idle: Duration::from_secs(75), write: Duration::from_secs(30) };

    #[tokio::test(start_paused = true)]
    async fn phases_and_deadlines() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut clock = Clock::new(start);
        assert_eq!(clock.deadline(&T), Some(at(10)), "before the first byte");
        clock.bytes_read(at(4));
        assert_eq!(clock.deadline(&T), Some(at(10)), "bytes buy no time");
        clock.request_begun(false);
        clock.bytes_read(at(5));
        assert_eq!(clock.deadline(&T), None, "a request has limits of its own");
        clock.written(at(6), true);
        clock.written(at(9), true);
        assert_eq!(clock.deadline(&T), Some(at(36)), "the client takes nothing");
        clock.written(at(10), false);
        clock.request_done(at(11));
        assert_eq!(clock.deadline(&T), Some(at(86)), "idle");
        clock.bytes_read(at(80));
        assert_eq!(clock.deadline(&T), Some(at(90)), "the next request's headers");
    }

    #[tokio::test(start_paused = true)]
    async fn frames_between_http2_requests_buy_no_time() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut clock = Clock::new(start);
        clock.request_begun(true);
        clock.request_begun(true);
        clock.request_done(at(1));
        assert_eq!(clock.deadline(&T), None, "one stream is still open");
        clock.request_done(at(2));
        clock.bytes_read(at(70));
        assert_eq!(clock.deadline(&T), Some(at(77)));
    }

    #[tokio::test(start_paused = true)]
    async fn expiry_is_exact_although_nothing_wakes_it() {
        let conn = Conn::new(T);
        let start = Instant::now();
        let task = tokio::spawn({
            let conn = conn.clone();
            async move { conn.expired().await }
        });
        let guard = conn.request(false);
        tokio::time::sleep(Duration::from_secs(123)).await;
        drop(guard);
        task.await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(123 + 75));
    }
}
