//! Decisions: what the log says of one request, or of many that are counted together.

use countersign_keys::identity::{CallName, KeyId, Username};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What became of a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It goes on: from the gateway to an instance or the server, in an instance to the work.
    Forward,
    /// The sender was wrong.
    Refuse,
    /// The request was right and could not be served: no instance is up.
    NoInstance,
    /// We broke; nothing was forwarded.
    Fail,
    /// An intent was taken in, to wait for its request.
    Deposit,
    /// What came of a request that was let through: the status that the instance answered, under
    /// the same request id.
    Answered,
}

/// Which process decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Process {
    /// The L7 ingress.
    Gateway,
    /// IM/Server.
    Server,
    /// IM/User.
    User,
}

/// One decision.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Decision<'d> {
    /// When.
    #[serde(serialize_with = "rfc3339")]
    pub(crate) time: OffsetDateTime,
    /// Which request; the sender has it too.
    pub(crate) request_id: &'d str,
    /// Who decided.
    pub(crate) process: Process,
    /// For whom, once it is known.
    pub(crate) username: Option<&'d Username>,
    /// What, once it is known: a user call's name, or the path of any other.
    pub(crate) call: Option<&'d CallName>,
    /// By which key, once its signature has been checked.
    pub(crate) kid: Option<KeyId>,
    /// What became of it.
    pub(crate) decision: Verdict,
    /// What the sender was answered, if anything.
    pub(crate) status: Option<u16>,
    /// Why, exactly.
    pub(crate) reason: Option<&'d str>,
    /// Of how many decisions, if it is not one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) counted: Option<Counted>,
}

/// What a record stands for that is of more than one decision.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Counted {
    /// How many decisions.
    pub(crate) number: u64,
    /// When the first of them was made.
    #[serde(serialize_with = "rfc3339")]
    pub(crate) first: OffsetDateTime,
    /// When the last of them was made.
    #[serde(serialize_with = "rfc3339")]
    pub(crate) last: OffsetDateTime,
    /// How many networks they came from, or at least; 0 if that is not known.
    pub(crate) networks: usize,
}

fn rfc3339<S: serde::Serializer>(time: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.format(&Rfc3339).unwrap_or_default())
}
