//! The server's replies: JSON, and refusals that name a class.
//!
//! The exact reason goes to the operator's log. The sender gets a sentence that reveals nothing
//! about other users (V61).

use bytes::Bytes;
use countersign_keys::store::StoreFailure;
use countersign_keys::store::registry::{NotChanged, RegistryRejection};
use countersign_keys::verify::Rejection;
use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use countersign_ipc::body::BodyError;
use countersign_ipc::error_code::{ErrorCode, Reply};
use countersign_ipc::http::json_reply;
use countersign_ipc::server_protocol::{KEY_NAME_RULE, is_key_name};
use countersign_os::clock::{NoRandomness, UnreadableClock};
use countersign_os::log::Chain;

/// A refused request, and the reply to its sender.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}: {why}", told.code())]
pub(crate) struct Refusal {
    /// The row of the table of answers.
    pub(crate) told: ErrorCode,
    /// The sentence for the user.
    pub(crate) why: String,
}

impl Refusal {
    /// A refusal with its own sentence.
    pub(crate) fn new(told: ErrorCode, why: impl Into<String>) -> Self {
        Self { told, why: why.into() }
    }

    /// Malformed, or impossible for this user.
    pub(crate) fn bad_request(why: impl Into<String>) -> Self {
        Self::new(ErrorCode::Malformed, why)
    }

    /// Does not exist, or does not belong to the sender.
    pub(crate) fn not_found(why: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, why)
    }

    /// A limit is reached.
    pub(crate) fn too_many(why: impl Into<String>) -> Self {
        Self::new(ErrorCode::TooMany, why)
    }

    /// A failure on this side. Logs the cause, which the sender does not learn.
    pub(crate) fn failure(cause: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(cause = %Chain(cause), "failed request");
        Self::new(ErrorCode::Unavailable, ErrorCode::Unavailable.why())
    }

    /// The HTTP reply.
    pub(crate) fn reply(&self) -> Reply {
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

/// The reply to an outcome: 200 with JSON, or the refusal.
pub(crate) fn answer<T: Serialize>(outcome: Result<T, Refusal>) -> Reply {
    match outcome {
        Ok(content) => json_reply(StatusCode::OK, &content),
        Err(refusal) => refusal.reply(),
    }
}

/// Logs the reason, and returns the class for the sender.
pub(crate) fn rejected(rejection: &Rejection) -> Refusal {
    tracing::info!(reason = %rejection, "rejected request");
    let told = ErrorCode::from(rejection.class());
    Refusal::new(told, told.why())
}

/// The refusal for a change that the registry rejects.
pub(crate) fn registry_refusal(rejection: RegistryRejection) -> Refusal {
    let why = rejection.to_string();
    match rejection {
        RegistryRejection::NotConnected | RegistryRejection::NoSuchKey => Refusal::not_found(why),
        RegistryRejection::Unconfirmed => Refusal::new(ErrorCode::Conflict, why),
        RegistryRejection::UserMappedOtherwise | RegistryRejection::AccountMappedOtherwise => {
            Refusal::new(ErrorCode::MappedOtherwise, format!("{why}: run `countersign connect remove` first"))
        }
        RegistryRejection::TooManyKeys => Refusal::too_many(why),
        RegistryRejection::KeyExists => Refusal::new(ErrorCode::KeyExists, why),
    }
}

/// The refusal for a change that was rejected or failed.
pub(crate) fn not_changed(not_changed: NotChanged<RegistryRejection>) -> Refusal {
    match not_changed {
        NotChanged::Rejected(rejection) => registry_refusal(rejection),
        NotChanged::Failed(failure) => failure.into(),
    }
}

/// The refusal of a key.
pub(crate) fn key_refused(why: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::KeyRefused, why)
}

/// Checks the name of a key, as its owner or browser gave it.
pub(crate) fn key_name(name: &str) -> Result<String, Refusal> {
    if is_key_name(name) { Ok(name.to_owned()) } else { Err(key_refused(KEY_NAME_RULE)) }
}

/// Parses the message in a body.
pub(crate) fn message<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::bad_request(format!("the body is not as expected: {error}")))
}

/// Runs work that blocks on the disk or the account database, on a thread for blocking calls.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Refusal::failure(&error)))
}
