//! Writes JSON in canonical form (RFC 8785).
//!
//! One pass into one buffer. The tests compare the result with other implementations.

use std::cmp::Ordering;

use crate::json::Json;

/// The canonical form of a value.
#[must_use]
pub fn canonical(value: &Json<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    write(value, &mut text);
    text
}

/// Writes an object with these members.
pub(crate) fn write_object<'m, 'a: 'm>(members: impl Iterator<Item = (&'m str, &'m Json<'a>)>, text: &mut Vec<u8>) {
    let mut members: Vec<_> = members.collect();
    members.sort_by(|(one, _), (other, _)| in_order_of_utf16(one, other));
    text.push(b'{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        write_string(name, text);
        text.push(b':');
        write(value, text);
    }
    text.push(b'}');
}

fn write(value: &Json<'_>, text: &mut Vec<u8>) {
    match value {
        Json::Null => text.extend_from_slice(b"null"),
        Json::Bool(true) => text.extend_from_slice(b"true"),
        Json::Bool(false) => text.extend_from_slice(b"false"),
        Json::Integer(number) => text.extend_from_slice(number.to_string().as_bytes()),
        // As ECMAScript writes it (RFC 8785 section 3.2.2.3). Never infinite: JSON has no text for
        // that.
        Json::Float(number) => text.extend_from_slice(ryu_js::Buffer::new().format(*number).as_bytes()),
        Json::String(string) => write_string(string, text),
        Json::Array(elements) => {
            text.push(b'[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                write(element, text);
            }
            text.push(b']');
        }
        Json::Object(members) => write_object(members.iter().map(|(name, value)| (name.as_ref(), value)), text),
    }
}

/// Escapes only what RFC 8785 section 3.2.2.2 requires, with the shortest escape.
fn write_string(string: &str, text: &mut Vec<u8>) {
    text.push(b'"');
    for byte in string.bytes() {
        match byte {
            b'"' => text.extend_from_slice(b"\\\""),
            b'\\' => text.extend_from_slice(b"\\\\"),
            0x08 => text.extend_from_slice(b"\\b"),
            b'\t' => text.extend_from_slice(b"\\t"),
            b'\n' => text.extend_from_slice(b"\\n"),
            0x0c => text.extend_from_slice(b"\\f"),
            b'\r' => text.extend_from_slice(b"\\r"),
            0x00..=0x1f => text.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => text.push(byte),
        }
    }
    text.push(b'"');
}

/// Compares by UTF-16 code unit (RFC 8785 section 3.2.3). The order of UTF-8 bytes differs only for
/// characters beyond the Basic Multilingual Plane.
fn in_order_of_utf16(one: &str, other: &str) -> Ordering {
    if one.is_ascii() || other.is_ascii() {
        return one.as_bytes().cmp(other.as_bytes());
    }
    one.encode_utf16().cmp(other.encode_utf16())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;

    fn canonical(value: &Json<'_>) -> String {
        String::from_utf8(super::canonical(value)).unwrap()
    }

    fn check(text: &str, want: &str) {
        assert_eq!(canonical(&Json::parse(text.as_bytes(), 8).unwrap()), want);
    }

    #[test]
    fn the_examples_of_rfc_8785() {
        check(
            r#"{"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#,
            "{\"literals\":[null,true,false],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}",
        );
        check(
            r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#,
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}",
        );
    }

    /// RFC 8785, appendix B: the bits of an IEEE 754 double, and its text.
    #[test]
    fn c06_numbers_are_spelt_as_rfc_8785_spells_them() {
        let vectors: Vec<(String, String)> =
            serde_json::from_str(include_str!("../tests/vectors/numbers.json")).unwrap();
        assert!(vectors.len() >= 20);
        for (bits, want) in vectors {
            let number = f64::from_bits(u64::from_str_radix(&bits, 16).unwrap());
            assert_eq!(canonical(&Json::Float(number)), want, "{bits}");
            // Parsing the text gives the same bits.
            check(&want, &want);
        }
    }

    /// Any value, with names and strings that are hard to sort and to escape.
    fn values() -> impl Strategy<Value = Json<'static>> {
        let text = || "[\\x00-\\x1f\"\\\\/a-c\u{7f}é€\u{fb33}\u{ffff}😀\u{10ffff}]{0,6}";
        let integer = -crate::json::INTEGER_MAX..=crate::json::INTEGER_MAX;
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            integer.prop_map(Json::Integer),
            (prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO).prop_map(Json::Float),
            text().prop_map(|text| Json::String(Cow::Owned(text))),
        ];
        leaf.prop_recursive(4, 32, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Json::Array),
                prop::collection::btree_map(text(), inner, 0..6).prop_map(|members| {
                    Json::Object(members.into_iter().map(|(name, value)| (Cow::Owned(name), value)).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn another_implementation_writes_the_same(value in values()) {
            prop_assert_eq!(canonical(&value), serde_json_canonicalizer::to_string(&value).unwrap());
        }
    }
}
