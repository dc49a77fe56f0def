//! The gateway's state: what all requests share.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_keys::core_token::{Authenticated, CoreTokenRejection, CoreTokens};
use countersign_keys::identity::{ProviderId, Username};
use countersign_keys::request::{BearerToken, Presented};
use countersign_keys::time::Timestamp;

use crate::alarms::Alarms;
use crate::http1::body::BodyRoom;
use crate::links::routes::Links;
use crate::metrics::GatewayMetrics;
use crate::pages::Pages;
use crate::pipeline::deposits::Deposits;
use crate::pipeline::signature_queue::SignatureQueue;
use crate::readiness::Readiness;
use crate::response::cors::Cors;
use crate::response::refusal::{Failure, Refusal};
use crate::response::request_id::RequestIds;
use crate::rules::{CurrentRules, Rules};
use crate::server_link::key_cache::KeyCache;
use crate::server_link::uses::Uses;
use crate::upstream::Upstreams;
use crate::web::sessions::WebSessions;
use countersign_audit::DecisionLog;
use countersign_config::{Asks, WebHosts};
use countersign_ipc::alarm::Alarm;
use countersign_ipc::gateway_protocol::InstanceAddress;
use countersign_os::clock::Clock;
use countersign_os::limits::{Counted, RateLimiter};
use countersign_replay::Journal;

/// The state that all requests share.
pub(crate) struct Gateway {
    pub(crate) provider: ProviderId,
    /// Core's key and the tokens verified with it. Locked for a lookup, never across an await.
    pub(crate) core: Mutex<CoreTokens>,
    /// What a reload may change.
    pub(crate) rules: Arc<CurrentRules>,
    pub(crate) key_cache: Arc<KeyCache>,
    pub(crate) signatures: Arc<SignatureQueue>,
    pub(crate) journal: Journal,
    pub(crate) clock: Clock,
    pub(crate) deposits: Deposits,
    /// Whether users are offered choices of their own for a job.
    pub(crate) asks: Asks,
    pub(crate) upstreams: Arc<Upstreams>,
    /// The server's service endpoint.
    pub(crate) server: Arc<InstanceAddress>,
    pub(crate) audit: DecisionLog,
    pub(crate) metrics: GatewayMetrics,
    pub(crate) readiness: Readiness,
    pub(crate) alarms: Alarms,
    pub(crate) body_max: usize,
    pub(crate) bodies: BodyRoom,
    /// Limits public calls by address.
    pub(crate) public_calls: RateLimiter<IpAddr>,
    /// Limits refusals by address, for unauthenticated senders.
    pub(crate) refusals: RateLimiter<IpAddr>,
    /// Requests in flight by user.
    pub(crate) in_flight: Arc<Counted<Username>>,
    /// Public calls at the server by address.
    pub(crate) public_at_server: Arc<Counted<IpAddr>>,
    /// Calls at the server of users' own browsers, by user.
    pub(crate) direct_at_server: Arc<Counted<Username>>,
    /// Sockets by user.
    pub(crate) sockets: Arc<Counted<Username>>,
    /// Sockets by user that Core opened and on which nothing was permitted yet.
    pub(crate) waiting_sockets: Arc<Counted<Username>>,
    /// Where web interfaces of jobs are; `None` if there are none.
    pub(crate) web_hosts: Option<WebHosts>,
    pub(crate) web_sessions: WebSessions,
    /// Requests of web interfaces in flight, by user.
    pub(crate) web_requests: Arc<Counted<Username>>,
    /// Public links of jobs.
    pub(crate) links: Links,
    pub(crate) cors: Cors,
    pub(crate) pages: Pages,
    pub(crate) ids: RequestIds,
    /// Key uses not yet reported to the server.
    pub(crate) uses: Uses,
}

impl Gateway {
    /// The rules in force.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        self.rules.get()
    }

    /// The time to verify with.
    pub(crate) fn now(&self) -> Result<Timestamp, Failure> {
        Ok(self.journal.now(self.clock.now()?)?)
    }

    /// Raises the alarm that a failure is, if it is one.
    pub(crate) fn alarm_of(&self, failure: &Failure) {
        if let Failure::Clock(_) = failure {
            self.alarms.raise(Alarm::ClockSetBack);
        }
    }

    /// Verifies that the request comes from Core.
    pub(crate) fn authenticate<'h>(
        &self,
        presented: Presented<'h>,
        now: Timestamp,
    ) -> Result<Authenticated<'h>, CoreTokenRejection> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner).authenticate(presented, now)
    }

    /// Verifies Core's token of a socket's handshake. Each message verifies it again.
    pub(crate) fn check_token(&self, token: BearerToken<'_>) -> Result<(), Refusal> {
        let now = self.now()?;
        Ok(self.core.lock().unwrap_or_else(PoisonError::into_inner).check(token, now)?)
    }
}
