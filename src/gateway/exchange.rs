//! One request, or one message of a socket: what is known of it so far, and the record that it
//! leaves.
//!
//! A forwarded request of a user, or one that changes something, is in the audit log before its
//! first byte goes out. If the log cannot be written, nothing goes out (P8, P9). Refusals are
//! recorded after the decision. Refusals of unauthenticated clients, and requests that change
//! nothing, are counted.

use std::net::IpAddr;
use std::sync::Arc;

use countersign_keys::identity::{CallName, KeyId, Username};
use http::{Request, Version};
use hyper::body::Incoming;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::http1::head::{self, HeadRejection};
use crate::limits::TOO_OFTEN_FOR;
use crate::limits::connections::{ClientConnection, Principal};
use crate::metrics::Lane;
use crate::pages;
use crate::response::cors::{self, Admitted};
use crate::response::instance_answer::InstanceAnswer;
use crate::response::refusal::{Failure, Refusal};
use crate::response::request_id::RequestId;
use crate::response::{self, Answer, Transport};
use crate::state::Gateway;
use countersign_audit::{Decision, Process, Verdict, Weight};
use countersign_ipc::alarm::Alarm;
use countersign_ipc::error_code::ErrorCode;

/// The status of a request whose signature is not accepted.
const SIGNATURE_REFUSED: u16 = ErrorCode::IntentInvalid.number();

/// One request with the gateway that answers it.
pub(crate) struct Exchange<'g> {
    pub(crate) gateway: &'g Arc<Gateway>,
    pub(crate) id: RequestId,
    /// The connection that it came on.
    pub(crate) client: Arc<ClientConnection>,
    pub(crate) username: Option<Username>,
    pub(crate) call: Option<CallName>,
    pub(crate) kid: Option<KeyId>,
    /// Whether the request opens a session sealed, if it opens one.
    pub(crate) sealed: Option<bool>,
    /// The page that asks, if it may read the response.
    pub(crate) page: Option<Admitted>,
    /// The page's access depends on its origin (`Vary`).
    pub(crate) varies: bool,
    pub(crate) lane: Lane,
    /// When its head was complete.
    began: Instant,
    sender: Sender,
}

/// Whether the sender has authenticated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sender {
    /// Neither Core's token nor a user's signature was valid.
    Stranger,
    /// Core's token or a user's signature was valid.
    Authenticated,
}

impl<'g> Exchange<'g> {
    /// A new request on that connection.
    pub(crate) fn new(gateway: &'g Arc<Gateway>, client: &Arc<ClientConnection>) -> Self {
        Self {
            gateway,
            id: gateway.ids.next(),
            client: Arc::clone(client),
            username: None,
            call: None,
            kid: None,
            sealed: None,
            page: None,
            varies: false,
            lane: Lane::Unknown,
            began: Instant::now(),
            sender: Sender::Stranger,
        }
    }

    /// A message on a socket, for the user that the handshake named. A sender who authenticated
    /// then need not repeat it.
    pub(crate) fn on_socket(gateway: &'g Arc<Gateway>, client: &Arc<ClientConnection>, username: &Username) -> Self {
        let sender = if client.is_strangers() { Sender::Stranger } else { Sender::Authenticated };
        Self { username: Some(username.clone()), sender, lane: Lane::Socket, ..Self::new(gateway, client) }
    }

    /// An open session.
    pub(crate) fn of_session(
        gateway: &'g Arc<Gateway>,
        client: &Arc<ClientConnection>,
        username: &Username,
        kid: Option<KeyId>,
    ) -> Self {
        let username = Some(username.clone());
        Self { username, kid, sender: Sender::Authenticated, lane: Lane::Session, ..Self::new(gateway, client) }
    }

    /// Answers a request.
    pub(crate) async fn answer(self, request: Request<Incoming>, transport: Transport) -> Answer {
        let (metrics, began) = (&self.gateway.metrics, self.began);
        let _in_flight = metrics.in_flight.hold();
        let answer = self.answer_one(request, transport).await;
        metrics.requested(began.elapsed());
        answer
    }

    async fn answer_one(mut self, request: Request<Incoming>, transport: Transport) -> Answer {
        let (mut head, body) = request.into_parts();
        if self.gateway.web_host(&head).is_some() {
            return self.answer_web(head, body, transport).await;
        }
        if self.gateway.is_for_link(&head) {
            return self.answer_link(head, body, transport).await;
        }
        head::drop_unread(&mut head.headers);
        let mut answer = match self.admit(&head, body).await {
            Ok(answer) => answer,
            Err(refusal) => {
                let (mut answer, refusal) = self.refuse(refusal, head.version).await;
                if pages::wants_page(&head) {
                    let (told, why) = response::told(&refusal);
                    self.gateway.pages.explain(&mut answer, told, why, &self.id);
                }
                answer
            }
        };
        if let Some(page) = &self.page {
            page.allow(answer.headers_mut());
        }
        if self.varies {
            cors::vary(answer.headers_mut());
        }
        response::finish(&mut answer, &self.id, transport);
        answer
    }

    /// Answers a head that was refused before it became a request.
    pub(crate) async fn answer_rejected(self, rejection: HeadRejection, transport: Transport) -> Answer {
        let (mut answer, _) = self.refuse(rejection.into(), Version::HTTP_11).await;
        response::finish(&mut answer, &self.id, transport);
        answer
    }

    /// Notes that the request came with Core's token, or with a user's valid signature.
    pub(crate) fn authenticated_as(&mut self, principal: Principal<'_>) {
        self.sender = Sender::Authenticated;
        self.client.authenticated_as(principal);
    }

    /// Counts a call against its network's rate of public calls.
    pub(crate) fn check_public_rate(&self) -> Result<(), Refusal> {
        let is_within = self.gateway.public_calls.admits(self.network(), Instant::now());
        if is_within { Ok(()) } else { Err(Refusal::TooMany) }
    }

    /// The client's network, which counts as one client.
    pub(crate) fn network(&self) -> IpAddr {
        self.client.network()
    }

    /// Records that a request is forwarded. Has to be called before it is.
    pub(crate) fn record(&self, verdict: Verdict) -> Result<(), Failure> {
        let written = self.gateway.audit.append(&self.decision(verdict, None, None));
        match &written {
            Ok(()) => self.gateway.metrics.admitted(self.lane, verdict),
            Err(_) => self.gateway.metrics.unwritten_records.add_one(),
        }
        written.map_err(Failure::Audit)
    }

    /// Counts a forwarded request that changes nothing: a public one, or one that Core polls.
    pub(crate) fn count_read(&self) {
        self.gateway.metrics.admitted(self.lane, Verdict::Forward);
        self.note(&self.decision(Verdict::Forward, None, None), Weight::Read(Some(self.network())));
    }

    /// Records the status of a forwarded user's request, and the reason if it was refused.
    ///
    /// The request is done by then. A log that cannot be written refuses the next request; it does
    /// not hold back this answer.
    pub(crate) async fn record_answer(&self, answer: InstanceAnswer) -> InstanceAnswer {
        let (answer, reason) = answer.with_reason().await;
        let status = answer.status();
        self.gateway.metrics.answered(self.lane, status);
        let answered = self.decision(Verdict::Answered, Some(status), reason.as_deref());
        if let Err(error) = self.gateway.audit.append(&answered) {
            self.gateway.metrics.unwritten_records.add_one();
            tracing::error!(%error, request = self.id.as_str(), status, "cannot write audit log");
        }
        answer
    }

    /// Looks whether an instance refused a signature that the gateway accepted. It verifies each
    /// with the keys that its user pinned (P3).
    pub(crate) fn compare_verdicts(&self, of_instance: &InstanceAnswer) {
        if of_instance.status() == SIGNATURE_REFUSED {
            self.gateway.alarms.raise(Alarm::InstanceDisagrees);
        }
    }

    /// Records bytes that were not a request.
    pub(crate) fn record_no_request(&self, why: &str) {
        self.gateway.metrics.no_request(self.lane);
        self.note(&self.decision(Verdict::Refuse, None, Some(why)), Weight::Stranger(Some(self.network())));
    }

    /// Records a refusal and returns its response. A stranger who is refused too often is answered
    /// late, and its connection ends. Returns the refusal that was answered, too.
    pub(crate) async fn refuse(&self, refusal: Refusal, version: Version) -> (Answer, Refusal) {
        let is_too_often = self.is_refused_too_often();
        let refusal = if is_too_often { Refusal::TooMany } else { refusal };
        let mut answer = response::refused(&refusal, version);
        self.record_refusal(&refusal, Some(answer.status().as_u16()));
        if is_too_often {
            response::close_after(&mut answer, version);
            tokio::time::sleep(TOO_OFTEN_FOR).await;
            self.client.finish();
        }
        (answer, refusal)
    }

    /// Counts a refusal against its sender's network, if the sender has not authenticated.
    pub(crate) fn is_refused_too_often(&self) -> bool {
        let is_too_often =
            self.sender == Sender::Stranger && !self.gateway.refusals.admits(self.network(), Instant::now());
        if is_too_often {
            self.gateway.alarms.raise(Alarm::Flood);
        }
        is_too_often
    }

    /// Records a refusal, with the status of its response if there is one.
    pub(crate) fn record_refusal(&self, refusal: &Refusal, status: Option<u16>) {
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
            | Refusal::Web(_)
            | Refusal::TooMany => Verdict::Refuse,
        };
        self.gateway.metrics.refused(self.lane, refusal);
        if let Refusal::Failure(failure) = refusal {
            self.gateway.alarm_of(failure);
        }
        let reason = refusal.to_string();
        if verdict == Verdict::Fail {
            let cause = std::error::Error::source(refusal).map(ToString::to_string);
            tracing::error!(request = self.id.as_str(), reason, cause, "request failed");
        }
        let weight = match self.sender {
            Sender::Stranger => Weight::Stranger(Some(self.network())),
            Sender::Authenticated => Weight::Refusal(self.username.as_ref().map_or("", Username::as_str)),
        };
        self.note(&self.decision(verdict, status, Some(&reason)), weight);
    }

    fn note(&self, decision: &Decision<'_>, weight: Weight<'_>) {
        if let Err(error) = self.gateway.audit.note(decision, weight, Instant::now().into_std()) {
            self.gateway.metrics.unwritten_records.add_one();
            tracing::error!(%error, request = decision.request_id, reason = decision.reason, "cannot write audit log");
        }
    }

    fn decision<'d>(&'d self, decision: Verdict, status: Option<u16>, reason: Option<&'d str>) -> Decision<'d> {
        // An unauthenticated sender may have named any user.
        let username = self.username.as_ref().filter(|_| self.sender == Sender::Authenticated);
        Decision {
            time: OffsetDateTime::now_utc(),
            request_id: self.id.as_str(),
            process: Process::Gateway,
            username,
            call: self.call.as_ref(),
            kid: self.kid,
            decision,
            status,
            reason,
            sealed: self.sealed,
            counted: None,
        }
    }
}
