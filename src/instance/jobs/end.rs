//! Ends, extends and suspends jobs of this account.
//!
//! Slurm's numbers are reused, so a job is cancelled only if it carries the tag of its record.
//! Extending and suspending take an operator's rights, which only the server has.

use countersign_ipc::server_protocol::{Empty, JOBS_EXTEND, JOBS_SUSPEND, JobExtend, JobSuspend};
use countersign_keys::bind::Projection;
use countersign_slurm::{Program, Row, SlurmJobId};
use tokio::time::Duration;

use super::error::JobsError;
use super::record::RecordState;
use super::{OwnJob, Site, specification};

/// Longest time for scancel.
const SCANCEL_MAX: Duration = Duration::from_secs(30);

impl Site {
    /// Ends a job. One that Slurm does not know any more has ended already.
    pub(super) async fn terminate(&self, id: &str) -> Result<(), JobsError> {
        let own = match self.job(id).await {
            Err(JobsError::Ended) => return Ok(()),
            own => own?,
        };
        match self.at_slurm(&own).await {
            Ok(_row) => self.cancel(own.slurm_id).await,
            Err(JobsError::Ended) => {
                let ended = own.record.in_state(RecordState::Ended { slurm_id: Some(own.slurm_id) });
                Ok(self.records.replace(&own.id, ended).await?)
            }
            Err(error) => Err(error),
        }
    }

    /// The job of a record at Slurm, if it has not ended. Slurm's number may have become that of
    /// another job.
    pub(super) async fn at_slurm(&self, OwnJob { record, slurm_id, .. }: &OwnJob) -> Result<Row, JobsError> {
        let row = self.commands.job(*slurm_id).await?;
        let row = row.filter(|row| row.uid == self.uid && !row.has_ended()).ok_or(JobsError::Ended)?;
        if self.commands.has_comment(*slurm_id, &record.tag).await? {
            Ok(row)
        } else {
            Err(JobsError::Unmarked(slurm_id.get()))
        }
    }

    /// Lengthens a job by the signed time.
    pub(super) async fn extend(&self, id: &str, item: &Projection<'_>) -> Result<(), JobsError> {
        let minutes = specification::minutes(item.parameter("requestedTime"));
        let minutes = minutes.ok_or(JobsError::Specification("the time to add is not possible"))?;
        let core_id = self.job(id).await?.id;
        let Empty {} = self.server.ask(JOBS_EXTEND, &JobExtend { core_id, minutes }).await?;
        Ok(())
    }

    /// Suspends a job, or resumes it.
    pub(super) async fn suspend(&self, id: &str, suspend: bool) -> Result<(), JobsError> {
        let core_id = self.job(id).await?.id;
        let Empty {} = self.server.ask(JOBS_SUSPEND, &JobSuspend { core_id, suspend }).await?;
        Ok(())
    }

    pub(super) async fn cancel(&self, id: SlurmJobId) -> Result<(), JobsError> {
        self.commands.run(Program::Scancel, &["--quiet", &id.to_string()], b"", SCANCEL_MAX).await?;
        Ok(())
    }
}
