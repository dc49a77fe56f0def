//! Users' verification keys: parses JWK, PEM and DER, and checks strength and form.
//!
//! Refuses private keys, weak keys and malformed keys (RFC 8725 section 3.4), and any use other
//! than the recorded one. A verification key is confidential here (P2), so it prints as its
//! fingerprint.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use p256::pkcs8::{DecodePublicKey as _, EncodePublicKey as _};
use rsa::BigUint;
use rsa::pkcs8::{DecodePublicKey as _, EncodePublicKey as _};
use rsa::traits::PublicKeyParts as _;
use serde::{Deserialize, Serialize};

use crate::identity::{KeyId, Username};
use crate::json::Json;
pub use crate::jws::Algorithm;
use crate::jws::{PointNotOnCurve, RsaPadding, SignatureKey, sha256};
use crate::time::Timestamp;

/// Smallest RSA modulus, in bits (RFC 7518 section 3.3).
const RSA_BITS_MIN: usize = 2048;

/// Largest RSA modulus, in bits. Beyond it a signature check is slow enough for denial of service.
const RSA_BITS_MAX: usize = 4096;

/// The primes under which keys of every size from the generator of CVE-2017-15361 can be
/// recognised.
const ROCA_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Longest text of a key, in bytes. An RSA-4096 key as PEM has 800.
const KEY_TEXT_MAX: usize = 4096;

/// Most version 1 keys of a user. They have no key id, so each may have to be tried.
pub const KEYS_V1_MAX: usize = 4;

/// Words in a fingerprint: 66 bits, so another key with the same words takes 2⁶⁶ tries.
pub const FINGERPRINT_WORDS: usize = 6;

/// Bits per word of BIP 39's English list.
const WORD_BITS: usize = 11;

/// The bytes before an Ed25519 public key in SPKI (RFC 8410 section 4).
const ED25519_SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a key is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyRejection {
    /// A private or symmetric key. Its owner must treat it as compromised.
    #[error("this is a private key: it must never leave where it was made")]
    Private,
    /// Not a key in the form that the algorithm needs.
    #[error("not a well-formed public key for this algorithm")]
    Form,
    /// Not on its curve, or of low order.
    #[error("the key's point is not a usable one of its curve")]
    Point,
    /// RSA below 2048 bits, above 4096, or with an exponent other than 65537.
    #[error("an RSA key must have {RSA_BITS_MIN} to {RSA_BITS_MAX} bits and the exponent 65537")]
    RsaStrength,
    /// RSA primes from a generator that is known to be broken.
    #[error("the RSA key comes from a generator whose keys can be factored (CVE-2017-15361)")]
    RsaGenerator,
    /// The JWK's own `use`, `key_ops` or `alg` excludes this use.
    #[error("the JWK's own use, key_ops or alg do not allow this use")]
    Purpose,
}

/// A public key that verifies a user's signatures and has passed every check.
#[derive(Clone)]
pub struct VerificationKey {
    spki: Vec<u8>,
    key: SignatureKey,
}

impl VerificationKey {
    /// Reads a JWK (RFC 7517) as WebCrypto exports it, for the given algorithm.
    ///
    /// # Errors
    /// Why the key is refused.
    pub fn from_jwk(text: &[u8], algorithm: Algorithm) -> Result<Self, KeyRejection> {
        if text.len() > KEY_TEXT_MAX {
            return Err(KeyRejection::Form);
        }
        let jwk = Json::parse(text, 2).map_err(|_| KeyRejection::Form)?;
        Self::from_jwk_value(&jwk, algorithm)
    }

    /// Reads a JWK that is part of a larger JSON text.
    ///
    /// # Errors
    /// Why the key is refused.
    pub fn from_jwk_value(jwk: &Json<'_>, algorithm: Algorithm) -> Result<Self, KeyRejection> {
        let members = jwk.members().ok_or(KeyRejection::Form)?;
        let is_private = |name: &str| matches!(name, "d" | "p" | "q" | "dp" | "dq" | "qi" | "oth" | "k");
        if members.iter().any(|(name, _)| is_private(name)) {
            return Err(KeyRejection::Private);
        }
        let (own, kty): (&[&str], &str) = match algorithm {
            Algorithm::Es256 => (&["crv", "x", "y"], "EC"),
            Algorithm::EdDsa => (&["crv", "x"], "OKP"),
            Algorithm::Ps256 | Algorithm::Rs256 => (&["n", "e"], "RSA"),
        };
        for (name, value) in members {
            match name.as_ref() {
                "kty" | "kid" | "ext" => {}
                "use" if value.as_str() == Some("sig") => {}
                // WebCrypto in Chromium and Firefox writes "Ed25519" (RFC 9864) or "EdDSA".
                "alg" if value.as_str() == Some(algorithm.as_str()) => {}
                "alg" if algorithm == Algorithm::EdDsa && value.as_str() == Some("Ed25519") => {}
                "key_ops" if is_verify_only(value) => {}
                "use" | "alg" | "key_ops" => return Err(KeyRejection::Purpose),
                name if own.contains(&name) => {}
                _ => return Err(KeyRejection::Form),
            }
        }
        let text = |name: &str| jwk.member(name).and_then(Json::as_str).ok_or(KeyRejection::Form);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).map_err(|_| KeyRejection::Form);
        if text("kty")? != kty {
            return Err(KeyRejection::Form);
        }
        match algorithm {
            Algorithm::Es256 if text("crv")? == "P-256" => {
                let (x, y) = (bytes("x")?, bytes("y")?);
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                Self::es256(&point)
            }
            Algorithm::EdDsa if text("crv")? == "Ed25519" => Self::ed25519(&bytes("x")?),
            Algorithm::Es256 | Algorithm::EdDsa => Err(KeyRejection::Form),
            Algorithm::Ps256 => Self::rsa(&bytes("n")?, &bytes("e")?, RsaPadding::Pss),
            Algorithm::Rs256 => Self::rsa(&bytes("n")?, &bytes("e")?, RsaPadding::Pkcs1),
        }
    }

    /// Reads a `PUBLIC KEY` PEM (RFC 7468 section 13).
    ///
    /// # Errors
    /// Why the key is refused.
    pub fn from_pem(text: &str, algorithm: Algorithm) -> Result<Self, KeyRejection> {
        if text.contains("PRIVATE KEY") {
            return Err(KeyRejection::Private);
        }
        Self::from_spki_der(&pem_body(text, "PUBLIC KEY").ok_or(KeyRejection::Form)?, algorithm)
    }

    /// Reads a SubjectPublicKeyInfo (RFC 5280 section 4.1). Accepts only its one DER encoding.
    ///
    /// # Errors
    /// Why the key is refused.
    pub fn from_spki_der(der: &[u8], algorithm: Algorithm) -> Result<Self, KeyRejection> {
        if der.len() > KEY_TEXT_MAX {
            return Err(KeyRejection::Form);
        }
        let key = match algorithm {
            Algorithm::Es256 => {
                let key = p256::PublicKey::from_public_key_der(der).map_err(|_| KeyRejection::Form)?;
                Self::es256(&key.to_sec1_bytes())
            }
            Algorithm::EdDsa => Self::ed25519(der.strip_prefix(&ED25519_SPKI_PREFIX).ok_or(KeyRejection::Form)?),
            Algorithm::Ps256 | Algorithm::Rs256 => {
                let key = rsa::RsaPublicKey::from_public_key_der(der).map_err(|_| KeyRejection::Form)?;
                let padding = if algorithm == Algorithm::Ps256 { RsaPadding::Pss } else { RsaPadding::Pkcs1 };
                Self::rsa(&key.n().to_bytes_be(), &key.e().to_bytes_be(), padding)
            }
        }?;
        if key.spki == der { Ok(key) } else { Err(KeyRejection::Form) }
    }

    /// The key as SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// The only algorithm of this key.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.key.algorithm()
    }

    /// The fingerprint that people compare: `SHA256:` and the digest of the SPKI, in OpenSSH's
    /// notation.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(sha256(&[&self.spki])))
    }

    /// The first 66 bits of the digest as words, which people compare more readily. They only
    /// confirm; the code of an approval commits.
    #[must_use]
    pub fn words(&self) -> [&'static str; FINGERPRINT_WORDS] {
        let digest = sha256(&[&self.spki]);
        let is_set = |bit: usize| digest.get(bit / 8).is_some_and(|byte| byte >> (7 - bit % 8) & 1 == 1);
        std::array::from_fn(|nth| {
            let bits = nth * WORD_BITS..(nth + 1) * WORD_BITS;
            let at = bits.fold(0, |at, bit| at * 2 + usize::from(is_set(bit)));
            // 11 bits select one of 2048 words.
            bip39::Language::English.word_list().get(at).copied().unwrap_or_default()
        })
    }

    /// The key in the form that the signature check needs.
    #[must_use]
    pub const fn signature_key(&self) -> &SignatureKey {
        &self.key
    }

    /// `point` is in SEC 1 form. Only an uncompressed point has the right length.
    fn es256(point: &[u8]) -> Result<Self, KeyRejection> {
        let point: &[u8; 65] = point.try_into().map_err(|_| KeyRejection::Form)?;
        let key = p256::PublicKey::from_sec1_bytes(point).map_err(|_| KeyRejection::Point)?;
        let spki = key.to_public_key_der().map_err(|_| KeyRejection::Form)?;
        let key = SignatureKey::es256(point).map_err(|PointNotOnCurve| KeyRejection::Point)?;
        Ok(Self { spki: spki.as_bytes().to_vec(), key })
    }

    fn ed25519(bytes: &[u8]) -> Result<Self, KeyRejection> {
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| KeyRejection::Form)?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyRejection::Point)?;
        // Decompression accepts an encoding that is not reduced. Refuse it, so that each key has
        // one spelling.
        if key.is_weak() || key.to_edwards().compress().as_bytes() != bytes {
            return Err(KeyRejection::Point);
        }
        let key = SignatureKey::ed25519(key).map_err(|PointNotOnCurve| KeyRejection::Point)?;
        Ok(Self { spki: [&ED25519_SPKI_PREFIX[..], bytes].concat(), key })
    }

    fn rsa(modulus: &[u8], exponent: &[u8], padding: RsaPadding) -> Result<Self, KeyRejection> {
        // RFC 7518 section 6.3.1: the fewest octets that hold the value.
        if modulus.first() == Some(&0) || exponent.first() == Some(&0) {
            return Err(KeyRejection::Form);
        }
        let n = BigUint::from_bytes_be(modulus);
        let e = BigUint::from_bytes_be(exponent);
        if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&n.bits())
            || e != BigUint::from(65_537_u32)
            || modulus.last().is_none_or(|b| b % 2 == 0)
        {
            return Err(KeyRejection::RsaStrength);
        }
        if has_roca_mark(modulus) {
            return Err(KeyRejection::RsaGenerator);
        }
        let key = rsa::RsaPublicKey::new_with_max_size(n, e, RSA_BITS_MAX).map_err(|_| KeyRejection::RsaStrength)?;
        let spki = key.to_public_key_der().map_err(|_| KeyRejection::Form)?;
        Ok(Self { spki: spki.as_bytes().to_vec(), key: SignatureKey::rsa(modulus, exponent, padding) })
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm().as_str(), self.fingerprint())
    }
}

impl PartialEq for VerificationKey {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm() == other.algorithm() && self.spki == other.spki
    }
}

impl Eq for VerificationKey {}

/// Whether a modulus comes from the generator of CVE-2017-15361 ("ROCA"). Its primes, and so their
/// product, are powers of 65537 modulo every small prime. A random modulus has this property with
/// probability 2⁻²⁷.
fn has_roca_mark(modulus: &[u8]) -> bool {
    ROCA_PRIMES.iter().all(|prime| {
        let residue = modulus.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let mut power = 1;
        (0..*prime).any(|_| {
            power = power * 65_537 % prime;
            power == residue
        })
    })
}

/// The DER inside a PEM text with that label. Accepts line ends of any kind, and only white space
/// around the block.
pub(crate) fn pem_body(text: &str, label: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let body =
        text.strip_prefix(&format!("-----BEGIN {label}-----"))?.strip_suffix(&format!("-----END {label}-----"))?;
    let compact: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(compact).ok()
}

fn is_verify_only(key_ops: &Json<'_>) -> bool {
    key_ops.elements().is_some_and(|ops| ops.iter().all(|op| op.as_str() == Some("verify")))
}

/// The version of the intents that a key signs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Protocol {
    /// Version 1, of UCloud's older frontend: binds only the call's name.
    V1,
    /// Version 2, of this project.
    V2,
}

/// The number is neither 1 nor 2.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the protocol's version is 1 or 2")]
pub struct UnknownProtocol;

impl TryFrom<u8> for Protocol {
    type Error = UnknownProtocol;

    fn try_from(version: u8) -> Result<Self, UnknownProtocol> {
        match version {
            1 => Ok(Self::V1),
            2 => Ok(Self::V2),
            _ => Err(UnknownProtocol),
        }
    }
}

impl From<Protocol> for u8 {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::V1 => 1,
            Protocol::V2 => 2,
        }
    }
}

/// Whether a key is valid for its owner.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Valid, until it expires.
    Active,
    /// Revoked for good.
    Revoked,
}

/// A key as stored, and as sent on the control channel.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// The UCloud user who owns the key.
    pub owner: Username,
    /// The key's id.
    pub kid: KeyId,
    /// The signature algorithm.
    pub algorithm: Algorithm,
    /// SubjectPublicKeyInfo, as standard base64 of the DER.
    pub spki: String,
    /// The version of the intents that it signs.
    pub protocol: Protocol,
    /// Whether it is active or revoked.
    pub state: KeyState,
    /// When it was activated.
    pub created: Timestamp,
    /// When it expires.
    pub expires: Timestamp,
    /// The owner's name for it ("Firefox on the laptop"). Display only; no decision depends on it.
    pub name: String,
}

impl KeyRecord {
    /// Makes the record of an active key. `lifetime` is the time of activation and the time of
    /// expiry.
    #[must_use]
    pub fn new(
        owner: Username,
        kid: KeyId,
        key: &VerificationKey,
        protocol: Protocol,
        lifetime: (Timestamp, Timestamp),
        name: String,
    ) -> Self {
        Self {
            owner,
            kid,
            algorithm: key.algorithm(),
            spki: STANDARD.encode(key.spki_der()),
            protocol,
            state: KeyState::Active,
            created: lifetime.0,
            expires: lifetime.1,
            name,
        }
    }

    /// Parses and checks the key again. A stored record gets the same checks as a new key.
    ///
    /// # Errors
    /// Why the key is refused.
    pub fn verification_key(&self) -> Result<VerificationKey, KeyRejection> {
        let der = STANDARD.decode(&self.spki).map_err(|_| KeyRejection::Form)?;
        VerificationKey::from_spki_der(&der, self.algorithm)
    }
}

/// A user's key, parsed once and ready for verification.
#[derive(Clone, Debug)]
pub struct EnrolledKey {
    owner: Username,
    kid: KeyId,
    key: VerificationKey,
    protocol: Protocol,
    state: KeyState,
    expires: Timestamp,
}

/// Why a stored key is not valid.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyStanding {
    /// The key was revoked.
    #[error("the key is revoked")]
    Revoked,
    /// The key's lifetime is over.
    #[error("the key has expired")]
    Expired,
}

impl EnrolledKey {
    /// Parses a record.
    ///
    /// # Errors
    /// Enrolment would refuse the record's key.
    pub fn from_record(record: &KeyRecord) -> Result<Self, KeyRejection> {
        let key = record.verification_key()?;
        Ok(Self {
            owner: record.owner.clone(),
            kid: record.kid,
            key,
            protocol: record.protocol,
            state: record.state,
            expires: record.expires,
        })
    }

    /// The UCloud user who owns the key.
    #[must_use]
    pub const fn owner(&self) -> &Username {
        &self.owner
    }

    /// The key's id.
    #[must_use]
    pub const fn kid(&self) -> KeyId {
        self.kid
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &VerificationKey {
        &self.key
    }

    /// The version of the intents that it signs.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether the key is valid at that moment.
    ///
    /// # Errors
    /// Why it is not.
    pub fn standing(&self, now: Timestamp) -> Result<(), KeyStanding> {
        match self.state {
            KeyState::Revoked => Err(KeyStanding::Revoked),
            KeyState::Active if now >= self.expires => Err(KeyStanding::Expired),
            KeyState::Active => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_in_words_is_the_first_66_bits_of_the_digest() {
        // RFC 7517, appendix A.1. The words were computed independently from the digest and the
        // published list.
        let jwk = br#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;
        let key = VerificationKey::from_jwk(jwk, Algorithm::Es256).unwrap();
        assert_eq!(key.fingerprint(), "SHA256:UblEzfpUTUwyc6pr81BiWn3VO7tqcXIydPU4sZogd2A");
        assert_eq!(key.words(), ["faculty", "sketch", "cricket", "visa", "dynamic", "plastic"]);
    }
}
