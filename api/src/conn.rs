//! One connection's time: which phase it is in, and when it has to be closed. hyper knows one header timer that also
//! runs between requests; this clock tells the two apart, and bounds a client that takes no bytes: over HTTP/2 the
//! socket may well write while an answer waits for its stream's window.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

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
    /// Requests counted.
    requests: u64,
    /// By request: since when the client has taken nothing of the answer that is there for it.
    offered: HashMap<u64, Instant>,
}

impl Clock {
    fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Headers,
            since: now,
            in_flight: 0,
            http2: false,
            write_blocked: None,
            requests: 0,
            offered: HashMap::new(),
        }
    }

    fn bytes_read(&mut self, now: Instant) {
        if self.phase == Phase::Idle && !self.http2 {
            (self.phase, self.since) = (Phase::Headers, now);
        }
    }

    /// The request's number on this connection.
    fn request_begun(&mut self, http2: bool) -> u64 {
        self.http2 = http2;
        self.in_flight += 1;
        self.phase = Phase::Request;
        self.requests += 1;
        self.requests
    }

    fn offered(&mut self, request: u64, now: Instant) {
        // Without streams the socket tells all there is to know.
        if self.http2 {
            self.offered.insert(request, now);
        }
    }

    fn not_offered(&mut self, request: u64) {
        self.offered.remove(&request);
    }

    fn request_done(&mut self, request: u64, now: Instant) {
        self.not_offered(request);
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
        let untaken = self.write_blocked.iter().chain(self.offered.values()).min();
        phase.into_iter().chain(untaken.map(|&since| since + timeouts.write)).min()
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
        let number = self.clock().request_begun(http2);
        RequestGuard { conn: self.clone(), number, http2 }
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
pub(crate) struct RequestGuard {
    conn: Arc<Conn>,
    number: u64,
    http2: bool,
}

impl RequestGuard {
    pub(crate) fn is_http2(&self) -> bool {
        self.http2
    }

    /// From now on it is for the client to take the answer, or its next piece.
    pub(crate) fn offered(&self) {
        self.conn.clock().offered(self.number, Instant::now());
    }

    /// There is nothing that the client could take.
    pub(crate) fn not_offered(&self) {
        self.conn.clock().not_offered(self.number);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.conn.clock().request_done(self.number, Instant::now());
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
        let request = clock.request_begun(false);
        clock.bytes_read(at(5));
        assert_eq!(clock.deadline(&T), None, "a request has limits of its own");
        clock.written(at(6), true);
        clock.written(at(9), true);
        assert_eq!(clock.deadline(&T), Some(at(36)), "the client takes nothing");
        clock.written(at(10), false);
        clock.offered(request, at(10));
        assert_eq!(clock.deadline(&T), None, "the socket tells");
        clock.request_done(request, at(11));
        assert_eq!(clock.deadline(&T), Some(at(86)), "idle");
        clock.bytes_read(at(80));
        assert_eq!(clock.deadline(&T), Some(at(90)), "the next request's headers");
    }

    #[tokio::test(start_paused = true)]
    async fn frames_between_http2_requests_buy_no_time() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut clock = Clock::new(start);
        let requests = [clock.request_begun(true), clock.request_begun(true)];
        clock.request_done(requests[0], at(1));
        assert_eq!(clock.deadline(&T), None, "one stream is still open");
        clock.request_done(requests[1], at(2));
        clock.bytes_read(at(70));
        assert_eq!(clock.deadline(&T), Some(at(77)));
    }

    #[tokio::test(start_paused = true)]
    async fn no_stream_may_leave_its_answer_lying() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut clock = Clock::new(start);
        let [slow, stuck] = [clock.request_begun(true), clock.request_begun(true)];
        clock.offered(slow, at(1));
        assert_eq!(clock.deadline(&T), Some(at(31)));
        clock.offered(slow, at(20));
        clock.offered(stuck, at(21));
        clock.written(at(22), false);
        assert_eq!(clock.deadline(&T), Some(at(50)), "a piece buys time, the socket's bytes do not");
        clock.offered(slow, at(40));
        assert_eq!(clock.deadline(&T), Some(at(51)), "another stream's pieces do not either");
        clock.not_offered(stuck);
        assert_eq!(clock.deadline(&T), Some(at(70)), "there is nothing to take");
        clock.request_done(slow, at(41));
        assert_eq!(clock.deadline(&T), None);
        clock.request_done(stuck, at(42));
        assert_eq!(clock.deadline(&T), Some(at(42 + 75)), "idle");
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
