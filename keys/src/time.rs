//! Time as a value. This crate reads no clock: the caller passes the time.

use serde::{Deserialize, Serialize};

/// Whole seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment this many seconds after the start of 1970 (UTC).
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since the start of 1970 (UTC).
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0
    }

    /// This moment plus that many seconds. Saturates.
    #[must_use]
    pub const fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to this moment; negative if `earlier` is the later one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The clock was set back to times for which not every use is remembered. Nothing is judged until
/// they have passed (P8).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the clock was put back to a time whose used intents are not all remembered: nothing is accepted until {} (seconds since 1970)", until.seconds())]
pub struct ClockFailure {
    /// The first moment at which intents are judged again.
    pub until: Timestamp,
}

/// Turns wall clock readings into the time to judge by, which does not follow small steps back.
///
/// After a small step back it stays at the latest time seen, so that an intent signed before the
/// step is not from the future. It follows a larger step back. No used intent passes because of
/// that: the replay log refuses the times that it has forgotten ([`crate::replay::lost`]). A step
/// forward only makes intents stale sooner.
#[derive(Clone, Copy, Debug)]
pub struct ClockGuard {
    latest: Timestamp,
    behind_max_s: i64,
}

impl ClockGuard {
    /// A guard that has seen `latest` (from a journal, or the first reading) and holds steps back
    /// of up to `behind_max_s` seconds.
    #[must_use]
    pub const fn new(latest: Timestamp, behind_max_s: i64) -> Self {
        Self { latest, behind_max_s }
    }

    /// The time to judge by, given the wall clock's reading.
    pub fn judge_by(&mut self, wall: Timestamp) -> Timestamp {
        let is_held = self.latest.since(wall) <= self.behind_max_s;
        self.latest = if is_held { self.latest.max(wall) } else { wall };
        self.latest
    }

    /// How far the wall clock is behind the latest time judged by, in seconds; negative if it is
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
