//! A job in Slurm's queue that is not on record.

use countersign_keys::identity::{Uid, Username};
use countersign_keys::time::Timestamp;
use countersign_slurm::Row;

/// The account and Slurm's number.
pub(crate) type Place = (Uid, u32);

#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) row: Row,
    /// The only user of its account.
    pub(crate) username: Username,
    /// When it was seen first.
    pub(crate) since: Timestamp,
}

impl Begun {
    pub(crate) fn place(&self) -> Place {
        place(&self.row)
    }
}

pub(crate) fn place(row: &Row) -> Place {
    (Uid(row.uid), row.id.get())
}
