//! A histogram of durations with fixed bounds: an observation is two atomic additions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in seconds: from a tenth of a verified request to Core's patience.
pub const BOUNDS_S: [f64; 12] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 2.5, 5.0];

/// The same in nanoseconds.
const BOUNDS_NS: [u64; 12] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    50_000_000,
    250_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
];

#[derive(Debug, Default)]
pub struct Histogram {
    /// Not cumulative. The last has no upper bound.
    buckets: [AtomicU64; BOUNDS_NS.len() + 1],
    sum_ns: AtomicU64,
}

impl Histogram {
    pub fn observe(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let at = BOUNDS_NS.iter().position(|bound| ns <= *bound).unwrap_or(BOUNDS_NS.len());
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// The buckets, not cumulative, and the sum in seconds.
    pub(crate) fn read(&self) -> (Vec<u64>, f64) {
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        (counts, Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed)).as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w01_both_spellings_of_the_bounds_are_the_same() {
        for (seconds, ns) in BOUNDS_S.iter().zip(BOUNDS_NS) {
            assert_eq!(Duration::from_secs_f64(*seconds), Duration::from_nanos(ns));
        }
    }

    #[test]
    fn w01_an_observation_is_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for took_us in [100, 101, 5_000_000, 5_000_001] {
            histogram.observe(Duration::from_micros(took_us));
        }
        let (counts, sum) = histogram.read();
        assert_eq!(counts, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert!((sum - 10.000_202).abs() < 1e-9, "{sum}");
    }
}
