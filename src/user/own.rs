//! What the user's own browser asks of the instance: nothing of this is ever done for Core.
//!
//! A change of the keys takes both sides: the user's own file, which this process may write and the server may not, and the server's store,
//! which the server changes because it asks the kernel who this process is.

mod drives;
mod keys;
mod server;

use std::sync::Arc;

use countersign_keys::enrolment::EnrolmentRejection;
use countersign_keys::keyring::KeyRejection;
use countersign_keys::own::OwnRequest;
use countersign_keys::policy::Permit;
use serde_json::Value;

use crate::clock::{NoRandomness, UnreadableClock};
use crate::config::Config;
use crate::ipc::answers::Told;
use crate::ipc::http::{Reply, json_reply};
use crate::pin_file::{PinFailure, PinFile};
use crate::user::account::OwnAccount;
use crate::user::files::drives::Drives;
use crate::user::own::drives::OwnDrives;
use crate::user::own::keys::{OwnKeys, Terms};
use crate::user::own::server::{AskServer, NotAnswered};

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

/// What the user's own browser can ask.
#[derive(Debug)]
pub(crate) struct OwnCalls {
    keys: OwnKeys,
    drives: OwnDrives,
}

impl OwnCalls {
    /// The calls of that account, at a provider of that configuration.
    pub(crate) fn of(account: &OwnAccount, config: &Config, drives: &Arc<Drives>) -> Self {
        let pins = PinFile::of(account.home(), account.uid(), &config.provider.id);
        let terms = Terms { audience: config.provider.origin.clone(), lifetime_s: config.intent.key_lifetime_s };
        let keys = OwnKeys::new(pins, AskServer::at(config.ipc.socket()), terms);
        Self { keys, drives: OwnDrives::new(&config.drives, drives) }
    }

    /// Does what is asked.
    pub(crate) async fn perform(&self, permit: &Permit<'_, '_, OwnRequest>) -> Result<Value, NotDone> {
        match permit.row().call().as_str() {
            "drives.list" => Ok(self.drives.list().await),
            "keys.list" => self.keys.list(permit).await,
            "keys.renew" => self.keys.renew(permit).await,
            "keys.remove" => self.keys.remove(permit).await,
            _ => Err(NotDone::NotOffered),
        }
    }
}

impl NotDone {
    /// What the browser is told. What the server says to this account it says to its user.
    pub(crate) fn reply(&self) -> Reply {
        match self {
            Self::NotOffered => Told::NotFound.reply_with(&self.to_string()),
            Self::Missing(_) | Self::Malformed(_) => Told::Malformed.reply_with(&self.to_string()),
            Self::KeyRefused(_) | Self::Key(_) | Self::Proof(_) => Told::KeyRefused.reply_with(&self.to_string()),
            Self::Server(NotAnswered::Refused { status, refused }) if status.is_client_error() => {
                json_reply(*status, refused)
            }
            Self::Server(_)
            | Self::Pins(_)
            | Self::Clock(_)
            | Self::Randomness(_)
            | Self::CutShort
            | Self::Unwritable(_) => Told::Unavailable.reply(),
        }
    }
}
