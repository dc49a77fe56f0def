//! What the server answers with: JSON, and refusals that name a class.
//!
//! The exact reason goes to the log of the operator; the sender gets a sentence that tells nothing about other
//! users (V61).

use bytes::Bytes;
use countersign_keys::store::StoreFailure;
use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::{NoRandomness, UnreadableClock};
use crate::ipc::http::{BodyError, Reply, json_reply};
use crate::ipc::messages::Refused;
use crate::log::Chain;

/// A request that is not done, and what its sender is told.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{code}: {why}")]
pub(super) struct Refusal {
    /// The status.
    pub(super) status: StatusCode,
    /// The kind, for programs.
    pub(super) code: &'static str,
    /// The sentence, for people.
    pub(super) why: String,
}

impl Refusal {
    /// Malformed, or not possible for this user.
    pub(super) fn bad_request(why: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "BAD_REQUEST", why: why.into() }
    }

    /// No such thing, or none of the sender's.
    pub(super) fn not_found(why: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, code: "NOT_FOUND", why: why.into() }
    }

    /// There, and not for this uid.
    pub(super) fn forbidden(code: &'static str, why: impl Into<String>) -> Self {
        Self { status: StatusCode::FORBIDDEN, code, why: why.into() }
    }

    /// Not in this state of affairs.
    pub(super) fn conflict(code: &'static str, why: impl Into<String>) -> Self {
        Self { status: StatusCode::CONFLICT, code, why: why.into() }
    }

    /// Too many of something.
    pub(super) fn too_many(why: impl Into<String>) -> Self {
        Self { status: StatusCode::TOO_MANY_REQUESTS, code: "TOO_MANY", why: why.into() }
    }

    /// Our side broke: the cause is logged here and goes no further.
    pub(super) fn failure(cause: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(cause = %Chain(cause), "unavailable");
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "UNAVAILABLE",
            why: "the provider cannot do this at the moment".to_owned(),
        }
    }

    /// The answer.
    pub(super) fn reply(self) -> Reply {
        let body = Refused { status_code: self.status.as_u16(), why: self.why, error_code: self.code.to_owned() };
        json_reply(self.status, &body)
    }
}

impl From<StoreFailure> for Refusal {
    fn from(failure: StoreFailure) -> Self {
        Self::failure(&failure)
    }
}

impl From<UnreadableClock> for Refusal {
    fn from(failure: UnreadableClock) -> Self {
        Self::failure(&failure)
    }
}

impl From<NoRandomness> for Refusal {
    fn from(failure: NoRandomness) -> Self {
        Self::failure(&failure)
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { .. } => {
                Self { status: StatusCode::PAYLOAD_TOO_LARGE, code: "BAD_REQUEST", why: error.to_string() }
            }
            BodyError::Broken | BodyError::Slow => Self::bad_request(error.to_string()),
        }
    }
}

/// The answer to whatever came of it: 200 with its JSON, or the refusal.
pub(super) fn answer<T: Serialize>(outcome: Result<T, Refusal>) -> Reply {
    match outcome {
        Ok(content) => json_reply(StatusCode::OK, &content),
        Err(refusal) => refusal.reply(),
    }
}

/// The message in a body.
pub(super) fn message<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::bad_request(format!("the body is not as expected: {error}")))
}

/// Runs what waits for a disk or for the account database on a thread of its own.
pub(super) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Refusal::failure(&error)))
}
