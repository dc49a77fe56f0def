//! The calls with which the Go Core polls each provider: seven for features, one for the branding.

use std::sync::PoisonError;

use crate::core::Core;
use crate::{Answer, Fault};

/// The polled paths below `/ucloud/{provider}/`, in Core's order. There is none for files or
/// shares.
pub const POLLED: [&str; 8] = [
    "integration/retrieveManifest",
    "files/collections/retrieveProducts",
    "jobs/retrieveProducts",
    "ingresses/retrieveProducts",
    "networkips/retrieveProducts",
    "licenses/retrieveProducts",
    "private-networks/retrieveProducts",
    "provider/branding/retrieveInfo",
];

/// Pause between two rounds, in seconds.
const REST_S: i64 = 10;

/// The responses of one round, in the order of [`POLLED`].
#[derive(Clone, Debug)]
pub struct Polled(pub Vec<Answer>);

impl Polled {
    /// The first response that Core does not accept, as path and status. Core then lacks that
    /// feature and keeps polling.
    #[must_use]
    pub fn refused(&self) -> Option<(&'static str, u16)> {
        POLLED.into_iter().zip(&self.0).find(|(_, answer)| !answer.is_ok()).map(|(path, answer)| (path, answer.status))
    }
}

impl Core {
    /// Sends all polls, one after the other.
    ///
    /// # Errors
    /// [`Fault`] if a response does not arrive in time.
    pub async fn poll(&self) -> Result<Polled, Fault> {
        let mut answers = Vec::with_capacity(POLLED.len());
        for path in POLLED {
            answers.push(self.send(&self.service("GET", path, None)?).await?);
        }
        Ok(Polled(answers))
    }

    /// Polls if ten seconds have passed since the latest round. `now_s` is in seconds since 1970.
    ///
    /// # Errors
    /// As [`Core::poll`].
    pub async fn poll_if_due(&self, now_s: i64) -> Result<Option<Polled>, Fault> {
        {
            let mut polled_at = self.polled_at.lock().unwrap_or_else(PoisonError::into_inner);
            if polled_at.is_some_and(|last| now_s.saturating_sub(last) < REST_S) {
                return Ok(None);
            }
            *polled_at = Some(now_s);
        }
        self.poll().await.map(Some)
    }
}
