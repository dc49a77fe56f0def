//! Jobs that connected users began without UCloud, at a site that shows them there
//! (`slurm.show_outside`): which there are, and which registered ones have no record.
//!
//! The rows of the queue decide; none of their columns is a user's text. No call of UCloud's
//! reaches such a job: no instance has a record of it, and the server's operator right does not
//! apply (decision 214).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign_keys::identity::{CoreJobId, Uid, Username};
use countersign_keys::store::StoreFailure;
use countersign_keys::store::jobs::{JOBS_MAX, Job};
use countersign_keys::time::Timestamp;
use countersign_slurm::{Row, SlurmJobId};

use super::begun::{Begun, Place, place};
use super::reports::add;
use crate::connections::expiry::Standing;
use crate::http::reply::{Refusal, blocking};
use crate::state::{Server, log_failure};

/// Most jobs of one account at a time. An array has a job for each task that runs.
pub(super) const EACH_MAX: usize = 100;

/// Most jobs of all accounts at a time. The other records are for jobs that UCloud starts.
const ALL_MAX: usize = JOBS_MAX / 2;

/// Most jobs that wait to be registered.
const BEGUN_MAX: usize = 1_000;

/// The operation in the audit log.
pub(super) const OUTSIDE: &str = "/jobs/outside";

/// How the id of a registered job at Core begins.
const PREFIX: &str = "slurm-";

/// Whether the site shows these jobs at UCloud.
pub(super) fn is_shown(server: &Server) -> bool {
    server.config.slurm.as_ref().is_some_and(|slurm| slurm.shows_outside)
}

/// The id of a job at Core: Slurm's number and time of submission, because numbers are reused.
pub(super) fn provider_id(slurm_id: SlurmJobId, submitted: i64) -> String {
    format!("{PREFIX}{slurm_id}-{submitted}")
}

/// The reverse. Core is not believed, so only the exact form is read.
fn parts(id: &str) -> Option<(SlurmJobId, i64)> {
    let (slurm_id, submitted) = id.strip_prefix(PREFIX)?.split_once('-')?;
    let (slurm_id, submitted) = (SlurmJobId::parse(slurm_id).ok()?, submitted.parse().ok()?);
    (submitted > 0 && provider_id(slurm_id, submitted) == id).then_some((slurm_id, submitted))
}

/// Notes the jobs in the queue that are not on record.
pub(super) async fn look(server: &Arc<Server>, rows: &[Row], now: Timestamp) {
    let known = server.jobs.places();
    let live: Vec<&Row> = rows.iter().filter(|row| !row.state.is_final() && !known.contains(&place(row))).collect();
    let owners = owners(server, live.iter().map(|row| Uid(row.uid)).collect(), now).await;
    let mut counts = on_record(server);
    let room = ALL_MAX.saturating_sub(counts.values().sum()).min(BEGUN_MAX);
    let mut turns: Vec<(usize, &Row, &Username)> = Vec::new();
    for row in live {
        let (uid, count) = (Uid(row.uid), counts.entry(Uid(row.uid)).or_default());
        if let Some(username) = owners.get(&uid).filter(|_| *count < EACH_MAX) {
            turns.push((*count, row, username));
            *count = count.saturating_add(1);
        }
    }
    // Accounts take turns, so that none with many jobs keeps the others waiting.
    turns.sort_by_key(|(turn, row, _)| (*turn, row.id));
    turns.truncate(room);
    let mut begun = server.jobs.begun();
    let seen: BTreeMap<Place, Timestamp> = begun.iter().map(|begun| (begun.place(), begun.since)).collect();
    let noted = turns.into_iter().map(|(_, row, username)| {
        let since = seen.get(&place(row)).copied().unwrap_or(now);
        Begun { row: row.clone(), username: username.clone(), since }
    });
    *begun = noted.collect();
}

/// How many of these jobs each account has on record.
pub(super) fn on_record(server: &Server) -> BTreeMap<Uid, usize> {
    let mut counts = BTreeMap::new();
    for tracked in server.jobs.lock().values().filter(|tracked| tracked.job.is_outside) {
        let count: &mut usize = counts.entry(tracked.job.uid).or_default();
        *count = count.saturating_add(1);
    }
    counts
}

/// The connected user of each of these accounts. An account that serves several users has none: its
/// jobs do not say whose they are. Neither has a uid that is another account's by now.
async fn owners(server: &Arc<Server>, uids: BTreeSet<Uid>, now: Timestamp) -> BTreeMap<Uid, Username> {
    let server = Arc::clone(server);
    let work = move || {
        let mut owners = BTreeMap::new();
        for uid in uids {
            if let [username] = server.records.usernames(uid)?.as_slice()
                && owns(&server, username, uid, now)?
            {
                owners.insert(uid, username.clone());
            }
        }
        Ok::<_, Refusal>(owners)
    };
    blocking(work).await.unwrap_or_default()
}

/// Whether a user is connected to this account.
fn owns(server: &Server, username: &Username, uid: Uid, now: Timestamp) -> Result<bool, StoreFailure> {
    let Standing::InForce(connection) = server.standing(username, now)? else { return Ok(false) };
    let uid_min = server.config.served().uid_min;
    Ok(connection.uid == uid && server.accounts.check(uid, Some(&connection.account), uid_min).is_ok())
}

/// Takes over a job that Core has by an id of this form, and that is not on record: the server
/// ended between registration and record. Core's word moves nothing: only rows of that account
/// count.
pub(super) async fn adopt(
    server: &Arc<Server>,
    core_id: &CoreJobId,
    id: Option<&str>,
    username: &Username,
    now: Timestamp,
) -> Result<bool, StoreFailure> {
    let Some((slurm_id, submitted)) = id.and_then(parts).filter(|_| is_shown(server)) else { return Ok(false) };
    let Standing::InForce(connection) = server.standing(username, now)? else { return Ok(false) };
    let uid = connection.uid;
    let is_full = on_record(server).get(&uid).is_some_and(|count| *count >= EACH_MAX);
    if is_full || !owns(server, username, uid, now)? || server.jobs.places().contains(&(uid, slurm_id.get())) {
        return Ok(false);
    }
    let job = record(core_id.clone(), (uid, slurm_id.get()), username.clone(), submitted, now);
    match add(server, OUTSIDE, job).await {
        Ok(()) => Ok(true),
        Err(refusal) => {
            log_failure("cannot record a job that was begun without UCloud", &refusal);
            Ok(false)
        }
    }
}

/// The record of a job. It is verified, because the account is that of Slurm's row, and an answer
/// about another account's job changes nothing.
pub(super) fn record(
    core_id: CoreJobId,
    (uid, slurm_id): Place,
    username: Username,
    submitted: i64,
    now: Timestamp,
) -> Job {
    let job = Job::new(core_id, uid, username, slurm_id, Timestamp::from_seconds(submitted), now);
    Job { is_verified: true, is_outside: true, ..job }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_at_core_is_read_in_one_form() {
        let id = SlurmJobId::parse("62").unwrap();
        assert_eq!(parts(&provider_id(id, 1_795_944_150)), Some((id, 1_795_944_150)));
        for bad in ["", "slurm-62", "slurm-62-0", "slurm-62--7", "slurm-062-7", "slurm-62-+7", "slurm-62-7-8", "x-62-7"]
        {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }
}
