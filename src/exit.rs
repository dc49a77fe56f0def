//! How a process ends: one number for each kind of reason, the same for every mode.

use std::process::ExitCode;

/// The kinds of end, with their numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// It failed, or the person asked said no.
    Failure,
    /// The command line is wrong. Clap uses the same number.
    Usage,
    /// A rule forbids it.
    Refused,
    /// The server cannot be reached.
    Unreachable,
    /// The configuration is wrong.
    Config,
    /// An audit log is not what was signed.
    Tampered,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Unreachable => 4,
            Exit::Config => 5,
            Exit::Tampered => 6,
        })
    }
}
