//! Enters a running job: a shell on one of its nodes, as a step of the job.
//!
//! Slurm refuses a step in another account's job. The job must carry the tag of its record, because
//! its number may have become that of another job of this account.

use std::ffi::OsString;

use countersign_keys::identity::CoreJobId;
use countersign_keys::json::Json;
use countersign_slurm::{Program, step_of};
use tokio::time::Duration;

use super::error::JobsError;
use super::{Jobs, OwnJob, in_time};
use crate::terminal::{Launch, Opened};

/// How long Slurm may take to say where a job runs.
const LOOK_UP_MAX: Duration = Duration::from_secs(10);

/// A shell in a job, as the user signed it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct JobShell {
    pub(crate) id: CoreJobId,
    /// The node, counted from 0.
    pub(crate) rank: usize,
}

impl JobShell {
    /// Reads the signed id and rank.
    pub(crate) fn read(id: &str, rank: &Json<'_>) -> Result<Self, JobsError> {
        let id = CoreJobId::parse(id).map_err(|_| JobsError::NoSuchJob)?;
        let rank = if *rank == Json::Null { Some(0) } else { rank.as_integer() };
        let rank = rank.and_then(|rank| usize::try_from(rank).ok());
        let rank = rank.ok_or(JobsError::Specification("the job has no such node"))?;
        Ok(Self { id, rank })
    }
}

impl Jobs {
    /// Checks that a job is this account's and was submitted. Whether it runs is found out when the
    /// token is redeemed.
    pub(crate) async fn check_own(&self, shell: &JobShell) -> Result<(), JobsError> {
        self.site()?.job(shell.id.as_str()).await.map(|_own| ())
    }

    /// What a terminal starts for a shell in a job.
    pub(crate) async fn enter(&self, shell: &JobShell) -> Result<Opened, JobsError> {
        in_time(LOOK_UP_MAX, self.step(shell)).await
    }

    async fn step(&self, shell: &JobShell) -> Result<Opened, JobsError> {
        let site = self.site()?;
        let (OwnJob { record, slurm_id, .. }, node) = site.running(shell.id.as_str(), shell.rank).await?;
        let path = record.folder.path(&record.folder.drive);
        let folder = site.files.open_folder(&path).await.map_err(|error| JobsError::Folder(error.trouble))?;
        let mut arguments: Vec<OsString> = step_of(slurm_id, &node).into_iter().map(OsString::from).collect();
        arguments.extend(["--pty", "--export=ALL"].map(OsString::from));
        arguments.push(site.login.shell().into_os_string());
        arguments.push("-l".into());
        let program = site.commands.path(Program::Srun);
        let environment = site.commands.environment().into_iter().filter(|(name, _)| name.starts_with("SLURM_CONF"));
        Ok(Opened::Program(Launch { program, arguments, environment: environment.collect(), folder }))
    }
}
