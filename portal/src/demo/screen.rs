//! Lines of the demo: aligned, and in colour only where there is a terminal that wants it.

use std::io::{IsTerminal as _, Write as _};

/// Width of the column that says what happened.
const WHAT: usize = 50;
/// Width of the column that says what was answered.
const ANSWER: usize = 22;

const GREEN: &str = "32";
const RED: &str = "31;1";
const DIM: &str = "2";
const BOLD: &str = "1";

/// Standard output.
pub(crate) struct Screen {
    colour: bool,
}

impl Screen {
    /// Colours only on a terminal, and never where `NO_COLOR` is set.
    pub(crate) fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colour: wanted && std::io::stdout().is_terminal() }
    }

    /// A chapter begins.
    pub(crate) fn title(&self, text: &str) {
        self.line(&format!("\n{}", self.paint(BOLD, text)));
    }

    /// Something to know.
    pub(crate) fn note(&self, text: &str) {
        self.line(&format!("           {}", self.paint(DIM, text)));
    }

    /// Something worked.
    pub(crate) fn ok(&self, what: &str, answer: &str, more: &str) {
        self.row(&self.paint(GREEN, "ok     "), what, answer, more);
    }

    /// An attack was refused.
    pub(crate) fn refused(&self, what: &str, answer: &str, more: &str) {
        self.row(&self.paint(GREEN, "refused"), what, answer, more);
    }

    /// Something is not as it must be.
    pub(crate) fn wrong(&self, what: &str, answer: &str, more: &str) {
        self.row(&self.paint(RED, "WRONG  "), what, answer, more);
    }

    /// The last word.
    pub(crate) fn verdict(&self, good: bool, text: &str) {
        self.line(&self.paint(if good { GREEN } else { RED }, text));
    }

    fn row(&self, mark: &str, what: &str, answer: &str, more: &str) {
        let more = self.paint(DIM, more);
        self.line(format!("  {mark}  {what:WHAT$} {answer:ANSWER$} {more}").trim_end());
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A line as it is.
    pub(crate) fn line(&self, text: &str) {
        // Whoever closed the pipe does not want to read on.
        let _closed = writeln!(std::io::stdout(), "{text}");
    }
}
