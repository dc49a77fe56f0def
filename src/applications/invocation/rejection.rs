//! Why a text is refused as an invocation, and the checks that its parts share.

use serde::{Deserialize, Deserializer};

use countersign_keys::json::JsonRejection;

/// Longest invocation, in bytes. A large template is a few KiB; a request's body has 8 MiB.
pub const INVOCATION_MAX: usize = 512 * 1024;

/// Most entries of one list or map.
pub(crate) const ENTRIES_MAX: usize = 512;

/// Longest name, word or title, in bytes.
pub(crate) const WORD_MAX: usize = 4 * 1024;

/// Longest template or description, in bytes.
pub(crate) const TEXT_MAX: usize = 256 * 1024;

/// Why a text is refused as an invocation.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvocationRejection {
    #[error("the application is longer than {INVOCATION_MAX} bytes")]
    TooLong,
    #[error("the application: {0}")]
    Json(JsonRejection),
    /// A member that is not known, or has another type.
    #[error("the application: {0}")]
    Shape(String),
    #[error("the application has a whole number of more than 53 bits")]
    Number,
    #[error("the application has more than {ENTRIES_MAX} {0}")]
    TooMany(&'static str),
    #[error("the application has {0} that is too long, or has control characters")]
    Text(&'static str),
    #[error("the application names two parameters {0:?}")]
    ParameterTwice(String),
    /// A name of a parameter, or of an environment variable.
    #[error("the application has {what} with an invalid name: {name:?}")]
    Name { what: &'static str, name: String },
}

/// Reads Go's null as the value of an absent member.
pub(crate) fn nullable<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

/// A variable of the shell, such as `OMP_NUM_THREADS`.
pub(crate) fn is_variable(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|other| other.is_ascii_alphanumeric() || other == '_')
        && name.len() <= 128
}

pub(crate) fn at_most(what: &'static str, length: usize) -> Result<(), InvocationRejection> {
    if length > ENTRIES_MAX { Err(InvocationRejection::TooMany(what)) } else { Ok(()) }
}

/// One line.
pub(crate) fn check_word(what: &'static str, word: &str) -> Result<(), InvocationRejection> {
    let is_word = word.len() <= WORD_MAX && !word.chars().any(char::is_control);
    if is_word { Ok(()) } else { Err(InvocationRejection::Text(what)) }
}

/// Lines. No other control character: this crate uses them as marks of its own.
pub(crate) fn check_text(what: &'static str, text: &str) -> Result<(), InvocationRejection> {
    let is_text = text.len() <= TEXT_MAX && !text.chars().any(is_mark);
    if is_text { Ok(()) } else { Err(InvocationRejection::Text(what)) }
}

/// A control character that has no place in a text of lines.
pub(crate) fn is_mark(character: char) -> bool {
    character.is_control() && !matches!(character, '\n' | '\r' | '\t')
}

/// The beginning of a text from outside, for a message.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(64).collect()
}
