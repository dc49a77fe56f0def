//! Tells Core every change of a job once.
//!
//! Changes of the state are told, then noted: after a crash between the two Core is told again, and
//! ignores it, because each expects another state. Targets are told, then noted, because without
//! one its user cannot open that interface. Sentences alone are noted, then told: a crash may lose
//! one, and never repeats one. One job cannot fill Core with updates.

use std::sync::Arc;
use std::time::Duration;

use countersign_keys::store::jobs::Job;
use countersign_keys::time::Timestamp;
use countersign_slurm::Standing;
use http::StatusCode;

use super::core_calls::{
    CHECK_EXISTENCE, Change, Existence, Item, Items, JOB_BYTES_MAX, JobAtCore, RETRIEVE, Resource, UPDATE, Update,
};
use super::decide::{Verdict, at_core, limit_min, live_state, warning};
use super::operator;
use super::records::update;
use super::table::{Key, Tracked};
use crate::core::client::{Call, CoreCalls, CoreFailure};
use crate::state::{Server, log_failure};
use countersign_ipc::alarm::Alarm;

/// Most updates of a job. Core does not load a job with more than 10,000.
const UPDATES_MAX: u32 = 1_000;

/// Most updates before only states are told.
const WORDS_MAX: u32 = 900;

/// Shortest time between two sentences without a change of the state, in seconds: reasons of
/// waiting jobs alternate.
const WORDS_EVERY_S: i64 = 60;

/// Shortest time between two sentences that differ only in how long the job may wait, in seconds.
const FORECAST_EVERY_S: i64 = 1_800;

/// Most updates in one request.
const BATCH: usize = 100;

/// Most changes of one job in a round: its folder, its state, a sentence, its time.
const PASSES: usize = 4;

/// Pause after Core refused an update of a job, in seconds.
const REFUSED_WAIT_S: i64 = 100;

/// How often, and for how long, Core says that it has no such job before it is believed: its answer
/// may come before the job is stored.
const DENIALS_MIN: u32 = 3;
const DENIED_FOR_S: i64 = 300;

/// Shortest and longest time between two rounds.
const ROUND_MIN: Duration = Duration::from_millis(200);
const ROUND_MAX: Duration = Duration::from_secs(15);

/// Longest wait while Core cannot be reached.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Tells Core until the server ends.
pub(crate) async fn run(server: Arc<Server>, core: Arc<CoreCalls>) {
    let mut wait = ROUND_MIN;
    loop {
        let is_reached = match server.clock.now() {
            Ok(now) => round(&server, &core, now).await,
            Err(failure) => {
                log_failure("postponed updates of jobs", &failure);
                true
            }
        };
        wait = if is_reached { ROUND_MIN } else { (wait * 2).min(WAIT_MAX) };
        tokio::time::sleep(wait).await;
        if is_reached {
            let _news = tokio::time::timeout(ROUND_MAX, server.jobs.news.notified()).await;
        }
    }
}

/// Tells Core every change that is due. Returns whether Core could be reached.
pub(crate) async fn round(server: &Arc<Server>, core: &CoreCalls, now: Timestamp) -> bool {
    let unknown: Vec<Key> = {
        let jobs = server.jobs.lock();
        let asks = |tracked: &&Tracked| tracked.job.is_verified && !tracked.is_users_at_core && may_tell(tracked, now);
        jobs.values().filter(asks).map(Tracked::key).collect()
    };
    for key in unknown {
        if let Err(failure) = ask_whose(server, core, &key, now).await
            && handle(server, core, &key, &failure, now).await == Reached::No
        {
            return false;
        }
    }
    for _ in 0..PASSES {
        let due: Vec<(Key, Change)> = {
            let jobs = server.jobs.lock();
            jobs.values().filter_map(|tracked| Some((tracked.key(), change(tracked, now)?))).collect()
        };
        if due.is_empty() {
            break;
        }
        for batch in due.chunks(BATCH) {
            if tell(server, core, batch, now).await == Reached::No {
                return false;
            }
        }
    }
    forget_ended_orphans(server).await;
    true
}

/// Whether Core could be reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reached {
    Yes,
    No,
}

fn may_tell(tracked: &Tracked, now: Timestamp) -> bool {
    !tracked.is_orphan && now >= tracked.tell_after
}

/// The next change that Core must be told of a job.
pub(crate) fn change(tracked: &Tracked, now: Timestamp) -> Option<Change> {
    let job = &tracked.job;
    if !job.is_verified || !tracked.is_users_at_core || !may_tell(tracked, now) {
        return None;
    }
    if let Some(folder) = &job.output_folder {
        return Some(Change::Folder(folder.clone()));
    }
    if let Some((state, words)) = &job.end {
        return Some(Change::End { state: state.clone(), words: words.clone() });
    }
    // The last update is kept for the end.
    let has_room = job.updates < UPDATES_MAX.saturating_sub(1);
    let (state, words) = live_state(tracked).filter(|_| has_room)?;
    if job.told.as_deref() != Some(state) {
        return Some(Change::State { state: state.to_owned(), words });
    }
    if job.updates >= WORDS_MAX {
        return None;
    }
    if let Some(target) = job.targets.first().filter(|_| state == at_core(Standing::Running)) {
        return Some(Change::Target(target.clone()));
    }
    if let Some(minutes) = warning(tracked, now) {
        return Some(Change::Warning(minutes));
    }
    let every_s = if is_forecast_alone(tracked) { FORECAST_EVERY_S } else { WORDS_EVERY_S };
    let is_rested = job.words_at.is_none_or(|at| now.since(at) >= every_s);
    if is_rested && job.words.as_deref() != Some(words.as_str()) {
        return Some(Change::Words(words));
    }
    let limit = limit_min(tracked)?;
    job.limit_told_min.is_some_and(|told| told != limit).then_some(Change::Limit(limit))
}

/// Whether Core was told why the job waits, so that at most its forecast is new.
fn is_forecast_alone(tracked: &Tracked) -> bool {
    let (Some(told), Some(seen)) = (&tracked.job.words, &tracked.seen) else { return false };
    told.starts_with(&seen.words)
}

/// Tells Core a batch. If Core refuses it, each change is told alone: Core refuses a whole request
/// for one id that it does not have.
async fn tell(server: &Arc<Server>, core: &CoreCalls, batch: &[(Key, Change)], now: Timestamp) -> Reached {
    for (key, change) in batch {
        if change.is_sentence() {
            note(server, key, change, now).await;
        }
    }
    match send(core, batch, now).await {
        Ok(()) => {
            for (key, change) in batch {
                if !change.is_sentence() {
                    note(server, key, change, now).await;
                }
            }
            Reached::Yes
        }
        Err(failure) if failure.is_general() => {
            log_failure("cannot tell Core of jobs", &failure);
            Reached::No
        }
        Err(failure) if batch.len() == 1 => match batch.first() {
            Some((key, _)) => handle(server, core, key, &failure, now).await,
            None => Reached::Yes,
        },
        Err(_) => {
            for (key, change) in batch {
                let one = [(key.clone(), change.clone())];
                match send(core, &one, now).await {
                    // Sentences were noted above.
                    Ok(()) if change.is_sentence() => {}
                    Ok(()) => note(server, key, change, now).await,
                    Err(failure) => {
                        if handle(server, core, key, &failure, now).await == Reached::No {
                            return Reached::No;
                        }
                    }
                }
            }
            Reached::Yes
        }
    }
}

async fn send(core: &CoreCalls, batch: &[(Key, Change)], now: Timestamp) -> Result<(), CoreFailure> {
    let items = batch.iter().map(|((core_id, _), change)| Item { id: core_id.as_str(), update: Update::of(change) });
    core.ask(&Call::post(UPDATE, &Items { items: items.collect::<Vec<_>>() })?, now).await.map(|_body| ())
}

/// Notes that Core was told a change, or will be. If that cannot be written, Core is told again,
/// and ignores it.
async fn note(server: &Arc<Server>, key: &Key, change: &Change, now: Timestamp) {
    let noted = update(server, key, |tracked| {
        tracked.denied = None;
        noted(&mut tracked.job, change, now);
        if let Change::End { state, .. } = change {
            tracing::info!(job = %key.0, uid = %key.1, state, "told Core of a job's end");
            return Verdict::Told(now);
        }
        Verdict::Changed
    });
    noted.await;
}

fn noted(job: &mut Job, change: &Change, now: Timestamp) {
    job.updates = job.updates.saturating_add(1);
    match change {
        Change::Folder(_) => job.output_folder = None,
        Change::State { state, words } => {
            job.told = Some(state.clone());
            (job.words, job.words_at) = (Some(words.clone()), Some(now));
        }
        Change::Target(target) => job.targets.retain(|untold| untold != target),
        Change::Words(words) => (job.words, job.words_at) = (Some(words.clone()), Some(now)),
        Change::Warning(minutes) => job.warned_min = Some(*minutes),
        Change::Limit(minutes) => job.limit_told_min = Some(*minutes),
        Change::End { .. } => {}
    }
}

/// Asks Core whose the job is. Core's ids are guessable: an account must not change the job of
/// another account's user. Takes Core's state over, so that Core is told again what it has lost.
async fn ask_whose(server: &Arc<Server>, core: &CoreCalls, key: &Key, now: Timestamp) -> Result<(), CoreFailure> {
    let answer = core.ask(&Call::get(RETRIEVE, &[("id", key.0.as_str())]).with_answer_max(JOB_BYTES_MAX), now).await?;
    let theirs: JobAtCore = serde_json::from_slice(&answer).map_err(|_error| CoreFailure::Form { call: RETRIEVE })?;
    let taken = update(server, key, |tracked| {
        if theirs.owner.created_by != tracked.job.username.as_str() {
            tracing::warn!(job = %key.0, uid = %key.1, "rejected job: Core says that it is another user's");
            server.alarms.raise(Alarm::JobOfAnother, Some(&tracked.job.username));
            return Verdict::Forget;
        }
        tracked.is_users_at_core = true;
        tracked.job.told = Some(theirs.status.state);
        Verdict::Same
    });
    taken.await;
    Ok(())
}

/// Handles a failure about one job.
async fn handle(server: &Arc<Server>, core: &CoreCalls, key: &Key, failure: &CoreFailure, now: Timestamp) -> Reached {
    if failure.is_general() {
        log_failure("cannot tell Core of jobs", failure);
        return Reached::No;
    }
    let is_unknown = matches!(failure, CoreFailure::Status { status: StatusCode::NOT_FOUND, .. });
    let is_denied = is_unknown && matches!(exists(core, key, now).await, Ok(false));
    let noted = update(server, key, |tracked| {
        tracked.tell_after = now.plus(REFUSED_WAIT_S);
        if is_denied {
            let (count, since) = tracked.denied.unwrap_or((0, now));
            tracked.denied = Some((count.saturating_add(1), since));
        }
        let is_certain = |(count, since)| count >= DENIALS_MIN && now.since(since) >= DENIED_FOR_S;
        tracked.is_orphan = tracked.denied.is_some_and(is_certain);
        Verdict::Same
    });
    let Some(tracked) = noted.await else { return Reached::Yes };
    if tracked.is_orphan {
        give_up(server, &tracked, now).await;
    } else {
        tracing::warn!(job = %key.0, uid = %key.1, cause = %failure, "cannot tell Core of a job");
    }
    Reached::Yes
}

async fn exists(core: &CoreCalls, key: &Key, now: Timestamp) -> Result<bool, CoreFailure> {
    let items = [Resource { r#type: "job", id: key.0.as_str() }];
    let answer = core.ask(&Call::post(CHECK_EXISTENCE, &Items { items })?, now).await?;
    let answer: Existence =
        serde_json::from_slice(&answer).map_err(|_error| CoreFailure::Form { call: CHECK_EXISTENCE })?;
    answer.responses.first().copied().ok_or(CoreFailure::Form { call: CHECK_EXISTENCE })
}

/// Core has no such job. No user can end it there, so it is cancelled, if the server may.
async fn give_up(server: &Arc<Server>, tracked: &Tracked, now: Timestamp) {
    if let Err(refusal) = operator::cancel_orphan(server, tracked, now).await {
        let (job, uid) = tracked.key();
        let slurm_id = tracked.job.slurm_id;
        tracing::error!(%job, %uid, slurm_id, why = %refusal, "cannot cancel a job that UCloud has forgotten");
    }
}

/// Forgets the jobs that have ended and that Core does not have.
async fn forget_ended_orphans(server: &Arc<Server>) {
    let ended: Vec<Key> = {
        let jobs = server.jobs.lock();
        jobs.values().filter(|tracked| tracked.is_orphan && tracked.job.end.is_some()).map(Tracked::key).collect()
    };
    for key in ended {
        update(server, &key, |_| Verdict::Forget).await;
    }
}
