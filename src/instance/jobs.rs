//! The user's jobs: started, ended, followed and entered as this account, on the site's Slurm.
//!
//! What runs is what the user signed and the site approved. This account's own record of a job is
//! the authority for every later call on it; an id of Core's is only its name (protocol, section
//! 12). Refuses everything if the site has no `[slurm]`.

mod choices;
mod create;
mod end;
pub(crate) mod error;
pub(crate) mod follow;
pub(crate) mod interface;
mod interfaces;
mod licences;
mod links;
mod modules;
mod prepare;
mod record;
pub(crate) mod relay;
mod settle;
pub(crate) mod shell;
mod specification;
mod store;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use countersign_applications::Catalogue;
use countersign_config::{Config, Product, Slurm};
use countersign_keys::bind::Projection;
use countersign_keys::identity::{CoreJobId, ProviderId, Username};
use countersign_keys::policy::Permit;
use countersign_slurm::{Commands, JobState, SlurmJobId};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Duration, timeout};

use self::error::JobsError;
use self::record::{Record, RecordState};
use self::relay::Relays;
use self::store::JobRecords;
use crate::account::OwnAccount;
use crate::call::{JobsCall, text};
use crate::direct::server_client::ServerClient;
use crate::files::Files;
use crate::terminal::Login;
use countersign_ipc::error_code::Reply;
use countersign_ipc::http::json_reply;
use countersign_os::clock::Clock;

/// The jobs of one user. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Jobs(Option<Arc<Site>>);

/// What starts jobs here.
#[derive(Debug)]
struct Site {
    slurm: Slurm,
    products: Vec<Product>,
    provider: ProviderId,
    catalogue: Catalogue,
    commands: Commands,
    records: JobRecords,
    server: ServerClient,
    files: Files,
    uid: u32,
    /// The name of the account.
    own_name: String,
    /// Its accounts at Slurm, when they were last looked up.
    known_accounts: Mutex<Vec<String>>,
    login: Login,
    relays: Relays,
    /// This program on the nodes.
    relay_program: PathBuf,
    /// Submissions and clean-ups that outlive their requests.
    under_way: AtomicUsize,
}

impl Jobs {
    /// The jobs of an account. Files are those of its drives.
    pub(crate) fn of(account: &OwnAccount, config: &Config, files: &Files) -> Self {
        let site = |slurm: &Slurm| Site {
            slurm: slurm.clone(),
            products: config.served().products.clone(),
            provider: config.provider.id.clone(),
            catalogue: Catalogue::at(&config.applications, account.uid()),
            commands: Commands::new(slurm.commands.clone(), slurm.config.clone()),
            records: JobRecords::of(account, &config.provider.id),
            server: ServerClient::at(config.ipc.socket()),
            files: files.clone(),
            uid: account.uid().0,
            own_name: account.login().name,
            known_accounts: Mutex::default(),
            login: account.login(),
            relays: Relays::default(),
            relay_program: relay::program(slurm.relay.as_ref()),
            under_way: AtomicUsize::new(0),
        };
        Self(config.slurm.as_ref().map(|slurm| Arc::new(site(slurm))))
    }

    fn site(&self) -> Result<&Arc<Site>, JobsError> {
        self.0.as_ref().ok_or(JobsError::NotOffered)
    }

    /// Answers a call that Core sends, within that time.
    pub(crate) async fn answer(&self, permit: &Permit<'_, '_>, call: JobsCall, within: Duration) -> Reply {
        match self.perform(permit, call, within).await {
            Ok(answer) => json_reply(StatusCode::OK, &answer),
            Err(error) => error.reply(),
        }
    }

    async fn perform(&self, permit: &Permit<'_, '_>, call: JobsCall, within: Duration) -> Result<Value, JobsError> {
        let site = self.site()?;
        let items = permit.items().projections();
        let each = |name: &'static str| items.iter().map(move |item| (item, text(item, name)));
        match call {
            JobsCall::Create => return site.create(permit, within).await,
            JobsCall::Terminate => {
                for (_, id) in each("id") {
                    in_time(within, site.terminate(&id)).await?;
                }
            }
            JobsCall::Extend => {
                for (item, id) in each("jobId") {
                    in_time(within, site.extend(&id, item)).await?;
                }
            }
            JobsCall::Suspend | JobsCall::Unsuspend => {
                for (_, id) in each("id") {
                    in_time(within, site.suspend(&id, call == JobsCall::Suspend)).await?;
                }
            }
        }
        let responses: Vec<Value> = items.iter().map(|_| json!({})).collect();
        Ok(json!({ "responses": responses }))
    }

    /// Renders what the user is about to sign, and shows it.
    pub(crate) async fn preview(&self, username: &Username, item: &Projection<'_>) -> Result<Value, JobsError> {
        let prepared = self.site()?.preview(username, item.parameter("specification")).await?;
        Ok(json!({ "script": prepared.rendered.shown, "sha256": prepared.digest().as_str() }))
    }

    /// Finishes what a killed instance began.
    pub(crate) async fn begin(&self) {
        if let Some(site) = &self.0 {
            site.settle_all().await;
            if site.slurm.asks.account || site.slurm.asks.modules {
                tokio::spawn(Arc::clone(site).keep_reporting_choices());
            }
        }
    }

    /// How many submissions and clean-ups are in progress. An instance with any is not idle.
    pub(crate) fn under_way(&self) -> usize {
        self.0.as_ref().map_or(0, |site| site.under_way.load(Ordering::Relaxed))
    }
}

/// A job that this account has submitted, by its own record.
struct OwnJob {
    id: CoreJobId,
    record: Record,
    slurm_id: SlurmJobId,
}

impl Site {
    /// The record of a job that can still be changed.
    async fn job(&self, id: &str) -> Result<OwnJob, JobsError> {
        let id = CoreJobId::parse(id).map_err(|_| JobsError::NoSuchJob)?;
        let record = self.records.read(&id).await?.ok_or(JobsError::NoSuchJob)?;
        match record.state {
            RecordState::Submitted { slurm_id } => Ok(OwnJob { id, record, slurm_id }),
            RecordState::AboutToSubmit => Err(JobsError::BeingSubmitted),
            RecordState::Ended { .. } => Err(JobsError::Ended),
        }
    }

    /// A running job, and its node of that rank.
    async fn running(&self, id: &str, rank: usize) -> Result<(OwnJob, String), JobsError> {
        let own = self.job(id).await?;
        let row = self.at_slurm(&own).await?;
        if row.state != JobState::Running {
            return Err(JobsError::NotRunning);
        }
        let node = self.commands.node(&row.nodes, rank).await?;
        Ok((own, node))
    }

    /// Starts work that continues if its request is abandoned. While there is any, this process is
    /// not idle.
    fn spawn<W: Future<Output = ()> + Send + 'static>(self: &Arc<Self>, work: impl FnOnce(Arc<Self>) -> W) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let (work, under_way) = (work(Arc::clone(self)), UnderWay(Arc::clone(self)));
        tokio::spawn(async move {
            work.await;
            drop(under_way);
        });
    }
}

/// Work that is counted until the value is dropped.
struct UnderWay(Arc<Site>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Ends work that does not answer in time. A command that it runs is ended with it.
async fn in_time<T>(within: Duration, work: impl Future<Output = Result<T, JobsError>>) -> Result<T, JobsError> {
    timeout(within, work).await.unwrap_or(Err(JobsError::Slow))
}

/// Unix time, in seconds.
fn now() -> Result<i64, JobsError> {
    Ok(Clock::System.now()?.seconds())
}
