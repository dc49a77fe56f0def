//! The aligned lines that the demo prints, with colours on a terminal.

use std::io::{IsTerminal as _, Write as _};

/// Width of the column for the event.
const WHAT: usize = 50;
/// Width of the column for the response.
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
    /// Uses colours only on a terminal, and not if `NO_COLOR` is set.
    pub(crate) fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colour: wanted && std::io::stdout().is_terminal() }
    }

    /// Prints the title of a chapter.
    pub(crate) fn title(&self, text: &str) {
        self.line(&format!("\n{}", self.paint(BOLD, text)));
    }

    /// Prints an explanation.
    pub(crate) fn note(&self, text: &str) {
        self.line(&format!("           {}", self.paint(DIM, text)));
    }

    /// Prints a step that succeeded.
    pub(crate) fn ok(&self, what: &str, answer: &str, more: &str) {
        self.row(&self.paint(GREEN, "ok     "), what, answer, more);
    }

    /// Prints an attack that was refused.
    pub(crate) fn refused(&self, what: &str, answer: &str, more: &str) {
        self.row(&self.paint(GREEN, "refused"), what, answer, more);
    }

    /// Prints an outcome that is not as expected.
    pub(crate) fn wrong(&self, what: &str, answer: &str, more: &str) {
        self.row(&self.paint(RED, "WRONG  "), what, answer, more);
    }

    /// Prints the final result.
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

    /// Prints a line without changes.
    pub(crate) fn line(&self, text: &str) {
        // If the reader has closed the pipe, the line is lost.
        let _closed = writeln!(std::io::stdout(), "{text}");
    }
}
