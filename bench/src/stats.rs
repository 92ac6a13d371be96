//! Ratios of paired rounds, and how sure one can be of them.

use serde::{Deserialize, Serialize};

/// A median with the bootstrap 95 % interval of the median.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// 2.5 % quantile.
    pub low: f64,
    /// Median of the sample.
    pub median: f64,
    /// 97.5 % quantile.
    pub high: f64,
}

/// Median; NaN of an empty sample.
pub fn median(sample: &[f64]) -> f64 {
    quantile(sample, 0.5)
}

fn quantile(sample: &[f64], q: f64) -> f64 {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = q * last as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

/// Bootstrap over 10,000 resamples, seeded, so that the same raw data gives the same interval again.
pub fn bootstrap(sample: &[f64]) -> Interval {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut medians = Vec::with_capacity(10_000);
    let mut draw = vec![0.0; sample.len()];
    for _ in 0..10_000 {
        for slot in &mut draw {
            *slot = sample[(next(&mut state) % sample.len() as u64) as usize];
        }
        medians.push(median(&draw));
    }
    Interval { low: quantile(&medians, 0.025), median: median(sample), high: quantile(&medians, 0.975) }
}

/// xorshift64*: good enough to resample with.
fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn interval_holds_the_median_and_repeats() {
        let sample = [1.0, 1.1, 0.9, 1.05, 0.95, 1.2, 0.8];
        let interval = bootstrap(&sample);
        assert!(interval.low <= interval.median && interval.median <= interval.high);
        assert_eq!(interval, bootstrap(&sample));
        assert_eq!(bootstrap(&[2.0; 7]), Interval { low: 2.0, median: 2.0, high: 2.0 });
    }
}
