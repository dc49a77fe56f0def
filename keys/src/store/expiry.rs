//! Expiry of connections: records the end of a connection's time.
//!
//! The mapping, keys and passkeys stay in the store and give no access. A new approval at the
//! centre makes them valid again.

use super::records::CoreMessage;
use super::registry::{Registry, queue_message, read_user};
use super::typed::put;
use super::{Store, StoreFailure, Table};
use crate::identity::{Uid, Username};
use crate::time::Timestamp;

impl<S: Store> Registry<S> {
    /// Records that a user's connection expired at that moment and that Core must hear of it.
    /// Returns the account's uid. Does nothing and returns `None` if the end is recorded already,
    /// or if the connection was ended or approved again since `approved`.
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
            queue_message(transaction, username, CoreMessage::Clear)?;
            Ok(Some(uid))
        })
    }
}
