//! The rules by which requests are judged, which a reload replaces while the gateway runs.
//!
//! Each check is made by the rules in force at its time, as it is made with the keys of its time. A
//! request that the rules change under is therefore judged at least as strictly as one that comes
//! after it: what it has passed before counts for nothing in a later check.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use countersign_keys::call::CallTable;
use countersign_keys::identity::ProviderId;
use countersign_keys::intent::{Terms, Version1};
use countersign_keys::policy::Policy;
use countersign_keys::session::{ProofNeed, SealNeed};

use crate::pages::call_table::CallTableDocument;
use countersign_config::{Config, GatewayRules, Maintenance, V1};

#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) calls: Arc<CallTable>,
    /// The same table for signers.
    pub(crate) call_table: CallTableDocument,
    pub(crate) policy: Policy,
    /// Whether the use of a one-time token has to be signed.
    pub(crate) proof: ProofNeed,
    /// Whether sessions are sealed.
    pub(crate) seal: SealNeed,
    pub(crate) deposit_wait: Duration,
    /// Which users are served.
    pub(crate) maintenance: Maintenance,
}

impl Rules {
    /// Those of the configuration.
    pub(crate) fn of(config: &Config) -> Result<Self, serde_json::Error> {
        let served = config.served();
        Ok(Self {
            call_table: CallTableDocument::new(&served.calls, &served.intent.step_up)?,
            calls: Arc::clone(&served.calls),
            policy: config.policy(),
            proof: served.sessions.proof,
            seal: served.sessions.sealed,
            deposit_wait: served.intent.deposit_wait,
            maintenance: served.maintenance.clone(),
        })
    }

    /// Those that the server sent. The audience and the times of intents stay: the replay log was
    /// opened for them.
    fn told(&self, told: GatewayRules, provider: &ProviderId) -> Result<Self, ToldRulesFailure> {
        let calls = told.call_table(provider)?;
        let version_1 = match told.v1 {
            V1::Accepted => Version1::Accepted,
            V1::Refused => Version1::Refused,
        };
        let terms = Terms { version_1, ..self.policy.terms.clone() };
        Ok(Self {
            call_table: CallTableDocument::new(&calls, &told.step_up)?,
            calls: Arc::new(calls),
            policy: Policy { terms, step_up: told.step_up },
            proof: told.proof,
            seal: told.sealed,
            deposit_wait: Duration::from_millis(told.deposit_wait_ms),
            maintenance: told.maintenance,
        })
    }
}

/// Why the server's rules cannot be used. It has checked them, so this is a fault of the program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToldRulesFailure {
    #[error("a row of the call table is not valid")]
    Row(#[from] countersign_keys::call::RowRejection),
    #[error("cannot serialise the call table")]
    Document(#[from] serde_json::Error),
}

/// The rules in force. Locked for a look or an exchange, never across an await.
#[derive(Debug)]
pub(crate) struct CurrentRules {
    provider: ProviderId,
    now: RwLock<Arc<Rules>>,
}

impl CurrentRules {
    pub(crate) fn new(provider: ProviderId, rules: Rules) -> Self {
        Self { provider, now: RwLock::new(Arc::new(rules)) }
    }

    pub(crate) fn get(&self) -> Arc<Rules> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes up what the server sent.
    pub(crate) fn take_up(&self, told: GatewayRules) -> Result<(), ToldRulesFailure> {
        let rules = self.get().told(told, &self.provider)?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn change(&self, change: impl FnOnce(&mut Rules)) {
        let mut rules = Rules::clone(&self.get());
        change(&mut rules);
        *self.now.write().unwrap() = Arc::new(rules);
    }
}
