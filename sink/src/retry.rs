//! How long to wait before the next try. Pure: the random number is handed in.

use std::time::Duration;

/// First delay.
pub const FIRST: Duration = Duration::from_millis(100);
/// Longest delay before jitter.
pub const LONGEST: Duration = Duration::from_secs(30);
/// A destination's own wish counts up to this.
pub const LONGEST_WISH: Duration = Duration::from_secs(300);

/// Delay before retry `n` (from 0): `min(100 ms * 2^n, 30 s)` times 0.75 to 1.25; `unit` in 0..1 picks the factor.
/// A longer wish of the destination wins, up to 300 s.
pub fn delay(n: u32, unit: f64, wish: Option<Duration>) -> Duration {
    let base = FIRST.saturating_mul(1u32 << n.min(16)).min(LONGEST);
    let ours = base.mul_f64(0.75 + unit.clamp(0.0, 1.0) * 0.5);
    wish.map_or(ours, |wish| ours.max(wish.min(LONGEST_WISH)))
}

/// Counts failures in a row and gives delays; never gives up.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The delay after one more failure.
    pub fn next(&mut self, wish: Option<Duration>) -> Duration {
        let n = self.failures;
        self.failures = n.saturating_add(1);
        delay(n, unit(), wish)
    }

    /// Forgets failures.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// A random number in 0..1, from the random bits of a UUIDv4.
fn unit() -> f64 {
    let (bits, _) = uuid::Uuid::new_v4().as_u64_pair();
    // The first 48 bits of a v4 are random; the version stands behind them.
    (bits >> 16) as f64 / (1u64 << 48) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn doubles_to_thirty_seconds() {
        let ms: Vec<u128> = (0..12).map(|n| delay(n, 0.5, None).as_millis()).collect();
        assert_eq!(ms, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000]);
        assert_eq!(delay(u32::MAX, 0.5, None), LONGEST);
    }

    #[test]
    fn a_longer_wish_wins_within_its_cap() {
        assert_eq!(delay(0, 0.5, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(delay(0, 0.5, Some(Duration::from_secs(999))), LONGEST_WISH);
        assert_eq!(delay(20, 0.5, Some(Duration::from_secs(1))), LONGEST);
    }

    #[test]
    fn jitter_has_its_mean_and_bounds_over_ten_thousand_sequences() {
        for n in 0..12 {
            let base = delay(n, 0.5, None).as_secs_f64();
            let mut sum = 0.0;
            for _ in 0..10_000 {
                let d = delay(n, unit(), None).as_secs_f64();
                assert!(d >= base * 0.7499 && d <= base * 1.2501);
                sum += d;
            }
            assert!((sum / 10_000.0 / base - 1.0).abs() < 0.01, "mean of retry {n}");
        }
    }

    proptest! {
        #[test]
        fn never_outside_its_bounds(n: u32, unit in 0.0f64..1.0) {
            let d = delay(n, unit, None);
            prop_assert!(d >= Duration::from_millis(75) && d <= Duration::from_millis(37_500));
        }
    }
}
