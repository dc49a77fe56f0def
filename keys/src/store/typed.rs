//! Reads and writes records inside a transaction.

use super::{Interrupted, Table, Transaction, decode, encode};

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
