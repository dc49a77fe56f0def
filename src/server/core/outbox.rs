//! Durable outbox for calls to Core, with exponential back-off.
//!
//! Outbox survive a restart. They run one at a time, in the order of usernames. If Core cannot be
//! reached, no user's entry is tried until the common wait is over.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use countersign_keys::identity::Username;
use countersign_keys::store::records::{CoreMessage, OutboxEntry};
use countersign_keys::time::Timestamp;

use super::client::{CoreCalls, CoreFailure, Told};
use super::drive_registration;
use super::schedule::Schedule;
use crate::state::{Records, Server, log_failure};
use countersign_metrics::Counter;
use countersign_os::log::Chain;

/// Outbox for each read of the store.
const PAGE: usize = 100;

/// How often the store is read without a notification.
const IDLE_LOOK: Duration = Duration::from_secs(60);

/// The client that tells Core; a fake in tests.
pub(crate) trait CoreClient {
    /// Tells Core about a user.
    fn tell(
        &self,
        told: Told,
        username: &Username,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), CoreFailure>> + Send;
}

impl CoreClient for CoreCalls {
    async fn tell(&self, told: Told, username: &Username, now: Timestamp) -> Result<(), CoreFailure> {
        Self::tell(self, told, username, now).await
    }
}

/// Runs entries until the server ends; `entries` notifies of new ones. Connections first, then
/// drives.
pub(crate) async fn run(server: Arc<Server>, core: Arc<CoreCalls>) {
    let wake = Arc::clone(&server.entries);
    let (mut schedule, mut drives) = (Schedule::default(), Schedule::default());
    loop {
        match server.clock.now() {
            Ok(now) => {
                let (told, failures) = (|| server.changed(), &server.metrics.core_failures);
                if let Err(failure) = round(&server.records, &*core, &mut schedule, now, &told, failures).await {
                    log_failure("cannot read messages for Core", &failure);
                }
                if let Err(failure) = drive_registration::round(&server, &core, &mut drives, now).await {
                    log_failure("cannot register drives", &failure);
                }
                let next = [schedule.next(now), drives.next(now)].into_iter().flatten().min();
                let pause = next.map_or(IDLE_LOOK, |wait_s| Duration::from_secs(wait_s.unsigned_abs()));
                tokio::select! {
                    () = wake.notified() => {}
                    () = tokio::time::sleep(pause.min(IDLE_LOOK)) => {}
                }
            }
            Err(failure) => {
                log_failure("postponed messages to Core", &failure);
                tokio::time::sleep(IDLE_LOOK).await;
            }
        }
    }
}

/// Tries every entry that is due.
pub(crate) async fn round(
    records: &Arc<Records>,
    client: &impl CoreClient,
    schedule: &mut Schedule,
    now: Timestamp,
    told: &impl Fn(),
    failures: &Counter,
) -> Result<(), crate::http::reply::Refusal> {
    let mut after: Option<Username> = None;
    let mut seen = HashSet::new();
    while schedule.everybody_may(now) {
        let page = records.outbox_after(after.as_ref(), PAGE)?;
        let Some(last) = page.last() else {
            schedule.keep_only(&seen);
            return Ok(());
        };
        after = Some(last.username.clone());
        for entry in page {
            seen.insert(entry.username.clone());
            if !schedule.may(&entry.username, now) {
                continue;
            }
            match deliver(client, &entry, now).await {
                Ok(()) => {
                    schedule.succeeded(&entry.username);
                    let records = Arc::clone(records);
                    crate::http::reply::blocking(move || Ok(records.finish_entry(&entry)?)).await?;
                    told();
                }
                Err(failure) => {
                    let OutboxEntry { username, message, .. } = &entry;
                    failures.add_one();
                    tracing::error!(%username, ?message, cause = %Chain(&failure), "cannot tell Core of a connection");
                    if schedule.failed(&entry.username, &failure, now).is_break() {
                        return Ok(());
                    }
                }
            }
        }
    }
    Ok(())
}

/// Always clears before it approves. The Go Core ends its own process when a connected user is
/// approved again, and a lost response leaves no trace here. Core accepts a clearing at any time.
async fn deliver(client: &impl CoreClient, entry: &OutboxEntry, now: Timestamp) -> Result<(), CoreFailure> {
    let username = &entry.username;
    client.tell(Told::Disconnected, username, now).await?;
    match entry.message {
        CoreMessage::Approve => client.tell(Told::Connected, username, now).await,
        CoreMessage::Clear => Ok(()),
    }
}
