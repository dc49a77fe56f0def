//! What every request works with, and the record that each leaves.
//!
//! What is let through for a user, or changes anything, is a record in the audit log before its
//! first byte goes out; where that cannot be written, nothing goes out (P8, P9). Refusals are
//! recorded after they were decided; those of strangers, and what changes nothing, are counted.

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
use crate::audit::{Decision, DecisionLog, Process, Verdict, Weight};
use crate::clock::Clock;
use crate::config::CurrentMaintenance;
use crate::ipc::control::InstanceAddress;
use crate::journal::Journal;
use crate::limits::{Counted, RateLimiter, network_of};

/// What every request works with.
pub(super) struct Ingress {
    pub(super) provider: ProviderId,
    pub(super) calls: Arc<CallTable>,
    /// Core's key and the tokens that it has verified; locked for a lookup and never across a wait.
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
    /// Public calls of each address.
    pub(super) crowd: RateLimiter<IpAddr>,
    /// Refusals of each address that has shown nothing.
    pub(super) refusals: RateLimiter<IpAddr>,
    /// Requests of each user under way.
    pub(super) fair: Arc<Counted<Username>>,
    /// Public calls of each address that the server answers.
    pub(super) public_at_server: Arc<Counted<IpAddr>>,
    /// Calls of each user's own browser that the server answers.
    pub(super) own_at_server: Arc<Counted<Username>>,
    /// Sockets of each user.
    pub(super) sockets: Arc<Counted<Username>>,
    /// Sockets that Core opened for each user, and on which nothing was permitted yet.
    pub(super) waiting: Arc<Counted<Username>>,
    pub(super) cors: Cors,
    pub(super) catalogue: CallTableDocument,
    pub(super) pages: Pages,
    pub(super) ids: RequestIds,
    /// Which keys the server has still to be told of.
    pub(super) uses: Uses,
    /// Which users are served.
    pub(super) maintenance: Arc<CurrentMaintenance>,
}

/// Who is at the other end of a connection, and how they came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub(super) address: IpAddr,
    pub(super) transport: Transport,
}

impl Client {
    /// What counts as one client.
    pub(super) fn network(&self) -> IpAddr {
        network_of(self.address)
    }
}

/// What is known of a request so far: filled in as it is found out, for the log and for the
/// answer's head.
#[derive(Debug, Default)]
pub(super) struct AuditContext {
    pub(super) username: Option<Username>,
    pub(super) call: Option<CallName>,
    pub(super) kid: Option<KeyId>,
    /// A web page asks, and may read the answer.
    pub(super) page: Option<Admitted>,
    /// Whether a page may read the answer depends on its origin.
    pub(super) varies: bool,
    /// Who sent it.
    pub(super) sender: Sender,
    /// The connection that it came on.
    place: Option<Arc<Place>>,
}

/// Whether the sender of a request has shown who they are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Sender {
    /// Neither Core's token nor a user's signature was good.
    #[default]
    Stranger,
    /// Core's token or a user's signature was good.
    Shown,
}

impl AuditContext {
    /// Nothing, of a request on that connection.
    pub(super) fn on(place: &Arc<Place>) -> Self {
        Self { place: Some(Arc::clone(place)), ..Self::default() }
    }

    /// Nothing but whose it is said to be, of a message on a socket: whoever showed who they are
    /// when it was opened need not show it again.
    pub(super) fn on_socket(place: &Arc<Place>, username: &Username) -> Self {
        let sender = if place.is_strangers() { Sender::Stranger } else { Sender::Shown };
        Self { username: Some(username.clone()), sender, ..Self::on(place) }
    }

    /// What is known of a session that is open.
    pub(super) fn of_session(username: &Username, kid: Option<KeyId>) -> Self {
        Self { username: Some(username.clone()), kid, sender: Sender::Shown, ..Self::default() }
    }

    /// What counts as one client.
    fn network(&self) -> Option<IpAddr> {
        self.place.as_ref().map(|place| place.network())
    }

    /// Has the connection take no further request.
    fn finish_connection(&self) {
        if let Some(place) = &self.place {
            place.finish();
        }
    }

    /// Notes that the request came with Core's token, or a user's good signature.
    pub(super) fn show(&mut self, shown: Shown<'_>) {
        self.sender = Sender::Shown;
        if let Some(place) = &self.place {
            place.show(shown);
        }
    }
}

impl Ingress {
    /// Answers one request.
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

    /// Answers for a request that was refused before it was one.
    pub(super) async fn answer_for(&self, rejection: HeadRejection, client: Client, place: &Arc<Place>) -> Answer {
        let id = self.ids.next();
        let (mut answer, _) = self.refuse(rejection.into(), Version::HTTP_11, &id, &AuditContext::on(place)).await;
        response::finish(&mut answer, &id, client.transport);
        answer
    }

    /// The moment to judge by.
    pub(super) fn now(&self) -> Result<Timestamp, Failure> {
        Ok(self.journal.now(self.clock.now()?)?)
    }

    /// Whether the request comes from Core.
    pub(super) fn authenticate<'h>(
        &self,
        presented: Presented<'h>,
        now: Timestamp,
    ) -> Result<Authenticated<'h>, CoreTokenRejection> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner).authenticate(presented, now)
    }

    /// Writes down that a request is let through: to be done before it is.
    pub(super) fn record(&self, verdict: Verdict, id: &RequestId, known: &AuditContext) -> Result<(), Failure> {
        self.audit.append(&decision(verdict, None, None, id, known)).map_err(Failure::Audit)
    }

    /// Counts that a request is let through which changes nothing: one that anybody may make, or
    /// one of those that Core makes all day.
    pub(super) fn count_read(&self, id: &RequestId, known: &AuditContext) {
        self.note(&decision(Verdict::Forward, None, None, id, known), Weight::Read(known.network()));
    }

    /// Writes down what came of a user's request that was let through, and if it was refused, why.
    /// It is done by then: a log that cannot be written refuses the next request, and keeps no
    /// answer back.
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
            tracing::error!(%error, request = id.as_str(), status, "the audit log cannot be written");
        }
        answer
    }

    /// Writes down that bytes came which were no request at all.
    pub(super) fn record_no_request(&self, why: &str, place: &Arc<Place>) {
        let (id, known) = (self.ids.next(), AuditContext::on(place));
        let refused = decision(Verdict::Refuse, None, Some(why), &id, &known);
        self.note(&refused, Weight::Stranger(known.network()));
    }

    /// The answer to a refused request, of which the record is written. A stranger who is refused
    /// too often is answered late, and has to connect again. What was answered comes back as well.
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

    /// Counts a refusal against its sender's network, if they have shown nothing.
    pub(super) fn is_refused_too_often(&self, known: &AuditContext) -> bool {
        let network = known.network().filter(|_| known.sender == Sender::Stranger);
        network.is_some_and(|network| !self.refusals.admits(network, Instant::now()))
    }

    /// Writes down why something is refused, and with what status it was answered, if it was.
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
            tracing::error!(request = id.as_str(), reason, cause, "a request failed on our side");
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
    // Whoever has shown nothing may name anybody.
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
