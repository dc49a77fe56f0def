//! Sessions between a user and their own instance: one-time tokens, and the user's proof of each
//! use (protocol, section 7).
//!
//! ```text
//! PresentedSession ─► VerifiedSession ─► AuthorisedSession ─► SessionPermit
//! well-formed         the instance made   the user signed      fresh, and
//!                     the token           this use of it       first use
//! ```
//!
//! The user signed what a token allows before the instance made it. Core relays the token, so the
//! token alone is not sufficient. The user also signs each use: an intent of the call
//! [`SESSION_OPEN`] or [`SESSION_CONTINUE`](crate::call::names::SESSION_CONTINUE) over the token's
//! hash. If the request carries bytes, the intent also covers their place, number and digest.

mod interface;
mod piece;
mod rejection;
mod token;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::bind::Items;
use crate::call::names::SESSION_OPEN;
use crate::call::{CallTable, SessionEndpoint};
use crate::freshness::FreshnessRejection;
use crate::identity::{CallName, KeyId, Username};
use crate::intent::{Intended, ItemDigest, KeyWanted, PresentedIntent, Terms, VerifiedIntent, Version1};
use crate::jws::{Algorithm, CompactJws, JwsRejection, sha256, sha256_of_texts};
use crate::keyring::{EnrolledKey, VerificationKey};
use crate::policy::{ConsumeError, Policy, PolicyRejection};
use crate::replay::{IntentId, ReplayError, ReplayLog, Use};
use crate::request::{INTENT_MAX, PresentedDirect};
use crate::seal::EncapsulatedKey;
pub use crate::session::interface::{INTERFACE_LIFETIME_S, InterfaceClaim, InterfaceKind};
pub use crate::session::piece::{ContentDigest, Piece};
pub use crate::session::rejection::SessionRejection;
use crate::session::token::{Claims, Header, TYPE};
pub use crate::session::token::{Grant, TokenHash};
use crate::time::Timestamp;
use crate::verify::Rejection;

/// Lifetime of a token, in seconds (protocol, section 7). Never longer than an intent may live,
/// except where [`INTERFACE_LIFETIME_S`] holds.
pub const TOKEN_LIFETIME_S: i64 = 60;

/// Longest session, in seconds: the most that UCloud recommends for an upload.
pub const SESSION_MAX_S: i64 = 48 * 3600;

/// Longest token accepted, in bytes. Tokens of an instance have under 800.
pub const TOKEN_MAX: usize = 2 * 1024;

/// The one item of a proof.
#[derive(Serialize)]
struct Proven<'a> {
    token: String,
    #[serde(flatten)]
    piece: &'a Piece,
}

/// A session's request, parsed and not verified.
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
    /// Parses a request at an endpoint.
    ///
    /// # Errors
    /// The token or the proof is malformed, or the token is for another endpoint.
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
        if claims.seal.as_ref().is_some_and(|seal| !seal.is_well_formed()) {
            return Err(SessionRejection::Claim("seal").into());
        }
        let interface = claims.interface.as_ref();
        if interface.is_some_and(|interface| !interface.is_well_formed()) {
            return Err(SessionRejection::Claim("interface").into());
        }
        if !endpoint.calls().contains(&claims.call.as_str()) || !InterfaceClaim::is_for(interface, endpoint) {
            return Err(SessionRejection::Endpoint.into());
        }
        // A version 1 intent binds no parameter, and so no token.
        let parse = |text| PresentedIntent::parse(text, INTENT_MAX, Version1::Refused);
        let parsed = proof.map(parse).transpose()?;
        Ok(Self { endpoint, token: jws, claims, item, proof: parsed, proof_text: proof, piece })
    }

    /// The user that the unverified token names. Used only to look up keys.
    #[must_use]
    pub const fn claimed_username(&self) -> &Username {
        &self.claims.username
    }

    /// The key that can verify the proof, if there is a proof.
    #[must_use]
    pub fn key_wanted(&self) -> Option<KeyWanted> {
        self.proof.as_ref().map(PresentedIntent::key_wanted)
    }

    /// Verifies that the user's own instance made the token, for this provider, and that the user's
    /// key signed the proof. `instance_key` is the known public key of that user's instance. `keys`
    /// are what the store has under [`PresentedSession::key_wanted`].
    ///
    /// # Errors
    /// The first rule broken.
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
        if self.claims.interface.as_ref().is_some_and(|interface| !interface.is_at(&terms.audience)) {
            return Err(SessionRejection::Endpoint.into());
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
            can_be_sealed: self.claims.seal.is_some(),
            interface: self.claims.interface,
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

/// The content of a token that the user's own instance made.
#[derive(Clone, Debug)]
pub struct Session {
    endpoint: SessionEndpoint,
    username: Username,
    call: CallName,
    item: ItemDigest,
    hash: TokenHash,
    made: Use,
    can_be_sealed: bool,
    interface: Option<InterfaceClaim>,
}

impl Session {
    /// The endpoint at which it is redeemed.
    #[must_use]
    pub const fn endpoint(&self) -> SessionEndpoint {
        self.endpoint
    }

    /// The user.
    #[must_use]
    pub const fn username(&self) -> &Username {
        &self.username
    }

    /// The call for which it was made.
    #[must_use]
    pub const fn call(&self) -> &CallName {
        &self.call
    }

    /// The item of that call for which it was made.
    #[must_use]
    pub const fn item(&self) -> &ItemDigest {
        &self.item
    }

    /// The hash that identifies it.
    #[must_use]
    pub const fn hash(&self) -> TokenHash {
        self.hash
    }

    /// The interface that it opens, if it opens one.
    #[must_use]
    pub const fn interface(&self) -> Option<&InterfaceClaim> {
        self.interface.as_ref()
    }
}

/// Whether the use of a token needs a proof.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProofNeed {
    /// Required.
    Required,
    /// Not required: the holder of the token may use it. For frontends that know no proofs. A proof
    /// that is present is verified.
    Off,
}

/// Whether a session is sealed (protocol, section 10).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SealNeed {
    /// Tokens offer a seal, and an opening without one is refused.
    Required,
    /// Tokens offer a seal, and the client chooses.
    Preferred,
    /// Tokens offer none.
    Off,
}

/// How a session was opened. The verified intent decides, never the request beside it.
#[derive(Debug)]
pub enum Opening {
    /// The intent names no encapsulated key.
    Unsealed(Unsealed),
    /// The intent names an encapsulated key: the session is sealed, or is not.
    Sealed(SealedOpening),
}

/// Evidence that a session was opened without a seal. Only [`VerifiedSession::authorise`] makes
/// one. Functions that serve plaintext ask for it.
#[derive(Clone, Copy, Debug)]
pub struct Unsealed(());

/// Evidence that a session was opened with a seal. Only [`VerifiedSession::authorise`] makes one,
/// and it becomes a sealed session or nothing.
#[derive(Debug)]
pub struct SealedOpening {
    pub(crate) token: TokenHash,
    pub(crate) intent: [u8; 32],
    pub(crate) enc: EncapsulatedKey,
}

impl SealedOpening {
    /// The hash of the token.
    #[must_use]
    pub const fn token(&self) -> &TokenHash {
        &self.token
    }

    /// SHA-256 of the intent's text.
    #[must_use]
    pub const fn intent(&self) -> &[u8; 32] {
        &self.intent
    }

    /// The key that the intent signs.
    #[must_use]
    pub const fn enc(&self) -> &EncapsulatedKey {
        &self.enc
    }
}

/// Whether a request opens a session or continues it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turn {
    /// Redeems the token.
    Open,
    /// The token was redeemed by an earlier request.
    Continue,
}

/// A session's request whose token the user's own instance made.
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

    /// Verifies that the user signed this use: this token, these bytes and, if there is one, this
    /// encapsulated key.
    ///
    /// # Errors
    /// The proof is required and missing, or is for something else. Or the session would be sealed
    /// where there is no seal, or unsealed where it must be sealed.
    pub fn authorise(
        self,
        calls: &CallTable,
        need: ProofNeed,
        seal: SealNeed,
        policy: &Policy,
    ) -> Result<AuthorisedSession<'h>, Rejection> {
        let Self { session, token, proof, proof_text, piece } = self;
        let unsealed = || match seal {
            SealNeed::Required => Err(SessionRejection::Unsealed),
            SealNeed::Preferred | SealNeed::Off => Ok(Opening::Unsealed(Unsealed(()))),
        };
        let (Some(proof), Some(text)) = (proof, proof_text) else {
            if piece.enc.is_some() {
                // No signature covers this key.
                return Err(SessionRejection::NoProof.into());
            }
            return match need {
                ProofNeed::Required => Err(SessionRejection::NoProof.into()),
                ProofNeed::Off => {
                    let opening = Some(unsealed()?);
                    Ok(AuthorisedSession { session, token, piece, opening, proof: None, proof_text: None })
                }
            };
        };
        if piece.size.is_some_and(|size| size > 0) && piece.digest.is_none() {
            // A proof of the number of bytes without their digest lets Core choose the bytes (V29).
            return Err(SessionRejection::Piece("content-digest").into());
        }
        let row = calls.session_row(proof.call().as_str()).ok_or(SessionRejection::Proof)?;
        if policy.names(row.call()) {
            return Err(PolicyRejection::StepUp.into());
        }
        let proven = Proven { token: session.hash.to_base64url(), piece: &piece };
        let proven = serde_json::to_vec(&proven).map_err(|_| SessionRejection::Proof)?;
        let items = Items::read(row, &proven)?;
        let intended = PresentedDirect::of_session(row, text)?.intend(proof)?;
        // The proof was verified with the session's username, so its signer is the session's user.
        let Intended { intent, .. } = intended.bind(items)?.intended;
        let opening = match piece.enc {
            Some(_) if !session.can_be_sealed => return Err(SessionRejection::NoSeal.into()),
            Some(enc) => {
                let intent = sha256(&[text.as_bytes()]);
                Some(Opening::Sealed(SealedOpening { token: session.hash, intent, enc }))
            }
            None if intent.call().as_str() == SESSION_OPEN => Some(unsealed()?),
            // What continues a session is sealed as its opening was.
            None => None,
        };
        Ok(AuthorisedSession { session, token, piece, opening, proof: Some(intent), proof_text: Some(text) })
    }
}

/// A use of a token that may be let through once, and has not been. Only
/// [`VerifiedSession::authorise`] makes one.
#[derive(Debug)]
pub struct AuthorisedSession<'h> {
    session: Session,
    token: &'h str,
    piece: Piece,
    opening: Option<Opening>,
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

    /// Records the use of the proof, and of the token if this request opens the session. Call this
    /// immediately before the first byte is forwarded. A piece without a proof continues a session
    /// whose token was redeemed before. The token of an interface opens it again with each new
    /// proof, and once without any.
    ///
    /// # Errors
    /// The proof or the token is stale or was used, or its use cannot be recorded.
    pub fn consume(
        self,
        policy: &Policy,
        log: &impl ReplayLog,
        now: Timestamp,
    ) -> Result<SessionPermit<'h>, Rejection> {
        let Self { session, token, piece, opening, proof, proof_text } = self;
        let window = policy.terms.window;
        let redeem = || -> Result<(), SessionRejection> {
            window.check(session.made.iat, session.made.exp, now)?;
            Ok(log.check_and_insert(session.made, now)?)
        };
        let turn = if let Some(proof) = &proof {
            window.check(proof.used.iat, proof.used.exp, now).map_err(ConsumeError::from)?;
            log.check_and_insert(proof.used, now).map_err(ConsumeError::from)?;
            if proof.call().as_str() == SESSION_OPEN {
                if session.interface.is_some() {
                    InterfaceClaim::check_times(&session.made, window, now).map_err(SessionRejection::from)?;
                } else {
                    redeem()?;
                }
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
        let opening = opening.filter(|_| turn == Turn::Open);
        Ok(SessionPermit { session, turn, token, piece, opening, kid, proof: proof_text })
    }
}

/// Permission to forward one request of a session, once. Only [`AuthorisedSession::consume`] makes
/// one, and forwarding consumes it.
#[derive(Debug)]
pub struct SessionPermit<'h> {
    session: Session,
    turn: Turn,
    token: &'h str,
    piece: Piece,
    opening: Option<Opening>,
    kid: Option<KeyId>,
    proof: Option<&'h str>,
}

impl<'h> SessionPermit<'h> {
    /// The session.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Whether this request opens the session.
    #[must_use]
    pub const fn turn(&self) -> Turn {
        self.turn
    }

    /// How this request opens the session; `None` if it continues one.
    #[must_use]
    pub const fn opening(&self) -> Option<&Opening> {
        self.opening.as_ref()
    }

    /// Whether this request opens the session sealed; `None` if it continues one.
    #[must_use]
    pub fn is_sealed(&self) -> Option<bool> {
        self.opening.as_ref().map(|opening| matches!(opening, Opening::Sealed(_)))
    }

    /// The token as received, for the instance to verify again.
    #[must_use]
    pub const fn token(&self) -> &'h str {
        self.token
    }

    /// The bytes that the head announces.
    #[must_use]
    pub const fn piece(&self) -> &Piece {
        &self.piece
    }

    /// The key that signed the proof, if there is one.
    #[must_use]
    pub const fn kid(&self) -> Option<KeyId> {
        self.kid
    }

    /// The proof as received, for the instance to verify again.
    #[must_use]
    pub const fn proof(&self) -> Option<&'h str> {
        self.proof
    }
}

fn decoded<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) == Ok(N)).then_some(bytes)
}
