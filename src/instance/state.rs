//! What one user's instance consists of.

use std::path::PathBuf;

use crate::direct::DirectCalls;
use crate::files::Files;
use crate::made_drives::DriveMaker;
use crate::sessions::Sessions;
use crate::ssh_keys::SshKeys;
use crate::verifier::Verifier;
use crate::websocket::purposes::Sockets;
use countersign_audit::DecisionLog;

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
