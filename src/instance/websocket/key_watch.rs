//! The keys that a socket lives by: when one of them is pinned no more, or its time is over, so is
//! the socket's (P6).
//!
//! The instance looks itself, at the user's own file, and asks nobody.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use countersign_keys::identity::{KeyId, Username};

use crate::verifier::Verifier;

/// How often the file is looked at. A revoked key's sockets end within a second, and the look
/// itself takes some of it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The keys that signed what a socket does.
#[derive(Debug)]
pub(super) struct KeyWatch<'j> {
    verifier: &'j Verifier,
    keys: Mutex<Vec<(Username, KeyId)>>,
}

impl<'j> KeyWatch<'j> {
    /// Of none yet.
    pub(super) const fn of(verifier: &'j Verifier) -> Self {
        Self { verifier, keys: Mutex::new(Vec::new()) }
    }

    /// From here on, of this key too.
    pub(super) fn add(&self, username: &Username, kid: KeyId) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if !keys.iter().any(|(_, known)| *known == kid) {
            keys.push((username.clone(), kid));
        }
    }

    /// Waits until one of them does not stand any more.
    pub(super) async fn ends(&self) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if keys.iter().any(|(username, kid)| !self.verifier.stands(username, *kid)) {
                return;
            }
        }
    }
}
