//! Compact JWS (RFC 7515): parses the envelope and verifies the signature.
//!
//! Accepts only the spelling of RFC 7515 section 2. This is the only module that uses
//! `jsonwebtoken`, and it uses only that crate's signature check: its `Validation` reads the clock,
//! forgives 60 s and accepts absent claims. ES256 and Ed25519, the algorithms of browsers, use
//! aws-lc directly, because `jsonwebtoken` would parse the key for each signature.

mod ed25519_batch;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub(crate) use self::ed25519_batch::verify_together;

/// The accepted signature algorithms (RFC 7518 section 3.1, RFC 8037). There is no `none`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, serde::Serialize)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256, fixed-length signature.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// RSASSA-PSS with SHA-256 and a salt of 32 bytes.
    #[serde(rename = "PS256")]
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
}

impl Algorithm {
    /// The value of `alg`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
        }
    }

    /// The algorithm of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Es256, Self::EdDsa, Self::Ps256, Self::Rs256].into_iter().find(|algorithm| algorithm.as_str() == name)
    }
}

/// Length of an elliptic signature, in bytes: r and s of ES256 (RFC 7518 section 3.4), R and S of
/// Ed25519 (RFC 8032 section 5.1.6).
const CURVE_SIGNATURE: usize = 64;

/// Why an envelope is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum JwsRejection {
    /// Longer than the caller's limit.
    #[error("the JWS is too long")]
    TooLong,
    /// Not three parts of canonical base64url without padding.
    #[error("not a compact JWS: three parts of base64url without padding or white space")]
    Form,
    /// The header does not have exactly the expected members.
    #[error("the protected header is not exactly as the profile says")]
    Header,
    /// The payload does not have exactly the expected members.
    #[error("the claims are not exactly as the profile says")]
    Claims,
}

/// A parsed JWS in compact serialization, not verified.
#[derive(Clone, Copy, Debug)]
pub struct CompactJws<'a> {
    text: &'a str,
    header_end: usize,
    payload_end: usize,
}

impl<'a> CompactJws<'a> {
    /// Splits the text into its three parts.
    ///
    /// # Errors
    /// The text is longer than `length_max` bytes, or is not a compact JWS.
    pub fn parse(text: &'a str, length_max: usize) -> Result<Self, JwsRejection> {
        if text.len() > length_max {
            return Err(JwsRejection::TooLong);
        }
        let (header, rest) = text.split_once('.').ok_or(JwsRejection::Form)?;
        let (payload, signature) = rest.split_once('.').ok_or(JwsRejection::Form)?;
        if signature.contains('.') {
            return Err(JwsRejection::Form);
        }
        let header_end = header.len();
        let payload_end = header_end.saturating_add(1).saturating_add(payload.len());
        let jws = Self { text, header_end, payload_end };
        if [jws.header_b64(), jws.payload_b64(), jws.signature_b64()].iter().any(|part| part.is_empty()) {
            return Err(JwsRejection::Form);
        }
        Ok(jws)
    }

    /// The text as received.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// Reads the protected header as `T`, which defines the members allowed.
    ///
    /// # Errors
    /// The header is not canonical base64url of exactly such an object.
    pub fn header<T: DeserializeOwned>(&self) -> Result<T, JwsRejection> {
        serde_json::from_slice(&self.header_bytes()?).map_err(|_| JwsRejection::Header)
    }

    /// The text of the protected header, for callers that accept more than one type.
    ///
    /// # Errors
    /// The header is not canonical base64url.
    pub(crate) fn header_bytes(&self) -> Result<Vec<u8>, JwsRejection> {
        decode(self.header_b64())
    }

    /// Reads the claims as `T`, which defines the members allowed. Believe no claim before
    /// [`CompactJws::verify`].
    ///
    /// # Errors
    /// The payload is not canonical base64url of exactly such an object.
    pub fn claims<T: DeserializeOwned>(&self) -> Result<T, JwsRejection> {
        serde_json::from_slice(&decode(self.payload_b64())?).map_err(|_| JwsRejection::Claims)
    }

    /// Whether the signature over this header and payload is the key's.
    #[must_use]
    pub fn verify(&self, key: &SignatureKey) -> bool {
        key.verify(self.signing_input(), self.signature_b64())
    }

    fn signing_input(&self) -> &'a [u8] {
        self.text.get(..self.payload_end).unwrap_or_default().as_bytes()
    }

    fn header_b64(&self) -> &'a str {
        self.text.get(..self.header_end).unwrap_or_default()
    }

    fn payload_b64(&self) -> &'a str {
        self.text.get(self.header_end + 1..self.payload_end).unwrap_or_default()
    }

    fn signature_b64(&self) -> &'a str {
        self.text.get(self.payload_end + 1..).unwrap_or_default()
    }
}

fn decode(part: &str) -> Result<Vec<u8>, JwsRejection> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsRejection::Form)
}

/// A public key with its one algorithm, in the form that the signature check needs.
///
/// Only [`crate::keyring`] makes one, after its checks of strength and form.
#[derive(Clone)]
pub struct SignatureKey {
    key: Key,
    algorithm: Algorithm,
    signature_length: usize,
}

#[derive(Clone)]
enum Key {
    /// Parsed once, for all signatures.
    Es256(ParsedPublicKey),
    /// Parsed once, for a signature alone and for several together.
    Ed25519(ParsedPublicKey, ed25519_dalek::VerifyingKey),
    /// Parsed for each signature.
    Rsa(DecodingKey, jsonwebtoken::Algorithm),
}

/// The point is not on the curve.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct PointNotOnCurve;

impl SignatureKey {
    /// Takes an uncompressed point on P-256.
    pub(crate) fn es256(point: &[u8; 65]) -> Result<Self, PointNotOnCurve> {
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_rejected| PointNotOnCurve)?;
        Ok(Self { key: Key::Es256(key), algorithm: Algorithm::Es256, signature_length: CURVE_SIGNATURE })
    }

    /// Takes a point of Ed25519 (RFC 8032 section 5.1.2).
    pub(crate) fn ed25519(point: ed25519_dalek::VerifyingKey) -> Result<Self, PointNotOnCurve> {
        let key = ParsedPublicKey::new(&ED25519, point.as_bytes()).map_err(|_rejected| PointNotOnCurve)?;
        Ok(Self { key: Key::Ed25519(key, point), algorithm: Algorithm::EdDsa, signature_length: CURVE_SIGNATURE })
    }

    /// Takes an RSA modulus and exponent, big-endian without leading zeros.
    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8], padding: RsaPadding) -> Self {
        let (algorithm, theirs) = match padding {
            RsaPadding::Pss => (Algorithm::Ps256, jsonwebtoken::Algorithm::PS256),
            RsaPadding::Pkcs1 => (Algorithm::Rs256, jsonwebtoken::Algorithm::RS256),
        };
        let key = Key::Rsa(DecodingKey::from_rsa_raw_components(modulus, exponent), theirs);
        Self { key, algorithm, signature_length: modulus.len() }
    }

    /// The only algorithm that this key verifies.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature_b64` (base64url without padding) is this key's signature over those
    /// bytes.
    #[must_use]
    pub fn verify(&self, signing_input: &[u8], signature_b64: &str) -> bool {
        // `jsonwebtoken` decodes with the same strict engine, but does not check the length.
        if signature_b64.len() != encoded_length(self.signature_length) {
            return false;
        }
        match &self.key {
            Key::Es256(key) | Key::Ed25519(key, _) => curve_signature(signature_b64)
                .is_some_and(|signature| key.verify_sig(signing_input, &signature).is_ok()),
            Key::Rsa(key, algorithm) => {
                jsonwebtoken::crypto::verify(signature_b64, signing_input, key, *algorithm).unwrap_or(false)
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum RsaPadding {
    Pss,
    Pkcs1,
}

/// Decodes an elliptic signature.
fn curve_signature(signature_b64: &str) -> Option<[u8; CURVE_SIGNATURE]> {
    let mut signature = [0; CURVE_SIGNATURE];
    (URL_SAFE_NO_PAD.decode_slice(signature_b64, &mut signature) == Ok(CURVE_SIGNATURE)).then_some(signature)
}

/// Length of unpadded base64url for that many bytes.
const fn encoded_length(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// SHA-256 of the concatenated parts.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// SHA-256 of texts, each preceded by its length, so that two different lists never have the same
/// input.
#[must_use]
pub fn sha256_of_texts(texts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for text in texts {
        context.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(text);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v04_only_three_parts_make_a_compact_jws() {
        let check = |text: &str, want: Result<(), JwsRejection>| {
            assert_eq!(CompactJws::parse(text, 64).map(|_| ()), want, "{text}");
        };
        check("YQ.YQ.YQ", Ok(()));
        check("YQ.YQ", Err(JwsRejection::Form));
        check("YQ.YQ.YQ.YQ", Err(JwsRejection::Form));
        check("YQ.YQ.YQ.YQ.YQ", Err(JwsRejection::Form));
        check("YQ..YQ", Err(JwsRejection::Form));
        check("YQ.YQ.", Err(JwsRejection::Form));
        check(".YQ.YQ", Err(JwsRejection::Form));
        check(r#"{"payload":"YQ","signatures":[]}"#, Err(JwsRejection::Form));
        check(&"a".repeat(65), Err(JwsRejection::TooLong));
    }

    #[test]
    fn v04_parts_have_one_spelling() {
        #[derive(Deserialize)]
        struct Anything {}
        let check = |payload: &str, want: bool| {
            let text = format!("YQ.{payload}.YQ");
            assert_eq!(CompactJws::parse(&text, 64).unwrap().claims::<Anything>().is_ok(), want, "{payload}");
        };
        check("e30", true); // {}
        check("e31", false); // {} with a stray bit
        check("e30=", false);
        check("e3 0", false);
        check("e30\n", false);
        check("e-30", false);
        check("e/30", false);
        check("e30e30", false); // {}{}
    }

    #[test]
    fn texts_do_not_run_together() {
        assert_ne!(sha256_of_texts(&[b"ab", b"c"]), sha256_of_texts(&[b"a", b"bc"]));
        assert_ne!(sha256_of_texts(&[b"ab"]), sha256_of_texts(&[b"ab", b""]));
    }
}
