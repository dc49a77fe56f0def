//! Slurm's commands: the arguments and environment with which each is run, and typed answers.
//!
//! Knows Slurm and nothing of UCloud or of configuration files. Asks for no column that users
//! control, because a name with a newline forges rows. Reads every line strictly, and reports a
//! line that it cannot read. Never runs a shell.
#![allow(missing_docs, reason = "internal to Countersign: a doc says what the name cannot")]

mod accounts;
mod columns;
mod commands;
mod failure;
mod job_id;
mod one_job;
mod outcome;
mod program;
#[cfg(test)]
mod properties;
mod sacct;
mod sinfo;
mod squeue;
mod state;
mod submission;
mod tag;
mod usage;
#[cfg(test)]
mod versions;

pub use crate::columns::Listing;
pub use crate::commands::{Commands, Output};
pub use crate::failure::{SlurmFailure, cleaned};
pub use crate::job_id::SlurmJobId;
pub use crate::one_job::{Begun, step_of};
pub use crate::outcome::{Outcome, Standing};
pub use crate::program::Program;
pub use crate::sacct::{ExitCode, IDS_MAX, Record};
pub use crate::sinfo::Partition;
pub use crate::squeue::{Limit, Row};
pub use crate::state::JobState;
pub use crate::submission::{
    ExtraOption, SCRIPT_MAX, STDERR, STDOUT, Script, ScriptRejection, Submission, SubmitFailure,
};
pub use crate::tag::TAG_LENGTH;
pub use crate::usage::{Allocated, Run};
