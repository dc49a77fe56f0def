//! Medians and percentiles of measurements.

use std::time::Duration;

/// The nearest-rank percentile of values in any order; `None` if there are none.
pub(crate) fn percentile(values: &mut [Duration], percent: usize) -> Option<Duration> {
    values.sort_unstable();
    let rank = values.len().saturating_mul(percent).div_ceil(100);
    values.get(rank.saturating_sub(1)).copied()
}

/// The median; of an even number, the upper of the two in the middle. `None` if there are none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// Cliff's delta: how much more often a value of `one` is larger than one of `other` than the
/// reverse. 0 if the distributions are alike, 1 or -1 if they do not overlap (Cliff 1993). Half of
/// it is the advantage over guessing of an attacker who sees one value of each. `None` if there are
/// no values.
pub(crate) fn cliffs_delta(one: &[f64], other: &[f64]) -> Option<f64> {
    let mut sorted = other.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let mut sum = 0.0;
    for value in one {
        let smaller = sorted.partition_point(|other| other < value);
        let larger = sorted.len().saturating_sub(sorted.partition_point(|other| other <= value));
        sum += float(smaller) - float(larger);
    }
    let pairs = float(one.len()) * float(other.len());
    (pairs > 0.0).then(|| sum / pairs)
}

/// The interval that contains the difference of the medians, `one` less `other`, with 99 %
/// confidence: percentiles of this many resamples (Efron's bootstrap). The same values give the
/// same interval. `None` if there are no values.
pub(crate) fn median_difference(one: &[f64], other: &[f64], resamples: usize) -> Option<(f64, f64)> {
    let mut random = Random::new();
    let mut differences = Vec::with_capacity(resamples);
    for _ in 0..resamples {
        let difference = median(resampled(one, &mut random))? - median(resampled(other, &mut random))?;
        differences.push(difference);
    }
    differences.sort_unstable_by(f64::total_cmp);
    let at = |thousandths: usize| differences.get(resamples.saturating_mul(thousandths) / 1000).copied();
    Some((at(5)?, at(995).or_else(|| differences.last().copied())?))
}

/// As many values, drawn with replacement.
fn resampled(values: &[f64], random: &mut Random) -> Vec<f64> {
    let draw = |_| {
        let at = usize::try_from(random.draw() >> 1).unwrap_or(0).checked_rem(values.len())?;
        values.get(at).copied()
    };
    (0..values.len()).filter_map(draw).collect()
}

/// Marsaglia's xorshift, with a fixed seed. Any cheap generator will do that is not part of what is
/// measured.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests {
    use super::{cliffs_delta, median, median_difference, percentile};
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

    #[test]
    fn kinds_that_do_not_overlap_are_told_apart_and_one_kind_is_not() {
        let low: Vec<f64> = (0..100).map(f64::from).collect();
        let high: Vec<f64> = (200..300).map(f64::from).collect();
        assert_eq!(cliffs_delta(&high, &low), Some(1.0));
        assert_eq!(cliffs_delta(&low, &high), Some(-1.0));
        assert_eq!(cliffs_delta(&low, &low), Some(0.0));
        assert_eq!(cliffs_delta(&[1.0, 2.0], &[1.0]), Some(0.5));
        assert_eq!(cliffs_delta(&[], &low), None);
        let apart = median_difference(&high, &low, 1000);
        assert!(apart.is_some_and(|(from, to)| from > 150.0 && to < 250.0 && from <= to), "{apart:?}");
        let same = median_difference(&low, &low, 1000);
        assert!(same.is_some_and(|(from, to)| from < 0.0 && to > 0.0), "{same:?}");
        assert_eq!(median_difference(&[], &low, 10), None);
    }
}
