//! The meaning of a job's state for its user: one of six words and a sentence.

use crate::sacct::{ExitCode, Record};
use crate::squeue::Row;
use crate::state::{JobState, Phase};

/// How a job stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Standing {
    Waiting,
    Running,
    Suspended,
    Succeeded,
    Failed,
    /// Ended because its time was up.
    Expired,
}

impl Standing {
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Expired)
    }
}

/// A standing, and a sentence for the user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    pub standing: Standing,
    pub words: String,
}

impl Outcome {
    /// What a row of the queue says. `None` if its state is unknown.
    #[must_use]
    pub fn of_row(row: &Row) -> Option<Self> {
        let (standing, words) = match row.state.phase() {
            Phase::Waiting => (Standing::Waiting, waiting(row)),
            Phase::Running => (Standing::Running, running(row)),
            Phase::Suspended => (Standing::Suspended, "The job is suspended.".to_owned()),
            Phase::Ended => ended(&row.state, Ending { exit: row.exit, uid: row.uid, ..Ending::default() })?,
            Phase::Unknown => return None,
        };
        Some(Self { standing, words })
    }

    /// What the record of a finished run says. `None` if the run has not ended or its state is
    /// unknown.
    #[must_use]
    pub fn of_record(record: &Record) -> Option<Self> {
        let ending = Ending {
            exit: record.exit,
            derived: record.derived,
            memory: record.memory.as_deref(),
            uid: record.uid,
            elapsed_s: Some(record.elapsed_s),
        };
        let (standing, words) = ended(&record.state, ending)?;
        Some(Self { standing, words })
    }
}

/// What is known of an end, beside the state.
#[derive(Clone, Copy, Default)]
struct Ending<'e> {
    exit: ExitCode,
    derived: Option<ExitCode>,
    memory: Option<&'e str>,
    uid: u32,
    elapsed_s: Option<u64>,
}

fn running(row: &Row) -> String {
    match row.nodes.as_str() {
        "" => "The job is running.".to_owned(),
        nodes => format!("The job is running on {nodes}."),
    }
}

fn waiting(row: &Row) -> String {
    let why = row.reason.as_deref().map_or_else(|| "The job is in the queue.".to_owned(), reason_in_words);
    match row.restarts {
        0 => why,
        _ => format!("Slurm has put the job back into the queue, and starts it again. {why}"),
    }
}

/// A reason of a waiting job, in a sentence. An unknown reason is quoted.
fn reason_in_words(reason: &str) -> String {
    let words = match reason {
        "Priority" => "The job is in the queue: other jobs come first.",
        "Resources" => "The job is in the queue: it is next, when enough nodes are free.",
        "Dependency" => "The job waits for another job.",
        "DependencyNeverSatisfied" => {
            "The job waits for another job that did not end as required, so it never starts. End it."
        }
        "BeginTime" => "The job waits for its begin time.",
        "JobHeldUser" => "The job is held by its owner.",
        "JobHeldAdmin" => "The job is held by the staff of the computing centre.",
        "JobArrayTaskLimit" => "The job waits for other tasks of its array.",
        "Licenses" => "The job waits for a licence.",
        "PartitionTimeLimit" => {
            "The job asks for more time than its machines allow, so it never starts. End it, and ask for less."
        }
        "PartitionNodeLimit" => {
            "The job asks for more nodes than there are of its machines, so it never starts. End it, and ask for fewer."
        }
        "PartitionConfig" | "BadConstraints" => {
            "No machine has what the job asks for, so it never starts. End it, and ask for less."
        }
        "PartitionDown" | "PartitionInactive" => "The job waits: its machines are out of service.",
        "ReqNodeNotAvail" | "NodeDown" => "The job waits: a node that it needs is not available.",
        "Reservation" | "ReservationDeleted" | "ReservationInvalid" => "The job waits for its reservation.",
        "AccountNotAllowed" | "QOSNotAllowed" => {
            "The job's account at Slurm may not use its machines, so it does not start. End it."
        }
        "JobHoldMaxRequeue" => "The job is held: Slurm has put it back into the queue too often.",
        "InvalidAccount" | "InvalidQOS" => "The job's account at Slurm is not valid, so it does not start.",
        reason if ["Assoc", "QOS", "Max"].iter().any(|limit| reason.starts_with(limit)) => {
            return format!("The job waits: a limit of its account at Slurm is reached ({reason}).");
        }
        reason if reason.starts_with("ReqNodeNotAvail") => "The job waits: a node that it needs is not available.",
        reason => return format!("The job is in the queue ({reason})."),
    };
    words.to_owned()
}

fn ended(state: &JobState, ending: Ending<'_>) -> Option<(Standing, String)> {
    let Ending { exit, derived, memory, uid, elapsed_s } = ending;
    let outcome = match state {
        JobState::Completed => {
            let words = match derived.filter(|derived| derived.code != 0 || derived.signal != 0) {
                None => "The job has completed.".to_owned(),
                Some(derived) => format!("The job has completed; a step of it failed ({}).", exit_in_words(derived)),
            };
            (Standing::Succeeded, words)
        }
        JobState::Failed => (Standing::Failed, format!("The job has failed: {}.", exit_in_words(exit))),
        JobState::OutOfMemory => {
            let words = match memory {
                Some(memory) => format!("The job was ended: it used more memory than it had ({memory})."),
                None => "The job was ended: it used more memory than it had.".to_owned(),
            };
            (Standing::Failed, words)
        }
        JobState::Timeout => {
            let after = elapsed_s.map(|seconds| format!(" after {}", span(seconds))).unwrap_or_default();
            (Standing::Expired, format!("The job was ended{after}: its time was up."))
        }
        JobState::Deadline => {
            (Standing::Expired, "The job was ended: it could not be finished before its deadline.".to_owned())
        }
        JobState::Cancelled { by } => {
            let words = match by {
                Some(by) if *by == uid => "The job was cancelled by you.",
                Some(_) => "The job was cancelled by the staff of the computing centre.",
                None => "The job was cancelled.",
            };
            (Standing::Succeeded, words.to_owned())
        }
        JobState::NodeFail => (Standing::Failed, "The job was ended: a node of it failed.".to_owned()),
        JobState::Preempted => {
            (Standing::Failed, "The job was ended: a job with a higher priority needed its nodes.".to_owned())
        }
        JobState::BootFail => (Standing::Failed, "The job was ended: a node of it did not start.".to_owned()),
        JobState::Revoked => (Standing::Failed, "The job was withdrawn: another cluster runs it.".to_owned()),
        JobState::Pending
        | JobState::Running
        | JobState::Suspended
        | JobState::Completing
        | JobState::Configuring
        | JobState::Expediting
        | JobState::LaunchFailed
        | JobState::PowerUpNode
        | JobState::PowerDownNode
        | JobState::ReconfigFail
        | JobState::Requeued
        | JobState::RequeueFed
        | JobState::RequeueHold
        | JobState::Resizing
        | JobState::ReservationDeletedHold
        | JobState::Signaling
        | JobState::SpecialExit
        | JobState::StageOut
        | JobState::Stopped
        | JobState::UpdateDb
        | JobState::Unknown(_) => return None,
    };
    Some(outcome)
}

fn exit_in_words(exit: ExitCode) -> String {
    match exit {
        ExitCode { signal: 0, code } => format!("exit code {code}"),
        ExitCode { signal: 9, .. } => "killed (signal 9), possibly because it used too much memory".to_owned(),
        ExitCode { signal: 11, .. } => "a segmentation fault (signal 11)".to_owned(),
        ExitCode { signal, .. } => format!("ended by signal {signal}"),
    }
}

/// Whole minutes, at least one: Slurm ends a job up to half a minute after its time.
fn span(seconds: u64) -> String {
    let minutes = (seconds / 60).max(1);
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests;
