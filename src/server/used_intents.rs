//! The intents of users' own browsers that the server has honoured (P4), and how many calls each
//! user makes.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use countersign_keys::identity::Username;
use countersign_keys::intent::Terms;
use countersign_keys::replay::{self, ReplayError, ReplayLog, Use};
use countersign_keys::time::Timestamp;

use crate::limits::{Rate, RateLimiter};

/// Intents of this lane remembered at once. People press buttons; more than this in a minute are
/// refused.
const USED_MAX: usize = 16_384;

/// Calls of one user's browser that the server answers: no more than 800 intents of one user are
/// remembered at once.
const CALLS: Rate = Rate::new(240, 8);

/// Users whose rate is remembered.
const USERS_MAX: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// The intents that were used here: in memory, since the gateway's journal is what survives. So
/// whoever has taken the gateway over can use one again only if the server is started anew within
/// the intent's life.
#[derive(Debug)]
pub(super) struct UsedIntents {
    used: Mutex<replay::UsedIntents>,
    pub(super) calls: RateLimiter<Username>,
}

impl UsedIntents {
    /// None yet.
    pub(super) fn new(terms: &Terms) -> Self {
        let used = Mutex::new(replay::UsedIntents::new(terms.window, USED_MAX, Timestamp::from_seconds(i64::MIN)));
        Self { used, calls: RateLimiter::new(CALLS, USERS_MAX) }
    }
}

impl ReplayLog for UsedIntents {
    fn check_and_insert(&self, used: Use, now: Timestamp) -> Result<(), ReplayError> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(used, now)
    }
}
