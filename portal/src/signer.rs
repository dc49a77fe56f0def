//! The keys of a user's browser: it makes them, keeps them and signs with them.
//!
//! A [`BrowserKey`] signs any bytes, because tests need signatures that no browser would make.
//! [`Intent`] is the honest form; [`Draft`] lets a test alter it.

mod intent;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
};
use serde_json::{Value, json};

pub use self::intent::{
    Draft, INTENT_TYP, Intent, LIFETIME_S, PROOF_TYP, Projection, enrolment_proof, intent_version_1, renewal_proof,
    sign_text, ticket_hash, tree,
};

use crate::{Fault, jws};

/// Length of a key id, in bytes.
pub const KID_BYTES: usize = 16;

/// The signature algorithms of browsers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256, which every browser has.
    Es256,
    /// Ed25519.
    EdDsa,
    /// RSA-PSS with SHA-256.
    Ps256,
    /// RSA PKCS #1 with SHA-256.
    Rs256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Es256, Self::EdDsa, Self::Ps256, Self::Rs256];

    /// The name in a JWS header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
        }
    }
}

/// A key pair in the user's browser. Clones share the pair.
#[derive(Clone)]
pub struct BrowserKey {
    algorithm: Algorithm,
    pair: Arc<Pair>,
    kid: String,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(rsa::KeyPair),
}

impl fmt::Debug for BrowserKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "BrowserKey({} {})", self.algorithm.name(), self.kid)
    }
}

impl BrowserKey {
    /// Makes a pair with a random id, which enrolment replaces.
    ///
    /// # Errors
    /// [`Fault::Key`] if the pair cannot be made.
    pub fn make(algorithm: Algorithm) -> Result<Self, Fault> {
        let pair = match algorithm {
            Algorithm::Es256 => Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?),
            Algorithm::EdDsa => Pair::Ed(Ed25519KeyPair::generate()?),
            Algorithm::Ps256 | Algorithm::Rs256 => Pair::Rsa(rsa::KeyPair::generate(KeySize::Rsa2048)?),
        };
        Ok(Self { algorithm, pair: Arc::new(pair), kid: jws::random(KID_BYTES)? })
    }

    /// The algorithm with which it signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the pair with another algorithm, for example an RSA key that was enrolled for RS256
    /// and signs PS256.
    #[must_use]
    pub fn with_algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// The key id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Sets the key id: the one from enrolment, or another user's.
    pub fn set_kid(&mut self, kid: &str) {
        kid.clone_into(&mut self.kid);
    }

    /// The public key as a browser exports it.
    #[must_use]
    pub fn public_jwk(&self) -> Value {
        match self.pair.as_ref() {
            Pair::Ec(pair) => {
                // An uncompressed point: 4, then x and y of 32 bytes each.
                let point = pair.public_key().as_ref();
                let (x, y) = point.get(1..).unwrap_or_default().split_at_checked(32).unwrap_or_default();
                json!({"kty": "EC", "crv": "P-256", "x": jws::base64url(x), "y": jws::base64url(y)})
            }
            Pair::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": jws::base64url(pair.public_key().as_ref())})
            }
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                json!({
                    "kty": "RSA",
                    "n": jws::base64url(public.modulus().big_endian_without_leading_zero()),
                    "e": jws::base64url(public.exponent().big_endian_without_leading_zero()),
                })
            }
        }
    }

    /// The public key as SPKI DER.
    ///
    /// # Errors
    /// [`Fault::Key`] if the library cannot write it.
    pub fn public_spki(&self) -> Result<Vec<u8>, Fault> {
        let der: PublicKeyX509Der<'_> = match self.pair.as_ref() {
            Pair::Ec(pair) => pair.public_key().as_der()?,
            Pair::Ed(pair) => pair.public_key().as_der()?,
            Pair::Rsa(pair) => pair.public_key().as_der()?,
        };
        Ok(der.as_ref().to_vec())
    }

    /// Signs `input`; the signature has the form of JWS.
    ///
    /// # Errors
    /// [`Fault::Key`] if signing fails.
    pub fn sign(&self, input: &[u8]) -> Result<Vec<u8>, Fault> {
        Ok(match self.pair.as_ref() {
            Pair::Ec(pair) => pair.sign(&SystemRandom::new(), input)?.as_ref().to_vec(),
            Pair::Ed(pair) => pair.try_sign(input)?.as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let padding = match self.algorithm {
                    Algorithm::Ps256 => &RSA_PSS_SHA256,
                    Algorithm::Rs256 | Algorithm::Es256 | Algorithm::EdDsa => &RSA_PKCS1_SHA256,
                };
                pair.sign(padding, &SystemRandom::new(), input, &mut signature)?;
                signature
            }
        })
    }
}
