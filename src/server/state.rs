//! State shared by all parts of the server: configuration, key store, running instances, and
//! operations in progress. [`super`] fills it at startup. It imports none of the parts that use it.

use std::sync::{Arc, Mutex};

use countersign_keys::core_token::CoreTokens;
use countersign_keys::enrolment::TicketHash;
use countersign_keys::store::registry::{Registry, Sharing};
use countersign_keys::store::sealed_store::SealedStore;
use countersign_keys::store::sled_store::SledStore;
use tokio::sync::{Notify, watch};

use crate::alarms::Alarms;
use crate::applications::pending_table::PendingTable;
use crate::core::task_table::TaskTable;
use crate::events::wallet_table::WalletTable;
use crate::gateway::invalidations::Invalidations;
use crate::http::reply::{Refusal, blocking};
use crate::instances::table::Instances;
use crate::jobs::choice_table::ChoiceTable;
use crate::jobs::table::JobTable;
use crate::metrics::ServerMetrics;
use crate::passkeys::ceremonies::PasskeyCeremonies;
use crate::projects::table::ProjectTable;
use crate::turns::{Asker, Turns};
use crate::used_intents::UsedIntents;
use countersign_audit::DecisionLog;
use countersign_config::{Config, Launch};
use countersign_home::accounts::Accounts;
use countersign_os::clock::Clock;
use countersign_os::limits::Counted;
use countersign_os::log::Chain;

/// The key store of this server.
pub(crate) type Records = Registry<SealedStore<SledStore>>;

/// The shared state.
pub(crate) struct Server {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) accounts: Accounts,
    pub(crate) records: Arc<Records>,
    pub(crate) instances: Arc<Instances>,
    pub(crate) invalidations: Invalidations,
    pub(crate) passkeys: PasskeyCeremonies,
    /// The decision log (P9).
    pub(crate) decisions: DecisionLog,
    pub(crate) metrics: Arc<ServerMetrics>,
    pub(crate) alarms: Arc<Alarms>,
    /// Core's verified tokens. Locked for a lookup, never across an await.
    pub(crate) core_tokens: Mutex<CoreTokens>,
    /// Long-running operations of the instances.
    pub(crate) tasks: TaskTable,
    /// Jobs on Slurm.
    pub(crate) jobs: JobTable,
    /// What users may choose of them.
    pub(crate) choices: ChoiceTable,
    /// Projects at UCloud, and whom the centre admits to each.
    pub(crate) projects: ProjectTable,
    /// What UCloud says of allowances.
    pub(crate) wallets: WalletTable,
    /// Intents that users' own browsers have used at the server.
    pub(crate) used_intents: UsedIntents,
    /// Applications that wait for a review.
    pub(crate) pending_applications: PendingTable,
    /// Long polls of the connection page, by ticket.
    pub(crate) polls: Arc<Counted<TicketHash>>,
    /// Threads for blocking work, by sender.
    pub(crate) turns: Arc<Turns>,
    /// Notified when Core must be told something.
    pub(crate) entries: Arc<Notify>,
    /// Counts changes of connections. Tasks that wait for a change subscribe to it.
    pub(crate) changes: watch::Sender<u64>,
    /// Counts reloads that have changed something. Tasks with work of their own then subscribe.
    pub(crate) reloads: watch::Sender<u64>,
    /// Turns true when the server stops.
    pub(crate) stop: watch::Sender<bool>,
}

impl Server {
    /// Wakes every task that waits for a change of a connection.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Whether several users may share an account: only where no instance is launched.
    pub(crate) const fn sharing(&self) -> Sharing {
        match self.config.instances.launch {
            Launch::Sudo => Sharing::OneUser,
            Launch::Static(_) => Sharing::SeveralUsers,
        }
    }

    /// Runs work that blocks on the disk or the account database on a thread, when it is that
    /// sender's turn. The turn ends with the work, even if the sender is gone.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        asker: impl Into<Asker>,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = self.turns.wait(&asker.into()).await;
        blocking(move || {
            let _until_it_is_done = turn;
            work()
        })
        .await
    }
}

/// Logs a failure with all of its causes.
pub(crate) fn log_failure(what: &str, failure: &(dyn std::error::Error + 'static)) {
    tracing::error!(cause = %Chain(failure), "{what}");
}
