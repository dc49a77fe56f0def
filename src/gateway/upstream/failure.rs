//! Why there is no connection to an instance or to the server, or no answer.

use std::io;

use countersign_keys::identity::Uid;
use http::StatusCode;

/// Why there is no connection, or no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::gateway) enum UpstreamFailure {
    /// Nobody listens there.
    #[error("nobody listens there")]
    Absent,
    /// It cannot be reached, for a reason of the system's.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// Somebody else's process is at the other end.
    #[error("the other end is uid {0}, not this account")]
    Stranger(Uid),
    /// The connection broke before any byte of the request went out.
    #[error("the request could not be sent")]
    NotSent(#[source] io::Error),
    /// The connection broke after that: what became of the request is unknown.
    #[error("the connection broke before the answer")]
    Broken(#[source] io::Error),
    /// No answer in time.
    #[error("no answer in time")]
    Slow,
    /// It says what is no answer in HTTP/1.1, or one whose end nobody could find.
    #[error("the answer is not valid HTTP/1.1")]
    InvalidResponse,
    /// What it says is valid, and not what an answer to the call can say.
    #[error(transparent)]
    NotPassedOn(#[from] NotPassedOn),
}

/// Why an answer is not passed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(in crate::gateway) enum NotPassedOn {
    /// A status that no call's answer has.
    #[error("the answer has the status {0}, which no answer to this call has")]
    Status(StatusCode),
    /// It does not say which part of the file it is, or not the one that it has.
    #[error("the answer does not say which part of the file it is")]
    Range,
}
