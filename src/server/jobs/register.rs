//! Registers at Core the jobs that connected users began without UCloud.
//!
//! Never twice: the id is made of what Slurm says of the job, Core has each id once, and a
//! registration without an answer is repeated until Core says which job has the id, also if the job
//! has ended meanwhile. After a restart [`super::reconcile`] finds what has no record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use countersign_config::{Product, ProductKind};
use countersign_keys::identity::{CoreJobId, Uid, Username};
use countersign_keys::time::Timestamp;
use countersign_slurm::{Commands, JobState, Limit, Row, SlurmFailure};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::begun::{Begun, Place};
use super::core_calls::{BROWSE, Items, JOB_BYTES_MAX, Listed, Page, REGISTER};
use super::reports::add;
use super::{commands_of, outside};
use crate::core::client::{Call, CoreCalls, CoreFailure};
use crate::state::{Server, log_failure};

/// How long a job is in the queue before it is registered, in seconds. UCloud's own jobs are
/// reported within that time, and a job that ends sooner is not shown.
const SEEN_FOR_S: i64 = 20;

/// Most registrations in a minute, of all accounts and of one. Each takes three calls of `squeue`.
const A_MINUTE: usize = 60;
const EACH_A_MINUTE: usize = 20;

/// Most registrations without an answer. No other is begun then.
const UNANSWERED_MAX: usize = 100;

/// How often one is repeated that Core answers with a failure, and the pause, in seconds. After
/// that the job is left alone, and [`super::reconcile`] finds it if Core has it.
const TRIES_MAX: u32 = 20;
const AGAIN_S: i64 = 30;

/// How long a job is left alone that Core refused or that is marked, in seconds.
const LEFT_FOR_S: i64 = 3_600;

/// Longest wait for the poller's next answer, and the pause after Core could not be reached.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// UCloud's name of an application that the provider does not know.
const UNKNOWN: &str = "unknown";

/// A registration, as it is repeated.
#[derive(Clone, Debug)]
struct Registration {
    place: Place,
    username: Username,
    submitted: i64,
    /// The id at Core.
    id: String,
    specification: Value,
    /// How often it failed, and when it is repeated.
    tries: u32,
    after: Timestamp,
}

/// Registers jobs, some in each minute.
#[derive(Debug, Default)]
pub(super) struct Registrar {
    unanswered: Vec<Registration>,
    /// Jobs that are left alone until that time. Those that have left the queue are dropped.
    left: BTreeMap<Place, Timestamp>,
    /// Since when registrations are counted, and how many each account has.
    minute: (Option<Timestamp>, BTreeMap<Uid, usize>),
}

#[derive(Deserialize)]
struct Registered {
    responses: [FoundId; 1],
}

#[derive(Deserialize)]
struct FoundId {
    id: String,
}

/// Registers until the server ends.
pub(crate) async fn run(server: Arc<Server>, core: Arc<CoreCalls>) {
    let Some(slurm) = server.config.slurm.as_ref().filter(|slurm| slurm.shows_outside) else { return };
    let commands = commands_of(slurm);
    let mut registrar = Registrar::default();
    let mut answers = server.jobs.answers.subscribe();
    loop {
        let _answer = tokio::time::timeout(WAIT_MAX, answers.changed()).await;
        match server.clock.now() {
            Ok(now) => {
                if !registrar.round(&server, &core, &commands, now).await {
                    tokio::time::sleep(WAIT_MAX).await;
                }
            }
            Err(failure) => log_failure("postponed registrations of jobs", &failure),
        }
    }
}

impl Registrar {
    /// Registers the jobs whose turn it is. Returns whether Core and Slurm answered.
    pub(super) async fn round(
        &mut self,
        server: &Arc<Server>,
        core: &CoreCalls,
        commands: &Commands,
        now: Timestamp,
    ) -> bool {
        let mut is_reached = true;
        for registration in std::mem::take(&mut self.unanswered) {
            if is_reached {
                is_reached = self.register(server, core, registration, now).await;
            } else {
                self.unanswered.push(registration);
            }
        }
        let begun = server.jobs.begun().clone();
        let queued: BTreeSet<Place> = begun.iter().map(Begun::place).collect();
        self.left.retain(|place, until| now < *until && queued.contains(place));
        let known = server.jobs.places();
        for begun in begun {
            if !is_reached || self.unanswered.len() >= UNANSWERED_MAX {
                break;
            }
            let place = begun.place();
            let is_young = now.since(begun.since) < SEEN_FOR_S;
            let is_tried = self.unanswered.iter().any(|one| one.place == place);
            if is_young
                || is_tried
                || known.contains(&place)
                || self.left.contains_key(&place)
                || !self.takes(place.0, now)
            {
                continue;
            }
            match prepare(server, commands, &begun).await {
                Ok(Some(registration)) => is_reached = self.register(server, core, registration, now).await,
                Ok(None) => _ = self.left.insert(place, now.plus(LEFT_FOR_S)),
                Err(failure) => {
                    tracing::debug!(cause = %failure, "cannot look at a job that was begun without UCloud");
                    is_reached = false;
                }
            }
        }
        is_reached
    }

    /// Whether one more registration of the account is due in this minute.
    fn takes(&mut self, uid: Uid, now: Timestamp) -> bool {
        let (since, counts) = &mut self.minute;
        if since.is_none_or(|since| now.since(since) >= 60) {
            (*since, *counts) = (Some(now), BTreeMap::new());
        }
        let all: usize = counts.values().sum();
        let count = counts.entry(uid).or_default();
        let is_due = all < A_MINUTE && *count < EACH_A_MINUTE;
        *count = count.saturating_add(usize::from(is_due));
        is_due
    }

    /// Registers a job and records it. Returns whether Core could be reached.
    async fn register(
        &mut self,
        server: &Arc<Server>,
        core: &CoreCalls,
        mut registration: Registration,
        now: Timestamp,
    ) -> bool {
        let place = registration.place;
        if now < registration.after {
            self.unanswered.push(registration);
            return true;
        }
        let core_id = match ask(core, &registration, now).await {
            Ok(Some(core_id)) => core_id,
            Ok(None) => {
                self.left.insert(place, now.plus(LEFT_FOR_S));
                return true;
            }
            Err(failure) => {
                let is_general = failure.is_general();
                log_failure("cannot register a job that was begun without UCloud", &failure);
                registration.tries = registration.tries.saturating_add(u32::from(!is_general));
                registration.after = if is_general { now } else { now.plus(AGAIN_S) };
                if registration.tries < TRIES_MAX {
                    self.unanswered.push(registration);
                } else {
                    self.left.insert(place, now.plus(LEFT_FOR_S));
                }
                return !is_general;
            }
        };
        // It may have been found at Core first.
        if server.jobs.places().contains(&place) {
            return true;
        }
        let Registration { username, submitted, .. } = registration;
        let job = outside::record(core_id, place, username, submitted, now);
        if let Err(refusal) = add(server, outside::OUTSIDE, job).await {
            log_failure("cannot record a job that was begun without UCloud", &refusal);
            self.left.insert(place, now.plus(LEFT_FOR_S));
        }
        server.jobs.news.notify_one();
        true
    }
}

/// What is registered of a job. `None` if it is left alone: it is marked as an instance's, is not
/// in the queue any more, or no product is on its partition.
async fn prepare(
    server: &Server,
    commands: &Commands,
    Begun { row, username, .. }: &Begun,
) -> Result<Option<Registration>, SlurmFailure> {
    let (config, served) = (&server.config, server.config.served());
    let Some(product) = product_of(&served.products, row) else { return Ok(None) };
    let Some(found) = commands.begun(row.id).await?.filter(|found| found.uid == row.uid && !found.is_marked) else {
        return Ok(None);
    };
    let number = format!("Slurm {}", row.id);
    let specification = json!({
        "product": { "id": product.name, "category": product.category, "provider": config.provider.id },
        "labels": {},
        "application": { "name": UNKNOWN, "version": UNKNOWN },
        "name": if found.name.is_empty() { number } else { format!("{} ({number})", found.name) },
        "hostname": null,
        "replicas": row.node_count.max(1),
        "allowDuplicateJob": false,
        "parameters": {},
        "resources": [],
        "timeAllocation": left_min(row).map(|minutes| json!({ "hours": minutes / 60, "minutes": minutes % 60, "seconds": 0 })),
    });
    let id = outside::provider_id(row.id, found.submitted);
    let (place, username, submitted) = ((Uid(row.uid), row.id.get()), username.clone(), found.submitted);
    Ok(Some(Registration {
        place,
        username,
        submitted,
        id,
        specification,
        tries: 0,
        after: Timestamp::from_seconds(0),
    }))
}

/// A machine on the job's partition.
fn product_of<'p>(products: &'p [Product], row: &Row) -> Option<&'p Product> {
    let mut machines = products.iter().filter(|product| product.kind == ProductKind::Compute);
    machines.find(|product| {
        product.placement.partition.as_deref().is_some_and(|partition| row.partitions().any(|one| one == partition))
    })
}

/// The time that a job has left, in whole minutes: Core counts it from the update that it runs.
fn left_min(row: &Row) -> Option<u64> {
    let Limit::Seconds(limit_s) = row.limit else { return None };
    let used_s = if row.state == JobState::Running { row.used_s.unwrap_or(0) } else { 0 };
    Some(limit_s.saturating_sub(used_s).div_ceil(60).max(1))
}

/// Registers a job at Core, and returns Core's id. If Core has its id, asks which job has it.
/// `None` if Core refuses it.
async fn ask(core: &CoreCalls, registration: &Registration, now: Timestamp) -> Result<Option<CoreJobId>, CoreFailure> {
    let Registration { username, id, specification, .. } = registration;
    let item = json!({
        "spec": specification, "providerGeneratedId": id, "createdBy": username, "project": null,
        "projectAllRead": false, "projectAllWrite": false,
    });
    let refused = match core.ask(&Call::post(REGISTER, &Items { items: [item] })?, now).await {
        Ok(answer) => {
            let registered: Option<Registered> = serde_json::from_slice(&answer).ok();
            let core_id = registered.and_then(|Registered { responses: [found] }| CoreJobId::parse(&found.id).ok());
            return core_id.map(Some).ok_or(CoreFailure::Form { call: REGISTER });
        }
        Err(CoreFailure::Status { status: StatusCode::CONFLICT, .. }) => {
            let call = Call::get(BROWSE, &[("itemsPerPage", "10"), ("filterProviderIds", id)]);
            let page = Page::read(&core.ask(&call.with_answer_max(JOB_BYTES_MAX), now).await?)?;
            let is_it = |listed: &&Listed| {
                listed.provider_generated_id.as_ref() == Some(id) && listed.job.owner.created_by == username.as_str()
            };
            let core_id = page.items.iter().find(is_it).and_then(|listed| CoreJobId::parse(&listed.id).ok());
            if core_id.is_some() {
                return Ok(core_id);
            }
            StatusCode::CONFLICT
        }
        Err(CoreFailure::Status { status, .. })
            if status.is_client_error()
                && !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS) =>
        {
            status
        }
        Err(failure) => return Err(failure),
    };
    tracing::warn!(%id, status = %refused, "left a job alone: UCloud refuses it");
    Ok(None)
}
