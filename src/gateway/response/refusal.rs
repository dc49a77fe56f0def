//! Refusals: the reasons for which a request is not forwarded.
//!
//! Three families that are never mixed: a rejection (the sender was wrong), no instance (neither
//! side was), a failure (the gateway or the server broke).

use countersign_keys::bind::BindRejection;
use countersign_keys::core_token::CoreTokenRejection;
use countersign_keys::intent::IntentRejection;
use countersign_keys::policy::{ConsumeError, PolicyRejection};
use countersign_keys::request::RequestRejection;
use countersign_keys::session::SessionRejection;
use countersign_keys::time::ClockFailure;
use countersign_keys::verify::{Class, Rejection};

use crate::http1::body::BodyRejection;
use crate::http1::head::HeadRejection;
use crate::http1::message_filter::Early;
use crate::http1::upgrade::UpgradeRejection;
use crate::pipeline::deposits::DepositRejection;
use crate::server_link::key_cache::{KeyCacheFailure, NotAsserted};
use crate::upstream::{NotPassedOn, Unwritable, UpstreamFailure};
use countersign_os::clock::{NoRandomness, UnreadableClock};
use countersign_os::log::Chain;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The request head is malformed or ambiguous.
    #[error("head: {0}")]
    Head(HeadRejection),
    /// The body is refused.
    #[error("body: {0}")]
    Body(BodyRejection),
    /// A rejection of `countersign_keys`.
    #[error(transparent)]
    Rejection(#[from] Rejection),
    /// The deposit is refused.
    #[error(transparent)]
    Deposit(#[from] DepositRejection),
    /// The passkey's assertion is missing or refused.
    #[error("step-up: {0}")]
    StepUp(StepUpRejection),
    /// A page of another origin, or a browser that asks for more than a page may.
    #[error("cross-origin: {0}")]
    CrossOrigin(&'static str),
    /// The browser would use the response for something that it is not meant for.
    #[error("destination: {0}")]
    Destination(&'static str),
    /// Another content type than the call's.
    #[error("not of the content type {0}")]
    ContentType(&'static str),
    /// Too many requests of that address, or of that user at a time.
    #[error("too many requests of this address or user")]
    TooMany,
    /// Permitted, but the user has no instance. The intent is not consumed.
    #[error("permitted, but no instance of the user is up")]
    NoInstance,
    /// Permitted, but the user's account may not have an instance. The intent is not consumed.
    #[error("permitted, but the user's account can have no instance")]
    AccountRefused,
    /// The user is not connected to this provider, and so cannot sign.
    #[error("no intent, and the user is not connected")]
    NotConnected,
    /// The user is connected, but has no key to sign with.
    #[error("no intent, and the user has no key")]
    NoKey,
    /// The site is in maintenance, and the user is not among those it serves.
    #[error("maintenance: the user is not among those who are served")]
    Maintenance,
    /// The WebSocket handshake, or a message on a socket, is refused.
    #[error("socket: {0}")]
    Socket(SocketRejection),
    /// A request at the host of a web interface is not for its application, or has no answer.
    #[error("web interface: {0}")]
    Web(WebRejection),
    /// The gateway or the server failed.
    #[error("failure: {}", Chain(.0))]
    Failure(Failure),
}

impl From<Failure> for Refusal {
    fn from(cause: Failure) -> Self {
        // Not a source: its text is part of this one's.
        Self::Failure(cause)
    }
}

impl From<SocketRejection> for Refusal {
    fn from(cause: SocketRejection) -> Self {
        // Not a source: its text is part of this one's.
        Self::Socket(cause)
    }
}

impl From<StepUpRejection> for Refusal {
    fn from(cause: StepUpRejection) -> Self {
        // Not a source: its text is part of this one's.
        Self::StepUp(cause)
    }
}

impl From<BodyRejection> for Refusal {
    fn from(cause: BodyRejection) -> Self {
        // Not a source: its text is part of this one's.
        Self::Body(cause)
    }
}

impl From<HeadRejection> for Refusal {
    fn from(cause: HeadRejection) -> Self {
        // Not a source: its text is part of this one's.
        Self::Head(cause)
    }
}

impl Refusal {
    /// Whether the intent is at fault, so that no request can use it any more. It has expired or
    /// was used, or its key is not valid.
    pub(crate) fn is_of_the_intent(&self) -> bool {
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

/// Why a request at the host of a web interface has no answer of its application.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum WebRejection {
    /// No cookie of an open session of this host.
    #[error("no cookie of an open session of this host")]
    NoSession,
    /// A page of another origin, which shares the site.
    #[error("a page of another origin")]
    OtherPage,
    /// The instance knows no such session any more, or its job has ended.
    #[error("the session or its job has ended")]
    Ended,
    /// No running job has this public link.
    #[error("no running job has this public link")]
    NoJob,
    /// Nothing listens there, or it does not answer.
    #[error("the application does not answer")]
    NotThere,
    /// Another account listens at the port.
    #[error("another account listens at the application's port")]
    Foreign,
    #[error("the instance does not pass the request on")]
    Refused,
}

/// What is wrong with a WebSocket, or with a message on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum SocketRejection {
    #[error(transparent)]
    Upgrade(#[from] UpgradeRejection),
    /// Bytes followed the opening handshake too early.
    #[error(transparent)]
    Early(#[from] Early),
    /// A message is not a call.
    #[error("a message that is not a call: {0}")]
    Message(&'static str),
    /// More messages than any client needs.
    #[error("too many messages on one socket")]
    TooFast,
    /// No call in time.
    #[error("no call in time")]
    Silent,
}

/// What is wrong with the passkey's assertion that an intent needs.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum StepUpRejection {
    #[error("the call needs a passkey, and the user has none")]
    NoPasskey,
    /// The body is not an intent and an assertion.
    #[error("what was handed in is not an intent and an assertion")]
    Form,
    /// The server refused the assertion.
    #[error(transparent)]
    NotAsserted(#[from] NotAsserted),
}

/// A failure of the gateway, or of the server or instance behind it. Nothing was forwarded, unless
/// the variant says so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The server's answer is missing.
    #[error(transparent)]
    KeyCache(#[from] KeyCacheFailure),
    #[error(transparent)]
    Unreadable(#[from] UnreadableClock),
    /// The clock went back.
    #[error(transparent)]
    Clock(#[from] ClockFailure),
    #[error("the audit log cannot be written")]
    Audit(#[source] std::io::Error),
    /// Too little time is left for the instance's work. Nothing was forwarded, and nothing
    /// consumed.
    #[error("too little time is left of what the request may take")]
    Late,
    /// The instance, or the server's service endpoint, failed. [`UpstreamFailure`] says whether
    /// bytes were sent.
    #[error("upstream: {}", Chain(.0))]
    Upstream(UpstreamFailure),
    /// The forwarded request cannot be written as HTTP.
    #[error("the request cannot be written for the upstream")]
    Unwritable(#[from] Unwritable),
    /// The forwarded message cannot be written as JSON.
    #[error("the message cannot be written for the instance")]
    Unwritten(#[from] serde_json::Error),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl From<UpstreamFailure> for Failure {
    fn from(cause: UpstreamFailure) -> Self {
        // Not a source: its text is part of this one's.
        Self::Upstream(cause)
    }
}

/// Converts each stage's rejection in `countersign_keys` through [`Rejection`].
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
    ConsumeError
);

/// Converts each failure through [`Failure`].
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
