//! What the Go Core asks of each provider again and again: what it can, and what people are shown
//! of it.

use std::sync::PoisonError;

use crate::core::Core;
use crate::{Answer, Fault};

/// The paths below `/ucloud/{provider}/`, in Core's order: seven of features, then the branding.
/// There is none for files or shares.
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

/// How long Core rests between two rounds, in seconds.
const REST_S: i64 = 10;

/// One round's answers, in the order of [`POLLED`].
#[derive(Clone, Debug)]
pub struct Polled(pub Vec<Answer>);

impl Polled {
    /// The first answer that is none to Core, with what was asked: Core then does without it, and
    /// asks for ever.
    #[must_use]
    pub fn refused(&self) -> Option<(&'static str, u16)> {
        POLLED.into_iter().zip(&self.0).find(|(_, answer)| !answer.is_ok()).map(|(path, answer)| (path, answer.status))
    }
}

impl Core {
    /// Polls, one question after the other.
    ///
    /// # Errors
    /// Where an answer does not come within Core's patience.
    pub async fn poll(&self) -> Result<Polled, Fault> {
        let mut answers = Vec::with_capacity(POLLED.len());
        for path in POLLED {
            answers.push(self.send(&self.service("GET", path, None)?).await?);
        }
        Ok(Polled(answers))
    }

    /// Polls if it is time to, by a clock in seconds since 1970: ten seconds after the last round.
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
