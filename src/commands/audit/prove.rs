//! `countersign audit prove`: prints a proof that a record is in a log, which can be verified
//! without the log.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{Log, logs, record_of};
use crate::arguments::AuditProve;
use crate::commands::error::CommandError;
use crate::commands::terminal::{show, show_json};
use crate::commands::text::remark;
use countersign_audit::note::VerifierKey;
use countersign_audit::verify::Checkpoint;
use countersign_audit::{Leaf, Records, proof};
use countersign_os::quoted::{escaped, word};

pub(in crate::commands) fn print(arguments: AuditProve, config: &Path) -> Result<(), CommandError> {
    let wanted = arguments.record.as_str();
    let index: Option<u64> = wanted.parse().ok();
    let logs = logs(arguments.directory, config)?;
    if index.is_some() && logs.len() > 1 {
        return Err(CommandError::Incomplete("name one log: add its directory after the record's number"));
    }
    for log in logs {
        let Some((index, record)) = find(&log, wanted, index)? else { continue };
        let text = prove(&log, index, &record)?;
        if arguments.output.json {
            return show_json(&json!({ "log": log.name, "index": index, "record": record_of(&record), "proof": text }));
        }
        remark(&format!("record {index} of {}: {}", word(&log.name), escaped(&String::from_utf8_lossy(&record))));
        return show(text.trim_end());
    }
    Err(CommandError::NoRecord { wanted: wanted.to_owned() })
}

/// The record with that index, or the first with that request id.
fn find(log: &Log, wanted: &str, index: Option<u64>) -> Result<Option<(u64, Vec<u8>)>, CommandError> {
    let unreadable = |source| CommandError::File { path: log.layout.directory().to_owned(), source };
    let segments = log.layout.segments().map_err(unreadable)?;
    let list = log.layout.first_records().map_err(unreadable)?;
    let begins = |number: u64| list.iter().find(|(listed, _)| *listed == number).map(|(_, first)| *first);
    let oldest = segments.iter().find_map(|segment| Some((segment, begins(segment.number)?)));
    let in_it = index.and_then(|index| {
        let mut listed = segments.iter().filter_map(|segment| Some((segment, begins(segment.number)?)));
        listed.rfind(|(_, first)| *first <= index)
    });
    let Some((segment, mut at)) = (if index.is_some() { in_it } else { oldest }) else { return Ok(None) };
    let mut records = Records::from(log.layout.clone(), segment).map_err(unreadable)?;
    let mut leaf = Leaf::default();
    while records.next(&mut leaf).map_err(unreadable)? {
        let is_it = match index {
            Some(index) => index == at,
            None => record_of(leaf.record()).get("requestId").is_some_and(|id| id == wanted),
        };
        if is_it {
            return Ok(Some((at, leaf.record().to_vec())));
        }
        at = at.saturating_add(1);
    }
    Ok(None)
}

fn prove(log: &Log, index: u64, record: &[u8]) -> Result<String, CommandError> {
    let read =
        |path: &Path| fs::read_to_string(path).map_err(|source| CommandError::File { path: path.to_owned(), source });
    let key = VerifierKey::parse(&read(&log.layout.public_key())?).map_err(CommandError::AuditKey)?;
    let note = read(&log.layout.checkpoint())?;
    let checkpoint = Checkpoint::open(&note, &key).map_err(CommandError::Checkpoint)?;
    if index >= checkpoint.size {
        return Err(CommandError::NotSigned);
    }
    let directory = log.layout.directory();
    let path = proof::path(&log.layout, index, checkpoint.size)
        .map_err(|source| CommandError::File { path: directory.to_owned(), source })?;
    let text = proof::to_text(record, index, &path, &note);
    // Never print a proof that would be refused.
    proof::check(&text, &key).map_err(CommandError::Proof)?;
    Ok(text)
}
