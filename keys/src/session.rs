//! Sessions between the user and their own instance: one-time tokens, and the user's proof that it
//! is they who redeem one (protocol, section 7).
//!
//! ```text
//! PresentedSession ─► VerifiedSession ─► AuthorisedSession ─► SessionPermit
//! well-formed         the instance made   the user signed      fresh, and
//!                     the token           this use of it       first use
//! ```
//!
//! What may be done with a token was signed by the user before their instance made it. Core passes
//! the token on, and so it alone is not enough: its use is signed as well, by an intent of the call
//! [`SESSION_OPEN`] or [`SESSION_CONTINUE`](crate::call::SESSION_CONTINUE) over the token's hash
//! and, where bytes are sent, their place, number and digest.

mod piece;
mod rejection;
mod token;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::bind::Items;
use crate::call::{CallTable, SESSION_OPEN, SessionEndpoint};
use crate::freshness::FreshnessRejection;
use crate::identity::{CallName, KeyId, Username};
use crate::intent::{Intended, ItemDigest, KeyWanted, PresentedIntent, Terms, VerifiedIntent, Version1};
use crate::jws::{Algorithm, CompactJws, JwsRejection, sha256_of_texts};
use crate::keyring::{EnrolledKey, VerificationKey};
use crate::policy::{Policy, PolicyRejection, SpendError};
use crate::replay::{IntentId, ReplayError, ReplayLog, Use};
use crate::request::{INTENT_MAX, PresentedOwn};
pub use crate::session::piece::{ContentDigest, Piece};
pub use crate::session::rejection::SessionRejection;
use crate::session::token::{Claims, Header, TYPE};
pub use crate::session::token::{Grant, TokenHash};
use crate::time::Timestamp;
use crate::verify::Rejection;

/// How long a token can be redeemed, in seconds (protocol, section 7); never longer than an intent
/// may live.
pub const TOKEN_LIFETIME_S: i64 = 60;

/// How long a session may go on, in seconds: what UCloud recommends at most for an upload.
pub const SESSION_MAX_S: i64 = 48 * 3600;

/// Longest token taken, in bytes. Ours have under 600.
pub const TOKEN_MAX: usize = 2 * 1024;

/// What a proof's one item is made of.
#[derive(Serialize)]
struct Proven<'a> {
    token: String,
    #[serde(flatten)]
    piece: &'a Piece,
}

/// A session's request, as presented: well-formed, not believed.
#[derive(Debug)]
pub struct PresentedSession<'h> {
    endpoint: SessionEndpoint,
    token: CompactJws<'h>,
    claims: Claims,
    item: ItemDigest,
    proof: Option<PresentedIntent<'h>>,
    proof_text: Option<&'h str>,
    piece: Piece,
}

impl<'h> PresentedSession<'h> {
    /// Takes apart what came to an endpoint.
    ///
    /// # Errors
    /// If the token or the proof is not of its form, or the token is another endpoint's.
    pub fn parse(
        endpoint: SessionEndpoint,
        token: &'h str,
        proof: Option<&'h str>,
        piece: Piece,
    ) -> Result<Self, Rejection> {
        let jws = CompactJws::parse(token, TOKEN_MAX).map_err(SessionRejection::from)?;
        let Header { alg, typ } = jws.header().map_err(SessionRejection::from)?;
        if alg != Algorithm::Es256 || typ != TYPE {
            return Err(SessionRejection::Form(JwsRejection::Header).into());
        }
        let claims: Claims = jws.claims().map_err(SessionRejection::from)?;
        let item = decoded(&claims.params).ok_or(SessionRejection::Claim("params"))?;
        let _: [u8; 16] = decoded(&claims.jti).ok_or(SessionRejection::Claim("jti"))?;
        if !endpoint.calls().contains(&claims.call.as_str()) {
            return Err(SessionRejection::Endpoint.into());
        }
        // An intent of version 1 binds no parameter, and so no token.
        let parse = |text| PresentedIntent::parse(text, INTENT_MAX, Version1::Refused);
        let parsed = proof.map(parse).transpose()?;
        Ok(Self { endpoint, token: jws, claims, item, proof: parsed, proof_text: proof, piece })
    }

    /// Whose session it claims to be: for looking up keys. Believe nothing of it.
    #[must_use]
    pub const fn claimed_username(&self) -> &Username {
        &self.claims.username
    }

    /// The key that the proof has to be judged with, if there is a proof.
    #[must_use]
    pub fn key_wanted(&self) -> Option<KeyWanted> {
        self.proof.as_ref().map(PresentedIntent::key_wanted)
    }

    /// Shows that the user's own instance made the token, for this provider, and that the user's
    /// key signed the proof. `instance_key` is the public half that is known of that user's
    /// instance; `keys` are what the store has under [`PresentedSession::key_wanted`].
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn verify(
        self,
        instance_key: Option<&VerificationKey>,
        keys: &[Arc<EnrolledKey>],
        terms: &Terms,
        now: Timestamp,
    ) -> Result<VerifiedSession<'h>, Rejection> {
        let signed =
            |key: &VerificationKey| key.algorithm() == Algorithm::Es256 && self.token.verify(key.signature_key());
        if !instance_key.is_some_and(signed) {
            return Err(SessionRejection::Signature.into());
        }
        if self.claims.aud != terms.audience.as_str() {
            return Err(SessionRejection::Audience.into());
        }
        let proof = self.proof.map(|proof| proof.verify(&self.claims.username, keys, terms, now)).transpose()?;
        let hash = TokenHash::of(self.token.as_str());
        let id = IntentId(sha256_of_texts(&[b"session", hash.as_bytes()]));
        let session = Session {
            endpoint: self.endpoint,
            username: self.claims.username,
            call: self.claims.call,
            item: self.item,
            hash,
            made: Use { id, iat: self.claims.iat, exp: self.claims.exp },
        };
        Ok(VerifiedSession {
            session,
            token: self.token.as_str(),
            proof,
            proof_text: self.proof_text,
            piece: self.piece,
        })
    }
}

/// What a token says, once it is known that the user's own instance made it.
#[derive(Clone, Debug)]
pub struct Session {
    endpoint: SessionEndpoint,
    username: Username,
    call: CallName,
    item: ItemDigest,
    hash: TokenHash,
    made: Use,
}

impl Session {
    /// Where it is redeemed.
    #[must_use]
    pub const fn endpoint(&self) -> SessionEndpoint {
        self.endpoint
    }

    /// The user whose it is.
    #[must_use]
    pub const fn username(&self) -> &Username {
        &self.username
    }

    /// The call that asked for it.
    #[must_use]
    pub const fn call(&self) -> &CallName {
        &self.call
    }

    /// The item of that call that it is for.
    #[must_use]
    pub const fn item(&self) -> &ItemDigest {
        &self.item
    }

    /// Names it.
    #[must_use]
    pub const fn hash(&self) -> TokenHash {
        self.hash
    }
}

/// Whether the use of a token has to be signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProofNeed {
    /// Yes.
    Required,
    /// Whoever has the token may use it, for frontends that know no proof. A proof that comes is
    /// judged all the same.
    Off,
}

/// Whether a request begins a session or goes on with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turn {
    /// It redeems the token.
    Open,
    /// The token was redeemed before.
    Continue,
}

/// A session's request with a token of the user's own instance.
#[derive(Debug)]
pub struct VerifiedSession<'h> {
    session: Session,
    token: &'h str,
    proof: Option<VerifiedIntent<'h>>,
    proof_text: Option<&'h str>,
    piece: Piece,
}

impl<'h> VerifiedSession<'h> {
    /// The session.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Shows that the user signed this use of the token: this token, these bytes.
    ///
    /// # Errors
    /// If there is no proof where one is needed, or it is of something else.
    pub fn authorise(
        self,
        calls: &CallTable,
        need: ProofNeed,
        policy: &Policy,
    ) -> Result<AuthorisedSession<'h>, Rejection> {
        let Self { session, token, proof, proof_text, piece } = self;
        let (Some(proof), Some(text)) = (proof, proof_text) else {
            return match need {
                ProofNeed::Required => Err(SessionRejection::NoProof.into()),
                ProofNeed::Off => Ok(AuthorisedSession { session, token, piece, proof: None, proof_text: None }),
            };
        };
        if piece.size.is_some_and(|size| size > 0) && piece.digest.is_none() {
            // A proof that says how many bytes come, and not which, lets whoever passes them on
            // choose (V29).
            return Err(SessionRejection::Piece("content-digest").into());
        }
        let row = calls.session_row(proof.call().as_str()).ok_or(SessionRejection::Proof)?;
        if policy.names(row.call()) {
            return Err(PolicyRejection::StepUp.into());
        }
        let proven = Proven { token: session.hash.to_base64url(), piece: &piece };
        let proven = serde_json::to_vec(&proven).map_err(|_| SessionRejection::Proof)?;
        let items = Items::read(row, &proven)?;
        let intended = PresentedOwn::of_session(row, text)?.intend(proof)?;
        // Its signer is the session's user: with that name it was verified.
        let Intended { intent, .. } = intended.bind(items)?.intended;
        Ok(AuthorisedSession { session, token, piece, proof: Some(intent), proof_text: Some(text) })
    }
}

/// A use of a token that may be let through once, and has not been. Made by
/// [`VerifiedSession::authorise`] alone.
#[derive(Debug)]
pub struct AuthorisedSession<'h> {
    session: Session,
    token: &'h str,
    piece: Piece,
    proof: Option<VerifiedIntent<'h>>,
    proof_text: Option<&'h str>,
}

impl<'h> AuthorisedSession<'h> {
    /// The session.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// The key that signed the proof.
    #[must_use]
    pub fn kid(&self) -> Option<KeyId> {
        self.proof.as_ref().map(VerifiedIntent::kid)
    }

    /// Uses up the proof, and the token if the session begins with this request, at this moment: to
    /// be done immediately before the first byte goes out. A piece without a proof goes on with a
    /// session whose token was redeemed before.
    ///
    /// # Errors
    /// If either has become stale or been used, or the use cannot be written down.
    pub fn spend(self, policy: &Policy, log: &impl ReplayLog, now: Timestamp) -> Result<SessionPermit<'h>, Rejection> {
        let Self { session, token, piece, proof, proof_text } = self;
        let window = policy.terms.window;
        let redeem = || -> Result<(), SessionRejection> {
            window.check(session.made.iat, session.made.exp, now)?;
            Ok(log.check_and_insert(session.made, now)?)
        };
        let turn = if let Some(proof) = &proof {
            window.check(proof.used.iat, proof.used.exp, now).map_err(SpendError::from)?;
            log.check_and_insert(proof.used, now).map_err(SpendError::from)?;
            if proof.call().as_str() == SESSION_OPEN {
                redeem()?;
                Turn::Open
            } else {
                Turn::Continue
            }
        } else {
            match redeem() {
                Ok(()) => Turn::Open,
                Err(
                    SessionRejection::Replay(ReplayError::Used) | SessionRejection::Times(FreshnessRejection::Expired),
                ) if session.endpoint == SessionEndpoint::ChunkedUpload => Turn::Continue,
                Err(rejection) => return Err(rejection.into()),
            }
        };
        if turn == Turn::Continue && now.since(session.made.iat) > SESSION_MAX_S {
            return Err(SessionRejection::Times(FreshnessRejection::TooOld).into());
        }
        let kid = proof.as_ref().map(VerifiedIntent::kid);
        Ok(SessionPermit { session, turn, token, piece, kid, proof: proof_text })
    }
}

/// Leave to pass on one request of a session, once. Made by [`AuthorisedSession::spend`] alone;
/// whoever passes it on takes it by value.
#[derive(Debug)]
pub struct SessionPermit<'h> {
    session: Session,
    turn: Turn,
    token: &'h str,
    piece: Piece,
    kid: Option<KeyId>,
    proof: Option<&'h str>,
}

impl<'h> SessionPermit<'h> {
    /// The session.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Whether it begins.
    #[must_use]
    pub const fn turn(&self) -> Turn {
        self.turn
    }

    /// The token as it came, for whoever verifies it again.
    #[must_use]
    pub const fn token(&self) -> &'h str {
        self.token
    }

    /// What the head announces of the bytes.
    #[must_use]
    pub const fn piece(&self) -> &Piece {
        &self.piece
    }

    /// The key that signed the proof, if there is one.
    #[must_use]
    pub const fn kid(&self) -> Option<KeyId> {
        self.kid
    }

    /// The proof as it came, for whoever verifies it again.
    #[must_use]
    pub const fn proof(&self) -> Option<&'h str> {
        self.proof
    }
}

fn decoded<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) == Ok(N)).then_some(bytes)
}
