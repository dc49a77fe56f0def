//! The words of labels. A label has one of these and nothing else.
#![allow(unreachable_pub, reason = "a macro writes the visibility")]

use countersign_keys::intent::IntentRejection;
use countersign_keys::policy::ConsumeError;
use countersign_keys::replay::ReplayError;
use countersign_keys::session::SessionRejection;
use countersign_keys::verify::Rejection;

use crate::response::refusal::{Failure, Refusal};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// Its place in [`Self::ALL`].
            pub fn index(self) -> usize {
                Self::ALL.iter().position(|other| *other == self).unwrap_or(0)
            }
        }
    };
}

words! {
    /// How a request came, as far as is known when it is decided.
    Lane {
        /// No path of a table was found.
        Unknown = "unknown",
        /// A user's request that Core sent.
        Core = "core",
        /// A request of Core's own.
        Service = "service",
        /// A request of the user's own browser.
        Direct = "direct",
        /// A one-time token.
        Session = "session",
        /// Pages, deposits, and the connection of a user.
        Public = "public",
        /// A message on a WebSocket, or its handshake.
        Socket = "socket",
        /// The web interface of a job.
        Web = "web",
        /// A health check.
        Health = "health",
    }
}

words! {
    /// Why a request was refused, or failed. Coarser than the reason in the audit log.
    Reason {
        Account = "account_refused",
        Audit = "audit_log",
        Bind = "parameters",
        Body = "body",
        Clock = "clock",
        ContentType = "content_type",
        CoreToken = "core_token",
        CrossOrigin = "cross_origin",
        Deposit = "deposit",
        Destination = "destination",
        Head = "head",
        IntentForm = "intent_form",
        IntentClaims = "intent_claims",
        IntentKey = "intent_key",
        IntentMissing = "intent_missing",
        IntentSignature = "intent_signature",
        IntentTimes = "intent_times",
        KeyCache = "server_answer",
        Late = "late",
        Maintenance = "maintenance",
        NoInstance = "no_instance",
        NoKey = "no_key",
        NoRequest = "no_request",
        NoSuchCall = "no_such_call",
        NotConnected = "not_connected",
        Policy = "policy",
        Randomness = "randomness",
        Replayed = "replayed",
        ReplayLog = "replay_log",
        Request = "request",
        Session = "session",
        Socket = "socket",
        StepUp = "step_up",
        TooMany = "too_many",
        Upstream = "upstream",
        Web = "web",
    }
}

impl Reason {
    pub(crate) const fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Head(_) => Self::Head,
            Refusal::Body(_) => Self::Body,
            Refusal::Rejection(rejection) => Self::of_rejection(rejection),
            Refusal::Deposit(_) => Self::Deposit,
            Refusal::StepUp(_) => Self::StepUp,
            Refusal::CrossOrigin(_) => Self::CrossOrigin,
            Refusal::Destination(_) => Self::Destination,
            Refusal::ContentType(_) => Self::ContentType,
            Refusal::TooMany => Self::TooMany,
            Refusal::NoInstance => Self::NoInstance,
            Refusal::AccountRefused => Self::Account,
            Refusal::NotConnected => Self::NotConnected,
            Refusal::NoKey => Self::NoKey,
            Refusal::Maintenance => Self::Maintenance,
            Refusal::Socket(_) => Self::Socket,
            Refusal::Web(_) => Self::Web,
            Refusal::Failure(failure) => match failure {
                Failure::KeyCache(_) => Self::KeyCache,
                Failure::Unreadable(_) | Failure::Clock(_) => Self::Clock,
                Failure::Audit(_) => Self::Audit,
                Failure::Late => Self::Late,
                Failure::Upstream(_) | Failure::Unwritable(_) | Failure::Unwritten(_) => Self::Upstream,
                Failure::Randomness(_) => Self::Randomness,
            },
        }
    }

    const fn of_rejection(rejection: &Rejection) -> Self {
        match rejection {
            Rejection::NoSuchCall => Self::NoSuchCall,
            Rejection::Request(_) => Self::Request,
            Rejection::CoreToken(_) => Self::CoreToken,
            Rejection::Intent(IntentRejection::Missing) => Self::IntentMissing,
            Rejection::Intent(IntentRejection::Form(_) | IntentRejection::Version1) => Self::IntentForm,
            Rejection::Intent(IntentRejection::UnknownKey | IntentRejection::Key(_) | IntentRejection::Algorithm) => {
                Self::IntentKey
            }
            Rejection::Intent(IntentRejection::Signature) => Self::IntentSignature,
            Rejection::Intent(
                IntentRejection::Claim(_)
                | IntentRejection::Audience
                | IntentRejection::Username
                | IntentRejection::Call,
            ) => Self::IntentClaims,
            Rejection::Intent(IntentRejection::Times(_))
            | Rejection::Consume(ConsumeError::Stale(_))
            | Rejection::Session(SessionRejection::Times(_)) => Self::IntentTimes,
            Rejection::Bind(_) => Self::Bind,
            Rejection::Policy(_) => Self::Policy,
            Rejection::Consume(ConsumeError::Replay(error)) | Rejection::Session(SessionRejection::Replay(error)) => {
                match error {
                    ReplayError::Used => Self::Replayed,
                    ReplayError::BeforeFence | ReplayError::Full | ReplayError::Unwritable => Self::ReplayLog,
                }
            }
            Rejection::Session(_) => Self::Session,
        }
    }
}
