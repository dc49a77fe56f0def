//! The drives of users, and what Core calls each of them.
//!
//! The provider's own id of a drive comes from its configuration; Core gives a drive a number when
//! it is registered there, and users' paths begin with that number. A number, once known, means the
//! same drive for ever: nothing here changes one.

use serde::{Deserialize, Serialize};

use super::registry::{NotChanged, Registry};
use super::typed::{fetch, put};
use super::{Entry, Store, StoreFailure, Table, decode};
use crate::identity::Username;

/// Most drives of a user: a home, and work directories of the groups that somebody is in.
pub const DRIVES_MAX: usize = 64;

/// Most digits of Core's number of a drive: 64 bits.
const CORE_ID_MAX: usize = 20;

/// A drive's number at Core: digits, the first not 0.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct CoreDriveId(String);

/// Not a number as Core gives them to drives.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a drive's number at Core is 1 to {CORE_ID_MAX} digits")]
pub struct NoCoreDriveId;

impl CoreDriveId {
    /// Reads one.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, NoCoreDriveId> {
        let is_number = (1..=CORE_ID_MAX).contains(&text.len())
            && text.bytes().all(|digit| digit.is_ascii_digit())
            && !text.starts_with('0');
        if is_number { Ok(Self(text.to_owned())) } else { Err(NoCoreDriveId) }
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CoreDriveId {
    type Error = NoCoreDriveId;

    fn try_from(text: String) -> Result<Self, NoCoreDriveId> {
        Self::parse(&text)
    }
}

impl From<CoreDriveId> for String {
    fn from(id: CoreDriveId) -> Self {
        id.0
    }
}

/// A drive of a user.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Drive {
    /// Whose it is.
    pub username: Username,
    /// The provider's id of it.
    pub id: String,
    /// What Core calls it; `None`: Core has not been heard to have registered it.
    pub core_id: Option<CoreDriveId>,
    /// Whether Core has been asked: it may have registered the drive although nobody heard so.
    pub asked: bool,
}

/// A change that the rules do not allow.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DriveRejection {
    /// The user has no such drive.
    #[error("this user has no drive of this id")]
    Unknown,
    /// Core gave this drive another number before.
    #[error("Core calls this drive by another number")]
    Renumbered,
    /// Core gave this number to another of the user's drives.
    #[error("Core has given this number to another drive of this user")]
    NumberTaken,
    /// The user has a drive of this id already.
    #[error("this user has a drive of this id already")]
    Exists,
    /// The user has as many as there can be.
    #[error("this user has {DRIVES_MAX} drives, as many as there can be")]
    TooMany,
}

impl<S: Store> Registry<S> {
    /// The drives of a user.
    ///
    /// # Errors
    /// The store cannot tell.
    pub fn drives(&self, username: &Username) -> Result<Vec<Drive>, StoreFailure> {
        read(Table::Drives, &self.store().scan(Table::Drives, &prefix_of(username), None, DRIVES_MAX)?)
    }

    /// Drives that Core has to register yet: at most `count`, after that one.
    ///
    /// # Errors
    /// The store cannot tell.
    pub fn drives_to_register(&self, after: Option<&Drive>, count: usize) -> Result<Vec<Drive>, StoreFailure> {
        let after = after.map(|drive| key_of(&drive.username, &drive.id));
        read(Table::DriveErrands, &self.store().scan(Table::DriveErrands, b"", after.as_deref(), count)?)
    }

    /// Notes that a user has these drives; those beyond [`DRIVES_MAX`] are left out. Says how many
    /// were not known before.
    ///
    /// # Errors
    /// The store failed.
    pub fn add_drives(&self, username: &Username, ids: &[String]) -> Result<usize, StoreFailure> {
        let known = self.drives(username)?;
        let room = DRIVES_MAX.saturating_sub(known.len());
        let added: Vec<&String> =
            ids.iter().filter(|id| !known.iter().any(|drive| drive.id == **id)).take(room).collect();
        if added.is_empty() {
            return Ok(0);
        }
        self.write(|transaction| {
            for id in &added {
                let key = key_of(username, id);
                if transaction.read(Table::Drives, &key)?.is_none() {
                    let drive = Drive { username: username.clone(), id: (*id).clone(), core_id: None, asked: false };
                    put(transaction, Table::Drives, &key, &drive)?;
                    put(transaction, Table::DriveErrands, &key, &drive)?;
                }
            }
            Ok(added.len())
        })
    }

    /// Notes a drive that its user makes at Core, which has given it a number already.
    ///
    /// # Errors
    /// There is one of that id or number, there are too many, or the store failed.
    pub fn add_made_drive(
        &self,
        username: &Username,
        id: &str,
        core_id: &CoreDriveId,
    ) -> Result<(), NotChanged<DriveRejection>> {
        let key = key_of(username, id);
        let known = self.drives(username)?;
        self.change(|transaction| {
            if transaction.read(Table::Drives, &key)?.is_some() {
                return Ok(Err(DriveRejection::Exists));
            }
            if known.iter().any(|other| other.core_id.as_ref() == Some(core_id)) {
                return Ok(Err(DriveRejection::NumberTaken));
            }
            if known.len() >= DRIVES_MAX {
                return Ok(Err(DriveRejection::TooMany));
            }
            let core_id = Some(core_id.clone());
            let drive = Drive { username: username.clone(), id: id.to_owned(), core_id, asked: true };
            put(transaction, Table::Drives, &key, &drive)?;
            Ok(Ok(()))
        })
    }

    /// Forgets a drive, which its user has removed. One that is not known is forgotten.
    ///
    /// # Errors
    /// The store failed.
    pub fn forget_drive(&self, username: &Username, id: &str) -> Result<(), StoreFailure> {
        let key = key_of(username, id);
        self.write(|transaction| {
            transaction.remove(Table::Drives, &key)?;
            transaction.remove(Table::DriveErrands, &key)?;
            Ok(())
        })
    }

    /// Notes that Core is about to be asked to register a drive.
    ///
    /// # Errors
    /// There is no such drive, or the store failed.
    pub fn note_asked(&self, username: &Username, id: &str) -> Result<(), NotChanged<DriveRejection>> {
        let key = key_of(username, id);
        self.change(|transaction| {
            let Some(mut drive) = fetch::<Drive>(transaction, Table::Drives, &key)? else {
                return Ok(Err(DriveRejection::Unknown));
            };
            drive.asked = true;
            put(transaction, Table::Drives, &key, &drive)?;
            put(transaction, Table::DriveErrands, &key, &drive)?;
            Ok(Ok(()))
        })
    }

    /// Notes what Core calls a drive.
    ///
    /// # Errors
    /// There is no such drive, its number or its owner's other drives contradict, or the store
    /// failed.
    pub fn note_registered(
        &self,
        username: &Username,
        id: &str,
        core_id: &CoreDriveId,
    ) -> Result<(), NotChanged<DriveRejection>> {
        let key = key_of(username, id);
        let taken =
            self.drives(username)?.iter().any(|other| other.id != id && other.core_id.as_ref() == Some(core_id));
        self.change(|transaction| {
            let Some(mut drive) = fetch::<Drive>(transaction, Table::Drives, &key)? else {
                return Ok(Err(DriveRejection::Unknown));
            };
            if drive.core_id.as_ref().is_some_and(|known| known != core_id) {
                return Ok(Err(DriveRejection::Renumbered));
            }
            if taken {
                return Ok(Err(DriveRejection::NumberTaken));
            }
            drive.core_id = Some(core_id.clone());
            put(transaction, Table::Drives, &key, &drive)?;
            transaction.remove(Table::DriveErrands, &key)?;
            Ok(Ok(()))
        })
    }
}

fn read(table: Table, entries: &[Entry]) -> Result<Vec<Drive>, StoreFailure> {
    entries.iter().map(|(_, value)| decode(table, value)).collect()
}

/// A username cannot contain a zero byte, so no user's drives are among another's.
fn prefix_of(username: &Username) -> Vec<u8> {
    [username.as_str().as_bytes(), &[0]].concat()
}

fn key_of(username: &Username, id: &str) -> Vec<u8> {
    [username.as_str().as_bytes(), &[0], id.as_bytes()].concat()
}
