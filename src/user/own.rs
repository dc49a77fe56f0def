//! What the user's own browser asks of the instance: nothing of this is ever done for Core.
//!
//! A change of the keys takes both sides: the user's own file, which this process may write and the server may not, and the server's store,
//! which the server changes because it asks the kernel who this process is.

mod keys;
mod server;

use std::path::PathBuf;

use countersign_keys::own::OwnRequest;
use countersign_keys::policy::Permit;
use serde_json::Value;

use crate::ipc::answers::Told;
use crate::ipc::http::{Reply, json_reply};
use crate::user::account::OwnAccount;
use crate::user::own::keys::OwnKeys;
use crate::user::own::server::{AskServer, NotAnswered};
use crate::user::pinned::{PinnedFailure, PinnedKeys};

/// Why what the user asks is not done, though they may ask it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotDone {
    /// The call has no work here.
    #[error("this provider does not offer this")]
    NotOffered,
    /// The server said no, or nothing.
    #[error(transparent)]
    Server(#[from] NotAnswered),
    /// The user's own file.
    #[error(transparent)]
    Pinned(#[from] PinnedFailure),
    /// The answer cannot be written.
    #[error("the answer cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
}

/// What the user's own browser can ask.
#[derive(Debug)]
pub(crate) struct OwnCalls {
    keys: OwnKeys,
}

impl OwnCalls {
    /// The calls of that account, whose server listens at `socket`.
    pub(crate) fn of(account: &OwnAccount, socket: PathBuf) -> Self {
        Self { keys: OwnKeys::new(PinnedKeys::of(account), AskServer::at(socket)) }
    }

    /// Does what is asked.
    pub(crate) async fn perform(&self, permit: &Permit<'_, '_, OwnRequest>) -> Result<Value, NotDone> {
        match permit.row().call().as_str() {
            "keys.list" => self.keys.list(permit).await,
            _ => Err(NotDone::NotOffered),
        }
    }
}

impl NotDone {
    /// What the browser is told. What the server says to this account it says to its user.
    pub(crate) fn reply(&self) -> Reply {
        match self {
            Self::NotOffered => Told::NotFound.reply_with(&self.to_string()),
            Self::Server(NotAnswered::Refused { status, refused }) if status.is_client_error() => {
                json_reply(*status, refused)
            }
            Self::Server(_) | Self::Pinned(_) | Self::Unwritable(_) => Told::Unavailable.reply(),
        }
    }
}
