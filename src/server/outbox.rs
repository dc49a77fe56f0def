//! What Core has still to be told, told until it has heard: errands outlive restarts, and wait ever longer.
//!
//! One errand at a time, in the order of usernames. When Core cannot be reached at all, nobody's errand is
//! tried until the common wait is over.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use countersign_keys::identity::Username;
use countersign_keys::store::records::{Errand, Tell};
use countersign_keys::time::Timestamp;

use super::core_calls::{CoreCalls, CoreFailure, Told};
use super::registrar;
use super::state::{Records, Server};
use crate::log::log_failure;

/// The shortest wait after a failure, in seconds; doubled for each further one.
const WAIT_MIN_S: i64 = 1;

/// The longest. A connection that Core hears of ten minutes after it is back is late enough.
const WAIT_MAX_S: i64 = 600;

/// Errands read from the store at a time.
const PAGE: usize = 100;

/// How often the store is looked at when nobody says that there is something.
const IDLE_LOOK: Duration = Duration::from_secs(60);

/// Who tells Core; in tests, somebody who only pretends.
pub(super) trait Teller {
    /// Tells Core about a user.
    fn tell(
        &self,
        told: Told,
        username: &Username,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), CoreFailure>> + Send;
}

impl Teller for CoreCalls {
    async fn tell(&self, told: Told, username: &Username, now: Timestamp) -> Result<(), CoreFailure> {
        Self::tell(self, told, username, now).await
    }
}

/// When to try again. Holds the errands that failed, and only those: an entry goes when its errand succeeds.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    failed: HashMap<Username, Wait>,
    everybody: Wait,
}

#[derive(Clone, Copy, Debug, Default)]
struct Wait {
    failures: u32,
    until: Option<Timestamp>,
}

impl Wait {
    fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now >= until)
    }

    fn longer(&mut self, now: Timestamp) {
        let wait_s = WAIT_MIN_S.checked_shl(self.failures.min(20)).unwrap_or(WAIT_MAX_S).clamp(WAIT_MIN_S, WAIT_MAX_S);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now.plus(wait_s));
    }
}

/// Runs errands until the server ends; whoever has a new one says so with `errands`. First who is connected, then which drives they have.
pub(super) async fn run(server: Arc<Server>, core: Arc<CoreCalls>) {
    let wake = Arc::clone(&server.errands);
    let (mut schedule, mut drives) = (Schedule::default(), Schedule::default());
    loop {
        match server.clock.now() {
            Ok(now) => {
                if let Err(failure) = round(&server.records, &*core, &mut schedule, now, &|| server.changed()).await {
                    log_failure("errands cannot be read", &failure);
                }
                if let Err(failure) = registrar::round(&server, &core, &mut drives, now).await {
                    log_failure("drives cannot be registered", &failure);
                }
                let next = [schedule.next(now), drives.next(now)].into_iter().flatten().min();
                let pause = next.map_or(IDLE_LOOK, |wait_s| Duration::from_secs(wait_s.unsigned_abs()));
                tokio::select! {
                    () = wake.notified() => {}
                    () = tokio::time::sleep(pause.min(IDLE_LOOK)) => {}
                }
            }
            Err(failure) => {
                log_failure("errands wait", &failure);
                tokio::time::sleep(IDLE_LOOK).await;
            }
        }
    }
}

impl Schedule {
    /// Whether Core may be asked anything.
    pub(super) fn everybody_may(&self, now: Timestamp) -> bool {
        self.everybody.is_over(now)
    }

    /// Whether something of this user may be tried.
    pub(super) fn may(&self, username: &Username, now: Timestamp) -> bool {
        self.failed.get(username).is_none_or(|wait| wait.is_over(now))
    }

    /// Something of this user was done.
    pub(super) fn succeeded(&mut self, username: &Username) {
        self.failed.remove(username);
        self.everybody = Wait::default();
    }

    /// Something of this user was not done: breaks off if nobody's would be.
    pub(super) fn failed(&mut self, username: &Username, failure: &CoreFailure, now: Timestamp) -> ControlFlow<()> {
        self.failed.entry(username.clone()).or_default().longer(now);
        if failure.is_general() {
            self.everybody.longer(now);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Seconds until the next errand may be tried, if one has failed.
    fn next(&self, now: Timestamp) -> Option<i64> {
        let waits = self.failed.values().chain([&self.everybody]);
        waits.filter_map(|wait| wait.until).map(|until| until.since(now).max(WAIT_MIN_S)).min()
    }
}

/// Tries every errand that is due.
pub(super) async fn round(
    records: &Arc<Records>,
    teller: &impl Teller,
    schedule: &mut Schedule,
    now: Timestamp,
    told: &impl Fn(),
) -> Result<(), super::answer::Refusal> {
    let mut after: Option<Username> = None;
    let mut seen = HashSet::new();
    while schedule.everybody_may(now) {
        let page = records.errands_after(after.as_ref(), PAGE)?;
        let Some(last) = page.last() else {
            // Errands that were withdrawn meanwhile leave no wait behind.
            schedule.failed.retain(|username, _| seen.contains(username));
            schedule.everybody = Wait::default();
            return Ok(());
        };
        after = Some(last.username.clone());
        for errand in page {
            seen.insert(errand.username.clone());
            if !schedule.may(&errand.username, now) {
                continue;
            }
            match run_errand(teller, &errand, now).await {
                Ok(()) => {
                    schedule.succeeded(&errand.username);
                    let records = Arc::clone(records);
                    super::answer::apart(move || Ok(records.finish_errand(&errand)?)).await?;
                    told();
                }
                Err(failure) => {
                    log_failure("Core has not been told", &failure);
                    if schedule.failed(&errand.username, &failure, now).is_break() {
                        return Ok(());
                    }
                }
            }
        }
    }
    Ok(())
}

/// Clears before it approves, always: the Go Core ends its own process when a user who is connected
/// is approved again, and an answer that was lost leaves no trace here. It takes a clearing at any
/// time.
async fn run_errand(teller: &impl Teller, errand: &Errand, now: Timestamp) -> Result<(), CoreFailure> {
    let username = &errand.username;
    teller.tell(Told::Disconnected, username, now).await?;
    match errand.tell {
        Tell::Approve => teller.tell(Told::Connected, username, now).await,
        Tell::Clear => Ok(()),
    }
}
