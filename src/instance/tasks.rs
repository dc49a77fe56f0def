//! Reports work that continues after its request was answered, so that UCloud shows it to the user.
//! The user can pause, resume or cancel it.
//!
//! The server reports to UCloud for this instance. The instance accepts UCloud's number of a task
//! once, as the server states it. The number decides only which of this user's own tasks is paused
//! or cancelled.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_keys::identity::Username;
use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::call::TaskControl;
use crate::files::error::{FilesError, RequestError};
use crate::files::progress::{Amount, Control, Progress};
use countersign_config::show_size;
use countersign_ipc::client::request;
use countersign_ipc::error_code::ErrorCode;
use countersign_ipc::server_protocol::{
    TASKS_BEGIN, TASKS_TELL, TaskBegun, TaskKnown, TaskNumber, TaskState, TaskStatus, TaskTold,
};

/// Least time between two reports to the server, unless the user pauses, resumes or cancels.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Most time between two reports, even if nothing has changed. The server takes a silent task for a
/// failed one.
const STILL_THERE_EVERY: Duration = Duration::from_secs(10);

/// How often the end of a task is reported while the server does not answer.
const LAST_TRIES: u32 = 10;

/// Reports work that continues after its request was answered.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    /// The server's socket. `None`: nothing is reported.
    socket: Option<PathBuf>,
    /// Bounded by the limit on changes in progress.
    open: Mutex<Vec<Arc<Task>>>,
}

#[derive(Debug)]
struct Task {
    username: Username,
    progress: Arc<Progress>,
    /// UCloud's number of the task, once the server has stated it.
    core_id: Mutex<Option<i64>>,
}

/// The outcome of the work, once it is over.
pub(crate) type Outcome = oneshot::Receiver<Result<(), RequestError>>;

/// Why a user's call does not change a task.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum TaskError {
    /// The task has ended, or never existed.
    #[error("there is no such task, or it is over")]
    NoTask,
    /// The requested state is not one that the user can ask for.
    #[error("a task can be asked to be CANCELLED, SUSPENDED or RUNNING")]
    State,
}

impl TaskError {
    /// The error code of the answer.
    pub(crate) const fn error_code(self) -> ErrorCode {
        match self {
            Self::NoTask => ErrorCode::NotFound,
            Self::State => ErrorCode::Malformed,
        }
    }
}

impl Tasks {
    /// Reports to the server at that socket.
    pub(crate) fn reporting_to(socket: PathBuf) -> Self {
        Self { socket: Some(socket), open: Mutex::default() }
    }

    /// How many tasks have not ended.
    pub(crate) fn open(&self) -> usize {
        self.lock().len()
    }

    /// Reports a task until it has ended.
    pub(crate) async fn follow(
        &self,
        username: Username,
        (title, body): (&str, String),
        progress: Arc<Progress>,
        outcome: Outcome,
    ) {
        let task = Arc::new(Task { username, progress, core_id: Mutex::default() });
        self.lock().push(Arc::clone(&task));
        let begun = TaskBegun { username: task.username.clone(), title: title.to_owned(), body };
        match &self.socket {
            Some(socket) => Reporter { socket, begun, task: &task, number: None, last: None }.until_over(outcome).await,
            None => log_failure(&outcome.await),
        }
        self.lock().retain(|other| !Arc::ptr_eq(other, &task));
    }

    /// Pauses, resumes or cancels a task, as its user signed.
    pub(crate) fn control(&self, username: &Username, request: &TaskControl) -> Result<Value, TaskError> {
        let control = match request.requested_state.as_str() {
            "CANCELLED" => Control::Cancel,
            "SUSPENDED" => Control::Pause,
            "RUNNING" => Control::Run,
            _ => return Err(TaskError::State),
        };
        let id = request.id.ok_or(TaskError::NoTask)?;
        let tasks = self.lock();
        let task = tasks.iter().find(|task| task.core_id() == Some(id) && task.username == *username);
        task.ok_or(TaskError::NoTask)?.progress.want(control);
        Ok(json!({}))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Task>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    fn core_id(&self) -> Option<i64> {
        *self.core_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers UCloud's number. The first that the server states stays.
    fn learn(&self, stated: Option<i64>) {
        let mut core_id = self.core_id.lock().unwrap_or_else(PoisonError::into_inner);
        *core_id = core_id.or(stated);
    }
}

/// A task while it is reported: the server's number of it, and the last report.
struct Reporter<'t> {
    socket: &'t Path,
    begun: TaskBegun,
    task: &'t Task,
    number: Option<u64>,
    last: Option<(TaskStatus, Instant)>,
}

impl Reporter<'_> {
    async fn until_over(mut self, mut outcome: Outcome) {
        let ended = loop {
            self.report_if_new().await;
            tokio::select! {
                ended = &mut outcome => break ended,
                () = tokio::time::sleep(REPORT_EVERY) => {}
                () = self.task.progress.control_changed() => {}
            }
        };
        log_failure(&ended);
        let status = last_status(&ended, &self.task.progress);
        for _ in 0..LAST_TRIES {
            if self.report(status.clone()).await {
                return;
            }
            tokio::time::sleep(REPORT_EVERY).await;
        }
    }

    async fn report_if_new(&mut self) {
        let status = status(&self.task.progress);
        let is_new = self.last.as_ref().is_none_or(|(last, at)| *last != status || at.elapsed() >= STILL_THERE_EVERY);
        // The server's answer brings UCloud's number.
        if is_new || self.task.core_id().is_none() {
            self.report(status).await;
        }
    }

    /// Reports a status. Returns whether the server has accepted it.
    async fn report(&mut self, status: TaskStatus) -> bool {
        if self.number.is_none() {
            self.number = ask::<_, TaskNumber>(self.socket, TASKS_BEGIN, &self.begun).await.map(|begun| begun.number);
        }
        let Some(number) = self.number else { return false };
        let report = TaskTold { number, status: status.clone() };
        let Some(known) = ask::<_, TaskKnown>(self.socket, TASKS_TELL, &report).await else { return false };
        self.task.learn(known.core_id);
        self.last = Some((status, Instant::now()));
        true
    }
}

async fn ask<Q: Serialize, A: DeserializeOwned>(socket: &Path, operation: &str, question: &Q) -> Option<A> {
    match request(socket, Method::POST, operation, question).await {
        Ok((StatusCode::OK, body)) => serde_json::from_slice(&body).ok(),
        Ok((status, _)) => {
            tracing::debug!(%status, operation, "the server does not hear of a task");
            None
        }
        Err(error) => {
            tracing::debug!(%error, operation, "the server cannot be told of a task");
            None
        }
    }
}

fn status(progress: &Progress) -> TaskStatus {
    let state = match progress.control() {
        Control::Run | Control::Cancel => TaskState::Running,
        Control::Pause => TaskState::Suspended,
    };
    let (done, all) = (progress.done(), progress.all());
    TaskStatus { state, progress: in_words(done, all), percentage: all.map(|all| of_a_hundred(done, all)) }
}

fn last_status(ended: &Result<Result<(), RequestError>, oneshot::error::RecvError>, progress: &Progress) -> TaskStatus {
    let progress = in_words(progress.done(), progress.all());
    match ended {
        Ok(Ok(())) => TaskStatus { state: TaskState::Success, progress, percentage: Some(100) },
        Ok(Err(error)) if error.trouble == FilesError::Cancelled => {
            TaskStatus { state: TaskState::Cancelled, progress, percentage: None }
        }
        Ok(Err(error)) => TaskStatus { state: TaskState::Failure, progress: error.to_string(), percentage: None },
        Err(_gone) => {
            TaskStatus { state: TaskState::Failure, progress: "it was broken off".to_owned(), percentage: None }
        }
    }
}

/// By bytes if there are any, because files differ in size. At most 99: the task has not ended.
fn of_a_hundred(done: Amount, all: Amount) -> u8 {
    let (done, all) = if all.bytes > 0 { (done.bytes, all.bytes) } else { (done.files, all.files) };
    let of_a_hundred = u128::from(done).saturating_mul(100).checked_div(u128::from(all)).unwrap_or(0).min(99);
    u8::try_from(of_a_hundred).unwrap_or(99)
}

fn in_words(done: Amount, all: Option<Amount>) -> String {
    let size = |bytes: u64| show_size(usize::try_from(in_large_units(bytes)).unwrap_or(usize::MAX));
    match all {
        Some(all) if all.bytes > 0 => format!(
            "{} of {} files, {} of {}",
            done.files.min(all.files),
            all.files,
            size(done.bytes.min(all.bytes)),
            size(all.bytes)
        ),
        Some(all) => format!("{} of {} files", done.files.min(all.files), all.files),
        None if done.bytes > 0 => format!("{} files, {}", done.files, size(done.bytes)),
        None => format!("{} files", done.files),
    }
}

/// Whole MiB, whole KiB below 1 MiB, or bytes below 1 KiB.
const fn in_large_units(bytes: u64) -> u64 {
    if bytes >= 1024 * 1024 {
        bytes - bytes % (1024 * 1024)
    } else if bytes >= 1024 {
        bytes - bytes % 1024
    } else {
        bytes
    }
}

fn log_failure(ended: &Result<Result<(), RequestError>, oneshot::error::RecvError>) {
    if let Ok(Err(error)) = ended {
        tracing::warn!(%error, "files work failed after it was answered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_in_words_and_of_a_hundred() {
        let amount = |files, bytes| Amount { files, bytes };
        let check = |done, all: Option<Amount>, words: &str, percentage: Option<u8>| {
            assert_eq!(in_words(done, all), words);
            assert_eq!(all.map(|all| of_a_hundred(done, all)), percentage, "{words}");
        };
        check(amount(0, 0), None, "0 files", None);
        check(amount(3, 5000), None, "3 files, 4 KiB", None);
        check(amount(3, 0), Some(amount(12, 0)), "3 of 12 files", Some(25));
        check(amount(1, 3 << 20), Some(amount(2, 4 << 20)), "1 of 2 files, 3 MiB of 4 MiB", Some(75));
        check(amount(2, 4 << 20), Some(amount(2, 4 << 20)), "2 of 2 files, 4 MiB of 4 MiB", Some(99));
        check(amount(9, 9), Some(amount(2, 4)), "2 of 2 files, 4 B of 4 B", Some(99));
        check(amount(0, 0), Some(amount(0, 0)), "0 of 0 files", Some(0));
        check(
            amount(1, u64::MAX),
            Some(amount(1, u64::MAX)),
            &in_words(amount(1, u64::MAX), Some(amount(1, u64::MAX))),
            Some(99),
        );
    }
}
