//! The operator right at Slurm: extends, suspends and resumes a job for its owner, and cancels a
//! job that Core has forgotten.
//!
//! Each is one fixed vector of arguments with numbers in it, for a job on record whose latest row
//! names the caller's uid. Without `slurm.operator` all are refused.

use std::sync::Arc;
use std::time::Duration;

use countersign_keys::identity::Uid;
use countersign_keys::time::Timestamp;
use countersign_slurm::{Commands, JobState, Limit, Program, SlurmFailure, SlurmJobId};

use super::commands_of;
use super::decide::Verdict;
use super::records::update;
use super::table::Tracked;
use crate::audit::record::AuditedAction;
use crate::connections::approval::asker;
use crate::http::reply::Refusal;
use crate::state::Server;
use countersign_config::{Operator, Slurm};
use countersign_ipc::error_code::ErrorCode;
use countersign_ipc::server_protocol::{Empty, JOBS_EXTEND, JOBS_SUSPEND, JobExtend, JobSuspend};

/// Longest time for a change. Core gives up on the user's request after 5 s.
const WITHIN: Duration = Duration::from_secs(4);

/// Oldest row on which a change may rest, in seconds. With a slow Slurm it is older.
const ROW_AGE_MAX_S: i64 = 150;

/// A change of a job that only an operator may make.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Change {
    /// The new limit in whole minutes.
    Limit(u64),
    Suspend,
    Resume,
    Cancel,
}

impl Change {
    fn command(self, id: SlurmJobId) -> (Program, Vec<String>) {
        match self {
            Self::Limit(minutes) => {
                (Program::Scontrol, vec!["update".to_owned(), format!("JobId={id}"), format!("TimeLimit={minutes}")])
            }
            Self::Suspend => (Program::Scontrol, vec!["suspend".to_owned(), id.to_string()]),
            Self::Resume => (Program::Scontrol, vec!["resume".to_owned(), id.to_string()]),
            Self::Cancel => (Program::Scancel, vec![id.to_string()]),
        }
    }
}

/// Lengthens a job of the calling account.
pub(crate) async fn extend(server: &Arc<Server>, uid: Uid, extend: JobExtend) -> Result<Empty, Refusal> {
    let (slurm, commands) = granted(server)?;
    let now = server.clock.now()?;
    let tracked = own(server, uid, &(extend.core_id, uid), now)?;
    let minutes = new_limit(&tracked, extend.minutes, slurm)?;
    record(server, &tracked, JOBS_EXTEND)?;
    run(&commands, &tracked, Change::Limit(minutes)).await?;
    server.jobs.look.notify_one();
    Ok(Empty {})
}

/// Suspends or resumes a job of the calling account.
pub(crate) async fn suspend(server: &Arc<Server>, uid: Uid, suspend: JobSuspend) -> Result<Empty, Refusal> {
    let (_, commands) = granted(server)?;
    let now = server.clock.now()?;
    let JobSuspend { core_id, suspend: is_paused } = suspend;
    let tracked = own(server, uid, &(core_id, uid), now)?;
    record(server, &tracked, JOBS_SUSPEND)?;
    run(&commands, &tracked, if is_paused { Change::Suspend } else { Change::Resume }).await?;
    let key = tracked.key();
    let noted = update(server, &key, |tracked| {
        tracked.job.is_paused = is_paused;
        Verdict::Changed
    });
    noted.await;
    server.jobs.look.notify_one();
    Ok(Empty {})
}

/// Cancels a job that Core does not have.
pub(super) async fn cancel_orphan(server: &Arc<Server>, tracked: &Tracked, now: Timestamp) -> Result<(), Refusal> {
    // UCloud did not begin a job outside, and does not end one by forgetting it.
    if tracked.job.end.is_some() || tracked.job.is_outside {
        return Ok(());
    }
    let (_, commands) = granted(server)?;
    let tracked = own(server, tracked.job.uid, &tracked.key(), now)?;
    record(server, &tracked, "/jobs/forgotten")?;
    run(&commands, &tracked, Change::Cancel).await
}

fn granted(server: &Server) -> Result<(&Slurm, Commands), Refusal> {
    let slurm = server.config.slurm.as_ref().filter(|slurm| slurm.operator == Operator::Granted);
    let refused = || Refusal::new(ErrorCode::Forbidden, "this computing centre does not change jobs that have begun");
    let slurm = slurm.ok_or_else(refused)?;
    Ok((slurm, commands_of(slurm)))
}

/// The job on record for that account, which Slurm has shown as that account's a moment ago.
fn own(server: &Server, uid: Uid, key: &super::table::Key, now: Timestamp) -> Result<Tracked, Refusal> {
    let tracked = server.jobs.one(key).ok_or_else(|| Refusal::not_found("no such job of this account is under way"))?;
    if tracked.job.is_outside {
        let why = "a job that was begun without UCloud is changed at the computing centre alone";
        return Err(Refusal::new(ErrorCode::Forbidden, why));
    }
    let is_own = |row: &countersign_slurm::Row| row.uid == uid.0 && row.id.get() == tracked.job.slurm_id;
    match &tracked.row {
        Some((row, at)) if is_own(row) && now.since(*at) <= ROW_AGE_MAX_S && !row.state.is_final() => Ok(tracked),
        Some((row, _)) if row.state.is_final() => Err(Refusal::new(ErrorCode::Conflict, "the job has ended")),
        _ => Err(Refusal::new(ErrorCode::Unavailable, "Slurm does not answer at the moment")),
    }
}

/// The limit after an extension, in whole minutes.
fn new_limit(tracked: &Tracked, more: u32, slurm: &Slurm) -> Result<u64, Refusal> {
    let row = tracked.row.as_ref().map(|(row, _)| row);
    let Some(Limit::Seconds(seconds)) = row.map(|row| row.limit) else {
        return Err(Refusal::bad_request("the job has no time limit"));
    };
    if !row.is_some_and(|row| matches!(row.state, JobState::Running | JobState::Pending | JobState::Suspended)) {
        return Err(Refusal::new(ErrorCode::Conflict, "the job cannot be extended as things stand"));
    }
    let minutes = (seconds / 60).saturating_add(more.into());
    if more == 0 || minutes > u64::from(slurm.time_max_h).saturating_mul(60) {
        let max = slurm.time_max_h;
        return Err(Refusal::bad_request(format!("a job has {max} hours at most: ask for less")));
    }
    Ok(minutes)
}

fn record(server: &Server, tracked: &Tracked, call: &str) -> Result<(), Refusal> {
    let asker = asker(tracked.job.uid);
    let note = format!("job {} at Slurm", tracked.job.slurm_id);
    let action = AuditedAction::of(&asker, call);
    server.record(&AuditedAction { username: Some(&tracked.job.username), note: Some(&note), ..action })
}

async fn run(commands: &Commands, tracked: &Tracked, change: Change) -> Result<(), Refusal> {
    let id = SlurmJobId::try_from(tracked.job.slurm_id).map_err(|error| Refusal::failure(&error))?;
    let (program, arguments) = change.command(id);
    match commands.run(program, &arguments, b"", WITHIN).await {
        Ok(_) => Ok(()),
        Err(SlurmFailure::Refused { said, .. }) => {
            Err(Refusal::new(ErrorCode::Conflict, format!("Slurm refused: {said}")))
        }
        Err(failure) => Err(Refusal::failure(&failure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operators_commands_are_fixed_but_for_numbers() {
        let id = SlurmJobId::parse("62").unwrap();
        let check = |change: Change, want: &[&str]| {
            let (program, arguments) = change.command(id);
            let said: Vec<&str> =
                std::iter::once(program.as_str()).chain(arguments.iter().map(String::as_str)).collect();
            assert_eq!(said, want);
        };
        check(Change::Limit(90), &["scontrol", "update", "JobId=62", "TimeLimit=90"]);
        check(Change::Suspend, &["scontrol", "suspend", "62"]);
        check(Change::Resume, &["scontrol", "resume", "62"]);
        check(Change::Cancel, &["scancel", "62"]);
    }
}
