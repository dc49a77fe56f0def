//! Why a session's request is refused.

use crate::freshness::FreshnessRejection;
use crate::jws::JwsRejection;
use crate::replay::ReplayError;

/// Why a session's request is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SessionRejection {
    /// There is no token.
    #[error("no session token")]
    NoToken,
    /// It is not of the one form.
    #[error("session token: {0}")]
    Form(JwsRejection),
    /// A claim is not of its form.
    #[error("session token: the claim {0} is malformed")]
    Claim(&'static str),
    /// The user has no instance, or its key is not this.
    #[error("session token: not signed by the user's own instance")]
    Signature,
    /// Meant for another provider.
    #[error("session token: aud is not this provider")]
    Audience,
    /// Made for something else.
    #[error("session token: made for another endpoint")]
    Endpoint,
    /// Its time to be opened, or the session's, is over.
    #[error("session token: {0}")]
    Times(FreshnessRejection),
    /// It has been redeemed, or the log cannot say.
    #[error("session token: {0}")]
    Replay(ReplayError),
    /// The user's proof is missing.
    #[error("a session token without the user's proof")]
    NoProof,
    /// What is said of the bytes cannot be so.
    #[error("{0} is malformed")]
    Piece(&'static str),
    /// The proof is of another call.
    #[error("the proof is not of a session's use")]
    Proof,
}

impl From<ReplayError> for SessionRejection {
    fn from(cause: ReplayError) -> Self {
        // Not as a source: its text is part of this one's.
        Self::Replay(cause)
    }
}

impl From<FreshnessRejection> for SessionRejection {
    fn from(cause: FreshnessRejection) -> Self {
        // Not as a source: its text is part of this one's.
        Self::Times(cause)
    }
}

impl From<JwsRejection> for SessionRejection {
    fn from(cause: JwsRejection) -> Self {
        // Not as a source: its text is part of this one's.
        Self::Form(cause)
    }
}
