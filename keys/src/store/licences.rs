//! Licences of users: which product each of Core's numbers stands for.
//!
//! The user's signed request names the product; Core's number only stands for it afterwards. Core's
//! numbers are guessable, so each user has numbers apart.

use serde::{Deserialize, Serialize};

use super::registry::{NotChanged, Registry};
use super::typed::{fetch, key_of_users, of_user, put};
use super::{Store, StoreFailure, Table};
use crate::identity::{CoreResourceId, Uid, Username};
use crate::time::Timestamp;

/// Most licences of a user.
pub const LICENCES_MAX: usize = 32;

/// A licence that a user has signed for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LicenceRecord {
    /// The user who signed its creation.
    pub username: Username,
    /// The user's account at that time.
    pub uid: Uid,
    /// Core's number.
    pub core_id: CoreResourceId,
    /// The name of the product.
    pub product: String,
    /// When it was recorded.
    pub created: Timestamp,
}

/// A change that the rules do not allow.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LicenceRejection {
    /// Core gave this number to a licence of another product.
    #[error("UCloud has given this number to another licence of this user")]
    NumberTaken,
    /// The user has the most licences allowed.
    #[error("this user has {LICENCES_MAX} licences, as many as there can be")]
    TooMany,
}

impl<S: Store> Registry<S> {
    /// The licences of a user.
    ///
    /// # Errors
    /// The store failed.
    pub fn licences(&self, username: &Username) -> Result<Vec<LicenceRecord>, StoreFailure> {
        of_user(self.store(), Table::Licences, username, LICENCES_MAX)
    }

    /// Records a licence. A repeat with the same number and product replaces the record.
    ///
    /// # Errors
    /// The number is another licence's, there are too many, or the store failed.
    pub fn add_licence(&self, licence: &LicenceRecord) -> Result<(), NotChanged<LicenceRejection>> {
        let LicenceRecord { username, core_id, product, .. } = licence;
        let own = self.licences(username)?;
        let key = key_of_users(username, core_id.as_str().as_bytes());
        self.change(|transaction| {
            match fetch::<LicenceRecord>(transaction, Table::Licences, &key)? {
                Some(known) if known.product != *product => return Ok(Err(LicenceRejection::NumberTaken)),
                None if own.len() >= LICENCES_MAX => return Ok(Err(LicenceRejection::TooMany)),
                Some(_) | None => {}
            }
            put(transaction, Table::Licences, &key, licence)?;
            Ok(Ok(()))
        })
    }

    /// Removes a user's licence by its number. Returns the product; `None` if there is none.
    ///
    /// # Errors
    /// The store failed.
    pub fn forget_licence(
        &self,
        username: &Username,
        core_id: &CoreResourceId,
    ) -> Result<Option<String>, StoreFailure> {
        self.write(|transaction| {
            let key = key_of_users(username, core_id.as_str().as_bytes());
            let Some(licence) = fetch::<LicenceRecord>(transaction, Table::Licences, &key)? else { return Ok(None) };
            transaction.remove(Table::Licences, &key)?;
            Ok(Some(licence.product))
        })
    }
}
