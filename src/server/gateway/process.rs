//! Runs the gateway as a child process with the server's listening sockets, and restarts it when it
//! ends. Where the service manager starts the gateway, serves one that connects
//! ([`service`]).
//!
//! The sockets stay open here, so that connections wait while no gateway runs. The gateway gets
//! only the environment that its log needs, and can only query and be told.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping, FdMappingCollision};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::channel::{Disconnect, QueryHandler, converse};
use super::invalidations::Invalidation;
use super::service::{self, Running};
use crate::metrics::ServerMetrics;
use crate::state::log_failure;

/// The first descriptor of the listening sockets. 0 is the control channel, 1 and 2 are the
/// gateway's log.
const FIRST_LISTENER: i32 = 3;

/// Shortest wait before a restart, after a gateway that ended early.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);

/// Longest wait. Connections wait in the kernel's queue meanwhile, and Core gives up after 5 s.
const BACK_OFF_MAX: Duration = Duration::from_secs(4);

/// A gateway that lived this long did start: its successor is started at once.
const LASTED: Duration = Duration::from_secs(5);

/// How long a gateway may take to finish its requests after [`Disconnect::Stopped`].
const STOP_MAX: Duration = Duration::from_secs(3);

/// How long a gateway that closed the channel may take to exit. Together with the time for an
/// invalidation, this is less than the second after which a revoked key is refused (P6).
const LAST_WORDS_MAX: Duration = Duration::from_millis(200);

/// The environment passed on: it controls the format of logs.
const ENVIRONMENT: [&str; 2] = ["COUNTERSIGN_LOG", "NO_COLOR"];

/// The gateways of a server.
#[derive(Debug)]
pub(crate) struct GatewayProcess {
    /// How they are started.
    pub(crate) start: Start,
    /// Listening sockets: those of clients, and that of the metrics if there is one.
    pub(crate) listeners: Vec<OwnedFd>,
    pub(crate) metrics: Arc<ServerMetrics>,
}

/// How gateways are started.
#[derive(Debug)]
pub(crate) enum Start {
    /// As a child process.
    Child {
        /// This program.
        program: PathBuf,
        /// The configuration file.
        config: PathBuf,
    },
    /// By the service manager. They connect to this listener.
    Service(UnixListener),
}

/// Why a gateway cannot be started.
#[derive(Debug, thiserror::Error)]
enum StartFailure {
    #[error("cannot make a socket pair, or copy a listening socket")]
    Sockets(#[source] std::io::Error),
    #[error("two sockets for one descriptor")]
    Descriptors(#[from] FdMappingCollision),
    #[error("the gateway cannot be run")]
    Run(#[source] std::io::Error),
    #[error("cannot accept a gateway")]
    Door(#[source] std::io::Error),
}

/// Keeps a gateway running until told to stop.
pub(crate) async fn supervise(
    gateway: GatewayProcess,
    queries: impl QueryHandler,
    mut invalidations: mpsc::Receiver<Invalidation>,
    mut stop: watch::Receiver<bool>,
) {
    let mut back_off = Duration::ZERO;
    let mut stopping = Box::pin(async move {
        // An error means that the sender is gone, which is a stop too.
        let _ = stop.wait_for(|stop| *stop).await;
    });
    loop {
        let started = Instant::now();
        let begun = tokio::select! {
            biased;
            begun = gateway.start() => begun,
            () = ack_at_once(&mut invalidations) => break,
            () = &mut stopping => break,
        };
        match begun {
            Ok((running, line)) => {
                let (disconnect, unacknowledged) = converse(line, &queries, &mut invalidations, &mut stopping).await;
                end(running, &disconnect).await;
                drop(unacknowledged);
                if matches!(disconnect, Disconnect::Stopped) {
                    break;
                }
            }
            Err(failure) => log_failure("cannot start the gateway", &failure),
        }
        back_off = next_back_off(back_off, started.elapsed());
        tokio::select! {
            () = ack_at_once(&mut invalidations) => break,
            () = &mut stopping => break,
            () = tokio::time::sleep(back_off) => {}
        }
    }
}

/// Acknowledges invalidations while no gateway runs. Returns when every sender is gone.
async fn ack_at_once(invalidations: &mut mpsc::Receiver<Invalidation>) {
    while let Some(invalidation) = invalidations.recv().await {
        let _ = invalidation.ack.send(());
    }
}

fn next_back_off(last: Duration, lived: Duration) -> Duration {
    if lived >= LASTED { Duration::ZERO } else { (last * 2).clamp(BACK_OFF_MIN, BACK_OFF_MAX) }
}

/// Waits until the gateway is gone, killing it if needed: nothing that it cached may be used any
/// more.
async fn end(mut gateway: Running, disconnect: &Disconnect) {
    let by_itself = match disconnect {
        Disconnect::Stopped => STOP_MAX,
        Disconnect::Closed => LAST_WORDS_MAX,
        Disconnect::Gibberish | Disconnect::Broken(_) | Disconnect::Deaf => Duration::ZERO,
    };
    let ended = match tokio::time::timeout(by_itself, gateway.ended()).await {
        Ok(ended) => ended,
        Err(_elapsed) => {
            if let Err(error) = gateway.kill().await {
                tracing::error!(%error, "cannot kill the gateway");
            }
            gateway.ended().await
        }
    };
    // Only the service manager knows the status of a gateway that it started.
    let status = |status: Option<ExitStatus>| status.map_or_else(|| "unknown".to_owned(), |status| status.to_string());
    match (ended, disconnect) {
        (Ok(ended), Disconnect::Stopped) => tracing::info!(status = status(ended), "gateway stopped"),
        (Ok(ended), _) => tracing::warn!(status = status(ended), reason = %disconnect, "gateway ended"),
        (Err(error), _) => tracing::error!(%error, "cannot tell whether the gateway has ended"),
    }
}

impl GatewayProcess {
    async fn start(&self) -> Result<(Running, UnixStream), StartFailure> {
        match &self.start {
            Start::Child { program, config } => {
                let (child, line) = self.spawn(program, config)?;
                self.metrics.gateway_began(child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0));
                Ok((Running::Child(child), line))
            }
            Start::Service(door) => {
                let (process, line, pid) = service::next(door, &self.listeners).await.map_err(StartFailure::Door)?;
                self.metrics.gateway_began(pid);
                Ok((process, line))
            }
        }
    }

    fn spawn(&self, program: &Path, config: &Path) -> Result<(Child, UnixStream), StartFailure> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(StartFailure::Sockets)?;
        ours.set_nonblocking(true).map_err(StartFailure::Sockets)?;
        let line = UnixStream::from_std(ours).map_err(StartFailure::Sockets)?;
        let mut command = std::process::Command::new(program);
        command.arg("gateway").arg("--config").arg(config).env_clear().envs(kept_environment());
        let mut mappings = Vec::new();
        for (child_fd, listener) in (FIRST_LISTENER..).zip(&self.listeners) {
            let parent_fd = listener.try_clone().map_err(StartFailure::Sockets)?;
            mappings.push(FdMapping { parent_fd, child_fd });
            command.arg("--listen-fd").arg(child_fd.to_string());
        }
        command.fd_mappings(mappings)?;
        command.stdin(Stdio::from(OwnedFd::from(theirs)));
        let child = Command::from(command).kill_on_drop(true).spawn().map_err(StartFailure::Run)?;
        tracing::info!(pid = child.id(), "gateway started");
        Ok((child, line))
    }
}

fn kept_environment() -> Vec<(&'static str, OsString)> {
    ENVIRONMENT.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_keeps_failing_is_started_ever_more_seldom() {
        let short = Duration::from_millis(10);
        let mut back_off = Duration::ZERO;
        let mut seen = Vec::new();
        for _ in 0..9 {
            back_off = next_back_off(back_off, short);
            seen.push(back_off.as_millis());
        }
        assert_eq!(seen, [50, 100, 200, 400, 800, 1600, 3200, 4000, 4000]);
        assert_eq!(next_back_off(back_off, LASTED), Duration::ZERO);
    }
}
