//! The memory budget that all connectors of a process share.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bytes of records not yet written, over all connectors.
#[derive(Debug)]
pub struct MemoryBudget {
    limit: usize,
    used: AtomicUsize,
}

/// What a task should do about memory. Pure rule: see [`Pressure::of`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Below 60 %: paused partitions go on.
    Low,
    /// Between.
    Middle,
    /// From 80 % on: the largest batch is flushed.
    High,
    /// From 100 % on: reading pauses.
    Full,
}

impl Pressure {
    /// The rule: 60 %, 80 %, 100 %.
    pub fn of(used: usize, limit: usize) -> Self {
        let percent = |n: usize| (limit / 100).saturating_mul(n);
        if used >= limit {
            Self::Full
        } else if used >= percent(80) {
            Self::High
        } else if used >= percent(60) {
            Self::Middle
        } else {
            Self::Low
        }
    }
}

impl MemoryBudget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The limit.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// What to do now.
    pub fn pressure(&self) -> Pressure {
        Pressure::of(self.used(), self.limit)
    }

    /// A share of the budget, empty at first.
    pub fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), bytes: 0 }
    }
}

/// What one owner holds of the budget; given back when dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl Share {
    /// Sets what this owner holds. Never refused: memory already taken is counted, and [`Pressure`] throttles.
    pub fn set(&mut self, bytes: usize) {
        if bytes >= self.bytes {
            self.budget.used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            self.budget.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }

    /// What this owner holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds() {
        let cases = [
            (0, Pressure::Low),
            (599, Pressure::Low),
            (600, Pressure::Middle),
            (799, Pressure::Middle),
            (800, Pressure::High),
            (999, Pressure::High),
            (1000, Pressure::Full),
            (2000, Pressure::Full),
        ];
        for (used, want) in cases {
            assert_eq!(Pressure::of(used, 1000), want, "{used}");
        }
    }

    #[test]
    fn shares_add_up_and_are_given_back() {
        let budget = MemoryBudget::new(100);
        let mut a = budget.share();
        a.set(70);
        {
            let mut b = budget.share();
            b.set(50);
            assert_eq!(budget.pressure(), Pressure::Full);
        }
        a.set(10);
        assert_eq!(budget.used(), 10);
        drop(a);
        assert_eq!(budget.used(), 0);
    }
}
