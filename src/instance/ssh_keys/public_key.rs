//! Strict parser for one OpenSSH public key, to the last byte, before it may enter
//! `authorized_keys`.
//!
//! The line is rebuilt from the parsed fields, so text that two parsers could read differently
//! never gets there. Refuses options before the key, more than one line, key types that sshd no
//! longer accepts, and RSA keys that are too short.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// In bytes. RSA of 16384 bits takes 2.8 KiB, and a comment is short.
const TEXT_MAX: usize = 8 * 1024;

/// In bytes. A comment is only for people.
const COMMENT_MAX: usize = 256;

/// RSA moduli, in bits. Shorter ones can be factored, and OpenSSH does not read longer ones.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=16_384;

/// In bytes. The usual public exponent is 65537.
const EXPONENT_MAX: usize = 8;

/// In bytes: the application name that a security key is bound to. OpenSSH's own is `ssh:`.
const APPLICATION_MAX: usize = 128;

/// Why a text is not installed as a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum SshKeyRejection {
    #[error("it is longer than {TEXT_MAX} bytes")]
    TooLong,
    /// More than one line, or a character that is not printable.
    #[error("it is not one line of printable text")]
    NotOneLine,
    /// The text does not begin with a known key type. It may begin with options.
    #[error("it does not begin with a kind of key that is installed (ed25519, ECDSA, RSA, security keys; no options)")]
    Kind,
    #[error("its second word is not base64")]
    Base64,
    /// The blob does not have the form of its key type.
    #[error("the key is not of the form that its kind has")]
    Form,
    #[error("its RSA modulus has {bits} bits, and must have {} to {}", RSA_BITS.start(), RSA_BITS.end())]
    RsaBits { bits: usize },
    #[error("its comment is longer than {COMMENT_MAX} bytes")]
    Comment,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Ed25519,
    Ecdsa { curve: &'static str, point_length: usize },
    Rsa,
    SecurityKeyEd25519,
    SecurityKeyEcdsa,
}

/// Every accepted key type by its OpenSSH name. `ssh-dss` and certificates are excluded.
const KINDS: [(&str, Kind); 7] = [
    ("ssh-ed25519", Kind::Ed25519),
    ("ecdsa-sha2-nistp256", Kind::Ecdsa { curve: "nistp256", point_length: 65 }),
    ("ecdsa-sha2-nistp384", Kind::Ecdsa { curve: "nistp384", point_length: 97 }),
    ("ecdsa-sha2-nistp521", Kind::Ecdsa { curve: "nistp521", point_length: 133 }),
    ("ssh-rsa", Kind::Rsa),
    ("sk-ssh-ed25519@openssh.com", Kind::SecurityKeyEd25519),
    ("sk-ecdsa-sha2-nistp256@openssh.com", Kind::SecurityKeyEcdsa),
];

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct SshPublicKey {
    kind: &'static str,
    blob: Vec<u8>,
    comment: String,
}

impl SshPublicKey {
    /// Parses `KIND BASE64 [COMMENT]`, one line with or without a newline at its end.
    pub(crate) fn parse(text: &str) -> Result<Self, SshKeyRejection> {
        if text.len() > TEXT_MAX {
            return Err(SshKeyRejection::TooLong);
        }
        let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        if line.chars().any(char::is_control) {
            return Err(SshKeyRejection::NotOneLine);
        }
        let mut words = line.splitn(3, ' ');
        let word = words.next().unwrap_or_default();
        let (name, kind) = KINDS.iter().find(|(name, _)| *name == word).ok_or(SshKeyRejection::Kind)?;
        let blob = STANDARD.decode(words.next().unwrap_or_default()).map_err(|_error| SshKeyRejection::Base64)?;
        check_blob(name, *kind, &blob)?;
        let comment = words.next().unwrap_or_default().trim().to_owned();
        if comment.len() > COMMENT_MAX {
            return Err(SshKeyRejection::Comment);
        }
        Ok(Self { kind: name, blob, comment })
    }

    /// Whether both are the same key, whatever their comments.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.blob == other.blob
    }
}

impl std::fmt::Display for SshPublicKey {
    /// The line, without a newline.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, STANDARD.encode(&self.blob))?;
        if self.comment.is_empty() { Ok(()) } else { write!(f, " {}", self.comment) }
    }
}

/// Checks that the bytes are one key of that type, with nothing after it.
fn check_blob(name: &str, kind: Kind, blob: &[u8]) -> Result<(), SshKeyRejection> {
    let mut fields = Fields(blob);
    if fields.next()? != name.as_bytes() {
        return Err(SshKeyRejection::Form);
    }
    match kind {
        Kind::Ed25519 => check(fields.next()?.len() == 32)?,
        Kind::Ecdsa { curve, point_length } => check_point(&mut fields, curve, point_length)?,
        Kind::Rsa => {
            let exponent = unsigned(fields.next()?)?;
            check(is_odd(exponent) && exponent != [1] && exponent.len() <= EXPONENT_MAX)?;
            let modulus = unsigned(fields.next()?)?;
            check(is_odd(modulus))?;
            let bits = bits_of(modulus);
            if !RSA_BITS.contains(&bits) {
                return Err(SshKeyRejection::RsaBits { bits });
            }
        }
        Kind::SecurityKeyEd25519 => {
            check(fields.next()?.len() == 32)?;
            check_application(fields.next()?)?;
        }
        Kind::SecurityKeyEcdsa => {
            check_point(&mut fields, "nistp256", 65)?;
            check_application(fields.next()?)?;
        }
    }
    check(fields.0.is_empty())
}

const fn check(is_so: bool) -> Result<(), SshKeyRejection> {
    if is_so { Ok(()) } else { Err(SshKeyRejection::Form) }
}

/// Reads the curve's name and an uncompressed point. Only sshd checks whether the point lies on the
/// curve: a key with another point opens nothing.
fn check_point(fields: &mut Fields<'_>, curve: &str, length: usize) -> Result<(), SshKeyRejection> {
    check(fields.next()? == curve.as_bytes())?;
    let point = fields.next()?;
    check(point.len() == length && point.first() == Some(&4))
}

fn check_application(name: &[u8]) -> Result<(), SshKeyRejection> {
    check((1..=APPLICATION_MAX).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic))
}

/// A positive integer in its only encoding (RFC 4251): no superfluous leading zero.
fn unsigned(bytes: &[u8]) -> Result<&[u8], SshKeyRejection> {
    match bytes {
        [0, rest @ ..] if rest.first().is_some_and(|high| *high >= 0x80) => Ok(rest),
        [high, ..] if (1..0x80).contains(high) => Ok(bytes),
        _ => Err(SshKeyRejection::Form),
    }
}

fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|low| low % 2 == 1)
}

/// The length in bits of a number without leading zero bytes.
fn bits_of(number: &[u8]) -> usize {
    let of_the_first =
        number.first().map_or(0, |first| 8_usize.saturating_sub(first.leading_zeros().try_into().unwrap_or(8)));
    number.len().saturating_sub(1).saturating_mul(8).saturating_add(of_the_first)
}

/// Length-prefixed strings (RFC 4251).
struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    fn next(&mut self) -> Result<&'b [u8], SshKeyRejection> {
        let (length, rest) = self.0.split_first_chunk::<4>().ok_or(SshKeyRejection::Form)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_error| SshKeyRejection::Form)?;
        let (field, rest) = rest.split_at_checked(length).ok_or(SshKeyRejection::Form)?;
        self.0 = rest;
        Ok(field)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A key whose blob consists of these fields.
    pub(in crate::ssh_keys) fn key(kind: &str, fields: &[&[u8]]) -> String {
        let mut blob = Vec::new();
        for field in [kind.as_bytes()].iter().chain(fields) {
            blob.extend_from_slice(&u32::try_from(field.len()).unwrap().to_be_bytes());
            blob.extend_from_slice(field);
        }
        format!("{kind} {}", STANDARD.encode(blob))
    }

    /// An ed25519 key whose bytes all are this number.
    pub(in crate::ssh_keys) fn ed25519(number: u8) -> String {
        key("ssh-ed25519", &[&[number; 32]])
    }

    fn rsa(exponent: &[u8], bytes: usize) -> String {
        let mut modulus = vec![0xab; bytes];
        modulus.insert(0, 0);
        key("ssh-rsa", &[exponent, &modulus])
    }

    fn point(length: usize) -> Vec<u8> {
        let mut point = vec![7; length];
        point[0] = 4;
        point
    }

    fn accepted(text: &str, want: &str) {
        assert_eq!(SshPublicKey::parse(text).unwrap().to_string(), want);
    }

    fn refused(text: &str, want: SshKeyRejection) {
        assert_eq!(SshPublicKey::parse(text), Err(want), "{text:?}");
    }

    #[test]
    fn a_key_of_every_kind_is_written_as_it_was_understood() {
        let sk = "sk-ecdsa-sha2-nistp256@openssh.com";
        for text in [
            ed25519(1),
            key("ecdsa-sha2-nistp256", &[b"nistp256", &point(65)]),
            key("ecdsa-sha2-nistp384", &[b"nistp384", &point(97)]),
            key("ecdsa-sha2-nistp521", &[b"nistp521", &point(133)]),
            rsa(&[1, 0, 1], 256),
            rsa(&[1, 0, 1], 2048),
            key("sk-ssh-ed25519@openssh.com", &[&[1; 32], b"ssh:"]),
            key(sk, &[b"nistp256", &point(65), b"ssh:laptop"]),
        ] {
            accepted(&text, &text);
            accepted(&format!("{text}\n"), &text);
            accepted(&format!("{text}\r\n"), &text);
            accepted(&format!("{text}  Ærø's laptop "), &format!("{text} Ærø's laptop"));
            accepted(&format!("{text} \"quoted\" # no, options"), &format!("{text} \"quoted\" # no, options"));
        }
    }

    #[test]
    fn what_would_be_more_than_a_key_is_refused() {
        use SshKeyRejection::{Base64, Comment, Kind, NotOneLine, TooLong};
        let good = ed25519(1);
        for options in ["command=\"sh\" ", "no-pty ", "cert-authority ", "from=\"*\",pty ", " ", "\u{feff}", "# "] {
            refused(&format!("{options}{good}"), Kind);
        }
        for rest in
            ["\nssh-ed25519 AAAA", "\n\n", "\r", "\r\nx", "\0", " a\tb", " \u{7f}", " \u{85}", "\u{1b}[2J", "\n "]
        {
            refused(&format!("{good}{rest}"), NotOneLine);
        }
        refused(&format!("{good} {}", "x".repeat(257)), Comment);
        refused(&format!("{good} {}", "x".repeat(8192)), TooLong);
        refused("", Kind);
        refused("ssh-ed25519", SshKeyRejection::Form);
        refused("ssh-ed25519  AAAA", SshKeyRejection::Form);
        refused("ssh-ed25519 ****", Base64);
        refused(&good.replace("AAAA", "AAA="), Base64);
        refused(&good.to_uppercase(), Kind);
    }

    #[test]
    fn weak_unknown_and_malformed_keys_are_refused() {
        use SshKeyRejection::{Form, Kind, RsaBits};
        refused(&key("ssh-dss", &[&[1; 128], &[1; 20], &[1; 128], &[1; 128]]), Kind);
        refused(&key("ssh-ed25519-cert-v01@openssh.com", &[&[1; 32]]), Kind);
        refused(&key("ssh-ed448", &[&[1; 57]]), Kind);
        refused(&rsa(&[1, 0, 1], 128), RsaBits { bits: 1024 });
        refused(&rsa(&[1, 0, 1], 255), RsaBits { bits: 2040 });
        refused(&rsa(&[1, 0, 1], 2049), RsaBits { bits: 16_392 });
        for exponent in [&[1_u8][..], &[2], &[], &[0], &[0, 1, 0, 1], &[0x80, 1], &[1; 9]] {
            refused(&rsa(exponent, 256), Form);
        }
        let mut even = vec![0xab; 256];
        even[255] = 2;
        even.insert(0, 0);
        refused(&key("ssh-rsa", &[&[1, 0, 1], &even]), Form);
        refused(&key("ssh-rsa", &[&[1, 0, 1], &[0xab; 256]]), Form);
        refused(&key("ssh-ed25519", &[&[1; 31]]), Form);
        refused(&key("ssh-ed25519", &[&[1; 32], &[]]), Form);
        refused(&key("ssh-ed25519", &[]), Form);
        refused(&key("ecdsa-sha2-nistp256", &[b"nistp384", &point(65)]), Form);
        refused(&key("ecdsa-sha2-nistp256", &[b"nistp256", &point(64)]), Form);
        refused(&key("ecdsa-sha2-nistp256", &[b"nistp256", &[2; 65]]), Form);
        refused(&key("sk-ssh-ed25519@openssh.com", &[&[1; 32], b""]), Form);
        refused(&key("sk-ssh-ed25519@openssh.com", &[&[1; 32], b"ssh: x"]), Form);
        refused(&ed25519(1).replacen("ssh-ed25519", "ssh-rsa", 1), Form);
        let cut = ed25519(1);
        refused(&cut[..cut.len() - 4], Form);
    }
}
