//! Public links of users: who owns which host name, and Core's number for each.
//!
//! The owner's signed request names the host name; Core's number only stands for it afterwards. A
//! host name has one owner. Core's numbers are guessable, so each user has numbers apart.

use serde::{Deserialize, Serialize};

use super::registry::{NotChanged, Registry};
use super::typed::{fetch, key_of_users, of_user, put};
use super::{Store, StoreFailure, Table, decode};
use crate::identity::{CoreResourceId, LinkName, Uid, Username};
use crate::time::Timestamp;

/// Most links of a user: more than a user's jobs at a time.
pub const LINKS_MAX: usize = 32;

/// A public link.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// What its host name says between the site's prefix and suffix.
    pub name: LinkName,
    /// The user who signed its creation.
    pub username: Username,
    /// The user's account at that time.
    pub uid: Uid,
    /// Core's number.
    pub core_id: CoreResourceId,
    /// When it was recorded.
    pub created: Timestamp,
}

/// A change that the rules do not allow.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LinkRejection {
    /// Another user has the name.
    #[error("this public link is another user's: choose another name")]
    Taken,
    /// Core gave this number to another of the user's links.
    #[error("UCloud has given this number to another public link of this user")]
    NumberTaken,
    /// The user has the most links allowed.
    #[error("this user has {LINKS_MAX} public links, as many as there can be")]
    TooMany,
}

impl<S: Store> Registry<S> {
    /// The link of that name.
    ///
    /// # Errors
    /// The store failed.
    pub fn link(&self, name: &LinkName) -> Result<Option<Link>, StoreFailure> {
        let found = self.store().read(Table::Links, name.as_str().as_bytes())?;
        found.map(|value| decode(Table::Links, &value)).transpose()
    }

    /// The links of a user.
    ///
    /// # Errors
    /// The store failed.
    pub fn links(&self, username: &Username) -> Result<Vec<Link>, StoreFailure> {
        of_user(self.store(), Table::LinkIds, username, LINKS_MAX)
    }

    /// Records a link. If the user has one of that name, it gets the new number and account: Core
    /// has forgotten a creation whose answer it did not hear.
    ///
    /// # Errors
    /// The name is another user's, the number is another link's, there are too many, or the store
    /// failed.
    pub fn add_link(&self, link: &Link) -> Result<(), NotChanged<LinkRejection>> {
        let Link { name, username, core_id, .. } = link;
        let own = self.links(username)?;
        self.change(|transaction| {
            let known: Option<Link> = fetch(transaction, Table::Links, name.as_str().as_bytes())?;
            if known.as_ref().is_some_and(|known| known.username != *username) {
                return Ok(Err(LinkRejection::Taken));
            }
            let numbered: Option<Link> =
                fetch(transaction, Table::LinkIds, &key_of_users(username, core_id.as_str().as_bytes()))?;
            if numbered.is_some_and(|other| other.name != *name) {
                return Ok(Err(LinkRejection::NumberTaken));
            }
            match known {
                Some(known) => {
                    transaction.remove(Table::LinkIds, &key_of_users(username, known.core_id.as_str().as_bytes()))?
                }
                None if own.len() >= LINKS_MAX => return Ok(Err(LinkRejection::TooMany)),
                None => {}
            }
            put(transaction, Table::Links, name.as_str().as_bytes(), link)?;
            put(transaction, Table::LinkIds, &key_of_users(username, core_id.as_str().as_bytes()), link)?;
            Ok(Ok(()))
        })
    }

    /// Removes a user's link by its number. Returns its name; `None` if there is none.
    ///
    /// # Errors
    /// The store failed.
    pub fn forget_link(&self, username: &Username, core_id: &CoreResourceId) -> Result<Option<LinkName>, StoreFailure> {
        self.write(|transaction| {
            let key = key_of_users(username, core_id.as_str().as_bytes());
            let Some(link) = fetch::<Link>(transaction, Table::LinkIds, &key)? else { return Ok(None) };
            transaction.remove(Table::LinkIds, &key)?;
            transaction.remove(Table::Links, link.name.as_str().as_bytes())?;
            Ok(Some(link.name))
        })
    }
}
