//! Looks up the numbers that take the key store, the disk or `/proc`, every few seconds.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_keys::identity::Username;
use countersign_keys::store::StoreFailure;
use countersign_keys::store::seal_file::SealFile;
use nix::sys::statvfs::statvfs;

use super::gauges::Found;
use super::processes;
use crate::state::{Records, Server, log_failure};

/// How often they are looked up.
const EVERY: Duration = Duration::from_secs(10);

/// The users are counted again after so many times as long as it took: 100,000 of them take a tenth
/// of a second, and are counted once a minute.
const USERS_REST: u32 = 600;

/// Records read at a time.
const PAGE: usize = 1_000;

/// Looks until the server ends.
pub(crate) async fn run(server: Arc<Server>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        look(&server).await;
    }
}

/// Looks once.
pub(crate) async fn look(server: &Arc<Server>) {
    let (records, before) = (Arc::clone(&server.records), server.metrics.gauges.found());
    let (state, gateway) = (server.config.state.clone(), server.metrics.gateway_pid());
    let looked = tokio::task::spawn_blocking(move || {
        let users = match before.users {
            Some((_, again)) if Instant::now() < again => Ok(before.users),
            _ => {
                let began = Instant::now();
                let counted = count_users(&records);
                let again = Instant::now() + began.elapsed().saturating_mul(USERS_REST);
                counted.map(|users| Some((users, again)))
            }
        };
        let outbox = count_outbox(&records);
        for failure in [users.as_ref().err(), outbox.as_ref().err()].into_iter().flatten() {
            log_failure("cannot count for the metrics", failure);
        }
        let outbox = outbox.ok();
        let waiting = outbox.filter(|entries| *entries > 0).map(|_| before.waiting.unwrap_or_else(Instant::now));
        let space = statvfs(&state.directory).ok();
        Found {
            users: users.ok().flatten(),
            outbox,
            waiting,
            store_bytes: size_of(&state.store()),
            store_changes: Some(SealFile::changes_in(&state.directory)),
            free_bytes: space.map(|space| space.blocks_available().saturating_mul(space.fragment_size())),
            memory: processes::resident_bytes(None),
            memory_of_gateway: gateway.and_then(|pid| processes::resident_bytes(Some(pid))),
            open_files: processes::open_files(),
            open_files_max: processes::open_files_max(),
        }
    });
    // Fails only while the runtime ends.
    if let Ok(found) = looked.await {
        server.metrics.gauges.set(found);
    }
}

fn count_users(records: &Records) -> Result<usize, StoreFailure> {
    let (mut count, mut after): (usize, Option<Username>) = (0, None);
    loop {
        let page = records.users_after(after.as_ref(), PAGE)?;
        let Some(last) = page.last() else { return Ok(count) };
        after = Some(last.username.clone());
        count = count.saturating_add(page.iter().filter(|user| user.connection.is_some()).count());
    }
}

fn count_outbox(records: &Records) -> Result<usize, StoreFailure> {
    let (mut count, mut after): (usize, Option<Username>) = (0, None);
    loop {
        let page = records.outbox_after(after.as_ref(), PAGE)?;
        let Some(last) = page.last() else { return Ok(count) };
        after = Some(last.username.clone());
        count = count.saturating_add(page.len());
    }
}

/// The size of the files in that directory and below.
fn size_of(directory: &Path) -> Option<u64> {
    let mut sum = 0_u64;
    for entry in std::fs::read_dir(directory).ok()? {
        let entry = entry.ok()?;
        // A file that is gone meanwhile counts as nothing.
        let Ok(found) = entry.metadata() else { continue };
        let size = if found.is_dir() { size_of(&entry.path()).unwrap_or(0) } else { found.len() };
        sum = sum.saturating_add(size);
    }
    Some(sum)
}
