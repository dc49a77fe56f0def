//! What the processes say about themselves: lines on standard error, for the journal.
//!
//! Decisions about requests go to the audit log, not here. Nothing that is a secret has a form that could be printed.

use std::error::Error;
use std::fmt;
use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// The variable that says what is logged, in the syntax of `tracing`'s filters.
const FILTER_VARIABLE: &str = "COUNTERSIGN_LOG";

/// Starts logging to standard error: for people on a terminal, as JSON lines otherwise. A second call changes nothing.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if std::io::stderr().is_terminal() {
        lines.with_target(false).try_init()
    } else {
        lines.json().flatten_event(true).try_init()
    };
    drop(started);
}

/// An error with all that caused it, on one line.
#[derive(Debug)]
pub(crate) struct Chain<'e>(pub(crate) &'e dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
