//! The errors of the program: one sentence for the person who ran it.

use std::error::Error;
use std::fmt;

use countersign_portal::Fault;

/// A sentence with its causes.
#[derive(Debug)]
pub(crate) struct ProgramError(String);

impl ProgramError {
    /// The sentence.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// An error with the action that failed and its causes.
    pub(crate) fn with_causes(what: impl fmt::Display, cause: &dyn Error) -> Self {
        let mut sentence = format!("{what}: {cause}");
        let mut deeper = cause.source();
        while let Some(cause) = deeper {
            sentence.push_str(&format!(": {cause}"));
            deeper = cause.source();
        }
        Self(sentence)
    }
}

impl fmt::Display for ProgramError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl From<Fault> for ProgramError {
    fn from(fault: Fault) -> Self {
        Self::with_causes("stand-in Core", &fault)
    }
}

/// Adds the action that failed to an error.
pub(crate) trait ErrorContext<T> {
    /// Replaces the error by a sentence that begins with `what`.
    fn context(self, what: impl fmt::Display) -> Result<T, ProgramError>;
}

impl<T, E: Error> ErrorContext<T> for Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T, ProgramError> {
        self.map_err(|cause| ProgramError::with_causes(what, &cause))
    }
}
