//! Verifies the signed intent: the user's statement of what they want (protocol, section 2).
//!
//! Checks the signature before it believes a claim (P1). Refuses every header and claim that the
//! profile does not name. For an unknown user or key it checks the signature against a decoy key,
//! so that the response takes as long (V61).

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize};

mod decoy;
mod script;
mod signature_check;

use self::decoy::decoy;
pub use self::script::ScriptDigest;
pub use self::signature_check::{CheckedSignature, SignatureCheck, TOGETHER_MAX, check_together};
use crate::core_token::UserRequest;
use crate::freshness::{FreshnessRejection, Window};
use crate::identity::{CallName, KeyId, Origin, Project, Username};
use crate::jws::{Algorithm, CompactJws, JwsRejection, sha256, sha256_of_texts};
use crate::keyring::{EnrolledKey, KEYS_V1_MAX, KeyStanding, Protocol};
use crate::replay::{IntentId, Use};
use crate::time::Timestamp;

/// Most items an intent may cover (protocol, section 2).
pub const ITEMS_MAX: usize = 1000;

/// Longest lifetime of a version 1 intent, in seconds: the one that UCloud's frontend wrote.
const LIFETIME_MAX_V1_S: i64 = 30;

/// SHA-256 of one signed intent, to the last byte. A passkey's assertion is tied to it. Another JWS
/// with the same `jti` has another fingerprint, although only one of the two can be used.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint([u8; 32]);

impl TryFrom<String> for Fingerprint {
    type Error = IntentRejection;

    fn try_from(text: String) -> Result<Self, IntentRejection> {
        item_digest(&text).map(Self).ok_or(IntentRejection::Claim("fingerprint"))
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        URL_SAFE_NO_PAD.encode(fingerprint.0)
    }
}

/// Digest of one item's bound parameters.
pub type ItemDigest = [u8; 32];

/// Whether version 1 intents are accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version1 {
    /// Refused, which is the default: such an intent binds only the call's name.
    Refused,
    /// Accepted, for calls that are not dangerous.
    Accepted,
}

/// The terms that every intent must meet.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The audience: this provider's origin.
    pub audience: Origin,
    /// Lifetime and clock tolerance.
    pub window: Window,
    /// Whether version 1 is accepted.
    pub version_1: Version1,
}

/// Why an intent is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IntentRejection {
    /// The request has no intent.
    #[error("no intent, neither in the header nor deposited")]
    Missing,
    /// Not in the expected form.
    #[error("intent: {0}")]
    Form(JwsRejection),
    /// A version 1 intent where version 1 is refused.
    #[error("an intent of version 1, which is not accepted here")]
    Version1,
    /// No such user, or no such key of this user.
    #[error("no such key of this user")]
    UnknownKey,
    /// The key is revoked or expired.
    #[error(transparent)]
    Key(#[from] KeyStanding),
    /// The header's algorithm is not the key's.
    #[error("the header's algorithm is not the one recorded for the key")]
    Algorithm,
    /// The signature does not verify with the key.
    #[error("the signature is not that of the key")]
    Signature,
    /// A claim is malformed.
    #[error("the claim {0} is malformed")]
    Claim(&'static str),
    /// The intent is for another provider.
    #[error("aud is not this provider")]
    Audience,
    /// The intent is another user's.
    #[error("the claim username is not the key's owner and the request's user")]
    Username,
    /// The intent is for another call.
    #[error("the claim call is not the request's")]
    Call,
    /// The intent's times are refused.
    #[error("intent: {0}")]
    Times(FreshnessRejection),
}

impl From<FreshnessRejection> for IntentRejection {
    fn from(cause: FreshnessRejection) -> Self {
        // Not a source: the text of the cause is part of this text.
        Self::Times(cause)
    }
}

impl From<JwsRejection> for IntentRejection {
    fn from(cause: JwsRejection) -> Self {
        // Not a source: the text of the cause is part of this text.
        Self::Form(cause)
    }
}

/// Which keys can verify an intent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyWanted {
    /// The user's key with this id.
    Id(KeyId),
    /// The user's keys of version 1, which have no id on the wire.
    Version1,
}

/// A well-formed intent that is not verified yet.
#[derive(Clone, Copy, Debug)]
pub struct PresentedIntent<'h> {
    jws: CompactJws<'h>,
    algorithm: Algorithm,
    key: KeyWanted,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderV2<'a> {
    alg: Algorithm,
    #[serde(borrow)]
    kid: Cow<'a, str>,
    #[serde(borrow)]
    typ: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderV1<'a> {
    alg: Algorithm,
    #[serde(borrow)]
    typ: Cow<'a, str>,
}

/// Every claim is required except `asked` and `script`. `project` is required and may be null.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimsV2 {
    aud: String,
    username: Username,
    #[serde(deserialize_with = "required")]
    project: Option<Project>,
    call: CallName,
    iat: Timestamp,
    exp: Timestamp,
    jti: String,
    params: Vec<String>,
    #[serde(default, deserialize_with = "true_alone")]
    asked: Consent,
    #[serde(default, deserialize_with = "script::given")]
    script: Option<ScriptDigest>,
}

/// Whether the signer asked a person before it signed: the claim `asked`, which is `true` or
/// absent.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Consent {
    /// The signer asked no person. Sufficient for harmless calls.
    #[default]
    Unasked,
    /// A person saw the request and approved it.
    Asked,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimsV1 {
    iat: Timestamp,
    exp: Timestamp,
    call: CallName,
    username: Username,
    #[serde(deserialize_with = "required")]
    project: Option<Project>,
}

/// Without this, serde reads an absent member as null.
fn required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Project>, D::Error> {
    Option::deserialize(deserializer)
}

/// Refuses `"asked": false`, which means the same as its absence: one spelling for each meaning.
fn true_alone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Consent, D::Error> {
    if bool::deserialize(deserializer)? {
        Ok(Consent::Asked)
    } else {
        Err(serde::de::Error::custom("the claim asked is true, or absent"))
    }
}

impl<'h> PresentedIntent<'h> {
    /// Reads the envelope and the protected header.
    ///
    /// # Errors
    /// The text is longer than `length_max` bytes, or the header is not exactly that of an accepted
    /// version.
    pub fn parse(text: &'h str, length_max: usize, version_1: Version1) -> Result<Self, IntentRejection> {
        let jws = CompactJws::parse(text, length_max)?;
        let header = jws.header_bytes()?;
        if let Ok(HeaderV2 { alg, kid, typ }) = serde_json::from_slice(&header) {
            if typ != "ucloud-intent+jwt" {
                return Err(JwsRejection::Header.into());
            }
            let kid = KeyId::parse(&kid).map_err(|_| IntentRejection::Claim("kid"))?;
            return Ok(Self { jws, algorithm: alg, key: KeyWanted::Id(kid) });
        }
        match serde_json::from_slice(&header) {
            Ok(HeaderV1 { alg: Algorithm::Rs256, typ }) if typ == "JWT" => match version_1 {
                Version1::Accepted => Ok(Self { jws, algorithm: Algorithm::Rs256, key: KeyWanted::Version1 }),
                Version1::Refused => Err(IntentRejection::Version1),
            },
            Ok(HeaderV1 { .. }) | Err(_) => Err(JwsRejection::Header.into()),
        }
    }

    /// Which keys can verify the intent.
    #[must_use]
    pub const fn key_wanted(&self) -> KeyWanted {
        self.key
    }

    /// The user that the unverified intent names. Used only to look up the key of a deposit, which
    /// comes without a request.
    ///
    /// # Errors
    /// The claims are malformed.
    pub fn claimed_username(&self) -> Result<Username, IntentRejection> {
        match self.key {
            KeyWanted::Id(_) => Ok(self.jws.claims::<ClaimsV2>()?.username),
            KeyWanted::Version1 => Ok(self.jws.claims::<ClaimsV1>()?.username),
        }
    }

    /// Verifies that this user's key signed the intent, for this provider, in this window. `keys`
    /// are what the store has for that user under [`PresentedIntent::key_wanted`]: none, one, or up
    /// to four of version 1.
    ///
    /// # Errors
    /// The first rule that the intent breaks.
    pub fn verify(
        self,
        username: &Username,
        keys: &[Arc<EnrolledKey>],
        terms: &Terms,
        now: Timestamp,
    ) -> Result<VerifiedIntent<'h>, IntentRejection> {
        match self.key {
            KeyWanted::Id(kid) => self.verify_v2(kid, username, keys, terms, now),
            KeyWanted::Version1 => self.verify_v1(username, keys, terms, now),
        }
    }

    fn verify_v2(
        self,
        kid: KeyId,
        username: &Username,
        keys: &[Arc<EnrolledKey>],
        terms: &Terms,
        now: Timestamp,
    ) -> Result<VerifiedIntent<'h>, IntentRejection> {
        let Some(key) = key_of(keys, username, kid) else {
            self.verify_decoy();
            return Err(IntentRejection::UnknownKey);
        };
        self.check_signature(key, now)?;
        self.check_claims(key, terms, now)
    }

    /// Checks the claims of an intent of version 2 whose signature is the key's.
    fn check_claims(
        self,
        key: &EnrolledKey,
        terms: &Terms,
        now: Timestamp,
    ) -> Result<VerifiedIntent<'h>, IntentRejection> {
        let (username, kid) = (key.owner(), key.kid());
        let ClaimsV2 { aud, username: claimed, project, call, iat, exp, jti, params, asked, script } =
            self.jws.claims()?;
        if aud != terms.audience.as_str() {
            return Err(IntentRejection::Audience);
        }
        if claimed != *username {
            return Err(IntentRejection::Username);
        }
        terms.window.check(iat, exp, now)?;
        if !is_token_id(&jti) {
            return Err(IntentRejection::Claim("jti"));
        }
        if params.is_empty() || params.len() > ITEMS_MAX {
            return Err(IntentRejection::Claim("params"));
        }
        let params = params.iter().map(|digest| item_digest(digest)).collect::<Option<Vec<_>>>();
        let params = params.ok_or(IntentRejection::Claim("params"))?;
        let id = IntentId(sha256_of_texts(&[b"2", username.as_str().as_bytes(), kid.as_bytes(), jti.as_bytes()]));
        Ok(VerifiedIntent {
            text: Cow::Borrowed(self.jws.as_str()),
            username: claimed,
            project,
            call,
            kid,
            used: Use { id, iat, exp },
            binding: Binding::Items(params),
            consent: asked,
            script,
        })
    }

    fn verify_v1(
        self,
        username: &Username,
        keys: &[Arc<EnrolledKey>],
        terms: &Terms,
        now: Timestamp,
    ) -> Result<VerifiedIntent<'h>, IntentRejection> {
        let owned = |key: &&Arc<EnrolledKey>| key.owner() == username && key.protocol() == Protocol::V1;
        let mut tried =
            keys.iter().filter(owned).take(KEYS_V1_MAX).map(|key| (key, self.check_signature(key, now))).peekable();
        if tried.peek().is_none() {
            self.verify_decoy();
            return Err(IntentRejection::UnknownKey);
        }
        let signed_by = tried.find_map(|(key, outcome)| outcome.is_ok().then_some(key));
        let key = signed_by.ok_or(IntentRejection::Signature)?;
        let ClaimsV1 { iat, exp, call, username: claimed, project } = self.jws.claims()?;
        if claimed != *key.owner() {
            return Err(IntentRejection::Username);
        }
        let lifetime_max_s = terms.window.lifetime_max_s.min(LIFETIME_MAX_V1_S);
        Window { lifetime_max_s, ..terms.window }.check(iat, exp, now)?;
        let id = IntentId(sha256_of_texts(&[b"1", username.as_str().as_bytes(), self.jws.as_str().as_bytes()]));
        Ok(VerifiedIntent {
            text: Cow::Borrowed(self.jws.as_str()),
            username: claimed,
            project,
            call,
            kid: key.kid(),
            used: Use { id, iat, exp },
            binding: Binding::NameOnly,
            consent: Consent::Unasked,
            script: None,
        })
    }

    /// Checks the signature first: only a holder of the key may learn its standing. An algorithm
    /// that does not match costs a decoy check.
    fn check_signature(&self, key: &EnrolledKey, now: Timestamp) -> Result<(), IntentRejection> {
        if self.algorithm != key.key().algorithm() {
            self.verify_decoy();
            return Err(IntentRejection::Algorithm);
        }
        if !self.jws.verify(key.key().signature_key()) {
            return Err(IntentRejection::Signature);
        }
        Ok(key.standing(now)?)
    }

    fn verify_decoy(&self) {
        if let Some(decoy) = decoy(self.algorithm) {
            let _ = self.jws.verify(decoy.signature_key());
        }
    }
}

/// The user's key of that id, which signs intents of version 2.
fn key_of<'k>(keys: &'k [Arc<EnrolledKey>], username: &Username, kid: KeyId) -> Option<&'k Arc<EnrolledKey>> {
    keys.iter().find(|key| key.kid() == kid && key.owner() == username && key.protocol() == Protocol::V2)
}

/// `jti`: base64url of 16 to 64 bytes.
fn is_token_id(text: &str) -> bool {
    let mut bytes = [0; 64];
    text.len() <= 86 && URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).is_ok_and(|length| length >= 16)
}

fn item_digest(text: &str) -> Option<ItemDigest> {
    let mut digest = [0; 32];
    (text.len() == 43 && URL_SAFE_NO_PAD.decode_slice(text, &mut digest) == Ok(32)).then_some(digest)
}

/// The parts of a request that an intent's signature covers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Binding {
    /// Every item, by its digest.
    Items(Vec<ItemDigest>),
    /// Version 1: the call's name and no parameter.
    NameOnly,
}

/// An intent signed by its user's key, for this provider, and fresh when it was checked. Only
/// [`PresentedIntent::verify`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedIntent<'h> {
    pub(crate) text: Cow<'h, str>,
    pub(crate) username: Username,
    pub(crate) project: Option<Project>,
    pub(crate) call: CallName,
    pub(crate) kid: KeyId,
    pub(crate) used: Use,
    pub(crate) binding: Binding,
    pub(crate) consent: Consent,
    pub(crate) script: Option<ScriptDigest>,
}

impl VerifiedIntent<'_> {
    /// The user.
    #[must_use]
    pub const fn username(&self) -> &Username {
        &self.username
    }

    /// The call.
    #[must_use]
    pub const fn call(&self) -> &CallName {
        &self.call
    }

    /// The key that signed it.
    #[must_use]
    pub const fn kid(&self) -> KeyId {
        self.kid
    }

    /// Whether the signer asked a person before it signed.
    #[must_use]
    pub const fn consent(&self) -> Consent {
        self.consent
    }

    /// The project that the user acts in.
    #[must_use]
    pub const fn project(&self) -> Option<&Project> {
        self.project.as_ref()
    }

    /// The `exp` claim.
    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.used.exp
    }

    /// The id under which its use is recorded.
    #[must_use]
    pub const fn id(&self) -> IntentId {
        self.used.id
    }

    /// The record of its use, for the replay log.
    #[must_use]
    pub const fn to_use(&self) -> Use {
        self.used
    }

    /// The fingerprint of this JWS.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(sha256(&[self.text.as_bytes()]))
    }

    /// Length of the JWS, in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.text.len()
    }

    /// Whether the signature covers every one of these items. Each signed digest counts once.
    #[must_use]
    pub fn covers(&self, items: &[ItemDigest]) -> bool {
        match &self.binding {
            Binding::NameOnly => true,
            Binding::Items(signed) => matches_each_once(signed, items),
        }
    }

    /// Copies the borrowed text, so that the intent can be kept until its request comes.
    #[must_use]
    pub fn into_owned(self) -> VerifiedIntent<'static> {
        let Self { text, username, project, call, kid, used, binding, consent, script } = self;
        let text = Cow::Owned(text.into_owned());
        VerifiedIntent { text, username, project, call, kid, used, binding, consent, script }
    }
}

/// Whether each item matches a signed digest, each of which counts once.
fn matches_each_once(signed: &[ItemDigest], items: &[ItemDigest]) -> bool {
    if let ([signed], [item]) = (signed, items) {
        return signed == item;
    }
    let sorted = |digests: &[ItemDigest]| {
        let mut digests = digests.to_vec();
        digests.sort_unstable();
        digests
    };
    let mut left = sorted(signed).into_iter();
    items.len() <= signed.len() && sorted(items).iter().all(|item| left.by_ref().any(|digest| digest == *item))
}

impl<'h> UserRequest<'h> {
    /// Joins the request with its intent.
    ///
    /// # Errors
    /// The intent is another user's or for another call.
    pub fn intend(self, intent: VerifiedIntent<'h>) -> Result<Intended<'h>, IntentRejection> {
        if intent.username != self.username {
            return Err(IntentRejection::Username);
        }
        if intent.call != *self.row.call() {
            return Err(IntentRejection::Call);
        }
        Ok(Intended { request: self, intent })
    }
}

/// A request whose user signed an intent for this call. Only [`UserRequest::intend`] and
/// [`PresentedDirect::intend`](crate::request::PresentedDirect::intend) make one.
#[derive(Debug)]
pub struct Intended<'h, R = UserRequest<'h>> {
    pub(crate) request: R,
    pub(crate) intent: VerifiedIntent<'h>,
}

impl<R> Intended<'_, R> {
    /// The key that signed.
    #[must_use]
    pub const fn kid(&self) -> KeyId {
        self.intent.kid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v27_each_item_uses_up_a_digest_of_its_own() {
        let check = |signed: &[u8], items: &[u8], want: bool| {
            let digests = |bytes: &[u8]| bytes.iter().map(|byte| [*byte; 32]).collect::<Vec<_>>();
            assert_eq!(matches_each_once(&digests(signed), &digests(items)), want, "{items:?} of {signed:?}");
        };
        check(&[1], &[1], true);
        check(&[1], &[2], false);
        check(&[1, 2, 3], &[3, 1], true); // Core splits and reorders
        check(&[1, 2], &[1, 2, 3], false);
        check(&[1, 2], &[1, 1], false);
        check(&[1, 1], &[1, 1], true);
        check(&[2, 1, 1], &[1, 2, 1], true);
        check(&[1, 2], &[], true);
    }

    #[test]
    fn v35_a_token_id_has_16_to_64_bytes() {
        let check = |bytes: usize, want: bool| {
            assert_eq!(is_token_id(&URL_SAFE_NO_PAD.encode(vec![7_u8; bytes])), want, "{bytes}");
        };
        check(15, false);
        check(16, true);
        check(64, true);
        check(65, false);
        check(0, false);
        check(5000, false);
        assert!(!is_token_id("AAAAAAAAAAAAAAAAAAAAAA=="));
    }
}
