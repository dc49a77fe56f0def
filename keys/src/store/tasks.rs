//! Long pieces of work that Core has been told of and that are not over: kept so that Core hears of
//! their end though whoever did them, and this program, be gone.

use serde::{Deserialize, Serialize};

use super::registry::Registry;
use super::{Store, StoreFailure, Table, Verdict, decode, encode};
use crate::identity::Username;

/// Most tasks at a time, of all users.
pub const TASKS_MAX: usize = 4_096;

/// A piece of work.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Our number of it.
    pub number: u64,
    /// Whose it is.
    pub username: Username,
    /// What is done.
    pub title: String,
    /// With what.
    pub body: String,
    /// Core's number of it; `None`: Core has not been heard to know of it.
    pub core_id: Option<i64>,
}

impl<S: Store> Registry<S> {
    /// All tasks that are not over.
    ///
    /// # Errors
    /// The store cannot tell.
    pub fn tasks(&self) -> Result<Vec<Task>, StoreFailure> {
        let entries = self.store().scan(Table::Tasks, b"", None, TASKS_MAX)?;
        entries.iter().map(|(_, value)| decode(Table::Tasks, value)).collect()
    }

    /// Notes a task, or what has become known of it.
    ///
    /// # Errors
    /// The store failed.
    pub fn note_task(&self, task: &Task) -> Result<(), StoreFailure> {
        let record = encode(Table::Tasks, task)?;
        self.store().transact(&|transaction| {
            transaction.write(Table::Tasks, &task.number.to_be_bytes(), record.clone())?;
            Ok(Verdict::Commit)
        })
    }

    /// Forgets a task that is over, and of which Core has heard.
    ///
    /// # Errors
    /// The store failed.
    pub fn forget_task(&self, number: u64) -> Result<(), StoreFailure> {
        self.store().transact(&|transaction| {
            transaction.remove(Table::Tasks, &number.to_be_bytes())?;
            Ok(Verdict::Commit)
        })
    }
}
