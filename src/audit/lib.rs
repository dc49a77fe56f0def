//! The audit log: one record a decision, with its exact reason, protected against later change
//! (P9).
//!
//! A request is forwarded only after its record is written (P8), so a log that cannot be written
//! refuses everything. The request id joins the record to the response, which never has the reason.
//!
//! The deciding process writes a line ([`entries`]). The server builds a Merkle tree and signs its
//! root ([`signer`]); the gateway never has the key. Auditors check the result ([`verify`]) with
//! this program, or with another for tlog-tiles, tlog-checkpoint and signed-note (C2SP).
#![allow(missing_docs, reason = "internal to Countersign: a doc says what the name cannot")]
#![cfg_attr(test, allow(clippy::as_conversions, reason = "of small numbers that a test has chosen"))]

mod checkpoint;
mod decision;
mod entries;
#[cfg(fuzzing)]
pub mod fuzzing;
mod layout;
pub mod note;
pub mod proof;
mod pseudonym;
mod reader;
mod records;
mod signer;
mod space;
mod tally;
#[cfg(test)]
mod tampering;
mod tree;
pub mod verify;
pub mod witness_format;

use std::fs::File;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use time::OffsetDateTime;

pub use self::checkpoint::CheckpointRejection;
pub use self::decision::{Decision, Process, Verdict};
use self::entries::Entries;
pub use self::layout::LogLayout;
pub use self::note::{NoKey, SigningKey};
pub use self::pseudonym::Pseudonyms;
pub use self::records::Records;
pub use self::signer::{LogSigner, SigningFailure};
use self::tally::{Counting, Tally};
pub use self::tree::Leaf;
use countersign_os::limits::{Rate, RateLimiter};

/// Why a decision need not have its own record. A decision that lets a user's request through, or
/// changes anything, always has one.
#[derive(Clone, Copy, Debug)]
pub enum Weight<'w> {
    /// A refusal of that authenticated sender. Has its own record, unless there are very many.
    Refusal(&'w str),
    /// A refusal of an unauthenticated sender from that network.
    Stranger(Option<IpAddr>),
    /// Permits something public that changes nothing, or what Core polls.
    Read(Option<IpAddr>),
}

/// Refusals of one sender that have their own records.
const REFUSALS_EACH: Rate = Rate::new(256, 1);

/// Refusals in all that have their own records: 15 KB a second. Core can name any number of
/// senders.
const REFUSALS: Rate = Rate::new(4_096, 50);

/// Senders in the rate limiter.
const SENDERS_MAX: NonZeroUsize = NonZeroUsize::new(8_192).unwrap();

/// Looks of [`DecisionLog::settle`] for which a log counts as not writable after a failure, so that
/// a load balancer sees it between two requests.
const DOUBTFUL_LOOKS: u8 = 5;

/// Usual length of a record, in bytes.
const LINE_USUAL: usize = 384;

/// Where this process writes its decisions.
#[derive(Debug)]
pub struct DecisionLog {
    sink: Mutex<Sink>,
    /// If `None`, records have users' names.
    pseudonyms: Option<Pseudonyms>,
    tally: Mutex<Tally>,
    refusals_each: RateLimiter<String>,
    refusals: RateLimiter<()>,
    /// The remaining space is reserved for admitted requests.
    is_short_of_space: AtomicBool,
    /// Further looks until records count as writable again. Set by a record that could not be
    /// written, and while there is no room.
    doubtful_looks: AtomicU8,
}

#[derive(Debug)]
enum Sink {
    /// The log of the gateway or the server.
    Log(Entries),
    /// Lines of a file that is open already.
    Lines(File),
}

impl DecisionLog {
    /// Opens the log in that directory, as its only writer.
    ///
    /// # Errors
    /// If another process writes it, or it cannot be written.
    pub fn open(layout: LogLayout, segment_max: u64) -> io::Result<Self> {
        Ok(Self::of(Sink::Log(Entries::open(layout, segment_max)?)))
    }

    /// Uses pseudonyms for users, if there are any.
    pub fn under(self, pseudonyms: Option<Pseudonyms>) -> Self {
        Self { pseudonyms, ..self }
    }

    /// Writes lines to an open file, such as an instance's standard error.
    pub fn to(file: File) -> Self {
        Self::of(Sink::Lines(file))
    }

    fn of(sink: Sink) -> Self {
        Self {
            sink: Mutex::new(sink),
            pseudonyms: None,
            tally: Mutex::default(),
            refusals_each: RateLimiter::new(REFUSALS_EACH, SENDERS_MAX),
            refusals: RateLimiter::new(REFUSALS, NonZeroUsize::MIN),
            is_short_of_space: AtomicBool::new(false),
            doubtful_looks: AtomicU8::new(0),
        }
    }

    /// Writes one record, whole or not at all.
    ///
    /// # Errors
    /// If it could not be written: then nothing may be forwarded.
    pub fn append(&self, decision: &Decision<'_>) -> io::Result<()> {
        let mut line = Vec::with_capacity(LINE_USUAL);
        match (&self.pseudonyms, decision.username) {
            (Some(pseudonyms), Some(username)) => {
                let pseudonym = pseudonyms.of(username).ok_or(io::ErrorKind::InvalidData)?;
                serde_json::to_writer(&mut line, &Decision { username: Some(&pseudonym), ..decision.clone() })?;
            }
            _ => serde_json::to_writer(&mut line, decision)?,
        }
        line.push(b'\n');
        let written = match &mut *self.sink.lock().unwrap_or_else(PoisonError::into_inner) {
            Sink::Log(entries) => entries.append(&line, decision.time.date()),
            Sink::Lines(file) => append(file, &line),
        };
        if written.is_err() {
            self.doubtful_looks.store(DOUBTFUL_LOOKS, Ordering::Relaxed);
        }
        written
    }

    /// Writes a record, or counts a decision that need not have its own. Counts are written later,
    /// by [`Self::settle`].
    ///
    /// # Errors
    /// If a record could not be written: the decision was counted.
    pub fn note(&self, decision: &Decision<'_>, weight: Weight<'_>, now: Instant) -> io::Result<()> {
        let (network, is_single) = match weight {
            Weight::Read(network) => {
                self.tally().count(decision, network, Counting::All, now);
                return Ok(());
            }
            Weight::Stranger(network) => (network, self.tally().count(decision, network, Counting::AfterTheFirst, now)),
            Weight::Refusal(sender) => {
                let is_single = self.refusals_each.admits(sender.to_owned(), now) && self.refusals.admits((), now);
                if !is_single {
                    self.tally().count_the_first(decision, None, now);
                }
                (None, is_single)
            }
        };
        if !is_single {
            return Ok(());
        }
        let is_short = self.is_short_of_space.load(Ordering::Relaxed);
        let written = if is_short { Ok(()) } else { self.append(decision) };
        if is_short || written.is_err() {
            self.tally().count_the_first(decision, network, now);
        }
        written
    }

    /// Writes the counts that are due, and checks the remaining space. Has to be called every
    /// second.
    pub fn settle(&self, now: Instant) {
        let (is_short, has_room) = match &*self.sink.lock().unwrap_or_else(PoisonError::into_inner) {
            Sink::Log(entries) => (entries.is_short_of_space(), entries.has_room()),
            Sink::Lines(_) => (false, true),
        };
        // Without requests no record would show that the log can be written again.
        let doubtful =
            if has_room { self.doubtful_looks.load(Ordering::Relaxed).saturating_sub(1) } else { DOUBTFUL_LOOKS };
        self.doubtful_looks.store(doubtful, Ordering::Relaxed);
        let was_short = self.is_short_of_space.swap(is_short, Ordering::Relaxed);
        if is_short && !was_short {
            tracing::error!("audit log is nearly full: counting refusals without writing them");
        }
        if !is_short {
            self.settle_where(|until| until <= now);
        }
    }

    /// Whether the remaining space was reserved for admitted requests when [`Self::settle`] looked.
    pub fn is_short_of_space(&self) -> bool {
        self.is_short_of_space.load(Ordering::Relaxed)
    }

    /// Whether records can be written, as far as is known: there is room, and for some seconds each
    /// was written.
    pub fn is_writable(&self) -> bool {
        self.doubtful_looks.load(Ordering::Relaxed) == 0
    }

    /// Writes all counts, before this process ends.
    pub fn settle_all(&self) {
        self.settle_where(|_| true);
    }

    fn settle_where(&self, is_over: impl Fn(Instant) -> bool) {
        let mut lost = None;
        self.tally().settle(is_over, OffsetDateTime::now_utc(), |decision| match self.append(decision) {
            Ok(()) => true,
            Err(error) => {
                lost = Some(error);
                false
            }
        });
        if let Some(error) = lost {
            tracing::error!(%error, "cannot write audit log, keeping counts");
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn append(file: &mut File, line: &[u8]) -> io::Result<()> {
    let written = file.write(line)?;
    if written == line.len() {
        return Ok(());
    }
    // A partial line would corrupt the next one.
    let whole = file.metadata()?.len().saturating_sub(u64::try_from(written).unwrap_or(0));
    let _ = file.set_len(whole);
    Err(io::ErrorKind::WriteZero.into())
}

#[cfg(test)]
mod tests {
    use countersign_keys::identity::{KeyId, Username};

    use super::*;

    fn decision<'d>(username: Option<&'d Username>, reason: Option<&'d str>) -> Decision<'d> {
        Decision {
            time: OffsetDateTime::UNIX_EPOCH,
            request_id: "r1",
            process: Process::Gateway,
            username,
            call: None,
            kid: Some(KeyId::from_bytes([0; 16])),
            decision: Verdict::Refuse,
            status: Some(482),
            reason,
            sealed: None,
            counted: None,
        }
    }

    #[test]
    fn a_decision_is_one_line_whatever_is_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let layout = LogLayout::new(directory.path().to_owned());
        std::fs::create_dir(layout.entries()).unwrap();
        let username = Username::parse("a\"b}#1").unwrap();
        let decision = decision(Some(&username), Some("two\nlines"));
        DecisionLog::open(layout.clone(), 1000).unwrap().append(&decision).unwrap();
        DecisionLog::open(layout.clone(), 1000).unwrap().append(&decision).unwrap();
        let text = std::fs::read_to_string(&layout.segments().unwrap()[0].path).unwrap();
        assert_eq!(text.lines().count(), 2);
        let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(line["time"], "1970-01-01T00:00:00Z");
        assert_eq!(line["username"], "a\"b}#1");
        assert_eq!(line["decision"], "refuse");
        assert_eq!(line["reason"], "two\nlines");
    }

    #[test]
    fn with_a_key_users_stand_in_it_by_pseudonyms() {
        let directory = tempfile::tempdir().unwrap();
        let layout = LogLayout::new(directory.path().to_owned());
        std::fs::create_dir(layout.entries()).unwrap();
        let pseudonyms = || Pseudonyms::new(&countersign_keys::secret::Secret::new("key".to_owned()));
        let alice = Username::parse("alice#1234").unwrap();
        let log = DecisionLog::open(layout.clone(), 1000).unwrap().under(Some(pseudonyms()));
        log.append(&decision(Some(&alice), None)).unwrap();
        log.append(&decision(None, None)).unwrap();
        let text = std::fs::read_to_string(&layout.segments().unwrap()[0].path).unwrap();
        assert!(!text.contains("alice"), "{text}");
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["username"], pseudonyms().of(&alice).unwrap().as_str());
        assert!(lines[1]["username"].is_null());
    }

    #[test]
    fn a_log_that_cannot_be_written_says_so() {
        let Ok(full) = File::options().append(true).open("/dev/full") else { return };
        let log = DecisionLog::to(full);
        assert!(log.is_writable());
        assert!(log.append(&decision(None, None)).is_err());
        for _ in 0..DOUBTFUL_LOOKS {
            assert!(!log.is_writable(), "a load balancer has time to see it");
            log.settle(Instant::now());
        }
        assert!(log.is_writable(), "without requests no record would show that it can be written again");
    }
}
