//! Enrolment (protocol, section 6): tickets, the proof of possession of an offered key, and the
//! code that commits to the key.
//!
//! Core sees everything that passes through it, so nothing that passes through it is sufficient. A
//! ticket only lets a browser *offer* a key. The [`Code`], approved at the computing centre, says
//! which offer counts (P2).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::identity::{KeyId, Origin, Username};
use crate::jws::{Algorithm, CompactJws, JwsRejection, sha256, sha256_of_texts};
use crate::keyring::VerificationKey;
use crate::secret::Secret;

/// Lifetime of a ticket, in seconds: long enough to find the SSH window, short enough to be
/// worthless in a log.
pub const TICKET_LIFETIME_S: i64 = 15 * 60;

/// Longest proof accepted, in bytes.
pub const PROOF_MAX: usize = 4 * 1024;

/// The alphabet of RFC 4648 section 6 in lower case: no 0, 1, 8 or 9 to mistake for letters.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Why a part of an enrolment is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EnrolmentRejection {
    /// Not base64url of 32 bytes.
    #[error("not a ticket")]
    Ticket,
    /// Not four groups of eight letters.
    #[error("a code is four groups of eight of the characters a-z and 2-7, as in abcdefgh-abcdefgh-abcdefgh-abcdefgh")]
    Code,
    /// The proof does not have the expected form.
    #[error("the proof: {0}")]
    ProofForm(JwsRejection),
    /// The proof is signed by another key, or with another algorithm.
    #[error("the proof is not signed by the offered key")]
    ProofSignature,
    /// The proof is for another provider, ticket, user or nonce.
    #[error("the proof is for another provider, ticket, user or nonce")]
    ProofClaims,
}

impl From<JwsRejection> for EnrolmentRejection {
    fn from(cause: JwsRejection) -> Self {
        // Not a source: the text of the cause is part of this text.
        Self::ProofForm(cause)
    }
}

/// The right of one browser to offer one key: 32 random bytes.
pub struct Ticket(Secret<[u8; 32]>);

impl Ticket {
    /// Makes a ticket from these random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// Reads the 43 characters of base64url.
    ///
    /// # Errors
    /// The text is not the canonical encoding of 32 bytes.
    pub fn parse(text: &str) -> Result<Self, EnrolmentRejection> {
        let mut bytes = [0; 32];
        match (text.len(), URL_SAFE_NO_PAD.decode_slice(text, &mut bytes)) {
            (43, Ok(32)) => Ok(Self::from_bytes(bytes)),
            _ => Err(EnrolmentRejection::Ticket),
        }
    }

    /// The hash, which is stored in place of the ticket.
    #[must_use]
    pub fn hash(&self) -> TicketHash {
        TicketHash(sha256(&[self.0.expose()]))
    }

    /// The ticket as text for a URL's fragment, for the one response that carries it.
    #[must_use]
    pub fn to_secret_text(&self) -> Secret<String> {
        Secret::new(URL_SAFE_NO_PAD.encode(self.0.expose()))
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// SHA-256 of a ticket's bytes: identifies the ticket and cannot be used in its place.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct TicketHash([u8; 32]);

impl TicketHash {
    /// The digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TryFrom<String> for TicketHash {
    type Error = EnrolmentRejection;

    fn try_from(text: String) -> Result<Self, EnrolmentRejection> {
        // The same form as a ticket's text, so the same parser reads it.
        Ticket::parse(&text).map(|ticket| Self(*ticket.0.expose()))
    }
}

impl From<TicketHash> for String {
    fn from(hash: TicketHash) -> Self {
        URL_SAFE_NO_PAD.encode(hash.0)
    }
}

/// The code that the user carries from the browser to the computing centre. It names the ticket and
/// commits to user and key, so an approval is for exactly this key. 160 bits.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Code(String);

impl Code {
    /// Computes the code of an offer, to compare with the code that the user typed.
    #[must_use]
    pub fn of(ticket: &TicketHash, username: &Username, key: &VerificationKey) -> Self {
        let digest = sha256_of_texts(&[
            b"countersign code v1",
            &ticket.0,
            username.as_str().as_bytes(),
            key.algorithm().as_str().as_bytes(),
            key.spki_der(),
        ]);
        let mut text = String::with_capacity(35);
        for (at, group) in digest.chunks_exact(5).take(4).enumerate() {
            if at > 0 {
                text.push('-');
            }
            let bits = group.iter().fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
            for character in (0..8).rev() {
                let index = usize::try_from((bits >> (character * 5)) & 31).unwrap_or(0);
                text.push(BASE32.get(index).copied().map_or('a', char::from));
            }
        }
        Self(text)
    }

    /// Reads a typed code. Case, spaces and hyphens do not matter.
    ///
    /// # Errors
    /// The text does not have 32 letters of the alphabet.
    pub fn parse(typed: &str) -> Result<Self, EnrolmentRejection> {
        let letters: Vec<u8> = typed
            .bytes()
            .filter(|b| *b != b'-' && !b.is_ascii_whitespace())
            .map(|b| b.to_ascii_lowercase())
            .take(33)
            .collect();
        if letters.len() != 32 || letters.iter().any(|letter| !BASE32.contains(letter)) {
            return Err(EnrolmentRejection::Code);
        }
        let groups: Vec<&str> = letters.chunks(8).map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
        Ok(Self(groups.join("-")))
    }

    /// The code, in groups.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Code {
    type Error = EnrolmentRejection;

    fn try_from(text: String) -> Result<Self, EnrolmentRejection> {
        Self::parse(&text)
    }
}

impl From<Code> for String {
    fn from(code: Code) -> Self {
        code.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The values that a proof must name.
#[derive(Clone, Copy, Debug)]
pub struct Challenge<'a> {
    /// This provider's origin.
    pub origin: &'a Origin,
    /// The ticket under which the key is offered.
    pub ticket: &'a TicketHash,
    /// The user that the ticket is for.
    pub username: &'a Username,
    /// The nonce that the provider chose for this ticket.
    pub nonce: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: Algorithm,
    typ: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    aud: String,
    ticket: String,
    username: String,
    nonce: String,
}

impl Challenge<'_> {
    /// Verifies that the sender holds the offered key's private half now. The JWS has `typ`
    /// `ucloud-enrol+jwt`, so it cannot pass for an intent, nor an intent for it (V20).
    ///
    /// # Errors
    /// Why the proof is refused.
    pub fn verify(&self, proof: &str, key: &VerificationKey) -> Result<(), EnrolmentRejection> {
        let Claims { aud, ticket, username, nonce } = proven(proof, "ucloud-enrol+jwt", key)?.claims()?;
        let is_ours = aud == self.origin.as_str()
            && ticket == String::from(*self.ticket)
            && username == self.username.as_str()
            && nonce == self.nonce;
        if is_ours { Ok(()) } else { Err(EnrolmentRejection::ProofClaims) }
    }
}

/// The values that the proof of a renewal must name. In a renewal a key replaces another key of the
/// same user.
#[derive(Clone, Copy, Debug)]
pub struct Renewal<'a> {
    /// This provider's origin.
    pub origin: &'a Origin,
    /// The owner of both keys.
    pub username: &'a Username,
    /// The key that vouches for the new one.
    pub old: KeyId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RenewalClaims {
    aud: String,
    username: String,
    kid: String,
}

impl Renewal<'_> {
    /// Verifies that the signer of the renewal also holds the private half of the new key. The JWS
    /// has `typ` `ucloud-renew+jwt`, so it cannot pass for anything else (V20). The intent that
    /// binds the proof makes it fresh.
    ///
    /// # Errors
    /// Why the proof is refused.
    pub fn verify(&self, proof: &str, key: &VerificationKey) -> Result<(), EnrolmentRejection> {
        let RenewalClaims { aud, username, kid } = proven(proof, "ucloud-renew+jwt", key)?.claims()?;
        let is_ours = aud == self.origin.as_str() && username == self.username.as_str() && kid == self.old.to_string();
        if is_ours { Ok(()) } else { Err(EnrolmentRejection::ProofClaims) }
    }
}

/// Parses a proof of the wanted `typ` and verifies that this key signed it.
fn proven<'p>(proof: &'p str, wanted: &str, key: &VerificationKey) -> Result<CompactJws<'p>, EnrolmentRejection> {
    let jws = CompactJws::parse(proof, PROOF_MAX)?;
    let Header { alg, typ } = jws.header()?;
    if typ != wanted {
        return Err(JwsRejection::Header.into());
    }
    if alg != key.algorithm() || !jws.verify(key.signature_key()) {
        return Err(EnrolmentRejection::ProofSignature);
    }
    Ok(jws)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(x: &str, y: &str) -> VerificationKey {
        let jwk = format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#);
        VerificationKey::from_jwk(jwk.as_bytes(), Algorithm::Es256).unwrap()
    }

    /// The example keys of RFC 7517 appendix A.1 and RFC 7515 appendix A.3.
    fn keys() -> [VerificationKey; 2] {
        [
            key("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"),
            key("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"),
        ]
    }

    #[test]
    fn v47_a_code_commits_to_ticket_user_and_key() {
        let [key, other_key] = keys();
        let user = |name: &str| Username::parse(name).unwrap();
        let ticket = |byte: u8| Ticket::from_bytes([byte; 32]).hash();
        let code = Code::of(&ticket(1), &user("alice"), &key);
        assert_ne!(code, Code::of(&ticket(2), &user("alice"), &key));
        assert_ne!(code, Code::of(&ticket(1), &user("alice2"), &key));
        assert_ne!(code, Code::of(&ticket(1), &user("alice"), &other_key));
        assert_eq!(code, Code::of(&ticket(1), &user("alice"), &key));
        assert_eq!(code.as_str().len(), 35);
    }

    /// Computed independently with Python's hashlib and base64: 20 bytes of SHA-256 over the five
    /// texts, each preceded by its length, in the base32 of RFC 4648.
    #[test]
    fn v47_a_code_is_what_anybody_computes_from_the_offer() {
        let [key, _] = keys();
        let code = Code::of(&Ticket::from_bytes([1; 32]).hash(), &Username::parse("alice").unwrap(), &key);
        assert_eq!(code.as_str(), "wi6ltldc-pmkvervp-q3p3wbkk-uznyiair");
    }

    #[test]
    fn a_code_survives_being_typed() {
        let check = |typed: &str, want: Option<&str>| {
            assert_eq!(Code::parse(typed).ok().as_ref().map(Code::as_str), want, "{typed}");
        };
        let code = "abcdefgh-ijklmnop-qrstuvwx-yz234567";
        check(code, Some(code));
        check(" ABCDEFGH IJKLMNOP qrstuvwxyz234567\n", Some(code));
        check("abcdefgh-ijklmnop-qrstuvwx-yz23456", None);
        check("abcdefgh-ijklmnop-qrstuvwx-yz2345677", None);
        check("abcdefgh-ijklmnop-qrstuvwx-yz234561", None);
        check("abcdefgh-ijklmnop-qrstuvwx-yz23456æ", None);
        check("", None);
    }

    #[test]
    fn v45_a_ticket_is_known_by_its_hash() {
        let ticket = Ticket::from_bytes([9; 32]);
        let text = ticket.to_secret_text();
        assert_eq!(Ticket::parse(text.expose()).unwrap().hash(), ticket.hash());
        assert_eq!(format!("{ticket:?} {text:?}"), "<secret> <secret>");
        assert!(Ticket::parse("short").is_err());
        let hash = String::from(ticket.hash());
        assert_eq!(TicketHash::try_from(hash).unwrap(), ticket.hash());
    }
}
