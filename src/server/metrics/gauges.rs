//! The numbers that [`super::look`] found last.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use countersign_metrics::{Snapshot, family};

#[derive(Debug, Default)]
pub(crate) struct Gauges {
    found: Mutex<Found>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// How many, and when they are counted again.
    pub(super) users: Option<(usize, Instant)>,
    pub(super) outbox: Option<usize>,
    /// Since when the outbox is not empty.
    pub(super) waiting: Option<Instant>,
    pub(super) store_bytes: Option<u64>,
    pub(super) store_changes: Option<u64>,
    pub(super) free_bytes: Option<u64>,
    pub(super) memory: Option<u64>,
    pub(super) memory_of_gateway: Option<u64>,
    pub(super) open_files: Option<usize>,
    pub(super) open_files_max: Option<u64>,
}

impl Gauges {
    pub(super) fn found(&self) -> Found {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, found: Found) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    pub(super) fn put(&self, snapshot: &mut Snapshot) {
        let found = self.found();
        snapshot.put_known(&family::SERVER_USERS, found.users.map(|(users, _)| users));
        snapshot.put_known(&family::SERVER_OUTBOX, found.outbox);
        let waiting = found.outbox.map(|_| found.waiting.map_or(0.0, |since| since.elapsed().as_secs_f64()));
        snapshot.put_known(&family::SERVER_OUTBOX_WAITING, waiting);
        snapshot.put_known(&family::SERVER_STORE_BYTES, found.store_bytes);
        snapshot.put_known(&family::SERVER_STORE_CHANGES, found.store_changes);
        snapshot.put_known(&family::SERVER_STATE_FREE, found.free_bytes);
        for (process, memory) in [("server", found.memory), ("gateway", found.memory_of_gateway)] {
            if let Some(memory) = memory {
                snapshot.put_with(&family::SERVER_MEMORY, &[process], memory);
            }
        }
        snapshot.put_known(&family::SERVER_OPEN_FILES, found.open_files);
        snapshot.put_known(&family::SERVER_OPEN_FILES_MAX, found.open_files_max);
    }
}
