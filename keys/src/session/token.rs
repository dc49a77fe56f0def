//! The one-time token: a compact JWS signed by the user's own instance.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::identity::{CallName, Origin, Username};
use crate::intent::ItemDigest;
use crate::jws::{Algorithm, JwsRejection, sha256};
use crate::seal::SealClaim;
use crate::session::interface::InterfaceClaim;
use crate::time::Timestamp;

/// The token's `typ`, so that it passes for nothing else, and nothing else for it (V20).
pub(super) const TYPE: &str = "ucloud-session+jwt";

/// SHA-256 of a token's text: identifies a session and cannot open it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of this token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(sha256(&[token.as_bytes()]))
    }

    /// The digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash as the user signs it: base64url.
    #[must_use]
    pub fn to_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) alg: Algorithm,
    pub(super) typ: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claims {
    pub(super) aud: String,
    pub(super) username: Username,
    pub(super) call: CallName,
    pub(super) params: String,
    pub(super) jti: String,
    pub(super) iat: Timestamp,
    pub(super) exp: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seal: Option<SealClaim>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) interface: Option<InterfaceClaim>,
}

impl std::fmt::Debug for Claims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claims").field("username", &self.username).field("call", &self.call).finish_non_exhaustive()
    }
}

/// The content of a token.
#[derive(Clone, Debug)]
pub struct Grant<'a> {
    /// This provider's origin.
    pub audience: &'a Origin,
    /// The user whose instance makes the token.
    pub username: &'a Username,
    /// The call for which it is made.
    pub call: &'a CallName,
    /// The item of that call for which it is made.
    pub item: ItemDigest,
    /// The time of issue.
    pub now: Timestamp,
    /// How long it can be redeemed, in seconds.
    pub lifetime_s: i64,
    /// The key to which the session can be sealed; `None` if the site offers no seals.
    pub seal: Option<&'a SealClaim>,
    /// The interface that it opens, if it opens one.
    pub interface: Option<&'a InterfaceClaim>,
}

impl Grant<'_> {
    /// Header and claims of the token with this id, ready to be signed (RFC 7515 section 5.1). The
    /// caller appends a dot and the signature of the instance's key, in base64url.
    ///
    /// # Errors
    /// The claims cannot be written as JSON. No grant is known to cause this.
    pub fn signing_input(&self, jti: [u8; 16]) -> Result<String, JwsRejection> {
        let header = format!(r#"{{"alg":"{}","typ":"{TYPE}"}}"#, Algorithm::Es256.as_str());
        let claims = Claims {
            aud: self.audience.as_str().to_owned(),
            username: self.username.clone(),
            call: self.call.clone(),
            params: URL_SAFE_NO_PAD.encode(self.item),
            jti: URL_SAFE_NO_PAD.encode(jti),
            iat: self.now,
            exp: self.now.plus(self.lifetime_s),
            seal: self.seal.cloned(),
            interface: self.interface.cloned(),
        };
        let claims = serde_json::to_vec(&claims).map_err(|_| JwsRejection::Claims)?;
        Ok(format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims)))
    }
}
