//! The changes that Core makes to a bound value on its way to the provider (protocol, section 3).
//!
//! Both the signer and the verifier apply them, so that the signed value and the received value
//! have the same digest. A dropped member is in no projection, so it has no authority.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::call::pointer::{Pointer, PointerRejection, Step};
use crate::json::Json;

/// One change, as a row specifies it.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeSpec {
    /// The place in the value, as a JSON pointer; empty for the value itself. `*` is every element,
    /// or every member.
    pub at: String,
    /// The change.
    pub how: How,
}

/// The kind of change. The set is closed: a signer that meets an unknown kind signs nothing of that
/// table.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// Core replaces or removes the member, so it is left out.
    Dropped,
    /// White space (Unicode's `White_Space`) at both ends of a text is removed.
    Trimmed,
    /// A text is converted to lower case.
    Lowered,
    /// The names of an object's members are converted to lower case and trimmed.
    Names,
}

/// The change makes two names of an object equal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Collision;

/// A parsed change.
#[derive(Clone, Debug)]
pub struct Change {
    at: Vec<Step>,
    how: How,
}

impl Change {
    pub(super) fn parse(spec: &ChangeSpec) -> Result<Self, PointerRejection> {
        let at = if spec.at.is_empty() { Vec::new() } else { Pointer::parse(&spec.at)?.steps().to_vec() };
        if spec.how == How::Dropped && !matches!(at.last(), Some(Step::Member(_))) {
            return Err(PointerRejection::NoMember);
        }
        Ok(Self { at, how: spec.how })
    }

    /// Applies the change wherever the pointer finds a value of the right type.
    pub(crate) fn make(&self, value: &mut Json<'_>) -> Result<(), Collision> {
        descend(&self.at, self.how, value)
    }
}

fn descend(at: &[Step], how: How, value: &mut Json<'_>) -> Result<(), Collision> {
    match (at, value) {
        ([], value) => change(how, value),
        ([Step::Member(name)], Json::Object(members)) if how == How::Dropped => {
            members.retain(|(member, _)| member != name);
            Ok(())
        }
        ([Step::Member(name), rest @ ..], Json::Object(members)) => {
            let found = members.iter_mut().find(|(member, _)| member == name);
            found.map_or(Ok(()), |(_, value)| descend(rest, how, value))
        }
        ([Step::Each, rest @ ..], Json::Object(members)) => {
            members.iter_mut().try_for_each(|(_, value)| descend(rest, how, value))
        }
        ([Step::Each, rest @ ..], Json::Array(elements)) => {
            elements.iter_mut().try_for_each(|value| descend(rest, how, value))
        }
        (_, Json::Null | Json::Bool(_) | Json::Integer(_) | Json::Float(_) | Json::String(_) | Json::Array(_)) => {
            Ok(())
        }
    }
}

fn change(how: How, value: &mut Json<'_>) -> Result<(), Collision> {
    match (how, value) {
        (How::Trimmed, Json::String(text)) => *text = Cow::Owned(text.trim().to_owned()),
        (How::Lowered, Json::String(text)) => *text = Cow::Owned(text.to_lowercase()),
        (How::Names, Json::Object(members)) => {
            for (name, _) in members.iter_mut() {
                *name = Cow::Owned(name.to_lowercase().trim().to_owned());
            }
            let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
            names.sort_unstable();
            if names.array_windows().any(|[one, other]| one == other) {
                return Err(Collision);
            }
        }
        // A value of another type stays unchanged, and is bound unchanged.
        (How::Trimmed | How::Lowered | How::Names | How::Dropped, _) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(at: &str, how: How, text: &str) -> Result<String, Collision> {
        let mut value = Json::parse(text.as_bytes(), 8).unwrap();
        let change = Change::parse(&ChangeSpec { at: at.to_owned(), how }).unwrap();
        change.make(&mut value)?;
        Ok(serde_json::to_string(&value).unwrap())
    }

    #[test]
    fn c06_a_change_is_made_where_its_pointer_says_and_nowhere_else() {
        let check = |at: &str, how: How, text: &str, want: &str| {
            assert_eq!(made(at, how, text), Ok(want.to_owned()), "{how:?} {at} {text}");
        };
        check("/b", How::Dropped, r#"{"a":{"b":1},"b":2}"#, r#"{"a":{"b":1}}"#);
        check("/*/b", How::Dropped, r#"{"a":{"b":1,"c":2},"b":2}"#, r#"{"a":{"c":2},"b":2}"#);
        check("/*/b", How::Dropped, r#"[{"b":1},{"c":2},"b"]"#, r#"[{},{"c":2},"b"]"#);
        check("/b", How::Dropped, "[1]", "[1]");
        check("", How::Trimmed, "\" \u{85}\u{3000}a b\\n\"", "\"a b\"");
        check("", How::Trimmed, "\"\u{feff}a\u{200b}\"", "\"\u{feff}a\u{200b}\"");
        check("/name", How::Trimmed, r#"{"name":" x ","other":" y "}"#, r#"{"name":"x","other":" y "}"#);
        check("/*", How::Trimmed, r#"[" x ",7," y"]"#, r#"["x",7,"y"]"#);
        check("/name", How::Trimmed, r#"{"name":7}"#, r#"{"name":7}"#);
        check("/host", How::Lowered, r#"{"host":"App-ÆØ"}"#, r#"{"host":"app-æø"}"#);
        check("", How::Names, r#"{" Colour":"Red","x":{"Y":1}}"#, r#"{"colour":"Red","x":{"Y":1}}"#);
        assert_eq!(made("", How::Names, r#"{"a":1,"A":2}"#), Err(Collision));
        assert_eq!(made("", How::Names, r#"{"a":1," a":1}"#), Err(Collision));
    }

    #[test]
    fn c06_what_is_dropped_is_a_named_member() {
        let check = |at: &str, how: How, want: Option<PointerRejection>| {
            assert_eq!(Change::parse(&ChangeSpec { at: at.to_owned(), how }).err(), want, "{at}");
        };
        check("/a/b", How::Dropped, None);
        check("/*/b", How::Dropped, None);
        check("", How::Dropped, Some(PointerRejection::NoMember));
        check("/a/*", How::Dropped, Some(PointerRejection::NoMember));
        check("", How::Trimmed, None);
        check("a", How::Trimmed, Some(PointerRejection::Form));
    }
}
