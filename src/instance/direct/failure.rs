//! Why what the user's own browser asks is not done, and what the browser is told.

use countersign_keys::enrolment::EnrolmentRejection;
use countersign_keys::keyring::KeyRejection;

use crate::clock::{NoRandomness, UnreadableClock};
use crate::instance::direct::server::NotAnswered;
use crate::ipc::answers::{ErrorCode, Reply};
use crate::ipc::http::json_reply;
use crate::pin_file::PinFailure;

/// Why what the user asks is not done, though they may ask it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotDone {
    /// The call has no work here.
    #[error("this provider does not offer this")]
    NotOffered,
    /// A parameter is not there, or no text.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A parameter is not of its form.
    #[error("{0}")]
    Malformed(&'static str),
    /// The key, or its name, is not one to be taken.
    #[error("{0}")]
    KeyRefused(&'static str),
    /// The key is none.
    #[error(transparent)]
    Key(#[from] KeyRejection),
    /// It is not proven to be in the browser's hands.
    #[error(transparent)]
    Proof(#[from] EnrolmentRejection),
    /// The server said no, or nothing.
    #[error(transparent)]
    Server(#[from] NotAnswered),
    /// The user's own file.
    #[error(transparent)]
    Pins(#[from] PinFailure),
    /// The clock.
    #[error(transparent)]
    Clock(#[from] UnreadableClock),
    /// Randomness.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The work was ended from outside.
    #[error("the work was cut short")]
    CutShort,
    /// The answer cannot be written.
    #[error("the answer cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
}

impl NotDone {
    /// What the browser is told. What the server says to this account it says to its user.
    pub(crate) fn reply(&self) -> Reply {
        match self {
            Self::NotOffered => ErrorCode::NotFound.reply_with(&self.to_string()),
            Self::Missing(_) | Self::Malformed(_) => ErrorCode::Malformed.reply_with(&self.to_string()),
            Self::KeyRefused(_) | Self::Key(_) | Self::Proof(_) => ErrorCode::KeyRefused.reply_with(&self.to_string()),
            Self::Server(NotAnswered::Refused { status, refused }) if status.is_client_error() => {
                json_reply(*status, refused)
            }
            Self::Server(_)
            | Self::Pins(_)
            | Self::Clock(_)
            | Self::Randomness(_)
            | Self::CutShort
            | Self::Unwritable(_) => ErrorCode::Unavailable.reply(),
        }
    }
}
