//! Reads and writes records inside a transaction.

use super::{Interrupted, Store, StoreFailure, Table, Transaction, decode, encode};
use crate::identity::Username;

/// Reads a record inside a transaction.
pub(super) fn fetch<T: serde::de::DeserializeOwned>(
    transaction: &dyn Transaction,
    table: Table,
    key: &[u8],
) -> Result<Option<T>, Interrupted> {
    Ok(transaction.read(table, key)?.map(|value| decode(table, &value)).transpose()?)
}

/// Writes a record inside a transaction.
pub(super) fn put<T: serde::Serialize>(
    transaction: &dyn Transaction,
    table: Table,
    key: &[u8],
    record: &T,
) -> Result<(), Interrupted> {
    transaction.write(table, key, encode(table, record)?)
}

/// The key of a record of a user. With an empty `id`, the prefix of all of them: a username cannot
/// contain a zero byte, so it matches only this user's.
pub(super) fn key_of_users(username: &Username, id: &[u8]) -> Vec<u8> {
    [username.as_str().as_bytes(), &[0], id].concat()
}

/// The records of a user in a table with such keys, at most `max`.
pub(super) fn of_user<T: serde::de::DeserializeOwned>(
    store: &impl Store,
    table: Table,
    username: &Username,
    max: usize,
) -> Result<Vec<T>, StoreFailure> {
    let entries = store.scan(table, &key_of_users(username, &[]), None, max)?;
    entries.iter().map(|(_, value)| decode(table, value)).collect()
}
