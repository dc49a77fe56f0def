//! Rejections of a request head, from every parser.

use http::HeaderName;

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum HeadRejection {
    /// Breaks RFC 9112, or exceeds what any client needs.
    #[error("{0}")]
    Grammar(&'static str),
    /// Too many bytes or lines.
    #[error("the head is too long")]
    TooLong,
    /// HTTP/1.0 or older, which has no `Host` and other rules for connections.
    #[error("HTTP/1.1 or HTTP/2 is needed")]
    Version,
    /// Not one `Host`, or it differs from the target's authority.
    #[error("not exactly one Host header, or its value is not a host")]
    Host,
    /// Not a path and query, or longer than 4 KiB.
    #[error("the target is not a plain path")]
    Target,
    /// A header that may occur once occurs more often.
    #[error("the header {0} stands more than once")]
    Repeated(HeaderName),
    /// A header of framing or coding other than `Content-Length`.
    #[error("the header {0} is not taken")]
    Framing(HeaderName),
    /// `Expect` with another value than `100-continue`.
    #[error("an expectation other than 100-continue")]
    Expectation,
    /// A value has bytes outside visible ASCII, space and tab.
    #[error("the header {0} has bytes outside visible ASCII")]
    Bytes(HeaderName),
    /// `Connection` names a header that it may not remove.
    #[error("the header Connection names {0}")]
    TakenBack(HeaderName),
}
