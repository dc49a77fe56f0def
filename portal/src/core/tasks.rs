//! Core's tasks: what providers say of long pieces of work.
//!
//! Core goes by its own clock, whatever times a provider says. That clock can be put ahead: no test
//! waits for minutes.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::now;

/// The number of the first task.
const FIRST: i64 = 31;

/// A task as its user would see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ShownTask {
    /// Its number.
    pub id: i64,
    /// Whose it is.
    pub user: String,
    /// What is done.
    pub title: String,
    /// With what.
    pub body: String,
    /// Every state that it has had, without repetitions.
    pub states: Vec<String>,
    /// The latest progress.
    pub progress: String,
    /// The same of a hundred.
    pub percentage: Option<i64>,
    /// Whether it was marked as complete.
    pub is_complete: bool,
    /// When something was heard of it last, by Core's clock, in milliseconds since 1970.
    pub modified_at: i64,
    /// How often something was heard of it.
    pub updates: usize,
}

/// How long Core lists a task of which nothing is heard, in milliseconds.
const LISTED_MS: i64 = 5 * 60 * 1000;

/// All of them; as many as a test makes.
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

    /// Those in the lists of their users.
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

    /// Makes a task; `None` where something is missing.
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

    /// Takes note of a status; `None` where something is missing, or there is no such task.
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
