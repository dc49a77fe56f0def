//! Connections between users and accounts, and their keys: the rules, each change in one
//! transaction.
//!
//! A username maps to one uid and a uid to one username. A mapping changes only by a disconnection
//! (protocol, section 6). This module does not authenticate its caller: the server has done that.

use std::cell::RefCell;

use super::passkey_table::forget_passkeys;
use super::records::{Connection, CoreMessage, OutboxEntry, User};
use super::typed::{fetch, key_of_users, put};
use super::{Interrupted, Store, StoreFailure, Table, Transaction, Verdict, decode, encode};
use crate::identity::{KeyId, Uid, Username};
use crate::keyring::{KEYS_V1_MAX, KeyRecord, KeyState, Protocol};
use crate::time::Timestamp;

/// Most keys on record for a user, including revoked ones: a browser or two on each of several
/// devices. A new key replaces the oldest key that is not valid any more.
pub const KEYS_MAX: usize = 16;

/// Most usernames that share a uid, where sharing is allowed (development only).
const SHARED_MAX: usize = 64;

/// The counter with the number of the latest entry.
const OUTBOX_COUNTER: &[u8] = b"errand";

/// A change that the rules do not allow.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RegistryRejection {
    /// The user is not connected, or not to the caller's account.
    #[error("this UCloud user is not connected to this account")]
    NotConnected,
    /// The user is connected to another uid. Run `connect remove` first.
    #[error("this UCloud user is already connected to another account")]
    UserMappedOtherwise,
    /// The uid is connected to another user. Run `connect remove` first.
    #[error("this account is already connected to another UCloud user")]
    AccountMappedOtherwise,
    /// All of the user's keys are in use.
    #[error("this user has {KEYS_MAX} keys in use (of version 1, {KEYS_V1_MAX}): revoke one first")]
    TooManyKeys,
    /// Neither Core nor the site has confirmed the name.
    #[error(
        "UCloud has not confirmed this name yet: press Connect at UCloud, in the browser that shows the connection page"
    )]
    Unconfirmed,
    /// A key of this id exists.
    #[error("this user already has a key of this id")]
    KeyExists,
    /// No key of this id.
    #[error("this user has no key of this id")]
    NoSuchKey,
}

/// Why a change was not made: rejected, or the store failed.
#[derive(Debug, thiserror::Error)]
pub enum NotChanged<R: std::error::Error + 'static> {
    /// The rules do not allow it.
    #[error(transparent)]
    Rejected(R),
    /// The store failed.
    #[error(transparent)]
    Failed(#[from] StoreFailure),
}

/// The party that confirms that the account may connect a UCloud name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Naming {
    /// The ticket: Core named the user to the browser that offered the key, or did not.
    ByTicket,
    /// The site's user mapper named the account.
    BySite,
}

/// Whether users may share an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sharing {
    /// One user for each account: the rule.
    OneUser,
    /// Several users for each account: only with static instances, for development.
    SeveralUsers,
}

/// The authority for a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Authority {
    /// The account with this uid, for its own connection and keys.
    Account(Uid),
    /// The administrator of this machine.
    Administrator,
    /// Core, which may end connections and nothing else. It is then not told of the end.
    Core,
}

/// A connection to make, with its first or another key.
#[derive(Clone, Debug)]
pub struct NewConnection {
    /// The key to activate; its owner is the user.
    pub key: KeyRecord,
    /// The account's uid.
    pub uid: Uid,
    /// The account's login name.
    pub account: String,
    /// The public half of its instance key.
    pub instance_key: String,
    /// Whether users may share an account.
    pub sharing: Sharing,
    /// The party that confirms the name.
    pub naming: Naming,
}

/// A connection that has ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ended {
    /// The account's uid.
    pub uid: Uid,
    /// The keys that were active until then.
    pub kids: Vec<KeyId>,
}

/// The users and their keys, in a store.
pub struct Registry<S> {
    store: S,
}

impl<S: Store> Registry<S> {
    /// The registry in this store.
    pub const fn new(store: S) -> Self {
        Self { store }
    }

    /// The store itself.
    pub(super) const fn store(&self) -> &S {
        &self.store
    }

    /// The record of a user.
    ///
    /// # Errors
    /// The store failed.
    pub fn user(&self, username: &Username) -> Result<Option<User>, StoreFailure> {
        self.record(Table::Users, username.as_str().as_bytes())
    }

    /// At most `count` users, connected or not, whose names come after the given one.
    ///
    /// # Errors
    /// The store failed.
    pub fn users_after(&self, after: Option<&Username>, count: usize) -> Result<Vec<User>, StoreFailure> {
        let after = after.map(|username| username.as_str().as_bytes());
        let entries = self.store.scan(Table::Users, b"", after, count)?;
        entries.iter().map(|(_, value)| decode(Table::Users, value)).collect()
    }

    /// The users connected to a uid: one, or several with [`Sharing::SeveralUsers`].
    ///
    /// # Errors
    /// The store failed.
    pub fn usernames(&self, uid: Uid) -> Result<Vec<Username>, StoreFailure> {
        Ok(self.record(Table::Uids, &uid.0.to_be_bytes())?.unwrap_or_default())
    }

    /// A user's key with this id, in any state.
    ///
    /// # Errors
    /// The store failed.
    pub fn key(&self, username: &Username, kid: &KeyId) -> Result<Option<KeyRecord>, StoreFailure> {
        self.record(Table::Keys, &key_of(username, kid))
    }

    /// All keys of a user, oldest first.
    ///
    /// # Errors
    /// The store failed.
    pub fn keys(&self, user: &User) -> Result<Vec<KeyRecord>, StoreFailure> {
        user.kids.iter().filter_map(|kid| self.key(&user.username, kid).transpose()).collect()
    }

    /// A user's valid keys of version 1.
    ///
    /// # Errors
    /// The store failed.
    pub fn keys_v1(&self, username: &Username, now: Timestamp) -> Result<Vec<KeyRecord>, StoreFailure> {
        let Some(user) = self.user(username)? else {
            return Ok(Vec::new());
        };
        let mut keys = self.keys(&user)?;
        keys.retain(|key| key.protocol == Protocol::V1 && key.state == KeyState::Active && now < key.expires);
        keys.truncate(KEYS_V1_MAX);
        Ok(keys)
    }

    /// The hour in which a key was last used.
    ///
    /// # Errors
    /// The store failed.
    pub fn last_use(&self, username: &Username, kid: &KeyId) -> Result<Option<Timestamp>, StoreFailure> {
        self.record(Table::Uses, &key_of(username, kid))
    }

    /// Records the time of a key's use, not durably.
    ///
    /// # Errors
    /// The store failed.
    pub fn note_use(&self, username: &Username, kid: &KeyId, at: Timestamp) -> Result<(), StoreFailure> {
        self.store.write_lazily(Table::Uses, &key_of(username, kid), encode(Table::Uses, &at)?)
    }

    /// Adds a key of a user who is connected to that uid.
    ///
    /// # Errors
    /// The rules do not allow it, or the store failed.
    pub fn add_key(&self, uid: Uid, key: &KeyRecord) -> Result<(), NotChanged<RegistryRejection>> {
        self.change(|transaction| {
            let Some(mut user) = read_user(transaction, &key.owner)? else {
                return Ok(Err(RegistryRejection::NotConnected));
            };
            if user.connection.as_ref().is_none_or(|connection| connection.uid != uid) {
                return Ok(Err(RegistryRejection::NotConnected));
            }
            if let Err(rejection) = insert_key(transaction, &mut user, key)? {
                return Ok(Err(rejection));
            }
            put(transaction, Table::Users, user.username.as_str().as_bytes(), &user)?;
            Ok(Ok(()))
        })
    }

    /// Revokes a key. Succeeds if the key is revoked already.
    ///
    /// # Errors
    /// The rules do not allow it, or the store failed.
    pub fn revoke_key(
        &self,
        authority: Authority,
        username: &Username,
        kid: &KeyId,
    ) -> Result<(), NotChanged<RegistryRejection>> {
        self.change(|transaction| {
            let user = read_user(transaction, username)?;
            let may = match authority {
                Authority::Account(uid) => {
                    user.and_then(|user| user.connection).is_some_and(|connection| connection.uid == uid)
                }
                Authority::Administrator => user.is_some(),
                Authority::Core => false,
            };
            if !may {
                return Ok(Err(RegistryRejection::NotConnected));
            }
            let Some(mut key) = fetch::<KeyRecord>(transaction, Table::Keys, &key_of(username, kid))? else {
                return Ok(Err(RegistryRejection::NoSuchKey));
            };
            key.state = KeyState::Revoked;
            put(transaction, Table::Keys, &key_of(username, kid), &key)?;
            Ok(Ok(()))
        })
    }

    /// Ends a user's connection: removes the mapping and the passkeys, revokes every key, and
    /// records an entry to Core.
    ///
    /// # Errors
    /// The rules do not allow it, or the store failed.
    pub fn disconnect(
        &self,
        authority: Authority,
        username: &Username,
    ) -> Result<Ended, NotChanged<RegistryRejection>> {
        self.change(|transaction| {
            let Some(mut user) = read_user(transaction, username)? else {
                return Ok(Err(RegistryRejection::NotConnected));
            };
            let Some(connection) = user.connection.take() else {
                return Ok(Err(RegistryRejection::NotConnected));
            };
            if matches!(authority, Authority::Account(uid) if uid != connection.uid) {
                return Ok(Err(RegistryRejection::NotConnected));
            }
            let ended = end(transaction, &user, connection.uid)?;
            if authority == Authority::Core {
                transaction.remove(Table::Outbox, username.as_str().as_bytes())?;
            } else {
                queue_message(transaction, username, CoreMessage::Clear)?;
            }
            Ok(Ok(ended))
        })
    }

    /// At most `count` entries to Core, of users whose names come after the given one.
    ///
    /// # Errors
    /// The store failed.
    pub fn outbox_after(&self, after: Option<&Username>, count: usize) -> Result<Vec<OutboxEntry>, StoreFailure> {
        let after = after.map(|username| username.as_str().as_bytes());
        let entries = self.store.scan(Table::Outbox, b"", after, count)?;
        entries.iter().map(|(_, value)| decode(Table::Outbox, value)).collect()
    }

    /// The entry to Core for a user.
    ///
    /// # Errors
    /// The store failed.
    pub fn outbox_entry(&self, username: &Username) -> Result<Option<OutboxEntry>, StoreFailure> {
        self.record(Table::Outbox, username.as_str().as_bytes())
    }

    /// Records that Core was told. Keeps an entry that replaced this one meanwhile.
    ///
    /// # Errors
    /// The store failed.
    pub fn finish_entry(&self, done: &OutboxEntry) -> Result<(), StoreFailure> {
        let name = done.username.as_str().as_bytes();
        self.write(|transaction| {
            let entry: Option<OutboxEntry> = fetch(transaction, Table::Outbox, name)?;
            if entry.is_none_or(|entry| entry.number != done.number) {
                return Ok(());
            }
            transaction.remove(Table::Outbox, name)?;
            if let Some(mut user) = read_user(transaction, &done.username)?
                && let Some(connection) = user.connection.as_mut()
                && done.message != CoreMessage::Clear
            {
                connection.core_told = true;
                put(transaction, Table::Users, name, &user)?;
            }
            Ok(())
        })
    }

    pub(super) fn record<T: serde::de::DeserializeOwned>(
        &self,
        table: Table,
        key: &[u8],
    ) -> Result<Option<T>, StoreFailure> {
        self.store.read(table, key)?.map(|value| decode(table, &value)).transpose()
    }

    /// Runs one transaction that no rule can reject.
    pub(super) fn write<T>(
        &self,
        change: impl Fn(&dyn Transaction) -> Result<T, Interrupted>,
    ) -> Result<T, StoreFailure> {
        match self.change(|transaction| change(transaction).map(Ok::<T, std::convert::Infallible>)) {
            Ok(done) => Ok(done),
            Err(NotChanged::Failed(failure)) => Err(failure),
            Err(NotChanged::Rejected(never)) => match never {},
        }
    }

    /// Runs one transaction: `Ok(Ok(_))` commits; `Ok(Err(_))` rejects and changes nothing.
    pub(super) fn change<T, R: std::error::Error + 'static>(
        &self,
        change: impl Fn(&dyn Transaction) -> Result<Result<T, R>, Interrupted>,
    ) -> Result<T, NotChanged<R>> {
        let outcome = RefCell::new(None);
        self.store.transact(&|transaction| {
            let result = change(transaction)?;
            let verdict = if result.is_ok() { Verdict::Commit } else { Verdict::Abort };
            outcome.replace(Some(result));
            Ok(verdict)
        })?;
        match outcome.into_inner() {
            Some(result) => result.map_err(NotChanged::Rejected),
            None => Err(NotChanged::Failed(StoreFailure::Absent)),
        }
    }
}

/// Revokes the keys of a user whose connection was removed, removes the mapping and the passkeys,
/// and writes the user back.
fn end(transaction: &dyn Transaction, user: &User, uid: Uid) -> Result<Ended, Interrupted> {
    let username = &user.username;
    let mut kids = Vec::new();
    for kid in &user.kids {
        if let Some(mut key) = fetch::<KeyRecord>(transaction, Table::Keys, &key_of(username, kid))?
            && key.state == KeyState::Active
        {
            key.state = KeyState::Revoked;
            put(transaction, Table::Keys, &key_of(username, kid), &key)?;
            kids.push(*kid);
        }
    }
    put(transaction, Table::Users, username.as_str().as_bytes(), user)?;
    forget_passkeys(transaction, username)?;
    let mut usernames: Vec<Username> = fetch(transaction, Table::Uids, &uid.0.to_be_bytes())?.unwrap_or_default();
    usernames.retain(|other| other != username);
    if usernames.is_empty() {
        transaction.remove(Table::Uids, &uid.0.to_be_bytes())?;
    } else {
        put(transaction, Table::Uids, &uid.0.to_be_bytes(), &usernames)?;
    }
    Ok(Ended { uid, kids })
}

/// Whether Core or the site has confirmed that the account may connect the name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Confirmation {
    Given,
    Missing,
}

/// Connects a user, or adds a key to a connection, as part of an approval. A confirmed connection
/// replaces one that is not; returns the connection that was ended.
pub(super) fn connect(
    transaction: &dyn Transaction,
    new: &NewConnection,
    confirmation: Confirmation,
) -> Result<Result<Option<Ended>, RegistryRejection>, Interrupted> {
    let username = &new.key.owner;
    let mut user = read_user(transaction, username)?.unwrap_or_else(|| User {
        username: username.clone(),
        connection: None,
        kids: Vec::new(),
    });
    let mut usernames: Vec<Username> = fetch(transaction, Table::Uids, &new.uid.0.to_be_bytes())?.unwrap_or_default();
    let shared_max = if new.sharing == Sharing::SeveralUsers { SHARED_MAX } else { 1 };
    let is_confirmed = confirmation == Confirmation::Given;
    let displaced = match &user.connection {
        Some(connection) if connection.uid != new.uid && is_confirmed && !connection.is_confirmed => {
            let uid = connection.uid;
            user.connection = None;
            Some(end(transaction, &user, uid)?)
        }
        Some(_) | None => None,
    };
    match user.connection.as_mut() {
        Some(connection) if connection.uid != new.uid => return Ok(Err(RegistryRejection::UserMappedOtherwise)),
        Some(connection) => {
            connection.account.clone_from(&new.account);
            connection.instance_key.clone_from(&new.instance_key);
            connection.renewed = Some(new.key.created);
            connection.is_confirmed |= is_confirmed;
            if connection.over.take().is_some() {
                connection.core_told = false;
                queue_message(transaction, username, CoreMessage::Approve)?;
            }
        }
        None if usernames.len() >= shared_max => return Ok(Err(RegistryRejection::AccountMappedOtherwise)),
        None if !is_confirmed => return Ok(Err(RegistryRejection::Unconfirmed)),
        None => {
            user.connection = Some(Connection {
                uid: new.uid,
                account: new.account.clone(),
                since: new.key.created,
                instance_key: new.instance_key.clone(),
                core_told: false,
                renewed: None,
                over: None,
                is_confirmed,
            });
            usernames.push(username.clone());
            put(transaction, Table::Uids, &new.uid.0.to_be_bytes(), &usernames)?;
            queue_message(transaction, username, CoreMessage::Approve)?;
        }
    }
    if let Err(rejection) = insert_key(transaction, &mut user, &new.key)? {
        return Ok(Err(rejection));
    }
    put(transaction, Table::Users, username.as_str().as_bytes(), &user)?;
    Ok(Ok(displaced))
}

/// Adds an active key. If there are too many, it replaces the oldest key that is not valid any
/// more.
fn insert_key(
    transaction: &dyn Transaction,
    user: &mut User,
    key: &KeyRecord,
) -> Result<Result<(), RegistryRejection>, Interrupted> {
    let (mut active_v1, mut silent) = (0, None);
    for kid in &user.kids {
        if *kid == key.kid {
            return Ok(Err(RegistryRejection::KeyExists));
        }
        let other: Option<KeyRecord> = fetch(transaction, Table::Keys, &key_of(&user.username, kid))?;
        let speaks = other.as_ref().is_some_and(|other| other.state == KeyState::Active && key.created < other.expires);
        if !speaks {
            silent = silent.or(Some(*kid));
        } else if other.is_some_and(|other| other.protocol == Protocol::V1) {
            active_v1 += 1;
        }
    }
    if key.protocol == Protocol::V1 && active_v1 >= KEYS_V1_MAX {
        return Ok(Err(RegistryRejection::TooManyKeys));
    }
    if user.kids.len() >= KEYS_MAX {
        let Some(silent) = silent else {
            return Ok(Err(RegistryRejection::TooManyKeys));
        };
        user.kids.retain(|kid| *kid != silent);
        transaction.remove(Table::Keys, &key_of(&user.username, &silent))?;
        transaction.remove(Table::Uses, &key_of(&user.username, &silent))?;
    }
    user.kids.push(key.kid);
    put(transaction, Table::Keys, &key_of(&user.username, &key.kid), key)?;
    Ok(Ok(()))
}

/// Records a message to Core. It replaces one that was not sent yet.
pub(super) fn queue_message(
    transaction: &dyn Transaction,
    username: &Username,
    message: CoreMessage,
) -> Result<(), Interrupted> {
    let name = username.as_str().as_bytes();
    let number: u64 = fetch::<u64>(transaction, Table::Counters, OUTBOX_COUNTER)?.unwrap_or(0).saturating_add(1);
    put(transaction, Table::Counters, OUTBOX_COUNTER, &number)?;
    put(transaction, Table::Outbox, name, &OutboxEntry { username: username.clone(), message, number })
}

pub(super) fn read_user(transaction: &dyn Transaction, username: &Username) -> Result<Option<User>, Interrupted> {
    fetch(transaction, Table::Users, username.as_str().as_bytes())
}

fn key_of(username: &Username, kid: &KeyId) -> Vec<u8> {
    key_of_users(username, kid.as_bytes())
}
