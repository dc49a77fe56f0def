//! Failures of connections to instances and to the server, and of their responses.

use std::io;

use countersign_keys::identity::Uid;
use http::StatusCode;

#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamFailure {
    #[error("nothing listens there")]
    Absent,
    /// The system's error.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// Another account listens there.
    #[error("the other end is uid {0}, not this account")]
    Stranger(Uid),
    /// The connection broke before a byte of the request was sent.
    #[error("the request could not be sent")]
    NotSent(#[source] io::Error),
    /// The connection broke later: the request may or may not have been handled.
    #[error("the connection broke before the answer")]
    Broken(#[source] io::Error),
    #[error("no answer in time")]
    Slow,
    /// Not an HTTP/1.1 response, or one without a definite end.
    #[error("the answer is not valid HTTP/1.1")]
    InvalidResponse,
    /// A valid response that this call cannot have.
    #[error(transparent)]
    NotPassedOn(#[from] NotPassedOn),
}

/// Why a response is not passed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum NotPassedOn {
    /// A status that no response to this call has.
    #[error("the answer has the status {0}, which no answer to this call has")]
    Status(StatusCode),
    /// The part of the file is missing from the head, or does not fit the body.
    #[error("the answer does not say which part of the file it is")]
    Range,
}
