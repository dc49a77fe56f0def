//! Reasons for which a session's request is refused.

use crate::freshness::FreshnessRejection;
use crate::jws::JwsRejection;
use crate::replay::ReplayError;

/// Why a session's request is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SessionRejection {
    /// The token is missing.
    #[error("no session token")]
    NoToken,
    /// The token is malformed.
    #[error("session token: {0}")]
    Form(JwsRejection),
    /// A claim is malformed.
    #[error("session token: the claim {0} is malformed")]
    Claim(&'static str),
    /// The user has no instance, or another key signed the token.
    #[error("session token: not signed by the user's own instance")]
    Signature,
    /// The token is for another provider.
    #[error("session token: aud is not this provider")]
    Audience,
    /// The token is for another endpoint.
    #[error("session token: made for another endpoint")]
    Endpoint,
    /// The time to open it, or the session's time, is over.
    #[error("session token: {0}")]
    Times(FreshnessRejection),
    /// The token was redeemed, or the log cannot tell.
    #[error("session token: {0}")]
    Replay(ReplayError),
    /// The user's proof is missing.
    #[error("a session token without the user's proof")]
    NoProof,
    /// A field about the bytes is malformed or missing.
    #[error("{0} is malformed")]
    Piece(&'static str),
    /// The intent asks for a seal, and the token has no key for one.
    #[error("a sealed opening of a token without a seal")]
    NoSeal,
    /// The intent asks for no seal, and the site requires one.
    #[error("an opening without a seal, which this provider requires")]
    Unsealed,
    /// The proof is for another call.
    #[error("the proof is not of a session's use")]
    Proof,
}

impl From<ReplayError> for SessionRejection {
    fn from(cause: ReplayError) -> Self {
        // Not a source: the text of the cause is part of this text.
        Self::Replay(cause)
    }
}

impl From<FreshnessRejection> for SessionRejection {
    fn from(cause: FreshnessRejection) -> Self {
        // Not a source: the text of the cause is part of this text.
        Self::Times(cause)
    }
}

impl From<JwsRejection> for SessionRejection {
    fn from(cause: JwsRejection) -> Self {
        // Not a source: the text of the cause is part of this text.
        Self::Form(cause)
    }
}
