//! What can go wrong on the stand-in's own side. A refusal by the provider is no fault: it is an
//! [`Answer`](crate::line::Answer), and often the one that a test hopes for.

/// Something on this side failed, or the other side broke the protocol.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A key could not be made, read or used.
    #[error("a key could not be made, read or used")]
    Key,
    /// A socket or file.
    #[error("input or output failed")]
    Io(#[from] std::io::Error),
    /// The HTTP connection.
    #[error("the HTTP connection failed")]
    Http(#[from] hyper::Error),
    /// A request that cannot be written as HTTP.
    #[error("not a request that HTTP can carry")]
    Unsendable(#[from] http::Error),
    /// TLS could not be set up.
    #[error("TLS could not be set up")]
    Tls(#[from] rustls::Error),
    /// A certificate could not be made or read.
    #[error("a certificate could not be made or read: {0}")]
    Certificate(String),
    /// Bytes that should be JSON.
    #[error("not the JSON that was expected")]
    Json(#[from] serde_json::Error),
    /// The other side took longer than Core waits.
    #[error("no answer in {0:?}")]
    Late(std::time::Duration),
    /// Core's own process has ended.
    #[error("Core has ended: {0}")]
    Died(&'static str),
    /// An answer that the protocol does not have at this place.
    #[error("{what}: unexpected answer {status} {body}")]
    Unexpected {
        /// What was asked.
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
