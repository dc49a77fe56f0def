//! Verifies Core's access token, which shows that a request comes from Core (`docs/ucloud-wire.md`,
//! section 1.1).
//!
//! Accepts only RS256 with the one configured key. Refuses the provider's own token, which Core
//! signs with the same key. Expiry has no tolerance: Core renews its token three minutes before the
//! end.

use std::sync::Arc;

use serde::Deserialize;
use x509_cert::der::{Decode as _, Encode as _};

use crate::call::{Row, ServiceCall};
use crate::identity::Username;
use crate::jws::{Algorithm, CompactJws, JwsRejection, sha256};
use crate::keyring::{KeyRejection, VerificationKey, pem_body};
use crate::request::{BearerToken, Presented, PresentedLane, TOKEN_MAX, UserRequestKind, sealed};
use crate::time::Timestamp;

/// How far Core's clock may be ahead, in seconds.
const FUTURE_SKEW_S: i64 = 5;

/// Longest lifetime of an accepted token, in seconds. Core's tokens live 10 minutes, older ones 15.
const LIFETIME_MAX_S: i64 = 3600;

/// Verified tokens remembered. Core uses one at a time, and two while it renews.
const REMEMBERED_MAX: usize = 8;

/// Why Core's token is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CoreTokenRejection {
    /// Not a JWS of the expected form.
    #[error("Core's token: {0}")]
    Form(JwsRejection),
    /// Signed by another key, or not signed.
    #[error("Core's token: the signature is not that of the configured key")]
    Signature,
    /// `iss` is not UCloud.
    #[error("Core's token: iss is not cloud.sdu.dk")]
    Issuer,
    /// Not Core's own token, but the provider's or a user's.
    #[error("Core's token: sub and role are not those of UCloud itself")]
    Subject,
    /// The scope is not `all:write`.
    #[error("Core's token: aud is not all:write")]
    Audience,
    /// `exp` has passed.
    #[error("Core's token: expired")]
    Expired,
    /// `iat` or `nbf` is further ahead than clocks may differ.
    #[error("Core's token: issued in the future")]
    FromTheFuture,
    /// The lifetime is longer than that of any token of Core's.
    #[error("Core's token: valid for longer than {LIFETIME_MAX_S} s")]
    Lifetime,
}

impl CoreTokenRejection {
    /// Whether the token is Core's and only a clock or its age is wrong.
    #[must_use]
    pub const fn is_of_its_time(self) -> bool {
        match self {
            Self::Expired | Self::FromTheFuture => true,
            Self::Form(_) | Self::Signature | Self::Issuer | Self::Subject | Self::Audience | Self::Lifetime => false,
        }
    }
}

impl From<JwsRejection> for CoreTokenRejection {
    fn from(cause: JwsRejection) -> Self {
        // Not a source: the text of the cause is part of this text.
        Self::Form(cause)
    }
}

/// Why Core's public key is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CoreKeyRejection {
    /// Not in any of the three forms.
    #[error("neither bare base64 of an SPKI, nor a PUBLIC KEY PEM, nor a CERTIFICATE PEM")]
    Form,
    /// Not a usable RSA key.
    #[error(transparent)]
    Key(#[from] KeyRejection),
}

/// The public key with which Core signs its requests to this provider.
#[derive(Clone, Debug)]
pub struct CoreKey(VerificationKey);

impl CoreKey {
    /// Reads the key in the forms that operators get: bare base64 of the SPKI on one line, a PEM
    /// public key, or a PEM certificate. Accepts line ends of any kind.
    ///
    /// # Errors
    /// The text has none of these forms, or the key is not an RSA key of sufficient strength.
    pub fn parse(text: &str) -> Result<Self, CoreKeyRejection> {
        let spki = if text.contains("-----BEGIN CERTIFICATE-----") {
            let der = pem_body(text, "CERTIFICATE").ok_or(CoreKeyRejection::Form)?;
            let certificate = x509_cert::Certificate::from_der(&der).map_err(|_| CoreKeyRejection::Form)?;
            certificate.tbs_certificate.subject_public_key_info.to_der().map_err(|_| CoreKeyRejection::Form)?
        } else if text.contains("-----BEGIN") {
            pem_body(text, "PUBLIC KEY").ok_or(CoreKeyRejection::Form)?
        } else {
            let armoured = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----");
            pem_body(&armoured, "PUBLIC KEY").ok_or(CoreKeyRejection::Form)?
        };
        Ok(Self(VerificationKey::from_spki_der(&spki, Algorithm::Rs256)?))
    }

    /// The fingerprint that people compare.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint()
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<Timestamp, CoreTokenRejection> {
        let jws = CompactJws::parse(token, TOKEN_MAX)?;
        let Header { alg, typ: _, kid: _ } = jws.header()?;
        if alg != Algorithm::Rs256 || !jws.verify(self.0.signature_key()) {
            return Err(CoreTokenRejection::Signature);
        }
        let Claims { iss, sub, role, iat, exp, nbf, aud } = jws.claims()?;
        if iss != "cloud.sdu.dk" {
            return Err(CoreTokenRejection::Issuer);
        }
        if sub != "_UCloud" || role != "SERVICE" {
            return Err(CoreTokenRejection::Subject);
        }
        if !aud.has("all:write") {
            return Err(CoreTokenRejection::Audience);
        }
        if exp <= now {
            return Err(CoreTokenRejection::Expired);
        }
        if iat.max(nbf.unwrap_or(iat)) > now.plus(FUTURE_SKEW_S) {
            return Err(CoreTokenRejection::FromTheFuture);
        }
        if exp.since(iat) > LIFETIME_MAX_S || exp <= iat {
            return Err(CoreTokenRejection::Lifetime);
        }
        Ok(exp)
    }
}

/// The header that both Cores write. `kid` is accepted and selects nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: Algorithm,
    #[serde(default)]
    #[allow(dead_code, reason = "read so that it has to be one of the two")]
    typ: Option<Typ>,
    #[serde(default)]
    #[allow(dead_code, reason = "read so that it has to be a string")]
    kid: Option<String>,
}

#[derive(Deserialize)]
enum Typ {
    #[serde(rename = "JWT")]
    Jwt,
}

/// The claims that are read. Core's other claims (`uid`, `extendedByChain`, `principalType`) decide
/// nothing.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    role: String,
    iat: Timestamp,
    exp: Timestamp,
    #[serde(default)]
    nbf: Option<Timestamp>,
    aud: Audience,
}

/// A string from the older Core, an array from the newer. Core names a scope here, not the
/// provider: the *key* binds a token to a provider.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn has(&self, scope: &str) -> bool {
        match self {
            Self::One(one) => one == scope,
            Self::Many(many) => many.iter().any(|one| one == scope),
        }
    }
}

/// Core's key, and the verified tokens that have not expired.
#[derive(Debug)]
pub struct CoreTokens {
    key: CoreKey,
    /// SHA-256 of the token and its expiry, the newest last. At most [`REMEMBERED_MAX`]; the oldest
    /// is evicted first.
    remembered: Vec<([u8; 32], Timestamp)>,
}

impl CoreTokens {
    /// Makes an empty memory.
    #[must_use]
    pub const fn new(key: CoreKey) -> Self {
        Self { key, remembered: Vec::new() }
    }

    /// Verifies that the request comes from Core.
    ///
    /// # Errors
    /// Why the token is refused.
    pub fn authenticate<'h>(
        &mut self,
        presented: Presented<'h>,
        now: Timestamp,
    ) -> Result<Authenticated<'h>, CoreTokenRejection> {
        let Presented { token, lane } = presented;
        self.verify(token.expose(), now)?;
        Ok(match lane {
            PresentedLane::Service(call) => Authenticated::Service(ServiceRequest { call, token }),
            PresentedLane::User { row, username, intent } => {
                Authenticated::User(UserRequest { row, username, intent, token })
            }
        })
    }

    /// Verifies a token on its own. This gives no authority: [`CoreTokens::authenticate`] does.
    ///
    /// # Errors
    /// Why the token is refused.
    pub fn check(&mut self, token: BearerToken<'_>, now: Timestamp) -> Result<(), CoreTokenRejection> {
        self.verify(token.expose(), now)
    }

    fn verify(&mut self, token: &str, now: Timestamp) -> Result<(), CoreTokenRejection> {
        let digest = sha256(&[token.as_bytes()]);
        self.remembered.retain(|(_, expires)| *expires > now);
        if self.remembered.iter().any(|(known, _)| *known == digest) {
            return Ok(());
        }
        let expires = self.key.verify(token, now)?;
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.remove(0);
        }
        self.remembered.push((digest, expires));
        Ok(())
    }
}

/// A request that comes from Core. Only [`CoreTokens::authenticate`] makes one.
#[derive(Debug)]
pub enum Authenticated<'h> {
    /// Core acts on its own account.
    Service(ServiceRequest<'h>),
    /// Core says that it acts for a user.
    User(UserRequest<'h>),
}

/// A request of Core on its own account. Core's token is enough for it.
#[derive(Debug)]
pub struct ServiceRequest<'h> {
    call: ServiceCall,
    token: BearerToken<'h>,
}

impl<'h> ServiceRequest<'h> {
    /// The call.
    #[must_use]
    pub const fn call(&self) -> ServiceCall {
        self.call
    }

    /// Core's token, so that the server can verify it again.
    #[must_use]
    pub const fn token(&self) -> BearerToken<'h> {
        self.token
    }
}

/// A request of Core for a user. The user's consent is not shown yet.
#[derive(Debug)]
pub struct UserRequest<'h> {
    pub(crate) row: Arc<Row>,
    pub(crate) username: Username,
    pub(crate) intent: Option<&'h str>,
    pub(crate) token: BearerToken<'h>,
}

impl<'h> UserRequest<'h> {
    /// The call.
    #[must_use]
    pub const fn row(&self) -> &Arc<Row> {
        &self.row
    }

    /// The user that Core names.
    #[must_use]
    pub const fn username(&self) -> &Username {
        &self.username
    }

    /// The intent of the header, if there is one.
    #[must_use]
    pub const fn intent(&self) -> Option<&'h str> {
        self.intent
    }
}

impl sealed::Sealed for UserRequest<'_> {}

impl UserRequestKind for UserRequest<'_> {
    fn row(&self) -> &Arc<Row> {
        &self.row
    }

    fn username(&self) -> &Username {
        &self.username
    }
}
