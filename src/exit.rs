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
    /// The key store is not what it was.
    Store,
}

impl Exit {
    /// Its number.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Unreachable => 4,
            Self::Config => 5,
            Self::Tampered => 6,
            Self::Store => 7,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}
