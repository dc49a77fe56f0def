//! What was decided, one structured line a decision: who asked for what, and why it was let through or not.
//!
//! A request is forwarded only after its line is written (P8): a log that cannot be written refuses everything. The line has the exact reason, which
//! the sender never learns; the request id joins the two.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use countersign_keys::identity::{CallName, KeyId, Username};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What became of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It goes on: from the gateway to an instance or the server, in an instance to the work.
    Forward,
    /// The sender was wrong.
    Refuse,
    /// The request was right and could not be served: no instance is up.
    NoInstance,
    /// We broke; nothing was forwarded.
    Fail,
    /// An intent was taken in, to wait for its request.
    Deposit,
}

/// Which process decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Process {
    /// The L7 ingress.
    Gateway,
    /// IM/Server.
    Server,
    /// IM/User.
    User,
}

/// One decision.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Decision<'d> {
    /// When.
    #[serde(serialize_with = "rfc3339")]
    pub(crate) time: OffsetDateTime,
    /// Which request; the sender has it too.
    pub(crate) request_id: &'d str,
    /// Who decided.
    pub(crate) process: Process,
    /// For whom, once it is known.
    pub(crate) username: Option<&'d Username>,
    /// What, once it is known: a user call's name, or the path of any other.
    pub(crate) call: Option<&'d CallName>,
    /// By which key, once its signature has been checked.
    pub(crate) kid: Option<KeyId>,
    /// What became of it.
    pub(crate) decision: Verdict,
    /// What the sender was answered, if anything.
    pub(crate) status: Option<u16>,
    /// Why, exactly.
    pub(crate) reason: Option<&'d str>,
}

fn rfc3339<S: serde::Serializer>(time: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.format(&Rfc3339).unwrap_or_default())
}

/// The log's file, appended to line by line.
#[derive(Debug)]
pub(crate) struct DecisionLog {
    file: Mutex<File>,
}

impl DecisionLog {
    /// Opens the file, or makes it, readable by its owner alone.
    ///
    /// # Errors
    /// If it cannot be opened for appending.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        Ok(Self::to(file))
    }

    /// Writes to a file that is open already, such as standard error.
    pub(crate) const fn to(file: File) -> Self {
        Self { file: Mutex::new(file) }
    }

    /// Writes one line, whole or not at all.
    ///
    /// # Errors
    /// If it could not be written: then nothing may be forwarded.
    pub(crate) fn append(&self, decision: &Decision<'_>) -> io::Result<()> {
        let mut line = serde_json::to_vec(decision)?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = file.write(&line)?;
        if written == line.len() {
            return Ok(());
        }
        // Half a line would swallow the next one.
        let whole = file.metadata()?.len().saturating_sub(u64::try_from(written).unwrap_or(0));
        let _ = file.set_len(whole);
        Err(io::ErrorKind::WriteZero.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_decision_is_one_line_whatever_is_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("decisions.jsonl");
        let log = DecisionLog::open(&path).unwrap();
        let username = Username::parse("a\"b}#1").unwrap();
        let decision = Decision {
            time: OffsetDateTime::UNIX_EPOCH,
            request_id: "r1",
            process: Process::Gateway,
            username: Some(&username),
            call: None,
            kid: Some(KeyId::from_bytes([0; 16])),
            decision: Verdict::Refuse,
            status: Some(482),
            reason: Some("two\nlines"),
        };
        log.append(&decision).unwrap();
        DecisionLog::open(&path).unwrap().append(&decision).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(line["time"], "1970-01-01T00:00:00Z");
        assert_eq!(line["username"], "a\"b}#1");
        assert_eq!(line["decision"], "refuse");
        assert_eq!(line["reason"], "two\nlines");
    }

    #[test]
    fn a_log_that_cannot_be_written_says_so() {
        let Ok(full) = File::options().append(true).open("/dev/full") else { return };
        let log = DecisionLog { file: Mutex::new(full) };
        let decision = Decision {
            time: OffsetDateTime::UNIX_EPOCH,
            request_id: "r1",
            process: Process::User,
            username: None,
            call: None,
            kid: None,
            decision: Verdict::Forward,
            status: None,
            reason: None,
        };
        assert!(log.append(&decision).is_err());
    }
}
