//! Why a request is not forwarded: whose fault it is, and how exactly.
//!
//! Three families that are never mixed: a rejection (the sender was wrong), no instance (nobody
//! was), a failure (we broke).

use countersign_keys::bind::BindRejection;
use countersign_keys::core_token::CoreTokenRejection;
use countersign_keys::intent::IntentRejection;
use countersign_keys::policy::{PolicyRejection, SpendError};
use countersign_keys::request::RequestRejection;
use countersign_keys::session::SessionRejection;
use countersign_keys::time::ClockFailure;
use countersign_keys::verify::{Class, Rejection};

use super::body::BodyRejection;
use super::deposits::DepositRejection;
use super::head::HeadRejection;
use super::key_cache::{KeyCacheFailure, NotAsserted};
use super::message_filter::Early;
use super::upgrade::UpgradeRejection;
use super::upstream::{NotPassedOn, Unwritable, UpstreamFailure};
use crate::clock::{NoRandomness, UnreadableClock};
use crate::log::Chain;

/// Why a request ends here.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// Its head is a trick, or broken.
    #[error("head: {0}")]
    Head(HeadRejection),
    /// Its body.
    #[error("body: {0}")]
    Body(BodyRejection),
    /// What `keys` judges.
    #[error(transparent)]
    Rejection(#[from] Rejection),
    /// A deposit.
    #[error(transparent)]
    Deposit(#[from] DepositRejection),
    /// What a passkey has to do with it.
    #[error("step-up: {0}")]
    StepUp(StepUpRejection),
    /// A page of another origin, or a browser that asks for more than there is.
    #[error("cross-origin: {0}")]
    CrossOrigin(&'static str),
    /// A browser would do something with the answer that this gateway's answers are not for.
    #[error("destination: {0}")]
    Destination(&'static str),
    /// A content type other than the one that the call takes.
    #[error("not of the content type {0}")]
    ContentType(&'static str),
    /// Too many requests from that address, or of that user at a time.
    #[error("too many requests of this address or user")]
    TooMany,
    /// It was permitted, but the user has no instance. Its intent is not used up.
    #[error("permitted, but no instance of the user is up")]
    NoInstance,
    /// It was permitted, but the user's account can have no instance. Its intent is not used up.
    #[error("permitted, but the user's account can have no instance")]
    AccountRefused,
    /// The user is not connected to this provider, so that no intent of theirs can come.
    #[error("no intent, and the user is not connected")]
    NotConnected,
    /// The user is connected, and has no key with which an intent could be signed.
    #[error("no intent, and the user has no key")]
    NoKey,
    /// The site serves no users, or not this one.
    #[error("maintenance: the user is not among those who are served")]
    Maintenance,
    /// Not the way to a WebSocket, or not the way to use one.
    #[error("socket: {0}")]
    Socket(SocketRejection),
    /// We broke.
    #[error("failure: {}", Chain(.0))]
    Failure(Failure),
}

impl From<Failure> for Refusal {
    fn from(cause: Failure) -> Self {
        // Not as a source: its text is part of this one's.
        Self::Failure(cause)
    }
}

impl From<SocketRejection> for Refusal {
    fn from(cause: SocketRejection) -> Self {
        // Not as a source: its text is part of this one's.
        Self::Socket(cause)
    }
}

impl From<StepUpRejection> for Refusal {
    fn from(cause: StepUpRejection) -> Self {
        // Not as a source: its text is part of this one's.
        Self::StepUp(cause)
    }
}

impl From<BodyRejection> for Refusal {
    fn from(cause: BodyRejection) -> Self {
        // Not as a source: its text is part of this one's.
        Self::Body(cause)
    }
}

impl From<HeadRejection> for Refusal {
    fn from(cause: HeadRejection) -> Self {
        // Not as a source: its text is part of this one's.
        Self::Head(cause)
    }
}

impl Refusal {
    /// Whether the intent is at fault, so that no request can use it any more: it is over, used, or
    /// its key does not speak for the user.
    pub(super) fn is_of_the_intent(&self) -> bool {
        let Self::Rejection(rejection) = self else { return false };
        match rejection.class() {
            Class::IntentRequired
            | Class::IntentInvalid
            | Class::IntentStale
            | Class::IntentReplayed
            | Class::IntentStepUp => true,
            Class::Malformed | Class::HeadTooLong | Class::Unauthorised | Class::NotFound | Class::OurFailure => false,
        }
    }
}

/// What is wrong about a WebSocket, or about a message on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum SocketRejection {
    /// Its opening handshake.
    #[error(transparent)]
    Upgrade(#[from] UpgradeRejection),
    /// Bytes behind its opening handshake.
    #[error(transparent)]
    Early(#[from] Early),
    /// A message that is no call.
    #[error("a message that is no call: {0}")]
    Message(&'static str),
    /// More messages than anybody needs.
    #[error("too many messages on one socket")]
    TooFast,
    /// No call was made on it.
    #[error("no call in time")]
    Silent,
}

/// What is wrong about the passkey that an intent needs.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum StepUpRejection {
    /// The user has none.
    #[error("the call needs a passkey, and the user has none")]
    NoPasskey,
    /// What was handed in is not an intent and an assertion.
    #[error("what was handed in is not an intent and an assertion")]
    Form,
    /// It is not asserted.
    #[error(transparent)]
    NotAsserted(#[from] NotAsserted),
}

/// How we broke. Nothing was forwarded, except where it says so.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server's word is missing.
    #[error(transparent)]
    KeyCache(#[from] KeyCacheFailure),
    /// The system's clock.
    #[error(transparent)]
    Unreadable(#[from] UnreadableClock),
    /// The clock went back.
    #[error(transparent)]
    Clock(#[from] ClockFailure),
    /// The audit log.
    #[error("the audit log cannot be written")]
    Audit(#[source] std::io::Error),
    /// Too little of the request's time is left for its work. Nothing went out, and nothing was
    /// used up.
    #[error("too little time is left of what the request may take")]
    Late,
    /// The instance, or the server's service endpoint.
    #[error("upstream: {}", Chain(.0))]
    Upstream(UpstreamFailure),
    /// What is to be forwarded cannot be written as HTTP.
    #[error("the request cannot be written for the upstream")]
    Unwritable(#[from] Unwritable),
    /// What is to be forwarded cannot be written as JSON.
    #[error("the message cannot be written for the instance")]
    Unwritten(#[from] serde_json::Error),
    /// No random bytes.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl From<UpstreamFailure> for Failure {
    fn from(cause: UpstreamFailure) -> Self {
        // Not as a source: its text is part of this one's.
        Self::Upstream(cause)
    }
}

/// Where `keys` has a stage, its rejection is one of [`Rejection`].
macro_rules! stage {
    ($($stage:ty),*) => {
        $(impl From<$stage> for Refusal {
            fn from(rejection: $stage) -> Self {
                Self::Rejection(rejection.into())
            }
        })*
    };
}

stage!(
    RequestRejection,
    CoreTokenRejection,
    IntentRejection,
    BindRejection,
    PolicyRejection,
    SessionRejection,
    SpendError
);

/// And where there is a failure of ours, it is one of [`Failure`].
macro_rules! broken {
    ($($cause:ty),*) => {
        $(impl From<$cause> for Refusal {
            fn from(cause: $cause) -> Self {
                Self::Failure(cause.into())
            }
        })*
    };
}

broken!(KeyCacheFailure, UnreadableClock, ClockFailure, Unwritable);

impl From<Early> for Refusal {
    fn from(early: Early) -> Self {
        Self::Socket(early.into())
    }
}

impl From<UpgradeRejection> for Refusal {
    fn from(rejection: UpgradeRejection) -> Self {
        Self::Socket(rejection.into())
    }
}

impl From<NotPassedOn> for Refusal {
    fn from(cause: NotPassedOn) -> Self {
        Self::Failure(UpstreamFailure::from(cause).into())
    }
}

impl From<UpstreamFailure> for Refusal {
    fn from(failure: UpstreamFailure) -> Self {
        Self::Failure(failure.into())
    }
}
