//! The passkeys of users: rules for their number and counters, each change in one transaction.
//!
//! This crate does not interpret the credential; the server's WebAuthn library does. A user's
//! passkeys end with the connection. A counter that does not increase shows a copy, and the passkey
//! is refused from then on.

pub use super::passkey_table::{Passkey, PasskeyState, Passkeys};
use super::passkey_table::{digest, read, write};
use super::registry::{NotChanged, Registry, read_user};
use super::typed::{fetch, put};
use super::{Store, StoreFailure, Table};
use crate::identity::Username;
use crate::time::Timestamp;

/// Most passkeys of a user: a phone, a computer or two, and security keys with a spare.
pub const PASSKEYS_MAX: usize = 8;

/// Longest credential id, in base64url characters. WebAuthn allows 1023 bytes.
const ID_MAX: usize = 1_364;

/// A change that the rules do not allow.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PasskeyRejection {
    /// The user is not connected.
    #[error("this UCloud user is not connected")]
    NotConnected,
    /// The user has the most passkeys allowed.
    #[error("this user has {PASSKEYS_MAX} passkeys: remove one first")]
    TooMany,
    /// A passkey with this id is enrolled, for any user.
    #[error("this passkey is enrolled already")]
    Exists,
    /// This user has no passkey with this id.
    #[error("this user has no such passkey")]
    NoSuchPasskey,
    /// The passkey is refused because its counter went back.
    #[error("this passkey was copied, and is refused")]
    Copied,
}

/// The changes that an assertion causes.
#[derive(Clone, Debug)]
pub struct Asserted {
    /// The passkey's credential id, base64url.
    pub id: String,
    /// The counter that came with the assertion.
    pub counter: u32,
    /// The credential to store, if the WebAuthn library changed it.
    pub credential: Option<serde_json::Value>,
    /// The time of the assertion.
    pub at: Timestamp,
}

impl<S: Store> Registry<S> {
    /// A user's passkeys; `None` if the user never had one.
    ///
    /// # Errors
    /// The store failed.
    pub fn passkeys(&self, username: &Username) -> Result<Option<Passkeys>, StoreFailure> {
        let value = self.store().read(Table::Passkeys, username.as_str().as_bytes())?;
        value.map(|value| super::decode(Table::Passkeys, &value)).transpose()
    }

    /// Adds a passkey of a connected user. `handle` is the user handle under which it was enrolled.
    ///
    /// # Errors
    /// The rules do not allow it, or the store failed.
    pub fn add_passkey(
        &self,
        username: &Username,
        handle: [u8; 16],
        passkey: &Passkey,
    ) -> Result<(), NotChanged<PasskeyRejection>> {
        let owned_at = digest(&passkey.id);
        self.change(|transaction| {
            if read_user(transaction, username)?.is_none_or(|user| user.connection.is_none()) {
                return Ok(Err(PasskeyRejection::NotConnected));
            }
            let mut theirs = read(transaction, username)?.unwrap_or(Passkeys { handle, passkeys: Vec::new() });
            if passkey.id.len() > ID_MAX || fetch::<Username>(transaction, Table::PasskeyIds, &owned_at)?.is_some() {
                return Ok(Err(PasskeyRejection::Exists));
            }
            if theirs.passkeys.len() >= PASSKEYS_MAX {
                return Ok(Err(PasskeyRejection::TooMany));
            }
            theirs.passkeys.push(passkey.clone());
            put(transaction, Table::PasskeyIds, &owned_at, username)?;
            write(transaction, username, &theirs)?;
            Ok(Ok(()))
        })
    }

    /// Records a verified assertion. If the counter has not increased, the passkey counts as copied
    /// from now on. A passkey whose counter was always 0 may keep it at 0.
    ///
    /// # Errors
    /// The passkey does not exist or is copied, or the store failed.
    pub fn use_passkey(&self, username: &Username, used: &Asserted) -> Result<(), NotChanged<PasskeyRejection>> {
        let is_good = self.change(|transaction| {
            let Some(mut theirs) = read(transaction, username)? else {
                return Ok(Err(PasskeyRejection::NoSuchPasskey));
            };
            let Some(passkey) = theirs.passkeys.iter_mut().find(|passkey| passkey.id == used.id) else {
                return Ok(Err(PasskeyRejection::NoSuchPasskey));
            };
            if passkey.state == PasskeyState::Copied {
                return Ok(Err(PasskeyRejection::Copied));
            }
            if passkey.counter > 0 && used.counter <= passkey.counter {
                passkey.state = PasskeyState::Copied;
            } else {
                passkey.counter = used.counter;
                passkey.last_used = Some(used.at);
                if let Some(credential) = &used.credential {
                    passkey.credential.clone_from(credential);
                }
            }
            let is_good = passkey.state == PasskeyState::Active;
            write(transaction, username, &theirs)?;
            Ok(Ok(is_good))
        })?;
        if is_good { Ok(()) } else { Err(NotChanged::Rejected(PasskeyRejection::Copied)) }
    }

    /// Records that the WebAuthn library found a counter that had not increased.
    ///
    /// # Errors
    /// The passkey does not exist, or the store failed.
    pub fn mark_passkey_copied(&self, username: &Username, id: &str) -> Result<(), NotChanged<PasskeyRejection>> {
        self.change(|transaction| {
            let Some(mut theirs) = read(transaction, username)? else {
                return Ok(Err(PasskeyRejection::NoSuchPasskey));
            };
            let Some(passkey) = theirs.passkeys.iter_mut().find(|passkey| passkey.id == id) else {
                return Ok(Err(PasskeyRejection::NoSuchPasskey));
            };
            passkey.state = PasskeyState::Copied;
            write(transaction, username, &theirs)?;
            Ok(Ok(()))
        })
    }

    /// Removes a passkey of a user.
    ///
    /// # Errors
    /// The user has no passkey with that id, or the store failed.
    pub fn remove_passkey(&self, username: &Username, id: &str) -> Result<(), NotChanged<PasskeyRejection>> {
        self.change(|transaction| {
            let Some(mut theirs) = read(transaction, username)? else {
                return Ok(Err(PasskeyRejection::NoSuchPasskey));
            };
            let before = theirs.passkeys.len();
            theirs.passkeys.retain(|passkey| passkey.id != id);
            if theirs.passkeys.len() == before {
                return Ok(Err(PasskeyRejection::NoSuchPasskey));
            }
            transaction.remove(Table::PasskeyIds, &digest(id))?;
            write(transaction, username, &theirs)?;
            Ok(Ok(()))
        })
    }
}
