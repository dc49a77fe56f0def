//! The announcements of a session's request: its bytes, and the key of a seal.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Serialize;

use crate::seal::EncapsulatedKey;
use crate::session::rejection::SessionRejection;

/// The bytes of a session's request, as its head announces them, and the key that seals the
/// session. Every field is empty if the request has nothing of it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Piece {
    /// Offset of the first byte; -1 means after the last byte received.
    pub offset: Option<i64>,
    /// Number of bytes.
    pub size: Option<i64>,
    /// Total number of bytes of the file.
    pub total: Option<i64>,
    /// SHA-256 of the bytes.
    pub digest: Option<ContentDigest>,
    /// The encapsulated key, if the request opens a sealed session. Absent otherwise from what the
    /// user signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enc: Option<EncapsulatedKey>,
}

impl Piece {
    /// A request without bytes, which seals the session if it has a key.
    #[must_use]
    pub fn without_bytes(enc: Option<EncapsulatedKey>) -> Self {
        Self { enc, ..Self::default() }
    }
}

/// SHA-256 of a body, as in `Content-Digest` (RFC 9530).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ContentDigest(pub [u8; 32]);

impl ContentDigest {
    /// Reads the value of a `Content-Digest` header. Accepts one SHA-256 digest and no other, so
    /// that all readers check the same one.
    ///
    /// # Errors
    /// The value has another form.
    pub fn parse(value: &str) -> Result<Self, SessionRejection> {
        let mut digest = [0; 32];
        let encoded = value.strip_prefix("sha-256=:").and_then(|rest| rest.strip_suffix(':'));
        match encoded.filter(|text| text.len() == 44).map(|text| STANDARD.decode_slice(text, &mut digest)) {
            Some(Ok(32)) => Ok(Self(digest)),
            _ => Err(SessionRejection::Piece("content-digest")),
        }
    }

    /// The header's value.
    #[must_use]
    pub fn to_header(&self) -> String {
        format!("sha-256=:{}:", STANDARD.encode(self.0))
    }
}

impl Serialize for ContentDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}
