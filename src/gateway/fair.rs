//! How many requests one user may have under way: so that a user whose instance answers nobody cannot hold all the room
//! that there is for bodies and connections.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use countersign_keys::identity::Username;

/// Requests of one user under way. A browser has six connections, and a user a few browsers.
const EACH_MAX: usize = 64;

/// Who has how many under way. A user is in it while they have one.
#[derive(Debug, Default)]
pub(super) struct Fair(Mutex<HashMap<Username, usize>>);

/// One request under way.
#[derive(Debug)]
pub(super) struct UnderWay<'f> {
    fair: &'f Fair,
    username: Username,
}

impl Fair {
    /// Counts a request, unless its user has too many.
    pub(super) fn begin(&self, username: &Username) -> Option<UnderWay<'_>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(username.clone()).or_default();
        if *count >= EACH_MAX {
            return None;
        }
        *count = count.saturating_add(1);
        Some(UnderWay { fair: self, username: username.clone() })
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut all = self.fair.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.username) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                all.remove(&self.username);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

    use super::*;

    #[test]
    fn one_user_has_so_many_and_another_as_many() {
        let fair = Fair::default();
        let (alice, bob) = (Username::parse("alice").unwrap(), Username::parse("bob").unwrap());
        let mut under_way: Vec<_> = (0..EACH_MAX).map(|_| fair.begin(&alice).unwrap()).collect();
        assert!(fair.begin(&alice).is_none());
        assert!(fair.begin(&bob).is_some());
        under_way.pop();
        assert!(fair.begin(&alice).is_some());
        under_way.clear();
        assert!(fair.0.lock().unwrap().is_empty());
    }
}
