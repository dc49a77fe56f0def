//! Verifies each request again, in all stages, and relies on no decision of the gateway that
//! forwarded it (P3, V57).
//!
//! A request comes through Core with Core's token, or from the user's own browser without one. The
//! type of the permit records which. A call that only the user may make is therefore never done for
//! Core.

use std::sync::{Arc, Mutex, PoisonError};

use countersign_keys::bind::{Bound, Items};
use countersign_keys::call::{CallTable, Destination, DirectRow, Lane, Method, Route, SessionEndpoint};
use countersign_keys::core_token::{Authenticated, CoreTokens, UserRequest};
use countersign_keys::direct::DirectRequest;
use countersign_keys::identity::{CallName, KeyId, Username};
use countersign_keys::intent::{IntentRejection, PresentedIntent};
use countersign_keys::keyring::VerificationKey;
use countersign_keys::policy::{Permit, Policy};
use countersign_keys::request::{DEPOSIT_MAX, Presented, PresentedDirect, UserRequestKind};
use countersign_keys::session::{Piece, PresentedSession, ProofNeed, SealNeed, SessionPermit, SessionRejection};
use countersign_keys::time::ClockFailure;
use countersign_keys::verify::Rejection;
use http::request::Parts;

use crate::keys::pinned::{PinnedFailure, PinnedKeys};
use countersign_ipc::session_headers::{self, PROOF, SESSION_TOKEN};
use countersign_os::clock::{Clock, UnreadableClock};
use countersign_replay::Journal;

/// Why the instance does no work for a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The request is at fault.
    #[error(transparent)]
    Rejection(#[from] Rejection),
    /// The pinned keys cannot be read or trusted.
    #[error(transparent)]
    Pinned(#[from] PinnedFailure),
    #[error(transparent)]
    Unreadable(#[from] UnreadableClock),
    /// The clock has gone back too far.
    #[error(transparent)]
    Clock(#[from] ClockFailure),
}

/// A request that may be done, once. The variant is the way by which it came.
#[derive(Debug)]
pub(crate) enum Permitted<'r> {
    FromCore(Permit<'r, 'r>),
    FromUser(Permit<'r, 'r, DirectRequest>),
}

/// What is known of a request so far, for the log. Filled in while the request is verified.
#[derive(Debug, Default)]
pub(crate) struct AuditContext {
    pub(crate) call: Option<CallName>,
    /// The user whom the request names.
    pub(crate) username: Option<Username>,
    /// The key that signed.
    pub(crate) kid: Option<KeyId>,
    /// Whether the request opens a session sealed, if it opens one.
    pub(crate) sealed: Option<bool>,
}

/// Verifies requests. Permits each signed request once.
#[derive(Debug)]
pub(crate) struct Verifier {
    core: Mutex<CoreTokens>,
    pinned: PinnedKeys,
    journal: Journal,
    policy: Policy,
    calls: Arc<CallTable>,
}

impl Verifier {
    pub(crate) fn new(
        core: CoreTokens,
        pinned: PinnedKeys,
        journal: Journal,
        policy: Policy,
        calls: Arc<CallTable>,
    ) -> Self {
        Self { core: Mutex::new(core), pinned, journal, policy, calls }
    }

    /// Permits a request, once, or returns the reason for the refusal.
    pub(crate) fn verify<'r>(
        &self,
        head: &'r http::request::Parts,
        body: &'r [u8],
        audit: &mut AuditContext,
    ) -> Result<Permitted<'r>, Refusal> {
        let method = Method::parse(head.method.as_str()).ok_or(Rejection::NoSuchCall)?;
        match self.calls.route(method, head.uri.path()).filter(|_| head.uri.query().is_none()) {
            Some(Route::Private(lane)) => self.verify_from_core(lane, head, body, audit).map(Permitted::FromCore),
            Some(Route::Direct(row)) if row.destination() == Destination::Instance => {
                self.verify_direct(row, head, body, audit).map(Permitted::FromUser)
            }
            Some(Route::Direct(_) | Route::Public(_) | Route::Session(_) | Route::Socket) | None => {
                Err(Rejection::NoSuchCall.into())
            }
        }
    }

    fn verify_from_core<'r>(
        &self,
        lane: &Lane,
        head: &'r http::request::Parts,
        body: &'r [u8],
        audit: &mut AuditContext,
    ) -> Result<Permit<'r, 'r>, Refusal> {
        let presented = Presented::parse(lane, headers(head), DEPOSIT_MAX).map_err(Rejection::from)?;
        self.verify_presented(presented, body, audit)
    }

    /// Permits the request that a message on a socket makes, once, or returns the reason for the
    /// refusal. `named` is the socket's path and the call's name in the message.
    pub(crate) fn verify_message<'r>(
        &self,
        named: (&str, &str),
        token: &'r str,
        username: &Username,
        intent: Option<&'r str>,
        payload: &'r [u8],
        audit: &mut AuditContext,
    ) -> Result<Permit<'r, 'r>, Refusal> {
        let row = self.calls.socket_row(named.0, named.1).ok_or(Rejection::NoSuchCall)?;
        let presented = Presented::of_message(&row, token, username.clone(), intent, DEPOSIT_MAX);
        self.verify_presented(presented.map_err(Rejection::from)?, payload, audit)
    }

    /// Checks whether a request is for a socket whose messages are calls.
    pub(crate) fn is_socket(&self, head: &http::request::Parts) -> bool {
        let route = Method::parse(head.method.as_str()).and_then(|method| self.calls.route(method, head.uri.path()));
        matches!(route, Some(Route::Socket)) && head.uri.query().is_none()
    }

    /// Checks whether a key is pinned and has not expired. Returns false if the pinned keys or the
    /// time cannot be read.
    pub(crate) fn is_valid(&self, username: &Username, kid: KeyId) -> bool {
        let now = Clock::System.now().ok().and_then(|now| self.journal.now(now).ok());
        match (self.pinned.key(username, kid), now) {
            (Ok(Some(key)), Some(now)) => key.standing(now).is_ok(),
            (Ok(_) | Err(_), _) => false,
        }
    }

    fn verify_presented<'r>(
        &self,
        presented: Presented<'r>,
        body: &'r [u8],
        audit: &mut AuditContext,
    ) -> Result<Permit<'r, 'r>, Refusal> {
        let now = self.journal.now(Clock::System.now()?)?;
        let authenticated = self.core.lock().unwrap_or_else(PoisonError::into_inner).authenticate(presented, now);
        let request = user_request(authenticated.map_err(Rejection::from)?)?;
        audit.call = Some(request.row().call().clone());
        audit.username = Some(request.username().clone());

        let terms = &self.policy.terms;
        let intent = request.intent().ok_or(Rejection::Intent(IntentRejection::Missing))?;
        let intent = PresentedIntent::parse(intent, DEPOSIT_MAX, terms.version_1).map_err(Rejection::from)?;
        let keys = self.pinned.matching(request.username(), intent.key_wanted())?;
        let intent = intent.verify(request.username(), &keys, terms, now).map_err(Rejection::from)?;
        audit.kid = Some(intent.kid());

        let items = Items::read(request.row(), body).map_err(Rejection::from)?;
        self.consume(request.intend(intent).map_err(Rejection::from)?.bind(items).map_err(Rejection::from)?)
    }

    fn verify_direct<'r>(
        &self,
        row: &DirectRow,
        head: &'r http::request::Parts,
        body: &'r [u8],
        audit: &mut AuditContext,
    ) -> Result<Permit<'r, 'r, DirectRequest>, Refusal> {
        let now = self.journal.now(Clock::System.now()?)?;
        audit.call = Some(row.row().call().clone());
        let presented = PresentedDirect::parse(row, headers(head)).map_err(Rejection::from)?;

        let intent = presented.intent().map_err(Rejection::from)?;
        let claimed = intent.claimed_username().map_err(Rejection::from)?;
        let keys = self.pinned.matching(&claimed, intent.key_wanted())?;
        let intent = intent.verify(&claimed, &keys, &self.policy.terms, now).map_err(Rejection::from)?;
        audit.username = Some(intent.username().clone());
        audit.kid = Some(intent.kid());

        let items = Items::read(row.row(), body).map_err(Rejection::from)?;
        self.consume(presented.intend(intent).map_err(Rejection::from)?.bind(items).map_err(Rejection::from)?)
    }

    /// Permits a request with a one-time token, once, or returns the reason for the refusal.
    /// `instance_key` is this instance's own key: tokens of other instances are refused.
    pub(crate) fn verify_session<'r>(
        &self,
        presented: PresentedSession<'r>,
        instance_key: Option<&VerificationKey>,
        (proof, seal): (ProofNeed, SealNeed),
        audit: &mut AuditContext,
    ) -> Result<SessionPermit<'r>, Refusal> {
        let now = self.journal.now(Clock::System.now()?)?;
        let username = presented.claimed_username().clone();
        let keys = match presented.key_wanted() {
            Some(wanted) => self.pinned.matching(&username, wanted)?,
            None => Vec::new(),
        };
        let verified = presented.verify(instance_key, &keys, &self.policy.terms, now)?;
        audit.username = Some(username);
        audit.call = Some(verified.session().call().clone());
        let authorised = verified.authorise(&self.calls, proof, seal, &self.policy)?;
        audit.kid = authorised.kid();
        let now = self.journal.now(Clock::System.now()?)?;
        let permit = authorised.consume(&self.policy, &self.journal, now)?;
        audit.sealed = permit.is_sealed();
        Ok(permit)
    }

    /// The endpoint that a request is for, if one-time tokens are redeemed there.
    pub(crate) fn session_endpoint(&self, head: &http::request::Parts) -> Option<SessionEndpoint> {
        let method = if head.method == http::Method::HEAD { Method::Get } else { Method::parse(head.method.as_str())? };
        match self.calls.route(method, head.uri.path()) {
            Some(Route::Session(endpoint)) => Some(*endpoint),
            Some(_) | None => None,
        }
    }

    fn consume<'r, R: UserRequestKind>(&self, bound: Bound<'r, 'r, R>) -> Result<Permit<'r, 'r, R>, Refusal> {
        let authorised = self.policy.authorise(bound).map_err(Rejection::from)?;
        let now = self.journal.now(Clock::System.now()?)?;
        Ok(authorised.consume(&self.policy, &self.journal, now).map_err(Rejection::from)?)
    }
}

fn headers(head: &http::request::Parts) -> impl Iterator<Item = (&str, &[u8])> {
    head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
}

/// Refuses Core's own calls: an instance serves its user alone.
fn user_request(authenticated: Authenticated<'_>) -> Result<UserRequest<'_>, Rejection> {
    match authenticated {
        Authenticated::User(request) => Ok(request),
        Authenticated::Service(_) => Err(Rejection::NoSuchCall),
    }
}

/// Reads the token, the proof and the piece from a session's request, as the gateway wrote them.
pub(super) fn present_session(endpoint: SessionEndpoint, head: &Parts) -> Result<PresentedSession<'_>, Rejection> {
    let headers = &head.headers;
    let piece = match endpoint {
        SessionEndpoint::ChunkedUpload => session_headers::piece(headers)?,
        SessionEndpoint::Download
        | SessionEndpoint::UploadSocket
        | SessionEndpoint::ShellSocket
        | SessionEndpoint::Web
        | SessionEndpoint::VncSocket => Piece::without_bytes(session_headers::enc(headers)?),
    };
    let token = session_headers::header(headers, SESSION_TOKEN)?.ok_or(SessionRejection::NoToken)?;
    PresentedSession::parse(endpoint, token, session_headers::header(headers, PROOF)?, piece)
}
