//! The gateway: terminates TLS and HTTP for UCloud and browsers, verifies every request, and
//! forwards it to the user's instance.
//!
//! May ask the server for keys and instances, and can change neither. The instance verifies again
//! what the gateway forwards (P3). Opens its files, enters the sandbox ([`crate::sandbox`]), and
//! only then accepts connections. Ends without the server: it must not serve what the server could
//! not revoke (P6, P8).
#![allow(missing_docs, reason = "internal to Countersign: a doc says what the name cannot")]
#![cfg_attr(test, allow(clippy::as_conversions, reason = "of small numbers that a test has chosen"))]

mod alarms;
mod exchange;
#[cfg(fuzzing)]
pub mod fuzzing;
mod http1;
mod limits;
mod links;
mod listener;
mod metrics;
mod pages;
mod pipeline;
mod readiness;
mod response;
mod rules;
mod sandbox;
mod server_link;
mod shutdown;
mod state;
#[cfg(test)]
mod tests;
mod tls;
mod upstream;
mod web;
mod websocket;

use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_keys::core_token::CoreTokens;
use countersign_keys::identity::Uid;
use nix::sys::resource::{Resource, getrlimit};
use tokio::net::{TcpListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use self::alarms::Alarms;
use self::http1::body::BodyRoom;
use self::limits::connections::ConnectionTable;
use self::links::routes::Links;
use self::listener::Acceptor;
use self::metrics::{GatewayMetrics, Scraped};
use self::pages::Pages;
use self::pipeline::deposits::Deposits;
use self::readiness::Readiness;
use self::response::cors::Cors;
use self::response::request_id::RequestIds;
use self::rules::{CurrentRules, Rules};
use self::sandbox::{Permitted, SandboxFailure};
use self::server_link::channel::{ControlLine, LineEnd, Renewable};
use self::server_link::key_cache::KeyCache;
use self::server_link::uses::Uses;
use self::state::Gateway;
use self::tls::CurrentKey;
use self::upstream::Upstreams;
use self::web::sessions::WebSessions;
use countersign_audit::{DecisionLog, Pseudonyms};
use countersign_config::{Config, ConfigError, GatewayStart, MetricsListen, Names, SecretFile};
use countersign_ipc::alarm::Alarm;
use countersign_ipc::gateway_protocol::{FromGateway, InstanceAddress, SocketAddress};
use countersign_os::clock::{Clock, NoRandomness, UnreadableClock};
use countersign_os::daemon::Daemon;
use countersign_os::descriptors::{self, DescriptorFailure, Listener};
use countersign_replay::{Journal, JournalFailure};

/// The control channel, opened by the server.
const CONTROL_DESCRIPTOR: RawFd = 0;

/// Interval of closing idle connections to upstreams.
const SWEEP_EVERY: Duration = Duration::from_secs(15);

/// Interval of writing counted decisions.
const SETTLE_EVERY: Duration = Duration::from_secs(1);

/// How long requests in flight may take at shutdown. The server waits for 3 s.
const STOP_WITHIN: Duration = Duration::from_millis(2_500);

#[derive(Clone, Debug)]
pub struct GatewayArguments {
    pub config: PathBuf,
    pub sockets: Sockets,
}

#[derive(Clone, Debug)]
pub enum Sockets {
    /// The server, as parent process, left these listening sockets open, and the control channel as
    /// descriptor 0.
    Inherited(Vec<RawFd>),
    /// The gateway asks the server for them.
    AtTheServer,
}

/// Why the gateway did not start, or why it ended.
#[derive(Debug, thiserror::Error)]
pub enum GatewayFailure {
    /// An inherited descriptor is missing or of another kind.
    #[error(
        "inherited descriptors are not as expected: the server starts countersign gateway, with the control channel as descriptor 0"
    )]
    Descriptor(#[from] DescriptorFailure),
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The gateway came for sockets that the server hands to a child process.
    #[error(
        "gateway.start is not \"service\", so the server starts the gateway itself. Disable this unit, or set gateway.start = \"service\""
    )]
    Unwanted,
    /// The TLS certificate or key.
    #[error("cannot load TLS certificate and key")]
    Key(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The key for pseudonyms in the records.
    #[error("cannot load the key for pseudonyms in records")]
    Pseudonyms(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// A listening socket is not TCP, or has neither TLS nor a loop-back address.
    #[error("a listening socket is neither TCP with TLS nor on the loop-back interface")]
    Bare,
    #[error("cannot get the listening sockets from the server")]
    Attach(#[from] server_link::receive_sockets::AttachFailure),
    #[error(transparent)]
    Sandbox(#[from] SandboxFailure),
    /// The replay log.
    #[error(transparent)]
    Journal(#[from] JournalFailure),
    #[error(transparent)]
    Clock(#[from] UnreadableClock),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error("cannot serialise the call table")]
    CallTableDocument(#[from] serde_json::Error),
    #[error("cannot render a page")]
    Page(#[from] askama::Error),
    #[error("{path} cannot be used")]
    File {
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    #[error("the gateway cannot start")]
    System(#[from] io::Error),
    /// The control channel ended.
    #[error(transparent)]
    Line(#[from] LineEnd),
}

/// Runs the gateway until the server stops it or is gone.
///
/// # Errors
/// Why it did not start, or why it ended.
pub fn run(_begun: Daemon, arguments: &GatewayArguments) -> Result<(), GatewayFailure> {
    let inherited = inherited(&arguments.sockets)?;
    let config = Config::load_for_gateway(&arguments.config)?;
    let (control, listeners) = match inherited {
        Some(inherited) => inherited,
        None if config.gateway.start == GatewayStart::Server => return Err(GatewayFailure::Unwanted),
        None => server_link::receive_sockets::to_server(&config.state.gateway_socket())?,
    };
    let (listeners, for_metrics) = apart(listeners, &config)?;
    let listeners = checked(listeners, &config)?;
    let opened = Opened::by(&config)?;
    #[cfg(debug_assertions)]
    let misbehaviour = sandbox::misbehaviour::planned(&config.state.directory);
    sandbox::enter(config.gateway.sandbox, &permitted(&config))?;
    // Sandboxed from here on; threads started below inherit it.
    let runtime = runtime(&config)?;
    runtime.block_on(async {
        let line = ControlLine::new(UnixStream::from_std(control)?);
        let key_cache = Arc::new(KeyCache::new(line.say()));
        let key = opened.key.clone();
        let gateway = Arc::new(gateway(&config, Arc::clone(&key_cache), opened)?);
        let key_in_use = key.clone();
        let tls = key.clone().map(tls::acceptor).transpose()?;
        let renewable = Renewable {
            rules: Arc::clone(&gateway.rules),
            upstreams: Arc::clone(&gateway.upstreams),
            tls: config.gateway.tls.clone().zip(key),
        };
        // An operator who signals the process group means the server, which sends the gateway what
        // changed.
        let _ignored_from_here_on = signal(SignalKind::hangup())?;
        tokio::spawn(sweep(Arc::clone(&gateway.upstreams)));
        tokio::spawn(settle(Arc::clone(&gateway)));
        #[cfg(debug_assertions)]
        if let Some(plan) = misbehaviour {
            plan.begin();
        }
        let line = Line { line, key_cache, renewable };
        let connections = ConnectionTable::new(config.gateway.connections_max);
        tokio::spawn(readiness::look::keep_looking(Arc::clone(&gateway), key_in_use.clone()));
        if let (Some(listener), Some(metrics)) = (for_metrics, &config.metrics) {
            let scraped = Scraped::new(&gateway, &connections, key_in_use);
            tokio::spawn(metrics::serve(listener, scraped, metrics.reach));
        }
        let served = serve(line, Arc::clone(&gateway), listeners, tls, connections).await;
        gateway.audit.settle_all();
        served
    })
}

/// The control channel and the listening sockets, if the server left them open.
fn inherited(sockets: &Sockets) -> Result<Option<(StdUnixStream, Vec<Listener>)>, GatewayFailure> {
    match sockets {
        Sockets::AtTheServer => Ok(None),
        Sockets::Inherited(listeners) => {
            let control = descriptors::take_unix_stream(CONTROL_DESCRIPTOR)?;
            let taken = listeners.iter().map(|descriptor| descriptors::take_listener(*descriptor));
            Ok(Some((control, taken.collect::<Result<_, _>>()?)))
        }
    }
}

/// Resources that cannot be opened inside the sandbox.
struct Opened {
    journal: Journal,
    audit: DecisionLog,
    /// Opened before the sandbox, because the random source probes the system on first use.
    ids: RequestIds,
    key: Option<Arc<CurrentKey>>,
    /// Idle connections to instances, as many as the limit of open files leaves.
    idle_max: usize,
}

impl Opened {
    fn by(config: &Config) -> Result<Self, GatewayFailure> {
        let key = config.gateway.tls.as_ref().map(|tls| tls.load().map(CurrentKey::new)).transpose();
        let key = key.map_err(|error| GatewayFailure::Key(error.into()))?;
        let replay = private_directory(config.state.replay())?;
        let journal = Journal::open(&replay, config.terms().window, limits::INTENTS_MAX, Clock::System.now()?)?;
        let log = config.state.gateway_log();
        let path = log.entries();
        let audit = DecisionLog::open(log, config.audit.segment_max)
            .map_err(|source| GatewayFailure::File { path, source })?
            .under(pseudonyms(config)?);
        let (descriptors, _) = getrlimit(Resource::RLIMIT_NOFILE).map_err(io::Error::from)?;
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let idle_max = upstream::idle_max(descriptors, config.gateway.connections_max);
        Ok(Self { journal, audit, ids: RequestIds::new()?, key, idle_max })
    }
}

/// The sandbox's exceptions: the next file of the gateway's own log, and the TCP ports of
/// instances.
fn permitted(config: &Config) -> Permitted {
    Permitted { new_files_in: config.state.gateway_log().entries(), ports: config.instances.ports() }
}

/// The control channel, and the state that it changes.
struct Line {
    line: ControlLine,
    key_cache: Arc<KeyCache>,
    renewable: Renewable,
}

async fn serve(
    Line { line, key_cache, renewable }: Line,
    gateway: Arc<Gateway>,
    listeners: Vec<std::net::TcpListener>,
    tls: Option<TlsAcceptor>,
    connections: Arc<ConnectionTable>,
) -> Result<(), GatewayFailure> {
    let (stopping, stop) = watch::channel(false);
    let acceptor = Acceptor { gateway, connections: Arc::clone(&connections), tls, stop };
    for listener in listeners {
        tokio::spawn(listener::accept(TcpListener::from_std(listener)?, acceptor.clone()));
    }
    let _ = line.say().send(FromGateway::Ready).await; // a closed channel ends below
    let (telling, say) = (Arc::clone(&acceptor.gateway), line.say());
    tokio::spawn(alarms::tell::tell(Arc::clone(&telling), say.clone()));
    tokio::spawn(async move { telling.uses.tell(say).await });
    let mut line = pin!(line.run(key_cache, renewable));
    let end = tokio::select! {
        end = &mut line => Some(end),
        terminated = terminated() => terminated.map(|()| None)?,
    };
    acceptor.gateway.readiness.stop();
    stopping.send_replace(true);
    let mut finishing = pin!(finish(&connections));
    let end = match end {
        Some(end) => end,
        // Terminated by the service manager while the server may still run: notices of revocations
        // are handled until the last request ends (P6).
        None => tokio::select! {
            () = &mut finishing => return Ok(()),
            end = &mut line => end,
        },
    };
    match end {
        LineEnd::Stop => {
            finishing.await;
            Ok(())
        }
        // The server is gone, and with it revocation: requests in flight end here.
        end @ (LineEnd::Closed | LineEnd::Broken(_) | LineEnd::Message(_) | LineEnd::TooLong) => Err(end.into()),
    }
}

async fn finish(connections: &ConnectionTable) {
    tracing::info!("stopping");
    if tokio::time::timeout(STOP_WITHIN, connections.all_left()).await.is_err() {
        tracing::warn!("aborted requests in flight");
    }
}

/// Parts the listening socket of the metrics from those for clients, by its address.
fn apart(listeners: Vec<Listener>, config: &Config) -> Result<(Vec<Listener>, Option<Listener>), GatewayFailure> {
    let Some(metrics) = &config.metrics else { return Ok((listeners, None)) };
    let is_for_metrics = |listener: &Listener| {
        Ok::<_, io::Error>(match (listener, &metrics.listen) {
            (Listener::Tcp(listener), MetricsListen::Tcp(address)) => listener.local_addr()? == *address,
            (Listener::Unix(listener), MetricsListen::Unix { path, .. }) => {
                listener.local_addr()?.as_pathname() == Some(path)
            }
            (Listener::Tcp(_), MetricsListen::Unix { .. }) | (Listener::Unix(_), MetricsListen::Tcp(_)) => false,
        })
    };
    let (mut of_clients, mut of_metrics) = (Vec::with_capacity(listeners.len()), None);
    for listener in listeners {
        if is_for_metrics(&listener)? {
            of_metrics = Some(listener);
        } else {
            of_clients.push(listener);
        }
    }
    if of_metrics.is_none() {
        tracing::warn!("cannot serve metrics: the server did not open their address. Restart the server");
    }
    Ok((of_clients, of_metrics))
}

/// Checks that all are TCP sockets, and without TLS only on the loop-back interface.
fn checked(listeners: Vec<Listener>, config: &Config) -> Result<Vec<std::net::TcpListener>, GatewayFailure> {
    let mut checked = Vec::with_capacity(listeners.len());
    for listener in listeners {
        let Listener::Tcp(listener) = listener else { return Err(GatewayFailure::Bare) };
        let is_loop_back = listener.local_addr().map(|address: SocketAddr| address.ip().is_loopback())?;
        if config.gateway.tls.is_none() && !is_loop_back {
            return Err(GatewayFailure::Bare);
        }
        checked.push(listener);
    }
    Ok(checked)
}

/// With one thread, uses the current-thread runtime.
fn runtime(config: &Config) -> io::Result<Runtime> {
    match config.gateway.threads.get() {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        threads => tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    }
}

fn gateway(
    config: &Config,
    key_cache: Arc<KeyCache>,
    Opened { journal, audit, ids, key: _, idle_max }: Opened,
) -> Result<Gateway, GatewayFailure> {
    let server = InstanceAddress { uid: None, socket: SocketAddress::Unix(config.state.service_socket()), key: None };
    Ok(Gateway {
        provider: config.provider.id.clone(),
        core: Mutex::new(CoreTokens::new(config.core.public_key.clone())),
        rules: Arc::new(CurrentRules::new(config.provider.id.clone(), Rules::of(config)?)),
        key_cache,
        signatures: Arc::default(),
        journal,
        clock: Clock::System,
        deposits: Deposits::default(),
        asks: config.slurm.as_ref().map(|slurm| slurm.asks).unwrap_or_default(),
        upstreams: Arc::new(Upstreams::new(Uid(nix::unistd::geteuid().as_raw()), idle_max)),
        server: Arc::new(server),
        audit,
        metrics: GatewayMetrics::default(),
        readiness: Readiness::default(),
        alarms: Alarms::default(),
        body_max: config.gateway.body_max,
        bodies: BodyRoom::new(),
        public_calls: limits::public_calls(),
        refusals: limits::refusals(),
        in_flight: limits::of_each_user(),
        public_at_server: limits::public_at_server(),
        direct_at_server: limits::direct_at_server(),
        sockets: limits::of_each_user(),
        waiting_sockets: limits::of_each_user(),
        web_hosts: config.gateway.web.clone(),
        web_sessions: WebSessions::default(),
        web_requests: limits::web_requests(),
        links: Links::at(config.gateway.links.clone()),
        cors: Cors::new(config.core.origin.clone(), config.provider.origin.clone()),
        pages: Pages::new(&config.provider, &config.core.origin)?,
        ids,
        uses: Uses::default(),
    })
}

/// The server's key for pseudonyms, if the records have pseudonyms.
fn pseudonyms(config: &Config) -> Result<Option<Pseudonyms>, GatewayFailure> {
    match config.audit.names {
        Names::Plain => Ok(None),
        Names::Pseudonyms => {
            let own = Uid(nix::unistd::geteuid().as_raw());
            let key = SecretFile::new(config.state.pseudonym_key(), own).read();
            Ok(Some(Pseudonyms::new(&key.map_err(|error| GatewayFailure::Pseudonyms(error.into()))?)))
        }
    }
}

fn private_directory(path: PathBuf) -> Result<PathBuf, GatewayFailure> {
    let made = DirBuilder::new().mode(0o700).create(&path);
    match made {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(GatewayFailure::File { path, source }),
        Ok(()) | Err(_) => Ok(path),
    }
}

async fn sweep(upstreams: Arc<Upstreams>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        upstreams.sweep();
    }
}

async fn settle(gateway: Arc<Gateway>) {
    loop {
        tokio::time::sleep(SETTLE_EVERY).await;
        let was_short = gateway.audit.is_short_of_space();
        gateway.audit.settle(std::time::Instant::now());
        if gateway.audit.is_short_of_space() && !was_short {
            gateway.alarms.raise(Alarm::DiskFull);
        }
    }
}

async fn terminated() -> io::Result<()> {
    signal(SignalKind::terminate())?.recv().await;
    Ok(())
}
