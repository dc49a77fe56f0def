//! Escapes text from outside before a terminal or a log displays it (V75).
//!
//! A UCloud username, a browser's name or a compromised server's text may contain dangerous
//! characters. These are invisible, control a terminal, or reverse a line's direction. One rule
//! here decides which characters are displayed; all others are escaped. The provider's title
//! follows the same rule. Long values are cut, with a mark. Unicode properties come from
//! `icu_properties`.

use std::fmt::Write as _;
use std::io;

use icu_properties::props::{BidiClass, DefaultIgnorableCodePoint, EastAsianWidth, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};
use tracing_subscriber::fmt::MakeWriter;

/// Longest value displayed whole, in columns: a line of 100 columns keeps room for its label.
pub const VALUE_MAX: usize = 72;

/// Longest sentence displayed whole, in columns.
pub const SENTENCE_MAX: usize = 400;

/// Marks where a value was cut.
const CUT: char = '…';

/// Quotes a value, so that its spaces are visible.
pub fn quoted(text: &str) -> String {
    quoted_within(text, VALUE_MAX)
}

/// As [`quoted`], with at most that many columns without the marks.
pub fn quoted_within(text: &str, columns_max: usize) -> String {
    let mut shown = String::from("\"");
    let mut columns = 0_usize;
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        let piece = match character {
            '"' | '\\' => format!("\\{character}"),
            _ => piece(character),
        };
        let width = columns_of(&piece);
        if columns.saturating_add(width) > columns_max {
            let left = rest.count().saturating_add(1);
            let _ = write!(shown, "{CUT}\" (+{left} characters)");
            return shown;
        }
        columns = columns.saturating_add(width);
        shown.push_str(&piece);
    }
    shown.push('"');
    shown
}

/// Formats a value of a table or a log: bare if it is one plain word, otherwise quoted.
pub fn word(text: &str) -> String {
    word_within(text, VALUE_MAX)
}

/// As [`word`], with at most that many columns.
pub fn word_within(text: &str, columns_max: usize) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-#@+:/=".contains(&byte);
    if !text.is_empty() && text.len() <= columns_max && text.bytes().all(is_plain) {
        text.to_owned()
    } else {
        quoted_within(text, columns_max)
    }
}

/// Escapes a text that ends its line: one line, uncut.
pub fn escaped(text: &str) -> String {
    text.chars().map(piece).collect()
}

/// The columns of an escaped text.
pub fn columns_of(shown: &str) -> usize {
    let widths = CodePointMapData::<EastAsianWidth>::new();
    let of = |character: char| match widths.get(character) {
        EastAsianWidth::Wide | EastAsianWidth::Fullwidth => 2,
        _ => 1,
    };
    shown.chars().map(of).sum()
}

/// Cuts an escaped text to that many columns.
pub fn cut(shown: &str, columns_max: usize) -> String {
    if columns_of(shown) <= columns_max {
        return shown.to_owned();
    }
    let mut kept = String::new();
    for character in shown.chars() {
        kept.push(character);
        if columns_of(&kept) >= columns_max {
            kept.pop();
            break;
        }
    }
    kept.push(CUT);
    kept
}

fn piece(character: char) -> String {
    if is_shown(character) { character.to_string() } else { character.escape_unicode().to_string() }
}

/// Whether a terminal displays a character as itself. That is a space, visible ASCII, or a letter
/// or number that is written from left to right in its own place.
fn is_shown(character: char) -> bool {
    if character.is_ascii() {
        return character == ' ' || character.is_ascii_graphic();
    }
    if character == CUT {
        return true;
    }
    let is_visible = matches!(
        CodePointMapData::<GeneralCategory>::new().get(character),
        GeneralCategory::UppercaseLetter
            | GeneralCategory::LowercaseLetter
            | GeneralCategory::TitlecaseLetter
            | GeneralCategory::ModifierLetter
            | GeneralCategory::OtherLetter
            | GeneralCategory::SpacingMark
            | GeneralCategory::DecimalNumber
            | GeneralCategory::LetterNumber
            | GeneralCategory::OtherNumber
    );
    is_visible && !is_deceptive(character)
}

/// Whether a character is invisible, controls a terminal, breaks a line, or reverses its direction.
/// No text of one plain line has such a character.
pub fn is_deceptive(character: char) -> bool {
    let is_unseen = matches!(
        CodePointMapData::<GeneralCategory>::new().get(character),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::PrivateUse
            | GeneralCategory::Unassigned
    );
    let is_right_to_left = matches!(
        CodePointMapData::<BidiClass>::new().get(character),
        BidiClass::RightToLeft | BidiClass::ArabicLetter | BidiClass::ArabicNumber
    );
    is_unseen || is_right_to_left || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character)
}

/// The writer of log lines. Escapes, as JSON, characters that JSON allows and a terminal would not
/// display.
#[derive(Clone, Copy, Debug)]
pub struct EscapingStderr;

impl<'w> MakeWriter<'w> for EscapingStderr {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        *self
    }
}

impl io::Write for EscapingStderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().lock().write_all(json_escaped(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn json_escaped(line: &str) -> String {
    line.chars().fold(String::with_capacity(line.len()), |mut shown, character| {
        if character == '\n' || is_shown(character) {
            shown.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        }
        shown
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The browser's signer is tested with the same file (`tests/web/confusables.test.mjs`).
    const VECTORS: &str = include_str!("../../keys/tests/vectors/shown.json");

    #[test]
    fn v75_s14_every_character_of_the_vectors_is_shown_or_escaped_as_they_say() {
        let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
        let characters = |name: &str| -> Vec<char> {
            let ranges = vectors[name].as_array().unwrap().iter();
            let range = |range: &serde_json::Value| {
                let at = |index: usize| u32::from_str_radix(range[index].as_str().unwrap(), 16).unwrap();
                (at(0)..=at(1)).filter_map(char::from_u32)
            };
            ranges.flat_map(range).collect()
        };
        let escaped_ones = characters("invisible").into_iter().chain(characters("rightToLeft"));
        for character in escaped_ones {
            let want = character.escape_unicode().to_string();
            assert_eq!(escaped(&format!("a{character}b")), format!("a{want}b"), "U+{:04X}", u32::from(character));
        }
        for character in characters("shown") {
            assert_eq!(escaped(&character.to_string()), character.to_string(), "U+{:04X}", u32::from(character));
        }
    }

    #[test]
    fn v75_s14_a_value_cannot_leave_its_quotation_marks() {
        let check = |text: &str, want: &str| assert_eq!(quoted(text), want);
        check("Firefox on Linux", "\"Firefox on Linux\"");
        check("", "\"\"");
        check("a\" by \"b", "\"a\\\" by \\\"b\"");
        check("a\\", "\"a\\\\\"");
        check("\u{1b}[2J\n", "\"\\u{1b}[2J\\u{a}\"");
        check("\u{9b}31m", "\"\\u{9b}31m\"");
        check("\u{5d0}\u{5d1} \u{202e}x", "\"\\u{5d0}\\u{5d1} \\u{202e}x\"");
        check("e\u{301}", "\"e\\u{301}\"");
        check("Ælice#1234", "\"Ælice#1234\"");
    }

    #[test]
    fn v75_s14_a_long_value_is_cut_with_a_mark() {
        let forged = format!("carol#1{}key           abandon ability", " ".repeat(240));
        let (shown, left) = (quoted(&forged), forged.len() - VALUE_MAX);
        assert!(columns_of(&shown) < 100, "{shown}");
        assert!(shown.starts_with("\"carol#1  ") && shown.ends_with(&format!("…\" (+{left} characters)")), "{shown}");
        // An escape is not split, and wide characters count twice.
        assert_eq!(quoted_within("aaaa\u{3164}b", 8), "\"aaaa…\" (+2 characters)");
        assert_eq!(quoted_within("漢字漢字", 6), "\"漢字漢…\" (+1 characters)");
        assert_eq!(cut("漢字漢字", 5), "漢字…");
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
    }

    #[test]
    fn v75_s14_a_value_stays_in_its_column() {
        let check = |text: &str, want: &str| assert_eq!(word(text), want);
        check("alice#1234", "alice#1234");
        check("2001:db8::1", "2001:db8::1");
        check("laptop  ES256 v2  2 hours", "\"laptop  ES256 v2  2 hours\"");
        check("", "\"\"");
        check("æ", "\"æ\"");
    }

    #[test]
    fn v75_s14_a_json_line_of_the_log_keeps_its_meaning() {
        let text = "\u{202e}\u{3164}a\u{e0041}";
        let line = serde_json::json!({ "username": text }).to_string();
        let shown = json_escaped(&line);
        assert!(shown.is_ascii(), "{shown}");
        let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(read["username"], text);
    }
}
