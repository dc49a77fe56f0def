//! Strict parser for untrusted JSON: both ends read an accepted text the same way.
//!
//! Refuses a repeated member name, which two readers may resolve differently (RFC 8259 section 4),
//! and nesting beyond a limit. Strings borrow from the input where they can.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// Deepest nesting accepted in a request's body. UCloud's deepest, a job with its resolved
/// application, has 9 levels.
pub const DEPTH_MAX: u8 = 32;

/// The largest integer that a double holds exactly (RFC 7493 section 2.2). Both ends agree on
/// integers up to here.
pub const INTEGER_MAX: i64 = (1 << 53) - 1;

/// Why a text is refused as JSON.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum JsonRejection {
    /// Not JSON (RFC 8259), or followed by more text.
    #[error("not valid JSON")]
    Malformed,
    /// Two members of an object have the same name.
    #[error("an object has two members of the same name")]
    DuplicateMember,
    /// Nested deeper than the limit.
    #[error("nested too deeply")]
    TooDeep,
}

/// A JSON value. An object keeps its members in the order received.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number written as an integer that fits in 64 bits.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Json<'a>>),
    /// An object.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Parses a whole text.
    ///
    /// # Errors
    /// The text is not one JSON value, repeats a member, or is nested deeper than `depth_max`.
    pub fn parse(text: &'a [u8], depth_max: u8) -> Result<Self, JsonRejection> {
        let reason = Cell::new(None);
        // UTF-8 is checked once for the whole text. A body has a hundred short strings, and a check
        // for each takes as long as one for all.
        let text = str::from_utf8(text).map_err(|_| JsonRejection::Malformed)?;
        let mut reader = serde_json::Deserializer::from_str(text);
        let value = Nested { depth_left: depth_max, reason: &reason }
            .deserialize(&mut reader)
            .map_err(|_| reason.get().unwrap_or(JsonRejection::Malformed))?;
        reader.end().map_err(|_| JsonRejection::Malformed)?;
        Ok(value)
    }

    /// The member of that name, if this is an object that has it.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Json<'a>> {
        self.members()?.iter().find(|(member, _)| member == name).map(|(_, value)| value)
    }

    /// The members, if this is an object.
    #[must_use]
    pub fn members(&self) -> Option<&[(Cow<'a, str>, Json<'a>)]> {
        if let Json::Object(members) = self { Some(members) } else { None }
    }

    /// The elements, if this is an array.
    #[must_use]
    pub fn elements(&self) -> Option<&[Json<'a>]> {
        if let Json::Array(elements) = self { Some(elements) } else { None }
    }

    /// The text, if this is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Json::String(text) = self { Some(text) } else { None }
    }

    /// The number, if this is an integer.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        if let Json::Integer(number) = self { Some(*number) } else { None }
    }

    /// The Boolean, if this is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Json::Bool(truth) = self { Some(*truth) } else { None }
    }

    /// Whether Go writes this value for an absent field: null, false, 0, "", [] or {} (protocol,
    /// section 3).
    #[must_use]
    pub fn is_zero(&self) -> bool {
        match self {
            Json::Null | Json::Bool(false) | Json::Integer(0) => true,
            Json::Float(number) => *number == 0.0,
            Json::String(text) => text.is_empty(),
            Json::Array(elements) => elements.is_empty(),
            Json::Object(members) => members.is_empty(),
            Json::Bool(true) | Json::Integer(_) => false,
        }
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(truth) => serializer.serialize_bool(*truth),
            Json::Integer(number) => serializer.serialize_i64(*number),
            Json::Float(number) => serializer.serialize_f64(*number),
            Json::String(text) => serializer.serialize_str(text),
            Json::Array(elements) => serializer.collect_seq(elements),
            Json::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

/// Reads one value within the depth left. `reason` carries the cause, which serde's error cannot.
#[derive(Clone, Copy)]
struct Nested<'r> {
    depth_left: u8,
    reason: &'r Cell<Option<JsonRejection>>,
}

impl Nested<'_> {
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left, ..self }),
            None => Err(self.refuse(JsonRejection::TooDeep)),
        }
    }

    fn refuse<E: serde::de::Error>(self, reason: JsonRejection) -> E {
        self.reason.set(Some(reason));
        E::custom(reason)
    }
}

impl<'de> DeserializeSeed<'de> for Nested<'_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json<'de>, E> {
        Ok(Json::Integer(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Json<'de>, E> {
        i64::try_from(number).map(Json::Integer).map_err(|_| E::custom("integer out of range"))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json<'de>, E> {
        Ok(Json::Float(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json<'de>, A::Error> {
        let inside = self.inside()?;
        let mut elements = Vec::new();
        while let Some(element) = access.next_element_seed(inside)? {
            elements.push(element);
        }
        Ok(Json::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json<'de>, A::Error> {
        let inside = self.inside()?;
        let mut members: Vec<(Cow<'de, str>, Json<'de>)> = Vec::new();
        while let Some(name) = access.next_key_seed(Name)? {
            members.push((name, access.next_value_seed(inside)?));
        }
        if has_duplicate(&members) {
            return Err(self.refuse(JsonRejection::DuplicateMember));
        }
        Ok(Json::Object(members))
    }
}

/// A member's name, borrowed if it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

fn has_duplicate(members: &[(Cow<'_, str>, Json<'_>)]) -> bool {
    /// Up to this count, comparing all pairs is faster than sorting.
    const PAIRWISE_MAX: usize = 12;
    if members.len() <= PAIRWISE_MAX {
        members.iter().enumerate().any(|(i, (name, _))| members.iter().skip(i + 1).any(|(other, _)| other == name))
    } else {
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        names.array_windows().any(|[a, b]| a == b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: Result<(), JsonRejection>) {
        assert_eq!(Json::parse(text.as_bytes(), 8).map(|_| ()), want, "{text}");
    }

    #[test]
    fn v05_a_repeated_member_is_refused_however_it_is_spelt() {
        check(r#"{"a":1,"b":2}"#, Ok(()));
        check(r#"{"a":1,"a":1}"#, Err(JsonRejection::DuplicateMember));
        check(r#"{"a":1,"\u0061":1}"#, Err(JsonRejection::DuplicateMember));
        check(r#"[{"x":{"a":null,"a":null}}]"#, Err(JsonRejection::DuplicateMember));
        let many: Vec<String> = (0..40).map(|i| format!("\"m{i}\":0")).collect();
        check(&format!("{{{}}}", many.join(",")), Ok(()));
        check(&format!("{{{},\"m17\":0}}", many.join(",")), Err(JsonRejection::DuplicateMember));
    }

    #[test]
    fn v07_nesting_beyond_the_limit_is_refused() {
        check(&format!("{}{}", "[".repeat(8), "]".repeat(8)), Ok(()));
        check(&format!("{}{}", "[".repeat(9), "]".repeat(9)), Err(JsonRejection::TooDeep));
        check(&"[".repeat(100_000), Err(JsonRejection::TooDeep));
    }

    #[test]
    fn what_is_not_one_json_value_is_refused() {
        for text in
            ["", "{", "{}{}", "{} x", "nul", "01", "\"\u{1}\"", "{\"a\":1,}", "NaN", "1e999", "18446744073709551615"]
        {
            check(text, Err(JsonRejection::Malformed));
        }
        assert_eq!(Json::parse(b"\xff\"", 8), Err(JsonRejection::Malformed));
        assert_eq!(Json::parse(b"\"\xff\"", 8), Err(JsonRejection::Malformed));
    }

    #[test]
    fn values_come_back_as_they_were() {
        let text = r#"{"b":[1,-2,true,null,"x\"y"],"a":{"c":1.5}}"#;
        let value = Json::parse(text.as_bytes(), 8).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), text);
        assert_eq!(value.member("b").and_then(|b| b.elements()).map(<[Json<'_>]>::len), Some(5));
    }

    #[test]
    fn each_kind_answers_to_its_own_reader_alone() {
        let read = |text: &str| {
            let value = Json::parse(text.as_bytes(), 8).unwrap();
            let (text, integer) = (value.as_str().map(str::to_owned), value.as_integer());
            let counts =
                (value.elements().map(<[Json<'_>]>::len), value.members().map(<[(Cow<'_, str>, Json<'_>)]>::len));
            (text, integer, value.as_bool(), counts)
        };
        let nothing = (None, None, None, (None, None));
        assert_eq!(read("null"), nothing);
        assert_eq!(read("1.5"), nothing);
        assert_eq!(read("\"7\""), (Some("7".to_owned()), None, None, (None, None)));
        assert_eq!(read("7"), (None, Some(7), None, (None, None)));
        assert_eq!(read("-9223372036854775808"), (None, Some(i64::MIN), None, (None, None)));
        assert_eq!(read("true"), (None, None, Some(true), (None, None)));
        assert_eq!(read("false"), (None, None, Some(false), (None, None)));
        assert_eq!(read("[7,7]"), (None, None, None, (Some(2), None)));
        assert_eq!(read("{\"a\":7}"), (None, None, None, (None, Some(1))));
    }

    /// The values that Go writes for a field that was never set.
    #[test]
    fn what_go_writes_for_absent_is_zero_and_nothing_else_is() {
        let is_zero = |text: &str| Json::parse(text.as_bytes(), 8).unwrap().is_zero();
        for text in ["null", "false", "0", "0.0", "-0.0", "\"\"", "[]", "{}"] {
            assert!(is_zero(text), "{text}");
        }
        for text in ["true", "1", "-1", "0.5", "\"0\"", "[0]", "{\"a\":null}"] {
            assert!(!is_zero(text), "{text}");
        }
    }

    /// Both below and above the count at which the comparison changes to sorting.
    #[test]
    fn v05_a_repeated_member_is_found_at_every_place() {
        for count in 2..20_usize {
            for repeated in 0..count - 1 {
                let names = (0..count).map(|i| if i == count - 1 { repeated } else { i });
                let text: Vec<String> = names.map(|i| format!("\"m{i}\":0")).collect();
                check(&format!("{{{}}}", text.join(",")), Err(JsonRejection::DuplicateMember));
            }
        }
    }
}
