//! JSON Web Signatures, the writing half: header and claims of any shape, valid or not.
//!
//! It checks nothing, because most of its users want to write what a verifier must refuse.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::Fault;

/// Base64url without padding.
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Bytes of base64url without padding.
///
/// # Errors
/// [`Fault::Key`] for anything else.
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

/// `length` random bytes in base64url: for a `jti` or a `kid`.
///
/// # Errors
/// [`Fault::Key`] where the system has no randomness to give.
pub fn random(length: usize) -> Result<String, Fault> {
    let mut bytes = vec![0; length];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(base64url(&bytes))
}

/// A compact JWS over exactly these bytes of header and payload.
///
/// # Errors
/// What `sign` returns.
pub fn compact(
    header: &[u8],
    payload: &[u8],
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, Fault>,
) -> Result<String, Fault> {
    let input = format!("{}.{}", base64url(header), base64url(payload));
    let signature = sign(input.as_bytes())?;
    Ok(format!("{input}.{}", base64url(&signature)))
}

/// The two JSON values of a JWS that one wrote oneself.
///
/// # Errors
/// [`Fault::Key`] or [`Fault::Json`] where the text is no compact JWS with JSON in it.
pub fn read(compact: &str) -> Result<(serde_json::Value, serde_json::Value), Fault> {
    let mut parts = compact.split('.');
    let (Some(header), Some(payload)) = (parts.next(), parts.next()) else {
        return Err(Fault::Key);
    };
    Ok((serde_json::from_slice(&from_base64url(header)?)?, serde_json::from_slice(&from_base64url(payload)?)?))
}
