//! IM/User, the *instance*: runs as the end user, verifies every request again, then does the work.
//!
//! Trusts neither the gateway nor the server (P3). Verifies Core's token and the user's intent with
//! the keys pinned in the user's own account, and remembers used intents in the user's own journal
//! (P4). Refuses to run as root (P10). Serves the socket that it was given, or in development the
//! one on its command line.
#![allow(missing_docs, reason = "internal to Countersign: a doc says what the name cannot")]
#![cfg_attr(test, allow(clippy::as_conversions, reason = "of small numbers that a test has chosen"))]

mod account;
mod call;
mod decisions;
mod direct;
mod dispatch;
mod downloads;
mod drives;
mod files;
#[cfg(fuzzing)]
pub mod fuzzing;
mod idle;
mod jobs;
mod keys;
mod licences;
mod links;
mod listener;
pub mod relay;
mod repair;
mod resource;
mod search;
mod server_link;
mod sessions;
mod ssh_keys;
mod state;
mod tasks;
mod terminal;
mod umask;
mod uploads;
mod verifier;
mod web;
mod websocket;

use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use countersign_keys::core_token::CoreTokens;
use countersign_keys::policy::{Policy, StepUp};
use tokio::signal::unix::{SignalKind, signal};

use crate::account::{AccountFailure, OwnAccount};
use crate::direct::DirectCalls;
use crate::drives::ids::DriveNumbers;
use crate::drives::table::{Drives, DrivesError};
use crate::drives::user_made::DriveMaker;
use crate::files::Files;
use crate::files::protected::Protection;
use crate::idle::IdleTimer;
use crate::jobs::Jobs;
use crate::keys::pinned::PinnedKeys;
use crate::licences::Licences;
use crate::links::Links;
use crate::search::Searches;
use crate::server_link::{InheritedLine, ServerLink, ServerLinkFailure};
use crate::sessions::Sessions;
use crate::ssh_keys::SshKeys;
use crate::state::Instance;
use crate::terminal::Shells;
use crate::uploads::websocket::Uploads;
use crate::verifier::Verifier;
use crate::web::WebSessions;
use crate::websocket::Sockets;
use countersign_audit::DecisionLog;
use countersign_config::{Config, ConfigError, Drive, Launch, UNFINISHED};
use countersign_home::accounts::own_groups;
use countersign_ipc::tcp_proof::ListenerKey;
use countersign_os::clock::Clock;
use countersign_os::daemon::Daemon;
use countersign_os::descriptors::{self, DescriptorFailure, Listener};
use countersign_replay::{Journal, JournalFailure};

/// Intents remembered at once: far more than one user's browsers can sign in a minute, and at most
/// 4 MiB.
const INTENTS_MAX: usize = 65_536;

#[derive(Clone, Debug)]
pub struct InstanceArguments {
    pub config: PathBuf,
    /// The home directory, if it is not the account's own (development).
    pub home: Option<PathBuf>,
    /// The address to listen on if no socket is passed (development).
    pub listen: Option<SocketAddr>,
}

#[derive(Debug, thiserror::Error)]
pub enum InstanceFailure {
    #[error(transparent)]
    Account(#[from] AccountFailure),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Clock(#[from] countersign_os::clock::UnreadableClock),
    #[error(transparent)]
    Journal(#[from] JournalFailure),
    #[error("standard input is not a listening socket from the server (in development, use --listen)")]
    Socket(#[from] DescriptorFailure),
    #[error("{what} {path}")]
    File { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Line(#[from] ServerLinkFailure),
    #[error(transparent)]
    Drives(#[from] DrivesError),
    #[error("cannot start the runtime: {0}")]
    Runtime(std::io::Error),
}

/// Runs an instance until the server stops it, it has been idle, or the server is gone.
pub fn run(_begun: Daemon, arguments: &InstanceArguments) -> Result<(), InstanceFailure> {
    let account = OwnAccount::of_this_process(arguments.home.as_deref())?;
    let config = Config::load_for_instance(&arguments.config)?;
    let line = match config.instances.launch {
        Launch::Static(_) => None,
        Launch::Sudo => Some(ServerLink::inherited()?),
    };
    OwnAccount::check_may_have_instance(&config)?;
    account.check_home()?;
    account.take_on_umask();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(InstanceFailure::Runtime)?;
    let _context = runtime.enter();
    let listener = listener(arguments)?;
    let instance = instance(&account, &config)?;
    runtime.block_on(async {
        let mut line = line.map(InheritedLine::open).transpose().map_err(ServerLinkFailure::Server)?;
        let key = match (&listener, &mut line) {
            (Listener::Tcp(_), Some(line)) => Some(line.key().await.map_err(ServerLinkFailure::Server)?),
            (Listener::Unix(_), _) | (Listener::Tcp(_), None) => None,
        };
        serve(listener, key, line, instance, &config).await;
        Ok(())
    })
}

fn listener(arguments: &InstanceArguments) -> Result<Listener, InstanceFailure> {
    match arguments.listen {
        None => Ok(descriptors::take_listener(0)?),
        Some(address) => {
            let failure =
                |source| InstanceFailure::File { what: "listening on", path: address.to_string().into(), source };
            let listener = std::net::TcpListener::bind(address).map_err(failure)?;
            listener.set_nonblocking(true).map_err(failure)?;
            Ok(Listener::Tcp(listener))
        }
    }
}

fn instance(account: &OwnAccount, config: &Config) -> Result<Instance, InstanceFailure> {
    let terms = config.terms();
    let window = terms.window;
    // The server checks passkey assertions. An instance does not trust the server, so it requires
    // none.
    let policy = Policy { terms, step_up: StepUp::default() };
    let state = account.state_directory();
    account::make_private_directory(&state).map_err(|source| InstanceFailure::File {
        what: "making the directory",
        path: state.clone(),
        source,
    })?;
    let used = state.join(config.provider.id.as_str());
    account::make_private_directory(&used).map_err(|source| InstanceFailure::File {
        what: "making the directory",
        path: used.clone(),
        source,
    })?;
    Journal::take_over(&state, &used)?;
    let journal = Journal::open(&used, window, INTENTS_MAX, Clock::System.now()?)?;
    let verifier = Verifier::new(
        CoreTokens::new(config.core.public_key.clone()),
        PinnedKeys::of(account, &config.provider.id, Clock::System),
        journal,
        policy,
        Arc::clone(&config.served().calls),
    );
    let drives = Drive::all_of(&config.served().drives, account.home(), &own_groups(&config.served().drives));
    let numbers = Arc::new(DriveNumbers::of(account, config, drives.clone()));
    let protection = Protection::of(account.home(), config.served().ssh.directory);
    let drives = Drives::new(drives)?.with_protection(protection);
    let drives = drives.with_numbers(Arc::clone(&numbers)).with_notes_in(state.join(UNFINISHED));
    let drives = drives.with_home(account.home());
    let log = std::io::stderr().as_fd().try_clone_to_owned().map_err(|source| InstanceFailure::File {
        what: "writing to",
        path: "standard error".into(),
        source,
    })?;
    let ssh_keys = SshKeys::of(account, config.served().ssh.keys);
    let sessions = Sessions::of(account, config);
    let files = Files::new(drives).reporting_to(config.ipc.socket());
    let jobs = Jobs::of(account, config, &files);
    let direct = DirectCalls::of(account, config, files.drives(), &jobs);
    let sockets = Sockets::of(
        Shells::of(account.login(), config.provider.id.as_str()),
        Uploads::to(Arc::clone(files.drives())),
        Searches::of(Arc::clone(files.drives())),
    );
    let drive_maker = DriveMaker::of(&files, config);
    let (licences, links) = (Licences::of(config), Links::of(config));
    let web = WebSessions::at(config.gateway.web.clone());
    let (home, log) = (account.home().to_owned(), DecisionLog::to(log.into()));
    Ok(Instance {
        verifier,
        files,
        drive_maker,
        direct,
        jobs,
        licences,
        links,
        ssh_keys,
        sessions,
        sockets,
        web,
        home,
        log,
    })
}

async fn serve(
    listener: Listener,
    key: Option<ListenerKey>,
    line: Option<ServerLink>,
    instance: Instance,
    config: &Config,
) {
    // An operator who sends SIGHUP to every countersign process means the server.
    let _ignored_from_here_on = signal(SignalKind::hangup());
    let idle_timer = Arc::new(IdleTimer::new());
    let instance = Arc::new(instance);
    let cleaning = Arc::clone(&instance);
    tokio::spawn(async move { cleaning.begin().await });
    let mut serving = pin!(listener::accept(listener, key, Arc::clone(&instance), Arc::clone(&idle_timer)));
    let is_busy = || instance.under_way() > 0 || instance.open_sessions() > 0;
    let idle = idle_timer.idle_for(config.served().idle_stop, is_busy);
    let stop = async {
        match line {
            None => std::future::pending().await,
            Some(line) => line.until_stopped(is_busy, idle).await,
        }
    };
    let reason = tokio::select! {
        () = &mut serving => "the listening socket failed",
        () = stop => {
            instance.sockets.stop();
            // The gateway sends no new request. One that it had connected for is still served.
            tokio::select! {
                () = &mut serving => {}
                () = idle_timer.close() => {}
            }
            "stopped by the server, or the server is gone"
        }
        () = terminated() => "terminated",
    };
    tracing::info!(reason, "stopping");
    instance.sockets.stop();
    idle_timer.finish(|| instance.under_way() > 0).await;
}

async fn terminated() {
    match signal(SignalKind::terminate()) {
        Ok(mut signals) => {
            signals.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}
