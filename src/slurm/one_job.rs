//! One job of the caller's: whether it waits or runs, and on which nodes.

use std::time::Duration;

use crate::commands::{Commands, Output};
use crate::failure::SlurmFailure;
use crate::job_id::SlurmJobId;
use crate::program::Program;
use crate::squeue::{COLUMNS, Row, rows};
use crate::state::Phase;

/// Longest time for an answer.
const WITHIN: Duration = Duration::from_secs(30);
/// What squeue says of a number that no job has.
const NO_SUCH_JOB: &str = "Invalid job id specified";
/// Longest list of nodes that is expanded, in bytes.
const NODES_MAX: usize = 16 * 1024;

impl Commands {
    /// The job of this number, if slurmctld knows one. Numbers are reused: the row says whose it
    /// is.
    ///
    /// # Errors
    /// Slurm gave no answer, which says nothing about the job.
    pub async fn job(&self, id: SlurmJobId) -> Result<Option<Row>, SlurmFailure> {
        let output = self.columns_of(id, COLUMNS).await?;
        Ok(output.and_then(|output| rows(&output.stdout).rows.into_iter().find(|row| row.id == id)))
    }

    /// Whether the comment of this job is `comment`, which has no white space at its end.
    ///
    /// A comment is its user's text, so nothing of it is read: it is compared with one.
    ///
    /// # Errors
    /// Slurm gave no answer.
    pub async fn has_comment(&self, id: SlurmJobId, comment: &str) -> Result<bool, SlurmFailure> {
        let output = self.columns_of(id, &format!("Comment:{}", comment.len().saturating_add(1))).await?;
        Ok(output.is_some_and(|output| output.stdout.trim_ascii_end() == comment.as_bytes()))
    }

    /// These columns of one job; `None` if slurmctld knows no job of this number.
    async fn columns_of(&self, id: SlurmJobId, columns: &str) -> Result<Option<Output>, SlurmFailure> {
        let wanted = format!("--jobs={id}");
        let arguments = ["--noheader", "--all", "--states=all", "--Format", columns, &wanted];
        match self.run(Program::Squeue, &arguments, b"", WITHIN).await {
            Ok(output) => Ok(Some(output)),
            Err(SlurmFailure::Refused { said, .. }) if said.contains(NO_SUCH_JOB) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The name of a node in an abbreviated list (`n[1-2]`), counted from 0.
    ///
    /// # Errors
    /// Slurm gave no answer, or the list has no such node.
    pub async fn node(&self, list: &str, rank: usize) -> Result<String, SlurmFailure> {
        let unreadable = |what| SlurmFailure::Unreadable { program: Program::Scontrol, what };
        if list.is_empty() || list.len() > NODES_MAX || list.starts_with('-') {
            return Err(unreadable("there is no list of nodes"));
        }
        let output = self.run(Program::Scontrol, &["show", "hostnames", list], b"", WITHIN).await?;
        let text = std::str::from_utf8(&output.stdout).map_err(|_| unreadable("it is no text"))?;
        let is_name =
            |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        let name = text.lines().nth(rank).map(str::trim).filter(|name| !name.is_empty() && !name.starts_with('-'));
        name.filter(is_name).map(str::to_owned).ok_or_else(|| unreadable("the job has no such node"))
    }
}

impl Row {
    /// Whether the job has ended. An unknown state has not.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state.phase() == Phase::Ended
    }
}

/// The arguments of `srun` for a step on one node of a running job, beside the job's own steps.
#[must_use]
pub fn step_of(job: SlurmJobId, node: &str) -> Vec<String> {
    let mut arguments = ["--quiet", "--overlap", "--mpi=none", "--nodes=1", "--ntasks=1"].map(str::to_owned).to_vec();
    arguments.extend([format!("--jobid={job}"), format!("--nodelist={node}")]);
    arguments
}
