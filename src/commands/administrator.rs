//! Access for administrators: list, remove and revoke through the server, for other accounts.
//!
//! Root never does this as root (P10): it becomes the server's own account, which the server
//! accepts as an administrator.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use countersign_keys::identity::Uid;
use nix::unistd::geteuid;

use crate::commands::account::{Account, TargetAccount};
use crate::commands::error::CommandError;
use countersign_config::Config;

/// Reads the configuration. Root reads it as root, because it names the server's account, and then
/// becomes that account.
pub(super) fn load_config(path: &Path) -> Result<Config, CommandError> {
    let config = Config::load_for_command(path)?;
    if geteuid().is_root() {
        let directory = &config.ipc.directory;
        let metadata = std::fs::metadata(directory)
            .map_err(|source| CommandError::NoServer { directory: directory.clone(), source })?;
        let owner = Uid(metadata.uid());
        if owner == Uid(0) {
            return Err(CommandError::ServerIsRoot { directory: directory.clone() });
        }
        Account::acting(TargetAccount::Uid(owner))?;
    }
    Ok(config)
}
