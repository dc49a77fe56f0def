//! Jobs that accounts have submitted, and what Core was told of each: the record from which every
//! change is told once, also after a restart.
//!
//! The key is Core's id and the uid. Core's ids are guessable, so an account that reports another
//! account's id must not take its place.
//!
//! An end that Core was told is kept for a month, because Core may lose it.

use serde::{Deserialize, Serialize};

use super::registry::{NotChanged, Registry};
use super::typed::put;
use super::usage::JobUsage;
use super::{Store, StoreFailure, Table, decode};
use crate::identity::{CoreJobId, LinkName, Project, Uid, Username};
use crate::session::InterfaceKind;
use crate::time::Timestamp;

/// Most jobs of one account at a time that have not ended.
pub const JOBS_EACH_MAX: usize = 1_000;

/// Most jobs of all accounts. A record has some 500 bytes, and 100 more for each target.
pub const JOBS_MAX: usize = 20_000;

/// Most targets of one job.
pub const TARGETS_MAX: usize = 64;

/// An interface that a job's script names.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The node, counted from 0.
    pub rank: u32,
    /// How users see it.
    pub kind: InterfaceKind,
    /// The script's name for it.
    pub name: String,
    /// Where it listens.
    pub port: u16,
}

/// Most ends that are kept. Each has a place by its id, and the next job of that place takes it.
pub const ENDED_MAX: u64 = 20_000;

/// How long an end is kept, in seconds.
pub const ENDED_KEPT_S: i64 = 30 * 86_400;

/// A job.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Core's id.
    pub core_id: CoreJobId,
    /// The account that reported it.
    pub uid: Uid,
    /// The account's user.
    pub username: Username,
    /// The user's project at UCloud.
    pub project: Option<Project>,
    /// Slurm's number, not 0.
    pub slurm_id: u32,
    /// When the account submitted it, according to the account.
    pub submitted: Timestamp,
    /// When it was recorded here.
    pub recorded: Timestamp,
    /// The UCloud path of its folder, which Core has not been told yet.
    pub output_folder: Option<String>,
    /// What its script names, and Core has not been told yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// The public links that it has until it ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkName>,
    /// Whether Slurm has said that the job is this uid's. Until then Core is told nothing.
    pub is_verified: bool,
    /// Whether the user has asked for a pause.
    pub is_paused: bool,
    /// Whether it was begun without UCloud, and the server registered it there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_outside: bool,
    /// The state that Core has, in Core's word.
    pub told: Option<String>,
    /// The sentence that Core was told last.
    pub words: Option<String>,
    /// When.
    pub words_at: Option<Timestamp>,
    /// The time limit that Core has, in minutes.
    pub limit_told_min: Option<u32>,
    /// The last warning before its end, in minutes before it.
    pub warned_min: Option<u32>,
    /// How many updates Core was sent.
    pub updates: u32,
    /// How it ended: Core's word and a sentence. It is forgotten when Core was told.
    pub end: Option<(String, String)>,
}

impl Job {
    /// A job of which Core was told nothing, and Slurm has not been asked.
    #[must_use]
    pub const fn new(
        core_id: CoreJobId,
        uid: Uid,
        username: Username,
        slurm_id: u32,
        submitted: Timestamp,
        recorded: Timestamp,
    ) -> Self {
        Self {
            core_id,
            uid,
            username,
            project: None,
            slurm_id,
            submitted,
            recorded,
            output_folder: None,
            targets: Vec::new(),
            links: Vec::new(),
            is_verified: false,
            is_paused: false,
            is_outside: false,
            told: None,
            words: None,
            words_at: None,
            limit_told_min: None,
            warned_min: None,
            updates: 0,
            end: None,
        }
    }

    /// Its usage, of which nothing is known yet.
    #[must_use]
    pub fn usage(&self) -> JobUsage {
        let Self { core_id, slurm_id, uid, username, project, submitted, recorded, .. } = self;
        JobUsage::new((*slurm_id, *uid), core_id, username, project.as_ref(), *submitted, *recorded)
    }
}

/// The end of a job, which Core was told.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EndedJob {
    /// Core's id.
    pub core_id: CoreJobId,
    /// The user whose job Core said it was.
    pub username: Username,
    /// Core's word.
    pub state: String,
    /// A sentence.
    pub words: String,
    /// When Core was told.
    pub told: Timestamp,
}

/// A change that the rules do not allow.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum JobRejection {
    /// The account reported this id before, for another job.
    #[error("this job is on record with another number at Slurm")]
    Exists,
    /// The account, or all accounts together, have as many as there can be.
    #[error("too many jobs are under way")]
    TooMany,
}

impl<S: Store> Registry<S> {
    /// All jobs.
    ///
    /// # Errors
    /// The store failed.
    pub fn jobs(&self) -> Result<Vec<Job>, StoreFailure> {
        let entries = self.store().scan(Table::Jobs, b"", None, JOBS_MAX)?;
        entries.iter().map(|(_, value)| decode(Table::Jobs, value)).collect()
    }

    /// Records a job that is not on record. `others` are those on record, of all accounts.
    ///
    /// # Errors
    /// There is one of this id and account with another number, there are too many, or the store
    /// failed.
    pub fn add_job(&self, job: &Job, others: &[Job]) -> Result<(), NotChanged<JobRejection>> {
        let own = others.iter().filter(|other| other.uid == job.uid).count();
        let key = key_of(&job.core_id, job.uid);
        self.change(|transaction| {
            if let Some(known) = transaction.read(Table::Jobs, &key)? {
                let known: Job = decode(Table::Jobs, &known)?;
                return Ok(if known.slurm_id == job.slurm_id { Ok(()) } else { Err(JobRejection::Exists) });
            }
            // Each account's share shrinks with the room left.
            if own >= JOBS_EACH_MAX.min(JOBS_MAX.saturating_sub(others.len())) {
                return Ok(Err(JobRejection::TooMany));
            }
            put(transaction, Table::Jobs, &key, job)?;
            Ok(Ok(()))
        })
    }

    /// Writes the changed record of a job.
    ///
    /// # Errors
    /// The store failed.
    pub fn note_job(&self, job: &Job) -> Result<(), StoreFailure> {
        self.write(|transaction| put(transaction, Table::Jobs, &key_of(&job.core_id, job.uid), job))
    }

    /// Removes a job. Succeeds if there is none.
    ///
    /// # Errors
    /// The store failed.
    pub fn forget_job(&self, core_id: &CoreJobId, uid: Uid) -> Result<(), StoreFailure> {
        self.write(|transaction| transaction.remove(Table::Jobs, &key_of(core_id, uid)))
    }

    /// Removes a job of whose end Core was told at that time, and keeps the end.
    ///
    /// # Errors
    /// The store failed.
    pub fn end_job(&self, job: &Job, told: Timestamp) -> Result<(), StoreFailure> {
        let (core_id, username) = (job.core_id.clone(), job.username.clone());
        let ended = job.end.clone().map(|(state, words)| EndedJob { core_id, username, state, words, told });
        self.write(|transaction| {
            if let Some(ended) = &ended {
                put(transaction, Table::EndedJobs, &place_of(&job.core_id), ended)?;
            }
            transaction.remove(Table::Jobs, &key_of(&job.core_id, job.uid))
        })
    }

    /// The ends that Core was told since then. Earlier ones are removed.
    ///
    /// # Errors
    /// The store failed.
    pub fn keep_ended_jobs(&self, since: Timestamp) -> Result<Vec<EndedJob>, StoreFailure> {
        let count = usize::try_from(ENDED_MAX).unwrap_or(usize::MAX);
        let entries = self.store().scan(Table::EndedJobs, b"", None, count)?;
        let mut kept = Vec::new();
        for (place, value) in entries {
            let ended: EndedJob = decode(Table::EndedJobs, &value)?;
            if ended.told >= since {
                kept.push(ended);
            } else {
                self.write(|transaction| transaction.remove(Table::EndedJobs, &place))?;
            }
        }
        Ok(kept)
    }
}

/// Where the record of a job stands in [`Table::Jobs`]. An id has only digits, so the zero byte
/// ends it.
#[must_use]
pub fn key_of(core_id: &CoreJobId, uid: Uid) -> Vec<u8> {
    [core_id.as_str().as_bytes(), &[0], &uid.0.to_be_bytes()].concat()
}

/// Where the end of a job stands in [`Table::EndedJobs`].
fn place_of(core_id: &CoreJobId) -> [u8; 8] {
    let number: u64 = core_id.as_str().parse().unwrap_or(0);
    (number % ENDED_MAX).to_be_bytes()
}
