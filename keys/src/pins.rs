//! The file of keys that a user pinned in their own account, one key a line, like SSH's
//! `authorized_keys`.
//!
//! ```text
//! ES256 <spki, base64> <kid> <username, base64url> v2 provider=<id> created=<s> expires=<s> <name, to the end of the line>
//! ```
//!
//! Several providers may share a home directory: a line counts only for the provider that it names.
//! Lines of earlier releases name no provider and count for every one.
//!
//! An instance believes this file, and nothing that the server says about keys (P3). Parsing fails
//! on a malformed line and never skips one: the owner would believe that a key is pinned when it is
//! not.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::identity::{KeyId, ProviderId, Username};
use crate::keyring::{Algorithm, KeyRecord, KeyState, Protocol};
use crate::time::Timestamp;

/// Longest file accepted, in bytes: about a thousand keys.
pub const PINS_MAX: usize = 1024 * 1024;

/// A malformed line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {field} is missing or malformed")]
pub struct PinRejection {
    /// The line, counted from 1.
    pub line: usize,
    /// The part of the line that is malformed.
    pub field: &'static str,
}

/// The providers for which a pinned key counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Scope {
    /// This provider only.
    Provider(ProviderId),
    /// Every provider: the line is from a release that named none.
    Every,
}

/// A pinned key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pin {
    /// The providers for which the key counts.
    pub scope: Scope,
    /// The key.
    pub key: KeyRecord,
}

impl Pin {
    fn counts_at(&self, provider: &ProviderId) -> bool {
        match &self.scope {
            Scope::Provider(named) => named == provider,
            Scope::Every => true,
        }
    }
}

/// One line of the file: a pinned key, or a comment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Line {
    /// A key.
    Key(Pin),
    /// A comment or an empty line, kept unchanged.
    Other(String),
}

/// A parsed file of pinned keys. Writing it back loses no line.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pins {
    lines: Vec<Line>,
}

impl Pins {
    /// Parses the text of a file.
    ///
    /// # Errors
    /// The first malformed line.
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

    /// The pinned keys of all providers.
    pub fn all(&self) -> impl Iterator<Item = &Pin> {
        self.lines.iter().filter_map(|line| match line {
            Line::Key(pin) => Some(pin),
            Line::Other(_) => None,
        })
    }

    /// The keys that count for a provider.
    pub fn keys_at(&self, provider: &ProviderId) -> impl Iterator<Item = &KeyRecord> {
        self.all().filter(|pin| pin.counts_at(provider)).map(|pin| &pin.key)
    }

    /// The keys that count only for another provider, each with that provider.
    pub fn keys_elsewhere(&self, provider: &ProviderId) -> impl Iterator<Item = (&ProviderId, &KeyRecord)> {
        self.all().filter_map(move |pin| match &pin.scope {
            Scope::Provider(named) if named != provider => Some((named, &pin.key)),
            Scope::Provider(_) | Scope::Every => None,
        })
    }

    /// Appends a key for a provider. Replaces a key of the same owner and id that counts there.
    pub fn add(&mut self, provider: &ProviderId, key: KeyRecord) {
        self.remove(provider, &key.owner, key.kid);
        self.lines.push(Line::Key(Pin { scope: Scope::Provider(provider.clone()), key }));
    }

    /// Removes a key that counts for a provider, and returns whether there was one.
    pub fn remove(&mut self, provider: &ProviderId, owner: &Username, kid: KeyId) -> bool {
        let before = self.lines.len();
        let is_meant = |pin: &Pin| pin.counts_at(provider) && pin.key.kid == kid && pin.key.owner == *owner;
        self.lines.retain(|line| !matches!(line, Line::Key(pin) if is_meant(pin)));
        self.lines.len() < before
    }
}

impl fmt::Display for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            match line {
                Line::Other(text) => writeln!(f, "{text}")?,
                Line::Key(Pin { scope, key }) => {
                    let KeyRecord { owner, kid, algorithm, spki, protocol, state: _, created, expires, name } = key;
                    let provider = match scope {
                        Scope::Provider(provider) => format!(" provider={provider}"),
                        Scope::Every => String::new(),
                    };
                    let owner = URL_SAFE_NO_PAD.encode(owner.as_str());
                    let (version, created, expires) = (u8::from(*protocol), created.seconds(), expires.seconds());
                    let algorithm = algorithm.as_str();
                    let name = on_one_line(name);
                    writeln!(
                        f,
                        "{algorithm} {spki} {kid} {owner} v{version}{provider} created={created} expires={expires} {name}"
                    )?;
                }
            }
        }
        Ok(())
    }
}

/// Replaces control characters in a name, which is free text. They must neither start another line
/// nor reach a terminal.
fn on_one_line(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn parse_line(line: &str) -> Result<Pin, &'static str> {
    let mut rest = line;
    let mut field = |name: &'static str| {
        let (text, after) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = after;
        if text.is_empty() { Err(name) } else { Ok(text) }
    };
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
    let seconds = |text: &str, name: &'static str, prefix: &str| {
        let text = text.strip_prefix(prefix).ok_or(name)?;
        text.parse().map(Timestamp::from_seconds).map_err(|_| name)
    };
    let fifth = field("the time created=")?;
    // The provider comes before the times and the name comes last. A name that contains `provider=`
    // can therefore never be read as the provider.
    let (scope, created) = match fifth.strip_prefix("provider=") {
        None => (Scope::Every, fifth),
        Some(id) => {
            let provider = ProviderId::parse(id).map_err(|_| "the provider=")?;
            (Scope::Provider(provider), field("the time created=")?)
        }
    };
    let created = seconds(created, "the time created=", "created=")?;
    let expires = seconds(field("the time expires=")?, "the time expires=", "expires=")?;
    let name = on_one_line(rest);
    let key = KeyRecord { owner, kid, algorithm, spki, protocol, state: KeyState::Active, created, expires, name };
    key.verification_key().map_err(|_| "the key")?;
    Ok(Pin { scope, key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::VerificationKey;

    fn provider(id: &str) -> ProviderId {
        ProviderId::parse(id).unwrap()
    }

    fn names_at(pins: &Pins, at: &str) -> Vec<String> {
        pins.keys_at(&provider(at)).map(|key| key.name.clone()).collect()
    }

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
        pins.add(&provider("hpc"), record(1, "Firefox on the laptop"));
        pins.add(&provider("hpc"), record(2, ""));
        pins.add(&provider("hpc"), KeyRecord { protocol: Protocol::V1, ..record(3, "of version 1") });
        let text = pins.to_string();
        assert_eq!(Pins::parse(&text).unwrap(), pins);
        assert!(text.starts_with("# mine\n\nES256 "));
        assert_eq!(pins.keys_at(&provider("hpc")).count(), 3);
    }

    #[test]
    fn a_key_is_replaced_and_removed_by_its_owner_and_id() {
        let mut pins = Pins::default();
        pins.add(&provider("hpc"), record(1, "a"));
        pins.add(&provider("hpc"), record(1, "b"));
        assert_eq!(names_at(&pins, "hpc"), ["b"]);
        assert!(!pins.remove(&provider("hpc"), &Username::parse("other").unwrap(), KeyId::from_bytes([1; 16])));
        assert!(pins.remove(&provider("hpc"), &record(1, "").owner, KeyId::from_bytes([1; 16])));
        assert_eq!(pins, Pins::default());
    }

    #[test]
    fn r03_a_key_counts_only_at_the_provider_that_its_line_names() {
        let mut pins = Pins::default();
        pins.add(&provider("hpc"), record(1, "of hpc"));
        pins.add(&provider("lab"), record(1, "of lab"));
        pins.add(&provider("lab"), record(2, "of lab, too"));
        assert_eq!(names_at(&pins, "hpc"), ["of hpc"]);
        assert_eq!(names_at(&pins, "lab"), ["of lab", "of lab, too"]);
        assert_eq!(names_at(&pins, "other"), [""; 0]);
        let hpc = provider("hpc");
        let elsewhere = |pins: &Pins| {
            let elsewhere = pins.keys_elsewhere(&hpc).map(|(at, key)| (at.to_string(), key.name.clone()));
            elsewhere.collect::<Vec<_>>()
        };
        assert_eq!(elsewhere(&pins), ["of lab", "of lab, too"].map(|name| ("lab".to_owned(), name.to_owned())));
        let pins_read = Pins::parse(&pins.to_string()).unwrap();
        assert_eq!((&pins_read, elsewhere(&pins_read).len()), (&pins, 2));
        // One provider's change leaves the other's line alone.
        assert!(pins.remove(&provider("hpc"), &record(1, "").owner, KeyId::from_bytes([1; 16])));
        assert_eq!((names_at(&pins, "hpc").len(), names_at(&pins, "lab").len()), (0, 2));
    }

    #[test]
    fn r03_a_line_without_a_provider_counts_at_every_one_until_one_pins_it_again() {
        let mut pins = Pins::default();
        pins.add(&provider("hpc"), record(1, "provider=lab created=1"));
        let earlier = pins.to_string().replacen(" provider=hpc", "", 1);
        let mut pins = Pins::parse(&earlier).unwrap();
        assert_eq!(pins.to_string(), earlier, "it is kept as it is");
        for at in ["hpc", "lab"] {
            assert_eq!(names_at(&pins, at), ["provider=lab created=1"]);
            assert_eq!(pins.keys_elsewhere(&provider(at)).count(), 0);
        }
        pins.add(&provider("hpc"), record(1, "again"));
        assert_eq!((names_at(&pins, "hpc"), names_at(&pins, "lab")), (vec!["again".to_owned()], vec![]));
    }

    #[test]
    fn a_name_cannot_begin_a_line() {
        let mut pins = Pins::default();
        pins.add(&provider("hpc"), record(1, "x\nES256 evil"));
        assert_eq!(pins.to_string().lines().count(), 1);
    }

    #[test]
    fn what_steers_a_terminal_is_no_part_of_a_name_that_is_read() {
        let mut pins = Pins::default();
        pins.add(&provider("hpc"), record(1, "laptop"));
        let pins = Pins::parse(&pins.to_string().replace("laptop", "lap\u{1b}top\u{0}")).unwrap();
        assert_eq!(names_at(&pins, "hpc"), ["lap top "]);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_an_error() {
        let mut pins = Pins::default();
        pins.add(&provider("hpc"), record(1, "x"));
        let good = pins.to_string();
        let check = |find: &str, replace: &str, want: &'static str| {
            assert!(good.contains(find), "{find}");
            let text = format!("# first\n{}", good.replacen(find, replace, 1));
            assert_eq!(Pins::parse(&text), Err(PinRejection { line: 2, field: want }), "{replace}");
        };
        check("ES256", "ES384", "the algorithm");
        check("ES256", "EdDSA", "the key");
        check(" v2", " v3", "the version");
        check("provider=hpc", "provider=", "the provider=");
        check("provider=hpc", "provider=h/c", "the provider=");
        check("provider=hpc", "provider=hpc provider=lab", "the time created=");
        check("provider=hpc", "Provider=hpc", "the time created=");
        check("created=1", "created=", "the time created=");
        check("expires=2", "2", "the time expires=");
        check("AQEBAQEBAQEBAQEBAQEBAQ", "AQEB", "the key id");
        check(" v2 provider=hpc created=1 expires=2 x", "", "the version");
        assert!(Pins::parse("something else").is_err());
    }
}
