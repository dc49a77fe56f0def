//! Replay log for the direct calls to the server (P4), and the rate of each user's
//! calls.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use countersign_keys::identity::Username;
use countersign_keys::intent::Terms;
use countersign_keys::replay::{self, ReplayError, ReplayLog, Use};
use countersign_keys::time::Timestamp;

use countersign_os::limits::{Rate, RateLimiter};

/// Intents of this lane remembered at once. Calls come from users pressing buttons; more than this
/// in a minute are refused.
const USED_MAX: usize = 16_384;

/// Rate of one user's calls. At most 800 intents of one user are then remembered at once.
const CALLS: Rate = Rate::new(240, 8);

/// Users for which the rate is tracked.
const USERS_MAX: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// The used intents, in memory only, because the gateway's journal is the durable log. An attacker
/// who controls the gateway can replay an intent only if the server restarts within the intent's
/// lifetime.
#[derive(Debug)]
pub(crate) struct UsedIntents {
    used: Mutex<replay::UsedIntents>,
    pub(crate) calls: RateLimiter<Username>,
}

impl UsedIntents {
    /// Makes an empty log.
    pub(crate) fn new(terms: &Terms) -> Self {
        let used = Mutex::new(replay::UsedIntents::new(terms.window, USED_MAX, Timestamp::from_seconds(i64::MIN)));
        Self { used, calls: RateLimiter::new(CALLS, USERS_MAX) }
    }
}

impl ReplayLog for UsedIntents {
    fn check_and_insert(&self, used: Use, now: Timestamp) -> Result<(), ReplayError> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(used, now)
    }
}
