//! Connections that last for a time only: what is kept of one that is over, and what is not.
//!
//! Mapping, keys and passkeys stay, and open nothing: whoever approves the connection anew, at the
//! centre, has them again.

use super::records::Tell;
use super::registry::{Registry, note_errand, read_user};
use super::typed::put;
use super::{Store, StoreFailure, Table};
use crate::identity::{Uid, Username};
use crate::time::Timestamp;

impl<S: Store> Registry<S> {
    /// Notes that the time of a user's connection was over at that moment, and that Core has to
    /// hear of it; gives the account's uid. Nothing is noted, and nothing given, where it was noted
    /// before, or the connection has ended or been approved since `approved`.
    ///
    /// # Errors
    /// The store failed.
    pub fn note_over(
        &self,
        username: &Username,
        approved: Timestamp,
        over: Timestamp,
    ) -> Result<Option<Uid>, StoreFailure> {
        self.write(|transaction| {
            let Some(mut user) = read_user(transaction, username)? else {
                return Ok(None);
            };
            let Some(connection) = user.connection.as_mut() else {
                return Ok(None);
            };
            if connection.over.is_some() || connection.approved() != approved {
                return Ok(None);
            }
            connection.over = Some(over);
            connection.core_told = false;
            let uid = connection.uid;
            put(transaction, Table::Users, username.as_str().as_bytes(), &user)?;
            note_errand(transaction, username, Tell::Clear)?;
            Ok(Some(uid))
        })
    }
}
