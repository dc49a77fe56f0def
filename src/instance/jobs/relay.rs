//! The near end of web interfaces: one step of a job and node, through which this account reaches
//! its applications' ports there.
//!
//! Slurm refuses a step in another account's job, and the connection to it needs no port. A relay
//! is shared by the sessions of its job and node, and ends with the last of them.

use std::collections::HashMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use countersign_keys::identity::CoreJobId;
use countersign_os::quoted;
use countersign_slurm::{Commands, Program, SlurmJobId, step_of};
use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::relay::{ALL_WINDOW, FRAME, PING_EVERY, PONG_WITHIN, Refused, STREAM_WINDOW};

/// How long a step may take to start and to connect. Slurm may wait for the node.
const CONNECT_MAX: Duration = Duration::from_secs(15);

/// How long a step may take to end after its input has.
const END_MAX: Duration = Duration::from_secs(5);

/// Bytes of what a step says before it fails, for the log.
const SAID_MAX: u64 = 2 * 1024;

/// A connection to an application.
pub(crate) type ToApplication = TokioIo<Upgraded>;

/// Why an application is not reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    #[error("the relay refused the connection: {0:?}")]
    Refused(Refused),
    #[error("the step of the job has ended, or does not answer")]
    Broken,
}

/// A running relay. Dropping it ends the step.
pub(crate) struct Relay(SendRequest<Empty<Bytes>>);

impl fmt::Debug for Relay {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Relay")
    }
}

impl Relay {
    /// Speaks to the relay at the other end of a stream.
    pub(crate) async fn over<S>(stream: S) -> Result<Self, RelayError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut http2 = Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(ALL_WINDOW)
            .max_frame_size(FRAME)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_WITHIN)
            .keep_alive_while_idle(true);
        let (sender, connection) = http2.handshake(TokioIo::new(stream)).await.map_err(|_| RelayError::Broken)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a relay broke");
            }
        });
        Ok(Self(sender))
    }

    /// Connects to a port of the node, at which this account listens.
    pub(crate) async fn connect(&self, port: u16) -> Result<ToApplication, RelayError> {
        timeout(CONNECT_MAX, self.ask(port)).await.map_err(|_elapsed| RelayError::Broken)?
    }

    async fn ask(&self, port: u16) -> Result<ToApplication, RelayError> {
        let mut sender = self.0.clone();
        let request = Request::builder().method(Method::CONNECT).uri(format!("{}:{port}", Ipv4Addr::LOCALHOST));
        let request = request.body(Empty::new()).map_err(|_| RelayError::Broken)?;
        sender.ready().await.map_err(|_| RelayError::Broken)?;
        let answer = sender.send_request(request).await.map_err(|_| RelayError::Broken)?;
        if answer.status() == StatusCode::OK {
            let upgraded = hyper::upgrade::on(answer).await.map_err(|_| RelayError::Broken)?;
            return Ok(TokioIo::new(upgraded));
        }
        Err(Refused::of(answer.status()).map_or(RelayError::Broken, RelayError::Refused))
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.0.is_closed()
    }
}

/// Which step a relay is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Step {
    pub(super) job: CoreJobId,
    pub(super) slurm_id: SlurmJobId,
    pub(super) node: String,
    /// What it may connect to, in its arguments.
    pub(super) ports: Vec<u16>,
}

/// The relays of an account. A session keeps its relay; this only finds it again, so it has as many
/// as there are sessions.
#[derive(Debug, Default)]
pub(super) struct Relays(Mutex<HashMap<Step, Weak<Relay>>>);

impl Relays {
    fn running(&self, step: &Step) -> Option<Arc<Relay>> {
        let mut relays = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        relays.retain(|_, relay| relay.upgrade().is_some_and(|relay| !relay.has_ended()));
        relays.get(step).and_then(Weak::upgrade)
    }

    /// The relay of a step, which is started if it does not run.
    pub(super) async fn start(
        &self,
        step: Step,
        commands: &Commands,
        program: &Path,
    ) -> Result<Arc<Relay>, RelayError> {
        if let Some(relay) = self.running(&step) {
            return Ok(relay);
        }
        let mut child = run(&step, commands, program).map_err(|error| {
            tracing::error!(%error, "cannot run srun");
            RelayError::Broken
        })?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(RelayError::Broken);
        };
        tokio::spawn(until_its_end(child));
        let relay = Arc::new(Relay::over(tokio::io::join(output, input)).await?);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(step, Arc::downgrade(&relay));
        Ok(relay)
    }
}

/// Starts the step.
fn run(step: &Step, commands: &Commands, program: &Path) -> std::io::Result<Child> {
    // Unbuffered: Slurm would keep what does not end with a line.
    let mut command = Command::new(commands.path(Program::Srun));
    command.args(step_of(step.slurm_id, &step.node)).args(["--unbuffered", "--export=NONE", "--chdir=/", "--"]);
    command.arg(program).arg("relay").args(step.ports.iter().map(ToString::to_string));
    command.env_clear().envs(commands.environment()).current_dir("/").kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Waits for a step's end. What it says stands in the log.
async fn until_its_end(mut child: Child) {
    let mut said = Vec::new();
    if let Some(mut errors) = child.stderr.take() {
        let _ = (&mut errors).take(SAID_MAX).read_to_end(&mut said).await;
        let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
    }
    if timeout(END_MAX, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
    let said = quoted::quoted(&String::from_utf8_lossy(&said));
    tracing::debug!(said, "a step for web interfaces has ended");
}

/// This program, where it is on the nodes.
pub(super) fn program(configured: Option<&PathBuf>) -> PathBuf {
    let own = || std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/bin/countersign"));
    configured.cloned().unwrap_or_else(own)
}
