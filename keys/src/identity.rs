//! Names of users, projects, providers, calls, origins, keys and accounts, each checked when it is
//! made.
//!
//! A value of one of these types is well-formed. Later stages show that it is true.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, Serializer};

/// Longest UCloud username accepted, in bytes. UCloud's own are under 100. The limit keeps store
/// keys, log lines and headers small.
pub const USERNAME_MAX: usize = 256;

/// Longest project id accepted, in bytes. UCloud's are UUIDs or short words.
pub const PROJECT_MAX: usize = 128;

/// Most digits in Core's id of a job: 63 bits.
pub const CORE_JOB_ID_MAX: usize = 19;

/// Longest name of a public link, in bytes. With prefix and suffix of the site it fits into one
/// label of 63 bytes.
pub const LINK_NAME_MAX: usize = 32;

/// A malformed name. The text says which rule the name breaks, and never quotes the name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IdentityRejection {
    /// Empty, too long, or with control characters.
    #[error("the username is empty, longer than {USERNAME_MAX} bytes, or has control characters")]
    Username,
    /// Not padded base64 of the expected alphabet, or not UTF-8 inside.
    #[error("the username is not canonical base64 of UTF-8")]
    UsernameEncoding,
    /// Empty, too long, or with control characters.
    #[error("the project is empty, longer than {PROJECT_MAX} bytes, or has control characters")]
    Project,
    /// Not a UUID in lower case.
    #[error("a project's id is a UUID in lower case")]
    ProjectId,
    /// Not 1 to 64 letters, digits, `-` or `_`.
    #[error("a provider id is 1 to 64 letters, digits, '-' or '_'")]
    Provider,
    /// Not `https://host[:port]` in its canonical spelling.
    #[error(
        "an origin is https://host[:port], in lower case, without a default port, path or trailing slash (http only for a loop-back address)"
    )]
    Origin,
    /// Not base64url of 16 bytes.
    #[error("a key id is base64url of 16 bytes")]
    KeyId,
    /// Not 1 to 64 letters, digits, dots, `-` or `_`.
    #[error("a call name is 1 to 64 letters, digits, '.', '-' or '_'")]
    CallName,
    /// Not 1 to 19 digits.
    #[error("a job's id is 1 to {CORE_JOB_ID_MAX} digits")]
    CoreJobId,
    /// Not 1 to 19 digits.
    #[error("the id of a public link or licence is 1 to {CORE_JOB_ID_MAX} digits")]
    CoreResourceId,
    /// Not 1 to 32 lower-case letters, digits and single hyphens.
    #[error(
        "a public link's name is 1 to {LINK_NAME_MAX} lower-case letters and digits, and single hyphens between them"
    )]
    LinkName,
}

/// Makes a string newtype. `parse` is the only constructor, also for serde. The text is shared,
/// because one request passes its user's name to many places.
macro_rules! checked_string {
    ($(#[$meta:meta])* $name:ident, $rejection:expr, $check:expr) => {
        $(#[$meta])*
        #[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and copies the text.
            ///
            /// # Errors
            /// The rule that the text breaks.
            pub fn parse(text: &str) -> Result<Self, IdentityRejection> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(Arc::from(text))) } else { Err($rejection) }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdentityRejection;

            fn try_from(text: String) -> Result<Self, IdentityRejection> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

checked_string!(
    /// A UCloud username, such as `Alice#1234`. Compared byte for byte, without case folding or
    /// normalisation.
    Username,
    IdentityRejection::Username,
    |text| !text.is_empty() && text.len() <= USERNAME_MAX && !text.chars().any(char::is_control)
);

checked_string!(
    /// A UCloud project's id.
    Project,
    IdentityRejection::Project,
    |text| !text.is_empty() && text.len() <= PROJECT_MAX && !text.chars().any(char::is_control)
);

checked_string!(
    /// A UCloud project's id as Core makes them (RFC 9562, in lower case), which therefore can
    /// stand anywhere.
    ProjectId,
    IdentityRejection::ProjectId,
    is_uuid
);

checked_string!(
    /// The provider's id, as in every path (`/ucloud/{p}/…`).
    ProviderId,
    IdentityRejection::Provider,
    |text| (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
);

checked_string!(
    /// The name of a call on the user's side, such as `files.move`.
    CallName,
    IdentityRejection::CallName,
    |text| (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
);

checked_string!(
    /// Core's id of a job. Core chooses it after the user has signed, so it is a label and never an
    /// authority (protocol, section 12). Digits only, so it is safe as a file name.
    CoreJobId,
    IdentityRejection::CoreJobId,
    is_core_number
);

checked_string!(
    /// Core's id of a public link or a licence, of which the same holds.
    CoreResourceId,
    IdentityRejection::CoreResourceId,
    is_core_number
);

checked_string!(
    /// What the host name of a public link says between the site's prefix and suffix. The user
    /// signs it. Part of one label, and of none that browsers show as another (`xn--`, RFC 5890).
    LinkName,
    IdentityRejection::LinkName,
    is_link_name
);

checked_string!(
    /// A web origin (RFC 6454) in its canonical spelling, so that equal origins have equal bytes.
    Origin,
    IdentityRejection::Origin,
    is_canonical_origin
);

fn is_uuid(text: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.split('-').all(is_hex)
}

fn is_core_number(text: &str) -> bool {
    (1..=CORE_JOB_ID_MAX).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit())
}

fn is_link_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=LINK_NAME_MAX).contains(&text.len())
        && text.bytes().all(is_plain)
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--")
}

impl Username {
    /// Reads the `UCloud-Username` header: standard base64 with padding of the UTF-8 name.
    ///
    /// # Errors
    /// The encoding is not canonical, or the name breaks its rule.
    pub fn from_header(value: &[u8]) -> Result<Self, IdentityRejection> {
        Self::decode(&STANDARD, value)
    }

    /// Reads a `usernameHint`. Core writes it in the URL-safe alphabet. UCloud's frontend uses the
    /// standard alphabet without percent-encoding, so a plus sign may arrive as a space.
    ///
    /// # Errors
    /// Neither alphabet fits, or the name breaks its rule.
    pub fn from_hint(value: &str) -> Result<Self, IdentityRejection> {
        let restored = value.replace(' ', "+");
        Self::decode(&URL_SAFE, restored.as_bytes()).or_else(|_| Self::decode(&STANDARD, restored.as_bytes()))
    }

    /// The name as the value of the `UCloud-Username` header.
    #[must_use]
    pub fn to_header(&self) -> String {
        STANDARD.encode(self.as_str())
    }

    fn decode(engine: &impl base64::Engine, value: &[u8]) -> Result<Self, IdentityRejection> {
        // Four characters carry three bytes, so longer input cannot be an acceptable name.
        if value.len() > USERNAME_MAX.div_ceil(3) * 4 {
            return Err(IdentityRejection::Username);
        }
        let bytes = engine.decode(value).map_err(|_| IdentityRejection::UsernameEncoding)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| IdentityRejection::UsernameEncoding)?;
        Self::parse(text)
    }
}

impl Origin {
    /// The host, without scheme and port. An IPv6 address keeps its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        split_origin(self.as_str()).map_or("", |(_, host, _)| host)
    }

    /// The explicit port, or the scheme's default.
    #[must_use]
    pub fn port(&self) -> u16 {
        match split_origin(self.as_str()) {
            Some((_, _, Some(port))) => port.parse().unwrap_or(0),
            Some(("https", _, None)) => 443,
            _ => 80,
        }
    }

    /// Whether the scheme is `https`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.as_str().starts_with("https://")
    }
}

fn split_origin(text: &str) -> Option<(&str, &str, Option<&str>)> {
    let (scheme, authority) = text.split_once("://")?;
    let host_end = if authority.starts_with('[') {
        authority.find(']')?.checked_add(1)?
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, rest) = authority.split_at_checked(host_end)?;
    match rest.strip_prefix(':') {
        Some(port) => Some((scheme, host, Some(port))),
        None if rest.is_empty() => Some((scheme, host, None)),
        None => None,
    }
}

fn is_canonical_origin(text: &str) -> bool {
    let Some((scheme, host, port)) = split_origin(text) else {
        return false;
    };
    let port_fits = match port {
        None => true,
        Some(port) => {
            let default = if scheme == "https" { 443 } else { 80 };
            port.parse::<u16>().is_ok_and(|n| n != 0 && n != default && n.to_string() == port)
        }
    };
    let host_fits = if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        address.parse::<std::net::Ipv6Addr>().is_ok_and(|parsed| parsed.to_string() == address)
    } else {
        (1..=253).contains(&host.len())
            && host.split('.').all(|label| {
                (1..=63).contains(&label.len())
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            })
    };
    let scheme_fits = match scheme {
        "https" => true,
        "http" => is_loop_back(host),
        _ => false,
    };
    scheme_fits && host_fits && port_fits
}

fn is_loop_back(host: &str) -> bool {
    host == "localhost"
        || host == "[::1]"
        || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// A key's id: 16 random bytes, so that it says nothing about the key (protocol, section 1).
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// Makes a key id from these random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads the 22 characters of base64url.
    ///
    /// # Errors
    /// The text is not the canonical encoding of 16 bytes.
    pub fn parse(text: &str) -> Result<Self, IdentityRejection> {
        let mut bytes = [0; 16];
        match (text.len(), URL_SAFE_NO_PAD.decode_slice(text, &mut bytes)) {
            (22, Ok(16)) => Ok(Self(bytes)),
            _ => Err(IdentityRejection::KeyId),
        }
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for KeyId {
    type Error = IdentityRejection;

    fn try_from(text: String) -> Result<Self, IdentityRejection> {
        Self::parse(&text)
    }
}

impl From<KeyId> for String {
    fn from(kid: KeyId) -> Self {
        kid.to_string()
    }
}

/// The number of a local account.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Uid(pub u32);

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_come_from_the_header_in_one_spelling() {
        let check = |value: &str, want: Option<&str>| {
            assert_eq!(Username::from_header(value.as_bytes()).ok().as_ref().map(Username::as_str), want, "{value}");
        };
        check("w4ZsaWNlIzEyMzQ=", Some("Ælice#1234")); // as captured from Core
        check("dXNlcg==", Some("user"));
        check("dXNlcg", None); // no padding
        check("dXNlch==", None); // stray bits
        check("", None);
        check("AA==", None); // NUL
        check("/w==", None); // not UTF-8
        check(&STANDARD.encode("a".repeat(USERNAME_MAX)), Some(&"a".repeat(USERNAME_MAX)));
        check(&STANDARD.encode("a".repeat(USERNAME_MAX + 1)), None);
        assert_eq!(Username::parse("Ælice#1234").unwrap().to_header(), "w4ZsaWNlIzEyMzQ=");
    }

    #[test]
    fn a_projects_id_is_a_uuid_in_lower_case() {
        let check = |text: &str, want: bool| assert_eq!(ProjectId::parse(text).is_ok(), want, "{text}");
        check("0b5bd6d5-2b8a-4d3c-9f5e-3a3f7d9c1e20", true);
        check("0B5bd6d5-2b8a-4d3c-9f5e-3a3f7d9c1e20", false);
        check("0b5bd6d52b8a4d3c9f5e3a3f7d9c1e20", false);
        check("0b5bd6d5-2b8a-4d3c-9f5e-3a3f7d9c1e2g", false);
        check("0b5bd6d5-2b8a-4d3c-9f5e-3a3f7d9c1e20-", false);
        check("../../..-....-....-....-............", false);
        check("", false);
    }

    #[test]
    fn hints_come_in_both_alphabets_and_survive_a_lost_plus() {
        let name = Username::parse("??>>~~ø").unwrap();
        let check = |value: &str| assert_eq!(Username::from_hint(value).unwrap(), name, "{value}");
        check(&URL_SAFE.encode(name.as_str()));
        check(&STANDARD.encode(name.as_str()));
        check(&STANDARD.encode(name.as_str()).replace('+', " "));
    }

    #[test]
    fn origins_have_one_spelling() {
        let check = |text: &str, want: bool| assert_eq!(Origin::parse(text).is_ok(), want, "{text}");
        check("https://hpc.example.org", true);
        check("https://hpc.example.org:8443", true);
        check("http://127.0.0.1:8889", true);
        check("http://localhost:1", true);
        check("http://[::1]:8889", true);
        check("https://[2001:db8::1]", true);
        check("https://[2001:DB8::1]", false);
        check("http://hpc.example.org", false);
        check("https://HPC.example.org", false);
        check("https://hpc.example.org/", false);
        check("https://hpc.example.org:443", false);
        check("https://hpc.example.org:0443", false);
        check("https://hpc.example.org:", false);
        check("https://user@hpc.example.org", false);
        check("https://hpc..example.org", false);
        check("https://høj.example.org", false);
        check("https://", false);
        check("null", false);
        let origin = Origin::parse("https://hpc.example.org:8443").unwrap();
        assert_eq!((origin.host(), origin.port(), origin.is_https()), ("hpc.example.org", 8443, true));
        assert_eq!(Origin::parse("https://hpc.example.org").unwrap().port(), 443);
        let local = Origin::parse("http://[::1]").unwrap();
        assert_eq!((local.port(), local.is_https()), (80, false));
    }

    #[test]
    fn an_origin_is_scheme_host_and_port_and_nothing_else() {
        let check = |text: &str, want: bool| assert_eq!(Origin::parse(text).is_ok(), want, "{text}");
        check("https://[2001:db8::1]junk", false);
        check("https://[2001:db8::1]junk:8443", false);
        check("https://[2001:db8::1", false);
        check("ftp://hpc.example.org", false);
        check("http://127.0.0.1:443", true);
        check("http://127.0.0.1:80", false);
        check("http://128.0.0.1", false);
        check("http://[::2]", false);
        check("https://hpc.example.org:80", true);
        check("https://hpc.example.org:0", false);
        check("https://hpc.example.org:65535", true);
        check("https://hpc.example.org:65536", false);
        check("https://hpc-1.example.org", true);
        check("https://-hpc.example.org", false);
        check("https://hpc-.example.org", false);
        check("https://hpc_1.example.org", false);
        let label = |length: usize| "h".repeat(length);
        check(&format!("https://{}.org", label(63)), true);
        check(&format!("https://{}.org", label(64)), false);
        let host = |last: usize| format!("https://{0}.{0}.{0}.{1}", label(63), label(last));
        check(&host(61), true);
        check(&host(62), false);
    }

    #[test]
    fn ids_of_jobs_are_digits() {
        let check = |text: &str, want: bool| assert_eq!(CoreJobId::parse(text).is_ok(), want, "{text:?}");
        check("54112", true);
        check("0", true);
        check(&"9".repeat(19), true);
        check(&"9".repeat(20), false);
        for bad in ["", "-1", "+1", "1.0", " 1", "1\n", "1/2", "..", "١", "0x1"] {
            check(bad, false);
        }
    }

    #[test]
    fn names_of_links_are_part_of_one_label() {
        let check = |text: &str, want: bool| assert_eq!(LinkName::parse(text).is_ok(), want, "{text:?}");
        check("a", true);
        check("my-paper-2", true);
        check(&"a".repeat(32), true);
        check(&"a".repeat(33), false);
        for bad in ["", "-a", "a-", "a--b", "xn--80ak6aa92e", "A", "a.b", "a_b", "a b", "ä", "a\n", "a/b", "a:b"] {
            check(bad, false);
        }
    }

    #[test]
    fn key_ids_are_16_bytes_in_one_spelling() {
        let check = |text: &str, want: bool| assert_eq!(KeyId::parse(text).is_ok(), want, "{text}");
        check("AAAAAAAAAAAAAAAAAAAAAA", true);
        check("AAAAAAAAAAAAAAAAAAAAAB", false); // stray bits
        check("AAAAAAAAAAAAAAAAAAAAAA==", false);
        check("AAAAAAAAAAAAAAAAAAAAA", false);
        check("AAAAAAAAAAAAAAAAAAAA+A", false);
        check(&"A".repeat(300), false);
        let kid = KeyId::from_bytes([7; 16]);
        assert_eq!(KeyId::parse(&kid.to_string()).unwrap(), kid);
    }
}
