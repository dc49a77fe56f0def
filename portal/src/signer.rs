//! What the user's browser does with keys: makes them, keeps them, signs with them.
//!
//! A [`BrowserKey`] signs whatever it is given, because tests need signatures over things that no
//! browser would sign; [`Intent`] is the honest way, [`Draft`] the place where a test alters it.

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

/// Random bytes of a key id.
pub const KID_BYTES: usize = 16;

/// The signature algorithms that a browser can have.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256: every browser.
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
    /// Makes a pair. Its id is random until enrolment gives it another.
    ///
    /// # Errors
    /// [`Fault::Key`] where none can be made.
    pub fn make(algorithm: Algorithm) -> Result<Self, Fault> {
        let pair = match algorithm {
            Algorithm::Es256 => Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?),
            Algorithm::EdDsa => Pair::Ed(Ed25519KeyPair::generate()?),
            Algorithm::Ps256 | Algorithm::Rs256 => Pair::Rsa(rsa::KeyPair::generate(KeySize::Rsa2048)?),
        };
        Ok(Self { algorithm, pair: Arc::new(pair), kid: jws::random(KID_BYTES)? })
    }

    /// The algorithm that it was made for.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The same pair under another algorithm: an RSA key that signs PS256 though it was enrolled
    /// for RS256.
    #[must_use]
    pub fn with_algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Its id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Takes the id that enrolment gave, or one that is somebody else's.
    pub fn set_kid(&mut self, kid: &str) {
        kid.clone_into(&mut self.kid);
    }

    /// The public half as a browser exports it.
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

    /// The public half as SPKI DER.
    ///
    /// # Errors
    /// [`Fault::Key`] where the library cannot write it.
    pub fn public_spki(&self) -> Result<Vec<u8>, Fault> {
        let der: PublicKeyX509Der<'_> = match self.pair.as_ref() {
            Pair::Ec(pair) => pair.public_key().as_der()?,
            Pair::Ed(pair) => pair.public_key().as_der()?,
            Pair::Rsa(pair) => pair.public_key().as_der()?,
        };
        Ok(der.as_ref().to_vec())
    }

    /// A signature in the form that JWS has.
    ///
    /// # Errors
    /// [`Fault::Key`] where signing fails.
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
