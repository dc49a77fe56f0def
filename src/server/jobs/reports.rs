//! Reports of accounts that they have submitted a job.
//!
//! The kernel names the account. A report is believed as far as Slurm shows that the job is that
//! account's; until Slurm has said so, Core is told nothing.

use std::sync::Arc;
use std::time::Duration;

use countersign_keys::identity::Uid;
use countersign_keys::store::jobs::{Job, JobRejection, TARGETS_MAX, Target};
use countersign_keys::store::registry::NotChanged;
use countersign_keys::time::Timestamp;
use countersign_slurm::SlurmJobId;

use super::table::Tracked;
use crate::audit::record::AuditedAction;
use crate::connections::approval::asker;
use crate::http::reply::Refusal;
use crate::links;
use crate::state::Server;
use crate::turns::Asker;
use countersign_ipc::error_code::ErrorCode;
use countersign_ipc::server_protocol::{
    Empty, JOB_LINKS_MAX, JOBS_SUBMITTED, JobSubmitted, OUTPUT_FOLDER_MAX, TARGET_NAME_MAX,
};

/// How long a report waits for Slurm's word. Without it the report is on record, and the next
/// answer decides.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// How far an account's clock may be ahead, in seconds.
const AHEAD_MAX_S: i64 = 300;

/// Records a job that the calling account has submitted.
pub(crate) async fn submitted(server: &Arc<Server>, uid: Uid, report: JobSubmitted) -> Result<Empty, Refusal> {
    if server.config.slurm.is_none() {
        return Err(Refusal::not_found("this provider starts no jobs"));
    }
    let now = server.clock.now()?;
    let mut job = record_of(uid, report, now)?;
    if server.config.gateway.web.is_none() {
        job.targets.clear();
    }
    if !server.records.usernames(uid)?.contains(&job.username) {
        return Err(Refusal::not_found("this account is not connected to that UCloud user"));
    }
    links::keep_own(server, &mut job)?;
    let key = (job.core_id.clone(), uid);
    server.jobs.rejected().remove(&key);
    add(server, JOBS_SUBMITTED, job).await?;
    let mut answers = server.jobs.answers.subscribe();
    // A round that is under way does not know the job.
    let enough = answers.borrow_and_update().wrapping_add(1);
    server.jobs.look.notify_one();
    let decided = answers.wait_for(|count| {
        let is_known = server.jobs.one(&key).is_none_or(|tracked| tracked.job.is_verified);
        is_known || *count > enough
    });
    let _later = tokio::time::timeout(WAIT_MAX, decided).await;
    if server.jobs.rejected().remove(&key) {
        return Err(Refusal::new(ErrorCode::NotYours, "Slurm says that this job is another account's"));
    }
    Ok(Empty {})
}

fn record_of(uid: Uid, report: JobSubmitted, now: Timestamp) -> Result<Job, Refusal> {
    let JobSubmitted { username, project, core_id, slurm_id, submitted_at, output_folder, targets, links } = report;
    SlurmJobId::try_from(slurm_id).map_err(|error| Refusal::bad_request(error.to_string()))?;
    let submitted = Timestamp::from_seconds(submitted_at);
    if submitted_at <= 0 || submitted.since(now) > AHEAD_MAX_S {
        return Err(Refusal::bad_request("the time of submission is not possible"));
    }
    let is_path = |folder: &String| {
        folder.len() <= OUTPUT_FOLDER_MAX && folder.starts_with('/') && !folder.chars().any(char::is_control)
    };
    if !output_folder.as_ref().is_none_or(is_path) {
        return Err(Refusal::bad_request("the job's folder is not a path at UCloud"));
    }
    let is_name = |target: &Target| target.name.len() <= TARGET_NAME_MAX && !target.name.chars().any(char::is_control);
    if targets.len() > TARGETS_MAX || !targets.iter().all(is_name) {
        return Err(Refusal::bad_request("the job's targets are too many, or have no names"));
    }
    if links.len() > JOB_LINKS_MAX {
        return Err(Refusal::bad_request("the job has too many public links"));
    }
    let job = Job::new(core_id, uid, username, slurm_id, submitted, now);
    Ok(Job { project, output_folder, targets, links, ..job })
}

/// Records the job, or leaves the record that there is.
pub(super) async fn add(server: &Arc<Server>, call: &str, job: Job) -> Result<(), Refusal> {
    let uid = job.uid;
    let _one_at_a_time = server.jobs.writing.lock().await;
    let others: Vec<Job> = server.jobs.lock().values().map(|tracked| tracked.job.clone()).collect();
    let asker = asker(uid);
    let bound =
        if job.links.is_empty() { String::new() } else { format!(", public links {}", links::names(&job.links)) };
    let note = format!("job {} at Slurm{bound}", job.slurm_id);
    let action = AuditedAction::of(&asker, call);
    server.record(&AuditedAction { username: Some(&job.username), note: Some(&note), ..action })?;
    let (records, added) = (Arc::clone(&server.records), job.clone());
    let is_accounted = server.config.accounting.is_some();
    let work = move || {
        records.add_job(&added, &others).map_err(|not_added| match not_added {
            NotChanged::Rejected(JobRejection::Exists) => {
                Refusal::new(ErrorCode::Conflict, JobRejection::Exists.to_string())
            }
            NotChanged::Rejected(JobRejection::TooMany) => Refusal::too_many(JobRejection::TooMany.to_string()),
            NotChanged::Failed(failure) => failure.into(),
        })?;
        // Before the job can end. If the server ends here, the reporter takes the job up.
        if is_accounted {
            records.add_usage(&added.usage())?;
        }
        Ok(())
    };
    server.blocking(Asker::Account(uid), work).await?;
    let tracked = Tracked::new(job);
    server.jobs.lock().entry(tracked.key()).or_insert(tracked);
    Ok(())
}
