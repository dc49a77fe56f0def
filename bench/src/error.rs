//! Errors of a measurement. Every one ends the run: a figure beside an error is worse than none.

use std::io;

use crate::proxy::Name;

#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("{doing}")]
    Io { doing: &'static str, source: io::Error },
    #[error("{doing}")]
    System { doing: &'static str, source: nix::Error },
    #[error("the bench's own keys: {0}")]
    Keys(&'static str),
    #[error("TLS")]
    Tls(#[from] rustls::Error),
    #[error("certificate")]
    Certificate(#[from] rcgen::Error),
    #[error("{proxy} did not come up: {why}")]
    NotUp { proxy: Name, why: String },
    #[error("{proxy} answered {status} to a good request: {body}")]
    Unexpected { proxy: Name, status: u16, body: String },
    #[error("{proxy} answered {status} to a request with {what}, and so verifies less than it should")]
    BadAccepted { proxy: Name, what: &'static str, status: u16 },
    #[error("{proxy}: {sent} requests were answered, {arrived} reached the upstream")]
    Lost { proxy: Name, sent: u64, arrived: u64 },
    #[error("an answer that this client does not read: {0}")]
    Answer(&'static str),
    #[error("the key store: {0}")]
    Store(countersign_keys::store::StoreFailure),
    #[error("the replay log: {0}")]
    Replay(countersign_keys::replay::ReplayError),
    #[error("the stand-in for Core")]
    Core(#[from] countersign_portal::Fault),
    /// A figure that no machine can have: what is measured is not what is meant.
    #[error("{what} of {proxy} is {value}, which cannot be")]
    Implausible {
        /// The row.
        proxy: String,
        what: &'static str,
        value: f64,
    },
    #[error(
        "this takes {needed} open files, and {allowed} are allowed: raise the limit (as root: ulimit -Hn {needed})"
    )]
    Descriptors { needed: usize, allowed: usize },
    #[error("HTTP/2")]
    Http2(#[from] hyper::Error),
    #[error("nothing to measure: {0}")]
    Empty(&'static str),
}

impl BenchError {
    /// For `map_err`: the text says which operation failed.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }

    pub(crate) fn system(doing: &'static str) -> impl FnOnce(nix::Error) -> Self {
        move |source| Self::System { doing, source }
    }
}
