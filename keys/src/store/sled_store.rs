//! The store on the local disk: sled 0.34.
//!
//! One process opens it at a time. A transaction is acknowledged after sled has flushed its log.
//! Neither `kill -9` nor a power cut can then undo a change that a user or Core was told of.

#![allow(clippy::disallowed_types, reason = "the store is what this crate may open")]

use super::{Change, Entry, Interrupted, Store, StoreFailure, Table, Transaction, Verdict};
use sled::transaction::{
    ConflictableTransactionError, TransactionError, Transactional, TransactionalTree, UnabortableTransactionError,
};
use std::ops::Bound;
use std::path::Path;

/// Sled's cache, in bytes. The keys of 100,000 users take about 60 MB on disk. The gateway caches
/// the keys in use, so the server seldom reads the same key twice.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;

/// How often sled writes values that need not be durable (the times of last use), in milliseconds.
const LAZY_FLUSH_MS: u64 = 2_000;

/// Tables as sled trees, in the order of [`Table::ALL`].
pub struct SledStore {
    database: sled::Db,
    trees: Vec<sled::Tree>,
}

impl SledStore {
    /// Opens or creates the store in this directory.
    ///
    /// # Errors
    /// The directory cannot be used, another process has the store open, or the store is damaged.
    #[allow(clippy::disallowed_types, reason = "the store's own files")]
    pub fn open(directory: &Path) -> Result<Self, StoreFailure> {
        let database = sled::Config::new()
            .path(directory)
            .cache_capacity(CACHE_BYTES)
            .mode(sled::Mode::LowSpace)
            .flush_every_ms(Some(LAZY_FLUSH_MS))
            .open()
            .map_err(failed)?;
        let trees = Table::ALL
            .iter()
            .map(|table| database.open_tree(table.name()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        Ok(Self { database, trees })
    }

    fn tree(&self, table: Table) -> Result<&sled::Tree, StoreFailure> {
        self.trees.get(position(table)).ok_or(StoreFailure::Absent)
    }
}

impl Store for SledStore {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFailure> {
        let value = self.tree(table)?.get(key).map_err(failed)?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<Entry>, StoreFailure> {
        let from = after.map_or(Bound::Included(prefix), Bound::Excluded);
        self.tree(table)?
            .range::<&[u8], _>((from, Bound::Unbounded))
            .take_while(|entry| entry.as_ref().map_or(true, |(key, _)| key.starts_with(prefix)))
            .take(count)
            .map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(failed))
            .collect()
    }

    fn transact(&self, change: &Change<'_>) -> Result<(), StoreFailure> {
        let outcome = self.trees.as_slice().transaction(|trees| match change(&SledTransaction { trees }) {
            Ok(Verdict::Commit) => Ok(()),
            Ok(Verdict::Abort) => Err(ConflictableTransactionError::Abort(None)),
            Err(Interrupted::Conflict) => Err(ConflictableTransactionError::Conflict),
            Err(Interrupted::Failure(failure)) => Err(ConflictableTransactionError::Abort(Some(failure))),
        });
        match outcome {
            Ok(()) => self.database.flush().map(|_| ()).map_err(failed),
            Err(TransactionError::Abort(None)) => Ok(()),
            Err(TransactionError::Abort(Some(failure))) => Err(failure),
            Err(TransactionError::Storage(error)) => Err(failed(error)),
        }
    }

    fn write_lazily(&self, table: Table, key: &[u8], value: Vec<u8>) -> Result<(), StoreFailure> {
        self.tree(table)?.insert(key, value).map_err(failed)?;
        Ok(())
    }
}

struct SledTransaction<'t> {
    trees: &'t [TransactionalTree],
}

impl SledTransaction<'_> {
    fn tree(&self, table: Table) -> Result<&TransactionalTree, Interrupted> {
        self.trees.get(position(table)).ok_or(Interrupted::Failure(StoreFailure::Absent))
    }
}

impl Transaction for SledTransaction<'_> {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Interrupted> {
        let value = self.tree(table)?.get(key).map_err(interrupted)?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn write(&self, table: Table, key: &[u8], value: Vec<u8>) -> Result<(), Interrupted> {
        self.tree(table)?.insert(key, value).map_err(interrupted)?;
        Ok(())
    }

    fn remove(&self, table: Table, key: &[u8]) -> Result<(), Interrupted> {
        self.tree(table)?.remove(key).map_err(interrupted)?;
        Ok(())
    }
}

fn position(table: Table) -> usize {
    Table::ALL.iter().position(|other| *other == table).unwrap_or(usize::MAX)
}

fn failed(error: sled::Error) -> StoreFailure {
    StoreFailure::Database(Box::new(error))
}

fn interrupted(error: UnabortableTransactionError) -> Interrupted {
    match error {
        UnabortableTransactionError::Conflict => Interrupted::Conflict,
        UnabortableTransactionError::Storage(error) => Interrupted::Failure(failed(error)),
    }
}
