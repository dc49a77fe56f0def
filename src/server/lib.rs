//! IM/Server: maps users to accounts and keys, and manages instances and the gateway.
//!
//! Runs as a separate account, never as root (P10), alone in its state directory. Makes every
//! listening socket, and starts the gateway and the instances. Trusts them as little as possible:
//! the gateway can only query, and an instance is identified by its uid.
#![allow(missing_docs, reason = "internal to Countersign: a doc says what the name cannot")]

mod accounting;
mod alarms;
mod applications;
mod audit;
mod connections;
mod core;
mod direct;
mod events;
mod gateway;
mod http;
mod instances;
mod jobs;
mod licences;
mod links;
mod metrics;
mod passkeys;
mod projects;
mod reload;
mod resources;
mod site_program;
mod state;
mod state_directory;
#[cfg(test)]
mod test_server;
mod turns;
mod used_intents;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use countersign_keys::core_token::CoreTokens;
use countersign_keys::store::StoreFailure;
use countersign_keys::store::registry::Registry;
use countersign_keys::store::sealed_store::{SealedStore, UnsealedStore};
use countersign_keys::store::sled_store::SledStore;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use self::alarms::Alarms;
use self::applications::pending_table::PendingTable;
use self::audit::signer::{AuditFailure, CheckpointSigner};
use self::core::client::{CoreCalls, CoreFailure};
use self::core::task_table::TaskTable;
use self::events::wallet_table::WalletTable;
use self::gateway::invalidations::Invalidation;
use self::gateway::process::{GatewayProcess, Start};
use self::gateway::queries::StoreQueryHandler;
use self::instances::launch::Launcher;
use self::instances::table::Instances;
use self::jobs::choice_table::ChoiceTable;
use self::jobs::table::JobTable;
use self::metrics::ServerMetrics;
use self::passkeys::ceremonies::PasskeyCeremonies;
use self::projects::table::ProjectTable;
use self::state::{Records, Server, log_failure};
use self::state_directory::async_listener;
pub use self::state_directory::{StateDirectory, StateDirectoryFailure};
use self::used_intents::UsedIntents;
use countersign_audit::DecisionLog;
use countersign_config::{Config, ConfigError, GatewayStart, InstanceListen, Launch, MetricsListen};
use countersign_home::accounts::Accounts;
use countersign_ipc::alarm::Alarm;
use countersign_ipc::gateway_protocol::Ended;
use countersign_ipc::room;
use countersign_os::clock::Clock;
use countersign_os::daemon::Daemon;
use countersign_os::limits::Counted;
use countersign_os::log::Chain;
use countersign_os::program::{self, ProgramFault};
use countersign_os::service_manager::ServiceManager;
use countersign_replay::Journal;

/// Worker threads for asynchronous work. The gateway verifies signatures, so there is little to do
/// here.
const THREADS: usize = 2;

/// Connections that wait in the kernel while a gateway is replaced; the kernel's own limit is 4096.
const BACKLOG: i32 = 4_096;

/// Interval of removing expired tickets.
const SWEEP: Duration = Duration::from_secs(300);

/// Interval of writing counted decisions.
const SETTLE: Duration = Duration::from_secs(1);

/// How long instances may take to notice that the server stops. They exit with the closed channel
/// in any case.
const STOP_GRACE: Duration = Duration::from_millis(300);

/// Why the server did not start, or why it ended.
#[derive(Debug, thiserror::Error)]
pub enum ServerFailure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Users could trace their own starting instances, or replace the program.
    #[error("the program is not safe to start as a user")]
    Program(#[from] ProgramFault),
    #[error(transparent)]
    Directory(#[from] StateDirectoryFailure),
    #[error(transparent)]
    Store(#[from] StoreFailure),
    /// The key store was rolled back or damaged, or its seal was.
    #[error(transparent)]
    Unsealed(#[from] UnsealedStore),
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The client for Core cannot be set up.
    #[error("cannot set up calls to Core")]
    Core(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot keep the audit log")]
    Audit(#[from] AuditFailure),
    #[error("the server cannot start")]
    System(#[from] io::Error),
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// Why it did not start, or why it ended.
pub fn run(_begun: Daemon, config_file: &Path) -> Result<(), ServerFailure> {
    let config = Config::load(config_file)?;
    let program = std::env::current_exe()?;
    if config.instances.launch == Launch::Sudo {
        program::check(&program)?;
    }
    let state = StateDirectory::claim(&config.state)?;
    if !config.state.store().exists() && !config.state.seal().exists() {
        lay_out_replay_log(&config.state.replay());
    }
    let store = SledStore::open(&config.state.store())?;
    let records = Arc::new(Registry::new(SealedStore::open(store, &config.state.directory)?));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(turns::THREADS)
        .enable_all()
        .build()?;
    runtime.block_on(serve(config, program, &state, records))
}

async fn serve(
    config: Config,
    program: PathBuf,
    state: &StateDirectory,
    records: Arc<Records>,
) -> Result<(), ServerFailure> {
    let mut listeners: Vec<OwnedFd> = listen_for_gateway(&config)?.into_iter().map(OwnedFd::from).collect();
    listeners.extend(listen_for_metrics(&config)?);
    let metrics = ServerMetrics::begin();
    let alarms = Arc::new(Alarms::default());
    if let Some(command) = &config.alarms.command {
        tokio::spawn(alarms::command::run(Arc::clone(&alarms), command.clone()));
    }
    let everybody = state_directory::listen_to_everybody(&config.ipc)?;
    let service = state_directory::listen_privately(&config.state.service_socket())?;
    let _first_port = hold_first_port(&config)?;
    let core = core_calls(&config)?;
    let launcher =
        Launcher::sudo(&program, &config.file, config.instances.listen, state.swept_instances()?, state.logs());
    let (invalidations, invalidation_receiver) = gateway::invalidations::invalidations();
    let (instances, gone) = Instances::new(launcher);
    let (signer, broken) = match CheckpointSigner::start(&config, Arc::clone(&metrics)) {
        Ok(started) => started,
        Err(failure) => {
            if failure.is_alteration() {
                alarms::command::tell_last(config.alarms.command.as_ref(), Alarm::AuditLogAltered).await;
            }
            return Err(failure.into());
        }
    };
    let pseudonyms = audit::signer::pseudonyms(&config)?;
    let server = Arc::new(Server {
        decisions: DecisionLog::open(config.state.server_log(), config.audit.segment_max)?.under(pseudonyms),
        metrics,
        alarms,
        core_tokens: Mutex::new(CoreTokens::new(config.core.public_key.clone())),
        clock: Clock::System,
        accounts: Accounts::System,
        jobs: JobTable::left_behind(records.jobs()?),
        choices: ChoiceTable::default(),
        projects: ProjectTable::left_behind(records.projects()?),
        wallets: WalletTable::default(),
        tasks: TaskTable::left_behind(records.tasks()?, Clock::System.now().map_err(io::Error::other)?),
        records,
        instances,
        invalidations,
        used_intents: UsedIntents::new(&config.terms()),
        passkeys: PasskeyCeremonies::new(&config.provider.origin, &config.provider.id),
        pending_applications: PendingTable::default(),
        polls: Counted::new(room::PUBLIC, room::POLLS_EACH_TICKET),
        turns: Arc::default(),
        entries: Arc::default(),
        changes: watch::Sender::new(0),
        reloads: watch::Sender::new(0),
        stop: watch::Sender::new(false),
        config,
    });
    let start = gateway_start(&server.config, program)?;
    let gateway = GatewayProcess { start, listeners, metrics: Arc::clone(&server.metrics) };
    let supervised = tokio::spawn(supervise(Arc::clone(&server), gateway, invalidation_receiver));
    tokio::spawn(http::endpoints::serve_everybody(Arc::clone(&server), async_listener(everybody)?));
    tokio::spawn(http::endpoints::serve_gateway(Arc::clone(&server), async_listener(service)?));
    tokio::spawn(tell_of_gone_instances(Arc::clone(&server), gone));
    tokio::spawn(sweep(Arc::clone(&server)));
    tokio::spawn(settle(Arc::clone(&server)));
    if server.config.metrics.is_some() {
        tokio::spawn(metrics::look::run(Arc::clone(&server)));
    }
    tokio::spawn(connections::expiry::keep_ending(Arc::clone(&server)));
    tokio::spawn(reload::run(Arc::clone(&server)));
    if let Some(slurm) = &server.config.slurm {
        tokio::spawn(jobs::poller::run(Arc::clone(&server), jobs::commands_of(slurm)));
    }
    tokio::spawn(projects::groups::run(Arc::clone(&server)));
    match core {
        Some(core) => {
            tokio::spawn(tell_core(Arc::clone(&server), core));
        }
        None => tracing::warn!("core.refresh_token is not set: Core is not told of connections"),
    }
    // Connections are accepted from here on, by the kernel's queue until there is a gateway. A
    // gateway in a separate unit may attach.
    if let Some(manager) = ServiceManager::named()
        && let Err(error) = manager.tell_ready()
    {
        tracing::warn!(%error, "cannot notify service manager");
    }
    let end = tokio::select! {
        told = told_to_stop() => told.map_err(ServerFailure::from),
        Ok(failure) = broken => {
            alarms::command::tell_last(server.config.alarms.command.as_ref(), Alarm::AuditLogAltered).await;
            Err(failure.into())
        }
    };
    tracing::info!("stopping");
    // The gateway stops first, so that it ends requests in flight in order, not for lack of an
    // instance.
    server.stop.send_replace(true);
    let _ = supervised.await;
    server.instances.stop_all();
    tokio::time::sleep(STOP_GRACE).await;
    server.decisions.settle_all();
    signer.finish();
    end
}

/// Creates an empty replay log for the gateway if there is no store yet: no key was ever enrolled,
/// so no intent was used (P4). If this fails, the gateway refuses earlier intents for some seconds,
/// and nothing else is lost.
fn lay_out_replay_log(directory: &Path) {
    if let Err(failure) = state_directory::private_directory(directory) {
        tracing::warn!("cannot create replay log: {}", Chain(&failure));
    } else if let Err(failure) = Journal::create(directory) {
        tracing::warn!("cannot create replay log: {}", Chain(&failure));
    }
}

fn listen_for_gateway(config: &Config) -> Result<Vec<TcpListener>, ServerFailure> {
    let listen = |address: &SocketAddr| {
        let listener = TcpListener::bind(address)?;
        nix::sys::socket::listen(&listener, Backlog::new(BACKLOG)?)?;
        Ok(listener)
    };
    let listen =
        |address: &SocketAddr| listen(address).map_err(|source| ServerFailure::Listen { address: *address, source });
    config.gateway.listen.iter().map(listen).collect()
}

/// Opens the address of the metrics, for the gateway: the server accepts nothing from a network.
fn listen_for_metrics(config: &Config) -> Result<Option<OwnedFd>, ServerFailure> {
    Ok(match config.metrics.as_ref().map(|metrics| &metrics.listen) {
        None => None,
        Some(MetricsListen::Tcp(address)) => {
            let failed = |source| ServerFailure::Listen { address: *address, source };
            Some(TcpListener::bind(address).map_err(failed)?.into())
        }
        Some(MetricsListen::Unix { path, mode }) => Some(state_directory::listen_with_mode(path, *mode)?.into()),
    })
}

fn gateway_start(config: &Config, program: PathBuf) -> Result<Start, ServerFailure> {
    match config.gateway.start {
        GatewayStart::Server => Ok(Start::Child { program, config: config.file.clone() }),
        GatewayStart::Service => {
            Ok(Start::Service(async_listener(state_directory::listen_privately(&config.state.gateway_socket())?)?))
        }
    }
}

/// If instances have ports, reserves the first without serving it. The gateway uses the server's
/// Unix socket, whose peer the kernel names.
fn hold_first_port(config: &Config) -> Result<Option<OwnedFd>, ServerFailure> {
    let InstanceListen::Tcp { first_port } = config.instances.listen else {
        return Ok(None);
    };
    let address = SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, first_port));
    let failed = |errno: nix::Error| ServerFailure::Listen { address, source: errno.into() };
    let socket = nix::sys::socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
        .map_err(failed)?;
    nix::sys::socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address)).map_err(failed)?;
    Ok(Some(socket))
}

fn core_calls(config: &Config) -> Result<Option<CoreCalls>, ServerFailure> {
    let core = &config.core;
    let Some(refresh_token) = core.refresh_token.clone() else {
        return Ok(None);
    };
    let calls = CoreCalls::new(core.origin.clone(), refresh_token, &core.ca)
        .map_err(|failure: CoreFailure| ServerFailure::Core(failure.into()))?;
    Ok(Some(calls))
}

async fn supervise(server: Arc<Server>, gateway: GatewayProcess, invalidations: mpsc::Receiver<Invalidation>) {
    let stop = server.stop.subscribe();
    gateway::process::supervise(gateway, StoreQueryHandler::new(server), invalidations, stop).await;
}

async fn tell_core(server: Arc<Server>, core: CoreCalls) {
    let core = Arc::new(core);
    tokio::join!(
        core::product_registration::run(Arc::clone(&server), Arc::clone(&core)),
        core::outbox::run(Arc::clone(&server), Arc::clone(&core)),
        core::tasks::run(Arc::clone(&server), Arc::clone(&core)),
        events::connection::run(Arc::clone(&server), Arc::clone(&core)),
        jobs::reconcile::run(Arc::clone(&server), Arc::clone(&core)),
        jobs::register::run(Arc::clone(&server), Arc::clone(&core)),
        accounting::reporter::run(Arc::clone(&server), Arc::clone(&core)),
        accounting::storage::run(Arc::clone(&server), Arc::clone(&core)),
        jobs::teller::run(server, core)
    );
}

/// Tells the gateway when an instance is gone.
async fn tell_of_gone_instances(
    server: Arc<Server>,
    mut gone: mpsc::UnboundedReceiver<countersign_keys::identity::Uid>,
) {
    while let Some(uid) = gone.recv().await {
        // An instance that was told to stop may still be finishing.
        if server.instances.watch(uid).is_none() {
            server.tasks.instance_gone(uid);
        }
        match server.records.usernames(uid) {
            Ok(usernames) => {
                for username in usernames {
                    server.invalidations.tell(Ended::Instance { username }).await;
                }
            }
            Err(failure) => log_failure("the gateway cannot be told of an instance's end", &failure),
        }
        server.instances.release(uid);
    }
}

async fn settle(server: Arc<Server>) {
    loop {
        tokio::time::sleep(SETTLE).await;
        let was_short = server.decisions.is_short_of_space();
        server.decisions.settle(Instant::now());
        if server.decisions.is_short_of_space() && !was_short {
            server.alarms.raise(Alarm::DiskFull, None);
        }
    }
}

async fn sweep(server: Arc<Server>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let (records, now) = (Arc::clone(&server.records), server.clock.now());
        let swept = http::reply::blocking(move || Ok(records.forget_tickets(now?)?)).await;
        if let Ok(forgotten @ 1..) = swept {
            tracing::debug!(forgotten, "removed expired tickets");
        }
    }
}

async fn told_to_stop() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
