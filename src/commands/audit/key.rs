//! `countersign audit key`: prints the logs' public keys. An auditor keeps them where no account
//! that can change the logs can change them.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::logs;
use crate::arguments::AuditKey;
use crate::commands::error::CommandError;
use crate::commands::terminal::{show, show_json};
use countersign_os::quoted::escaped;

pub(in crate::commands) fn print(arguments: AuditKey, config: &Path) -> Result<(), CommandError> {
    let mut keys = Vec::new();
    for log in logs(arguments.directory, config)? {
        let path = log.layout.public_key();
        let key = fs::read_to_string(&path).map_err(|source| CommandError::File { path, source })?;
        keys.push((log.name, key.trim_end().to_owned()));
    }
    if arguments.output.json {
        let keys: Vec<_> = keys.iter().map(|(log, key)| json!({ "log": log, "key": key })).collect();
        return show_json(&keys);
    }
    keys.iter().try_for_each(|(_, key)| show(&escaped(key)))
}
