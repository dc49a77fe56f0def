//! Finishes what a submission left open: finds out whether there is a job, cancels one of which
//! Core was not told, and tells the server of one that runs.
//!
//! A job is looked for by the random tag of its record, never by a name. As long as Slurm does not
//! answer, nothing is concluded. `sbatch` may outlive the process that ran it, so a process of this
//! account with the tag in its arguments is ended first.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use countersign_ipc::server_protocol::{Empty, JOBS_SUBMITTED, JobSubmitted};
use countersign_keys::identity::CoreJobId;
use countersign_os::log::Chain;
use countersign_slurm::SlurmJobId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Duration, Instant, sleep};

use super::error::JobsError;
use super::record::{Record, RecordState};
use super::{Site, now};

/// How long after the last `sbatch` of a job its absence is believed: slurmctld may still be taking
/// a request, and accounting is late.
const ABSENT_AFTER: Duration = Duration::from_secs(15);
/// How much earlier than the record a job may have been submitted, by Slurm's clock, in seconds.
const CLOCKS_APART_S: u64 = 300;
/// Shortest and longest interval between two looks.
const LOOK_AFTER: Duration = Duration::from_secs(2);
const LOOK_MAX: Duration = Duration::from_secs(60);
/// How often the server is told of a job before the next start of this account's process does it.
const REPORTS_MAX: u32 = 60;

/// A submission of which is not known whether it left a job.
struct Unsettled {
    id: CoreJobId,
    record: Record,
    /// When the last `sbatch` of it may have ended.
    since: Instant,
}

impl Site {
    /// Continues what an earlier process of this account began.
    pub(super) async fn settle_all(self: &Arc<Self>) {
        let left_over = match self.records.left_over().await {
            Ok(left_over) => left_over,
            Err(failure) => return tracing::error!(cause = %Chain(&failure), "cannot look for unfinished submissions"),
        };
        let mut unsettled = Vec::new();
        for (id, record) in left_over {
            match record {
                Some(record) if record.state == RecordState::AboutToSubmit => unsettled.push((id, record)),
                Some(record) if record.slurm_id().is_some() => {
                    self.spawn(|site| async move { site.report(&id, &record).await });
                }
                // It was never about to be submitted, or there is no job.
                Some(_) | None => self.finish(&id).await,
            }
        }
        if !unsettled.is_empty() {
            self.spawn(|site| async move { site.settle(unsettled).await });
        }
    }

    /// Makes sure that there is no job of these records: one that was submitted is cancelled.
    pub(super) async fn settle(&self, submissions: Vec<(CoreJobId, Record)>) {
        let unsettled = |(id, record)| Unsettled { id, record, since: Instant::now() };
        let mut left: Vec<Unsettled> = submissions.into_iter().map(unsettled).collect();
        let mut pause = LOOK_AFTER;
        loop {
            left = self.look_once(left).await;
            if left.is_empty() {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK_MAX);
        }
    }

    /// Settles what one look at Slurm allows, and returns the rest.
    async fn look_once(&self, mut unsettled: Vec<Unsettled>) -> Vec<Unsettled> {
        let ended = end_processes_with(unsettled.iter().map(|one| one.record.tag.clone()).collect()).await;
        for one in unsettled.iter_mut().filter(|one| ended.contains(&one.record.tag)) {
            one.since = Instant::now();
        }
        let found = match self.tagged(&unsettled).await {
            Ok(found) => found,
            Err(failure) => {
                let count = unsettled.len();
                tracing::warn!(count, cause = %Chain(&failure), "cannot tell whether jobs were submitted");
                return unsettled;
            }
        };
        let mut left = Vec::new();
        for one in unsettled {
            let slurm_id = found.get(&one.record.tag).copied();
            if slurm_id.is_none() && one.since.elapsed() < ABSENT_AFTER {
                left.push(one);
                continue;
            }
            let id = &one.id;
            if let Some(slurm_id) = slurm_id {
                if let Err(failure) = self.cancel(slurm_id).await {
                    tracing::warn!(%id, %slurm_id, cause = %Chain(&failure), "cannot cancel a job");
                    left.push(one);
                    continue;
                }
                tracing::warn!(%id, %slurm_id, "cancelled a job of whose start UCloud was not told");
            }
            self.close(id, &one.record, slurm_id).await;
        }
        left
    }

    /// The jobs of this account that carry the tags of these records, by tag.
    async fn tagged(&self, unsettled: &[Unsettled]) -> Result<BTreeMap<String, SlurmJobId>, JobsError> {
        let now = now()?;
        let oldest = unsettled.iter().map(|one| now.saturating_sub(one.record.begun_at)).max().unwrap_or(0);
        let since = u64::try_from(oldest).unwrap_or(0).saturating_add(CLOCKS_APART_S);
        let tags = unsettled.iter().map(|one| one.record.tag.as_str()).collect();
        Ok(self.commands.find_tags(self.uid, &tags, since).await?)
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
            targets: record.interfaces.targets().to_vec(),
            links: record.links.iter().map(|link| link.name.clone()).collect(),
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

/// Ends processes of this account with one of the tags in their arguments: an `sbatch` that
/// outlived the process that ran it. Returns the tags of those that it ended.
async fn end_processes_with(tags: Vec<String>) -> HashSet<String> {
    let work = move || {
        let wanted: HashMap<Vec<u8>, String> =
            tags.into_iter().map(|tag| (format!("--comment={tag}").into_bytes(), tag)).collect();
        let mut ended = HashSet::new();
        for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let arguments = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let Some(tag) = arguments.split(|byte| *byte == 0).find_map(|argument| wanted.get(argument)) else {
                continue;
            };
            // Another account's process cannot be ended by this one.
            if kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok() {
                ended.insert(tag.clone());
            }
        }
        ended
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}
