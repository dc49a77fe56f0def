//! The key watch of a socket: the socket ends when a key that signed for it is no longer pinned, or
//! has expired (P6).
//!
//! The instance reads the user's own file and relies on no other process.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use countersign_keys::identity::{KeyId, Username};

use crate::verifier::Verifier;

/// How often the pinned keys are checked. A revoked key's sockets must end within a second, and the
/// check itself takes part of that.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Watches the keys that signed the work of a socket.
#[derive(Debug)]
pub(crate) struct KeyWatch<'j> {
    verifier: &'j Verifier,
    keys: Mutex<Vec<(Username, KeyId)>>,
}

impl<'j> KeyWatch<'j> {
    /// Watches no key yet.
    pub(crate) const fn of(verifier: &'j Verifier) -> Self {
        Self { verifier, keys: Mutex::new(Vec::new()) }
    }

    pub(crate) fn add(&self, username: &Username, kid: KeyId) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if !keys.iter().any(|(_, known)| *known == kid) {
            keys.push((username.clone(), kid));
        }
    }

    /// Waits until one of the keys is not valid any more.
    pub(crate) async fn ends(&self) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if keys.iter().any(|(username, kid)| !self.verifier.is_valid(username, *kid)) {
                return;
            }
        }
    }
}
