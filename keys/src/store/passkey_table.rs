//! Stored passkeys: one record for each user, and an index by credential id.

use serde::{Deserialize, Serialize};

use super::typed::{fetch, put};
use super::{Interrupted, Table, Transaction};
use crate::identity::Username;
use crate::jws::sha256;
use crate::time::Timestamp;

/// A user's passkeys.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Passkeys {
    /// Random, and shared by all passkeys of the user: WebAuthn's user handle. It reveals nothing
    /// about the user.
    pub handle: [u8; 16],
    /// The passkeys, oldest first.
    pub passkeys: Vec<Passkey>,
}

/// One passkey.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Passkey {
    /// The credential id, base64url.
    pub id: String,
    /// The owner's name for it.
    pub name: String,
    /// The credential as the WebAuthn library serialises it: mainly the public key.
    pub credential: serde_json::Value,
    /// The signature counter of the last use; 0 for an authenticator without a counter.
    pub counter: u32,
    /// When it was enrolled.
    pub created: Timestamp,
    /// When it last asserted an intent.
    pub last_used: Option<Timestamp>,
    /// Whether its assertions are accepted.
    pub state: PasskeyState,
}

/// Whether a passkey's assertions are accepted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PasskeyState {
    /// Accepted.
    Active,
    /// Refused: its counter went back, so there is a copy, and the copy cannot be told from the
    /// original.
    Copied,
}

/// Removes all passkeys of a user, as part of a disconnection.
pub(super) fn forget_passkeys(transaction: &dyn Transaction, username: &Username) -> Result<(), Interrupted> {
    let Some(theirs) = read(transaction, username)? else { return Ok(()) };
    for passkey in &theirs.passkeys {
        transaction.remove(Table::PasskeyIds, &digest(&passkey.id))?;
    }
    transaction.remove(Table::Passkeys, username.as_str().as_bytes())
}

pub(super) fn read(transaction: &dyn Transaction, username: &Username) -> Result<Option<Passkeys>, Interrupted> {
    fetch(transaction, Table::Passkeys, username.as_str().as_bytes())
}

pub(super) fn write(transaction: &dyn Transaction, username: &Username, theirs: &Passkeys) -> Result<(), Interrupted> {
    put(transaction, Table::Passkeys, username.as_str().as_bytes(), theirs)
}

/// The key of a passkey in [`Table::PasskeyIds`].
pub(super) fn digest(id: &str) -> [u8; 32] {
    sha256(&[id.as_bytes()])
}
