//! What one user's instance consists of.

use std::path::PathBuf;

use crate::audit::DecisionLog;
use crate::instance::direct::DirectCalls;
use crate::instance::files::Files;
use crate::instance::made_drives::DriveMaker;
use crate::instance::sessions::Sessions;
use crate::instance::ssh_keys::SshKeys;
use crate::instance::verifier::Verifier;
use crate::instance::websocket::purposes::Sockets;

/// One user's instance: who judges, who works, and where it is written down.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(super) verifier: Verifier,
    pub(super) files: Files,
    /// Whoever makes drives, where users may.
    pub(super) drive_maker: Option<DriveMaker>,
    pub(super) direct: DirectCalls,
    pub(super) ssh_keys: SshKeys,
    pub(super) sessions: Sessions,
    pub(super) sockets: Sockets,
    /// The home directory, for what the user is told of it.
    pub(super) home: PathBuf,
    pub(super) log: DecisionLog,
}
