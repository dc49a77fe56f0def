//! Keys that must not be enrolled: private keys, weak keys, values that are not keys (V13, V14).

use serde_json::{Value, json};

use crate::malicious::Altered;
use crate::signer::{Algorithm, BrowserKey};
use crate::{Fault, jws};

/// An offered key: its JWK and the offered algorithm.
#[derive(Clone, Debug)]
pub struct Offered {
    /// The JWK.
    pub jwk: Value,
    /// The member `alg` of the offer.
    pub alg: &'static str,
}

/// Every JWK that must be refused at enrolment.
///
/// # Errors
/// [`Fault`] if one cannot be made.
pub fn all() -> Result<Vec<Altered<Offered>>, Fault> {
    let ec = BrowserKey::make(Algorithm::Es256)?.public_jwk();
    let ed = BrowserKey::make(Algorithm::EdDsa)?.public_jwk();
    let rsa = BrowserKey::make(Algorithm::Rs256)?.public_jwk();
    let with = |jwk: &Value, name: &str, value: Value| {
        let mut changed = jwk.clone();
        if let Some(members) = changed.as_object_mut() {
            members.insert(name.to_owned(), value);
        }
        changed
    };
    let zeros = jws::base64url(&[0; 32]);
    let cases = [
        ("v14_ec_private", "ES256", with(&ec, "d", json!(zeros))),
        ("v14_ed_private", "EdDSA", with(&ed, "d", json!(zeros))),
        ("v14_rsa_private", "RS256", with(&rsa, "d", json!("AQAB"))),
        ("v14_rsa_prime", "RS256", with(&rsa, "p", json!("AQAB"))),
        ("v14_symmetric", "ES256", json!({"kty": "oct", "k": zeros})),
        ("v13_ec_off_curve", "ES256", with(&ec, "y", json!(jws::base64url(&[1; 32])))),
        ("v13_ec_infinity", "ES256", json!({"kty": "EC", "crv": "P-256", "x": zeros, "y": zeros})),
        ("v13_ec_short_x", "ES256", with(&ec, "x", json!(jws::base64url(&[1; 31])))),
        ("v13_ec_other_curve", "ES256", with(&ec, "crv", json!("P-384"))),
        ("v13_ec_y_absent", "ES256", json!({"kty": "EC", "crv": "P-256", "x": zeros})),
        ("v13_ed_low_order", "EdDSA", with(&ed, "x", json!(zeros))),
        ("v13_ed_identity", "EdDSA", with(&ed, "x", json!(jws::base64url(&identity())))),
        ("v13_ed_x25519", "EdDSA", with(&ed, "crv", json!("X25519"))),
        ("v13_rsa_1024", "RS256", with(&rsa, "n", json!(odd_number(128)?))),
        ("v13_rsa_2047", "PS256", with(&rsa, "n", json!(odd_number_below(256)?))),
        ("v13_rsa_8192", "RS256", with(&rsa, "n", json!(odd_number(1024)?))),
        ("v13_rsa_exponent_1", "RS256", with(&rsa, "e", json!("AQ"))),
        ("v13_rsa_exponent_3", "RS256", with(&rsa, "e", json!("Aw"))),
        ("v13_rsa_exponent_even", "RS256", with(&rsa, "e", json!("AQAA"))),
        ("v11_ec_said_to_be_rsa", "RS256", ec.clone()),
        ("v11_rsa_said_to_be_ec", "ES256", rsa.clone()),
        ("v11_hs256", "HS256", ec.clone()),
        ("v11_none", "none", ec),
        ("v13_empty", "ES256", json!({})),
        ("v13_a_list", "ES256", json!([])),
    ];
    Ok(cases.into_iter().map(|(name, alg, jwk)| Altered::new(name, Offered { jwk, alg })).collect())
}

/// The neutral point of Ed25519, of order 1.
fn identity() -> [u8; 32] {
    let mut point = [0; 32];
    if let Some(first) = point.first_mut() {
        *first = 1;
    }
    point
}

/// A random odd number of exactly `bytes` bytes with its top bit set.
fn odd_number(bytes: usize) -> Result<String, Fault> {
    random_number(bytes, 0x80)
}

/// A random odd number that is one bit shorter.
fn odd_number_below(bytes: usize) -> Result<String, Fault> {
    random_number(bytes, 0x40)
}

fn random_number(bytes: usize, top: u8) -> Result<String, Fault> {
    let mut number = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut number)?;
    if let Some(first) = number.first_mut() {
        *first = (*first & (top - 1)) | top;
    }
    if let Some(last) = number.last_mut() {
        *last |= 1;
    }
    Ok(jws::base64url(&number))
}
