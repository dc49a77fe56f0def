//! One scrape: what the gateway has counted and what it holds now, with the server's numbers.

use std::sync::Arc;

use countersign_metrics::{Snapshot, family};
use countersign_os::VERSION;
use countersign_os::clock::Clock;

use super::{CLASSES, GatewayMetrics, Lane, Reason, STATUSES, split};
use crate::limits::INTENTS_MAX;
use crate::limits::connections::ConnectionTable;
use crate::state::Gateway;
use crate::tls::CurrentKey;
use countersign_config::Maintenance;

/// What a scrape looks at.
#[derive(Clone)]
pub(crate) struct Scraped {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) connections: Arc<ConnectionTable>,
    pub(crate) key: Option<Arc<CurrentKey>>,
    /// When the gateway started, in seconds since 1970; 0 if the clock could not be read.
    pub(crate) started: i64,
}

impl Scraped {
    pub(crate) fn new(
        gateway: &Arc<Gateway>,
        connections: &Arc<ConnectionTable>,
        key: Option<Arc<CurrentKey>>,
    ) -> Self {
        let started = Clock::System.now().map_or(0, countersign_keys::time::Timestamp::seconds);
        Self { gateway: Arc::clone(gateway), connections: Arc::clone(connections), key, started }
    }

    /// The text. Without an answer of the server, that of the gateway alone.
    pub(crate) async fn text(&self) -> String {
        let mut snapshot = Snapshot::default();
        self.put(&mut snapshot);
        let of_server = self.gateway.key_cache.metrics().await;
        snapshot.put(&family::GATEWAY_SERVER_LINK, of_server.is_ok());
        if let Ok(of_server) = of_server {
            snapshot.extend(&of_server);
        }
        countersign_metrics::write(snapshot)
    }

    fn put(&self, snapshot: &mut Snapshot) {
        let gateway = &self.gateway;
        snapshot.put_with(&family::BUILD, &[VERSION], 1_u64);
        snapshot.put(&family::GATEWAY_STARTED, self.started);
        gateway.metrics.put(snapshot);
        snapshot.put_histogram(&family::GATEWAY_UPSTREAM, &[], gateway.upstreams.answers());
        for (of, count) in self.connections.counts() {
            snapshot.put_with(&family::GATEWAY_CONNECTIONS, &[of], count);
        }
        snapshot.put(&family::GATEWAY_CONNECTIONS_MAX, self.connections.most());
        snapshot.put(&family::GATEWAY_SOCKETS, gateway.sockets.all());
        snapshot.put(&family::GATEWAY_WEB_SESSIONS, gateway.web_sessions.count());
        snapshot.put(&family::GATEWAY_REPLAY, gateway.journal.remembered());
        snapshot.put(&family::GATEWAY_REPLAY_MAX, INTENTS_MAX);
        for (check, is_passed) in gateway.checks() {
            snapshot.put_with(&family::GATEWAY_READY, &[check], is_passed);
        }
        let is_maintenance = gateway.rules().maintenance != Maintenance::None;
        snapshot.put(&family::GATEWAY_MAINTENANCE, is_maintenance);
        snapshot.put_known(&family::GATEWAY_CERTIFICATE_ENDS, self.key.as_ref().and_then(|key| key.end()));
        snapshot.put(&family::GATEWAY_AUDIT_SHORT, gateway.audit.is_short_of_space());
    }
}

impl GatewayMetrics {
    /// Adds what was counted.
    pub(super) fn put(&self, snapshot: &mut Snapshot) {
        for (cell, count) in self.admitted.counted() {
            let (lane, column) = split(cell, 2);
            let decision = if column == 0 { "forward" } else { "deposit" };
            snapshot.put_with(&family::GATEWAY_DECISIONS, &[word(lane), decision, "", ""], count);
        }
        for (cell, count) in self.refused.counted() {
            let (row, reason) = split(cell, Reason::ALL.len());
            let (lane, class) = split(row, CLASSES.len());
            let class = CLASSES.get(class).copied().unwrap_or_default();
            let reason = Reason::ALL.get(reason).map_or("", |reason| reason.word());
            let decision = match class {
                "UNAVAILABLE" => "fail",
                "NO_INSTANCE" => "no_instance",
                _ => "refuse",
            };
            snapshot.put_with(&family::GATEWAY_DECISIONS, &[word(lane), decision, class, reason], count);
        }
        for (cell, count) in self.answers.counted() {
            let (lane, status) = split(cell, STATUSES.len());
            let status = STATUSES.get(status).copied().unwrap_or_default();
            snapshot.put_with(&family::GATEWAY_ANSWERS, &[word(lane), status], count);
        }
        snapshot.put_histogram(&family::GATEWAY_REQUEST, &[], &self.requests);
        snapshot.put_histogram(&family::GATEWAY_VERIFICATION, &[], &self.verifications);
        snapshot.put(&family::GATEWAY_IN_FLIGHT, self.in_flight.level());
        snapshot.put(&family::GATEWAY_AUDIT_UNWRITTEN, self.unwritten_records.count());
    }
}

fn word(lane: usize) -> &'static str {
    Lane::ALL.get(lane).map_or("", |lane| lane.word())
}
