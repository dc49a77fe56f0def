//! `[slurm]`: how jobs reach the site's Slurm. Without this table no product starts jobs.
//!
//! The configuration alone says which programs are run, as which partition, quality of service and
//! account a product's jobs are submitted, and in which drive their folders are.

use std::path::PathBuf;
use std::time::Duration;

use countersign_keys::identity::Uid;

use crate::admin_file::{self, FileReason};

/// UCloud's names of the parameters with which users choose a job's account at Slurm, and modules.
pub const ACCOUNT_PARAMETER: &str = "_injected_slurmAccount";
pub const MODULES_PARAMETER: &str = "_injected_modules";

/// Longest text for users, in bytes.
const README_MAX: u64 = 16 * 1024;

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
    pub asks: Asks,
    /// What users read beside every application's parameters.
    pub readme: Option<Readme>,
    /// Whether UCloud is told of jobs that connected users began without it.
    pub shows_outside: bool,
}

/// What users are asked of a job, beside its application's parameters. UCloud then learns what each
/// may choose.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Asks {
    /// Which of the user's accounts at Slurm.
    pub account: bool,
    /// Which modules are loaded.
    pub modules: bool,
}

/// A file of Markdown, which is read each time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Readme {
    pub path: PathBuf,
    pub reader: Uid,
}

impl Readme {
    /// # Errors
    /// The file cannot be read, is too long, or others could have written it.
    pub fn read(&self) -> Result<String, FileReason> {
        admin_file::read_text(&self.path, README_MAX, self.reader)
    }
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
