//! The two values of a key agreement: the instance's public key, in the token, and the client's
//! encapsulated key, in the intent.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// The suite's KEM, as a token names it. KDF and AEAD are fixed with it: HKDF-SHA256, AES-256-GCM.
pub const KEM: &str = "DHKEM(P-256, HKDF-SHA256)";

/// Length of a public key of the KEM, and of an encapsulated key, in bytes (RFC 9180 section 7.1).
pub const POINT: usize = 65;

/// A token's claim `seal`: the public key to which its session can be sealed.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SealClaim {
    kem: String,
    pk: String,
}

impl SealClaim {
    /// The claim for this public key.
    #[must_use]
    pub fn of(public: &[u8; POINT]) -> Self {
        Self { kem: KEM.to_owned(), pk: URL_SAFE_NO_PAD.encode(public) }
    }

    /// Whether it names the one KEM and has a key of that length.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        self.kem == KEM && point(&self.pk).is_some()
    }
}

/// The encapsulated key (`enc`) with which a client opens a sealed session: well-formed base64url,
/// and not yet checked to be a point.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct EncapsulatedKey([u8; POINT]);

impl EncapsulatedKey {
    /// Reads it from base64url; `None` if the text is not canonical, or of another length.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        point(text).map(Self)
    }

    /// In base64url, as the user signs it.
    #[must_use]
    pub fn to_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    #[cfg(feature = "seal")]
    pub(super) const fn as_bytes(&self) -> &[u8; POINT] {
        &self.0
    }
}

impl fmt::Debug for EncapsulatedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncapsulatedKey")
    }
}

impl Serialize for EncapsulatedKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_base64url())
    }
}

fn point(text: &str) -> Option<[u8; POINT]> {
    let mut bytes = [0; POINT];
    (text.len() == 87 && URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) == Ok(POINT)).then_some(bytes)
}

/// Why a session cannot be sealed, although its intent asks for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SealFailure {
    /// The encapsulated key is no point of the curve.
    #[error("the encapsulated key is not a point of the curve")]
    Point,
    /// A key cannot be derived. No input is known to cause this.
    #[error("the session's keys cannot be derived")]
    Derivation,
}
