//! Unfinished long-running operations of which Core knows. Stored so that Core hears of their end
//! even if the instance or this program has ended.

use serde::{Deserialize, Serialize};

use super::registry::Registry;
use super::{Store, StoreFailure, Table, Verdict, decode, encode};
use crate::identity::Username;

/// Most unfinished tasks of all users together.
pub const TASKS_MAX: usize = 4_096;

/// A piece of work.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The server's number for the task.
    pub number: u64,
    /// The user.
    pub username: Username,
    /// The title shown to the user.
    pub title: String,
    /// The details shown to the user.
    pub body: String,
    /// Core's number for the task; `None` until Core is known to have it.
    pub core_id: Option<i64>,
}

impl<S: Store> Registry<S> {
    /// All unfinished tasks.
    ///
    /// # Errors
    /// The store failed.
    pub fn tasks(&self) -> Result<Vec<Task>, StoreFailure> {
        let entries = self.store().scan(Table::Tasks, b"", None, TASKS_MAX)?;
        entries.iter().map(|(_, value)| decode(Table::Tasks, value)).collect()
    }

    /// Writes a task, or its changed record.
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

    /// Removes a finished task of which Core was told.
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
