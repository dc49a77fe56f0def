//! What every request works with, and the record that each leaves.
//!
//! One decision, one line in the audit log (P9): a refusal's is written after it was decided, a forwarded request's before its
//! first byte goes out, and where that line cannot be written nothing goes out (P8).

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

use super::body::BodyRoom;
use super::catalogue::Catalogue;
use super::cors::{self, Admitted, Cors};
use super::crowd::Crowd;
use super::deposits::Deposits;
use super::directory::Directory;
use super::fair::Fair;
use super::head::{self, HeadRejection};
use super::pages::{self, Pages};
use super::refusal::{Failure, Refusal};
use super::request_id::{RequestId, RequestIds};
use super::respond::{self, Answer, Transport};
use super::upstream::Upstreams;
use super::uses::Uses;
use crate::audit::{Decision, DecisionLog, Process, Verdict};
use crate::clock::Clock;
use crate::config::CurrentMaintenance;
use crate::ipc::control::InstanceAddress;
use crate::journal::Journal;

/// What every request works with.
pub(super) struct Ingress {
    pub(super) provider: ProviderId,
    pub(super) calls: Arc<CallTable>,
    /// Core's key and the tokens that it has verified; locked for a lookup and never across a wait.
    pub(super) core: Mutex<CoreTokens>,
    pub(super) policy: Policy,
    /// Whether the use of a one-time token has to be signed.
    pub(super) proof: ProofNeed,
    pub(super) directory: Arc<Directory>,
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
    pub(super) crowd: Crowd,
    pub(super) fair: Fair,
    /// Sockets of each user.
    pub(super) sockets: Fair,
    pub(super) cors: Cors,
    pub(super) catalogue: Catalogue,
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

/// What is known of a request so far: filled in as it is found out, for the log and for the answer's head.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) username: Option<Username>,
    pub(super) call: Option<CallName>,
    pub(super) kid: Option<KeyId>,
    /// A web page asks, and may read the answer.
    pub(super) page: Option<Admitted>,
    /// Whether a page may read the answer depends on its origin.
    pub(super) varies: bool,
}

impl Ingress {
    /// Answers one request.
    pub(super) async fn answer(&self, client: Client, request: Request<Incoming>) -> Answer {
        let id = self.ids.next();
        let (mut head, body) = request.into_parts();
        head::drop_unread(&mut head.headers);
        let mut known = Known::default();
        let mut answer = match self.admit(&head, body, client, &id, &mut known).await {
            Ok(answer) => answer,
            Err(refusal) => {
                let mut answer = self.refuse(&refusal, head.version, &id, &known);
                if pages::wants_page(&head) {
                    let (told, why) = respond::told(&refusal);
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
        respond::finish(&mut answer, &id, client.transport);
        answer
    }

    /// Answers for a request that was refused before it was one.
    pub(super) fn answer_for(&self, rejection: HeadRejection, client: Client) -> Answer {
        let id = self.ids.next();
        let mut answer = self.refuse(&rejection.into(), Version::HTTP_11, &id, &Known::default());
        respond::finish(&mut answer, &id, client.transport);
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
    pub(super) fn record(&self, verdict: Verdict, id: &RequestId, known: &Known) -> Result<(), Failure> {
        self.write(verdict, None, None, id, known).map_err(Failure::Audit)
    }

    /// Writes down what came of a user's request that was let through. It is done by then: a log that cannot be written
    /// refuses the next request, and keeps no answer back.
    pub(super) fn record_answer(&self, status: u16, id: &RequestId, known: &Known) {
        if let Err(error) = self.write(Verdict::Answered, Some(status), None, id, known) {
            tracing::error!(%error, request = id.as_str(), status, "the audit log cannot be written");
        }
    }

    /// Writes down that bytes came which were no request at all.
    pub(super) fn record_no_request(&self, why: &str) {
        let id = self.ids.next();
        if let Err(error) = self.write(Verdict::Refuse, None, Some(why), &id, &Known::default()) {
            tracing::error!(%error, "the audit log cannot be written");
        }
    }

    /// The answer to a refused request, of which the record is written.
    pub(super) fn refuse(&self, refusal: &Refusal, version: Version, id: &RequestId, known: &Known) -> Answer {
        let answer = respond::refused(refusal, version);
        self.record_refusal(refusal, Some(answer.status().as_u16()), id, known);
        answer
    }

    /// Writes down why something is refused, and with what status it was answered, if it was.
    pub(super) fn record_refusal(&self, refusal: &Refusal, status: Option<u16>, id: &RequestId, known: &Known) {
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
            | Refusal::Maintenance
            | Refusal::TooMany => Verdict::Refuse,
        };
        let reason = refusal.to_string();
        if verdict == Verdict::Fail {
            let cause = std::error::Error::source(refusal).map(ToString::to_string);
            tracing::error!(request = id.as_str(), reason, cause, "a request failed on our side");
        }
        if let Err(error) = self.write(verdict, status, Some(&reason), id, known) {
            tracing::error!(%error, request = id.as_str(), reason, "the audit log cannot be written");
        }
    }

    fn write(
        &self,
        verdict: Verdict,
        status: Option<u16>,
        reason: Option<&str>,
        id: &RequestId,
        known: &Known,
    ) -> std::io::Result<()> {
        self.audit.append(&Decision {
            time: OffsetDateTime::now_utc(),
            request_id: id.as_str(),
            process: Process::Gateway,
            username: known.username.as_ref(),
            call: known.call.as_ref(),
            kid: known.kid,
            decision: verdict,
            status,
            reason,
        })
    }
}
