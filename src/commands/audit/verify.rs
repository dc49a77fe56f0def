//! `countersign audit verify`: checks a log against its signatures, or a proof of one record.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Log, logs, record_of};
use crate::arguments::AuditVerify;
use crate::commands::error::CommandError;
use crate::commands::terminal::{show, show_json};
use countersign_audit::note::VerifierKey;
use countersign_audit::proof::{self, Proven};
use countersign_audit::verify::{self, Finding, Report, Trust};
use countersign_audit::witness_format;
use countersign_os::quoted::{escaped, word};

/// The source of the key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Source {
    /// The person who checks.
    Given,
    /// The log itself. That shows only that one key signed everything, not whose.
    Log,
}

pub(in crate::commands) fn print(arguments: AuditVerify, config: &Path) -> Result<(), CommandError> {
    // Read before root is given up, which changes the working directory.
    let kept = arguments.against.iter().map(|path| Ok((path.clone(), read(path)?)));
    let kept = kept.collect::<Result<Vec<_>, CommandError>>()?;
    let keys = arguments.keys.iter().map(|text| VerifierKey::parse(text).map_err(CommandError::AuditKey));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    if let Some(file) = arguments.directory.as_deref().filter(|path| path.is_file()) {
        return check_proof(file, &keys, arguments.output.json);
    }
    let mut checked = Vec::new();
    for log in logs(arguments.directory, config)? {
        let (key, source) = key_of(&log, &keys)?;
        let begun = Instant::now();
        let report = check(&log, key.clone(), &kept)?;
        checked.push(Checked { log, key, source, report, took: begun.elapsed() });
    }
    if arguments.output.json {
        show_json(&checked.iter().map(Checked::to_json).collect::<Vec<_>>())?;
    } else {
        checked.iter().try_for_each(Checked::show)?;
    }
    if checked.iter().all(|checked| checked.report.findings.is_empty()) { Ok(()) } else { Err(CommandError::Tampered) }
}

/// Checks the proof of a record. The key must be given, because there is no log to read it from.
fn check_proof(file: &Path, keys: &[VerifierKey], json: bool) -> Result<(), CommandError> {
    let text = read(file)?;
    let origin = text.split_once("\n\n").and_then(|(_, note)| note.lines().next()).unwrap_or_default();
    let key = keys.iter().find(|key| key.name() == origin);
    let key = key.ok_or_else(|| CommandError::NoAuditKey { origin: word(origin) })?;
    let Proven { index, record, checkpoint } = proof::check(&text, key).map_err(CommandError::Proof)?;
    if json {
        let record = record_of(&record);
        return show_json(
            &json!({ "origin": key.name(), "index": index, "record": record, "size": checkpoint.size, "good": true }),
        );
    }
    show(&escaped(&String::from_utf8_lossy(&record)))?;
    show(&format!("GOOD: this is record {index} of {}, as signed with {checkpoint}.", word(key.name())))
}

fn read(path: &Path) -> Result<String, CommandError> {
    fs::read_to_string(path).map_err(|source| CommandError::File { path: path.to_owned(), source })
}

/// The given key for this log, or the log's own if none is given.
fn key_of(log: &Log, given: &[VerifierKey]) -> Result<(VerifierKey, Source), CommandError> {
    let own = log.layout.public_key();
    if given.is_empty() {
        return Ok((VerifierKey::parse(&read(&own)?).map_err(CommandError::AuditKey)?, Source::Log));
    }
    let checkpoint = read(&log.layout.checkpoint())?;
    let origin = checkpoint.lines().next().unwrap_or_default();
    match given {
        [only] => Ok((only.clone(), Source::Given)),
        several => {
            let key = several.iter().find(|key| key.name() == origin);
            Ok((key.ok_or_else(|| CommandError::NoAuditKey { origin: origin.to_owned() })?.clone(), Source::Given))
        }
    }
}

fn check(log: &Log, key: VerifierKey, copies: &[(PathBuf, String)]) -> Result<Report, CommandError> {
    let (mut remembered, mut bad) = (Vec::new(), Vec::new());
    for (file, text) in copies {
        let of_this_log =
            witness_format::notes(text).into_iter().filter(|note| note.lines().next() == Some(key.name()));
        for note in of_this_log {
            match verify::Checkpoint::open(&note, &key) {
                Ok(checkpoint) => remembered.push(checkpoint),
                Err(why) => bad.push(Finding::Checkpoint { file: file.clone(), why }),
            }
        }
    }
    let unreadable = |source| CommandError::File { path: log.layout.directory().to_owned(), source };
    let mut report = verify::verify(&log.layout, &Trust { key, remembered }).map_err(unreadable)?;
    report.findings.append(&mut bad);
    Ok(report)
}

/// A log, and the result of its verification.
struct Checked {
    log: Log,
    key: VerifierKey,
    source: Source,
    report: Report,
    took: Duration,
}

impl Checked {
    fn show(&self) -> Result<(), CommandError> {
        let Report { first, records, checkpoint, unsigned, is_torn, agreeing, too_old, findings, .. } = &self.report;
        show(&format!("{}  {}", word(&self.log.name), word(self.key.name())))?;
        let say = |what: &str, says: String| show(&format!("  {what:<12}{says}"));
        say("records", format!("{records}, in {:.2} s", self.took.as_secs_f64()))?;
        if *first > 0 {
            say("deleted", format!("records 0 to {} are no longer here", first.saturating_sub(1)))?;
        }
        match checkpoint {
            Some(checkpoint) => say("checkpoint", checkpoint.to_string())?,
            None => say("checkpoint", "none that is valid".to_owned())?,
        }
        if *unsigned > 0 || *is_torn {
            let torn = if *is_torn { ", and one that is incomplete" } else { "" };
            say("not signed", format!("{unsigned}{torn}: not verified"))?;
        }
        if agreeing + too_old > 0 {
            let old = if *too_old > 0 { format!("; {too_old} are of deleted records") } else { String::new() };
            say("kept", format!("{agreeing} checkpoints kept elsewhere agree{old}"))?;
        }
        say("key", escaped(&self.key.to_string()))?;
        if self.source == Source::Log {
            say("", "(from the log itself: pass --key to be sure whose it is)".to_owned())?;
        }
        if findings.is_empty() {
            let not_known = if *agreeing == 0 {
                " Only a checkpoint kept elsewhere (--against) can show whether it was rolled back, or rewritten with its own key."
            } else {
                ""
            };
            return show(&format!(
                "  GOOD: every record that the checkpoint covers is the one that was logged.{not_known}"
            ));
        }
        findings.iter().try_for_each(|finding| show(&format!("  BAD: {}", escaped(&finding.to_string()))))
    }

    fn to_json(&self) -> Value {
        let Report { first, records, bytes, checkpoint, unsigned, is_torn, agreeing, too_old, findings } = &self.report;
        json!({
            "log": self.log.name,
            "origin": self.key.name(),
            "key": self.key.to_string(),
            "keyGiven": self.source == Source::Given,
            "first": first,
            "records": records,
            "bytes": bytes,
            "seconds": self.took.as_secs_f64(),
            "checkpoint": checkpoint.map(|checkpoint| json!({ "size": checkpoint.size, "root": checkpoint.root.to_string() })),
            "unsigned": unsigned,
            "torn": is_torn,
            "agreeing": agreeing,
            "tooOld": too_old,
            "good": findings.is_empty(),
            "findings": findings.iter().map(finding_to_json).collect::<Vec<_>>(),
        })
    }
}

fn finding_to_json(finding: &Finding) -> Value {
    let record = match finding {
        Finding::Record { index, .. } | Finding::Line { index, .. } => Some(*index),
        Finding::Missing { from, .. } | Finding::Records { from, .. } | Finding::File { from, .. } => Some(*from),
        Finding::Beginning { .. } => Some(0),
        Finding::Checkpoint { .. }
        | Finding::RolledBack { .. }
        | Finding::Rewritten { .. }
        | Finding::Tile { .. }
        | Finding::List => None,
    };
    json!({ "record": record, "says": finding.to_string() })
}
