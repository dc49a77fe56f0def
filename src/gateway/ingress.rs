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

use crate::http1::body::BodyRoom;
use crate::http1::head::{self, HeadRejection};
use crate::limits::TOO_OFTEN_FOR;
use crate::limits::connections::{Place, Shown};
use crate::pages::call_table::CallTableDocument;
use crate::pages::{self, Pages};
use crate::pipeline::deposits::Deposits;
use crate::response::cors::{self, Admitted, Cors};
use crate::response::instance_answer::InstanceAnswer;
use crate::response::refusal::{Failure, Refusal};
use crate::response::request_id::{RequestId, RequestIds};
use crate::response::{self, Answer, Transport};
use crate::server_link::key_cache::KeyCache;
use crate::server_link::uses::Uses;
use crate::upstream::Upstreams;
use countersign_audit::{Decision, DecisionLog, Process, Verdict, Weight};
use countersign_config::CurrentMaintenance;
use countersign_ipc::gateway_protocol::InstanceAddress;
use countersign_os::clock::Clock;
use countersign_os::limits::{Counted, RateLimiter, network_of};
use countersign_replay::Journal;

pub(crate) struct Ingress {
    pub(crate) provider: ProviderId,
    pub(crate) calls: Arc<CallTable>,
    /// Core's key and the tokens verified with it. Locked for a lookup, never across an await.
    pub(crate) core: Mutex<CoreTokens>,
    pub(crate) policy: Policy,
    /// Whether the use of a one-time token has to be signed.
    pub(crate) proof: ProofNeed,
    pub(crate) key_cache: Arc<KeyCache>,
    pub(crate) journal: Journal,
    pub(crate) clock: Clock,
    pub(crate) deposits: Deposits,
    pub(crate) deposit_wait: Duration,
    pub(crate) upstreams: Arc<Upstreams>,
    /// The server's service endpoint.
    pub(crate) server: Arc<InstanceAddress>,
    pub(crate) audit: DecisionLog,
    pub(crate) body_max: usize,
    pub(crate) bodies: BodyRoom,
    /// Limits public calls by address.
    pub(crate) crowd: RateLimiter<IpAddr>,
    /// Limits refusals by address, for unauthenticated senders.
    pub(crate) refusals: RateLimiter<IpAddr>,
    /// Requests in flight by user.
    pub(crate) fair: Arc<Counted<Username>>,
    /// Public calls at the server by address.
    pub(crate) public_at_server: Arc<Counted<IpAddr>>,
    /// Calls at the server of users' own browsers, by user.
    pub(crate) direct_at_server: Arc<Counted<Username>>,
    /// Sockets by user.
    pub(crate) sockets: Arc<Counted<Username>>,
    /// Sockets by user that Core opened and on which nothing was permitted yet.
    pub(crate) waiting: Arc<Counted<Username>>,
    pub(crate) cors: Cors,
    pub(crate) catalogue: CallTableDocument,
    pub(crate) pages: Pages,
    pub(crate) ids: RequestIds,
    /// Key uses not yet reported to the server.
    pub(crate) uses: Uses,
    /// Which users are served.
    pub(crate) maintenance: Arc<CurrentMaintenance>,
}

/// The client of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    pub(crate) transport: Transport,
}

impl Client {
    /// The network, which counts as one client.
    pub(crate) fn network(&self) -> IpAddr {
        network_of(self.address)
    }
}

/// What is known of a request so far, for the log and for the response's head.
#[derive(Debug, Default)]
pub(crate) struct AuditContext {
    pub(crate) username: Option<Username>,
    pub(crate) call: Option<CallName>,
    pub(crate) kid: Option<KeyId>,
    /// The page that asks, if it may read the response.
    pub(crate) page: Option<Admitted>,
    /// The page's access depends on its origin (`Vary`).
    pub(crate) varies: bool,
    pub(crate) sender: Sender,
    /// The connection that it came on.
    place: Option<Arc<Place>>,
}

/// Whether the sender has authenticated.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Sender {
    /// Neither Core's token nor a user's signature was valid.
    #[default]
    Stranger,
    /// Core's token or a user's signature was valid.
    Shown,
}

impl AuditContext {
    /// The context of a new request on that connection.
    pub(crate) fn on(place: &Arc<Place>) -> Self {
        Self { place: Some(Arc::clone(place)), ..Self::default() }
    }

    /// The context of a message on a socket, for the user that the handshake named. A sender who
    /// authenticated then need not repeat it.
    pub(crate) fn on_socket(place: &Arc<Place>, username: &Username) -> Self {
        let sender = if place.is_strangers() { Sender::Stranger } else { Sender::Shown };
        Self { username: Some(username.clone()), sender, ..Self::on(place) }
    }

    /// The context of an open session.
    pub(crate) fn of_session(username: &Username, kid: Option<KeyId>) -> Self {
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
    pub(crate) fn show(&mut self, shown: Shown<'_>) {
        self.sender = Sender::Shown;
        if let Some(place) = &self.place {
            place.show(shown);
        }
    }
}

impl Ingress {
    pub(crate) async fn answer(&self, client: Client, place: &Arc<Place>, request: Request<Incoming>) -> Answer {
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
    pub(crate) async fn answer_for(&self, rejection: HeadRejection, client: Client, place: &Arc<Place>) -> Answer {
        let id = self.ids.next();
        let (mut answer, _) = self.refuse(rejection.into(), Version::HTTP_11, &id, &AuditContext::on(place)).await;
        response::finish(&mut answer, &id, client.transport);
        answer
    }

    /// The time to verify with.
    pub(crate) fn now(&self) -> Result<Timestamp, Failure> {
        Ok(self.journal.now(self.clock.now()?)?)
    }

    /// Verifies that the request comes from Core.
    pub(crate) fn authenticate<'h>(
        &self,
        presented: Presented<'h>,
        now: Timestamp,
    ) -> Result<Authenticated<'h>, CoreTokenRejection> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner).authenticate(presented, now)
    }

    /// Records that a request is forwarded. Has to be called before it is.
    pub(crate) fn record(&self, verdict: Verdict, id: &RequestId, known: &AuditContext) -> Result<(), Failure> {
        self.audit.append(&decision(verdict, None, None, id, known)).map_err(Failure::Audit)
    }

    /// Counts a forwarded request that changes nothing: a public one, or one that Core polls.
    pub(crate) fn count_read(&self, id: &RequestId, known: &AuditContext) {
        self.note(&decision(Verdict::Forward, None, None, id, known), Weight::Read(known.network()));
    }

    /// Records the status of a forwarded user's request, and the reason if it was refused.
    ///
    /// The request is done by then. A log that cannot be written refuses the next request; it does
    /// not hold back this answer.
    pub(crate) async fn record_answer(
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
    pub(crate) fn record_no_request(&self, why: &str, place: &Arc<Place>) {
        let (id, known) = (self.ids.next(), AuditContext::on(place));
        let refused = decision(Verdict::Refuse, None, Some(why), &id, &known);
        self.note(&refused, Weight::Stranger(known.network()));
    }

    /// Records a refusal and returns its response. A stranger who is refused too often is answered
    /// late, and its connection ends. Returns the refusal that was answered, too.
    pub(crate) async fn refuse(
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
    pub(crate) fn is_refused_too_often(&self, known: &AuditContext) -> bool {
        let network = known.network().filter(|_| known.sender == Sender::Stranger);
        network.is_some_and(|network| !self.refusals.admits(network, Instant::now()))
    }

    /// Records a refusal, with the status of its response if there is one.
    pub(crate) fn record_refusal(&self, refusal: &Refusal, status: Option<u16>, id: &RequestId, known: &AuditContext) {
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
