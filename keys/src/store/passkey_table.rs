//! The passkeys as they are stored: one record for each user, and an index of their ids.

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
    /// Random, and the same for all of the user's passkeys: authenticators know the user by it, and
    /// it says nothing of them.
    pub handle: [u8; 16],
    /// The oldest first.
    pub passkeys: Vec<Passkey>,
}

/// One passkey.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Passkey {
    /// The credential id, base64url.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// What the WebAuthn library keeps of it: the public key, above all.
    pub credential: serde_json::Value,
    /// The signature counter of its last use; 0 for one that counts nothing.
    pub counter: u32,
    /// When it was enrolled.
    pub created: Timestamp,
    /// When it last asserted an intent.
    pub last_used: Option<Timestamp>,
    /// Whether its assertions count.
    pub state: PasskeyState,
}

/// Whether a passkey's assertions count.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PasskeyState {
    /// They do.
    Active,
    /// Its counter went back: there is a copy of it, and no telling which is the user's.
    Copied,
}

/// Removes all of a user's passkeys; part of a disconnection.
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
