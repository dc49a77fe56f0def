//! The tasks of users' instances, and the state of each that Core was told.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_keys::identity::Uid;
use countersign_keys::store::tasks::{TASKS_MAX, Task};
use countersign_keys::time::Timestamp;
use http::StatusCode;
use tokio::sync::Notify;

use super::client::CoreFailure;
use crate::http::reply::Refusal;
use countersign_ipc::server_protocol::{TASK_SILENCE_MAX_S, TaskState, TaskStatus};

/// Most tasks of one account at a time, including ended ones that Core was not told of.
const EACH_MAX: usize = 64;

/// After how long Core is told the same state again, in seconds. Core lists the tasks of which it
/// has heard within five minutes.
const REPEAT_AFTER_S: i64 = 4 * 60;

/// Refusals of Core for one task before it is given up.
const REFUSALS_MAX: u32 = 5;

/// The tasks. Bounded by [`TASKS_MAX`] and [`EACH_MAX`]; one is removed when Core was told of its
/// end.
#[derive(Debug, Default)]
pub(crate) struct TaskTable {
    tasks: Mutex<BTreeMap<u64, Open>>,
    pub(crate) news: Notify,
}

/// A task of which Core must still be told something.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) task: Task,
    /// `None` for a task of an earlier run of the server.
    pub(crate) uid: Option<Uid>,
    pub(crate) status: TaskStatus,
    pub(crate) heard: Timestamp,
    /// The state that Core was last told, and when.
    told: Option<(TaskStatus, Timestamp)>,
    refusals: u32,
}

impl TaskTable {
    /// The tasks in the store at startup. Their instances ended with the earlier server, so they
    /// have failed.
    pub(crate) fn left_behind(stored: Vec<Task>, now: Timestamp) -> Self {
        let left = |task: Task| {
            let status = failure("the provider was restarted");
            (task.number, Open { task, uid: None, status, heard: now, told: None, refusals: 0 })
        };
        let tasks = stored.into_iter().map(left).collect();
        Self { tasks: Mutex::new(tasks), news: Notify::new() }
    }

    /// Adds a task of an account, if its share allows one more.
    pub(crate) fn open(&self, uid: Uid, task: Task, now: Timestamp) -> Result<(), Refusal> {
        let mut tasks = self.lock();
        let own = tasks.values().filter(|open| open.uid == Some(uid)).count();
        // Each account's share shrinks with the room left.
        if own >= EACH_MAX.min(TASKS_MAX.saturating_sub(tasks.len())) {
            return Err(Refusal::too_many("too many tasks are under way"));
        }
        let status = TaskStatus { state: TaskState::Running, progress: String::new(), percentage: None };
        tasks.insert(task.number, Open { task, uid: Some(uid), status, heard: now, told: None, refusals: 0 });
        Ok(())
    }

    /// Fails the tasks of an account whose instance is gone.
    pub(crate) fn instance_gone(&self, uid: Uid) {
        self.fail_where(|open| open.uid == Some(uid));
    }

    /// Fails the tasks that have been silent for too long.
    pub(crate) fn fail_silent(&self, now: Timestamp) {
        self.fail_where(|open| now.since(open.heard) > TASK_SILENCE_MAX_S);
    }

    fn fail_where(&self, is_meant: impl Fn(&Open) -> bool) {
        let mut any = false;
        for open in self.lock().values_mut() {
            if !open.status.state.is_last() && is_meant(open) {
                open.status = failure("the operation was interrupted");
                any = true;
            }
        }
        if any {
            self.news.notify_one();
        }
    }

    /// The tasks whose latest state Core was not told, or was told long ago.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<Open> {
        let is_heard = |open: &Open| {
            let told = open.told.as_ref();
            told.is_some_and(|(told, at)| *told == open.status && now.since(*at) < REPEAT_AFTER_S)
        };
        let is_due = |open: &&Open| !is_heard(open);
        self.lock().values().filter(is_due).cloned().collect()
    }

    /// Records that Core was told a state. Returns whether it was the last.
    pub(crate) fn has_heard(&self, number: u64, told: &TaskStatus, now: Timestamp) -> bool {
        let mut tasks = self.lock();
        let Some(open) = tasks.get_mut(&number) else { return false };
        open.told = Some((told.clone(), now));
        open.refusals = 0;
        if told.state.is_last() {
            tasks.remove(&number);
        }
        told.state.is_last()
    }

    /// Records that Core refused a task. Returns whether the task is given up.
    pub(crate) fn is_refused(&self, number: u64, failure: &CoreFailure) -> bool {
        let mut tasks = self.lock();
        let Some(open) = tasks.get_mut(&number) else { return false };
        open.refusals = open.refusals.saturating_add(1);
        let is_unknown = matches!(failure, CoreFailure::Status { status: StatusCode::NOT_FOUND, .. });
        let is_hopeless = is_unknown || open.refusals >= REFUSALS_MAX;
        if is_hopeless {
            tasks.remove(&number);
        }
        is_hopeless
    }

    /// The tasks, by number.
    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Open>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failure(why: &str) -> TaskStatus {
    TaskStatus { state: TaskState::Failure, progress: why.to_owned(), percentage: None }
}
