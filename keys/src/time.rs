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

/// The clock went back further than an intent lives: nothing can be judged until it is mended or has caught up (P8).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the clock is {behind_s} s behind the latest moment that this process has judged by")]
pub struct ClockFailure {
    /// How far it is behind, in seconds.
    pub behind_s: i64,
}

/// Makes a moment that never goes back (P4): were it to, a used intent whose record has expired could pass again.
///
/// A small step back is held at the latest moment seen. A step forward only makes intents stale sooner.
#[derive(Clone, Copy, Debug)]
pub struct ClockGuard {
    latest: Timestamp,
    behind_max_s: i64,
}

impl ClockGuard {
    /// A guard that has seen `latest` (from a journal, or the first reading) and holds for up to `behind_max_s`.
    #[must_use]
    pub const fn new(latest: Timestamp, behind_max_s: i64) -> Self {
        Self { latest, behind_max_s }
    }

    /// The moment to judge by, given what the wall clock reads.
    ///
    /// # Errors
    /// If the clock is further behind than the guard holds for.
    pub fn judge_by(&mut self, wall: Timestamp) -> Result<Timestamp, ClockFailure> {
        let behind_s = self.latest.since(wall);
        if behind_s > self.behind_max_s {
            return Err(ClockFailure { behind_s });
        }
        self.latest = self.latest.max(wall);
        Ok(self.latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v40_the_moment_judged_by_never_goes_back() {
        let at = Timestamp::from_seconds;
        let mut guard = ClockGuard::new(at(1000), 60);
        let mut check = |wall: i64, want: Result<i64, i64>| {
            let got = guard.judge_by(at(wall)).map(Timestamp::seconds).map_err(|failure| failure.behind_s);
            assert_eq!(got, want, "wall clock at {wall}");
        };
        check(1000, Ok(1000));
        check(1010, Ok(1010));
        check(1005, Ok(1010)); // held
        check(950, Ok(1010)); // 60 behind: still held
        check(949, Err(61));
        check(1011, Ok(1011)); // caught up
        check(9000, Ok(9000)); // a step forward
        check(1011, Err(7989));
    }
}
