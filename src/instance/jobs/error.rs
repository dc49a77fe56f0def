//! Why a call about jobs fails, and what the user is told.

use countersign_applications::{InvocationRejection, NotApproved, RenderFailure};
use countersign_ipc::error_code::{ErrorCode, Reply};
use countersign_os::clock::{NoRandomness, UnreadableClock};
use countersign_os::log::Chain;
use countersign_slurm::{ScriptRejection, SlurmFailure, SubmitFailure};

use super::relay::RelayError;
use super::store::StoreFailure;
use crate::call::NOT_OFFERED;
use crate::direct::server_client::ServerError;
use crate::files::error::FilesError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum JobsError {
    #[error("{NOT_OFFERED}")]
    NotOffered,
    /// Core splits requests, so that each has one job.
    #[error("one request starts one job")]
    OneAtATime,
    /// Core's part of the request is not as a Core sends it.
    #[error("the request does not have {0}")]
    Missing(&'static str),
    /// The signed specification cannot be carried out.
    #[error("{0}")]
    Specification(&'static str),
    #[error(transparent)]
    Invocation(#[from] InvocationRejection),
    #[error(transparent)]
    NotApproved(#[from] NotApproved),
    #[error(transparent)]
    Render(#[from] RenderFailure),
    #[error(transparent)]
    Script(#[from] ScriptRejection),
    /// The script is not the one that the user saw and signed.
    #[error(
        "the job would not run the script that you approved: the application has changed, or your page showed another. Start it again"
    )]
    AnotherScript,
    #[error(
        "you have started no job of this number through UCloud here. A job that was begun otherwise is ended, followed and entered at the computing centre alone"
    )]
    NoSuchJob,
    #[error("the job is being submitted: try again in a moment")]
    BeingSubmitted,
    #[error("the job has ended")]
    Ended,
    #[error("the job is not running")]
    NotRunning,
    #[error("the job has no such interface")]
    NoInterface,
    #[error("the application has not begun to listen: try again in a moment")]
    NotListening,
    #[error("the application cannot be reached on its node")]
    Relay(#[from] RelayError),
    /// The job at Slurm does not carry the tag of the record: another job has its number, or the
    /// user changed the comment.
    #[error("job {0} at Slurm is not known to be this one, so it is left alone. Use scancel at the computing centre")]
    Unmarked(u32),
    #[error("the job's folder: {0}")]
    Folder(FilesError),
    #[error(transparent)]
    Submit(#[from] SubmitFailure),
    /// The answer is due. If the job is submitted later, it is cancelled.
    #[error("Slurm has not answered in time. No job was started; if Slurm takes it later, it is cancelled. Try again")]
    TooLate,
    #[error("Slurm did not answer in time: try again in a moment")]
    Slow,
    #[error("Slurm does not answer at the moment")]
    Slurm(#[from] SlurmFailure),
    #[error(transparent)]
    Store(#[from] StoreFailure),
    #[error("the provider cannot do this at the moment")]
    Server(#[from] ServerError),
    #[error(transparent)]
    Clock(#[from] UnreadableClock),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error("the work was cut short")]
    CutShort,
}

impl JobsError {
    /// The answer. What the server said to this account is passed on to its user.
    pub(crate) fn reply(&self) -> Reply {
        if let Self::Server(failure) = self
            && let Some(reply) = failure.reply_to_user()
        {
            return reply;
        }
        let code = self.error_code();
        if code.is_failure() {
            tracing::warn!(cause = %Chain(self), "a call about jobs failed");
        }
        code.reply_with(&self.to_string())
    }

    pub(crate) const fn error_code(&self) -> ErrorCode {
        match self {
            Self::NotOffered | Self::NoSuchJob | Self::NoInterface => ErrorCode::NotFound,
            Self::OneAtATime
            | Self::Missing(_)
            | Self::Specification(_)
            | Self::Invocation(_)
            | Self::Render(_)
            | Self::Script(_)
            | Self::Submit(SubmitFailure::Refused(_)) => ErrorCode::Malformed,
            Self::NotApproved(_) => ErrorCode::ApplicationNotApproved,
            Self::AnotherScript => ErrorCode::AnotherScript,
            Self::BeingSubmitted
            | Self::Ended
            | Self::NotRunning
            | Self::NotListening
            | Self::Unmarked(_)
            | Self::Folder(_)
            | Self::Store(StoreFailure::Known) => ErrorCode::Conflict,
            Self::Store(StoreFailure::TooMany) => ErrorCode::TooMany,
            Self::Submit(SubmitFailure::NotRun(_) | SubmitFailure::Unknown(_))
            | Self::TooLate
            | Self::Slow
            | Self::Relay(_)
            | Self::Slurm(_) => ErrorCode::NoAnswer,
            Self::Store(_) | Self::Server(_) | Self::Clock(_) | Self::Randomness(_) | Self::CutShort => {
                ErrorCode::Failed
            }
        }
    }
}
