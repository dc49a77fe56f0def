//! The keys that users pinned in their own account, one a line, in the manner of SSH's `authorized_keys`.
//!
//! ```text
//! ES256 <spki, base64> <kid> <username, base64url> v2 created=<s> expires=<s> <name, to the end of the line>
//! ```
//!
//! An instance believes this file and nothing that the server says (P3). A line that cannot be read is an error, never skipped: a key that its
//! owner thinks pinned and is not, or the reverse, is worse than a file that has to be mended.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::identity::{KeyId, Username};
use crate::keyring::{Algorithm, KeyRecord, KeyState, Protocol};
use crate::time::Timestamp;

/// Longest file read, in bytes: a thousand keys.
pub const PINS_MAX: usize = 1024 * 1024;

/// A line that cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {field} is missing or malformed")]
pub struct PinRejection {
    /// Counted from 1.
    pub line: usize,
    /// Which part of it.
    pub field: &'static str,
}

/// One line of the file: a pinned key, or something that people wrote.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Line {
    /// A key.
    Key(KeyRecord),
    /// A comment or an empty line, kept as it is.
    Other(String),
}

/// A file of pinned keys, line by line, so that it can be written back without losing anything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pins {
    lines: Vec<Line>,
}

impl Pins {
    /// Reads a file's text.
    ///
    /// # Errors
    /// The first line that cannot be read.
    pub fn parse(text: &str) -> Result<Self, PinRejection> {
        let read = |(at, line): (usize, &str)| {
            if line.trim().is_empty() || line.starts_with('#') {
                Ok(Line::Other(line.to_owned()))
            } else {
                parse_line(line).map(Line::Key).map_err(|field| PinRejection { line: at.saturating_add(1), field })
            }
        };
        Ok(Self { lines: text.lines().enumerate().map(read).collect::<Result<_, _>>()? })
    }

    /// The pinned keys.
    pub fn keys(&self) -> impl Iterator<Item = &KeyRecord> {
        self.lines.iter().filter_map(|line| match line {
            Line::Key(key) => Some(key),
            Line::Other(_) => None,
        })
    }

    /// Adds a key at the end, in place of one of the same user and id.
    pub fn add(&mut self, key: KeyRecord) {
        self.remove(&key.owner, key.kid);
        self.lines.push(Line::Key(key));
    }

    /// Takes a key out; says whether it was there.
    pub fn remove(&mut self, owner: &Username, kid: KeyId) -> bool {
        let before = self.lines.len();
        self.lines.retain(|line| !matches!(line, Line::Key(key) if key.kid == kid && key.owner == *owner));
        self.lines.len() < before
    }
}

impl fmt::Display for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            match line {
                Line::Other(text) => writeln!(f, "{text}")?,
                Line::Key(key) => {
                    let KeyRecord { owner, kid, algorithm, spki, protocol, state: _, created, expires, name } = key;
                    let owner = URL_SAFE_NO_PAD.encode(owner.as_str());
                    let (version, created, expires) = (u8::from(*protocol), created.seconds(), expires.seconds());
                    let algorithm = algorithm.as_str();
                    let name = on_one_line(name);
                    writeln!(
                        f,
                        "{algorithm} {spki} {kid} {owner} v{version} created={created} expires={expires} {name}"
                    )?;
                }
            }
        }
        Ok(())
    }
}

/// A name is free text; a control character in it must neither begin a line of its own nor reach a terminal.
fn on_one_line(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn parse_line(line: &str) -> Result<KeyRecord, &'static str> {
    let mut fields = line.splitn(8, ' ');
    let mut field = |name: &'static str| fields.next().filter(|text| !text.is_empty()).ok_or(name);
    let algorithm = Algorithm::parse(field("the algorithm")?).ok_or("the algorithm")?;
    let spki = field("the key")?.to_owned();
    let kid = KeyId::parse(field("the key id")?).map_err(|_| "the key id")?;
    let owner = URL_SAFE_NO_PAD.decode(field("the username")?).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let owner = owner.and_then(|text| Username::parse(&text).ok()).ok_or("the username")?;
    let protocol = match field("the version")? {
        "v1" => Protocol::V1,
        "v2" => Protocol::V2,
        _ => return Err("the version"),
    };
    let mut seconds = |name: &'static str, prefix: &str| {
        let text = field(name)?.strip_prefix(prefix).ok_or(name)?;
        text.parse().map(Timestamp::from_seconds).map_err(|_| name)
    };
    let created = seconds("the time created=", "created=")?;
    let expires = seconds("the time expires=", "expires=")?;
    let name = on_one_line(fields.next().unwrap_or_default());
    let record = KeyRecord { owner, kid, algorithm, spki, protocol, state: KeyState::Active, created, expires, name };
    record.verification_key().map_err(|_| "the key")?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keyring::VerificationKey;

    fn record(kid: u8, name: &str) -> KeyRecord {
        let jwk = br#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
        let key = VerificationKey::from_jwk(jwk, Algorithm::Es256).unwrap();
        let lifetime = (Timestamp::from_seconds(1), Timestamp::from_seconds(2));
        let owner = Username::parse("Ælice #1234").unwrap();
        KeyRecord::new(owner, KeyId::from_bytes([kid; 16]), &key, Protocol::V2, lifetime, name.to_owned())
    }

    #[test]
    fn a_file_reads_back_as_it_was_written() {
        let mut pins = Pins::parse("# mine\n\n").unwrap();
        pins.add(record(1, "Firefox on the laptop"));
        pins.add(record(2, ""));
        pins.add(KeyRecord { protocol: Protocol::V1, ..record(3, "of version 1") });
        let text = pins.to_string();
        assert_eq!(Pins::parse(&text).unwrap(), pins);
        assert!(text.starts_with("# mine\n\nES256 "));
        assert_eq!(pins.keys().count(), 3);
    }

    #[test]
    fn a_key_is_replaced_and_removed_by_its_owner_and_id() {
        let mut pins = Pins::default();
        pins.add(record(1, "a"));
        pins.add(record(1, "b"));
        assert_eq!(pins.keys().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["b"]);
        assert!(!pins.remove(&Username::parse("other").unwrap(), KeyId::from_bytes([1; 16])));
        assert!(pins.remove(&record(1, "").owner, KeyId::from_bytes([1; 16])));
        assert_eq!(pins, Pins::default());
    }

    #[test]
    fn a_name_cannot_begin_a_line() {
        let mut pins = Pins::default();
        pins.add(record(1, "x\nES256 evil"));
        assert_eq!(pins.to_string().lines().count(), 1);
    }

    #[test]
    fn what_steers_a_terminal_is_no_part_of_a_name_that_is_read() {
        let mut pins = Pins::default();
        pins.add(record(1, "laptop"));
        let pins = Pins::parse(&pins.to_string().replace("laptop", "lap\u{1b}top\u{0}")).unwrap();
        assert_eq!(pins.keys().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["lap top "]);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_an_error() {
        let mut pins = Pins::default();
        pins.add(record(1, "x"));
        let good = pins.to_string();
        let check = |find: &str, replace: &str, want: &'static str| {
            assert!(good.contains(find), "{find}");
            let text = format!("# first\n{}", good.replacen(find, replace, 1));
            assert_eq!(Pins::parse(&text), Err(PinRejection { line: 2, field: want }), "{replace}");
        };
        check("ES256", "ES384", "the algorithm");
        check("ES256", "EdDSA", "the key");
        check(" v2", " v3", "the version");
        check("created=1", "created=", "the time created=");
        check("expires=2", "2", "the time expires=");
        check("AQEBAQEBAQEBAQEBAQEBAQ", "AQEB", "the key id");
        check(" v2 created=1 expires=2 x", "", "the version");
        assert!(Pins::parse("something else").is_err());
    }
}
