//! Looks up what jobs have used, and tells Core until it has acknowledged each last figure.
//!
//! Every figure is in the store before Core is told it, and so is every acknowledgement: after a
//! crash at most one request is repeated, with the same figures. While accounting or Core do not
//! answer, everything waits. One item that Core refuses keeps no other away.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use countersign_keys::identity::Uid;
use countersign_keys::store::usage::{JobUsage, Owner, UsageTotal};
use countersign_keys::time::Timestamp;
use countersign_slurm::{Commands, IDS_MAX, Run, SlurmFailure, SlurmJobId};
use http::StatusCode;

use super::charge::{Look, SLACK_S, Used, look};
use super::send::{Figure, ITEMS_MAX, Sent, send};
use crate::core::client::{Call, CoreCalls, CoreFailure};
use crate::http::reply::{Refusal, blocking};
use crate::jobs::commands_of;
use crate::jobs::core_calls::{JOB_BYTES_MAX, JobAtCore, RETRIEVE};
use crate::state::{Records, Server, log_failure};
use countersign_ipc::alarm::Alarm;
use countersign_keys::store::StoreFailure;

/// How long a figure that Core refused waits, in seconds.
const ASIDE_S: i64 = 3_600;

/// How long a job is looked for of which accounting knows nothing while it answers, in seconds.
/// slurmctld keeps what slurmdbd was not told, for days if need be.
const UNKNOWN_AFTER_S: i64 = 30 * 86_400;

/// Longest look back into accounting, in seconds.
const BACK_MAX_S: i64 = 400 * 86_400;

/// Most times in a round that an answer with an unreadable line is asked for in halves.
const SPLITS_MAX: u32 = 50;

/// Most jobs in a round of which Core is asked whose they are.
const WHOSE_MAX: usize = 1_000;

/// Slurm's number and the account.
type Key = (u32, Uid);

/// Reports usage. Everything durable is in the store.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    /// Until when refused figures wait, by job. Those of jobs that are done are dropped.
    aside: BTreeMap<Key, Timestamp>,
    /// The refusals that were logged: one for each owner and category.
    refused: BTreeSet<(Owner, String)>,
    /// Jobs whose trouble was logged. Those that are done are dropped.
    warned: BTreeSet<Key>,
    /// Jobs on record that have a figure as a part of another, whose number this is. Those off the
    /// record are dropped.
    parts: BTreeMap<Key, u32>,
    /// Whether accounting did not answer the last time.
    is_unanswered: bool,
}

/// Whether Core answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reached {
    Yes,
    No,
}

/// Reports until the server ends.
pub(crate) async fn run(server: Arc<Server>, core: Arc<CoreCalls>) {
    let Some(reports) = &server.config.accounting else { return };
    let Some(slurm) = &server.config.slurm else { return };
    let commands = commands_of(slurm);
    let mut reporter = Reporter::default();
    loop {
        match server.clock.now() {
            Ok(now) => match reporter.round(&server, &core, &commands, now).await {
                // The cause is in the log; the next round repeats what was not acknowledged.
                Ok(Reached::Yes | Reached::No) => {}
                Err(failure) => log_failure("postponed reports of usage", &failure),
            },
            Err(failure) => log_failure("postponed reports of usage", &failure),
        }
        tokio::time::sleep(reports.every).await;
    }
}

impl Reporter {
    /// Looks once at every job, and tells Core what is new.
    pub(crate) async fn round(
        &mut self,
        server: &Arc<Server>,
        core: &CoreCalls,
        commands: &Commands,
        now: Timestamp,
    ) -> Result<Reached, Refusal> {
        let on_record = self.take_up(server).await?;
        let mut usages = stored(server).await?;
        let answered = self.ask_accounting(commands, &usages, now).await;
        self.look(server, &mut usages, &answered, &on_record, now).await?;
        let reached = match self.ask_whose(server, core, &mut usages, now).await? {
            Reached::Yes => self.tell(server, core, &mut usages, now).await?,
            Reached::No => Reached::No,
        };
        // A job on record would be taken up again, and counted twice.
        let kept: BTreeSet<Key> = self.parts.iter().map(|((_, uid), whole)| (*whole, *uid)).chain(on_record).collect();
        let is_done =
            |usage: &JobUsage| usage.is_settled && !usage.is_held && !is_due(usage) && !kept.contains(&usage.key());
        // Without accounting's word it is not known which jobs are parts of others.
        if !self.is_unanswered {
            finish(server, usages.extract_if(.., |usage| is_done(usage)).collect()).await?;
        }
        let left: BTreeSet<Key> = usages.iter().map(JobUsage::key).collect();
        self.aside.retain(|key, _| left.contains(key));
        self.warned.retain(|key| left.contains(key));
        Ok(reached)
    }

    /// Records the jobs that have no record of their usage: those from before the site had
    /// `[accounting]`, and those of which the server was ended between the two records. Returns the
    /// jobs on record.
    async fn take_up(&mut self, server: &Arc<Server>) -> Result<BTreeSet<Key>, Refusal> {
        let jobs: Vec<JobUsage> = server.jobs.lock().values().map(|tracked| tracked.job.usage()).collect();
        let on_record: BTreeSet<Key> = jobs.iter().map(JobUsage::key).collect();
        self.parts.retain(|part, _| on_record.contains(part));
        let parts: BTreeSet<Key> = self.parts.keys().copied().collect();
        let records = Arc::clone(&server.records);
        let work = move || {
            let known: BTreeSet<Key> = records.usages()?.iter().map(JobUsage::key).collect();
            let is_new = |usage: &&JobUsage| !known.contains(&usage.key()) && !parts.contains(&usage.key());
            Ok(jobs.iter().filter(is_new).try_for_each(|usage| records.add_usage(usage))?)
        };
        blocking(work).await?;
        Ok(on_record)
    }

    /// Accounting's rows of the jobs whose figures are not the last. A job is in the answer only if
    /// every line about it and those that were asked for with it could be read.
    async fn ask_accounting(&mut self, commands: &Commands, usages: &[JobUsage], now: Timestamp) -> Answered {
        let mut answered = Answered::new();
        let asked: Vec<(SlurmJobId, Timestamp)> = usages
            .iter()
            .filter(|usage| !usage.is_settled)
            .filter_map(|usage| Some((SlurmJobId::try_from(usage.slurm_id).ok()?, usage.submitted)))
            .collect();
        let mut chunks: Vec<&[(SlurmJobId, Timestamp)]> = asked.chunks(IDS_MAX).rev().collect();
        let mut splits: u32 = 0;
        while let Some(chunk) = chunks.pop() {
            let first = chunk.iter().map(|(_, submitted)| *submitted).min().unwrap_or(now);
            let back_s = now.since(first).saturating_add(SLACK_S).clamp(SLACK_S, BACK_MAX_S);
            let ids: Vec<SlurmJobId> = chunk.iter().map(|(id, _)| *id).collect();
            match commands.runs(&ids, back_s.unsigned_abs()).await {
                Ok(listing) if listing.unreadable > 0 => match chunk.split_at_checked(chunk.len() / 2) {
                    // Until the unreadable line is alone.
                    Some((some, others)) if chunk.len() > 1 && splits < SPLITS_MAX => {
                        splits = splits.saturating_add(1);
                        chunks.extend([others, some]);
                    }
                    Some(_) | None => {
                        let line = listing.first_unreadable;
                        tracing::warn!(jobs = ids.len(), line, "cannot read an answer of sacct: usage of jobs waits");
                    }
                },
                Ok(listing) => answered.extend(by_number(&ids, listing.rows)),
                Err(failure) => {
                    self.note_unanswered(&failure);
                    return answered;
                }
            }
        }
        if std::mem::take(&mut self.is_unanswered) {
            tracing::info!("Slurm's accounting answers again");
        }
        answered
    }

    fn note_unanswered(&mut self, failure: &SlurmFailure) {
        if !std::mem::replace(&mut self.is_unanswered, true) {
            log_failure("Slurm's accounting does not answer: usage of jobs waits", failure);
        }
    }

    /// Takes accounting's answer into account. Changed records are written before Core is told.
    async fn look(
        &mut self,
        server: &Arc<Server>,
        usages: &mut Vec<JobUsage>,
        answered: &Answered,
        on_record: &BTreeSet<Key>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let served = server.config.served();
        let job_max = server.config.accounting.as_ref().and_then(|reports| reports.job_max);
        let (mut changed, mut gone): (Vec<JobUsage>, Vec<Key>) = (Vec::new(), Vec::new());
        for usage in usages.iter_mut().filter(|usage| !usage.is_settled) {
            let Some(runs) = answered.get(&usage.slurm_id) else { continue };
            let (before, is_on_record) = (usage.clone(), on_record.contains(&usage.key()));
            match look(usage, runs, &served.products, now) {
                Look::Unknown if !is_on_record && now.since(usage.recorded) >= UNKNOWN_AFTER_S => {
                    tracing::warn!(slurm_id = usage.slurm_id, uid = %usage.uid, "gave up a job of which accounting knows nothing: no usage is reported");
                    gone.push(usage.key());
                }
                Look::NeverRan if !is_on_record => gone.push(usage.key()),
                Look::Unknown | Look::NotStarted | Look::NeverRan => {}
                Look::Foreign => gone.push(usage.key()),
                Look::PartOf(whole) => {
                    self.parts.insert(usage.key(), whole.get());
                    gone.push(usage.key());
                    changed.push(JobUsage { slurm_id: whole.get(), ..usage.clone() });
                }
                Look::NoProduct => self.warn(usage, "no product of the site is of the job's partition and account"),
                Look::TooMuch(charged) => {
                    usage.charged = Some(charged);
                    usage.is_held = true;
                }
                Look::Used(used) => settle(server, usage, used, job_max).await?,
            }
            if usage.is_held && !before.is_held {
                raise(server, usage);
            }
            if *usage != before {
                changed.push(usage.clone());
            }
        }
        usages.retain(|usage| !gone.contains(&usage.key()));
        let records = Arc::clone(&server.records);
        blocking(move || write(&records, &changed, &gone)).await
    }

    fn warn(&mut self, usage: &JobUsage, why: &str) {
        if self.warned.insert(usage.key()) {
            tracing::warn!(slurm_id = usage.slurm_id, uid = %usage.uid, why, "cannot report the usage of a job");
        }
    }

    /// Asks Core whether the jobs of projects are those projects'. An account could name any other.
    async fn ask_whose(
        &mut self,
        server: &Arc<Server>,
        core: &CoreCalls,
        usages: &mut [JobUsage],
        now: Timestamp,
    ) -> Result<Reached, Refusal> {
        let is_asked = |usage: &&mut JobUsage| usage.claimed.is_some() && usage.figure.is_some();
        for usage in usages.iter_mut().filter(is_asked).take(WHOSE_MAX) {
            let (Some(project), Owner::User(username)) = (&usage.claimed, &usage.owner) else { continue };
            let call = Call::get(RETRIEVE, &[("id", usage.core_id.as_str())]).with_answer_max(JOB_BYTES_MAX);
            let answer = match core.ask(&call, now).await {
                Ok(answer) => serde_json::from_slice::<JobAtCore>(&answer).ok(),
                Err(CoreFailure::Status { status: StatusCode::NOT_FOUND, .. }) => None,
                Err(failure) => {
                    log_failure("cannot ask Core whose a job is", &failure);
                    return Ok(Reached::No);
                }
            };
            let is_its = answer.is_some_and(|JobAtCore { owner, .. }| {
                owner.created_by == username.as_str() && owner.project.as_deref() == Some(project.as_str())
            });
            if is_its {
                usage.owner = Owner::Project(project.clone());
            } else {
                tracing::warn!(job = %usage.core_id, uid = %usage.uid, "charged a job to its user: Core does not say that it is the project's");
            }
            usage.claimed = None;
            let (records, changed) = (Arc::clone(&server.records), usage.clone());
            blocking(move || Ok(records.note_usages(&[changed])?)).await?;
        }
        Ok(Reached::Yes)
    }

    /// Tells Core every figure that it has not acknowledged.
    async fn tell(
        &mut self,
        server: &Arc<Server>,
        core: &CoreCalls,
        usages: &mut [JobUsage],
        now: Timestamp,
    ) -> Result<Reached, Refusal> {
        let is_aside = |usage: &JobUsage| self.aside.get(&usage.key()).is_some_and(|until| now < *until);
        let mut due: Vec<&mut JobUsage> = usages.iter_mut().filter(|usage| is_due(usage) && !is_aside(usage)).collect();
        for chunk in due.chunks_mut(ITEMS_MAX) {
            let figures: Vec<Figure> = chunk.iter().filter_map(|usage| figure(usage)).collect();
            match send(core, &server.config.provider.id, &figures, now).await {
                Sent::Booked => note_told(server, chunk).await?,
                Sent::Unanswered(failure) => {
                    log_failure("cannot tell Core of usage", &failure);
                    return Ok(Reached::No);
                }
                Sent::Refused(_) => {
                    if self.tell_each(server, core, chunk, now).await? == Reached::No {
                        return Ok(Reached::No);
                    }
                }
            }
        }
        Ok(Reached::Yes)
    }

    /// Tells Core each figure of a request that it refused, and sets those aside that it refuses
    /// alone.
    async fn tell_each(
        &mut self,
        server: &Arc<Server>,
        core: &CoreCalls,
        chunk: &mut [&mut JobUsage],
        now: Timestamp,
    ) -> Result<Reached, Refusal> {
        for usage in chunk.iter_mut() {
            let Some(figure) = figure(usage) else { continue };
            match send(core, &server.config.provider.id, std::slice::from_ref(&figure), now).await {
                Sent::Booked => note_told(server, std::slice::from_mut(usage)).await?,
                Sent::Unanswered(failure) => {
                    log_failure("cannot tell Core of usage", &failure);
                    return Ok(Reached::No);
                }
                Sent::Refused(status) => {
                    self.aside.insert(usage.key(), now.plus(ASIDE_S));
                    if self.refused.insert((figure.owner.clone(), figure.charged.category.clone())) {
                        let Figure { owner, charged, .. } = &figure;
                        tracing::warn!(?owner, category = charged.category, scope = charged.scope, %status, "UCloud refused usage: it waits");
                    }
                }
            }
        }
        Ok(Reached::Yes)
    }
}

/// Accounting's rows of each job about which they are complete, by the number that was asked for.
type Answered = HashMap<u32, Vec<Run>>;

/// The rows of each of these jobs: its own, and those of the tasks of its array.
fn by_number(ids: &[SlurmJobId], runs: Vec<Run>) -> Answered {
    let mut answered: Answered = ids.iter().map(|id| (id.get(), Vec::new())).collect();
    for run in runs {
        if run.id != run.whole
            && let Some(own) = answered.get_mut(&run.id.get())
        {
            own.push(run.clone());
        }
        if let Some(own) = answered.get_mut(&run.whole.get()) {
            own.push(run);
        }
    }
    answered
}

/// Says once that a job's figure is held back.
fn raise(server: &Server, usage: &JobUsage) {
    let JobUsage { slurm_id, uid, figure, owner, .. } = usage;
    tracing::error!(slurm_id, %uid, figure, "held back the usage of a job: it is above accounting.job_max, or fits into no number");
    let username = match owner {
        Owner::User(username) => Some(username),
        Owner::Project(_) => None,
    };
    server.alarms.raise(Alarm::UsageHeld, username);
}

async fn stored(server: &Server) -> Result<Vec<JobUsage>, Refusal> {
    let records = Arc::clone(&server.records);
    blocking(move || Ok(records.usages()?)).await
}

/// Takes over what a job has used. The last figure gets what was left of the owner's earlier jobs.
async fn settle(server: &Arc<Server>, usage: &mut JobUsage, used: Used, job_max: Option<u64>) -> Result<(), Refusal> {
    let Used { charged, exact, whole, is_last } = used;
    usage.charged = Some(charged.clone());
    usage.figure = Some(whole);
    usage.is_held = job_max.is_some_and(|max| whole > max);
    if !is_last || usage.claimed.is_some() || usage.is_held {
        return Ok(());
    }
    let (records, mut settled) = (Arc::clone(&server.records), usage.clone());
    let work = move || {
        let total = records.usage_total(&charged.category, &settled.owner)?;
        // One that does not fit with the rest fits without it.
        if let Some((figure, rest)) = exact.with_rest(total.rest) {
            settled.figure = Some(figure);
            settled.is_settled = true;
            records.settle_usage(&settled, &UsageTotal { rest, ..total })?;
        }
        Ok(settled)
    };
    *usage = blocking(work).await?;
    Ok(())
}

fn write(records: &Records, changed: &[JobUsage], gone: &[Key]) -> Result<(), Refusal> {
    // First what takes their place, which may be on record already.
    for usage in changed.iter().filter(|usage| usage.charged.is_none()) {
        records.add_usage(usage)?;
    }
    let charged: Vec<JobUsage> = changed.iter().filter(|usage| usage.charged.is_some()).cloned().collect();
    charged.chunks(ITEMS_MAX).try_for_each(|some| records.note_usages(some))?;
    gone.iter().try_for_each(|key| records.forget_usage(*key))?;
    Ok(())
}

/// Whether Core must be told. Nothing is what Core believes of a job of which it has heard nothing.
fn is_due(usage: &JobUsage) -> bool {
    !usage.is_held && usage.claimed.is_none() && usage.figure.is_some_and(|figure| figure != usage.told.unwrap_or(0))
}

fn figure(usage: &JobUsage) -> Option<Figure> {
    Some(Figure {
        owner: usage.owner.clone(),
        charged: usage.charged.clone()?,
        usage: usage.figure?,
        description: format!("Job {} at Slurm", usage.slurm_id),
    })
}

/// Notes that Core has acknowledged the figures. If that cannot be written, Core is told again.
async fn note_told(server: &Server, usages: &mut [&mut JobUsage]) -> Result<(), Refusal> {
    for usage in usages.iter_mut() {
        usage.told = usage.figure;
    }
    let told: Vec<JobUsage> = usages.iter().map(|usage| (**usage).clone()).collect();
    let records = Arc::clone(&server.records);
    blocking(move || Ok(records.note_usages(&told)?)).await
}

/// Counts and removes jobs of whose last figure Core knows.
async fn finish(server: &Server, done: Vec<JobUsage>) -> Result<(), Refusal> {
    let records = Arc::clone(&server.records);
    blocking(move || Ok(done.iter().try_for_each(|usage| finish_one(&records, usage))?)).await
}

fn finish_one(records: &Records, usage: &JobUsage) -> Result<(), StoreFailure> {
    let Some(charged) = &usage.charged else { return records.forget_usage(usage.key()) };
    let total = records.usage_total(&charged.category, &usage.owner)?;
    let (jobs, told) = (total.jobs.saturating_add(1), total.told.saturating_add(usage.figure.unwrap_or(0)));
    records.finish_usage(usage, &UsageTotal { jobs, told, ..total })
}
