//! Long-running operations of users' instances, as Core shows them: begun, in progress, ended.
//!
//! An instance reports for its own account (`SO_PEERCRED`), and only that account's users see the
//! report. Core is told the latest state of each task at most once a second, and of every end,
//! after an outage too. A task whose instance is gone has failed.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use countersign_keys::identity::{Uid, Username};
use countersign_keys::store::tasks::Task;
use countersign_keys::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::client::{Call, CoreCalls, CoreFailure};
use super::task_table::Open;
use crate::http::reply::{Refusal, blocking};
use crate::state::{Server, log_failure};
use crate::turns::Asker;
use countersign_ipc::server_protocol::{
    TASK_TEXT_MAX, TaskBegun, TaskKnown, TaskNumber, TaskState, TaskStatus, TaskTold,
};
use countersign_os::clock::random_bytes;

const CREATE: &str = "/api/tasks";
const POST_STATUS: &str = "/api/tasks/postStatus";
const MARK_AS_COMPLETE: &str = "/api/tasks/markAsComplete";

/// Shortest time between two rounds.
const ROUND_MIN: Duration = Duration::from_secs(1);

/// Longest time between two rounds, so that silent tasks are noticed.
const ROUND_MAX: Duration = Duration::from_secs(15);

/// Longest wait while Core cannot be reached.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Records a new task.
pub(crate) async fn begin(server: &Arc<Server>, uid: Uid, begun: TaskBegun) -> Result<TaskNumber, Refusal> {
    let TaskBegun { username, title, body } = begun;
    if !server.records.usernames(uid)?.contains(&username) {
        return Err(Refusal::not_found("this account is not connected to that UCloud user"));
    }
    let now = server.clock.now()?;
    // No more bits than every JSON parser reads exactly.
    let number = u64::from_be_bytes(random_bytes()?) >> 11;
    let task = Task { number, username, title: cut(&title), body: cut(&body), core_id: None };
    server.tasks.open(uid, task.clone(), now)?;
    let records = Arc::clone(&server.records);
    let work = move || Ok(records.note_task(&task)?);
    if let Err(failure) = server.blocking(Asker::Account(uid), work).await {
        server.tasks.lock().remove(&number);
        return Err(failure);
    }
    server.tasks.news.notify_one();
    Ok(TaskNumber { number })
}

/// Records the progress of a task. A final state stays.
pub(crate) fn tell(server: &Server, uid: Uid, told: TaskTold) -> Result<TaskKnown, Refusal> {
    let TaskTold { number, status } = told;
    let now = server.clock.now()?;
    let mut tasks = server.tasks.lock();
    let Some(open) = tasks.get_mut(&number).filter(|open| open.uid == Some(uid)) else {
        return Err(Refusal::not_found("no such task is under way"));
    };
    open.heard = now;
    if !open.status.state.is_last() {
        let percentage = status.percentage.map(|percentage| percentage.min(100));
        open.status = TaskStatus { state: status.state, progress: cut(&status.progress), percentage };
    }
    let core_id = open.task.core_id;
    drop(tasks);
    server.tasks.news.notify_one();
    Ok(TaskKnown { core_id })
}

/// Removes control characters, and truncates.
fn cut(text: &str) -> String {
    let mut cut = String::new();
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        if cut.len().saturating_add(letter.len_utf8()) > TASK_TEXT_MAX {
            break;
        }
        cut.push(letter);
    }
    cut
}

/// Tells Core until the server ends.
pub(crate) async fn run(server: Arc<Server>, core: Arc<CoreCalls>) {
    let mut wait = ROUND_MIN;
    loop {
        let is_reached = match server.clock.now() {
            Ok(now) => {
                server.tasks.fail_silent(now);
                round(&server, &core, now).await
            }
            Err(failure) => {
                log_failure("postponed tasks", &failure);
                true
            }
        };
        wait = if is_reached { ROUND_MIN } else { (wait * 2).min(WAIT_MAX) };
        tokio::time::sleep(wait).await;
        if is_reached {
            let _news = tokio::time::timeout(ROUND_MAX, server.tasks.news.notified()).await;
        }
    }
}

/// Tells Core the latest state of every task. Returns whether Core could be reached.
pub(crate) async fn round(server: &Arc<Server>, core: &CoreCalls, now: Timestamp) -> bool {
    for open in server.tasks.due(now) {
        let number = open.task.number;
        let is_over = match tell_core(server, core, &open, now).await {
            Ok(()) => server.tasks.has_heard(number, &open.status, now),
            Err(failure) => {
                log_failure("cannot tell Core of a task", &failure);
                if failure.is_general() {
                    return false;
                }
                server.tasks.is_refused(number, &failure)
            }
        };
        if is_over {
            let records = Arc::clone(&server.records);
            // The cause is in the log. After the next start Core is told of the end again.
            let _failure = blocking(move || Ok(records.forget_task(number)?)).await;
        }
    }
    true
}

async fn tell_core(server: &Arc<Server>, core: &CoreCalls, open: &Open, now: Timestamp) -> Result<(), CoreFailure> {
    let core_id = match open.task.core_id {
        Some(core_id) => core_id,
        None => create(server, core, &open.task, now).await?,
    };
    let Task { title, body, .. } = &open.task;
    let TaskStatus { state, progress, percentage } = &open.status;
    let update = Update {
        task_id: core_id,
        modified_at: now.seconds().saturating_mul(1000),
        new_status: NewStatus { state: *state, title, body, progress, progress_percentage: *percentage },
    };
    core.ask(&Call::post(POST_STATUS, &PostStatus { update })?, now).await?;
    if *state == TaskState::Success {
        core.ask(&Call::post(MARK_AS_COMPLETE, &Complete { id: core_id })?, now).await?;
    }
    Ok(())
}

/// Creates the task at Core. If the response is lost, it is created again, and Core shows the first
/// one without progress for some minutes.
async fn create(server: &Arc<Server>, core: &CoreCalls, task: &Task, now: Timestamp) -> Result<i64, CoreFailure> {
    let create = Create {
        user: &task.username,
        title: &task.title,
        body: &task.body,
        progress: None,
        can_pause: true,
        can_cancel: true,
        icon: None,
    };
    let answer = core.ask(&Call::post(CREATE, &create)?, now).await?;
    let created: Created = serde_json::from_slice(&answer).map_err(|_error| CoreFailure::Form { call: CREATE })?;
    if let Some(open) = server.tasks.lock().get_mut(&task.number) {
        open.task.core_id = Some(created.task_id);
    }
    let (records, noted) = (Arc::clone(&server.records), Task { core_id: Some(created.task_id), ..task.clone() });
    // The cause is in the log. The only loss: after a restart Core is not told of the end.
    let _failure = blocking(move || Ok(records.note_task(&noted)?)).await;
    Ok(created.task_id)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Create<'r> {
    user: &'r Username,
    title: &'r str,
    body: &'r str,
    progress: Option<&'r str>,
    can_pause: bool,
    can_cancel: bool,
    icon: Option<&'r str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    task_id: i64,
}

#[derive(Serialize)]
struct PostStatus<'r> {
    update: Update<'r>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Update<'r> {
    task_id: i64,
    modified_at: i64,
    new_status: NewStatus<'r>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewStatus<'r> {
    state: TaskState,
    title: &'r str,
    body: &'r str,
    progress: &'r str,
    progress_percentage: Option<u8>,
}

#[derive(Serialize)]
struct Complete {
    id: i64,
}
