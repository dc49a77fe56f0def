//! Medians and percentiles of what was measured.

use std::time::Duration;

/// The nearest-rank percentile of values in any order; `None` of nothing.
pub(crate) fn percentile(values: &mut [Duration], percent: usize) -> Option<Duration> {
    values.sort_unstable();
    let rank = values.len().saturating_mul(percent).div_ceil(100);
    values.get(rank.saturating_sub(1)).copied()
}

/// The middle value; of an even number, the upper of the two in the middle. `None` of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::{median, percentile};
    use std::time::Duration;

    fn check(values: &[u64], percent: usize, want: Option<u64>) {
        let mut durations: Vec<_> = values.iter().copied().map(Duration::from_micros).collect();
        assert_eq!(percentile(&mut durations, percent), want.map(Duration::from_micros), "{values:?} p{percent}");
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        check(&[], 50, None);
        check(&[7], 50, Some(7));
        check(&[7], 99, Some(7));
        check(&[4, 1, 3, 2], 50, Some(2));
        check(&(1..=100).collect::<Vec<_>>(), 99, Some(99));
        check(&(1..=1000).rev().collect::<Vec<_>>(), 99, Some(990));
    }

    #[test]
    fn the_median_is_a_value_that_was_measured() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(3.0));
    }
}
