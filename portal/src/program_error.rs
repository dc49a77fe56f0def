//! The errors of the program: one sentence for the person who ran it.

use std::error::Error;
use std::fmt;

use countersign_portal::Fault;

/// A sentence with its causes.
#[derive(Debug)]
pub(crate) struct Trouble(String);

impl Trouble {
    /// The sentence.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// An error with the action that failed and its causes.
    pub(crate) fn while_doing(what: impl fmt::Display, cause: &dyn Error) -> Self {
        let mut sentence = format!("{what}: {cause}");
        let mut deeper = cause.source();
        while let Some(cause) = deeper {
            sentence.push_str(&format!(": {cause}"));
            deeper = cause.source();
        }
        Self(sentence)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::while_doing("stand-in Core", &fault)
    }
}

/// Adds the action that failed to an error.
pub(crate) trait Doing<T> {
    /// Replaces the error by a sentence that begins with `what`.
    fn doing(self, what: impl fmt::Display) -> Result<T, Trouble>;
}

impl<T, E: Error> Doing<T> for Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T, Trouble> {
        self.map_err(|cause| Trouble::while_doing(what, &cause))
    }
}
