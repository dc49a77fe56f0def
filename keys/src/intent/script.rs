//! The digest of a job's script, which the user signs with `jobs.create` (protocol, section 12).
//!
//! Core knows nothing of the script, so no request of its has the digest. The intent carries it in
//! a claim, and [`crate::bind`] adds it to the item whose digest is signed. Refuses every spelling
//! of a digest but one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize};

use crate::jws::sha256;

/// Characters of 32 bytes in base64url without padding.
const LENGTH: usize = 43;

/// SHA-256 of the text that the user saw, base64url: 43 characters.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ScriptDigest(String);

impl ScriptDigest {
    /// Parses the digest's text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut digest = [0; 32];
        let is_digest = text.len() == LENGTH && URL_SAFE_NO_PAD.decode_slice(text, &mut digest) == Ok(digest.len());
        is_digest.then(|| Self(text.to_owned()))
    }

    /// The digest of a script as it is shown.
    #[must_use]
    pub fn of(shown: &str) -> Self {
        Self(URL_SAFE_NO_PAD.encode(sha256(&[shown.as_bytes()])))
    }

    /// The text that is signed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Refuses `null`: a claim that says nothing is left out.
pub(super) fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ScriptDigest>, D::Error> {
    let text = String::deserialize(deserializer)?;
    ScriptDigest::parse(&text).map(Some).ok_or_else(|| serde::de::Error::custom("the claim script is no SHA-256"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j01_a_digest_has_one_spelling() {
        let digest = ScriptDigest::of("#!/bin/sh\n");
        assert_eq!(ScriptDigest::parse(digest.as_str()), Some(digest.clone()));
        assert_ne!(ScriptDigest::of("#!/bin/sh"), digest);
        let with_padding = format!("{}=", digest.as_str());
        for text in ["", "x", &with_padding, &digest.as_str()[1..], &"+".repeat(43), &"B".repeat(43)] {
            assert_eq!(ScriptDigest::parse(text), None, "{text}");
        }
    }
}
