//! Core's RSA key for one provider, and the tokens that Core signs with it.
//!
//! One pair signs both Core's token and the provider's. A verifier must therefore check subject and
//! role, and this module also makes provider tokens so that tests can try them.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use serde_json::{Value, json};

use crate::{Fault, jws};

/// Lifetime of the Go Core's tokens.
pub const CORE2_LIFETIME_S: i64 = 10 * 60;
/// Lifetime of the Kotlin Core's tokens.
pub const CORE1_LIFETIME_S: i64 = 15 * 60;
/// Core renews its token when less than this time remains.
pub const RENEW_BELOW_S: i64 = 3 * 60;

/// The key pair that Core keeps for one provider.
pub struct CoreKeys {
    pair: KeyPair,
    provider: String,
}

impl fmt::Debug for CoreKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "CoreKeys({})", self.provider)
    }
}

impl CoreKeys {
    /// Makes a new RSA-2048 pair for a provider.
    ///
    /// # Errors
    /// [`Fault::Key`] if the pair cannot be made.
    pub fn generate(provider: &str) -> Result<Self, Fault> {
        Ok(Self { pair: KeyPair::generate(KeySize::Rsa2048)?, provider: provider.to_owned() })
    }

    /// Loads a pair that [`CoreKeys::to_pkcs8`] wrote.
    ///
    /// # Errors
    /// [`Fault::Key`] for other bytes.
    pub fn from_pkcs8(provider: &str, der: &[u8]) -> Result<Self, Fault> {
        Ok(Self { pair: KeyPair::from_pkcs8(der)?, provider: provider.to_owned() })
    }

    /// The private key, PKCS #8 DER.
    ///
    /// # Errors
    /// [`Fault::Key`] if the library cannot write it.
    pub fn to_pkcs8(&self) -> Result<Vec<u8>, Fault> {
        let der: Pkcs8V1Der<'_> = self.pair.as_der()?;
        Ok(der.as_ref().to_vec())
    }

    /// The provider that this pair is for.
    #[must_use]
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The public key as Core shows it to a new provider: base64 of the SPKI on one line, without
    /// PEM lines.
    ///
    /// # Errors
    /// [`Fault::Key`] if the library cannot write it.
    pub fn public_base64(&self) -> Result<String, Fault> {
        let der: PublicKeyX509Der<'_> = self.pair.public_key().as_der()?;
        Ok(jws::base64(der.as_ref()))
    }

    /// The public key as `PUBLIC KEY` PEM.
    ///
    /// # Errors
    /// As [`CoreKeys::public_base64`].
    pub fn public_pem(&self) -> Result<String, Fault> {
        let bare = self.public_base64()?;
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        for (at, character) in bare.chars().enumerate() {
            if at > 0 && at % 64 == 0 {
                pem.push('\n');
            }
            pem.push(character);
        }
        pem.push_str("\n-----END PUBLIC KEY-----\n");
        Ok(pem)
    }

    /// Makes the token with which the Go Core calls the provider.
    ///
    /// # Errors
    /// [`Fault::Key`] if signing fails.
    pub fn core2_token(&self, now: i64) -> Result<String, Fault> {
        self.token(&token_header(), &core2_claims(now))
    }

    /// Makes the token with which the Kotlin Core called the provider.
    ///
    /// # Errors
    /// [`Fault::Key`] if signing fails.
    pub fn core1_token(&self, now: i64) -> Result<String, Fault> {
        self.token(&token_header(), &core1_claims(now))
    }

    /// Makes the provider's token for calls to Core. The same key signs it.
    ///
    /// # Errors
    /// [`Fault::Key`] if signing fails.
    pub fn provider_token(&self, now: i64) -> Result<String, Fault> {
        self.token(&token_header(), &provider_claims(&self.provider, now))
    }

    /// Signs any header and claims with Core's key, RS256.
    ///
    /// # Errors
    /// [`Fault::Key`] if signing fails.
    pub fn token(&self, header: &Value, claims: &Value) -> Result<String, Fault> {
        jws::compact(&serde_json::to_vec(header)?, &serde_json::to_vec(claims)?, |input| self.sign(input))
    }

    /// Makes an RS256 signature.
    ///
    /// # Errors
    /// [`Fault::Key`] if signing fails.
    pub fn sign(&self, input: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input, &mut signature)?;
        Ok(signature)
    }
}

/// The header of every token that Core signs.
#[must_use]
pub fn token_header() -> Value {
    json!({"alg": "RS256", "typ": "JWT"})
}

/// The Go Core's claims: `aud` is a list; there is no `jti`.
#[must_use]
pub fn core2_claims(now: i64) -> Value {
    json!({
        "iss": "cloud.sdu.dk", "sub": "_UCloud", "role": "SERVICE", "principalType": "service",
        "aud": ["all:write"], "iat": now, "exp": now.saturating_add(CORE2_LIFETIME_S),
    })
}

/// The Kotlin Core's claims: `aud` is a string, and there are two more claims.
#[must_use]
pub fn core1_claims(now: i64) -> Value {
    json!({
        "iss": "cloud.sdu.dk", "sub": "_UCloud", "role": "SERVICE", "principalType": "service",
        "aud": "all:write", "iat": now, "exp": now.saturating_add(CORE1_LIFETIME_S),
        "uid": 42, "extendedByChain": [],
    })
}

/// The claims of the token that a provider gets for its refresh token.
#[must_use]
pub fn provider_claims(provider: &str, now: i64) -> Value {
    json!({
        "iss": "cloud.sdu.dk", "sub": format!("#P_{provider}"), "role": "PROVIDER", "principalType": "provider",
        "aud": ["all:write"], "iat": now, "exp": now.saturating_add(CORE2_LIFETIME_S),
    })
}
