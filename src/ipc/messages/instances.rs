//! Messages of an account's processes for UCloud: its drives, and long-running tasks.

use countersign_keys::identity::Username;
use countersign_keys::store::drives::CoreDriveId;
use serde::{Deserialize, Serialize};

/// Reports which of the configured drives an account has, and returns UCloud's numbers of them.
/// [`DrivesReport`] → [`DriveTable`].
pub(crate) const DRIVES_REPORT: &str = "/drives/report";
/// Registers a drive made by a user, which has a number at UCloud already. [`MadeDrive`] →
/// [`MakingAnswer`].
pub(crate) const DRIVES_MAKE: &str = "/drives/make";
/// Removes a drive made by a user. [`RemovedDrive`] → `{}`.
pub(crate) const DRIVES_REMOVE: &str = "/drives/remove";
/// Begins a long-running task, which UCloud shows to its user. [`TaskBegun`] → [`TaskNumber`].
pub(crate) const TASKS_BEGIN: &str = "/tasks/begin";
/// Reports a task's progress. Has to be repeated well within [`TASK_SILENCE_MAX_S`] until the task
/// ends. [`TaskTold`] → [`TaskKnown`].
pub(crate) const TASKS_TELL: &str = "/tasks/tell";
/// Silence after which a task counts as failed, in seconds: its process is gone.
pub(crate) const TASK_SILENCE_MAX_S: i64 = 45;
/// Longest text of a task, in bytes; longer texts are cut.
pub(crate) const TASK_TEXT_MAX: usize = 1_024;

/// The drives of the calling uid's account, by the ids of the configuration. An empty list only
/// asks what is known.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DrivesReport {
    /// At most [`countersign_keys::store::drives::DRIVES_MAX`].
    pub(crate) ids: Vec<String>,
}

/// UCloud's numbers of an account's drives, without those that are not registered yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DriveTable {
    pub(crate) drives: Vec<NumberedDrive>,
}

/// A drive that UCloud has registered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NumberedDrive {
    /// UCloud's number, with which users' paths begin.
    pub(crate) number: CoreDriveId,
    /// The id in the configuration.
    pub(crate) id: String,
}

/// A drive that one of the account's users makes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MadeDrive {
    /// The owner.
    pub(crate) username: Username,
    /// UCloud's number.
    pub(crate) number: CoreDriveId,
    /// The id that it gets.
    pub(crate) id: String,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MakingAnswer {
    pub(crate) outcome: Making,
}

/// The outcome of making a drive.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Making {
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
pub(crate) struct RemovedDrive {
    /// The owner.
    pub(crate) username: Username,
    pub(crate) id: String,
}

/// A long-running task of the calling uid's account.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TaskBegun {
    /// One of the account's users.
    pub(crate) username: Username,
    /// The operation, for the user.
    pub(crate) title: String,
    /// Its objects, for the user.
    pub(crate) body: String,
}

/// The server's number of a task.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TaskNumber {
    pub(crate) number: u64,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TaskTold {
    /// The server's number.
    pub(crate) number: u64,
    pub(crate) status: TaskStatus,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TaskStatus {
    pub(crate) state: TaskState,
    /// How much of how much is done, in words; or why it failed.
    pub(crate) progress: String,
    /// Percentage done, if the whole is known.
    pub(crate) percentage: Option<u8>,
}

/// The states of a task, in UCloud's words.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum TaskState {
    Running,
    /// Paused.
    Suspended,
    Cancelled,
    Failure,
    Success,
}

impl TaskState {
    /// Whether the task has ended.
    pub(crate) const fn is_last(self) -> bool {
        matches!(self, Self::Cancelled | Self::Failure | Self::Success)
    }
}

/// UCloud's data about a task.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TaskKnown {
    /// UCloud's number, once it has one.
    pub(crate) core_id: Option<i64>,
}
