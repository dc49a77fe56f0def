//! The phases of an instance, from launched to gone, and counts of them.

/// The state of an instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// The process was started.
    Launched,
    /// It serves its socket.
    Ready,
    /// It was told to stop.
    Stopping,
    /// The process is gone.
    Gone,
}

impl Phase {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Launched => "launched",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
            Self::Gone => "gone",
        }
    }
}

/// How many instances there are and were.
#[derive(Debug)]
pub(crate) struct InstanceCounts {
    /// Of each instance that is there.
    pub(crate) phases: Vec<Phase>,
    /// Since the server started.
    pub(crate) launched: u64,
    pub(crate) failed: u64,
}
