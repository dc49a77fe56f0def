//! The replay log on disk: what survives a crash is enough that no used intent is accepted again (P4).
//!
//! Two files, written in turns; each use is one record of 64 bytes, in the page cache before the request goes out, so that it survives
//! `kill -9`. It may not survive the machine: after another boot, or where a file is missing, everything issued until then is refused, and the files
//! say so from then on. They are laid out in full when they are made, so that a user over their quota can still delete.

use std::fs::{OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use countersign_keys::freshness::Window;
use countersign_keys::jws::sha256;
use countersign_keys::replay::{IntentId, ReplayError, ReplayLog, Use, UsedIntents};
use countersign_keys::time::{ClockFailure, ClockGuard, Timestamp};

use crate::locked_file::LockedFile;
use crate::locks::Mutex;

/// What both a header and a record take, in bytes.
const RECORD: usize = 64;

/// Records laid out in each file: 256 KiB. The files change places when one is full and the other's records are all over; until then the one grows.
const RECORDS_LAID_OUT: u64 = 4096;

/// What the files begin with: name and version of the format.
const MAGIC: [u8; 8] = *b"csused02";

/// Where the kernel says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalFailure {
    /// A file of it cannot be opened, read or written.
    #[error("the replay journal {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process writes it.
    #[error("the replay journal {path} is in use by another process")]
    InUse {
        /// Which.
        path: PathBuf,
    },
}

/// The journal, owned by one process.
#[derive(Debug)]
pub(crate) struct Journal {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    used: UsedIntents,
    clock: ClockGuard,
    window: Window,
    header: Header,
    /// The file being written is the first.
    segments: [Segment; 2],
}

#[derive(Debug)]
struct Segment {
    file: LockedFile,
    epoch: u64,
    /// Records written, which is also where the next one goes.
    records: u64,
    /// When the last of them may be overwritten.
    retained_until: Timestamp,
}

/// What both files begin with, but for the number of the turn.
#[derive(Clone, Copy, Debug)]
struct Header {
    boot: [u8; 16],
    /// Of what was issued until then, not all that was used is on record. It has to outlive the process that found it out: the files alone
    /// no longer show that anything is missing.
    fence: Timestamp,
}

/// What a file said of itself.
struct Recovered {
    segment: Segment,
    header: Option<Header>,
    uses: Vec<(Use, Timestamp)>,
}

impl Journal {
    /// Lays the files out where there are none, so that the first intents ever need not be refused. To be called where it is certain that none was
    /// used before: when an installation, or a user's account, is made ready for the first time.
    ///
    /// # Errors
    /// If the files cannot be made, or are there.
    pub(crate) fn create(directory: &Path) -> Result<(), JournalFailure> {
        let header = Header { boot: boot_id(directory)?, fence: Timestamp::from_seconds(i64::MIN) };
        for (path, epoch) in paths(directory).into_iter().zip([1, 0]) {
            let failure = |source| JournalFailure::File { path: path.clone(), source };
            let file =
                OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(failure)?;
            file.write_all_at(&vec![0; usize::try_from(RECORDS_LAID_OUT).unwrap_or(0) * RECORD], 0).map_err(failure)?;
            file.write_all_at(&header.to_bytes(epoch), 0).map_err(failure)?;
            file.sync_all().map_err(failure)?;
        }
        Ok(())
    }

    /// Opens the journal and takes up where it ended. `wall` is what the clock reads; `capacity` bounds the intents remembered.
    ///
    /// # Errors
    /// If a file cannot be opened or read, or another process has it.
    pub(crate) fn open(
        directory: &Path,
        window: Window,
        capacity: usize,
        wall: Timestamp,
    ) -> Result<Self, JournalFailure> {
        let boot = boot_id(directory)?;
        let mut recovered = Vec::with_capacity(2);
        for path in paths(directory) {
            recovered.push(recover(&path)?);
        }
        recovered.sort_by_key(|file| std::cmp::Reverse(file.segment.epoch));
        let latest = recovered.iter().flat_map(|file| &file.uses).map(|(_, judged_at)| *judged_at).max();
        let latest = latest.map_or(wall, |latest| latest.max(wall));
        let is_whole = recovered.iter().all(|file| file.header.is_some_and(|header| header.boot == boot));
        let known = recovered.iter().filter_map(|file| file.header).map(|header| header.fence).max();
        let known = known.unwrap_or(Timestamp::from_seconds(i64::MIN));
        // A lost record's intent was issued no later than skew after the last moment judged by.
        let fence = if is_whole { known } else { known.max(latest.plus(window.future_skew_s)) };
        let header = Header { boot, fence };
        let mut used = UsedIntents::new(window, capacity, Timestamp::from_seconds(i64::MIN));
        for (earlier, _) in recovered.iter().flat_map(|file| &file.uses) {
            if window.retain_until(earlier.exp) >= latest {
                // One that is in both files is one all the same.
                let _ = used.insert(*earlier, latest);
            }
        }
        used.raise_fence(fence);
        let mut segments = recovered.into_iter().map(|file| Segment {
            retained_until: file
                .uses
                .iter()
                .map(|(earlier, _)| window.retain_until(earlier.exp))
                .max()
                .unwrap_or(latest),
            ..file.segment
        });
        let (Some(first), Some(second)) = (segments.next(), segments.next()) else {
            let source = io::Error::other("both files are needed");
            return Err(JournalFailure::File { path: directory.to_owned(), source });
        };
        let clock = ClockGuard::new(latest, window.retention_max_s());
        let mut inner = Inner { used, clock, window, header, segments: [first, second] };
        let failure = |source| JournalFailure::File { path: directory.to_owned(), source };
        if is_whole {
            inner.segments[0].lay_out().map_err(failure)?;
        } else {
            // Both anew, under this boot: what they held is remembered or fenced off.
            inner.rewrite().map_err(failure)?;
        }
        Ok(Self { inner: Mutex::new(inner) })
    }

    /// The moment to judge by, which never goes back, over restarts too.
    ///
    /// # Errors
    /// If the clock has gone back too far.
    pub(crate) fn now(&self, wall: Timestamp) -> Result<Timestamp, ClockFailure> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).clock.judge_by(wall)
    }
}

impl ReplayLog for Journal {
    fn check_and_insert(&self, used: Use, now: Timestamp) -> Result<(), ReplayError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.used.forget(now);
        inner.used.check(used)?;
        inner.write(used, now).map_err(|error| {
            tracing::error!(%error, "the replay journal cannot be written");
            ReplayError::Unwritable
        })?;
        inner.used.insert(used, now)
    }
}

impl Inner {
    fn write(&mut self, used: Use, now: Timestamp) -> io::Result<()> {
        let [current, other] = &mut self.segments;
        if current.records.saturating_add(1) >= RECORDS_LAID_OUT && other.retained_until < now {
            other.begin(current.epoch.saturating_add(1), self.header)?;
            self.segments.swap(0, 1);
        }
        let retained_until = self.window.retain_until(used.exp);
        self.segments[0].write(used, now, retained_until)
    }

    /// Begins both files anew, the current one last, so that a crash between leaves one of the old boot, and hence a fence.
    fn rewrite(&mut self) -> io::Result<()> {
        let [current, other] = &mut self.segments;
        let epoch = current.epoch.max(other.epoch);
        other.begin(epoch.saturating_add(1), self.header)?;
        current.begin(epoch.saturating_add(2), self.header)?;
        current.lay_out()?;
        other.lay_out()
    }
}

impl Segment {
    fn begin(&mut self, epoch: u64, header: Header) -> io::Result<()> {
        self.file.write_all_at(&header.to_bytes(epoch), 0)?;
        self.epoch = epoch;
        self.records = 0;
        Ok(())
    }

    fn write(&mut self, used: Use, now: Timestamp, retained_until: Timestamp) -> io::Result<()> {
        let record = record(self.epoch, used, now);
        self.file.write_all_at(&record, self.records.saturating_add(1).saturating_mul(64))?;
        self.records = self.records.saturating_add(1);
        self.retained_until = self.retained_until.max(retained_until);
        Ok(())
    }

    /// Gives the file its full length, as data and not as a hole.
    fn lay_out(&self) -> io::Result<()> {
        let full = RECORDS_LAID_OUT.saturating_mul(64);
        let length = self.file.metadata()?.len();
        let missing = usize::try_from(full.saturating_sub(length)).unwrap_or(0);
        self.file.write_all_at(&vec![0; missing], length)
    }
}

fn paths(directory: &Path) -> [PathBuf; 2] {
    [directory.join("used-intents.a"), directory.join("used-intents.b")]
}

fn boot_id(directory: &Path) -> Result<[u8; 16], JournalFailure> {
    let failure = |source| JournalFailure::File { path: directory.join(BOOT_ID), source };
    let text = std::fs::read(BOOT_ID).map_err(failure)?;
    let mut id = [0; 16];
    id.copy_from_slice(sha256(&[&text]).first_chunk::<16>().unwrap_or(&[0; 16]));
    Ok(id)
}

impl Header {
    fn to_bytes(self, epoch: u64) -> [u8; RECORD] {
        let fence = self.fence.seconds().to_be_bytes();
        let body = [&MAGIC[..], &epoch.to_be_bytes(), &self.boot, &fence].concat();
        with_digest(&body, &body)
    }

    /// The header and the number of the turn.
    fn read(block: &[u8; RECORD]) -> Option<(Self, u64)> {
        let (magic, rest) = block.split_first_chunk::<8>()?;
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let (boot, rest) = rest.split_first_chunk::<16>()?;
        let fence = rest.first_chunk::<8>()?;
        let epoch = u64::from_be_bytes(*epoch);
        let header = Self { boot: *boot, fence: Timestamp::from_seconds(i64::from_be_bytes(*fence)) };
        (*magic == MAGIC && *block == header.to_bytes(epoch)).then_some((header, epoch))
    }
}

fn record(epoch: u64, used: Use, now: Timestamp) -> [u8; RECORD] {
    let times = [used.iat, used.exp, now].map(|time| time.seconds().to_be_bytes()).concat();
    let body = [&used.id.0[..], &times].concat();
    // The epoch is in the digest alone: a record of an earlier turn is none of this one.
    with_digest(&body, &[&epoch.to_be_bytes()[..], &body].concat())
}

/// The body, zeros, and in the last eight bytes the beginning of a digest.
fn with_digest(body: &[u8], digested: &[u8]) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    let digest = sha256(&[digested]);
    for (to, from) in bytes.iter_mut().zip(body) {
        *to = *from;
    }
    for (to, from) in bytes.iter_mut().rev().zip(digest.into_iter().take(8)) {
        *to = from;
    }
    bytes
}

fn recover(path: &Path) -> Result<Recovered, JournalFailure> {
    let failure = |source| JournalFailure::File { path: path.to_owned(), source };
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
    let mut file = LockedFile::take(options.open(path).map_err(failure)?).map_err(|error| match error {
        TryLockError::WouldBlock => JournalFailure::InUse { path: path.to_owned() },
        TryLockError::Error(source) => failure(source),
    })?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failure)?;
    let mut blocks = bytes.as_chunks::<RECORD>().0.iter();
    let header = blocks.next().and_then(Header::read);
    let epoch = header.map_or(0, |(_, epoch)| epoch);
    let uses: Vec<_> =
        if header.is_some() { blocks.map_while(|block| read_record(epoch, block)).collect() } else { Vec::new() };
    let records = u64::try_from(uses.len()).unwrap_or(u64::MAX);
    let segment = Segment { file, epoch, records, retained_until: Timestamp::from_seconds(i64::MIN) };
    Ok(Recovered { segment, header: header.map(|(header, _)| header), uses })
}

fn read_record(epoch: u64, block: &[u8; RECORD]) -> Option<(Use, Timestamp)> {
    let (id, rest) = block.split_first_chunk::<32>()?;
    let mut times = rest.as_chunks::<8>().0.iter().map(|bytes| Timestamp::from_seconds(i64::from_be_bytes(*bytes)));
    let used = Use { id: IntentId(*id), iat: times.next()?, exp: times.next()? };
    let now = times.next()?;
    (*block == record(epoch, used, now)).then_some((used, now))
}

#[cfg(test)]
mod schedules;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    const WINDOW: Window = Window { lifetime_max_s: 60, future_skew_s: 5 };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn used(id: u32, iat: i64) -> Use {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&id.to_be_bytes());
        Use { id: IntentId(bytes), iat: at(iat), exp: at(iat + 60) }
    }

    fn open(directory: &Path, wall: i64) -> Journal {
        Journal::open(directory, WINDOW, 100_000, at(wall)).unwrap()
    }

    fn made() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        Journal::create(directory.path()).unwrap();
        directory
    }

    #[test]
    fn v39_a_used_intent_stays_used_over_restarts() {
        let directory = made();
        for restart in 0..5 {
            let journal = open(directory.path(), 1000);
            for earlier in 0..restart {
                assert_eq!(journal.check_and_insert(used(earlier, 1000), at(1000)), Err(ReplayError::Used));
            }
            assert_eq!(journal.check_and_insert(used(restart, 1000), at(1000)), Ok(()));
            assert_eq!(journal.check_and_insert(used(restart, 1000), at(1000)), Err(ReplayError::Used));
        }
    }

    #[test]
    fn v39_without_its_files_everything_issued_until_then_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let journal = open(directory.path(), 1000);
        assert_eq!(journal.check_and_insert(used(1, 1005), at(1001)), Err(ReplayError::BeforeFence));
        assert_eq!(journal.check_and_insert(used(1, 1006), at(1001)), Ok(()));
        drop(journal);
        std::fs::remove_file(directory.path().join("used-intents.b")).unwrap();
        let journal = open(directory.path(), 1010);
        assert_eq!(journal.check_and_insert(used(2, 1015), at(1011)), Err(ReplayError::BeforeFence));
        assert_eq!(journal.check_and_insert(used(1, 1006), at(1011)), Err(ReplayError::Used)); // the other file tells
        assert_eq!(journal.check_and_insert(used(2, 1016), at(1011)), Ok(()));
    }

    #[test]
    fn v39_after_another_boot_everything_issued_until_then_is_refused() {
        let directory = made();
        drop(open(directory.path(), 1000));
        let header = Header { boot: [1; 16], fence: at(0) };
        for path in paths(directory.path()) {
            let file = OpenOptions::new().write(true).open(path).unwrap();
            file.write_all_at(&header.to_bytes(7), 0).unwrap();
        }
        let journal = open(directory.path(), 1000);
        assert_eq!(journal.check_and_insert(used(1, 1005), at(1001)), Err(ReplayError::BeforeFence));
        drop(journal);
        // Files of this boot no longer show that something was lost: the fence itself has to be on record.
        let journal = open(directory.path(), 1001);
        assert_eq!(journal.check_and_insert(used(1, 1005), at(1001)), Err(ReplayError::BeforeFence));
        assert_eq!(journal.check_and_insert(used(1, 1006), at(1001)), Ok(()));
    }

    #[test]
    fn v40_the_latest_moment_survives_a_restart() {
        let directory = made();
        let journal = open(directory.path(), 1000);
        assert_eq!(journal.now(at(1050)), Ok(at(1050)));
        journal.check_and_insert(used(1, 1050), at(1050)).unwrap();
        drop(journal);
        let journal = open(directory.path(), 1000);
        assert_eq!(journal.now(at(1000)), Ok(at(1050)));
        assert!(journal.now(at(900)).is_err());
        assert_eq!(journal.check_and_insert(used(1, 1050), at(1050)), Err(ReplayError::Used));
    }

    #[test]
    fn the_files_take_turns_and_lose_nothing_that_lives() {
        let directory = made();
        let mut journal = open(directory.path(), 1000);
        let mut id = 0;
        for second in (1000..2000).step_by(10) {
            for _ in 0..500 {
                id += 1;
                assert_eq!(journal.check_and_insert(used(id, second), at(second)), Ok(()));
            }
            if second % 70 == 0 {
                drop(journal);
                journal = open(directory.path(), second);
            }
            for earlier in [id, id.saturating_sub(499).max(1), id.saturating_sub(2999).max(1)] {
                let issued = 1000 + i64::from((earlier - 1) / 500) * 10;
                assert!(journal.check_and_insert(used(earlier, issued), at(second)).is_err());
            }
        }
        let bytes: u64 = paths(directory.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
        assert!(bytes < 2 * 1024 * 1024, "{bytes} bytes for 3,500 live intents");
    }

    #[test]
    fn a_torn_record_ends_the_file_and_is_overwritten() {
        let directory = made();
        let journal = open(directory.path(), 1000);
        journal.check_and_insert(used(1, 1000), at(1000)).unwrap();
        journal.check_and_insert(used(2, 1000), at(1000)).unwrap();
        drop(journal);
        let file = OpenOptions::new().write(true).open(directory.path().join("used-intents.a")).unwrap();
        file.write_all_at(&[0xff; 32], 2 * 64 + 32).unwrap();
        let journal = open(directory.path(), 1000);
        assert_eq!(journal.check_and_insert(used(1, 1000), at(1000)), Err(ReplayError::Used));
        assert_eq!(journal.check_and_insert(used(3, 1000), at(1000)), Ok(()));
        drop(journal);
        let journal = open(directory.path(), 1000);
        assert_eq!(journal.check_and_insert(used(3, 1000), at(1000)), Err(ReplayError::Used));
    }

    #[test]
    fn one_process_owns_it() {
        let directory = made();
        let first = open(directory.path(), 1000);
        let second = Journal::open(directory.path(), WINDOW, 10, at(1000));
        assert!(matches!(second, Err(JournalFailure::InUse { .. })));
        drop(first);
        open(directory.path(), 1000);
        assert!(matches!(Journal::create(directory.path()), Err(JournalFailure::File { .. })));
    }

    #[test]
    fn v35_of_64_concurrent_copies_one_passes() {
        let directory = made();
        let journal = open(directory.path(), 1000);
        let barrier = std::sync::Barrier::new(64);
        let passed = std::thread::scope(|scope| {
            let copies: Vec<_> = (0..64)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        journal.check_and_insert(used(1, 1000), at(1000)).is_ok()
                    })
                })
                .collect();
            copies.into_iter().map(|copy| copy.join().unwrap()).filter(|passed| *passed).count()
        });
        assert_eq!(passed, 1);
    }

    #[test]
    fn v41_a_journal_that_cannot_be_written_refuses() {
        let directory = made();
        let journal = open(directory.path(), 1000);
        let read_only = directory.path().join("read-only");
        {
            let mut inner = journal.inner.lock().unwrap();
            std::fs::write(&read_only, b"").unwrap();
            inner.segments[0].file = LockedFile::take(std::fs::File::open(&read_only).unwrap()).unwrap();
        }
        assert_eq!(journal.check_and_insert(used(1, 1000), at(1000)), Err(ReplayError::Unwritable));
    }
}
