//! The reasons for which the stages refuse a request, and the class that its sender learns.
//!
//! ```text
//! Presented ─► Authenticated ─► Intended ─► Bound ─► Authorised ─► Permit
//! request      core_token       intent      bind     policy        policy
//!
//! PresentedDirect ───────────► Intended ─► …         the direct channel, without Core
//! request                      direct
//! ```
//!
//! Each stage consumes the value of the stage before it, and only the stage's own module can make
//! its value. A skipped check does not compile. The sender learns the [`Class`], the operator the
//! reason.

use crate::bind::BindRejection;
use crate::core_token::CoreTokenRejection;
use crate::freshness::FreshnessRejection;
use crate::intent::IntentRejection;
use crate::json::JsonRejection;
use crate::policy::{ConsumeError, PolicyRejection};
use crate::replay::ReplayError;
use crate::request::RequestRejection;
use crate::session::SessionRejection;

/// Why a request is refused, by the stage that refused it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// No such call.
    #[error("no such call")]
    NoSuchCall,
    /// The head.
    #[error(transparent)]
    Request(#[from] RequestRejection),
    /// Core's token.
    #[error(transparent)]
    CoreToken(#[from] CoreTokenRejection),
    /// The user's intent.
    #[error(transparent)]
    Intent(#[from] IntentRejection),
    /// The parameters.
    #[error(transparent)]
    Bind(#[from] BindRejection),
    /// The site's policy.
    #[error(transparent)]
    Policy(#[from] PolicyRejection),
    /// The token of a session, or its proof.
    #[error(transparent)]
    Session(#[from] SessionRejection),
    /// The intent was used before or became stale at the last step. Includes failures on this side:
    /// see [`Class::OurFailure`].
    #[error(transparent)]
    Consume(#[from] ConsumeError),
}

/// The class of a refusal. The sender learns the class and never the reason (design, section 8).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Class {
    /// Malformed or repeated.
    Malformed,
    /// A header, or the whole head, is too long.
    HeadTooLong,
    /// Core's token is missing or bad.
    Unauthorised,
    /// No row matches.
    NotFound,
    /// A user's call without an intent.
    IntentRequired,
    /// Unknown user, unknown key, bad signature or wrong parameters: one answer for all.
    IntentInvalid,
    /// Outside its window.
    IntentStale,
    /// Used before.
    IntentReplayed,
    /// Also needs a passkey.
    IntentStepUp,
    /// A failure on this side: the request cannot be judged, so it is refused (P8).
    OurFailure,
}

impl Rejection {
    /// The class that the sender learns.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::NoSuchCall => Class::NotFound,
            Self::Request(rejection) => match rejection {
                RequestRejection::NoToken => Class::Unauthorised,
                RequestRejection::TooLong(_) => Class::HeadTooLong,
                RequestRejection::Repeated(_)
                | RequestRejection::TakenBack(_)
                | RequestRejection::Malformed(_)
                | RequestRejection::Username(_)
                | RequestRejection::OutOfPlace(_)
                | RequestRejection::TwoUsers
                | RequestRejection::NoUsername => Class::Malformed,
            },
            Self::CoreToken(_) => Class::Unauthorised,
            Self::Intent(IntentRejection::Missing) => Class::IntentRequired,
            Self::Intent(IntentRejection::Times(rejection))
            | Self::Consume(ConsumeError::Stale(rejection))
            | Self::Session(SessionRejection::Times(rejection)) => match rejection {
                FreshnessRejection::Lifetime => Class::IntentInvalid,
                FreshnessRejection::Expired | FreshnessRejection::FromTheFuture | FreshnessRejection::TooOld => {
                    Class::IntentStale
                }
            },
            Self::Intent(
                IntentRejection::Form(_)
                | IntentRejection::Version1
                | IntentRejection::UnknownKey
                | IntentRejection::Key(_)
                | IntentRejection::Algorithm
                | IntentRejection::Signature
                | IntentRejection::Claim(_)
                | IntentRejection::Audience
                | IntentRejection::Username
                | IntentRejection::Call,
            ) => Class::IntentInvalid,
            Self::Bind(rejection) => match rejection {
                BindRejection::Json(
                    JsonRejection::Malformed | JsonRejection::DuplicateMember | JsonRejection::TooDeep,
                )
                | BindRejection::Shape
                | BindRejection::ItemCount => Class::Malformed,
                BindRejection::Unknown(_)
                | BindRejection::Ambiguous(_)
                | BindRejection::Value(_)
                | BindRejection::Username
                | BindRejection::Project
                | BindRejection::Parameters => Class::IntentInvalid,
            },
            Self::Policy(PolicyRejection::DangerByName | PolicyRejection::NotAsked) => Class::IntentInvalid,
            Self::Policy(PolicyRejection::StepUp) => Class::IntentStepUp,
            Self::Consume(ConsumeError::Replay(error)) | Self::Session(SessionRejection::Replay(error)) => {
                match error {
                    ReplayError::Used => Class::IntentReplayed,
                    ReplayError::BeforeFence => Class::IntentStale,
                    ReplayError::Full | ReplayError::Unwritable => Class::OurFailure,
                }
            }
            Self::Session(SessionRejection::Form(_) | SessionRejection::Claim(_) | SessionRejection::Piece(_)) => {
                Class::Malformed
            }
            Self::Session(
                SessionRejection::NoToken
                | SessionRejection::Signature
                | SessionRejection::Audience
                | SessionRejection::Endpoint,
            ) => Class::Unauthorised,
            Self::Session(SessionRejection::NoProof) => Class::IntentRequired,
            Self::Session(SessionRejection::Proof | SessionRejection::NoSeal | SessionRejection::Unsealed) => {
                Class::IntentInvalid
            }
        }
    }
}
