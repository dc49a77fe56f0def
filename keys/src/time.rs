//! Time as a value. Nothing in this crate reads a clock: whoever asks brings the moment.

use serde::{Deserialize, Serialize};

/// Whole seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment this many seconds after 1970 began.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since 1970 began.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0
    }

    /// This moment moved by that many seconds, at the ends of time at most.
    #[must_use]
    pub const fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to this moment, negative if it is the later one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The clock reads a time again of which not all uses are remembered: nothing can be judged until
/// it has passed (P8).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the clock was put back to a time whose used intents are not all remembered: nothing is accepted until {} (seconds since 1970)", until.seconds())]
pub struct ClockFailure {
    /// The first moment at which intents are judged again.
    pub until: Timestamp,
}

/// Makes the moment to judge by, which does not go back in small steps.
///
/// A small step back is held at the latest moment seen, so that what was signed before it is not
/// from the future. A larger one is followed: no used intent passes because of it, since the replay
/// log refuses the times that it has forgotten ([`crate::replay::lost`]). A step forward only makes
/// intents stale sooner.
#[derive(Clone, Copy, Debug)]
pub struct ClockGuard {
    latest: Timestamp,
    behind_max_s: i64,
}

impl ClockGuard {
    /// A guard that has seen `latest` (from a journal, or the first reading) and holds for up to
    /// `behind_max_s`.
    #[must_use]
    pub const fn new(latest: Timestamp, behind_max_s: i64) -> Self {
        Self { latest, behind_max_s }
    }

    /// The moment to judge by, given what the wall clock reads.
    pub fn judge_by(&mut self, wall: Timestamp) -> Timestamp {
        let is_held = self.latest.since(wall) <= self.behind_max_s;
        self.latest = if is_held { self.latest.max(wall) } else { wall };
        self.latest
    }

    /// How far the clock is behind the latest moment judged by, in seconds; negative if it is
    /// ahead.
    #[must_use]
    pub const fn behind_s(&self, wall: Timestamp) -> i64 {
        self.latest.since(wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v40_the_moment_judged_by_holds_small_steps_back_and_follows_large_ones() {
        let at = Timestamp::from_seconds;
        let mut guard = ClockGuard::new(at(1000), 60);
        let mut check = |wall: i64, want: i64| assert_eq!(guard.judge_by(at(wall)), at(want), "wall clock at {wall}");
        check(1000, 1000);
        check(1010, 1010);
        check(1005, 1010); // held
        check(950, 1010); // 60 behind: still held
        check(949, 949); // put back
        check(1011, 1011);
        check(9000, 9000); // a step forward
        check(1011, 1011); // and back
    }
}
