//! The tasks of users' instances, and what Core has heard of each.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_keys::identity::Uid;
use countersign_keys::store::tasks::{TASKS_MAX, Task};
use countersign_keys::time::Timestamp;
use http::StatusCode;
use tokio::sync::Notify;

use super::core_calls::CoreFailure;
use super::reply::Refusal;
use crate::ipc::messages::{TASK_SILENCE_MAX_S, TaskState, TaskStatus};

/// Most tasks of one account at a time, ended ones of which Core has not heard among them.
const EACH_MAX: usize = 64;

/// After how long Core is told the same again, in seconds: it lists the tasks of which it has heard
/// within five minutes.
const REPEAT_AFTER_S: i64 = 4 * 60;

/// How often Core is asked about one task that it refuses, before it is given up.
const REFUSALS_MAX: u32 = 5;

/// The tasks under way. Bounded by [`TASKS_MAX`] and [`EACH_MAX`]; one goes when Core has heard of
/// its end.
#[derive(Debug, Default)]
pub(super) struct TaskTable {
    tasks: Mutex<BTreeMap<u64, Open>>,
    pub(super) news: Notify,
}

/// A task of which Core has still to hear something.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) task: Task,
    /// `None`: of an instance of before this server was started.
    pub(super) uid: Option<Uid>,
    pub(super) status: TaskStatus,
    pub(super) heard: Timestamp,
    /// What Core was told last, and when.
    told: Option<(TaskStatus, Timestamp)>,
    refusals: u32,
}

impl TaskTable {
    /// What is in the store when the server starts. Whoever did that work ended with the server
    /// that was before: it has failed.
    pub(super) fn left_behind(stored: Vec<Task>, now: Timestamp) -> Self {
        let left = |task: Task| {
            let status = failure("the provider was started anew");
            (task.number, Open { task, uid: None, status, heard: now, told: None, refusals: 0 })
        };
        let tasks = stored.into_iter().map(left).collect();
        Self { tasks: Mutex::new(tasks), news: Notify::new() }
    }

    /// Takes up a task of an account, if it may have one more.
    pub(super) fn open(&self, uid: Uid, task: Task, now: Timestamp) -> Result<(), Refusal> {
        let mut tasks = self.lock();
        let own = tasks.values().filter(|open| open.uid == Some(uid)).count();
        // An account's share shrinks as room does.
        if own >= EACH_MAX.min(TASKS_MAX.saturating_sub(tasks.len())) {
            return Err(Refusal::too_many("too many tasks are under way"));
        }
        let status = TaskStatus { state: TaskState::Running, progress: String::new(), percentage: None };
        tasks.insert(task.number, Open { task, uid: Some(uid), status, heard: now, told: None, refusals: 0 });
        Ok(())
    }

    /// The account's instance is gone, and what it did with it.
    pub(super) fn instance_gone(&self, uid: Uid) {
        self.fail_where(|open| open.uid == Some(uid));
    }

    /// Whatever has not been heard of for long has failed.
    pub(super) fn fail_silent(&self, now: Timestamp) {
        self.fail_where(|open| now.since(open.heard) > TASK_SILENCE_MAX_S);
    }

    fn fail_where(&self, is_meant: impl Fn(&Open) -> bool) {
        let mut any = false;
        for open in self.lock().values_mut() {
            if !open.status.state.is_last() && is_meant(open) {
                open.status = failure("it was broken off");
                any = true;
            }
        }
        if any {
            self.news.notify_one();
        }
    }

    /// Those of which Core has not heard the latest, or has heard nothing for long.
    pub(super) fn due(&self, now: Timestamp) -> Vec<Open> {
        let is_heard = |open: &Open| {
            let told = open.told.as_ref();
            told.is_some_and(|(told, at)| *told == open.status && now.since(*at) < REPEAT_AFTER_S)
        };
        let is_due = |open: &&Open| !is_heard(open);
        self.lock().values().filter(is_due).cloned().collect()
    }

    /// Core has heard that much of a task; whether that was all.
    pub(super) fn has_heard(&self, number: u64, told: &TaskStatus, now: Timestamp) -> bool {
        let mut tasks = self.lock();
        let Some(open) = tasks.get_mut(&number) else { return false };
        open.told = Some((told.clone(), now));
        open.refusals = 0;
        if told.state.is_last() {
            tasks.remove(&number);
        }
        told.state.is_last()
    }

    /// Core refuses a task; whether it is given up.
    pub(super) fn is_refused(&self, number: u64, failure: &CoreFailure) -> bool {
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
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Open>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failure(why: &str) -> TaskStatus {
    TaskStatus { state: TaskState::Failure, progress: why.to_owned(), percentage: None }
}
