//! Messages of an account's processes for UCloud: its drives, and long-running tasks.

use countersign_keys::identity::Username;
use countersign_keys::store::drives::CoreDriveId;
use serde::{Deserialize, Serialize};

/// Reports which of the configured drives an account has, and returns UCloud's numbers of them.
/// [`DrivesReport`] → [`DriveTable`].
pub const DRIVES_REPORT: &str = "/drives/report";
/// Registers a drive made by a user, which has a number at UCloud already. [`MadeDrive`] →
/// [`MakingAnswer`].
pub const DRIVES_MAKE: &str = "/drives/make";
/// Removes a drive made by a user. [`RemovedDrive`] → `{}`.
pub const DRIVES_REMOVE: &str = "/drives/remove";
/// Begins a long-running task, which UCloud shows to its user. [`TaskBegun`] → [`TaskNumber`].
pub const TASKS_BEGIN: &str = "/tasks/begin";
/// Reports a task's progress. Has to be repeated well within [`TASK_SILENCE_MAX_S`] until the task
/// ends. [`TaskTold`] → [`TaskKnown`].
pub const TASKS_TELL: &str = "/tasks/tell";
/// Silence after which a task counts as failed, in seconds: its process is gone.
pub const TASK_SILENCE_MAX_S: i64 = 45;
/// Longest text of a task, in bytes; longer texts are cut.
pub const TASK_TEXT_MAX: usize = 1_024;

/// The drives of the calling uid's account, by the ids of the configuration. An empty list only
/// asks what is known.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrivesReport {
    /// At most [`countersign_keys::store::drives::DRIVES_MAX`].
    pub ids: Vec<String>,
}

/// UCloud's numbers of an account's drives, without those that are not registered yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DriveTable {
    pub drives: Vec<NumberedDrive>,
}

/// A drive that UCloud has registered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NumberedDrive {
    /// UCloud's number, with which users' paths begin.
    pub number: CoreDriveId,
    /// The id in the configuration.
    pub id: String,
}

/// A drive that one of the account's users makes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MadeDrive {
    /// The owner.
    pub username: Username,
    /// UCloud's number.
    pub number: CoreDriveId,
    /// The id that it gets.
    pub id: String,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MakingAnswer {
    pub outcome: Making,
}

/// The outcome of making a drive.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Making {
    /// Registered under this number.
    Noted,
    /// Another drive has this id; another id may be free.
    IdTaken,
    /// Another drive has this number.
    NumberTaken,
    /// The user has the maximum of drives.
    TooMany,
}

/// A drive that one of the account's users made and has removed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemovedDrive {
    /// The owner.
    pub username: Username,
    pub id: String,
}

/// A long-running task of the calling uid's account.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskBegun {
    /// One of the account's users.
    pub username: Username,
    /// The operation, for the user.
    pub title: String,
    /// Its objects, for the user.
    pub body: String,
}

/// The server's number of a task.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskNumber {
    pub number: u64,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskTold {
    /// The server's number.
    pub number: u64,
    pub status: TaskStatus,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskStatus {
    pub state: TaskState,
    /// How much of how much is done, in words; or why it failed.
    pub progress: String,
    /// Percentage done, if the whole is known.
    pub percentage: Option<u8>,
}

/// The states of a task, in UCloud's words.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskState {
    Running,
    /// Paused.
    Suspended,
    Cancelled,
    Failure,
    Success,
}

impl TaskState {
    /// Whether the task has ended.
    pub const fn is_last(self) -> bool {
        matches!(self, Self::Cancelled | Self::Failure | Self::Success)
    }
}

/// UCloud's data about a task.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskKnown {
    /// UCloud's number, once it has one.
    pub core_id: Option<i64>,
}
