//! Exponential back-off for calls to Core, for each user and for all users together.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use countersign_keys::identity::Username;
use countersign_keys::time::Timestamp;

use super::client::CoreFailure;

/// Shortest wait after a failure, in seconds. Doubled for each further failure.
const WAIT_MIN_S: i64 = 1;

/// Longest wait. Ten minutes after Core is back is late enough for it to hear of a connection.
const WAIT_MAX_S: i64 = 600;

/// The waits. Holds only failed entries; an entry is removed when its entry succeeds.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    failed: HashMap<Username, Wait>,
    everybody: Wait,
}

impl Schedule {
    /// Whether Core may be called at all.
    pub(crate) fn everybody_may(&self, now: Timestamp) -> bool {
        self.everybody.is_over(now)
    }

    /// Whether an entry of this user may be tried.
    pub(crate) fn may(&self, username: &Username, now: Timestamp) -> bool {
        self.failed.get(username).is_none_or(|wait| wait.is_over(now))
    }

    /// Records a success for this user.
    pub(crate) fn succeeded(&mut self, username: &Username) {
        self.failed.remove(username);
        self.everybody = Wait::default();
    }

    /// Records a failure for this user. Breaks if every other user's entry would fail too.
    pub(crate) fn failed(&mut self, username: &Username, failure: &CoreFailure, now: Timestamp) -> ControlFlow<()> {
        self.failed.entry(username.clone()).or_default().longer(now);
        if failure.is_general() {
            self.everybody.longer(now);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Seconds until the next entry may be tried, if one has failed.
    pub(crate) fn next(&self, now: Timestamp) -> Option<i64> {
        let waits = self.failed.values().chain([&self.everybody]);
        waits.filter_map(|wait| wait.until).map(|until| until.since(now).max(WAIT_MIN_S)).min()
    }

    /// Removes the waits of entries that do not exist any more, after a round over all of them.
    pub(crate) fn keep_only(&mut self, seen: &HashSet<Username>) {
        self.failed.retain(|username, _| seen.contains(username));
        self.everybody = Wait::default();
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Wait {
    failures: u32,
    until: Option<Timestamp>,
}

impl Wait {
    fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now >= until)
    }

    fn longer(&mut self, now: Timestamp) {
        let wait_s = WAIT_MIN_S.checked_shl(self.failures.min(20)).unwrap_or(WAIT_MAX_S).clamp(WAIT_MIN_S, WAIT_MAX_S);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now.plus(wait_s));
    }
}
