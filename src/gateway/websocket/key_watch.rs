//! Ends a socket whose keys are no longer valid (P6): checks with each notice, and often enough to
//! see one expire.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign_keys::identity::{KeyId, Username};

use super::close::End;
use crate::response::refusal::{Failure, Refusal};
use crate::server_link::key_cache::{AsOf, KeyCacheFailure};
use crate::state::Gateway;

/// Keys of one socket. A browser has one; a Core that keeps a socket for a user brings one for each
/// of the user's browsers.
const KEYS_MAX: usize = 16;

/// Interval of the checks for expiry. Times are whole seconds, and a socket may outlive one by a
/// second.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long the server may take to report a key's state. A later answer would be too late.
const SAID_WITHIN: Duration = Duration::from_millis(500);

/// The keys that a socket depends on.
pub(super) struct KeyWatch<'g> {
    gateway: &'g Arc<Gateway>,
    username: &'g Username,
    keys: Mutex<Vec<KeyId>>,
}

impl<'g> KeyWatch<'g> {
    pub(super) const fn new(gateway: &'g Arc<Gateway>, username: &'g Username) -> Self {
        Self { gateway, username, keys: Mutex::new(Vec::new()) }
    }

    /// Makes the socket depend on this key too.
    pub(super) fn add(&self, kid: KeyId) -> Result<(), Refusal> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.contains(&kid) {
            return Ok(());
        }
        if keys.len() >= KEYS_MAX {
            return Err(Refusal::TooMany);
        }
        keys.push(kid);
        Ok(())
    }

    /// Returns when one of the keys is not valid any more, or its state cannot be determined.
    pub(super) async fn ends(&self) -> End {
        let mut endings = self.gateway.key_cache.endings();
        loop {
            // After a notice or after the interval, the check is the same.
            let _ = tokio::time::timeout(LOOK_EVERY, endings.changed()).await;
            let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for kid in keys {
                if let Err(refusal) = self.look(kid).await {
                    return End::KeyWatch(refusal);
                }
            }
        }
    }

    async fn look(&self, kid: KeyId) -> Result<(), Refusal> {
        let now = self.gateway.now()?;
        let standing = self.gateway.key_cache.check_standing(self.username, kid, AsOf::Earlier, now);
        let said = tokio::time::timeout(SAID_WITHIN, standing).await;
        said.map_err(|_elapsed| Failure::KeyCache(KeyCacheFailure::Slow))?
    }
}
