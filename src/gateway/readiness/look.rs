//! Looks whether the gateway can serve users.
//!
//! A look takes the way of a request: a question over the control channel, which the server answers
//! from the key store. Strangers learn one bit of all this.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::state::Gateway;
use crate::tls::CurrentKey;

/// Interval of the looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long a look counts. An answer may take 2 s; after two missing ones the server does not
/// answer.
const COUNTS_FOR: Duration = Duration::from_secs(7);

/// The checks by their names, each with whether it is passed.
pub(crate) type Checks = [(&'static str, bool); 7];

impl Gateway {
    /// The state of each check, without waiting.
    pub(crate) fn checks(&self) -> Checks {
        let readiness = &self.readiness;
        let holds = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        let is_current = readiness.is_current();
        [
            ("server", is_current),
            ("key_store", is_current && holds(&readiness.store)),
            ("server_log", is_current && holds(&readiness.server_log)),
            ("gateway_log", self.audit.is_writable()),
            ("clock", self.now().is_ok()),
            ("certificate", holds(&readiness.certificate)),
            ("running", !holds(&readiness.stopping)),
        ]
    }

    /// Whether users can be served.
    pub(crate) fn is_ready(&self) -> bool {
        self.checks().iter().all(|(_, is_passed)| *is_passed)
    }

    /// Looks once.
    pub(crate) async fn look(&self, key: Option<&CurrentKey>) {
        let readiness = &self.readiness;
        // Without requests, no refusal would raise it.
        if let Err(failure) = self.now() {
            self.alarm_of(&failure);
        }
        if let Ok(health) = self.key_cache.health().await {
            readiness.store.store(health.store, Ordering::Relaxed);
            readiness.server_log.store(health.log, Ordering::Relaxed);
            let until = readiness.began.elapsed().saturating_add(COUNTS_FOR);
            readiness.until.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        let end = key.and_then(CurrentKey::end);
        // A clock that cannot be read fails its own check.
        let is_valid = end.is_none_or(|end| self.clock.now().is_ok_and(|now| now.seconds() < end));
        readiness.certificate.store(is_valid, Ordering::Relaxed);
    }
}

/// Looks until the runtime ends.
pub(crate) async fn keep_looking(gateway: Arc<Gateway>, key: Option<Arc<CurrentKey>>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        gateway.look(key.as_deref()).await;
    }
}
