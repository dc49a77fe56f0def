//! The key store: users, keys, tickets, and messages that Core must still receive.
//!
//! [`Store`] is the interface to a database, with no more than etcd could provide. [`registry`]
//! holds the rules on top of it. Every change is one transaction and durable before it is
//! acknowledged. An unreadable record is a failure, never an absent record, and a request that
//! cannot be decided is refused (P8).

mod confirmation;
pub mod drives;
mod expiry;
pub mod jobs;
pub mod licences;
pub mod links;
mod passkey_table;
pub mod passkeys;
pub mod projects;
pub mod records;
pub mod registry;
pub mod seal;
#[cfg(feature = "store")]
pub mod seal_file;
#[cfg(feature = "store")]
pub mod sealed_store;
#[cfg(feature = "store")]
pub mod sled_store;
pub mod tasks;
mod ticket_limits;
pub mod tickets;
mod typed;
pub mod usage;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version of every record written: its first byte.
const RECORD_VERSION: u8 = 1;

/// The tables, each with its kind of key and record.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Table {
    /// By username: [`records::User`].
    Users,
    /// By uid, big-endian: the usernames mapped to it.
    Uids,
    /// By username, a zero byte and key id: [`crate::keyring::KeyRecord`].
    Keys,
    /// By the same: when a gateway last asked for the key. Not written durably.
    Uses,
    /// By ticket hash: [`records::Ticket`].
    Tickets,
    /// By initiator, age and hash: the ticket hash.
    TicketsBySender,
    /// By place of origin, age and hash: the ticket hash.
    TicketsByAge,
    /// By code: the ticket hash.
    Codes,
    /// By username: [`records::OutboxEntry`].
    Outbox,
    /// By name: a number that only grows, or the number of tickets.
    Counters,
    /// By username: [`passkeys::Passkeys`].
    Passkeys,
    /// By the digest of a passkey's credential id: its owner.
    PasskeyIds,
    /// By username, a zero byte and the provider's id of the drive: [`drives::Drive`].
    Drives,
    /// By the same, until Core has registered the drive: the same.
    DriveOutbox,
    /// By its number, big-endian: [`tasks::Task`].
    Tasks,
    /// By Core's id, a zero byte and the uid, big-endian: [`jobs::Job`].
    Jobs,
    /// By name: [`links::Link`].
    Links,
    /// By username, a zero byte and Core's id of the link: the same.
    LinkIds,
    /// By username, a zero byte and Core's id of the licence: [`licences::LicenceRecord`].
    Licences,
    /// By the remainder of Core's id, big-endian: [`jobs::EndedJob`].
    EndedJobs,
    /// By Core's id: [`projects::ProjectRecord`].
    Projects,
    /// By Slurm's number and the uid, both big-endian: [`usage::JobUsage`].
    Usages,
    /// By category, a zero byte, the owner's kind and name: [`usage::UsageTotal`].
    UsageTotals,
    /// By username, a zero byte and the provider's id of the drive: [`usage::DriveUsage`].
    DriveUsages,
}

impl Table {
    /// Every table. An implementation keeps them apart.
    pub const ALL: [Self; 24] = [
        Self::Users,
        Self::Uids,
        Self::Keys,
        Self::Uses,
        Self::Tickets,
        Self::TicketsBySender,
        Self::TicketsByAge,
        Self::Codes,
        Self::Outbox,
        Self::Counters,
        Self::Passkeys,
        Self::PasskeyIds,
        Self::Drives,
        Self::DriveOutbox,
        Self::Tasks,
        Self::Jobs,
        Self::Links,
        Self::LinkIds,
        Self::Licences,
        Self::EndedJobs,
        Self::Projects,
        Self::Usages,
        Self::UsageTotals,
        Self::DriveUsages,
    ];

    /// Whether the seal covers it ([`seal`]): every table except the one that is not written
    /// durably.
    #[must_use]
    pub const fn is_sealed(self) -> bool {
        !matches!(self, Self::Uses)
    }

    /// The table's name in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Uids => "uids",
            Self::Keys => "keys",
            Self::Uses => "uses",
            Self::Tickets => "tickets",
            Self::TicketsBySender => "tickets_by_sender",
            Self::TicketsByAge => "tickets_by_age",
            Self::Codes => "codes",
            Self::Outbox => "errands",
            Self::Counters => "counters",
            Self::Passkeys => "passkeys",
            Self::PasskeyIds => "passkey_ids",
            Self::Drives => "drives",
            Self::DriveOutbox => "drive_errands",
            Self::Tasks => "tasks",
            Self::Jobs => "jobs",
            Self::Links => "links",
            Self::LinkIds => "link_ids",
            Self::Licences => "licences",
            Self::EndedJobs => "ended_jobs",
            Self::Projects => "projects",
            Self::Usages => "usages",
            Self::UsageTotals => "usage_totals",
            Self::DriveUsages => "drive_usages",
        }
    }
}

/// A database: ordered tables of bytes, with transactions over all of them.
pub trait Store: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// The database cannot be read.
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFailure>;

    /// At most `count` entries whose keys begin with `prefix` and come after `after`, in key order.
    ///
    /// # Errors
    /// The database cannot be read.
    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, count: usize)
    -> Result<Vec<Entry>, StoreFailure>;

    /// Applies all writes of `change` or none, isolated from other transactions, and durable on
    /// return. `change` may run more than once.
    ///
    /// # Errors
    /// The database failed. Whether the change was applied is then unknown.
    fn transact(&self, change: &Change<'_>) -> Result<(), StoreFailure>;

    /// Writes one value, which is durable some time later.
    ///
    /// # Errors
    /// The database failed.
    fn write_lazily(&self, table: Table, key: &[u8], value: Vec<u8>) -> Result<(), StoreFailure>;
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// The body of a transaction.
pub type Change<'c> = dyn Fn(&dyn Transaction) -> Result<Verdict, Interrupted> + 'c;

/// Whether a transaction's writes are applied.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Apply them.
    Commit,
    /// Discard them.
    Abort,
}

/// Reads and writes inside a transaction.
pub trait Transaction {
    /// The value of a key, including this transaction's own writes.
    ///
    /// # Errors
    /// The caller must return it to [`Store::transact`].
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Interrupted>;

    /// Sets the value of a key.
    ///
    /// # Errors
    /// The caller must return it to [`Store::transact`].
    fn write(&self, table: Table, key: &[u8], value: Vec<u8>) -> Result<(), Interrupted>;

    /// Removes a key.
    ///
    /// # Errors
    /// The caller must return it to [`Store::transact`].
    fn remove(&self, table: Table, key: &[u8]) -> Result<(), Interrupted>;
}

/// Why a transaction stops.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    /// A concurrent transaction won; the database runs this one again.
    #[error("another transaction was first")]
    Conflict,
    /// The database failed.
    #[error(transparent)]
    Failure(#[from] StoreFailure),
}

/// A failure of the store. Nothing is decided or forwarded.
#[derive(Debug, thiserror::Error)]
pub enum StoreFailure {
    /// This program was built without a store.
    #[error("this program was built without a key store")]
    Absent,
    /// The database reports an error.
    #[error("the key store cannot be read or written")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The change could not be sealed, so it is not acknowledged.
    #[error("the seal of the key store cannot be written")]
    Seal(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A record of an unknown version.
    #[error("a record in table {table} has version {version}, which this program does not know")]
    Version {
        /// The table's name.
        table: &'static str,
        /// The record's first byte.
        version: u8,
    },
    /// A record that cannot be parsed.
    #[error("a record in table {table} is damaged")]
    Damaged {
        /// The table's name.
        table: &'static str,
    },
}

/// Writes a record: its version, then JSON.
fn encode<T: Serialize>(table: Table, record: &T) -> Result<Vec<u8>, StoreFailure> {
    let mut bytes = vec![RECORD_VERSION];
    serde_json::to_writer(&mut bytes, record).map_err(|_| StoreFailure::Damaged { table: table.name() })?;
    Ok(bytes)
}

/// Reads a record.
fn decode<T: DeserializeOwned>(table: Table, bytes: &[u8]) -> Result<T, StoreFailure> {
    match bytes.split_first() {
        Some((&RECORD_VERSION, json)) => {
            serde_json::from_slice(json).map_err(|_| StoreFailure::Damaged { table: table.name() })
        }
        Some((&version, _)) => Err(StoreFailure::Version { table: table.name(), version }),
        None => Err(StoreFailure::Damaged { table: table.name() }),
    }
}

/// A store that refuses every access, for a program built without one.
#[derive(Clone, Copy, Debug)]
pub struct NoStore;

impl Store for NoStore {
    fn read(&self, _: Table, _: &[u8]) -> Result<Option<Vec<u8>>, StoreFailure> {
        Err(StoreFailure::Absent)
    }

    fn scan(&self, _: Table, _: &[u8], _: Option<&[u8]>, _: usize) -> Result<Vec<Entry>, StoreFailure> {
        Err(StoreFailure::Absent)
    }

    fn transact(&self, _: &Change<'_>) -> Result<(), StoreFailure> {
        Err(StoreFailure::Absent)
    }

    fn write_lazily(&self, _: Table, _: &[u8], _: Vec<u8>) -> Result<(), StoreFailure> {
        Err(StoreFailure::Absent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_version_or_none_is_a_failure() {
        let stored = encode(Table::Users, &7u32).unwrap();
        assert_eq!(stored, b"\x017");
        assert_eq!(decode::<u32>(Table::Users, &stored).unwrap(), 7);
        let check = |bytes: &[u8], want: &str| {
            assert_eq!(decode::<u32>(Table::Users, bytes).unwrap_err().to_string(), want);
        };
        check(b"\x027", "a record in table users has version 2, which this program does not know");
        check(b"\x01seven", "a record in table users is damaged");
        check(b"\x01", "a record in table users is damaged");
        check(b"", "a record in table users is damaged");
    }

    #[test]
    fn no_store_refuses_everything() {
        assert!(NoStore.read(Table::Keys, b"k").is_err());
        assert!(NoStore.scan(Table::Keys, b"", None, 1).is_err());
        assert!(NoStore.transact(&|_| Ok(Verdict::Commit)).is_err());
        assert!(NoStore.write_lazily(Table::Keys, b"k", Vec::new()).is_err());
    }
}
