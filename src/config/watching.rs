//! `[metrics]` and `[alarms]`: where the gateway serves its metrics and to whom, and the program
//! that the server runs for an alarm.

use std::net::SocketAddr;
use std::path::PathBuf;

/// `[metrics]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Metrics {
    pub listen: MetricsListen,
    pub reach: MetricsReach,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MetricsListen {
    Tcp(SocketAddr),
    Unix {
        path: PathBuf,
        /// Which accounts may connect.
        mode: u32,
    },
}

/// `[alarms]`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Alarms {
    /// A program that the server runs for an alarm, and its arguments.
    pub command: Option<(PathBuf, Vec<String>)>,
}

/// From where collectors may come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MetricsReach {
    /// The address is loop-back, or a Unix socket.
    ThisMachine,
    /// The site said so. Every machine that reaches the address reads the metrics.
    Anywhere,
}
