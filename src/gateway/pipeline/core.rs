//! The pipeline of one request, from its head to the instance (design, section 3).
//!
//! Verifies before it believes. Checks the user's signature before it reads the body, where it can,
//! and connects to the instance before it consumes the intent. Consuming the intent, with one more
//! check of the time, is the last step before the first byte goes out (P1, P4, P5).

use std::sync::Arc;

use bytes::Bytes;
use countersign_keys::bind::{Bound, Items};
use countersign_keys::call::{Lane, Method, Route, Row, ServiceCall, SessionEndpoint};
use countersign_keys::core_token::{Authenticated, ServiceRequest, UserRequest};
use countersign_keys::identity::{CallName, Username};
use countersign_keys::intent::{IntentRejection, KeyWanted, PresentedIntent, VerifiedIntent};
use countersign_keys::keyring::EnrolledKey;
use countersign_keys::policy::{Authorised, ConsumeError, Permit, Policy, PolicyRejection};
use countersign_keys::request::{INTENT_MAX, Presented, UserRequestKind};
use countersign_keys::verify::Rejection;
use http::request::Parts;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::http1::head::{self, Purpose};
use crate::ingress::{AuditContext, Client, Ingress};
use crate::limits::connections::Shown;
use crate::pipeline::budget::Budget;
use crate::pipeline::deposits::{NotTaken, Taken, Wanted};
use crate::pipeline::fetch_metadata;
use crate::pipeline::forward;
use crate::response::Answer;
use crate::response::compression;
use crate::response::instance_answer::Content;
use crate::response::refusal::Refusal;
use crate::response::request_id::RequestId;
use crate::server_link::key_cache::{AsOf, Instance};
use crate::upstream::{Connection, UpstreamFailure};
use countersign_audit::Verdict;
use countersign_ipc::gateway_protocol::Signer;

/// In bytes. The body of one of Core's own calls is a username.
const SERVICE_BODY_MAX: usize = 16 * 1024;

/// Why a request has no deposit.
enum NoDeposit {
    /// No deposit is there, and none can come. If a deposit was discarded meanwhile, its refusal is
    /// reported instead: it says more.
    Absent(Refusal),
    /// No passkey has asserted the deposit, or the gateway failed.
    Refused(Refusal),
}

impl Ingress {
    /// Verifies a request, then forwards or refuses it.
    pub(crate) async fn admit(
        &self,
        head: &Parts,
        body: Incoming,
        client: Client,
        id: &RequestId,
        known: &mut AuditContext,
    ) -> Result<Answer, Refusal> {
        let budget = Budget::from(Instant::now());
        head::check(head, Purpose::Request)?;
        fetch_metadata::refuse_service_worker(&head.headers)?;
        if let Some(answer) = self.health(head) {
            return Ok(answer);
        }
        if let Some(answer) = self.pages.front(head) {
            return Ok(answer);
        }
        if head.method == http::Method::OPTIONS {
            return self.preflight(head, client, id, known);
        }
        // Assets are public, so this is no decision that the log has to keep.
        if let Some(asset) = self.pages.asset(&head.method, &head.uri, &head.headers) {
            return Ok(asset);
        }
        let route = self.route(head)?;
        fetch_metadata::check(route, &head.headers)?;
        match route {
            Route::Public(call) => self.public(*call, head, body, client, id, known).await,
            Route::Private(lane) => {
                let authenticated = self.authenticated(head, lane)?;
                known.show(Shown::Core);
                match authenticated {
                    Authenticated::Service(request) => self.service(request, head, body, id, known).await,
                    Authenticated::User(request) => self.user(request, head, body, budget, id, known).await,
                }
            }
            Route::Direct(row) => self.direct(row, head, body, client, id, known).await,
            Route::Session(endpoint @ (SessionEndpoint::Download | SessionEndpoint::ChunkedUpload)) => {
                self.session(*endpoint, head, body, client, id, known).await
            }
            Route::Session(_) | Route::Socket => Err(Rejection::NoSuchCall.into()),
        }
    }

    /// Refuses a path that no table lists (V01), and a query, which no signature would cover.
    fn route(&self, head: &Parts) -> Result<&Route, Rejection> {
        if head.method == http::Method::HEAD {
            let route = self.calls.route(Method::Get, head.uri.path());
            return route
                .filter(|route| matches!(route, Route::Session(SessionEndpoint::Download)))
                .ok_or(Rejection::NoSuchCall);
        }
        let method = Method::parse(head.method.as_str()).ok_or(Rejection::NoSuchCall)?;
        let route = self.calls.route(method, head.uri.path()).filter(|route| match route {
            // Their queries hold only what is verified.
            Route::Session(_) | Route::Socket => true,
            Route::Public(_) | Route::Private(_) | Route::Direct(_) => head.uri.query().is_none(),
        });
        route.ok_or(Rejection::NoSuchCall)
    }

    fn authenticated<'h>(&self, head: &'h Parts, lane: &Lane) -> Result<Authenticated<'h>, Refusal> {
        let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let presented = Presented::parse(lane, headers, INTENT_MAX)?;
        Ok(self.authenticate(presented, self.now()?)?)
    }

    /// Handles a call that needs Core's token alone.
    async fn service(
        &self,
        request: ServiceRequest<'_>,
        head: &Parts,
        body: Incoming,
        id: &RequestId,
        known: &mut AuditContext,
    ) -> Result<Answer, Refusal> {
        known.call = CallName::parse(&forward::place_of_service(request.call()).1.replace('/', ".")).ok();
        let body_max = match request.call() {
            // The body is a whole application.
            ServiceCall::RequestDynamicParameters => self.body_max,
            ServiceCall::Connect
            | ServiceCall::Init
            | ServiceCall::Unlinked
            | ServiceCall::RetrieveManifest
            | ServiceCall::RetrieveBranding
            | ServiceCall::RetrieveProducts(_)
            | ServiceCall::RetrieveTokenOptions => SERVICE_BODY_MAX,
        };
        let body = self.bodies.read(head, body, body_max).await?;
        let connection = self.upstreams.connect(&self.server).await?;
        let bytes = match request.call() {
            ServiceCall::Connect | ServiceCall::Init | ServiceCall::Unlinked => {
                self.record(Verdict::Forward, id, known)?;
                body.bytes
            }
            // Core polls these all day. They change nothing and ignore the body.
            ServiceCall::RetrieveManifest
            | ServiceCall::RetrieveBranding
            | ServiceCall::RetrieveProducts(_)
            | ServiceCall::RequestDynamicParameters
            | ServiceCall::RetrieveTokenOptions => {
                self.count_read(id, known);
                Bytes::new()
            }
        };
        let answer = forward::service(request, &self.provider, bytes, &self.upstreams, connection, id).await?;
        Ok(answer.pass_on(Content::Json)?)
    }

    /// Handles a user's call: only what the user signed passes.
    async fn user(
        &self,
        request: UserRequest<'_>,
        head: &Parts,
        body: Incoming,
        budget: Budget,
        id: &RequestId,
        known: &mut AuditContext,
    ) -> Result<Answer, Refusal> {
        let (username, call) = (request.username().clone(), request.row().call().clone());
        known.username = Some(username.clone());
        known.call = Some(call.clone());
        // Checked first: during maintenance a signature would not help the user.
        self.check_maintenance(&username)?;

        let _under_way = self.fair.begin(&username).ok_or(Refusal::TooMany)?;
        let epoch = self.key_cache.epoch();
        let from_header = match request.intent() {
            Some(text) => Some(self.verify(&username, text).await?),
            None => None,
        };
        let body = self.bodies.read_of_user(head, body, self.body_max, &username).await?;
        let items = Items::read(request.row(), &body.bytes)?;
        let until = budget.for_deposit(self.deposit_wait);
        let deposit = self.deposit_for(request.row(), &username, from_header.as_ref(), &items, until).await?;
        let intent = match (from_header, &deposit) {
            (Some(intent), _) => intent,
            (None, Some(deposit)) => deposit.intent.clone(),
            (None, None) => return Err(IntentRejection::Missing.into()),
        };
        known.kid = Some(intent.kid());

        let authorised = self.authorise(request.intend(intent)?.bind(items)?, deposit.as_ref())?;
        let connection = budget.make_ready(self.connect_to_instance(&username)).await?;
        let permit = budget.make_ready(self.consume(authorised, deposit, epoch, id, known)).await?;
        let answer = forward::user(permit, &body.bytes, &self.upstreams, connection, budget, id).await?;
        let answer = self.record_answer(answer, id, known).await;
        Ok(compression::compress(answer.pass_on(Content::Json)?, &call, &head.headers))
    }

    /// Finds the deposit that the request needs.
    ///
    /// A request without an intent needs a deposit that covers it. A call that needs a passkey
    /// needs the deposit of the intent that came with it, asserted by the passkey. A deposit that
    /// no request can use any more is discarded, and the next one is tried (V70). Returns without
    /// waiting if the user is not connected or has no key.
    pub(crate) async fn deposit_for<'d>(
        &'d self,
        row: &Row,
        username: &'d Username,
        from_header: Option<&VerifiedIntent<'_>>,
        items: &Items<'_>,
        until: Instant,
    ) -> Result<Option<Taken<'d>>, Refusal> {
        let wanted = match from_header {
            Some(intent) if self.policy.needs_step_up(row.call(), items) => Wanted::Asserted(intent.fingerprint()),
            Some(_) => return Ok(None),
            None => Wanted::Covering(row.call(), items.digests(), items.project()),
        };
        let mut discarded = None;
        loop {
            let taken = match self.take_or_wait(username, wanted, until).await {
                Ok(taken) => taken,
                Err(NoDeposit::Absent(refusal)) => return Err(discarded.unwrap_or(refusal)),
                Err(NoDeposit::Refused(refusal)) => return Err(refusal),
            };
            match self.check_deposit(items, &taken).await {
                Ok(()) => return Ok(Some(taken)),
                Err(refusal) if refusal.is_of_the_intent() => {
                    tracing::info!(%username, kid = %taken.intent.kid(), %refusal, "discarded deposit");
                    taken.discard();
                    discarded = Some(refusal);
                }
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// Takes a deposit, or waits for one if one can come.
    async fn take_or_wait<'d>(
        &'d self,
        username: &'d Username,
        wanted: Wanted<'_>,
        until: Instant,
    ) -> Result<Taken<'d>, NoDeposit> {
        let now = || self.now().map_err(|failure| NoDeposit::Refused(failure.into()));
        let is_there = self.deposits.take(username, wanted, now()?, Instant::now()).await;
        if matches!((&is_there, wanted), (Err(NotTaken::Absent), Wanted::Covering(..))) {
            self.check_signer(username).await.map_err(NoDeposit::Absent)?;
        }
        let taken = match is_there {
            Ok(taken) => Ok(taken),
            Err(_) => self.deposits.take(username, wanted, now()?, until).await,
        };
        taken.map_err(|why| match (why, wanted) {
            (NotTaken::NotSteppedUp, _) => NoDeposit::Refused(PolicyRejection::StepUp.into()),
            (NotTaken::Absent, Wanted::Asserted(_)) => NoDeposit::Absent(PolicyRejection::StepUp.into()),
            (NotTaken::Absent, Wanted::Covering(..)) => NoDeposit::Absent(IntentRejection::Missing.into()),
        })
    }

    /// Checks whether the user is connected and has a key, and so may be signing at this moment. If
    /// the server cannot tell, the gateway waits for the deposit as usual, so a failure lets
    /// nothing through.
    async fn check_signer(&self, username: &Username) -> Result<(), Refusal> {
        match self.key_cache.signer(username).await {
            Ok(Signer::NotConnected) => Err(Refusal::NotConnected),
            Ok(Signer::NoKey) => Err(Refusal::NoKey),
            Ok(Signer::HasKey) | Err(_) => Ok(()),
        }
    }

    /// Checks whether a deposit could still be consumed. Consumes nothing: the last step does, and
    /// checks again.
    async fn check_deposit(&self, items: &Items<'_>, taken: &Taken<'_>) -> Result<(), Refusal> {
        let (intent, now) = (&taken.intent, self.now()?);
        let used = intent.to_use();
        Policy::check_binding(items, intent)?;
        self.policy.terms.window.check(used.iat, used.exp, now).map_err(ConsumeError::from)?;
        self.journal.check(used).map_err(ConsumeError::from)?;
        self.key_cache.check_standing(intent.username(), intent.kid(), AsOf::Earlier, now).await
    }

    /// Applies the site's rules, with the passkey's evidence if there is some.
    pub(crate) fn authorise<'h, 'b, R: UserRequestKind>(
        &self,
        bound: Bound<'h, 'b, R>,
        deposit: Option<&Taken<'_>>,
    ) -> Result<Authorised<'h, 'b, R>, PolicyRejection> {
        match deposit.and_then(Taken::stepped_up) {
            Some(evidence) => self.policy.authorise_stepped_up(bound, evidence),
            None => self.policy.authorise(bound),
        }
    }

    /// The last step before the first byte goes out: checks that the key is still valid, consumes
    /// the intent, and writes the record. `epoch` is the key cache's from before the signature was
    /// checked.
    pub(crate) async fn consume<'h, 'b, R: UserRequestKind>(
        &self,
        authorised: Authorised<'h, 'b, R>,
        deposit: Option<Taken<'_>>,
        epoch: u64,
        id: &RequestId,
        known: &AuditContext,
    ) -> Result<Permit<'h, 'b, R>, Refusal> {
        let looked_up = if deposit.is_some() { AsOf::Earlier } else { AsOf::At(epoch) };
        let consumed = self.consume_if_current(authorised, looked_up).await;
        match (deposit, &consumed) {
            (Some(deposit), Ok(_)) => deposit.consume(),
            (Some(deposit), Err(refusal)) if refusal.is_of_the_intent() => deposit.discard(),
            // The refusal was not the intent's fault: the deposit goes back.
            (Some(_), Err(_)) | (None, _) => {}
        }
        let permit = consumed?;
        self.uses.note(permit.username(), permit.kid());
        self.record(Verdict::Forward, id, known)?;
        Ok(permit)
    }

    async fn consume_if_current<'h, 'b, R: UserRequestKind>(
        &self,
        authorised: Authorised<'h, 'b, R>,
        looked_up: AsOf,
    ) -> Result<Permit<'h, 'b, R>, Refusal> {
        // This key, among others, may have been revoked since its signature was checked (P6).
        self.key_cache.check_standing(authorised.username(), authorised.kid(), looked_up, self.now()?).await?;
        Ok(authorised.consume(&self.policy, &self.journal, self.now()?)?)
    }

    /// Verifies that one of the user's keys signed the intent. Does not look at the request.
    pub(crate) async fn verify<'h>(&self, username: &Username, text: &'h str) -> Result<VerifiedIntent<'h>, Refusal> {
        let presented = PresentedIntent::parse(text, INTENT_MAX, self.policy.terms.version_1)?;
        let keys = self.keys(username, presented.key_wanted()).await?;
        Ok(presented.verify(username, keys.as_ref(), &self.policy.terms, self.now()?)?)
    }

    pub(crate) async fn keys(&self, username: &Username, wanted: KeyWanted) -> Result<Keys, Refusal> {
        Ok(match wanted {
            KeyWanted::Id(kid) => Keys::One(self.key_cache.key(username, kid).await?),
            KeyWanted::Version1 => Keys::Several(self.key_cache.keys_v1(username).await?),
        })
    }

    pub(crate) fn check_maintenance(&self, username: &Username) -> Result<(), Refusal> {
        if self.maintenance.admits(username) { Ok(()) } else { Err(Refusal::Maintenance) }
    }

    /// Connects to the user's instance for one request and its answer.
    pub(crate) async fn connect_to_instance(&self, username: &Username) -> Result<Connection, Refusal> {
        self.connect_by(Reuse::Pooled, username).await
    }

    /// Connects to the user's instance. Every lane comes through here, so none evades maintenance.
    pub(crate) async fn connect_by(&self, way: Reuse, username: &Username) -> Result<Connection, Refusal> {
        self.check_maintenance(username)?;
        let address = match self.key_cache.instance(username).await? {
            Instance::Up(address) => address,
            Instance::Down => return Err(Refusal::NoInstance),
            Instance::Refused => return Err(Refusal::AccountRefused),
        };
        let connected = match way {
            Reuse::Pooled => self.upstreams.connect(&address).await,
            Reuse::Fresh => self.upstreams.connect_anew(&address).await,
        };
        match connected {
            Ok(connection) => Ok(connection),
            Err(UpstreamFailure::Absent) => {
                self.key_cache.forget_instance(username);
                Err(Refusal::NoInstance)
            }
            Err(failure) => Err(failure.into()),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reuse {
    /// A pooled connection, for a request and its answer.
    Pooled,
    /// A connection on which nothing was sent yet, for a socket that keeps it.
    Fresh,
}

pub(crate) enum Keys {
    /// The key of an id, if it exists.
    One(Option<Arc<EnrolledKey>>),
    /// The user's keys of version 1.
    Several(Arc<[Arc<EnrolledKey>]>),
}

impl AsRef<[Arc<EnrolledKey>]> for Keys {
    fn as_ref(&self) -> &[Arc<EnrolledKey>] {
        match self {
            Self::One(key) => key.as_slice(),
            Self::Several(keys) => keys,
        }
    }
}
