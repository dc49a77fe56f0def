//! Compact JWS (RFC 7515), and the only place that knows the `jsonwebtoken` crate.
//!
//! Of that crate only the signature check itself is used: its `Validation` reads the clock,
//! forgives 60 s and passes absent claims. Taking the envelope apart is done here, in the one
//! spelling that RFC 7515 section 2 gives it. ES256, which is what every browser signs with, goes
//! to aws-lc directly: that crate would read the key anew for each signature.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Signature algorithms that are taken (RFC 7518 section 3.1, RFC 8037). No other is known here,
/// `none` least of all.
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
    /// The name that `alg` has.
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

/// Length of an ES256 signature: r and s (RFC 7518 section 3.4), in bytes.
const ES256_SIGNATURE: usize = 64;

/// Why an envelope is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum JwsRejection {
    /// Longer than its place allows.
    #[error("the JWS is too long")]
    TooLong,
    /// Not three parts of canonical base64url without padding.
    #[error("not a compact JWS: three parts of base64url without padding or white space")]
    Form,
    /// The header is not the JSON object that is expected, member for member.
    #[error("the protected header is not exactly as the profile says")]
    Header,
    /// The payload is not the JSON object that is expected, member for member.
    #[error("the claims are not exactly as the profile says")]
    Claims,
}

/// A JWS in compact serialization, taken apart and not believed.
#[derive(Clone, Copy, Debug)]
pub struct CompactJws<'a> {
    text: &'a str,
    header_end: usize,
    payload_end: usize,
}

impl<'a> CompactJws<'a> {
    /// Takes the three parts apart.
    ///
    /// # Errors
    /// If the text is longer than `length_max` bytes or not of that form.
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

    /// The text as it came.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// Reads the protected header. The type says which members may be there.
    ///
    /// # Errors
    /// If it is not canonical base64url of exactly such an object.
    pub fn header<T: DeserializeOwned>(&self) -> Result<T, JwsRejection> {
        serde_json::from_slice(&self.header_bytes()?).map_err(|_| JwsRejection::Header)
    }

    /// The protected header's text, where more than one type may fit.
    ///
    /// # Errors
    /// If it is not canonical base64url.
    pub(crate) fn header_bytes(&self) -> Result<Vec<u8>, JwsRejection> {
        decode(self.header_b64())
    }

    /// Reads the claims. The type says which members may be there. They are not to be believed
    /// before [`CompactJws::verify`].
    ///
    /// # Errors
    /// If they are not canonical base64url of exactly such an object.
    pub fn claims<T: DeserializeOwned>(&self) -> Result<T, JwsRejection> {
        serde_json::from_slice(&decode(self.payload_b64())?).map_err(|_| JwsRejection::Claims)
    }

    /// Whether the signature is this key's, over this header and payload.
    #[must_use]
    pub fn verify(&self, key: &SignatureKey) -> bool {
        let signing_input = self.text.get(..self.payload_end).unwrap_or_default();
        key.verify(signing_input.as_bytes(), self.signature_b64())
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

/// A public key with the one algorithm that it is for, in the form that the signature check wants.
///
/// Made by [`crate::keyring`] alone, after its checks on strength and form.
#[derive(Clone)]
pub struct SignatureKey {
    key: Key,
    algorithm: Algorithm,
    signature_length: usize,
}

/// A key in the hands of whoever checks with it.
#[derive(Clone)]
enum Key {
    /// Read once, for every signature to come.
    Es256(ParsedPublicKey),
    /// Read anew for each.
    Other(DecodingKey, jsonwebtoken::Algorithm),
}

/// Not a point on P-256.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct OffCurve;

impl SignatureKey {
    /// An uncompressed point on P-256.
    pub(crate) fn es256(point: &[u8; 65]) -> Result<Self, OffCurve> {
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_rejected| OffCurve)?;
        Ok(Self { key: Key::Es256(key), algorithm: Algorithm::Es256, signature_length: ES256_SIGNATURE })
    }

    /// An Ed25519 public key.
    pub(crate) fn ed25519(bytes: &[u8; 32]) -> Self {
        let key = Key::Other(DecodingKey::from_ed_der(bytes), jsonwebtoken::Algorithm::EdDSA);
        Self { key, algorithm: Algorithm::EdDsa, signature_length: 64 }
    }

    /// An RSA modulus and exponent, big-endian without leading zeros.
    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8], padding: RsaPadding) -> Self {
        let (algorithm, theirs) = match padding {
            RsaPadding::Pss => (Algorithm::Ps256, jsonwebtoken::Algorithm::PS256),
            RsaPadding::Pkcs1 => (Algorithm::Rs256, jsonwebtoken::Algorithm::RS256),
        };
        let key = Key::Other(DecodingKey::from_rsa_raw_components(modulus, exponent), theirs);
        Self { key, algorithm, signature_length: modulus.len() }
    }

    /// The one algorithm that this key verifies.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature_b64`, base64url without padding, is this key's signature over those
    /// bytes.
    #[must_use]
    pub fn verify(&self, signing_input: &[u8], signature_b64: &str) -> bool {
        // `jsonwebtoken` decodes with the same strict engine; the length is ours to insist on.
        if signature_b64.len() != encoded_length(self.signature_length) {
            return false;
        }
        match &self.key {
            Key::Es256(key) => {
                let mut signature = [0; ES256_SIGNATURE];
                URL_SAFE_NO_PAD.decode_slice(signature_b64, &mut signature) == Ok(ES256_SIGNATURE)
                    && key.verify_sig(signing_input, &signature).is_ok()
            }
            Key::Other(key, algorithm) => {
                jsonwebtoken::crypto::verify(signature_b64, signing_input, key, *algorithm).unwrap_or(false)
            }
        }
    }
}

/// The two ways of RSA.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum RsaPadding {
    /// RSASSA-PSS.
    Pss,
    /// RSASSA-PKCS1-v1_5.
    Pkcs1,
}

/// Length of the base64url without padding of that many bytes.
const fn encoded_length(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// SHA-256 of the parts, one after the other.
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

/// SHA-256 of texts, each preceded by its length, so that no two lists of texts run together into
/// the same input.
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
    #![allow(clippy::unwrap_used)]
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
