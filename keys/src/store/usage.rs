//! The usage of jobs, of which Core must be told: the figure of each, and how much of it Core has
//! acknowledged. A record stays until Core has acknowledged the job's last figure.
//!
//! The key is Slurm's number and the account, not Core's id: an account that reports one job under
//! two ids is charged for it once.

use serde::{Deserialize, Serialize};

use super::registry::Registry;
use super::typed::{key_of_users, put};
use super::{Store, StoreFailure, Table, decode};
use crate::identity::{CoreJobId, Project, Uid, Username};
use crate::time::Timestamp;

/// Most records that are worked on at a time. Further ones wait in the store. A record has some 400
/// bytes.
pub const USAGES_MAX: usize = 100_000;

/// Most totals that are read: each user and project has one for each category.
pub const TOTALS_MAX: usize = 100_000;

/// A job at Slurm, or an array of them, whose usage Core is told.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct JobUsage {
    /// Slurm's number, not 0.
    pub slurm_id: u32,
    /// The account whose job it is, if Slurm says so.
    pub uid: Uid,
    /// Core's id of the job that the account reported.
    pub core_id: CoreJobId,
    /// Who is charged.
    pub owner: Owner,
    /// The project that is charged if Core says that the job is that project's. The account named
    /// it. Until Core has answered, nothing is reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<Project>,
    /// When it was submitted, according to the account, and not after `recorded`.
    pub submitted: Timestamp,
    /// When it was recorded here.
    pub recorded: Timestamp,
    /// For what it is charged, once a run has started. Never changes then.
    pub charged: Option<Charged>,
    /// The units of the category that it has used.
    pub figure: Option<u64>,
    /// The figure that Core has acknowledged last.
    pub told: Option<u64>,
    /// Whether the figure is the last one.
    pub is_settled: bool,
    /// Whether the figure is above what the site allows for one job, so that Core is not told.
    pub is_held: bool,
}

/// For what a job is charged.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Charged {
    /// The product's name.
    pub product: String,
    /// The product's category.
    pub category: String,
    /// Core's key for the job's part of the owner's usage.
    pub scope: String,
}

/// A drive whose usage Core has been told.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DriveUsage {
    /// The drive's owner, who is charged.
    pub username: Username,
    /// The provider's id of the drive.
    pub id: String,
    /// The category for which it is charged.
    pub category: String,
    /// Core's key for its part of the owner's usage.
    pub scope: String,
    /// The figure that Core has acknowledged last.
    pub told: u64,
    /// When.
    pub at: Timestamp,
}

/// A workspace at Core, which is charged.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// A user's own.
    User(Username),
    /// A project.
    Project(Project),
}

/// The settled usage of an owner in a category.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UsageTotal {
    /// The category.
    pub category: String,
    /// The owner.
    pub owner: Owner,
    /// How many jobs Core has acknowledged to their end.
    pub jobs: u64,
    /// The units of those jobs.
    pub told: u64,
    /// What no job was charged yet, in billionths of a unit: less than one.
    pub rest: u32,
}

impl JobUsage {
    /// A job of which nothing is known yet.
    #[must_use]
    pub fn new(
        (slurm_id, uid): (u32, Uid),
        core_id: &CoreJobId,
        username: &Username,
        project: Option<&Project>,
        submitted: Timestamp,
        recorded: Timestamp,
    ) -> Self {
        Self {
            slurm_id,
            uid,
            core_id: core_id.clone(),
            owner: Owner::User(username.clone()),
            claimed: project.cloned(),
            submitted: submitted.min(recorded),
            recorded,
            charged: None,
            figure: None,
            told: None,
            is_settled: false,
            is_held: false,
        }
    }

    /// What identifies it.
    #[must_use]
    pub const fn key(&self) -> (u32, Uid) {
        (self.slurm_id, self.uid)
    }
}

impl UsageTotal {
    /// Nothing.
    #[must_use]
    pub fn new(category: &str, owner: &Owner) -> Self {
        Self { category: category.to_owned(), owner: owner.clone(), jobs: 0, told: 0, rest: 0 }
    }
}

impl<S: Store> Registry<S> {
    /// The jobs whose usage Core is told.
    ///
    /// # Errors
    /// The store failed.
    pub fn usages(&self) -> Result<Vec<JobUsage>, StoreFailure> {
        let entries = self.store().scan(Table::Usages, b"", None, USAGES_MAX)?;
        entries.iter().map(|(_, value)| decode(Table::Usages, value)).collect()
    }

    /// Records a job, unless it is on record.
    ///
    /// # Errors
    /// The store failed.
    pub fn add_usage(&self, usage: &JobUsage) -> Result<(), StoreFailure> {
        let key = key_of(usage.key());
        self.write(|transaction| {
            if transaction.read(Table::Usages, &key)?.is_none() {
                put(transaction, Table::Usages, &key, usage)?;
            }
            Ok(())
        })
    }

    /// Writes changed records, all or none.
    ///
    /// # Errors
    /// The store failed.
    pub fn note_usages(&self, usages: &[JobUsage]) -> Result<(), StoreFailure> {
        self.write(|transaction| {
            usages.iter().try_for_each(|usage| put(transaction, Table::Usages, &key_of(usage.key()), usage))
        })
    }

    /// Removes a job. Succeeds if there is none.
    ///
    /// # Errors
    /// The store failed.
    pub fn forget_usage(&self, (slurm_id, uid): (u32, Uid)) -> Result<(), StoreFailure> {
        self.write(|transaction| transaction.remove(Table::Usages, &key_of((slurm_id, uid))))
    }

    /// The settled usage of an owner in a category.
    ///
    /// # Errors
    /// The store failed.
    pub fn usage_total(&self, category: &str, owner: &Owner) -> Result<UsageTotal, StoreFailure> {
        let value = self.store().read(Table::UsageTotals, &key_of_total(category, owner))?;
        let total = value.map(|value| decode(Table::UsageTotals, &value)).transpose()?;
        Ok(total.unwrap_or_else(|| UsageTotal::new(category, owner)))
    }

    /// The settled usage of all owners.
    ///
    /// # Errors
    /// The store failed.
    pub fn usage_totals(&self) -> Result<Vec<UsageTotal>, StoreFailure> {
        let entries = self.store().scan(Table::UsageTotals, b"", None, TOTALS_MAX)?;
        entries.iter().map(|(_, value)| decode(Table::UsageTotals, value)).collect()
    }

    /// The drives whose usage Core has been told.
    ///
    /// # Errors
    /// The store failed.
    pub fn drive_usages(&self) -> Result<Vec<DriveUsage>, StoreFailure> {
        let entries = self.store().scan(Table::DriveUsages, b"", None, USAGES_MAX)?;
        entries.iter().map(|(_, value)| decode(Table::DriveUsages, value)).collect()
    }

    /// Records what Core has acknowledged of a drive.
    ///
    /// # Errors
    /// The store failed.
    pub fn note_drive_usages(&self, usages: &[DriveUsage]) -> Result<(), StoreFailure> {
        self.write(|transaction| {
            usages.iter().try_for_each(|usage| {
                put(transaction, Table::DriveUsages, &key_of_users(&usage.username, usage.id.as_bytes()), usage)
            })
        })
    }

    /// Removes a drive. Succeeds if there is none.
    ///
    /// # Errors
    /// The store failed.
    pub fn forget_drive_usage(&self, username: &Username, id: &str) -> Result<(), StoreFailure> {
        self.write(|transaction| transaction.remove(Table::DriveUsages, &key_of_users(username, id.as_bytes())))
    }

    /// Writes a job's last figure together with what is left of its total.
    ///
    /// # Errors
    /// The store failed.
    pub fn settle_usage(&self, usage: &JobUsage, total: &UsageTotal) -> Result<(), StoreFailure> {
        self.write(|transaction| {
            put(transaction, Table::Usages, &key_of(usage.key()), usage)?;
            put(transaction, Table::UsageTotals, &key_of_total(&total.category, &total.owner), total)
        })
    }

    /// Removes a job whose last figure Core has acknowledged, and counts it.
    ///
    /// # Errors
    /// The store failed.
    pub fn finish_usage(&self, usage: &JobUsage, total: &UsageTotal) -> Result<(), StoreFailure> {
        self.write(|transaction| {
            put(transaction, Table::UsageTotals, &key_of_total(&total.category, &total.owner), total)?;
            transaction.remove(Table::Usages, &key_of(usage.key()))
        })
    }
}

fn key_of((slurm_id, uid): (u32, Uid)) -> Vec<u8> {
    [slurm_id.to_be_bytes(), uid.0.to_be_bytes()].concat()
}

/// Names of categories have no zero byte, and neither has an owner's.
fn key_of_total(category: &str, owner: &Owner) -> Vec<u8> {
    let (kind, name) = match owner {
        Owner::User(username) => (b'u', username.as_str()),
        Owner::Project(project) => (b'p', project.as_str()),
    };
    [category.as_bytes(), &[0, kind], name.as_bytes()].concat()
}
