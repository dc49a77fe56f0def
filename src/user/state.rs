//! What one user's instance consists of.

use std::path::PathBuf;

use crate::audit::DecisionLog;
use crate::user::files::Files;
use crate::user::judge::Judge;
use crate::user::made_drives::DriveMaker;
use crate::user::own::OwnCalls;
use crate::user::sessions::Sessions;
use crate::user::socket::purposes::Sockets;
use crate::user::ssh_keys::SshKeys;

/// One user's instance: who judges, who works, and where it is written down.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(super) judge: Judge,
    pub(super) files: Files,
    /// Whoever makes drives, where users may.
    pub(super) drive_maker: Option<DriveMaker>,
    pub(super) own: OwnCalls,
    pub(super) ssh_keys: SshKeys,
    pub(super) sessions: Sessions,
    pub(super) sockets: Sockets,
    /// The home directory, for what the user is told of it.
    pub(super) home: PathBuf,
    pub(super) log: DecisionLog,
}
