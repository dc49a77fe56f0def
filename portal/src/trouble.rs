//! Why the program stops: one sentence for the person who ran it.

use std::error::Error;
use std::fmt;

use countersign_portal::Fault;

/// A sentence, with what caused it.
#[derive(Debug)]
pub(crate) struct Trouble(String);

impl Trouble {
    /// The sentence.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// What was being done, and what came of it.
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

/// Says what was being done when something failed.
pub(crate) trait Doing<T> {
    /// The same with a sentence.
    fn doing(self, what: impl fmt::Display) -> Result<T, Trouble>;
}

impl<T, E: Error> Doing<T> for Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T, Trouble> {
        self.map_err(|cause| Trouble::while_doing(what, &cause))
    }
}
