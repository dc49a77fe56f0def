//! How each of the three processes begins and ends: never as root, with its log, and with an exit code that says why.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::unistd::{geteuid, getuid};

use crate::exit::Exit;
use crate::gateway::{self, GatewayArguments, GatewayFailure};
use crate::log::{self, Chain};
use crate::server::{self, ServerFailure};
use crate::user::{self, UserArguments, UserFailure};

/// `countersign server`
pub(crate) fn server(config: &Path) -> ExitCode {
    if let Some(refused) = refuse_root("server", "start it as the account that owns the state directory") {
        return refused;
    }
    log::start();
    finish("server", server::run(config), |failure| matches!(failure, ServerFailure::Config(_)))
}

/// `countersign gateway`
pub(crate) fn gateway(config: PathBuf, listeners: Vec<i32>) -> ExitCode {
    if let Some(refused) = refuse_root("gateway", "the server starts it, as its own account") {
        return refused;
    }
    log::start();
    if listeners.is_empty() {
        tracing::error!(
            "countersign gateway is started by the server, which names the listening sockets with --listen-fd"
        );
        return Exit::Usage.into();
    }
    let outcome = gateway::run(&GatewayArguments { config, listeners });
    finish("gateway", outcome, |failure| matches!(failure, GatewayFailure::Config(_)))
}

fn finish<E: std::error::Error>(process: &str, outcome: Result<(), E>, is_config: impl Fn(&E) -> bool) -> ExitCode {
    match outcome {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            tracing::error!("the {process} cannot run: {}", Chain(&failure));
            if is_config(&failure) { Exit::Config.into() } else { Exit::Failure.into() }
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
    finish("instance", outcome, |failure| matches!(failure, UserFailure::Config(_)))
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
