//! The writing side of JSON Web Signatures, for headers and claims of any form.
//!
//! It checks nothing: most callers write what a verifier must refuse.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::Fault;

/// Base64url without padding.
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes base64url without padding.
///
/// # Errors
/// [`Fault::Key`] for other text.
pub fn from_base64url(text: &str) -> Result<Vec<u8>, Fault> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Fault::Key)
}

/// Standard base64 with padding.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

/// `length` random bytes in base64url, for a `jti` or a `kid`.
///
/// # Errors
/// [`Fault::Key`] if the system has no randomness.
pub fn random(length: usize) -> Result<String, Fault> {
    let mut bytes = vec![0; length];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(base64url(&bytes))
}

/// Signs exactly these bytes of header and payload as a compact JWS.
///
/// # Errors
/// The error of `sign`.
pub fn compact(
    header: &[u8],
    payload: &[u8],
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, Fault>,
) -> Result<String, Fault> {
    let input = format!("{}.{}", base64url(header), base64url(payload));
    let signature = sign(input.as_bytes())?;
    Ok(format!("{input}.{}", base64url(&signature)))
}

/// Reads header and claims of a JWS without verifying it.
///
/// # Errors
/// [`Fault::Key`] or [`Fault::Json`] if the text is not a compact JWS with JSON.
pub fn read(compact: &str) -> Result<(serde_json::Value, serde_json::Value), Fault> {
    let mut parts = compact.split('.');
    let (Some(header), Some(payload)) = (parts.next(), parts.next()) else {
        return Err(Fault::Key);
    };
    Ok((serde_json::from_slice(&from_base64url(header)?)?, serde_json::from_slice(&from_base64url(payload)?)?))
}
