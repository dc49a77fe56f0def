//! Starts a job that the user signed.
//!
//! In this order: the application is an approved one, the script is the signed one, the id is new,
//! the record with a random tag is on the disk, the folder is made, `sbatch` is run, the record has
//! Slurm's number, Core is told. A process that dies between two steps leaves a record from which
//! the next one continues ([`super::settle`]). A job of whose start Core was not told is cancelled,
//! because Core forgets it and the user starts another.

use std::path::PathBuf;
use std::sync::Arc;

use countersign_applications::Invocation;
use countersign_ipc::server_protocol::{APPLICATIONS_OFFERED, ApplicationOffered, Empty};
use countersign_keys::call::names::SCRIPT;
use countersign_keys::identity::CoreJobId;
use countersign_keys::intent::Consent;
use countersign_keys::json::Json;
use countersign_keys::policy::Permit;
use countersign_os::clock::random_bytes;
use countersign_os::log::Chain;
use countersign_slurm::{SlurmJobId, SubmitFailure};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, timeout_at};

use super::error::JobsError;
use super::prepare::{Claimed, Prepared};
use super::record::{JobFolder, Record, RecordState};
use super::{Site, now};

/// Longest time for sbatch. Core has its answer long before.
const SBATCH_MAX: Duration = Duration::from_secs(60);
/// How long before the answer is due the user is told that Slurm is slow.
const ANSWER_BEFORE: Duration = Duration::from_millis(200);
/// Random bytes of a tag.
const TAG_BYTES: usize = 16;

/// What Core says of the job. It chooses the id after the user has signed.
struct FromCore {
    id: CoreJobId,
    invocation: String,
}

impl FromCore {
    fn read(body: &Json<'_>) -> Result<Self, JobsError> {
        let item = body.member("items").and_then(Json::elements).and_then(<[Json<'_>]>::first);
        let item = item.ok_or(JobsError::Missing("a job"))?;
        let id = item.member("id").and_then(Json::as_str).and_then(|id| CoreJobId::parse(id).ok());
        let application = item.member("status").and_then(|status| status.member("resolvedApplication"));
        let invocation = application.and_then(|application| application.member("invocation"));
        let invocation = invocation.filter(|invocation| invocation.members().is_some());
        let invocation = invocation.and_then(|invocation| serde_json::to_string(invocation).ok());
        Ok(Self {
            id: id.ok_or(JobsError::Missing("a number of the job"))?,
            invocation: invocation.ok_or(JobsError::Missing("the application"))?,
        })
    }
}

impl Site {
    /// Offers the administrators an application that is not approved, as Core sent it. If that
    /// fails, the user's next attempt offers it again.
    async fn offer_for_review(&self, specification: &Json<'_>, invocation: Vec<u8>) {
        let application = specification.member("application");
        let named = |name: &str| application.and_then(|application| application.member(name)).and_then(Json::as_str);
        let (Some(name), Some(version), Ok(invocation)) =
            (named("name"), named("version"), String::from_utf8(invocation))
        else {
            return;
        };
        let offered = ApplicationOffered { name: name.to_owned(), version: version.to_owned(), invocation };
        if let Err(error) = self.server.ask::<_, Empty>(APPLICATIONS_OFFERED, &offered).await {
            tracing::warn!(cause = %Chain(&error), "cannot offer an application for review");
        }
    }

    /// Starts the job of a permitted request, and answers within that time.
    pub(super) async fn create(
        self: &Arc<Self>,
        permit: &Permit<'_, '_>,
        within: Duration,
    ) -> Result<Value, JobsError> {
        let due = Instant::now() + within.saturating_sub(ANSWER_BEFORE);
        let [item] = permit.items().projections() else { return Err(JobsError::OneAtATime) };
        let FromCore { id, invocation } = FromCore::read(permit.items().body())?;
        let sent = Invocation::parse(invocation.as_bytes())?;
        let specification = item.parameter("specification");
        let canonical = sent.canonical().to_vec();
        let prepared = match self.prepare(Some(&id), permit.username(), specification, Claimed::Sent(sent)).await {
            Err(JobsError::NotApproved(why)) if why.is_for_review() => {
                self.offer_for_review(specification, canonical).await;
                return Err(why.into());
            }
            prepared => prepared?,
        };
        let signed = item.parameter(SCRIPT);
        if *signed != Json::Null && signed.as_str() != Some(prepared.digest().as_str()) {
            return Err(JobsError::AnotherScript);
        }
        let links = self.links(permit.username(), specification, &prepared.interfaces).await?;
        let record = Record {
            username: permit.username().clone(),
            project: permit.project().cloned(),
            application: prepared.application.clone(),
            tag: tag()?,
            begun_at: now()?,
            folder: JobFolder {
                drive: self.slurm.drive.clone(),
                within: self.slurm.job_folder.clone(),
                job: id.clone(),
            },
            nodes: prepared.nodes,
            interfaces: prepared.interfaces.clone(),
            links,
            state: RecordState::AboutToSubmit,
        };
        // A script that cannot be submitted gets no record.
        prepared.submission(&id, &record.tag, PathBuf::new())?;
        let mut told = self.begin(id, record, prepared);
        let outcome = match timeout_at(due, &mut told).await {
            Ok(outcome) => outcome.ok(),
            Err(_elapsed) => {
                // From here on the work finds that Core is not told.
                told.close();
                Some(told.try_recv().unwrap_or(Err(JobsError::TooLate)))
            }
        };
        let provider_id = outcome.unwrap_or(Err(JobsError::CutShort))?;
        Ok(json!({ "responses": [{ "id": provider_id }] }))
    }

    /// Records a job and starts it. The work continues if the request is abandoned, even while the
    /// record is written: no record stays without work on it.
    fn begin(
        self: &Arc<Self>,
        id: CoreJobId,
        record: Record,
        prepared: Prepared,
    ) -> oneshot::Receiver<Result<String, JobsError>> {
        let (tell, told) = oneshot::channel();
        self.spawn(|site| async move {
            match site.records.begin(&id, record.clone()).await {
                Ok(()) => site.start(id, record, prepared, tell).await,
                Err(error) => drop(tell.send(Err(error.into()))),
            }
        });
        told
    }

    /// Submits a job whose record is written, and tells the outcome.
    async fn start(
        self: &Arc<Self>,
        id: CoreJobId,
        record: Record,
        prepared: Prepared,
        tell: oneshot::Sender<Result<String, JobsError>>,
    ) {
        let slurm_id = match self.submit(&id, &record, &prepared).await {
            Ok(slurm_id) => slurm_id,
            Err(error) => {
                let is_known = !matches!(error, JobsError::Submit(SubmitFailure::Unknown(_)));
                let _ = tell.send(Err(error));
                return if is_known {
                    self.close(&id, &record, None).await
                } else {
                    self.settle(vec![(id, record)]).await
                };
            }
        };
        let submitted = record.in_state(RecordState::Submitted { slurm_id });
        if let Err(failure) = self.records.replace(&id, submitted.clone()).await {
            tracing::error!(%id, %slurm_id, cause = %Chain(&failure), "cannot record a submitted job, so it is cancelled");
            let _ = tell.send(Err(failure.into()));
            return self.settle(vec![(id, record)]).await;
        }
        let provider_id = format!("slurm/{slurm_id}/{}", record.begun_at);
        match tell.send(Ok(provider_id)) {
            Ok(()) => self.report(&id, &submitted).await,
            Err(_) => self.settle(vec![(id, submitted)]).await,
        }
    }

    async fn submit(
        self: &Arc<Self>,
        id: &CoreJobId,
        record: &Record,
        prepared: &Prepared,
    ) -> Result<SlurmJobId, JobsError> {
        // The user was asked: starting a job is dangerous.
        let files = self.files.approved(Consent::Asked);
        let folder =
            files.make_new_folder(&record.folder.path(&record.folder.drive)).await.map_err(JobsError::Folder)?;
        let submission = prepared.submission(id, &record.tag, folder)?;
        Ok(self.commands.submit(&submission, SBATCH_MAX).await?)
    }
}

/// Marks a job: 128 random bits in hexadecimal digits.
fn tag() -> Result<String, JobsError> {
    let random: [u8; TAG_BYTES] = random_bytes()?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
