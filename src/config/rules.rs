//! The part of the configuration by which the gateway judges requests. The server sends it after a
//! reload, because the gateway cannot open files while it serves.

use countersign_keys::call::{CallTable, RowRejection, RowSpec};
use countersign_keys::identity::ProviderId;
use countersign_keys::policy::StepUp;
use countersign_keys::session::{ProofNeed, SealNeed};
use serde::{Deserialize, Serialize};

use crate::{Maintenance, Served, V1};

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayRules {
    /// `[[calls]]`: the standard rows are part of the program.
    calls: Vec<RowSpec>,
    pub step_up: StepUp,
    pub v1: V1,
    /// How long a request waits for its deposit, in milliseconds.
    pub deposit_wait_ms: u64,
    pub proof: ProofNeed,
    pub sealed: SealNeed,
    pub maintenance: Maintenance,
}

impl GatewayRules {
    pub fn of(served: &Served) -> Self {
        Self {
            calls: served.site_calls.clone(),
            step_up: served.intent.step_up.clone(),
            v1: served.intent.v1,
            deposit_wait_ms: u64::try_from(served.intent.deposit_wait.as_millis()).unwrap_or(u64::MAX),
            proof: served.sessions.proof,
            sealed: served.sessions.sealed,
            maintenance: served.maintenance.clone(),
        }
    }

    /// The call table with these rows.
    ///
    /// # Errors
    /// If a row is not valid. The server has checked them.
    pub fn call_table(&self, provider: &ProviderId) -> Result<CallTable, RowRejection> {
        CallTable::new(provider, &self.calls)
    }
}
