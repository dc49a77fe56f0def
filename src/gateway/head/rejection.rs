//! Why the head of a request is refused, whichever reader refused it.

use http::HeaderName;

/// Why a head is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(in crate::gateway) enum HeadRejection {
    /// What RFC 9112 does not allow, or more of it than anybody needs.
    #[error("{0}")]
    Grammar(&'static str),
    /// More bytes or lines than there is room for.
    #[error("the head is too long")]
    TooLong,
    /// HTTP/1.0 or older: without `Host` and with another idea of connections.
    #[error("HTTP/1.1 or HTTP/2 is needed")]
    Version,
    /// Not one `Host`, or not the authority of the target.
    #[error("not exactly one Host, or one that is no host")]
    Host,
    /// The target is not a path and query, or longer than 4 KiB.
    #[error("the target is not a plain path")]
    Target,
    /// Of a header that there may be one of there are more.
    #[error("the header {0} stands more than once")]
    Repeated(HeaderName),
    /// A header that says how the message is cut or coded, other than `Content-Length`.
    #[error("the header {0} is not taken")]
    Framing(HeaderName),
    /// `Expect` of anything but `100-continue`.
    #[error("an expectation other than 100-continue")]
    Expectation,
    /// A value has bytes outside visible ASCII, space and tab.
    #[error("the header {0} has bytes outside visible ASCII")]
    Bytes(HeaderName),
    /// `Connection` names what is not its to take away.
    #[error("the header Connection names {0}")]
    TakenBack(HeaderName),
}
