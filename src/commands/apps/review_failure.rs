//! Reasons for which an application cannot be reviewed.

use countersign_applications::NotApproved;

use countersign_os::exit_code::Exit;

/// Why an application cannot be reviewed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReviewFailure {
    /// Nothing of this name and version waits.
    #[error("no such application waits for a review: see countersign apps pending")]
    NotPending,
    /// Several wait, and no digest was given.
    #[error("several applications of this name and version wait: give the digest that countersign apps pending shows")]
    Ambiguous,
    /// The text is not an application that could ever start.
    #[error("the text that was offered is refused")]
    Refused(#[source] countersign_applications::InvocationRejection),
    /// The server's text has another digest than it says.
    #[error("the text that was offered is not in canonical form, so it cannot be approved")]
    OtherDigest,
    #[error("this writes a file of root's: run it with sudo")]
    NotRoot,
    #[error("the approved application cannot be read")]
    Approved(#[source] NotApproved),
    #[error("there is no approved application of this name to compare with")]
    NothingToCompare,
}

impl ReviewFailure {
    /// The exit code.
    pub(in crate::commands) const fn exit(&self) -> Exit {
        match self {
            Self::NotRoot | Self::Refused(_) | Self::OtherDigest => Exit::Refused,
            Self::NotPending | Self::Ambiguous | Self::Approved(_) | Self::NothingToCompare => Exit::Failure,
        }
    }
}
