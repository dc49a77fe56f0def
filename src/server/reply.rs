//! What the server answers with: JSON, and refusals that name a class.
//!
//! The exact reason goes to the log of the operator; the sender gets a sentence that tells nothing
//! about other users (V61).

use bytes::Bytes;
use countersign_keys::store::StoreFailure;
use countersign_keys::store::registry::{NotChanged, RegistryRejection};
use countersign_keys::verify::Rejection;
use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::{NoRandomness, UnreadableClock};
use crate::ipc::answers::{ErrorCode, Reply};
use crate::ipc::body::BodyError;
use crate::ipc::http::json_reply;
use crate::ipc::messages::{KEY_NAME_RULE, is_key_name};
use crate::log::Chain;

/// A request that is not done, and what its sender is told.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}: {why}", told.code())]
pub(super) struct Refusal {
    /// The row of the table of answers.
    pub(super) told: ErrorCode,
    /// The sentence, for people.
    pub(super) why: String,
}

impl Refusal {
    /// With a sentence of its own.
    pub(super) fn new(told: ErrorCode, why: impl Into<String>) -> Self {
        Self { told, why: why.into() }
    }

    /// Malformed, or not possible for this user.
    pub(super) fn bad_request(why: impl Into<String>) -> Self {
        Self::new(ErrorCode::Malformed, why)
    }

    /// No such thing, or none of the sender's.
    pub(super) fn not_found(why: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, why)
    }

    /// Too many of something.
    pub(super) fn too_many(why: impl Into<String>) -> Self {
        Self::new(ErrorCode::TooMany, why)
    }

    /// Our side broke: the cause is logged here and goes no further.
    pub(super) fn failure(cause: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(cause = %Chain(cause), "unavailable");
        Self::new(ErrorCode::Unavailable, ErrorCode::Unavailable.why())
    }

    /// The answer.
    pub(super) fn reply(&self) -> Reply {
        self.told.reply_with(&self.why)
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
        Self::new(ErrorCode::from(&error), error.to_string())
    }
}

/// The answer to whatever came of it: 200 with its JSON, or the refusal.
pub(super) fn answer<T: Serialize>(outcome: Result<T, Refusal>) -> Reply {
    match outcome {
        Ok(content) => json_reply(StatusCode::OK, &content),
        Err(refusal) => refusal.reply(),
    }
}

/// The class for the sender; the reason for the log.
pub(super) fn rejected(rejection: &Rejection) -> Refusal {
    tracing::info!(reason = %rejection, "rejected");
    let told = ErrorCode::from(rejection.class());
    Refusal::new(told, told.why())
}

/// What somebody is told whose change the rules do not allow.
pub(super) fn registry_refusal(rejection: RegistryRejection) -> Refusal {
    let why = rejection.to_string();
    match rejection {
        RegistryRejection::NotConnected | RegistryRejection::NoSuchKey => Refusal::not_found(why),
        RegistryRejection::Unconfirmed => Refusal::new(ErrorCode::Conflict, why),
        RegistryRejection::UserMappedOtherwise | RegistryRejection::AccountMappedOtherwise => {
            Refusal::new(ErrorCode::MappedOtherwise, format!("{why}: `countersign connect remove` comes first"))
        }
        RegistryRejection::TooManyKeys => Refusal::too_many(why),
        RegistryRejection::KeyExists => Refusal::new(ErrorCode::KeyExists, why),
    }
}

/// The same, or that the store failed.
pub(super) fn not_changed(not_changed: NotChanged<RegistryRejection>) -> Refusal {
    match not_changed {
        NotChanged::Rejected(rejection) => registry_refusal(rejection),
        NotChanged::Failed(failure) => failure.into(),
    }
}

/// A key that cannot be taken.
pub(super) fn key_refused(why: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::KeyRefused, why)
}

/// The name of a key, as its owner or browser gave it.
pub(super) fn key_name(name: &str) -> Result<String, Refusal> {
    if is_key_name(name) { Ok(name.to_owned()) } else { Err(key_refused(KEY_NAME_RULE)) }
}

/// The message in a body.
pub(super) fn message<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::bad_request(format!("the body is not as expected: {error}")))
}

/// Runs what waits for a disk or for the account database on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Refusal::failure(&error)))
}
