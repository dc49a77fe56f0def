//! Compares the jobs that Core believes to be under way with the records here: when the server
//! starts, and once a day.
//!
//! An end that Core has lost is told again. A job that only Core names is told as failed if none
//! of its account's jobs at Slurm can be it (decision 212). Core is not believed: what it lists
//! starts, ends and changes nothing at Slurm, and is bounded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use countersign_keys::identity::{CoreJobId, Username};
use countersign_keys::store::StoreFailure;
use countersign_keys::store::jobs::{ENDED_KEPT_S, EndedJob, JOBS_MAX};
use countersign_keys::time::Timestamp;
use countersign_slurm::{Commands, Row, SlurmFailure};

use super::core_calls::{BROWSE, Item, Items, Listed, PAGE_BYTES_MAX, Page, UPDATE, Update};
use super::{commands_of, outside};
use crate::connections::expiry::Standing;
use crate::core::client::{Call, CoreCalls, CoreFailure};
use crate::http::reply::{Refusal, blocking};
use crate::state::{Server, log_failure};

/// Core's words for jobs that have not ended.
const UNDER_WAY: [&str; 3] = ["IN_QUEUE", "RUNNING", "SUSPENDED"];

/// Jobs on a page. A job has some kilobytes, and a workflow's script.
const PAGE: usize = 50;

/// Most pages of one state: as many jobs as there can be on record here.
const PAGES_MAX: usize = JOBS_MAX / PAGE;

/// Longest mark of the next page, in bytes. Core's is a number.
const NEXT_MAX: usize = 256;

/// Most jobs without a record that are looked at again.
const UNKNOWN_MAX: usize = 1_000;

/// How long a job is without a record before it counts as lost, in seconds. A submission takes a
/// minute, and an account whose process was killed reports it at its next start.
const UNKNOWN_AFTER_S: i64 = 3_600;

/// How often Core's jobs are compared.
const EVERY: Duration = Duration::from_secs(86_400);

/// Pause before jobs without a record are looked at again.
const AGAIN: Duration = Duration::from_secs(3_660);

/// Shortest pause after a failure. It doubles up to [`AGAIN`].
const RETRY: Duration = Duration::from_secs(60);

/// Why the jobs cannot be compared now.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReconcileFailure {
    #[error(transparent)]
    Core(#[from] CoreFailure),
    #[error(transparent)]
    Store(#[from] StoreFailure),
    #[error("{0}")]
    Work(Refusal),
}

/// Since when jobs that Core names have no record here. At most [`UNKNOWN_MAX`].
pub(super) type Unknown = BTreeMap<CoreJobId, Timestamp>;

/// What Core says of a job under way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct AtCore {
    pub(super) created_by: String,
    pub(super) state: &'static str,
    /// The id under which this provider registered it.
    pub(super) provider_id: Option<String>,
}

/// Compares until the server ends.
pub(crate) async fn run(server: Arc<Server>, core: Arc<CoreCalls>) {
    let Some(slurm) = &server.config.slurm else { return };
    let commands = commands_of(slurm);
    let mut unknown = Unknown::new();
    let mut retry = RETRY;
    loop {
        let compared = match server.clock.now() {
            Ok(now) => compare(&server, &core, &commands, &mut unknown, now).await.map(|()| now),
            Err(failure) => Err(ReconcileFailure::Work(failure.into())),
        };
        let pause = match compared {
            Ok(now) => {
                retry = RETRY;
                let is_young = |since: &Timestamp| now.since(*since) < UNKNOWN_AFTER_S;
                if unknown.values().any(is_young) { AGAIN } else { EVERY }
            }
            Err(failure) => {
                log_failure("cannot compare Core's jobs with the records", &failure);
                retry = (retry * 2).min(AGAIN);
                retry
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Compares once.
pub(super) async fn compare(
    server: &Arc<Server>,
    core: &CoreCalls,
    commands: &Commands,
    unknown: &mut Unknown,
    now: Timestamp,
) -> Result<(), ReconcileFailure> {
    let records = Arc::clone(&server.records);
    let too_old = now.plus(-ENDED_KEPT_S);
    let ended = blocking(move || Ok(records.keep_ended_jobs(too_old)?)).await.map_err(ReconcileFailure::Work)?;
    let ended: BTreeMap<CoreJobId, EndedJob> = ended.into_iter().map(|end| (end.core_id.clone(), end)).collect();
    let seen = under_way(core, now).await?;
    let mut missing: Vec<(&CoreJobId, &AtCore, Username)> = Vec::new();
    for (id, at_core) in &seen {
        let Ok(username) = Username::parse(&at_core.created_by) else { continue };
        if server.jobs.has(id) {
            continue;
        }
        match ended.get(id).filter(|end| end.username == username) {
            Some(end) => tell(core, id, at_core, &end.state, &end.words, now).await?,
            None if outside::adopt(server, id, at_core.provider_id.as_deref(), &username, now).await? => {}
            None => missing.push((id, at_core, username)),
        }
    }
    unknown.retain(|id, _| missing.iter().any(|(missing, ..)| *missing == id));
    for (id, ..) in &missing {
        if unknown.len() < UNKNOWN_MAX {
            unknown.entry((*id).clone()).or_insert(now);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    tracing::warn!(jobs = missing.len(), "UCloud has jobs under way of which there is no record here");
    fail_lost(server, core, commands, unknown, &missing, now).await
}

/// Tells Core that jobs have failed of which there is no record, if that is certain.
async fn fail_lost(
    server: &Server,
    core: &CoreCalls,
    commands: &Commands,
    unknown: &mut Unknown,
    missing: &[(&CoreJobId, &AtCore, Username)],
    now: Timestamp,
) -> Result<(), ReconcileFailure> {
    let is_old = |id: &CoreJobId| unknown.get(id).is_some_and(|since| now.since(*since) >= UNKNOWN_AFTER_S);
    let old: Vec<_> = missing.iter().filter(|(id, ..)| is_old(id)).collect();
    if old.is_empty() {
        return Ok(());
    }
    let rows = match whole_queue(commands).await {
        Ok(Some(rows)) => rows,
        Ok(None) => return Ok(()),
        Err(failure) => {
            tracing::debug!(cause = %failure, "Slurm does not answer: no job of UCloud's is given up");
            return Ok(());
        }
    };
    for (id, at_core, username) in old {
        let Standing::InForce(connection) = server.standing(username, now)? else { continue };
        let may_be_it = rows.iter().any(|row| row.uid == connection.uid.0 && !row.state.is_final());
        // It may have been reported meanwhile.
        if may_be_it || server.jobs.has(id) {
            continue;
        }
        tracing::warn!(job = %id, "told UCloud that a job without a record has failed");
        let words = "The computing centre has no record of this job, and no job of yours waits or runs there.";
        tell(core, id, at_core, "FAILURE", words, now).await?;
        unknown.remove(*id);
    }
    Ok(())
}

/// Every job in Slurm's queue; `None` if a line of it cannot be read.
async fn whole_queue(commands: &Commands) -> Result<Option<Vec<Row>>, SlurmFailure> {
    let listing = commands.squeue().await?;
    Ok((listing.unreadable == 0).then_some(listing.rows))
}

/// Tells Core an end. Core ignores it if the job has another state by now.
async fn tell(
    core: &CoreCalls,
    id: &CoreJobId,
    at_core: &AtCore,
    state: &str,
    words: &str,
    now: Timestamp,
) -> Result<(), ReconcileFailure> {
    let update = Update { expected_state: Some(at_core.state), ..Update::of_state(state, words) };
    let told = core.ask(&Call::post(UPDATE, &Items { items: [Item { id: id.as_str(), update }] })?, now).await;
    match told {
        Err(failure) if failure.is_general() => Err(failure.into()),
        Err(failure) => {
            tracing::warn!(job = %id, cause = %failure, "cannot tell Core of a job's end");
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

/// The jobs that Core believes to be under way.
pub(super) async fn under_way(core: &CoreCalls, now: Timestamp) -> Result<BTreeMap<CoreJobId, AtCore>, CoreFailure> {
    let mut seen = BTreeMap::new();
    for state in UNDER_WAY {
        let mut next: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let size = PAGE.to_string();
            let mut parameters = vec![("itemsPerPage", size.as_str()), ("filterState", state)];
            parameters.extend(next.as_deref().map(|next| ("next", next)));
            let call = Call::get(BROWSE, &parameters).with_answer_max(PAGE_BYTES_MAX);
            let page = Page::read(&core.ask(&call, now).await?)?;
            let following = add(&mut seen, page, state).filter(|following| next.as_ref() != Some(following));
            if following.is_none() {
                break;
            }
            next = following;
        }
    }
    Ok(seen)
}

/// Adds the jobs of a page, and returns the mark of the next one.
fn add(seen: &mut BTreeMap<CoreJobId, AtCore>, page: Page, state: &'static str) -> Option<String> {
    let Page { items, next } = page;
    let is_last = items.is_empty() || seen.len() >= JOBS_MAX;
    for Listed { id, provider_generated_id: provider_id, job } in items.into_iter().take(PAGE) {
        let Ok(id) = CoreJobId::parse(&id) else { continue };
        if job.status.state == state && seen.len() < JOBS_MAX {
            seen.insert(id, AtCore { created_by: job.owner.created_by, state, provider_id });
        }
    }
    next.filter(|next| !is_last && next.len() <= NEXT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Page {
        Page::read(text.as_bytes()).unwrap()
    }

    fn job(id: &str, state: &str) -> String {
        format!("{{\"id\":{id:?},\"owner\":{{\"createdBy\":\"alice#1\"}},\"status\":{{\"state\":{state:?}}}}}")
    }

    #[test]
    fn what_core_lists_is_bounded() {
        let mut seen = BTreeMap::new();
        let mut add = |text: &str| add(&mut seen, page(text), "RUNNING");
        let items =
            [job("1", "RUNNING"), job("../2", "RUNNING"), job("3", "SUCCESS"), "{\"id\":7}".to_owned()].join(",");
        assert_eq!(add(&format!("{{\"items\":[{items}],\"next\":\"1\"}}")).as_deref(), Some("1"));
        assert_eq!(add("{\"items\":[],\"next\":\"1\"}"), None);
        let long = "9".repeat(NEXT_MAX + 1);
        assert_eq!(add(&format!("{{\"items\":[{}],\"next\":{long:?}}}", job("4", "RUNNING"))), None);
        let many: Vec<String> = (100..100 + 2 * PAGE).map(|id| job(&id.to_string(), "RUNNING")).collect();
        add(&format!("{{\"items\":[{}],\"next\":null}}", many.join(",")));
        assert_eq!(seen.len(), 2 + PAGE);
        for bad in ["", "[]", "{}", "{\"items\":{}}", "{\"items\":[],\"next\":7}"] {
            assert!(Page::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
