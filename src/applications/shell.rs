//! Quotes values for the shell.
//!
//! A value is a word of its own wherever it stands, whatever it contains: no value can start a
//! command, another word, a comment or a directive.

mod place;

pub(crate) use crate::shell::place::{MARK_END, MARK_START, Unplaceable, place};

/// Characters that mean themselves to the shell in every place, quoted or not.
fn is_inert(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | ',' | ':' | '/' | '@' | '%' | '+' | '-')
}

/// Whether a value means itself in every place, even in a here-document.
pub(crate) fn is_inert_text(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_inert)
}

/// The value as one word of the shell, in single quotes.
pub(crate) fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// The value as one word, without quotes where it needs none: for words that people read.
pub(crate) fn word(value: &str) -> String {
    if is_inert_text(value) { value.to_owned() } else { quoted(value) }
}

#[cfg(test)]
mod tests;
