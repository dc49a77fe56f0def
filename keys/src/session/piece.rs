//! What a session's request says of the bytes that come with it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Serialize;

use crate::session::rejection::SessionRejection;

/// The bytes that come with a session's request, as its head announces them; nothing where none
/// come.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Piece {
    /// Where the first of them belongs; -1: behind the last that came.
    pub offset: Option<i64>,
    /// How many they are.
    pub size: Option<i64>,
    /// How many there will be in all.
    pub total: Option<i64>,
    /// Their SHA-256.
    pub digest: Option<ContentDigest>,
}

/// SHA-256 of a body, as `Content-Digest` announces it (RFC 9530).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ContentDigest(pub [u8; 32]);

impl ContentDigest {
    /// Reads the value of a `Content-Digest` header: one SHA-256, and no other digest, so that
    /// nobody checks another one.
    ///
    /// # Errors
    /// If it is anything else.
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
