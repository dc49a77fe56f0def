//! Exit codes: one for each kind of failure, the same for every mode.

use std::process::ExitCode;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    Done,
    /// A failure, or the person declined.
    Failure,
    /// The command line is wrong. Clap uses the same code.
    Usage,
    Refused,
    Unreachable,
    Config,
    /// An audit log differs from what was signed.
    Tampered,
    /// The key store differs from its last state.
    Store,
}

impl Exit {
    pub const fn number(self) -> u8 {
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
