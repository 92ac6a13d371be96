//! The bounded queue before the writer thread. Producers never wait: there is room, or there is none.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, PoisonError},
    time::Instant,
};

use crate::{QueueUsage, sync::lock};

/// Jobs that are no records (commits, registry writes, administration) waiting at once.
const MAX_OTHER_JOBS: usize = 10_000;

pub(super) struct Queue<J> {
    state: Mutex<State<J>>,
    wake: Condvar,
    max_records: usize,
    max_bytes: usize,
}

struct State<J> {
    jobs: VecDeque<J>,
    others: usize,
    /// Records without receipt yet: those here and those being written.
    records: usize,
    bytes: usize,
    closed: bool,
}

/// What a job takes of the queue's room, given back by [`Queue::release`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Charge {
    pub records: usize,
    pub bytes: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Closed,
}

impl<J> Queue<J> {
    pub fn new(max_records: usize, max_bytes: usize) -> Self {
        let state = State { jobs: VecDeque::new(), others: 0, records: 0, bytes: 0, closed: false };
        Self { state: Mutex::new(state), wake: Condvar::new(), max_records, max_bytes }
    }

    /// Takes a job with records, or refuses it whole.
    pub fn push_records(&self, charge: Charge, job: impl FnOnce() -> J) -> Result<(), Refused> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.records + charge.records > self.max_records || state.bytes + charge.bytes > self.max_bytes {
            return Err(Refused::Full);
        }
        state.records += charge.records;
        state.bytes += charge.bytes;
        state.jobs.push_back(job());
        self.wake.notify_one();
        Ok(())
    }

    /// Takes a job without records.
    pub fn push_other(&self, job: J) -> Result<(), Refused> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.others >= MAX_OTHER_JOBS {
            return Err(Refused::Full);
        }
        state.others += 1;
        state.jobs.push_back(job);
        self.wake.notify_one();
        Ok(())
    }

    /// The next job; waits for one without end, or until `deadline`. `None`: nothing came, or closed and empty.
    pub fn pop(&self, deadline: Option<Instant>) -> Option<J> {
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state = match deadline {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
                    self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Records have their receipts.
    pub fn release(&self, charge: Charge) {
        let mut state = lock(&self.state);
        state.records -= charge.records;
        state.bytes -= charge.bytes;
    }

    /// A job without records has its answer.
    pub fn release_other(&self) {
        lock(&self.state).others -= 1;
    }

    /// Refuses from now on; what was taken is still handed out.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.wake.notify_all();
    }

    pub fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    pub fn usage(&self) -> QueueUsage {
        let state = lock(&self.state);
        QueueUsage {
            records: state.records,
            bytes: state.bytes,
            max_records: self.max_records,
            max_bytes: self.max_bytes,
            rebuilds: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn refuses_at_the_limits_and_counts_until_released() {
        let queue = Queue::new(2, 10);
        let charge = Charge { records: 1, bytes: 5 };
        assert_eq!(queue.push_records(charge, || 1), Ok(()));
        assert_eq!(queue.push_records(Charge { records: 1, bytes: 6 }, || 2), Err(Refused::Full));
        assert_eq!(queue.push_records(charge, || 3), Ok(()));
        assert_eq!(queue.push_records(Charge { records: 1, bytes: 0 }, || 4), Err(Refused::Full));
        assert_eq!((queue.pop(None), queue.pop(None)), (Some(1), Some(3)));
        assert_eq!(queue.usage().records, 2, "in flight counts");
        queue.release(charge);
        assert_eq!(queue.push_records(charge, || 5), Ok(()));
    }

    #[test]
    fn closing_hands_out_the_rest_then_ends() {
        let queue = Queue::new(10, 10);
        queue.push_other(1).unwrap();
        queue.close();
        assert_eq!(queue.push_other(2), Err(Refused::Closed));
        assert_eq!(queue.pop(None), Some(1));
        assert_eq!(queue.pop(None), None);
    }

    #[test]
    fn pop_ends_at_its_deadline() {
        let queue = Queue::<u8>::new(1, 1);
        assert_eq!(queue.pop(Some(Instant::now() + Duration::from_millis(5))), None);
    }
}
