//! Finishes what a submission left open: finds out whether there is a job, cancels one of which
//! Core was not told, and tells the server of one that runs.
//!
//! A job is looked for by the random tag of its record, never by a name. As long as Slurm does not
//! answer, nothing is concluded. `sbatch` may outlive the process that ran it, so a process of this
//! account with the tag in its arguments is ended first.

use std::sync::Arc;

use countersign_ipc::server_protocol::{Empty, JOBS_SUBMITTED, JobSubmitted};
use countersign_keys::identity::CoreJobId;
use countersign_os::log::Chain;
use countersign_slurm::SlurmJobId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Duration, Instant, sleep};

use super::Site;
use super::record::{Record, RecordState};

/// How long after the last `sbatch` of a job its absence is believed: slurmctld may still be taking
/// a request, and accounting is late.
const ABSENT_AFTER: Duration = Duration::from_secs(15);
/// Shortest and longest interval between two looks.
const LOOK_AFTER: Duration = Duration::from_secs(2);
const LOOK_MAX: Duration = Duration::from_secs(60);
/// How often the server is told of a job before the next start of this account's process does it.
const REPORTS_MAX: u32 = 60;

impl Site {
    /// Continues what an earlier process of this account began.
    pub(super) async fn settle_all(self: &Arc<Self>) {
        let unfinished = match self.records.unfinished().await {
            Ok(unfinished) => unfinished,
            Err(failure) => return tracing::error!(cause = %Chain(&failure), "cannot look for unfinished submissions"),
        };
        for (id, record) in unfinished {
            let (site, under_way) = (Arc::clone(self), self.work());
            tokio::spawn(async move {
                match record {
                    Some(record) if record.state == RecordState::AboutToSubmit => site.settle(&id, &record).await,
                    Some(record) if record.slurm_id().is_some() => site.report(&id, &record).await,
                    // It was never about to be submitted, or there is no job.
                    Some(_) | None => site.finish(&id).await,
                }
                drop(under_way);
            });
        }
    }

    /// Makes sure that there is no job of this record: one that was submitted is cancelled.
    pub(super) async fn settle(self: &Arc<Self>, id: &CoreJobId, record: &Record) {
        let (mut since, mut pause) = (Instant::now(), LOOK_AFTER);
        loop {
            if end_processes_with(&record.tag).await {
                since = Instant::now();
            }
            match self.tagged(record).await {
                Ok(Some(slurm_id)) => match self.cancel(slurm_id).await {
                    Ok(()) => {
                        tracing::warn!(%id, %slurm_id, "cancelled a job of whose start UCloud was not told");
                        return self.close(id, record, Some(slurm_id)).await;
                    }
                    Err(failure) => tracing::warn!(%id, %slurm_id, cause = %Chain(&failure), "cannot cancel a job"),
                },
                Ok(None) if since.elapsed() >= ABSENT_AFTER => return self.close(id, record, None).await,
                Ok(None) => {}
                Err(failure) => {
                    tracing::warn!(%id, cause = %Chain(&failure), "cannot tell whether a job was submitted")
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK_MAX);
        }
    }

    /// Records that there is no job (any more).
    pub(super) async fn close(&self, id: &CoreJobId, record: &Record, slurm_id: Option<SlurmJobId>) {
        match self.records.replace(id, record.in_state(RecordState::Ended { slurm_id })).await {
            Ok(()) => self.finish(id).await,
            Err(failure) => tracing::error!(%id, cause = %Chain(&failure), "cannot record the end of a job"),
        }
    }

    /// Tells the server of a submitted job, which follows it from then on.
    pub(super) async fn report(&self, id: &CoreJobId, record: &Record) {
        let Some(slurm_id) = record.slurm_id() else { return };
        let drive = self.files.drive_numbers().number_of(&record.folder.drive);
        let report = JobSubmitted {
            username: record.username.clone(),
            project: record.project.clone(),
            core_id: id.clone(),
            slurm_id: slurm_id.get(),
            submitted_at: record.begun_at,
            output_folder: drive.map(|drive| record.folder.path(&drive)),
        };
        let mut pause = LOOK_AFTER;
        for _ in 0..REPORTS_MAX {
            match self.server.ask::<_, Empty>(JOBS_SUBMITTED, &report).await {
                Ok(Empty {}) => return self.finish(id).await,
                Err(failure) => tracing::warn!(%id, cause = %Chain(&failure), "cannot tell the server of a job"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK_MAX);
        }
    }

    async fn finish(&self, id: &CoreJobId) {
        if let Err(failure) = self.records.finish(id).await {
            tracing::error!(%id, cause = %Chain(&failure), "cannot finish the record of a job");
        }
    }
}

/// Ends processes of this account with the tag in their arguments: an `sbatch` that outlived the
/// process that ran it. Says whether there were any.
async fn end_processes_with(tag: &str) -> bool {
    let wanted = format!("--comment={tag}");
    let work = move || {
        let mut is_any = false;
        for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let arguments = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            // Another account's process cannot be ended by this one.
            if arguments.split(|byte| *byte == 0).any(|argument| argument == wanted.as_bytes()) {
                is_any |= kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok();
            }
        }
        is_any
    };
    tokio::task::spawn_blocking(work).await.unwrap_or(false)
}
