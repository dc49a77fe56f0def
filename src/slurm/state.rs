//! The states of a job, in the words of Slurm 22.05 to 25.11.

/// A state, or a flag that newer versions show in a state's place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum JobState {
    Pending,
    Running,
    Suspended,
    Completed,
    /// The uid that cancelled it, which only accounting says.
    Cancelled {
        by: Option<u32>,
    },
    Failed,
    Timeout,
    NodeFail,
    Preempted,
    BootFail,
    Deadline,
    OutOfMemory,
    Completing,
    Configuring,
    Expediting,
    LaunchFailed,
    PowerUpNode,
    PowerDownNode,
    ReconfigFail,
    Requeued,
    RequeueFed,
    RequeueHold,
    Resizing,
    ReservationDeletedHold,
    Revoked,
    Signaling,
    SpecialExit,
    StageOut,
    Stopped,
    UpdateDb,
    /// A word that this program does not know. Says nothing about a job.
    Unknown(String),
}

/// Longest word of a state, in bytes: the longest known has 15.
const WORD_MAX: usize = 40;

/// What Slurm's programs print for a state that they do not know: that of a newer slurmctld.
const UNKNOWN_TO_SLURM: &str = "?";

/// What accounting writes before the uid of the account that cancelled a job.
const CANCELLED_BY: &str = "CANCELLED by ";

/// The phase of a job's life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    Waiting,
    Running,
    Suspended,
    Ended,
    Unknown,
}

impl JobState {
    /// Reads a state. `None` if it is no word at all.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(by) = text.strip_prefix(CANCELLED_BY) {
            return crate::columns::number(by).map(|by| Self::Cancelled { by: Some(by) });
        }
        Some(match text {
            "PENDING" => Self::Pending,
            "RUNNING" => Self::Running,
            "SUSPENDED" => Self::Suspended,
            "COMPLETED" => Self::Completed,
            "CANCELLED" => Self::Cancelled { by: None },
            "FAILED" => Self::Failed,
            "TIMEOUT" => Self::Timeout,
            "NODE_FAIL" => Self::NodeFail,
            "PREEMPTED" => Self::Preempted,
            "BOOT_FAIL" => Self::BootFail,
            "DEADLINE" => Self::Deadline,
            "OUT_OF_MEMORY" => Self::OutOfMemory,
            "COMPLETING" => Self::Completing,
            "CONFIGURING" => Self::Configuring,
            "EXPEDITING" => Self::Expediting,
            "LAUNCH_FAILED" => Self::LaunchFailed,
            "POWER_UP_NODE" => Self::PowerUpNode,
            "POWERING_DOWN" | "POWER_DOWN_NODE" => Self::PowerDownNode,
            "RECONFIG_FAIL" => Self::ReconfigFail,
            "REQUEUED" => Self::Requeued,
            "REQUEUE_FED" => Self::RequeueFed,
            "REQUEUE_HOLD" => Self::RequeueHold,
            "RESIZING" => Self::Resizing,
            "RESV_DEL_HOLD" => Self::ReservationDeletedHold,
            "REVOKED" => Self::Revoked,
            "SIGNALING" => Self::Signaling,
            "SPECIAL_EXIT" => Self::SpecialExit,
            "STAGE_OUT" => Self::StageOut,
            "STOPPED" => Self::Stopped,
            "UPDATE_DB" => Self::UpdateDb,
            UNKNOWN_TO_SLURM => Self::Unknown(UNKNOWN_TO_SLURM.to_owned()),
            word => {
                let is_word = (1..=WORD_MAX).contains(&word.len())
                    && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
                return is_word.then(|| Self::Unknown(word.to_owned()));
            }
        })
    }

    /// Whether the job has ended for ever. An unknown word is no end.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.phase() == Phase::Ended
    }

    pub(crate) const fn phase(&self) -> Phase {
        match self {
            Self::Pending
            | Self::Configuring
            | Self::Expediting
            | Self::LaunchFailed
            | Self::PowerUpNode
            | Self::ReconfigFail
            | Self::Requeued
            | Self::RequeueFed
            | Self::RequeueHold
            | Self::Resizing
            | Self::ReservationDeletedHold
            | Self::SpecialExit => Phase::Waiting,
            Self::Running
            | Self::Completing
            | Self::PowerDownNode
            | Self::Signaling
            | Self::StageOut
            | Self::UpdateDb => Phase::Running,
            Self::Suspended | Self::Stopped => Phase::Suspended,
            Self::Completed
            | Self::Cancelled { .. }
            | Self::Failed
            | Self::Timeout
            | Self::NodeFail
            | Self::Preempted
            | Self::BootFail
            | Self::Deadline
            | Self::OutOfMemory
            | Self::Revoked => Phase::Ended,
            Self::Unknown(_) => Phase::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_every_version_are_known_and_others_are_kept() {
        let check = |word: &str, want: Phase| {
            assert_eq!(JobState::parse(word).map(|state| state.phase()), Some(want), "{word}");
        };
        for word in [
            "PENDING",
            "CONFIGURING",
            "REQUEUED",
            "REQUEUE_FED",
            "REQUEUE_HOLD",
            "RESIZING",
            "RESV_DEL_HOLD",
            "SPECIAL_EXIT",
            "EXPEDITING",
            "LAUNCH_FAILED",
            "RECONFIG_FAIL",
            "POWER_UP_NODE",
        ] {
            check(word, Phase::Waiting);
        }
        for word in ["RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT", "POWERING_DOWN", "UPDATE_DB"] {
            check(word, Phase::Running);
        }
        for word in ["SUSPENDED", "STOPPED"] {
            check(word, Phase::Suspended);
        }
        for word in [
            "COMPLETED",
            "CANCELLED",
            "CANCELLED by 1001",
            "FAILED",
            "TIMEOUT",
            "NODE_FAIL",
            "PREEMPTED",
            "BOOT_FAIL",
            "DEADLINE",
            "OUT_OF_MEMORY",
            "REVOKED",
        ] {
            check(word, Phase::Ended);
        }
        check("TELEPORTED", Phase::Unknown);
        check("?", Phase::Unknown);
        assert_eq!(JobState::parse("CANCELLED by 0"), Some(JobState::Cancelled { by: Some(0) }));
        for bad in
            ["", "running", "RUN NING", "CANCELLED by", "CANCELLED by root", "CANCELLED by -1", "COMPLETED|", "FAILED+"]
        {
            assert_eq!(JobState::parse(bad), None, "{bad:?}");
        }
        assert_eq!(JobState::parse(&"A".repeat(WORD_MAX + 1)), None);
        assert!(!JobState::parse("TELEPORTED").unwrap().is_final());
    }
}
