//! Why the server's word on a key, an instance or a passkey is missing.

/// Why the server's word is missing. Nothing is forwarded without it (P8).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(in crate::gateway) enum KeyCacheFailure {
    /// No answer in time.
    #[error("the server did not answer in time")]
    Slow,
    /// The server could not find out.
    #[error("the server could not find out")]
    Failed,
    /// Too many questions are open.
    #[error("too many questions to the server are open")]
    Full,
    /// The line is gone; the process is about to end.
    #[error("the control line is gone")]
    Gone,
}

/// A passkey did not assert an intent; the reason is for the log.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(in crate::gateway) struct NotAsserted(pub(super) String);
