//! The state that all requests share, and the record that each request leaves.
//!
//! A forwarded request of a user, or one that changes something, is in the audit log before its
//! first byte goes out. If the log cannot be written, nothing goes out (P8, P9). Refusals are
//! recorded after the decision. Refusals of unauthenticated clients, and requests that change
//! nothing, are counted.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign_keys::call::CallTable;
use countersign_keys::core_token::{Authenticated, CoreTokenRejection, CoreTokens};
use countersign_keys::identity::{CallName, KeyId, ProviderId, Username};
use countersign_keys::policy::Policy;
use countersign_keys::request::Presented;
use countersign_keys::session::ProofNeed;
use countersign_keys::time::Timestamp;
use http::{Request, Version};
use hyper::body::Incoming;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::body::BodyRoom;
use super::call_table::CallTableDocument;
use super::connections::{Place, Shown};
use super::cors::{self, Admitted, Cors};
use super::deposits::Deposits;
use super::head::{self, HeadRejection};
use super::instance_answer::InstanceAnswer;
use super::key_cache::KeyCache;
use super::limits::TOO_OFTEN_FOR;
use super::pages::{self, Pages};
use super::refusal::{Failure, Refusal};
use super::request_id::{RequestId, RequestIds};
use super::response::{self, Answer, Transport};
use super::upstream::Upstreams;
use super::uses::Uses;
use countersign_audit::{Decision, DecisionLog, Process, Verdict, Weight};
use countersign_config::CurrentMaintenance;
use countersign_ipc::gateway_protocol::InstanceAddress;
use countersign_os::clock::Clock;
use countersign_os::limits::{Counted, RateLimiter, network_of};
use countersign_replay::Journal;

pub(super) struct Ingress {
    pub(super) provider: ProviderId,
    pub(super) calls: Arc<CallTable>,
    /// Core's key and the tokens verified with it. Locked for a lookup, never across an await.
    pub(super) core: Mutex<CoreTokens>,
    pub(super) policy: Policy,
    /// Whether the use of a one-time token has to be signed.
    pub(super) proof: ProofNeed,
    pub(super) key_cache: Arc<KeyCache>,
    pub(super) journal: Journal,
    pub(super) clock: Clock,
    pub(super) deposits: Deposits,
    pub(super) deposit_wait: Duration,
    pub(super) upstreams: Arc<Upstreams>,
    /// The server's service endpoint.
    pub(super) server: Arc<InstanceAddress>,
    pub(super) audit: DecisionLog,
    pub(super) body_max: usize,
    pub(super) bodies: BodyRoom,
    /// Limits public calls by address.
    pub(super) crowd: RateLimiter<IpAddr>,
    /// Limits refusals by address, for unauthenticated senders.
    pub(super) refusals: RateLimiter<IpAddr>,
    /// Requests in flight by user.
    pub(super) fair: Arc<Counted<Username>>,
    /// Public calls at the server by address.
    pub(super) public_at_server: Arc<Counted<IpAddr>>,
    /// Calls at the server of users' own browsers, by user.
    pub(super) direct_at_server: Arc<Counted<Username>>,
    /// Sockets by user.
    pub(super) sockets: Arc<Counted<Username>>,
    /// Sockets by user that Core opened and on which nothing was permitted yet.
    pub(super) waiting: Arc<Counted<Username>>,
    pub(super) cors: Cors,
    pub(super) catalogue: CallTableDocument,
    pub(super) pages: Pages,
    pub(super) ids: RequestIds,
    /// Key uses not yet reported to the server.
    pub(super) uses: Uses,
    /// Which users are served.
    pub(super) maintenance: Arc<CurrentMaintenance>,
}

/// The client of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub(super) address: IpAddr,
    pub(super) transport: Transport,
}

impl Client {
    /// The network, which counts as one client.
    pub(super) fn network(&self) -> IpAddr {
        network_of(self.address)
    }
}

/// What is known of a request so far, for the log and for the response's head.
#[derive(Debug, Default)]
pub(super) struct AuditContext {
    pub(super) username: Option<Username>,
    pub(super) call: Option<CallName>,
    pub(super) kid: Option<KeyId>,
    /// The page that asks, if it may read the response.
    pub(super) page: Option<Admitted>,
    /// The page's access depends on its origin (`Vary`).
    pub(super) varies: bool,
    pub(super) sender: Sender,
    /// The connection that it came on.
    place: Option<Arc<Place>>,
}

/// Whether the sender has authenticated.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Sender {
    /// Neither Core's token nor a user's signature was valid.
    #[default]
    Stranger,
    /// Core's token or a user's signature was valid.
    Shown,
}

impl AuditContext {
    /// The context of a new request on that connection.
    pub(super) fn on(place: &Arc<Place>) -> Self {
        Self { place: Some(Arc::clone(place)), ..Self::default() }
    }

    /// The context of a message on a socket, for the user that the handshake named. A sender who
    /// authenticated then need not repeat it.
    pub(super) fn on_socket(place: &Arc<Place>, username: &Username) -> Self {
        let sender = if place.is_strangers() { Sender::Stranger } else { Sender::Shown };
        Self { username: Some(username.clone()), sender, ..Self::on(place) }
    }

    /// The context of an open session.
    pub(super) fn of_session(username: &Username, kid: Option<KeyId>) -> Self {
        Self { username: Some(username.clone()), kid, sender: Sender::Shown, ..Self::default() }
    }

    fn network(&self) -> Option<IpAddr> {
        self.place.as_ref().map(|place| place.network())
    }

    /// Lets the connection take no further request.
    fn finish_connection(&self) {
        if let Some(place) = &self.place {
            place.finish();
        }
    }

    /// Notes that the request came with Core's token, or with a user's valid signature.
    pub(super) fn show(&mut self, shown: Shown<'_>) {
        self.sender = Sender::Shown;
        if let Some(place) = &self.place {
            place.show(shown);
        }
    }
}

impl Ingress {
    pub(super) async fn answer(&self, client: Client, place: &Arc<Place>, request: Request<Incoming>) -> Answer {
        let id = self.ids.next();
        let (mut head, body) = request.into_parts();
        head::drop_unread(&mut head.headers);
        let mut known = AuditContext::on(place);
        let mut answer = match self.admit(&head, body, client, &id, &mut known).await {
            Ok(answer) => answer,
            Err(refusal) => {
                let (mut answer, refusal) = self.refuse(refusal, head.version, &id, &known).await;
                if pages::wants_page(&head) {
                    let (told, why) = response::told(&refusal);
                    self.pages.explain(&mut answer, told, why, &id);
                }
                answer
            }
        };
        if let Some(page) = &known.page {
            page.allow(answer.headers_mut());
        }
        if known.varies {
            cors::vary(answer.headers_mut());
        }
        response::finish(&mut answer, &id, client.transport);
        answer
    }

    /// Answers a head that was refused before it became a request.
    pub(super) async fn answer_for(&self, rejection: HeadRejection, client: Client, place: &Arc<Place>) -> Answer {
        let id = self.ids.next();
        let (mut answer, _) = self.refuse(rejection.into(), Version::HTTP_11, &id, &AuditContext::on(place)).await;
        response::finish(&mut answer, &id, client.transport);
        answer
    }

    /// The time to verify with.
    pub(super) fn now(&self) -> Result<Timestamp, Failure> {
        Ok(self.journal.now(self.clock.now()?)?)
    }

    /// Verifies that the request comes from Core.
    pub(super) fn authenticate<'h>(
        &self,
        presented: Presented<'h>,
        now: Timestamp,
    ) -> Result<Authenticated<'h>, CoreTokenRejection> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner).authenticate(presented, now)
    }

    /// Records that a request is forwarded. Has to be called before it is.
    pub(super) fn record(&self, verdict: Verdict, id: &RequestId, known: &AuditContext) -> Result<(), Failure> {
        self.audit.append(&decision(verdict, None, None, id, known)).map_err(Failure::Audit)
    }

    /// Counts a forwarded request that changes nothing: a public one, or one that Core polls.
    pub(super) fn count_read(&self, id: &RequestId, known: &AuditContext) {
        self.note(&decision(Verdict::Forward, None, None, id, known), Weight::Read(known.network()));
    }

    /// Records the status of a forwarded user's request, and the reason if it was refused.
    ///
    /// The request is done by then. A log that cannot be written refuses the next request; it does
    /// not hold back this answer.
    pub(super) async fn record_answer(
        &self,
        answer: InstanceAnswer,
        id: &RequestId,
        known: &AuditContext,
    ) -> InstanceAnswer {
        let (answer, reason) = answer.with_reason().await;
        let status = answer.status();
        let answered = decision(Verdict::Answered, Some(status), reason.as_deref(), id, known);
        if let Err(error) = self.audit.append(&answered) {
            tracing::error!(%error, request = id.as_str(), status, "cannot write audit log");
        }
        answer
    }

    /// Records bytes that were not a request.
    pub(super) fn record_no_request(&self, why: &str, place: &Arc<Place>) {
        let (id, known) = (self.ids.next(), AuditContext::on(place));
        let refused = decision(Verdict::Refuse, None, Some(why), &id, &known);
        self.note(&refused, Weight::Stranger(known.network()));
    }

    /// Records a refusal and returns its response. A stranger who is refused too often is answered
    /// late, and its connection ends. Returns the refusal that was answered, too.
    pub(super) async fn refuse(
        &self,
        refusal: Refusal,
        version: Version,
        id: &RequestId,
        known: &AuditContext,
    ) -> (Answer, Refusal) {
        let is_too_often = self.is_refused_too_often(known);
        let refusal = if is_too_often { Refusal::TooMany } else { refusal };
        let mut answer = response::refused(&refusal, version);
        self.record_refusal(&refusal, Some(answer.status().as_u16()), id, known);
        if is_too_often {
            response::close_after(&mut answer, version);
            tokio::time::sleep(TOO_OFTEN_FOR).await;
            known.finish_connection();
        }
        (answer, refusal)
    }

    /// Counts a refusal against its sender's network, if the sender has not authenticated.
    pub(super) fn is_refused_too_often(&self, known: &AuditContext) -> bool {
        let network = known.network().filter(|_| known.sender == Sender::Stranger);
        network.is_some_and(|network| !self.refusals.admits(network, Instant::now()))
    }

    /// Records a refusal, with the status of its response if there is one.
    pub(super) fn record_refusal(&self, refusal: &Refusal, status: Option<u16>, id: &RequestId, known: &AuditContext) {
        let verdict = match refusal {
            Refusal::NoInstance => Verdict::NoInstance,
            Refusal::Failure(_) => Verdict::Fail,
            Refusal::Head(_)
            | Refusal::Body(_)
            | Refusal::Rejection(_)
            | Refusal::Deposit(_)
            | Refusal::StepUp(_)
            | Refusal::CrossOrigin(_)
            | Refusal::Destination(_)
            | Refusal::ContentType(_)
            | Refusal::Socket(_)
            | Refusal::AccountRefused
            | Refusal::NotConnected
            | Refusal::NoKey
            | Refusal::Maintenance
            | Refusal::TooMany => Verdict::Refuse,
        };
        let reason = refusal.to_string();
        if verdict == Verdict::Fail {
            let cause = std::error::Error::source(refusal).map(ToString::to_string);
            tracing::error!(request = id.as_str(), reason, cause, "request failed");
        }
        let weight = match known.sender {
            Sender::Stranger => Weight::Stranger(known.network()),
            Sender::Shown => Weight::Refusal(known.username.as_ref().map_or("", Username::as_str)),
        };
        self.note(&decision(verdict, status, Some(&reason), id, known), weight);
    }

    fn note(&self, decision: &Decision<'_>, weight: Weight<'_>) {
        if let Err(error) = self.audit.note(decision, weight, Instant::now().into_std()) {
            tracing::error!(%error, request = decision.request_id, reason = decision.reason, "cannot write audit log");
        }
    }
}

fn decision<'d>(
    decision: Verdict,
    status: Option<u16>,
    reason: Option<&'d str>,
    id: &'d RequestId,
    known: &'d AuditContext,
) -> Decision<'d> {
    // An unauthenticated sender may have named any user.
    let username = known.username.as_ref().filter(|_| known.sender == Sender::Shown);
    Decision {
        time: OffsetDateTime::now_utc(),
        request_id: id.as_str(),
        process: Process::Gateway,
        username,
        call: known.call.as_ref(),
        kid: known.kid,
        decision,
        status,
        reason,
        counted: None,
    }
}
