//! Whether the gateway can serve users, as the last look found it, so that a health check waits for
//! nothing.

pub(crate) mod look;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The findings of the last look.
#[derive(Debug)]
pub(crate) struct Readiness {
    began: Instant,
    /// Milliseconds after `began` until which the last look counts.
    until: AtomicU64,
    store: AtomicBool,
    server_log: AtomicBool,
    certificate: AtomicBool,
    stopping: AtomicBool,
}

impl Default for Readiness {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            until: AtomicU64::new(0),
            store: AtomicBool::new(false),
            server_log: AtomicBool::new(false),
            certificate: AtomicBool::new(true),
            stopping: AtomicBool::new(false),
        }
    }
}

impl Readiness {
    /// Notes that the gateway takes no further connections.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn is_current(&self) -> bool {
        self.began.elapsed() < Duration::from_millis(self.until.load(Ordering::Relaxed))
    }
}
