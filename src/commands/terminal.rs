//! Output and questions of the commands. [`countersign_os::quoted`] makes text from outside
//! harmless before a terminal shows it.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use crate::commands::error::CommandError;
use countersign_os::quoted::{columns_of, cut};

/// Longest answer to a question, in bytes.
const ANSWER_MAX: u64 = 64;

/// Prints lines.
pub(super) fn show(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(CommandError::Terminal)
}

/// Prints a value as JSON.
pub(super) fn show_json(value: &impl serde::Serialize) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| CommandError::Terminal(error.into()))?;
    show(&text)
}

/// The width of the output.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Width {
    /// At most the width of the terminal, if the output is one.
    Terminal,
    /// Unlimited: `--wide`.
    Wide,
}

impl Width {
    pub(super) const fn from_flag(wide: bool) -> Self {
        if wide { Self::Wide } else { Self::Terminal }
    }

    /// The most columns, if there is a limit.
    pub(super) fn columns(self) -> Option<usize> {
        match self {
            Self::Terminal => terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0)),
            Self::Wide => None,
        }
    }
}

/// Least width to which a column of a table is truncated.
const COLUMN_MIN: usize = 8;

/// Prints rows in columns. Cells must be escaped already ([`countersign_os::quoted::word`]).
/// Truncates all columns but the first if the width is too small.
pub(super) fn show_table<const N: usize>(
    heads: [&str; N],
    rows: &[[String; N]],
    width: Width,
) -> Result<(), CommandError> {
    let heads = heads.map(str::to_owned);
    let mut widths = [0; N];
    for row in std::iter::once(&heads).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = columns_of(cell).max(*width);
        }
    }
    if let Some(columns) = width.columns() {
        fit(&mut widths, columns);
    }
    for row in std::iter::once(&heads).chain(rows) {
        show(line_of(row, &widths).trim_end())?;
    }
    Ok(())
}

/// Narrows the widest columns but the first, until the table fits or none can be narrowed further.
fn fit(widths: &mut [usize], columns: usize) {
    let gaps = widths.len().saturating_sub(1).saturating_mul(GAP.len());
    while widths.iter().sum::<usize>().saturating_add(gaps) > columns {
        let widest = widths.iter_mut().skip(1).max_by_key(|width| **width).filter(|width| **width > COLUMN_MIN);
        let Some(widest) = widest else { return };
        *widest = widest.saturating_sub(1);
    }
}

fn line_of(cells: &[String], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, width)| {
        let cell = cut(cell, *width);
        let padding = width.saturating_sub(columns_of(&cell));
        format!("{cell}{}{GAP}", " ".repeat(padding))
    });
    padded.collect()
}

/// The gap between two columns.
const GAP: &str = "  ";

/// How a question is answered.
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

    /// Refuses early if the question cannot be asked.
    pub(super) fn require_someone(self) -> Result<(), CommandError> {
        if self == Self::Given || io::stdin().is_terminal() { Ok(()) } else { Err(CommandError::NobodyToAsk) }
    }

    /// Asks. Any answer but yes is a no.
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

/// A QR code in half blocks, with inverted colours for terminals that draw light on dark.
pub(super) fn qr(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n11_a_table_fits_its_terminal() {
        let check = |widths: &[usize], columns: usize, want: &[usize]| {
            let mut widths = widths.to_vec();
            fit(&mut widths, columns);
            assert_eq!(widths, want);
        };
        check(&[22, 16, 11], 80, &[22, 16, 11]);
        check(&[22, 72, 11], 80, &[22, 43, 11]);
        check(&[22, 30, 30], 40, &[22, 8, 8]);
        check(&[22, 5, 5], 20, &[22, 5, 5]);
        let line = line_of(&["kid".to_owned(), "漢字漢字漢".to_owned(), "x".to_owned()], &[4, 8, 1]);
        assert_eq!(line, "kid   漢字漢…   x  ");
    }

    #[test]
    fn a_connection_page_fits_a_terminal() {
        let url = format!("https://hpc.example.org/ucloud/hpc/connect#{}", "A".repeat(43));
        let picture = qr(&url).unwrap_or_default();
        assert!(picture.lines().count() <= 30 && picture.lines().all(|line| line.chars().count() <= 60), "{picture}");
    }
}
