//! The words with which the signer describes a site's own row (protocol, section 4).
//!
//! Texts are short and plain, because a person must understand the question. Placeholders name
//! bound parameters; the signer inserts their values, escaped and truncated. The signer has its own
//! words for the standard rows.

use serde::{Deserialize, Serialize};

/// Longest sentence, in characters: two lines in the signer's window.
const SENTENCE_MAX: usize = 120;

/// Longest text of a button, in characters.
const BUTTON_MAX: usize = 30;

/// Longest note, in characters.
const NOTE_MAX: usize = 400;

/// Most parameters that name the object of a call.
const SUBJECTS_MAX: usize = 4;

/// The description of a call.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// The sentence for one item: "Rotate the key of {id}".
    pub one: String,
    /// The sentence for several items: "Rotate {n} keys".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub many: Option<String>,
    /// The text of the approval button.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub button: Option<String>,
    /// An explanation, if the sentence alone is not sufficient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The bound parameters that name the object of the call: shown first.
    #[serde(default)]
    pub subjects: Vec<String>,
}

/// Why words are refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WordsRejection {
    /// Empty, too long, or with invisible characters.
    #[error("words.{0} is empty, longer than {1} characters, or has characters that do not show")]
    Text(&'static str, usize),
    /// A placeholder or subject that is not a bound parameter.
    #[error("words name {{{0}}}, which is not a bound parameter of the call")]
    Unknown(String),
    /// An unpaired brace.
    #[error("words.{0} has a brace outside of a {{placeholder}}")]
    Brace(&'static str),
    /// The sentence for several items lacks their number.
    #[error("words.many has no {{n}} for the number of items")]
    Uncounted,
    /// Too many subjects.
    #[error("words.subjects are more than {SUBJECTS_MAX}")]
    Subjects,
}

impl Words {
    /// Checks that a person can be asked with these words. `bound` are the call's bound parameters.
    pub(super) fn check(&self, bound: &[&str]) -> Result<(), WordsRejection> {
        let is_bound =
            |name: &str| if bound.contains(&name) { Ok(()) } else { Err(WordsRejection::Unknown(name.into())) };
        let texts = [
            ("one", Some(&self.one), SENTENCE_MAX),
            ("many", self.many.as_ref(), SENTENCE_MAX),
            ("button", self.button.as_ref(), BUTTON_MAX),
            ("note", self.note.as_ref(), NOTE_MAX),
        ];
        for (what, text, longest) in texts {
            let Some(text) = text else { continue };
            if text.trim().is_empty() || text.chars().count() > longest || text.chars().any(is_hidden) {
                return Err(WordsRejection::Text(what, longest));
            }
            for name in placeholders(text).ok_or(WordsRejection::Brace(what))? {
                match (what, name) {
                    ("many", "n") => {}
                    ("one", name) => is_bound(name)?,
                    (_, name) => return Err(WordsRejection::Unknown(name.to_owned())),
                }
            }
        }
        if self.many.as_ref().is_some_and(|many| !many.contains("{n}")) {
            return Err(WordsRejection::Uncounted);
        }
        if self.subjects.len() > SUBJECTS_MAX {
            return Err(WordsRejection::Subjects);
        }
        self.subjects.iter().try_for_each(|name| is_bound(name))
    }
}

/// The names in braces; `None` if a brace is unpaired.
fn placeholders(text: &str) -> Option<Vec<&str>> {
    let mut pieces = text.split('{');
    if pieces.next()?.contains('}') {
        return None;
    }
    pieces
        .map(|piece| piece.split_once('}').filter(|(name, rest)| !name.is_empty() && !rest.contains('}')))
        .map(|piece| piece.map(|(name, _)| name))
        .collect()
}

/// Control characters, invisible characters, and those that change the reading direction.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n19_words_are_short_plain_and_about_bound_parameters() {
        let words =
            |one: &str| Words { one: one.to_owned(), many: None, button: None, note: None, subjects: Vec::new() };
        let check = |words: &Words, want: Result<(), WordsRejection>| {
            assert_eq!(words.check(&["id", "size"]), want, "{words:?}");
        };
        let text = |what, longest| Err(WordsRejection::Text(what, longest));
        check(&words("Rotate a key"), Ok(()));
        check(&words("Make {id} {size} bytes long"), Ok(()));
        check(&words(""), text("one", SENTENCE_MAX));
        check(&words("  "), text("one", SENTENCE_MAX));
        check(&words(&"x".repeat(120)), Ok(()));
        check(&words(&"x".repeat(121)), text("one", SENTENCE_MAX));
        check(&words("Rotate\na key"), text("one", SENTENCE_MAX));
        check(&words("Rotate \u{202e}yek a"), text("one", SENTENCE_MAX));
        check(&words("Rotate a\u{200b}key"), text("one", SENTENCE_MAX));
        check(&words("Rotate {key}"), Err(WordsRejection::Unknown("key".into())));
        check(&words("Rotate {n} keys"), Err(WordsRejection::Unknown("n".into())));
        for brace in ["Rotate {id", "Rotate id}", "Rotate {}", "Rotate {{id}}", "Rotate {id}}"] {
            check(&words(brace), Err(WordsRejection::Brace("one")));
        }
        let many = |many: &str| Words { many: Some(many.to_owned()), ..words("x") };
        check(&many("Rotate {n} keys"), Ok(()));
        check(&many("Rotate keys"), Err(WordsRejection::Uncounted));
        check(&many("Rotate {n} keys of {id}"), Err(WordsRejection::Unknown("id".into())));
        check(&Words { button: Some("x".repeat(31)), ..words("x") }, text("button", BUTTON_MAX));
        check(&Words { button: Some("{id}".into()), ..words("x") }, Err(WordsRejection::Unknown("id".into())));
        check(&Words { note: Some("x".repeat(401)), ..words("x") }, text("note", NOTE_MAX));
        check(&Words { subjects: vec!["id".into()], ..words("x") }, Ok(()));
        check(&Words { subjects: vec!["key".into()], ..words("x") }, Err(WordsRejection::Unknown("key".into())));
        check(&Words { subjects: vec!["id".into(); 5], ..words("x") }, Err(WordsRejection::Subjects));
    }
}
