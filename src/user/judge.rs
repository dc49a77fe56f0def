//! The instance's own judgement: all stages once more, on one page, with nothing taken from whoever forwarded the request (P3, V57).

use std::sync::{Arc, Mutex, PoisonError};

use countersign_keys::bind::Items;
use countersign_keys::call::{CallTable, Method, Route};
use countersign_keys::core_token::{Authenticated, CoreTokens, UserRequest};
use countersign_keys::identity::{CallName, KeyId, Username};
use countersign_keys::intent::{IntentRejection, PresentedIntent};
use countersign_keys::policy::{Permit, Policy};
use countersign_keys::request::{DEPOSIT_MAX, Presented};
use countersign_keys::time::ClockFailure;
use countersign_keys::verify::Rejection;

use crate::clock::{Clock, UnreadableClock};
use crate::journal::Journal;
use crate::user::pinned::{PinnedFailure, PinnedKeys};

/// Why a request is not worked on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Whoever sent it is wrong.
    #[error(transparent)]
    Rejection(#[from] Rejection),
    /// The pinned keys cannot be told.
    #[error(transparent)]
    Pinned(#[from] PinnedFailure),
    /// The time cannot be told.
    #[error(transparent)]
    Unreadable(#[from] UnreadableClock),
    /// The clock has gone back too far.
    #[error(transparent)]
    Clock(#[from] ClockFailure),
}

/// What is known of a request so far, for the log: filled in as it is found out.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The call.
    pub(crate) call: Option<CallName>,
    /// The user that was named.
    pub(crate) username: Option<Username>,
    /// The key that signed.
    pub(crate) kid: Option<KeyId>,
}

/// Judges requests.
#[derive(Debug)]
pub(crate) struct Judge {
    core: Mutex<CoreTokens>,
    pinned: PinnedKeys,
    journal: Journal,
    policy: Policy,
    calls: Arc<CallTable>,
}

impl Judge {
    /// A judge with these means.
    pub(crate) fn new(
        core: CoreTokens,
        pinned: PinnedKeys,
        journal: Journal,
        policy: Policy,
        calls: Arc<CallTable>,
    ) -> Self {
        Self { core: Mutex::new(core), pinned, journal, policy, calls }
    }

    /// Permits a request, once, or says why not.
    pub(crate) fn judge<'r>(
        &self,
        head: &'r http::request::Parts,
        body: &'r [u8],
        known: &mut Known,
    ) -> Result<Permit<'r, 'r>, Refusal> {
        let now = self.journal.now(Clock::System.now()?)?;
        let presented = self.presented(head)?;
        let authenticated = self.core.lock().unwrap_or_else(PoisonError::into_inner).authenticate(presented, now);
        let request = user_request(authenticated.map_err(Rejection::from)?)?;
        known.call = Some(request.row().call().clone());
        known.username = Some(request.username().clone());

        let terms = &self.policy.terms;
        let intent = request.intent().ok_or(Rejection::Intent(IntentRejection::Missing))?;
        let intent = PresentedIntent::parse(intent, DEPOSIT_MAX, terms.version_1).map_err(Rejection::from)?;
        let keys = self.pinned.wanted(request.username(), intent.key_wanted())?;
        let intent = intent.verify(request.username(), &keys, terms, now).map_err(Rejection::from)?;
        known.kid = Some(intent.kid());

        let items = Items::read(request.row(), body).map_err(Rejection::from)?;
        let bound = request.intend(intent).map_err(Rejection::from)?.bind(items).map_err(Rejection::from)?;
        let authorised = self.policy.authorise(bound).map_err(Rejection::from)?;
        let now = self.journal.now(Clock::System.now()?)?;
        Ok(authorised.spend(&self.policy, &self.journal, now).map_err(Rejection::from)?)
    }

    fn presented<'r>(&self, head: &'r http::request::Parts) -> Result<Presented<'r>, Rejection> {
        let method = Method::parse(head.method.as_str()).ok_or(Rejection::NoSuchCall)?;
        let route = self.calls.route(method, head.uri.path()).filter(|_| head.uri.query().is_none());
        let Some(Route::Private(lane)) = route else { return Err(Rejection::NoSuchCall) };
        let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        Ok(Presented::parse(lane, headers, DEPOSIT_MAX)?)
    }
}

/// An instance serves its user and nobody else, Core's own calls included.
fn user_request(authenticated: Authenticated<'_>) -> Result<UserRequest<'_>, Rejection> {
    match authenticated {
        Authenticated::User(request) => Ok(request),
        Authenticated::Service(_) => Err(Rejection::NoSuchCall),
    }
}
