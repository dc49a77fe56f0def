//! Lost times: times for which the replay log no longer knows every use.
//!
//! A use may be forgotten when no clock accepts its intent any more. A clock that is set back could
//! accept the intent again. The log therefore remembers *which* times it has forgotten, and refuses
//! those whatever the clock says (P4, V40). Times in which nothing was used, such as those between
//! a clock that was two days ahead and today, are not lost.

use crate::time::Timestamp;

/// Most intervals remembered. Each costs 16 bytes in every journal's header. Joining two intervals
/// refuses more intents, never fewer.
pub const INTERVALS_MAX: usize = 4;

/// Intervals closer than this are joined, in seconds. Ordinary use then leaves one interval, not
/// thousands.
const JOINED_S: i64 = 300;

/// An interval, including both ends.
pub type Interval = (Timestamp, Timestamp);

/// The lost times, as values of [`crate::freshness::Window::retain_until`]: disjoint and in order.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LostTimes([Option<Interval>; INTERVALS_MAX]);

impl LostTimes {
    /// Adds an interval. Joins the earliest intervals if there are too many.
    pub fn add(&mut self, from: Timestamp, to: Timestamp) {
        if to < from {
            return;
        }
        let mut all: Vec<Interval> = self.intervals().chain([(from, to)]).collect();
        all.sort_unstable();
        let mut joined: Vec<Interval> = Vec::with_capacity(all.len());
        for (from, to) in all {
            match joined.last_mut() {
                Some(last) if from <= last.1.plus(JOINED_S) => last.1 = last.1.max(to),
                _ => joined.push((from, to)),
            }
        }
        while joined.len() > INTERVALS_MAX {
            let (from, _) = joined.remove(0);
            if let Some(first) = joined.first_mut() {
                first.0 = from;
            }
        }
        self.0 = [None; INTERVALS_MAX];
        for (place, interval) in self.0.iter_mut().zip(joined) {
            *place = Some(interval);
        }
    }

    /// Adds every interval of the other.
    pub fn add_all(&mut self, others: &Self) {
        others.intervals().for_each(|(from, to)| self.add(from, to));
    }

    /// The end of the interval that contains that time; `None` if the time is not lost.
    #[must_use]
    pub fn end_of(&self, time: Timestamp) -> Option<Timestamp> {
        self.intervals().find(|(from, to)| (*from..=*to).contains(&time)).map(|(_, to)| to)
    }

    /// The intervals, earliest first.
    pub fn intervals(&self) -> impl Iterator<Item = Interval> {
        self.0.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn ordinary_use_is_one_interval_and_a_jump_another() {
        let mut lost = LostTimes::default();
        lost.add(at(1_000), at(1_000));
        lost.add(at(1_100), at(1_200));
        lost.add(at(180_000), at(180_060));
        assert_eq!(lost.intervals().collect::<Vec<_>>(), [(at(1_000), at(1_200)), (at(180_000), at(180_060))]);
        assert_eq!(lost.end_of(at(1_050)), Some(at(1_200)));
        assert_eq!(lost.end_of(at(2_000)), None, "between them nobody used anything");
        assert_eq!(lost.end_of(at(180_060)), Some(at(180_060)));
        assert_eq!(lost.end_of(at(180_061)), None);
    }

    proptest! {
        /// A lost time stays lost, however many intervals are added and joined.
        #[test]
        fn v40_nothing_that_is_lost_is_ever_vouched_for_again(
            added in proptest::collection::vec((0_i64..20_000, 0_i64..500), 1..40)
        ) {
            let mut lost = LostTimes::default();
            for (nth, (from, length)) in added.iter().enumerate() {
                lost.add(at(*from), at(from + length));
                for (from, length) in &added[..=nth] {
                    prop_assert!(lost.end_of(at(*from)).is_some() && lost.end_of(at(from + length)).is_some());
                }
                let intervals: Vec<Interval> = lost.intervals().collect();
                prop_assert!(intervals.iter().all(|(from, to)| from <= to));
                prop_assert!(intervals.windows(2).all(|two| two[0].1 < two[1].0), "{intervals:?}");
            }
        }
    }
}
