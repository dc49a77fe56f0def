//! A reload: on `SIGHUP` the server takes up what [`RELOADED`] lists, and tells the gateway and the
//! instances.
//!
//! The gateway judges by the new rules once it has acknowledged them. Instances read the file
//! themselves, which only root may write (P3), so each is replaced: at once if no session is open
//! in it and no work under way, else when that has ended. Until then it keeps its old values. A
//! request then has to satisfy both.
//!
//! [`RELOADED`]: countersign_config::reload::RELOADED

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::state::{Server, log_failure};
use countersign_config::reload::Reloaded;
use countersign_config::{GatewayRules, Role};
use countersign_ipc::gateway_protocol::{Ended, LINE_MAX};

/// How often the file is compared with what is in force.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Keys by which no instance acts.
const NOT_OF_INSTANCES: [&str; 2] = ["connection", "maintenance"];

/// Room in a line of the control channel for what is around the rules.
const FRAME: usize = 256;

/// Reloads on each `SIGHUP`, until the server ends. Warns of a file that was edited and not
/// reloaded: the next instance reads it.
pub(crate) async fn run(server: Arc<Server>) {
    let Ok(mut hang_up) = signal(SignalKind::hangup()) else { return };
    let mut was_edited = false;
    loop {
        tokio::select! {
            signalled = hang_up.recv() => match signalled {
                Some(()) => reload(&server).await,
                None => return,
            },
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let is_edited = server.config.is_edited(Role::Server).unwrap_or(true);
        if is_edited && !was_edited {
            tracing::warn!(
                file = %server.config.file.display(),
                "the configuration file was edited and is not in force, but new instances read it: reload or restart"
            );
        }
        was_edited = is_edited;
    }
}

/// Takes up the file and the certificate. Neither is taken up if it cannot be used.
pub(crate) async fn reload(server: &Server) {
    match server.config.reload(Role::Server) {
        Ok(reloaded) => take_up(server, &reloaded).await,
        Err(failure) => return log_failure("the configuration cannot be used; what was in force stays", &failure),
    }
    let Some(tls) = &server.config.gateway.tls else { return };
    match tls.load_for_handing_over() {
        Ok(files) => server.invalidations.tell(Ended::Certificate { files }).await,
        Err(failure) => log_failure("rejected new certificate, kept the old one", &failure),
    }
}

async fn take_up(server: &Server, Reloaded { taken_up, needs_restart }: &Reloaded) {
    tracing::info!(taken_up = list(taken_up), "reloaded configuration");
    if !needs_restart.is_empty() {
        tracing::warn!(
            keys = list(needs_restart),
            "these keys were edited too and need a restart: server and gateway keep the old values"
        );
    }
    if let Some(rules) = rules(server) {
        server.invalidations.tell(rules).await;
    }
    if taken_up.iter().any(|key| !NOT_OF_INSTANCES.iter().any(|name| key.starts_with(name))) {
        server.instances.renew_all();
    }
    if !taken_up.is_empty() {
        server.reloads.send_modify(|count| *count = count.wrapping_add(1));
        server.changed();
    }
}

/// The message that gives the gateway the rules in force. Logs why if there is none.
pub(crate) fn rules(server: &Server) -> Option<Ended> {
    let rules = GatewayRules::of(&server.config.served());
    let length = serde_json::to_vec(&rules).map_or(usize::MAX, |written| written.len());
    if length > LINE_MAX - FRAME {
        tracing::error!(
            length,
            "[[calls]] and maintenance.allow are too long for a reload: the gateway keeps the old values until a restart"
        );
        return None;
    }
    Some(Ended::Rules { rules: Box::new(rules) })
}

fn list(keys: &BTreeSet<String>) -> String {
    if keys.is_empty() { "nothing".to_owned() } else { Vec::from_iter(keys.iter().map(String::as_str)).join(", ") }
}
