//! The errors of the test portal itself. A provider's refusal is not an error but an
//! [`Answer`](crate::line::Answer), which a test may expect.

/// An operation of the test portal failed, or the provider broke the protocol.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A key could not be made, read or used.
    #[error("a key could not be made, read or used")]
    Key,
    /// A socket or a file failed.
    #[error("input or output failed")]
    Io(#[from] std::io::Error),
    /// The HTTP connection failed.
    #[error("the HTTP connection failed")]
    Http(#[from] hyper::Error),
    /// HTTP cannot express the request.
    #[error("not a request that HTTP can carry")]
    Unsendable(#[from] http::Error),
    /// TLS could not be set up.
    #[error("TLS could not be set up")]
    Tls(#[from] rustls::Error),
    /// A certificate could not be made or read.
    #[error("a certificate could not be made or read: {0}")]
    Certificate(String),
    /// The bytes are not the expected JSON.
    #[error("not the JSON that was expected")]
    Json(#[from] serde_json::Error),
    /// No response arrived within the limit.
    #[error("no answer in {0:?}")]
    Late(std::time::Duration),
    /// Core's own process has ended.
    #[error("Core has ended: {0}")]
    Died(&'static str),
    /// The protocol does not allow this response here.
    #[error("{what}: unexpected answer {status} {body}")]
    Unexpected {
        /// The request.
        what: &'static str,
        /// The status of the answer.
        status: u16,
        /// Its body.
        body: String,
    },
}

impl From<aws_lc_rs::error::Unspecified> for Fault {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Key
    }
}

impl From<aws_lc_rs::error::KeyRejected> for Fault {
    fn from(_: aws_lc_rs::error::KeyRejected) -> Self {
        Self::Key
    }
}
