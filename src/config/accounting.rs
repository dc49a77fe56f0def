//! `[accounting]`: whether and how often UCloud is told what users have used. Without this table it
//! is told nothing.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UsageReports {
    /// How often usage is looked up.
    pub every: Duration,
    /// The most that Core is told of one job, in units of its category.
    pub job_max: Option<u64>,
    /// A program that says how much a drive holds, and its arguments.
    pub storage_command: Option<(PathBuf, Vec<String>)>,
}
