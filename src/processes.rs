//! How each of the three processes begins and ends: never as root, with its log, and with an exit code that says why.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use nix::unistd::{geteuid, getuid};

use crate::exit::Exit;
use crate::gateway::{self, GatewayArguments, GatewayFailure, Sockets};
use crate::log::{self, Chain};
use crate::server::{self, ServerFailure};
use crate::service_manager::ServiceManager;
use crate::user::{self, UserArguments, UserFailure};

/// How long a server that cannot run stays before it ends. Service managers start one that was killed again at once, as they should; what
/// keeps one from running (a port that is taken, say) may pass, but not ten times a second.
const BEFORE_ANOTHER_TRY: Duration = Duration::from_secs(1);

/// `countersign server`
pub(crate) fn server(config: &Path) -> ExitCode {
    if let Some(refused) = refuse_root("server", "start it as the account that owns the state directory") {
        return refused;
    }
    log::start();
    finish("server", server::run(config), |failure| {
        if matches!(failure, ServerFailure::Config(_)) {
            return Exit::Config; // nobody starts it again until somebody has mended that
        }
        if ServiceManager::named().is_some() {
            thread::sleep(BEFORE_ANOTHER_TRY);
        }
        Exit::Failure
    })
}

/// `countersign gateway`
pub(crate) fn gateway(config: PathBuf, listeners: Vec<i32>, attach: bool) -> ExitCode {
    if let Some(refused) = refuse_root("gateway", "the server starts it, as its own account") {
        return refused;
    }
    log::start();
    if listeners.is_empty() && !attach {
        tracing::error!(
            "countersign gateway is started by the server, which names the listening sockets with --listen-fd, or with --attach"
        );
        return Exit::Usage.into();
    }
    let sockets = if attach { Sockets::AtTheServer } else { Sockets::Inherited(listeners) };
    let outcome = gateway::run(&GatewayArguments { config, sockets });
    finish("gateway", outcome, |failure| {
        if matches!(failure, GatewayFailure::Config(_) | GatewayFailure::Unwanted) {
            Exit::Config
        } else {
            Exit::Failure
        }
    })
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

/// `countersign user`
pub(crate) fn user(config: PathBuf, home: Option<PathBuf>, listen: Option<SocketAddr>) -> ExitCode {
    if let Some(refused) = refuse_root("user", "an instance runs as the user whom it serves") {
        return refused;
    }
    log::start();
    let outcome = user::run(&UserArguments { config, home, listen });
    finish("instance", outcome, |failure| {
        if matches!(failure, UserFailure::Config(_)) {
            Exit::Config
        } else if matches!(failure, UserFailure::Account(_)) {
            Exit::Refused // the server reads this one: it launches no other for a while
        } else {
            Exit::Failure
        }
    })
}

/// The exit code for root; `None` for everybody else.
fn refuse_root(mode: &'static str, advice: &'static str) -> Option<ExitCode> {
    let is_root = getuid().is_root() || geteuid().is_root();
    is_root.then(|| {
        log::start();
        tracing::error!("countersign {mode} does not run as root: {advice}");
        Exit::Refused.into()
    })
}
