//! Failures of queries to the server about keys, instances and passkeys.

/// Why the server's answer is missing. Without it nothing is forwarded (P8).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum KeyCacheFailure {
    #[error("the server did not answer in time")]
    Slow,
    #[error("the server could not find out")]
    Failed,
    /// Too many open queries.
    #[error("too many questions to the server are open")]
    Full,
    /// The channel is closed; the process is about to end.
    #[error("the control line is gone")]
    Gone,
}

/// Why a passkey's assertion was refused, for the log.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotAsserted(pub(crate) String);
