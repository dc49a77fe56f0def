//! Start and end of the three daemons: closed, never as root, with a log, and with an exit code
//! that names the reason.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use countersign_keys::store::sealed_store::UnsealedStore;

use countersign_gateway::{self as gateway, GatewayArguments, GatewayFailure, Sockets};
use countersign_instance::relay::{self, RelayFailure};
use countersign_instance::{self as instance, InstanceArguments, InstanceFailure};
use countersign_os::daemon::{BeginFailure, Daemon, DaemonKind, Untraceable};
use countersign_os::exit_code::Exit;
use countersign_os::log::{self, Chain};
use countersign_os::service_manager::ServiceManager;
use countersign_server::{self as server, ServerFailure};

/// How long a server that cannot run waits before it exits. Service managers rightly restart a
/// killed server at once. An obstacle such as a used port may pass, but not ten times a second.
const BEFORE_ANOTHER_TRY: Duration = Duration::from_secs(1);

/// `countersign server`
pub(crate) fn server(closed: &Untraceable, config: &Path) -> ExitCode {
    let daemon = match begin(closed, DaemonKind::Server) {
        Ok(daemon) => daemon,
        Err(exit) => return exit,
    };
    finish("server", server::run(daemon, config), |failure| {
        if matches!(failure, ServerFailure::Config(_) | ServerFailure::Program(_)) {
            return Exit::Config; // no restart until an operator has corrected it
        }
        if matches!(failure, ServerFailure::Unsealed(UnsealedStore::Disagrees { .. })) {
            return Exit::Store; // the same
        }
        if ServiceManager::named().is_some() {
            thread::sleep(BEFORE_ANOTHER_TRY);
        }
        Exit::Failure
    })
}

/// `countersign gateway`
pub(crate) fn gateway(closed: &Untraceable, config: PathBuf, listeners: Vec<i32>, attach: bool) -> ExitCode {
    let daemon = match begin(closed, DaemonKind::Gateway(&listeners)) {
        Ok(daemon) => daemon,
        Err(exit) => return exit,
    };
    if listeners.is_empty() && !attach {
        tracing::error!(
            "countersign gateway needs --listen-fd or --attach: the server or the service manager starts it"
        );
        return Exit::Usage.into();
    }
    let sockets = if attach { Sockets::AtTheServer } else { Sockets::Inherited(listeners) };
    let outcome = gateway::run(daemon, &GatewayArguments { config, sockets });
    finish("gateway", outcome, |failure| {
        if matches!(failure, GatewayFailure::Config(_) | GatewayFailure::Unwanted) {
            Exit::Config
        } else {
            Exit::Failure
        }
    })
}

/// `countersign user`
pub(crate) fn user(
    closed: &Untraceable,
    config: PathBuf,
    home: Option<PathBuf>,
    listen: Option<SocketAddr>,
) -> ExitCode {
    let daemon = match begin(closed, DaemonKind::Instance) {
        Ok(daemon) => daemon,
        Err(exit) => return exit,
    };
    let outcome = instance::run(daemon, &InstanceArguments { config, home, listen });
    finish("instance", outcome, |failure| {
        if matches!(failure, InstanceFailure::Config(_)) {
            Exit::Config
        } else if matches!(failure, InstanceFailure::Account(_)) {
            Exit::Refused // the server reads this code, and launches no other for a while
        } else {
            Exit::Failure
        }
    })
}

/// `countersign relay`
pub(crate) fn relay(ports: &[u16]) -> ExitCode {
    match relay::run(ports) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            log::start(); // on standard error, which the instance reads
            tracing::error!("the relay cannot run: {}", Chain(&failure));
            if matches!(failure, RelayFailure::Root) { Exit::Refused.into() } else { Exit::Failure.into() }
        }
    }
}

/// Starts a daemon and its log.
fn begin(closed: &Untraceable, kind: DaemonKind<'_>) -> Result<Daemon, ExitCode> {
    let begun = Daemon::begin(closed, kind);
    log::start();
    begun.map_err(|failure| cannot_begin(&failure))
}

/// Logs why a process does not start.
pub(crate) fn cannot_begin(failure: &BeginFailure) -> ExitCode {
    log::start();
    tracing::error!("{}", Chain(failure));
    match failure {
        BeginFailure::Root { .. } => Exit::Refused.into(),
        BeginFailure::Step { .. } => Exit::Failure.into(),
    }
}

fn finish<E: std::error::Error>(process: &str, outcome: Result<(), E>, exit: impl Fn(&E) -> Exit) -> ExitCode {
    match outcome {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            tracing::error!("the {process} cannot run: {}", Chain(&failure));
            exit(&failure).into()
        }
    }
}
