//! Why a direct call failed, and what the browser is told.

use countersign_keys::enrolment::EnrolmentRejection;
use countersign_keys::keyring::KeyRejection;

use crate::call::NOT_OFFERED;
use crate::direct::server_client::ServerError;
use crate::jobs::error::JobsError;
use countersign_home::pin_file::PinFailure;
use countersign_ipc::error_code::{ErrorCode, Reply};
use countersign_os::clock::{NoRandomness, UnreadableClock};

/// Why a permitted direct call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectError {
    /// No code implements the call.
    #[error("{NOT_OFFERED}")]
    NotOffered,
    /// A parameter is absent, or is not text.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A parameter has the wrong form.
    #[error("{0}")]
    Malformed(&'static str),
    /// The key or its name is not acceptable.
    #[error("{0}")]
    KeyRefused(&'static str),
    /// The text is not a public key.
    #[error(transparent)]
    Key(#[from] KeyRejection),
    /// The browser has not proven that it holds the private key.
    #[error(transparent)]
    Proof(#[from] EnrolmentRejection),
    /// The server refused, or did not answer.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The user's pin file failed.
    #[error(transparent)]
    Pins(#[from] PinFailure),
    /// A job cannot be shown.
    #[error(transparent)]
    Jobs(#[from] JobsError),
    #[error(transparent)]
    Clock(#[from] UnreadableClock),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The blocking task ended without an outcome.
    #[error("the work was cut short")]
    CutShort,
    #[error("the answer cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
}

impl DirectError {
    /// The reply to the browser. A refusal that the server addressed to this account is passed on
    /// to its user.
    pub(crate) fn reply(&self) -> Reply {
        match self {
            Self::NotOffered => ErrorCode::NotFound.reply_with(&self.to_string()),
            Self::Jobs(error) => error.reply(),
            Self::Missing(_) | Self::Malformed(_) => ErrorCode::Malformed.reply_with(&self.to_string()),
            Self::KeyRefused(_) | Self::Key(_) | Self::Proof(_) => ErrorCode::KeyRefused.reply_with(&self.to_string()),
            Self::Server(failure) => failure.reply_to_user().unwrap_or_else(|| ErrorCode::Unavailable.reply()),
            Self::Pins(_) | Self::Clock(_) | Self::Randomness(_) | Self::CutShort | Self::Unwritable(_) => {
                ErrorCode::Unavailable.reply()
            }
        }
    }
}
