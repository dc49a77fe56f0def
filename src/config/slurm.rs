//! `[slurm]`: how jobs reach the site's Slurm. Without this table no product starts jobs.
//!
//! The configuration alone says which programs are run, as which partition, quality of service and
//! account a product's jobs are submitted, and in which drive their folders are.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Slurm {
    /// The directory of Slurm's programs, absolute.
    pub commands: PathBuf,
    /// Another `slurm.conf` than Slurm's own default, absolute.
    pub config: Option<PathBuf>,
    /// The id of the configured drive that holds job folders: one of each user, not of groups and
    /// not made by users.
    pub drive: String,
    /// The folder in that drive with a folder for each job. One name.
    pub job_folder: String,
    /// How often the server asks Slurm for all jobs.
    pub poll: Duration,
    pub operator: Operator,
    /// This program on the nodes, absolute; `None` if it is where it is on this machine.
    pub relay: Option<PathBuf>,
    /// The longest time of a job, at submission and after every extension, in hours.
    pub time_max_h: u32,
}

/// `slurm.operator`: whether the server's account is an operator at Slurm.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operator {
    /// Jobs can be extended and suspended, and jobs that Core has forgotten can be cancelled.
    Granted,
    /// Only the owners of jobs change them.
    NotGranted,
}

/// How a product's jobs are submitted; `None` for Slurm's default. Each is 1 to 64 letters, digits,
/// `.`, `-` or `_`, beginning with a letter or digit.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Placement {
    pub partition: Option<String>,
    pub qos: Option<String>,
    pub account: Option<String>,
    pub constraint: Option<String>,
}
