//! Logging of the processes: lines on standard error, for the journal.
//!
//! Decisions about requests go to the audit log instead. Secrets have no printable form.

use std::error::Error;
use std::fmt;
use std::io::IsTerminal as _;

use tracing::field::{Field, Visit};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

use crate::quoted::{EscapingStderr, escaped, word_within};

/// The variable with the filter, in `tracing`'s syntax.
const FILTER_VARIABLE: &str = "COUNTERSIGN_LOG";

/// Longest value of a field shown whole on a terminal, in columns: an error with all its causes.
const FIELD_MAX: usize = 1_000;

/// Starts logging to standard error: as text on a terminal, otherwise as JSON lines. A second call
/// changes nothing. Fields contain names from outside; none can control the terminal or imitate
/// another field (V75).
pub fn start() {
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter);
    let started = if std::io::stderr().is_terminal() {
        lines.with_target(false).fmt_fields(Fields).with_writer(std::io::stderr).try_init()
    } else {
        lines.json().flatten_event(true).with_writer(EscapingStderr).try_init()
    };
    drop(started);
}

/// Formats fields for a terminal: the message, then `name=value`. Each value is one word or quoted.
struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, line: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line { line, is_empty: true, outcome: Ok(()) };
        fields.record(&mut line);
        line.outcome
    }
}

struct Line<'w> {
    line: Writer<'w>,
    is_empty: bool,
    outcome: fmt::Result,
}

impl Line<'_> {
    fn field(&mut self, field: &Field, value: &str) {
        let pause = if std::mem::take(&mut self.is_empty) { "" } else { " " };
        let shown = match field.name() {
            "message" => format!("{pause}{}", escaped(value)),
            name => format!("{pause}{name}={}", word_within(value, FIELD_MAX)),
        };
        self.outcome = self.outcome.and_then(|()| self.line.write_str(&shown));
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, &format!("{value:?}"));
    }
}

/// Displays an error with all its causes, on one line.
#[derive(Debug)]
pub struct Chain<'e>(pub &'e dyn Error);

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
