//! The drives of users, and Core's number for each.
//!
//! The configuration gives a drive its id at the provider. Core gives it a number at registration,
//! and users' paths begin with that number. A known number means the same drive for ever: nothing
//! here changes one.

use serde::{Deserialize, Serialize};

use super::registry::{NotChanged, Registry};
use super::typed::{fetch, key_of_users, of_user, put};
use super::{Store, StoreFailure, Table, decode};
use crate::identity::Username;

/// Most drives of a user: a home, and the work directories of the user's groups.
pub const DRIVES_MAX: usize = 64;

/// Most digits in Core's number of a drive: 64 bits.
const CORE_ID_MAX: usize = 20;

/// A drive's number at Core: digits, the first of which is not 0.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct CoreDriveId(String);

/// Not a number that Core gives to drives.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a drive's number at Core is 1 to {CORE_ID_MAX} digits")]
pub struct NoCoreDriveId;

impl CoreDriveId {
    /// Parses a number.
    ///
    /// # Errors
    /// The text is not such a number.
    pub fn parse(text: &str) -> Result<Self, NoCoreDriveId> {
        let is_number = (1..=CORE_ID_MAX).contains(&text.len())
            && text.bytes().all(|digit| digit.is_ascii_digit())
            && !text.starts_with('0');
        if is_number { Ok(Self(text.to_owned())) } else { Err(NoCoreDriveId) }
    }

    /// The text.
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
    /// The owner.
    pub username: Username,
    /// The provider's id for the drive.
    pub id: String,
    /// Core's number; `None` until Core is known to have registered the drive.
    pub core_id: Option<CoreDriveId>,
    /// Whether Core was asked. Core may have registered the drive although its response was lost.
    pub asked: bool,
}

/// A change that the rules do not allow.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DriveRejection {
    /// The user has no such drive.
    #[error("this user has no drive of this id")]
    Unknown,
    /// Core gave this drive another number earlier.
    #[error("Core calls this drive by another number")]
    Renumbered,
    /// Core gave this number to another of the user's drives.
    #[error("Core has given this number to another drive of this user")]
    NumberTaken,
    /// The user already has a drive with this id.
    #[error("this user has a drive of this id already")]
    Exists,
    /// The user has the most drives allowed.
    #[error("this user has {DRIVES_MAX} drives, as many as there can be")]
    TooMany,
}

impl<S: Store> Registry<S> {
    /// The drives of a user.
    ///
    /// # Errors
    /// The store failed.
    pub fn drives(&self, username: &Username) -> Result<Vec<Drive>, StoreFailure> {
        of_user(self.store(), Table::Drives, username, DRIVES_MAX)
    }

    /// At most `count` drives that Core must still register, after the given one.
    ///
    /// # Errors
    /// The store failed.
    pub fn drives_to_register(&self, after: Option<&Drive>, count: usize) -> Result<Vec<Drive>, StoreFailure> {
        let after = after.map(|drive| key_of_users(&drive.username, drive.id.as_bytes()));
        let entries = self.store().scan(Table::DriveOutbox, b"", after.as_deref(), count)?;
        entries.iter().map(|(_, value)| decode(Table::DriveOutbox, value)).collect()
    }

    /// Records a user's drives, up to [`DRIVES_MAX`]. Returns how many were new.
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
                let key = key_of_users(username, id.as_bytes());
                if transaction.read(Table::Drives, &key)?.is_none() {
                    let drive = Drive { username: username.clone(), id: (*id).clone(), core_id: None, asked: false };
                    put(transaction, Table::Drives, &key, &drive)?;
                    put(transaction, Table::DriveOutbox, &key, &drive)?;
                }
            }
            Ok(added.len())
        })
    }

    /// Records a drive that its user creates at Core, with the number from Core.
    ///
    /// # Errors
    /// The id or number exists, the user has too many drives, or the store failed.
    pub fn add_made_drive(
        &self,
        username: &Username,
        id: &str,
        core_id: &CoreDriveId,
    ) -> Result<(), NotChanged<DriveRejection>> {
        let key = key_of_users(username, id.as_bytes());
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

    /// Removes a drive that its user deleted. Succeeds if there is no such drive.
    ///
    /// # Errors
    /// The store failed.
    pub fn forget_drive(&self, username: &Username, id: &str) -> Result<(), StoreFailure> {
        let key = key_of_users(username, id.as_bytes());
        self.write(|transaction| {
            transaction.remove(Table::Drives, &key)?;
            transaction.remove(Table::DriveOutbox, &key)?;
            Ok(())
        })
    }

    /// Records that Core will be asked to register a drive.
    ///
    /// # Errors
    /// There is no such drive, or the store failed.
    pub fn note_asked(&self, username: &Username, id: &str) -> Result<(), NotChanged<DriveRejection>> {
        let key = key_of_users(username, id.as_bytes());
        self.change(|transaction| {
            let Some(mut drive) = fetch::<Drive>(transaction, Table::Drives, &key)? else {
                return Ok(Err(DriveRejection::Unknown));
            };
            drive.asked = true;
            put(transaction, Table::Drives, &key, &drive)?;
            put(transaction, Table::DriveOutbox, &key, &drive)?;
            Ok(Ok(()))
        })
    }

    /// Records Core's number for a drive.
    ///
    /// # Errors
    /// There is no such drive, the drive has another number, another drive has this number, or the
    /// store failed.
    pub fn note_registered(
        &self,
        username: &Username,
        id: &str,
        core_id: &CoreDriveId,
    ) -> Result<(), NotChanged<DriveRejection>> {
        let key = key_of_users(username, id.as_bytes());
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
            transaction.remove(Table::DriveOutbox, &key)?;
            Ok(Ok(()))
        })
    }
}
