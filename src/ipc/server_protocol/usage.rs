//! Messages about usage, for administrators alone.

use countersign_keys::store::usage::Owner;
use serde::{Deserialize, Serialize};

/// Lists usage by category and owner. [`UsageList`] → [`UsagePage`].
pub const USAGE_LIST: &str = "/usage/list";

/// Most rows in an answer: with the longest names it fits into [`super::BODY_MAX`].
pub const USAGE_PAGE: usize = 100;

/// Most held jobs that a row names.
pub const USAGE_HELD_MAX: usize = 20;

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UsageList {
    /// Only rows after those of this category and owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<(String, Owner)>,
}

/// A page of usage, by category and owner.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UsagePage {
    /// At most [`USAGE_PAGE`].
    pub rows: Vec<OwnersUsage>,
    pub more: bool,
    /// Jobs that have started no run, or of which accounting has said nothing.
    pub unknown: u64,
}

/// The usage of an owner in a category, in the category's unit.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnersUsage {
    pub category: String,
    pub owner: Owner,
    /// Such as `Core-hours`; empty if the configuration has the category no more.
    pub unit: String,
    /// What UCloud has acknowledged.
    pub reported: u64,
    /// What UCloud has not acknowledged.
    pub waiting: u64,
    /// What is held back.
    pub held: u64,
    /// Jobs whose last figure UCloud has acknowledged, and others.
    pub done: u64,
    pub under_way: u64,
    /// Slurm's numbers of held jobs: at most [`USAGE_HELD_MAX`].
    pub held_jobs: Vec<u32>,
}
