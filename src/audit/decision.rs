//! A decision in the log: on one request, or on many that are counted together.

use countersign_keys::identity::{CallName, KeyId, Username};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The result of a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Forwarded: by the gateway to an instance or the server, in an instance to the operation.
    Forward,
    /// The sender was wrong.
    Refuse,
    /// The request was valid, but no instance is up.
    NoInstance,
    /// Countersign failed; nothing was forwarded.
    Fail,
    /// An intent was deposited, to wait for its request.
    Deposit,
    /// The result of a forwarded request: the status of the instance's response, under the same
    /// request id.
    Answered,
}

/// The deciding process.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Process {
    Gateway,
    /// IM/Server.
    Server,
    /// IM/User.
    User,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision<'d> {
    #[serde(serialize_with = "rfc3339")]
    pub time: OffsetDateTime,
    /// The request's id, which the sender has too.
    pub request_id: &'d str,
    pub process: Process,
    /// The user, once known.
    pub username: Option<&'d Username>,
    /// The call, once known: a user call's name, or another call's path.
    pub call: Option<&'d CallName>,
    /// The key, once its signature has been verified.
    pub kid: Option<KeyId>,
    pub decision: Verdict,
    /// The status of the response, if there was one.
    pub status: Option<u16>,
    /// The exact reason.
    pub reason: Option<&'d str>,
    /// Set if the request opens a session: whether it is sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealed: Option<bool>,
    /// Set if the record counts several decisions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted: Option<Counted>,
}

/// A count of decisions.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Counted {
    pub number: u64,
    #[serde(serialize_with = "rfc3339")]
    pub first: OffsetDateTime,
    #[serde(serialize_with = "rfc3339")]
    pub last: OffsetDateTime,
    /// How many networks they came from, or at least; 0 if unknown.
    pub networks: usize,
}

fn rfc3339<S: serde::Serializer>(time: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.format(&Rfc3339).unwrap_or_default())
}
