//! The bench's own signers: Core's token and the user's intents, written from the protocol's text.
//! Deliberately not the product's code, so that a fault there cannot hide behind the same fault
//! here.

use std::collections::BTreeMap;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::error::BenchError;

/// Core's access token lives ten minutes, which is enough for the longest run.
const CORE_TOKEN_LIFETIME_S: i64 = 600;
/// The longest that a provider with default settings accepts.
const INTENT_LIFETIME_S: i64 = 60;
const KEY_ID_BYTES: usize = 16;
const TOKEN_ID_BYTES: usize = 16;
const PEM_COLUMNS: usize = 64;

/// The part of Core that signs its access tokens.
pub(crate) struct CoreSigner {
    key: RsaKeyPair,
    random: SystemRandom,
}

impl CoreSigner {
    pub(crate) fn generate() -> Result<Self, BenchError> {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| BenchError::Keys("RSA generation"))?;
        Ok(Self { key, random: SystemRandom::new() })
    }

    /// An access token as Core2 writes it.
    pub(crate) fn token(&self, now_s: i64) -> Result<String, BenchError> {
        let claims = json!({
            "iss": "cloud.sdu.dk", "sub": "_UCloud", "role": "SERVICE", "principalType": "service",
            "aud": ["all:write"], "iat": now_s, "exp": now_s.saturating_add(CORE_TOKEN_LIFETIME_S),
        });
        let input = signing_input(&json!({"alg": "RS256", "typ": "JWT"}), &claims);
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &self.random, input.as_bytes(), &mut signature)
            .map_err(|_| BenchError::Keys("RSA signature"))?;
        Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The private key, for the stand-in for Core.
    pub(crate) fn pkcs8(&self) -> Result<Vec<u8>, BenchError> {
        let der: Pkcs8V1Der<'_> = self.key.as_der().map_err(|_| BenchError::Keys("RSA private key"))?;
        Ok(der.as_ref().to_vec())
    }

    pub(crate) fn public_pem(&self) -> Result<String, BenchError> {
        let der: PublicKeyX509Der<'_> =
            self.key.public_key().as_der().map_err(|_| BenchError::Keys("RSA public key"))?;
        Ok(pem(der.as_ref()))
    }

    pub(crate) fn jwks(&self) -> Value {
        let public = self.key.public_key();
        json!({"keys": [{
            "kty": "RSA", "alg": "RS256", "use": "sig",
            "n": URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
            "e": URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
        }]})
    }
}

/// The algorithm of users' keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Algorithm {
    Es256,
    Ed25519,
}

impl Algorithm {
    /// Every algorithm, the browsers' default first.
    pub(crate) const ALL: [Self; 2] = [Self::Ed25519, Self::Es256];

    /// The value of `alg`.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Ed25519 => "EdDSA",
        }
    }
}

/// A user's signing key, as their browser would hold it.
pub(crate) struct UserSigner {
    key: UserKey,
    key_id: String,
    random: SystemRandom,
}

enum UserKey {
    Es256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A user's request.
pub(crate) struct Wish<'a> {
    pub(crate) audience: &'a str,
    pub(crate) username: &'a str,
    pub(crate) call: &'a str,
    pub(crate) digest: &'a str,
}

impl UserSigner {
    pub(crate) fn generate(algorithm: Algorithm) -> Result<Self, BenchError> {
        let key = match algorithm {
            Algorithm::Es256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(UserKey::Es256),
            Algorithm::Ed25519 => Ed25519KeyPair::generate().map(UserKey::Ed25519),
        };
        let key = key.map_err(|_| BenchError::Keys("a user's key"))?;
        Ok(Self { key, key_id: random_text::<KEY_ID_BYTES>()?, random: SystemRandom::new() })
    }

    /// A version 2 intent with a unique `jti`.
    pub(crate) fn intent(&self, wish: &Wish<'_>, now_s: i64) -> Result<String, BenchError> {
        let claims = json!({
            "aud": wish.audience, "username": wish.username, "project": null, "call": wish.call,
            "iat": now_s, "exp": now_s.saturating_add(INTENT_LIFETIME_S),
            "jti": random_text::<TOKEN_ID_BYTES>()?, "params": [wish.digest],
        });
        let header = json!({"alg": self.algorithm().as_str(), "kid": self.key_id, "typ": "ucloud-intent+jwt"});
        let input = signing_input(&header, &claims);
        let signature = match &self.key {
            UserKey::Es256(key) => {
                key.sign(&self.random, input.as_bytes()).map_err(|_| BenchError::Keys("P-256 signature"))?
            }
            UserKey::Ed25519(key) => key.sign(input.as_bytes()),
        };
        Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    pub(crate) const fn algorithm(&self) -> Algorithm {
        match self.key {
            UserKey::Es256(_) => Algorithm::Es256,
            UserKey::Ed25519(_) => Algorithm::Ed25519,
        }
    }

    pub(crate) fn key_id(&self) -> &str {
        &self.key_id
    }

    pub(crate) fn public_spki(&self) -> Result<Vec<u8>, BenchError> {
        let der: PublicKeyX509Der<'_> = match &self.key {
            UserKey::Es256(key) => key.public_key().as_der(),
            UserKey::Ed25519(key) => key.public_key().as_der(),
        }
        .map_err(|_| BenchError::Keys("a user's public key"))?;
        Ok(der.as_ref().to_vec())
    }

    pub(crate) fn public_pem(&self) -> Result<String, BenchError> {
        Ok(pem(&self.public_spki()?))
    }

    /// For proxies that verify ES256.
    pub(crate) fn jwks(&self) -> Result<Value, BenchError> {
        let UserKey::Es256(key) = &self.key else { return Err(BenchError::Keys("a P-256 key")) };
        // An uncompressed point: 0x04, then the two coordinates.
        let point = key.public_key().as_ref();
        let (x, y) = match point.split_first() {
            Some((4, coordinates)) if coordinates.len() == 64 => coordinates.split_at(32),
            _ => return Err(BenchError::Keys("P-256 public key")),
        };
        Ok(json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.key_id,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]}))
    }
}

/// The digest of one item's bound parameters, all of whose names and values are plain ASCII without
/// escapes. For those, RFC 8785 requires only sorted members and no white space.
pub(crate) fn digest_of_strings(bound: &BTreeMap<&str, Option<&str>>) -> String {
    digest_of(&json!(bound))
}

/// The same for a whole object. `serde_json` keeps its members sorted; its numbers are integers.
pub(crate) fn digest_of(bound: &Value) -> String {
    sha256(bound.to_string().as_bytes(), &URL_SAFE_NO_PAD)
}

/// SHA-256 in base64url.
pub(crate) fn sha256(bytes: &[u8], encoding: &impl Engine) -> String {
    encoding.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

fn signing_input(header: &Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn random_text<const BYTES: usize>() -> Result<String, BenchError> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).map_err(|_| BenchError::Keys("random bytes"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn pem(spki: &[u8]) -> String {
    let encoded = STANDARD.encode(spki);
    let lines: Vec<_> = encoded.as_bytes().chunks(PEM_COLUMNS).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}
