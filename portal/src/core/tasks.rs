//! Core's tasks: the progress that providers report for long operations.
//!
//! Core uses its own clock and ignores the provider's times. Tests can advance that clock, so no
//! test waits for minutes.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::now;

/// The number of the first task.
const FIRST: i64 = 31;

/// A task as its user sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ShownTask {
    /// Its number.
    pub id: i64,
    /// The user to whom it belongs.
    pub user: String,
    /// The title that the provider gave.
    pub title: String,
    /// The text that the provider gave.
    pub body: String,
    /// Every state so far, without repetitions.
    pub states: Vec<String>,
    /// The latest progress.
    pub progress: String,
    /// The latest progress in percent.
    pub percentage: Option<i64>,
    /// Whether the provider marked it as complete.
    pub is_complete: bool,
    /// The time of the latest update by Core's clock, in milliseconds since 1970.
    pub modified_at: i64,
    /// The number of updates.
    pub updates: usize,
}

/// How long Core lists a task without an update, in milliseconds.
const LISTED_MS: i64 = 5 * 60 * 1000;

/// The tasks. Their number is bounded by the test.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    all: Mutex<Vec<ShownTask>>,
    /// How far Core's clock is ahead of the system's, in milliseconds.
    ahead_ms: AtomicI64,
}

impl Tasks {
    pub(super) fn all(&self) -> Vec<ShownTask> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The tasks in the lists of their users.
    pub(super) fn listed(&self) -> Vec<ShownTask> {
        let mut tasks = self.all();
        tasks.retain(|task| self.now_ms().saturating_sub(task.modified_at) < LISTED_MS);
        tasks
    }

    /// Puts Core's clock ahead.
    pub(super) fn let_pass(&self, time: Duration) {
        self.ahead_ms.fetch_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    fn now_ms(&self) -> i64 {
        now().saturating_mul(1000).saturating_add(self.ahead_ms.load(Ordering::SeqCst))
    }

    /// Creates a task. `None` if a member is missing.
    pub(super) fn create(&self, body: &Value) -> Option<Value> {
        let mut tasks = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let text = |name: &str| body.get(name)?.as_str().map(str::to_owned);
        body.get("canPause")?.as_bool()?;
        body.get("canCancel")?.as_bool()?;
        let id = i64::try_from(tasks.len()).ok()?.checked_add(FIRST)?;
        tasks.push(ShownTask {
            id,
            user: text("user")?,
            title: text("title")?,
            body: text("body")?,
            states: vec!["IN_QUEUE".to_owned()],
            progress: String::new(),
            percentage: None,
            is_complete: false,
            modified_at: self.now_ms(),
            updates: 0,
        });
        Some(json!({ "taskId": id, "createdAt": 1_700_000_000_000_i64, "status": {"state": "IN_QUEUE"} }))
    }

    /// Records a status. `None` if a member is missing or the task does not exist.
    pub(super) fn post_status(&self, body: &Value) -> Option<Value> {
        let update = body.get("update")?;
        let status = update.get("newStatus")?;
        update.get("modifiedAt")?.as_i64()?;
        let state = status.get("state")?.as_str()?;
        self.change(update.get("taskId")?.as_i64()?, |task| {
            if task.states.last().is_none_or(|last| last != state) {
                task.states.push(state.to_owned());
            }
            task.updates = task.updates.saturating_add(1);
            task.progress = status.get("progress").and_then(Value::as_str).unwrap_or_default().to_owned();
            task.percentage = status.get("progressPercentage").and_then(Value::as_i64);
        })
    }

    /// Marks a task as complete.
    pub(super) fn mark_as_complete(&self, body: &Value) -> Option<Value> {
        self.change(body.get("id")?.as_i64()?, |task| task.is_complete = true)
    }

    fn change(&self, id: i64, change: impl FnOnce(&mut ShownTask)) -> Option<Value> {
        let mut tasks = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let task = tasks.iter_mut().find(|task| task.id == id)?;
        task.modified_at = self.now_ms();
        change(task);
        Some(json!({}))
    }
}
