//! What commands show and ask. Whatever came from elsewhere is made harmless before a terminal sees it.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use countersign_keys::time::Timestamp;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;

use crate::commands::error::CommandError;

/// The longest answer to a question, in bytes.
const ANSWER_MAX: u64 = 64;

const MOMENT: StaticFormatDescription = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");

/// Text from elsewhere, on one line, without what could steer a terminal or turn the direction of writing.
pub(super) fn plain(text: &str) -> String {
    let is_harmless = |c: char| c == ' ' || c.is_ascii_graphic() || (!c.is_ascii() && c.is_alphanumeric());
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if is_harmless(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_unicode());
        }
        shown
    })
}

/// A moment, as people read it.
pub(super) fn moment(at: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp(at.seconds())
        .ok()
        .and_then(|moment| moment.format(MOMENT).ok())
        .unwrap_or_else(|| format!("{} s", at.seconds()))
}

/// A span of time in its largest unit: `3 days`, `5 hours`.
pub(super) fn span(seconds: i64) -> String {
    let (count, unit) = match seconds {
        ..60 => return "less than a minute".to_owned(),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        86_400.. => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// Prints lines.
pub(super) fn show(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(CommandError::Terminal)
}

/// Prints a value for programs.
pub(super) fn show_json(value: &impl serde::Serialize) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| CommandError::Terminal(error.into()))?;
    show(&text)
}

/// Says something that is no part of the output.
pub(super) fn remark(text: &str) {
    // Nobody can be told that standard error is closed.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints rows in columns.
pub(super) fn show_table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> Result<(), CommandError> {
    let heads = heads.map(str::to_owned);
    let mut widths = [0; N];
    for row in std::iter::once(&heads).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in std::iter::once(&heads).chain(rows) {
        let line: String = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
        show(line.trim_end())?;
    }
    Ok(())
}

/// What stands in for the answer to a question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Consent {
    /// Ask on the terminal.
    Asked,
    /// `--yes`.
    Given,
}

impl Consent {
    pub(super) const fn from_flag(yes: bool) -> Self {
        if yes { Self::Given } else { Self::Asked }
    }

    /// Refuses early where nobody could be asked.
    pub(super) fn require_someone(self) -> Result<(), CommandError> {
        if self == Self::Given || io::stdin().is_terminal() { Ok(()) } else { Err(CommandError::NobodyToAsk) }
    }

    /// Asks; anything but a clear yes is a no.
    pub(super) fn ask(self, question: &str) -> Result<(), CommandError> {
        if self == Self::Given {
            return Ok(());
        }
        self.require_someone()?;
        let mut out = io::stdout().lock();
        write!(out, "{question} [y/N] ").and_then(|()| out.flush()).map_err(CommandError::Terminal)?;
        let mut answer = String::new();
        io::Read::take(io::stdin().lock(), ANSWER_MAX).read_line(&mut answer).map_err(CommandError::Terminal)?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(CommandError::Declined),
        }
    }
}

/// A QR code in half blocks, dark on light for any terminal that draws light on dark.
pub(super) fn qr(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_and_not_obeyed() {
        let check = |text: &str, want: &str| assert_eq!(plain(text), want);
        check("Firefox on Linux", "Firefox on Linux");
        check("Ælice#1234", "Ælice#1234");
        check("\u{1b}[2J", "\\u{1b}[2J");
        check("a\nb\r", "a\\u{a}b\\u{d}");
        check("\u{202e}evil", "\\u{202e}evil");
        check("\u{9b}31m", "\\u{9b}31m");
        check("a\u{200b}b", "a\\u{200b}b");
    }

    #[test]
    fn times_are_in_words() {
        assert_eq!(moment(Timestamp::from_seconds(0)), "1970-01-01 00:00 UTC");
        assert_eq!(moment(Timestamp::from_seconds(i64::MAX)), "9223372036854775807 s");
        let check = |seconds: i64, want: &str| assert_eq!(span(seconds), want);
        check(-5, "less than a minute");
        check(59, "less than a minute");
        check(60, "1 minute");
        check(7_200, "2 hours");
        check(86_399, "23 hours");
        check(180 * 86_400, "180 days");
    }

    #[test]
    fn a_connection_page_fits_a_terminal() {
        let url = format!("https://hpc.example.org/ucloud/hpc/connect#{}", "A".repeat(43));
        let picture = qr(&url).unwrap_or_default();
        assert!(picture.lines().count() <= 30 && picture.lines().all(|line| line.chars().count() <= 60), "{picture}");
    }
}
