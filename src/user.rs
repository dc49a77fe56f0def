//! IM/User, the *instance*: runs as the end user, verifies every request again, then does the work.
//!
//! Trusts neither the gateway nor the server (P3). Verifies Core's token and the user's intent with
//! the keys pinned in the user's own account, and remembers used intents in the user's own journal
//! (P4). Refuses to run as root (P10). Serves the socket that it was given, or in development the
//! one on its command line.

mod account;
mod activity;
mod drive_numbers;
mod files;
#[cfg(fuzzing)]
pub mod fuzzing;
mod grants;
mod judge;
mod made_drives;
mod own;
mod pinned;
mod repair;
mod search;
mod server_line;
mod sessions;
mod shell;
mod signed;
mod socket;
mod ssh_keys;
mod state;
mod tasks;
mod transfer;
mod umask;
mod upload_v2;
mod work;

use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use countersign_keys::core_token::CoreTokens;
use countersign_keys::policy::{Policy, StepUp};
use tokio::signal::unix::{SignalKind, signal};

use crate::accounts::own_groups;
use crate::audit::DecisionLog;
use crate::clock::Clock;
use crate::config::{Config, ConfigError, Drive, Launch, UNFINISHED};
use crate::daemon::Daemon;
use crate::descriptors::{self, DescriptorFailure, Listener};
use crate::ipc::tcp_proof::ListenerKey;
use crate::journal::{Journal, JournalFailure};
use crate::user::account::{AccountFailure, OwnAccount};
use crate::user::activity::Activity;
use crate::user::drive_numbers::DriveNumbers;
use crate::user::files::Files;
use crate::user::files::drives::{Drives, DrivesError};
use crate::user::files::protected::Protection;
use crate::user::judge::Judge;
use crate::user::made_drives::DriveMaker;
use crate::user::own::OwnCalls;
use crate::user::pinned::PinnedKeys;
use crate::user::search::Searches;
use crate::user::server_line::{InheritedLine, ServerLine, ServerLineFailure};
use crate::user::sessions::Sessions;
use crate::user::shell::Shells;
use crate::user::socket::Sockets;
use crate::user::ssh_keys::SshKeys;
use crate::user::state::Instance;
use crate::user::upload_v2::Uploads;

/// Intents remembered at a time: far more than one user's browsers can sign in a minute, and at
/// most 4 MiB.
const INTENTS_MAX: usize = 65_536;

#[derive(Clone, Debug)]
pub(crate) struct UserArguments {
    pub(crate) config: PathBuf,
    /// The home directory, if it is not the account's own (development).
    pub(crate) home: Option<PathBuf>,
    /// Where to listen if no socket is passed (development).
    pub(crate) listen: Option<SocketAddr>,
}

/// Why an instance does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserFailure {
    #[error(transparent)]
    Account(#[from] AccountFailure),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Clock(#[from] crate::clock::UnreadableClock),
    #[error(transparent)]
    Journal(#[from] JournalFailure),
    /// Descriptor 0 is not a listening socket.
    #[error("standard input is not the listening socket that the server hands over (use --listen in development)")]
    Socket(#[from] DescriptorFailure),
    #[error("{what} {path}")]
    File {
        what: &'static str,
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Descriptor 1 is not a channel to the server.
    #[error(transparent)]
    Line(#[from] ServerLineFailure),
    #[error(transparent)]
    Drives(#[from] DrivesError),
    #[error("the runtime cannot start: {0}")]
    Runtime(std::io::Error),
}

/// Runs an instance until it is told to stop, has been idle, or the server is gone.
///
/// # Errors
/// Why it does not start.
pub(crate) fn run(_begun: Daemon, arguments: &UserArguments) -> Result<(), UserFailure> {
    let account = OwnAccount::of_this_process(arguments.home.as_deref())?;
    let config = Config::load_for_instance(&arguments.config)?;
    let line = match config.instances.launch {
        Launch::Static(_) => None,
        Launch::Sudo => Some(ServerLine::inherited()?),
    };
    OwnAccount::check_may_have_instance(&config.instances)?;
    account.check_home()?;
    account.take_on_umask();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(UserFailure::Runtime)?;
    let _context = runtime.enter();
    let listener = listener(arguments)?;
    let instance = instance(&account, &config)?;
    runtime.block_on(async {
        let mut line = line.map(InheritedLine::open).transpose().map_err(ServerLineFailure::Server)?;
        let key = match (&listener, &mut line) {
            (Listener::Tcp(_), Some(line)) => Some(line.key().await.map_err(ServerLineFailure::Server)?),
            (Listener::Unix(_), _) | (Listener::Tcp(_), None) => None,
        };
        serve(listener, key, line, instance, &config).await;
        Ok(())
    })
}

fn listener(arguments: &UserArguments) -> Result<Listener, UserFailure> {
    match arguments.listen {
        None => Ok(descriptors::take_listener(0)?),
        Some(address) => {
            let failure = |source| UserFailure::File { what: "listening on", path: address.to_string().into(), source };
            let listener = std::net::TcpListener::bind(address).map_err(failure)?;
            listener.set_nonblocking(true).map_err(failure)?;
            Ok(Listener::Tcp(listener))
        }
    }
}

fn instance(account: &OwnAccount, config: &Config) -> Result<Instance, UserFailure> {
    let terms = config.terms();
    let window = terms.window;
    // The server checks a passkey's assertion, and an instance does not trust the server: it
    // requires none.
    let policy = Policy { terms, step_up: StepUp::default() };
    let state = account.state_directory();
    account::make_private_directory(&state).map_err(|source| UserFailure::File {
        what: "making the directory",
        path: state.clone(),
        source,
    })?;
    let used = state.join(config.provider.id.as_str());
    account::make_private_directory(&used).map_err(|source| UserFailure::File {
        what: "making the directory",
        path: used.clone(),
        source,
    })?;
    Journal::take_over(&state, &used)?;
    let journal = Journal::open(&used, window, INTENTS_MAX, Clock::System.now()?)?;
    let judge = Judge::new(
        CoreTokens::new(config.core.public_key.clone()),
        PinnedKeys::of(account, &config.provider.id),
        journal,
        policy,
        Arc::clone(&config.calls),
    );
    let drives = Drive::all_of(&config.drives, account.home(), &own_groups(&config.drives));
    let numbers = Arc::new(DriveNumbers::of(account, config, drives.clone()));
    let protection = Protection::of(account.home(), config.ssh.directory);
    let drives = Drives::new(drives)?.with_protection(protection);
    let drives = drives.with_numbers(Arc::clone(&numbers)).with_notes_in(state.join(UNFINISHED));
    let drives = drives.with_home(account.home());
    let log = std::io::stderr().as_fd().try_clone_to_owned().map_err(|source| UserFailure::File {
        what: "writing to",
        path: "standard error".into(),
        source,
    })?;
    let ssh_keys = SshKeys::of(account, config.ssh.keys);
    let sessions = Sessions::of(account, config);
    let files = Files::new(drives).told_at(config.ipc.socket());
    let own = OwnCalls::of(account, config, files.drives());
    let sockets = Sockets::of(
        Shells::of(account.login(), config.provider.id.as_str()),
        Uploads::to(Arc::clone(files.drives())),
        Searches::of(Arc::clone(files.drives())),
    );
    let drive_maker = DriveMaker::of(&files, config);
    let (home, log) = (account.home().to_owned(), DecisionLog::to(log.into()));
    Ok(Instance { judge, files, drive_maker, own, ssh_keys, sessions, sockets, home, log })
}

async fn serve(
    listener: Listener,
    key: Option<ListenerKey>,
    line: Option<ServerLine>,
    instance: Instance,
    config: &Config,
) {
    // An operator who signals every countersign process means the server.
    let _ignored_from_here_on = signal(SignalKind::hangup());
    let activity = Arc::new(Activity::new());
    let instance = Arc::new(instance);
    let cleaning = Arc::clone(&instance);
    tokio::spawn(async move { cleaning.begin().await });
    let serving = work::accept(listener, key, Arc::clone(&instance), Arc::clone(&activity));
    let stop = async {
        match line {
            None => std::future::pending().await,
            Some(line) => line.until_told_to_stop().await,
        }
    };
    let is_busy = || instance.under_way() > 0 || instance.open_sessions() > 0;
    let idle = activity.idle_for(config.instances.idle_stop, is_busy);
    let reason = tokio::select! {
        () = serving => "the socket broke",
        () = stop => "the server said so, or is gone",
        () = idle, if config.instances.launch == Launch::Sudo => "nobody asked for anything",
        () = terminated() => "terminated",
    };
    tracing::info!(reason, "finishing");
    instance.sockets.stop();
    activity.finish(|| instance.under_way() > 0).await;
}

async fn terminated() {
    match signal(SignalKind::terminate()) {
        Ok(mut told) => {
            told.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}
