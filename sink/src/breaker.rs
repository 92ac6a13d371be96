//! The bad-rate breaker: when most records are bad, the fault is not in the records. Pure.

use std::collections::VecDeque;

/// Verdicts of the last records of a connector.
#[derive(Debug)]
pub struct BadRate {
    max_rate: f64,
    window: usize,
    verdicts: VecDeque<bool>,
    bad: usize,
}

/// So many records must have been seen before a rate means anything.
pub const AT_LEAST: usize = 100;

impl BadRate {
    /// Trips above `max_rate` among the last `window` records; 1 never trips.
    pub fn new(max_rate: f64, window: usize) -> Self {
        Self { max_rate, window: window.max(AT_LEAST), verdicts: VecDeque::new(), bad: 0 }
    }

    /// Takes one verdict; true: the rate is over its limit.
    pub fn saw(&mut self, bad: bool) -> bool {
        if self.verdicts.len() == self.window && self.verdicts.pop_front() == Some(true) {
            self.bad -= 1;
        }
        self.verdicts.push_back(bad);
        self.bad += usize::from(bad);
        let seen = self.verdicts.len();
        self.max_rate < 1.0 && seen >= AT_LEAST && self.bad as f64 > self.max_rate * seen as f64
    }

    /// Starts over: what is judged after a pause is what comes after it.
    pub fn reset(&mut self) {
        self.verdicts.clear();
        self.bad = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trips_above_its_rate_once_enough_were_seen() {
        let mut breaker = BadRate::new(0.5, 1000);
        for n in 1..AT_LEAST {
            assert!(!breaker.saw(true), "after {n}");
        }
        assert!(breaker.saw(true));
        breaker.reset();
        assert!(!breaker.saw(true));
    }

    #[test]
    fn half_is_not_above_half_and_old_verdicts_leave() {
        let mut breaker = BadRate::new(0.5, 100);
        for n in 0..1000 {
            assert!(!breaker.saw(n % 2 == 0));
        }
        assert!(!breaker.saw(false));
        let trips = (0..3).filter(|_| breaker.saw(true)).count();
        assert!(trips > 0);
    }

    #[test]
    fn one_turns_it_off() {
        let mut breaker = BadRate::new(1.0, 100);
        assert!((0..500).all(|_| !breaker.saw(true)));
    }
}
