//! The state that all requests of one user's instance share.

use std::path::PathBuf;

use crate::direct::DirectCalls;
use crate::files::Files;
use crate::made_drives::DriveMaker;
use crate::sessions::Sessions;
use crate::ssh_keys::SshKeys;
use crate::verifier::Verifier;
use crate::websocket::purposes::Sockets;
use countersign_audit::DecisionLog;

#[derive(Debug)]
pub(crate) struct Instance {
    pub(super) verifier: Verifier,
    pub(super) files: Files,
    /// Creates and deletes drives, if the site lets users do that.
    pub(super) drive_maker: Option<DriveMaker>,
    pub(super) direct: DirectCalls,
    pub(super) ssh_keys: SshKeys,
    pub(super) sessions: Sessions,
    pub(super) sockets: Sockets,
    /// The home directory, for messages to the user that name files in it.
    pub(super) home: PathBuf,
    pub(super) log: DecisionLog,
}
