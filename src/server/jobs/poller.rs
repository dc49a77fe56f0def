//! The one poller of the site: asks slurmctld for all jobs, and accounting for those that are not
//! among them.
//!
//! Nothing of it depends on how many accounts have jobs. If Slurm is slow or does not answer, it
//! asks less often, and no job changes its state (decision 195).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_keys::time::Timestamp;
use countersign_slurm::{Commands, IDS_MAX, Record, Row, SlurmFailure, SlurmJobId};

use super::decide::{AccountingAnswer, Answers, Verdict, take};
use super::forecast::Places;
use super::outside;
use super::records::update;
use super::table::{Key, Tracked};
use crate::links;
use crate::state::{Server, log_failure};
use countersign_ipc::alarm::Alarm;

/// Shortest time between two rounds, also when an account waits for one.
const ROUND_MIN: Duration = Duration::from_secs(1);

/// Longest time between two rounds while Slurm does not answer.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// A round takes at most this part of the time: after a slow answer the next round waits.
const SHARE: u32 = 5;

/// How often partitions are looked up.
const PARTITIONS_EVERY: Duration = Duration::from_secs(60);

/// Longest time between two questions to accounting about one job, in seconds.
const ACCOUNTING_WAIT_MAX_S: i64 = 60;

/// How much earlier than its submission a job's records are looked for, in seconds: clocks differ.
const SLACK_S: i64 = 3_600;

/// Longest look back into accounting, in seconds.
const BACK_MAX_S: i64 = 400 * 86_400;

/// What accounting answered about the jobs that it was asked about.
#[derive(Default)]
struct Accounting {
    records: HashMap<SlurmJobId, Vec<Record>>,
    /// The jobs about which the answer is complete.
    whole: Vec<SlurmJobId>,
}

/// Asks Slurm until the server ends.
pub(crate) async fn run(server: Arc<Server>, commands: Commands) {
    let Some(poll) = server.config.slurm.as_ref().map(|slurm| slurm.poll) else { return };
    let mut wait = poll;
    let mut partitions_at: Option<Instant> = None;
    let mut was_answered = true;
    loop {
        let began = Instant::now();
        let is_due = |at: &Instant| began.duration_since(*at) >= PARTITIONS_EVERY;
        if partitions_at.as_ref().is_none_or(is_due) {
            partitions_at = Some(began);
            look_at_partitions(&server, &commands).await;
        }
        let is_idle = server.jobs.is_empty() && !outside::is_shown(&server);
        if !is_idle {
            let polled = round(&server, &commands).await;
            server.metrics.slurm_polls.observe(began.elapsed());
            match polled {
                Ok(()) => {
                    if !was_answered {
                        tracing::info!("Slurm answers again");
                    }
                    was_answered = true;
                    wait = poll.max(began.elapsed().saturating_mul(SHARE.saturating_sub(1)));
                }
                Err(failure) => {
                    server.metrics.slurm_poll_failures.add_one();
                    if was_answered {
                        log_failure("Slurm does not answer: every job keeps its state", &failure);
                    }
                    was_answered = false;
                    wait = wait.saturating_mul(2).min(WAIT_MAX);
                }
            }
        }
        let look = server.jobs.look.notified();
        let pause = if is_idle { PARTITIONS_EVERY } else { wait };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = look => tokio::time::sleep(ROUND_MIN.saturating_sub(began.elapsed())).await,
        }
    }
}

/// Looks once at every job.
pub(crate) async fn round(server: &Arc<Server>, commands: &Commands) -> Result<(), SlurmFailure> {
    // Jobs that are reported during the round wait for the next.
    let jobs: Vec<(Key, Tracked)> =
        server.jobs.lock().iter().map(|(key, tracked)| (key.clone(), tracked.clone())).collect();
    let listing = commands.squeue().await?;
    report_unreadable("squeue", listing.unreadable, listing.first_unreadable.as_deref());
    let Ok(now) = server.clock.now() else { return Ok(()) };
    if outside::is_shown(server) {
        outside::look(server, &listing.rows, now).await;
    }
    let rows: HashMap<SlurmJobId, &Row> = listing.rows.iter().map(|row| (row.id, row)).collect();
    let places = Places::of(&listing.rows);
    server.jobs.queue().wanted = places.wanted();
    let asked = about_whom(&jobs, &rows, now);
    let accounting = ask_accounting(commands, &asked, now).await;
    for (key, before) in jobs {
        let Ok(id) = SlurmJobId::try_from(before.job.slurm_id) else { continue };
        let was_asked = asked.contains_key(&key);
        let answers = Answers {
            is_queue_whole: listing.unreadable == 0,
            accounting: match accounting.whole.binary_search(&id) {
                Ok(_) => AccountingAnswer::Whole,
                Err(_) if was_asked => AccountingAnswer::None,
                Err(_) => AccountingAnswer::NotAsked,
            },
        };
        let records: Vec<&Record> = accounting.records.get(&id).into_iter().flatten().collect();
        let row = rows.get(&id).copied();
        let forecast = row.and_then(|row| places.forecast(row, now));
        let known = update(server, &key, |tracked| {
            tracked.forecast = forecast;
            if was_asked {
                let count = tracked.accounting.1.saturating_add(1);
                let wait_s = 1_i64.checked_shl(count.min(20)).unwrap_or(i64::MAX).min(ACCOUNTING_WAIT_MAX_S);
                tracked.accounting = (now.plus(wait_s), count);
            }
            let verdict = take(tracked, row, &records, answers, now);
            if verdict == Verdict::Forget {
                let (job, uid) = &key;
                server.jobs.rejected().insert(key.clone());
                tracing::warn!(%job, %uid, slurm_id = %id, "rejected job: Slurm says that it is another account's");
                server.alarms.raise(Alarm::JobOfAnother, Some(&tracked.job.username));
            }
            verdict
        });
        let has_ended = match known.await {
            Some(known) => known.job.end.is_some(),
            None => server.jobs.one(&key).is_none(),
        };
        if has_ended && before.job.end.is_none() {
            links::record_unbound(server, &before.job);
        }
    }
    server.jobs.answers.send_modify(|count| *count = count.wrapping_add(1));
    server.jobs.news.notify_one();
    Ok(())
}

/// The jobs about which accounting is asked: those without a row, and those that have ended.
fn about_whom(
    jobs: &[(Key, Tracked)],
    rows: &HashMap<SlurmJobId, &Row>,
    now: Timestamp,
) -> BTreeMap<Key, (SlurmJobId, Timestamp)> {
    let is_asked = |(key, tracked): &(Key, Tracked)| {
        let id = SlurmJobId::try_from(tracked.job.slurm_id).ok()?;
        let row = rows.get(&id).filter(|row| row.uid == tracked.job.uid.0);
        let is_live = row.is_some_and(|row| !row.state.is_final());
        let is_due = now >= tracked.accounting.0;
        (tracked.job.end.is_none() && !is_live && is_due).then(|| (key.clone(), (id, tracked.job.submitted)))
    };
    jobs.iter().filter_map(is_asked).collect()
}

async fn ask_accounting(
    commands: &Commands,
    asked: &BTreeMap<Key, (SlurmJobId, Timestamp)>,
    now: Timestamp,
) -> Accounting {
    let mut accounting = Accounting::default();
    let asked: Vec<(SlurmJobId, Timestamp)> = asked.values().copied().collect();
    for chunk in asked.chunks(IDS_MAX) {
        let first = chunk.iter().map(|(_, submitted)| *submitted).min().unwrap_or(now);
        let back_s = now.since(first).saturating_add(SLACK_S).clamp(SLACK_S, BACK_MAX_S);
        let ids: Vec<SlurmJobId> = chunk.iter().map(|(id, _)| *id).collect();
        match commands.sacct(&ids, back_s.unsigned_abs()).await {
            Ok(listing) => {
                report_unreadable("sacct", listing.unreadable, listing.first_unreadable.as_deref());
                if listing.unreadable == 0 {
                    accounting.whole.extend(&ids);
                }
                for record in listing.rows {
                    accounting.records.entry(record.id).or_default().push(record);
                }
            }
            Err(failure) => {
                tracing::debug!(cause = %failure, "accounting does not answer");
                break;
            }
        }
    }
    accounting.whole.sort_unstable();
    accounting
}

fn report_unreadable(program: &str, lines: usize, first: Option<&str>) {
    if lines > 0 {
        tracing::warn!(program, lines, first, "ignored unreadable lines of Slurm");
    }
}

async fn look_at_partitions(server: &Server, commands: &Commands) {
    match commands.sinfo().await {
        Ok(listing) => server.jobs.queue().partitions = listing.rows,
        Err(failure) => {
            tracing::debug!(cause = %failure, "cannot look up partitions");
            // Nothing is said of a load that is not known.
            server.jobs.queue().partitions.clear();
        }
    }
}
