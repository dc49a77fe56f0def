//! Messages of an account's processes for the server about jobs.
//!
//! The server believes none of it by itself: it tracks a job only if Slurm says that the job is the
//! calling uid's, and changes only jobs on record for that uid.

use countersign_keys::identity::{CoreJobId, LinkName, Project, Username};
use countersign_keys::store::jobs::Target;
use serde::{Deserialize, Serialize};

/// Reports a job that the calling uid has submitted. [`JobSubmitted`] → `{}`. May be repeated.
pub const JOBS_SUBMITTED: &str = "/jobs/submitted";
/// Lengthens a running job of the calling uid. [`JobExtend`] → `{}`. Needs `slurm.operator`.
pub const JOBS_EXTEND: &str = "/jobs/extend";
/// Suspends or resumes a job of the calling uid. [`JobSuspend`] → `{}`. Needs `slurm.operator`.
pub const JOBS_SUSPEND: &str = "/jobs/suspend";

/// Reports what the calling uid may choose of a job. [`JobChoices`] → `{}`. Replaces the last
/// report.
pub const JOBS_CHOICES: &str = "/jobs/choices";

/// Longest UCloud path of a job's folder, in bytes.
pub const OUTPUT_FOLDER_MAX: usize = 4_096;

/// Longest name of a target, in bytes.
pub const TARGET_NAME_MAX: usize = 64;

/// Most public links of one job.
pub const JOB_LINKS_MAX: usize = 8;

/// A job that the calling account has submitted to Slurm.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobSubmitted {
    /// One of the account's users.
    pub username: Username,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Project>,
    pub core_id: CoreJobId,
    /// Slurm's number, not 0.
    pub slurm_id: u32,
    /// Unix time, in seconds.
    pub submitted_at: i64,
    /// The UCloud path of the job's folder, for the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_folder: Option<String>,
    /// The interfaces that its script names: at most
    /// [`countersign_keys::store::jobs::TARGETS_MAX`], each with a name of at most
    /// [`TARGET_NAME_MAX`] bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// The public links that the user signed for it, by the names that the server listed: at most
    /// [`JOB_LINKS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkName>,
}

/// An addition to the time limit of a job.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobExtend {
    pub core_id: CoreJobId,
    /// In minutes, at least 1.
    pub minutes: u32,
}

/// Suspends a job, or resumes it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobSuspend {
    pub core_id: CoreJobId,
    /// `false` to resume.
    pub suspend: bool,
}

/// What an account may choose of a job, beside its application's parameters.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobChoices {
    /// Its accounts at Slurm.
    pub accounts: Vec<String>,
    /// Modules that it can load.
    pub modules: Vec<String>,
}
