//! The jobs under way: the durable record of each, and what Slurm last said of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_keys::identity::{CoreJobId, Uid};
use countersign_keys::store::jobs::Job;
use countersign_keys::time::Timestamp;
use countersign_slurm::{Outcome, Partition, Row};
use tokio::sync::{Notify, watch};

use super::begun::{Begun, Place};

/// Core's id and the account: Core's ids alone are guessable.
pub(crate) type Key = (CoreJobId, Uid);

/// Most rejected jobs whose reports wait for an answer; an account has few connections.
const REJECTED_MAX: usize = 1_000;

/// The jobs. Bounded by [`countersign_keys::store::jobs::JOBS_MAX`]; one is removed when Core was
/// told of its end.
#[derive(Debug, Default)]
pub(crate) struct JobTable {
    jobs: Mutex<BTreeMap<Key, Tracked>>,
    queue: Mutex<Queue>,
    /// Jobs that Slurm said are another account's, until their reports are answered. Emptied at
    /// [`REJECTED_MAX`].
    rejected: Mutex<BTreeSet<Key>>,
    /// Jobs in the queue that are not on record, in the order in which they are registered. Bounded
    /// by the look that makes the list.
    begun: Mutex<Vec<Begun>>,
    /// Held during a change of a job and of its record.
    pub(crate) writing: tokio::sync::Mutex<()>,
    /// Notified when Core must be told something.
    pub(crate) news: Notify,
    /// Notified when Slurm should be asked at once.
    pub(crate) look: Notify,
    /// Counts Slurm's answers.
    pub(crate) answers: watch::Sender<u64>,
}

/// The load of the site, for `queueStatus`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    pub(crate) partitions: Vec<Partition>,
    /// The partitions for which a job waits.
    pub(crate) wanted: Vec<String>,
}

/// A job, and what is known only to this run of the server.
#[derive(Clone, Debug)]
pub(crate) struct Tracked {
    pub(crate) job: Job,
    /// The latest row, and when Slurm gave it.
    pub(crate) row: Option<(Row, Timestamp)>,
    /// What the latest row means.
    pub(crate) seen: Option<Outcome>,
    /// What is known of the job's wait.
    pub(crate) forecast: Option<String>,
    /// Since when slurmctld shows an end of which accounting has no record.
    pub(crate) ended_since: Option<Timestamp>,
    /// Since when neither queue nor accounting know the job, while both answer.
    pub(crate) missing_since: Option<Timestamp>,
    /// When accounting may be asked again, and how often it was.
    pub(crate) accounting: (Timestamp, u32),
    /// Whether Core has said in this run that the job is this user's.
    pub(crate) is_users_at_core: bool,
    /// How often Core said that it has no such job, and since when.
    pub(crate) denied: Option<(u32, Timestamp)>,
    /// Core has no such job: it is told nothing more.
    pub(crate) is_orphan: bool,
    /// When Core may be told again, after a refusal.
    pub(crate) tell_after: Timestamp,
}

impl Tracked {
    pub(crate) fn new(job: Job) -> Self {
        let never = Timestamp::from_seconds(0);
        Self {
            job,
            row: None,
            seen: None,
            forecast: None,
            ended_since: None,
            missing_since: None,
            accounting: (never, 0),
            is_users_at_core: false,
            denied: None,
            is_orphan: false,
            tell_after: never,
        }
    }

    pub(crate) fn key(&self) -> Key {
        (self.job.core_id.clone(), self.job.uid)
    }
}

impl JobTable {
    /// The jobs in the store at startup.
    pub(crate) fn left_behind(stored: Vec<Job>) -> Self {
        let table = Self::default();
        table.lock().extend(stored.into_iter().map(Tracked::new).map(|tracked| (tracked.key(), tracked)));
        table
    }

    /// The jobs.
    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Tracked>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an account has reported a job by this id of Core's.
    pub(crate) fn has(&self, id: &CoreJobId) -> bool {
        self.lock().range((id.clone(), Uid(0))..=(id.clone(), Uid(u32::MAX))).next().is_some()
    }

    /// One job.
    pub(crate) fn one(&self, key: &Key) -> Option<Tracked> {
        self.lock().get(key).cloned()
    }

    /// The jobs that Slurm said are another account's.
    pub(crate) fn rejected(&self) -> MutexGuard<'_, BTreeSet<Key>> {
        let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        if rejected.len() >= REJECTED_MAX {
            rejected.clear();
        }
        rejected
    }

    /// Jobs in the queue that are not on record.
    pub(crate) fn begun(&self) -> MutexGuard<'_, Vec<Begun>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The jobs on record, by account and number at Slurm.
    pub(crate) fn places(&self) -> BTreeSet<Place> {
        self.lock().values().map(|tracked| (tracked.job.uid, tracked.job.slurm_id)).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
