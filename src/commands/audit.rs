//! `countersign audit`: verifies and shows the decision logs.
//!
//! Reads only, and does not ask the server: a copy of the directory on another machine is
//! sufficient.

mod key;
mod prove;
mod show;
mod verify;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use countersign_keys::identity::Uid;
use nix::unistd::geteuid;
use serde_json::{Value, json};

pub(super) use self::key::print as key;
pub(super) use self::prove::print as prove;
pub(super) use self::show::print as show;
pub(super) use self::verify::print as verify;
use crate::commands::account::{Account, TargetAccount};
use crate::commands::error::CommandError;
use countersign_audit::LogLayout;
use countersign_config::Config;

/// A log, and its directory's name.
#[derive(Debug)]
struct Log {
    name: String,
    layout: LogLayout,
}

/// The logs to read: the one in that directory, all in its subdirectories, or the configured ones.
fn logs(directory: Option<PathBuf>, config: &Path) -> Result<Vec<Log>, CommandError> {
    let directory = match directory {
        Some(directory) => std::path::absolute(&directory).unwrap_or(directory),
        None => Config::load_for_command(config)?.state.audit(),
    };
    become_owner(&directory)?;
    let unreadable = |source| CommandError::File { path: directory.clone(), source };
    let log = |path: PathBuf| {
        let layout = LogLayout::new(path);
        let name = layout.directory().file_name().unwrap_or_default().to_string_lossy().into_owned();
        layout.entries().is_dir().then_some(Log { name, layout })
    };
    if let Some(log) = log(directory.clone()) {
        return Ok(vec![log]);
    }
    let mut below = Vec::new();
    for entry in fs::read_dir(&directory).map_err(unreadable)? {
        below.push(entry.map_err(unreadable)?.path());
    }
    below.sort();
    let logs: Vec<Log> = below.into_iter().filter_map(log).collect();
    if logs.is_empty() { Err(CommandError::NoLog { path: directory }) } else { Ok(logs) }
}

/// Parses a record. A line that is not one becomes the reason of an empty record.
fn record_of(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap_or_else(|_| json!({ "reason": String::from_utf8_lossy(line) }))
}

/// Becomes the owner of the directory. Root reads nothing as root (P10), except its own files.
fn become_owner(directory: &Path) -> Result<(), CommandError> {
    let metadata =
        fs::metadata(directory).map_err(|source| CommandError::File { path: directory.to_owned(), source })?;
    if geteuid().is_root() && metadata.uid() != 0 {
        Account::acting(TargetAccount::Uid(Uid(metadata.uid())))?;
    }
    Ok(())
}
