//! The counts of the server for its metrics.
//!
//! The gateway asks for all metrics at each scrape (decision 220). The answer waits for nothing: a
//! task, [`look`], looks up what needs the store, the disk or `/proc`.

mod gauges;
pub(crate) mod look;
mod processes;
mod snapshot;

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::SystemTime;

use countersign_metrics::{Counter, Histogram, Level};

/// Counts since the server started.
#[derive(Debug, Default)]
pub(crate) struct ServerMetrics {
    pub(crate) core_failures: Counter,
    pub(crate) slurm_polls: Histogram,
    pub(crate) slurm_poll_failures: Counter,
    pub(crate) gateway_starts: Counter,
    pub(crate) callers: Level,
    pub(crate) logs: [SignedLogMetrics; 2],
    gauges: gauges::Gauges,
    /// When the server started, in seconds since 1970.
    started: Level,
    /// The running gateway; 0 if there is none.
    gateway_pid: AtomicI32,
}

/// Of one audit log: the gateway's, then the server's.
#[derive(Debug, Default)]
pub(crate) struct SignedLogMetrics {
    /// Records that no checkpoint covers.
    pub(crate) backlog: Level,
    /// When it was last found signed to its end, in seconds since 1970.
    pub(crate) signed: Level,
    pub(crate) failures: Counter,
}

impl ServerMetrics {
    pub(crate) fn begin() -> Arc<Self> {
        let metrics = Self::default();
        metrics.started.set(seconds_now());
        Arc::new(metrics)
    }

    /// Notes a gateway that was started, or that has come.
    pub(crate) fn gateway_began(&self, pid: i32) {
        self.gateway_starts.add_one();
        self.gateway_pid.store(pid, Ordering::Relaxed);
    }

    fn gateway_pid(&self) -> Option<i32> {
        Some(self.gateway_pid.load(Ordering::Relaxed)).filter(|pid| *pid > 0)
    }
}

/// The system's clock, for times that are shown and not judged by.
pub(crate) fn seconds_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
