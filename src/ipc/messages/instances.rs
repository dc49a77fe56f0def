//! What an account's own processes tell the server that UCloud is to know: its drives, and work
//! that takes long.

use countersign_keys::identity::Username;
use countersign_keys::store::drives::CoreDriveId;
use serde::{Deserialize, Serialize};

/// Says which of the configured drives an account has; answers with what UCloud calls them.
/// [`DrivesReport`] → [`DriveTable`].
pub(crate) const DRIVES_REPORT: &str = "/drives/report";
/// A user makes a drive, which has a number at UCloud already. [`MadeDrive`] → [`MakingAnswer`].
pub(crate) const DRIVES_MAKE: &str = "/drives/make";
/// A user has removed a drive of their making. [`RemovedDrive`] → `{}`.
pub(crate) const DRIVES_REMOVE: &str = "/drives/remove";
/// An account has a long piece of work under way, which UCloud shows to its user. [`TaskBegun`] →
/// [`TaskNumber`].
pub(crate) const TASKS_BEGIN: &str = "/tasks/begin";
/// How far it is; to be said again well within [`TASK_SILENCE_MAX_S`] until it is over.
/// [`TaskTold`] → [`TaskKnown`].
pub(crate) const TASKS_TELL: &str = "/tasks/tell";
/// A task of which nothing was heard for so long, in seconds, has failed: whoever did it is gone.
pub(crate) const TASK_SILENCE_MAX_S: i64 = 45;
/// The longest text of a task, in bytes; what is longer is cut.
pub(crate) const TASK_TEXT_MAX: usize = 1_024;

/// The drives that the account of the uid that asks has, by the ids of the configuration. An empty
/// list asks what is known.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DrivesReport {
    /// At most [`countersign_keys::store::drives::DRIVES_MAX`].
    pub(crate) ids: Vec<String>,
}

/// What UCloud calls an account's drives; those that it has not registered yet are left out.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DriveTable {
    /// The drives.
    pub(crate) drives: Vec<NumberedDrive>,
}

/// A drive that UCloud has registered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NumberedDrive {
    /// UCloud's number of it, with which users' paths begin.
    pub(crate) number: CoreDriveId,
    /// The id of the configuration.
    pub(crate) id: String,
}

/// A drive that one of the account's users makes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MadeDrive {
    /// Whose it is.
    pub(crate) username: Username,
    /// UCloud's number of it.
    pub(crate) number: CoreDriveId,
    /// The id that it gets.
    pub(crate) id: String,
}

/// Whether there can be such a drive.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MakingAnswer {
    /// What came of it.
    pub(crate) outcome: Making,
}

/// What came of a drive that a user makes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Making {
    /// It is known now, under this number.
    Noted,
    /// There is one of this id: another may do.
    IdTaken,
    /// The number is another drive's.
    NumberTaken,
    /// The user has as many drives as there can be.
    TooMany,
}

/// A drive that one of the account's users made and has removed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RemovedDrive {
    /// Whose it was.
    pub(crate) username: Username,
    /// Its id.
    pub(crate) id: String,
}

/// A long piece of work of the account of the uid that asks.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TaskBegun {
    /// For which of the account's users.
    pub(crate) username: Username,
    /// What is done.
    pub(crate) title: String,
    /// With what.
    pub(crate) body: String,
}

/// The server's number of a task.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TaskNumber {
    /// The number.
    pub(crate) number: u64,
}

/// How far a task is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TaskTold {
    /// The server's number of it.
    pub(crate) number: u64,
    /// How it stands.
    pub(crate) status: TaskStatus,
}

/// How a task stands.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TaskStatus {
    /// The state.
    pub(crate) state: TaskState,
    /// How much is done of how much, in words; or why it failed.
    pub(crate) progress: String,
    /// The same of a hundred, if the whole is known.
    pub(crate) percentage: Option<u8>,
}

/// The states of a task, in UCloud's words.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum TaskState {
    /// It goes on.
    Running,
    /// It rests.
    Suspended,
    /// It was stopped.
    Cancelled,
    /// It could not be done.
    Failure,
    /// It is done.
    Success,
}

impl TaskState {
    /// Whether nothing comes after it.
    pub(crate) const fn is_last(self) -> bool {
        matches!(self, Self::Cancelled | Self::Failure | Self::Success)
    }
}

/// What is known of a task at UCloud.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TaskKnown {
    /// UCloud's number of it, once it has one.
    pub(crate) core_id: Option<i64>,
}
