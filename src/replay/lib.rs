//! The replay log on disk: after a crash, no used intent is accepted again (P4).
//!
//! Two files are written in turns. Each use is one record of 64 bytes, in the page cache before the
//! request goes out, so that it survives `kill -9`. It may not survive a crash of the machine: then
//! intents signed before this boot are refused. If a file is missing, all intents signed until now
//! are refused. The files record which times they no longer cover ([`mod@format`]), so that a clock
//! may be set back. Then intents are refused only for times that are not fully covered (V40). The
//! files have their full length from the start, so that a user over quota can still delete.
#![allow(missing_docs, reason = "internal to Countersign: a doc says what the name cannot")]

mod format;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use countersign_keys::freshness::Window;
use countersign_keys::replay::lost::LostTimes;
use countersign_keys::replay::{ReplayError, ReplayLog, Use, UsedIntents};
use countersign_keys::time::{ClockFailure, ClockGuard, Timestamp};

use self::format::{BLOCK, Content, HEADER_BLOCKS, Header, record};
use countersign_os::boot::Boot;
use countersign_os::locked_file::LockedFile;
use countersign_os::locks::Mutex;

/// Blocks allocated in each file: 256 KiB. The files take turns when one is full and the other's
/// records have all expired; until then the full one grows.
const BLOCKS_LAID_OUT: u64 = 4096;

/// How far this boot's clock may be behind the previous one, in seconds. A machine's clock drifts
/// while it is off, and is corrected some time after the boot. Intents signed within this time
/// after the boot are refused too.
const BOOT_CLOCK_MARGIN_S: i64 = 60;

/// How long the kernel may keep writes in memory alone, in seconds: 30 (`dirty_expire_centisecs`)
/// and 5, with a margin.
const WRITE_BACK_S: i64 = 60;

#[derive(Debug, thiserror::Error)]
pub enum JournalFailure {
    #[error("the replay journal {path} cannot be used")]
    File {
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    #[error("the replay journal {path} is in use by another process")]
    InUse { path: PathBuf },
}

/// The journal, owned by one process.
#[derive(Debug)]
pub struct Journal {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    used: UsedIntents,
    clock: ClockGuard,
    window: Window,
    header: Header,
    /// The first is the file being written.
    segments: [Segment; 2],
}

#[derive(Debug)]
struct Segment {
    file: LockedFile,
    epoch: u64,
    records: u64,
    /// From when until when its records have to be kept.
    retained: Option<(Timestamp, Timestamp)>,
}

/// The joint content of both files.
struct Recovered {
    uses: Vec<(Use, Timestamp)>,
    /// `None` if one of the files has no valid header.
    header: Option<Header>,
    known: LostTimes,
    fence: Timestamp,
    epoch: u64,
    is_old: bool,
}

impl Journal {
    /// Creates the files, so that not even the first intents need be refused. Has to be called only
    /// if certainly no intent was used before: when an installation or a user's account is first
    /// set up.
    ///
    /// # Errors
    /// If the files cannot be created, or exist.
    pub fn create(directory: &Path) -> Result<(), JournalFailure> {
        // Only the boot's id counts here, not its time.
        let boot = Boot::current(Timestamp::from_seconds(0)).map_err(failed(directory))?;
        let header = Header { boot: boot.id, fence: Timestamp::from_seconds(i64::MIN), lost: LostTimes::default() };
        for (path, epoch) in paths(directory).iter().zip([1, 0]) {
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
            file.and_then(|file| fill(&file, header, epoch, &[])).map_err(failed(path))?;
        }
        Ok(())
    }

    /// Whether that directory has a journal's files.
    pub fn is_in(directory: &Path) -> bool {
        paths(directory).iter().any(|path| path.exists())
    }

    /// Takes over the files of an earlier release, which had one journal for all providers, if this
    /// provider has none yet.
    ///
    /// # Errors
    /// If they cannot be moved, or an instance of that release still writes them.
    pub fn take_over(before: &Path, directory: &Path) -> Result<(), JournalFailure> {
        let (old, new) = (paths(before), paths(directory));
        if new.iter().any(|path| path.exists()) || !old.iter().all(|path| path.exists()) {
            return Ok(());
        }
        let locked = old.iter().map(|path| take(path)).collect::<Result<Vec<_>, _>>()?;
        for (from, to) in old.iter().zip(&new) {
            std::fs::rename(from, to).map_err(failed(to))?;
        }
        drop(locked);
        Ok(())
    }

    /// Opens the journal and resumes it. `wall` is the clock's reading; `capacity` bounds the
    /// intents remembered.
    ///
    /// # Errors
    /// If a file cannot be opened or read, or another process has it.
    pub fn open(directory: &Path, window: Window, capacity: usize, wall: Timestamp) -> Result<Self, JournalFailure> {
        let boot = Boot::current(wall).map_err(failed(directory))?;
        Self::open_in(boot, directory, window, capacity, wall)
    }

    fn open_in(
        boot: Boot,
        directory: &Path,
        window: Window,
        capacity: usize,
        wall: Timestamp,
    ) -> Result<Self, JournalFailure> {
        let (mut locked, mut contents) = (Vec::with_capacity(2), Vec::with_capacity(2));
        for path in paths(directory) {
            let (file, content) = take(&path)?;
            locked.push(file);
            contents.push(content);
        }
        let recovered = Recovered::from(&contents, window);
        let latest = recovered.uses.iter().map(|(_, judged_at)| *judged_at).max();
        let whole = recovered.header.filter(|header| header.boot == boot.id);
        let mut header = Header { boot: boot.id, fence: recovered.fence, lost: recovered.known };
        if whole.is_none() {
            let what = if recovered.header.is_some() { Missing::SinceTheBoot(boot.at) } else { Missing::Everything };
            what.mark(&mut header, latest, wall, window);
        }
        let mut used = UsedIntents::new(window, capacity, Timestamp::from_seconds(i64::MIN));
        for (earlier, judged_at) in &recovered.uses {
            // An intent in both files counts once; one without room is lost.
            if used.insert(*earlier, *judged_at) == Err(ReplayError::Full) {
                let until = window.retain_until(earlier.exp);
                header.lost.add(until, until);
            }
        }
        used.raise_fence(header.fence);
        used.lose(&header.lost);
        let segments = if whole.is_some() && !recovered.is_old {
            let mut segments: Vec<Segment> = locked
                .into_iter()
                .zip(contents)
                .map(|(file, content)| Segment {
                    file,
                    epoch: content.header.map_or(0, |(_, epoch)| epoch),
                    records: u64::try_from(content.uses.len()).unwrap_or(u64::MAX),
                    retained: retained(&content.uses, window),
                })
                .collect();
            segments.sort_by_key(|segment| std::cmp::Reverse(segment.epoch));
            segments
        } else {
            write_anew(directory, header, recovered.epoch, &recovered.uses, window)?
        };
        let Ok(segments) = <[Segment; 2]>::try_from(segments) else {
            return Err(failed(directory)(io::Error::other("both files are needed")));
        };
        let clock = ClockGuard::new(latest.unwrap_or(wall), window.retention_max_s());
        let mut inner = Inner { used, clock, window, header, segments };
        inner.segments[0].lay_out().map_err(failed(directory))?;
        let now = inner.clock.judge_by(wall);
        if let Some(until) = inner.used.refuses_until(now) {
            tracing::error!(
                until = until.seconds(),
                "refusing all intents: the clock reads a time whose used intents are not all remembered"
            );
        }
        Ok(Self { inner: Mutex::new(inner) })
    }

    /// Refuses permanently all intents signed until now: for a restored journal, whose last uses
    /// may be missing.
    ///
    /// # Errors
    /// If a file cannot be opened or written, or another process has it.
    pub fn raise_fence(directory: &Path, window: Window, wall: Timestamp) -> Result<(), JournalFailure> {
        let mut contents = Vec::with_capacity(2);
        let mut locked = Vec::with_capacity(2);
        for path in paths(directory) {
            let (file, content) = take(&path)?;
            locked.push(file);
            contents.push(content);
        }
        let recovered = Recovered::from(&contents, window);
        let boot = Boot::current(wall).map_err(failed(directory))?;
        let mut header = Header { boot: boot.id, fence: recovered.fence, lost: recovered.known };
        let latest = recovered.uses.iter().map(|(_, judged_at)| *judged_at).max();
        Missing::Everything.mark(&mut header, latest, wall, window);
        write_anew(directory, header, recovered.epoch, &recovered.uses, window)?;
        Ok(())
    }

    /// From when on intents are accepted, if none is now. Changes nothing and takes no lock, for
    /// `check-config`.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn refuses_until(
        directory: &Path,
        window: Window,
        wall: Timestamp,
    ) -> Result<Option<Timestamp>, JournalFailure> {
        let mut contents = Vec::with_capacity(2);
        for path in paths(directory) {
            match std::fs::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                read => contents.push(Content::parse(&read.map_err(failed(&path))?)),
            }
        }
        let recovered = Recovered::from(&contents, window);
        let mut used = UsedIntents::new(window, usize::MAX, recovered.fence);
        used.lose(&recovered.known);
        Ok(used.refuses_until(wall))
    }

    /// The time to judge by.
    ///
    /// # Errors
    /// If the clock was set back to a time whose uses are not all known.
    pub fn now(&self, wall: Timestamp) -> Result<Timestamp, ClockFailure> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let behind_s = inner.clock.behind_s(wall);
        let now = inner.clock.judge_by(wall);
        if now == wall && behind_s > 0 {
            tracing::warn!(behind_s, "clock was set back");
        }
        inner.used.refuses_until(now).map_or(Ok(now), |until| Err(ClockFailure { until }))
    }

    /// How many uses are remembered.
    pub fn remembered(&self) -> usize {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).used.count()
    }

    /// Whether this use would be accepted now. Changes nothing: only `check_and_insert` consumes an
    /// intent.
    ///
    /// # Errors
    /// Why it would not be accepted.
    pub fn check(&self, used: Use) -> Result<(), ReplayError> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).used.check(used)
    }
}

impl ReplayLog for Journal {
    fn check_and_insert(&self, used: Use, now: Timestamp) -> Result<(), ReplayError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.used.forget(now);
        inner.used.check(used)?;
        inner.write(used, now).map_err(|error| {
            tracing::error!(%error, "cannot write replay journal");
            ReplayError::Unwritable
        })?;
        inner.used.insert(used, now)
    }
}

/// What may be missing from files of another boot, or if one is absent.
enum Missing {
    /// Writes from shortly before the machine went down.
    SinceTheBoot(Option<Timestamp>),
    /// Anything until now.
    Everything,
}

impl Missing {
    /// Records the gap in the header, so that its intents are refused.
    fn mark(&self, header: &mut Header, latest: Option<Timestamp>, wall: Timestamp, window: Window) {
        let until = match self {
            // Intents used before the boot were signed before this time, if the clock was right to
            // a minute.
            Self::SinceTheBoot(Some(boot)) => wall.min(boot.plus(BOOT_CLOCK_MARGIN_S)),
            Self::SinceTheBoot(None) | Self::Everything => wall,
        };
        header.fence = header.fence.max(until.plus(window.future_skew_s));
        // If the clock was ahead then, the times that it read are refused too, but not those
        // between.
        if let Some(latest) = latest.filter(|latest| *latest > until) {
            let from = match self {
                Self::SinceTheBoot(_) => latest.plus(WRITE_BACK_S.saturating_neg()),
                Self::Everything => Timestamp::from_seconds(i64::MIN),
            };
            header.lost.add(from, latest.plus(WRITE_BACK_S).plus(window.retention_max_s()));
        }
    }
}

impl Recovered {
    fn from(contents: &[Content], window: Window) -> Self {
        let headers: Vec<(Header, u64)> = contents.iter().filter_map(|content| content.header).collect();
        let mut known = LostTimes::default();
        headers.iter().for_each(|(header, _)| known.add_all(&header.lost));
        // A file of format 2 began a turn when all of its earlier records had expired, and does not
        // record their times.
        for content in contents.iter().filter(|content| content.is_old) {
            if let Some((_, first)) =
                content.uses.first().filter(|_| content.header.is_some_and(|(_, epoch)| epoch > 1))
            {
                known.add(Timestamp::from_seconds(i64::MIN), *first);
            }
        }
        let boots: Vec<[u8; 16]> = headers.iter().map(|(header, _)| header.boot).collect();
        let is_one = contents.len() == 2 && boots.len() == 2 && boots.first() == boots.last();
        let mut uses: Vec<(Use, Timestamp)> = contents.iter().flat_map(|content| &content.uses).copied().collect();
        uses.sort_by_key(|(used, _)| window.retain_until(used.exp));
        Self {
            uses,
            header: headers.first().map(|(header, _)| *header).filter(|_| is_one).or_else(|| {
                // Both exist, of two boots: a crash came between. Neither is of this boot.
                (boots.len() == 2).then_some(Header { boot: [0; 16], ..headers.first()?.0 })
            }),
            known,
            fence: headers.iter().map(|(header, _)| header.fence).max().unwrap_or(Timestamp::from_seconds(i64::MIN)),
            epoch: headers.iter().map(|(_, epoch)| *epoch).max().unwrap_or(0),
            is_old: contents.iter().any(|content| content.is_old),
        }
    }
}

impl Inner {
    fn write(&mut self, used: Use, now: Timestamp) -> io::Result<()> {
        let [current, other] = &mut self.segments;
        let is_full = current.records.saturating_add(to_u64(HEADER_BLOCKS)) >= BLOCKS_LAID_OUT;
        if is_full && other.retained.is_none_or(|(_, until)| until < now) {
            if let Some((from, until)) = other.retained {
                self.header.lost.add(from, until);
            }
            other.begin(current.epoch.saturating_add(1), self.header)?;
            self.segments.swap(0, 1);
        }
        let until = self.window.retain_until(used.exp);
        self.segments[0].write(used, now, until)
    }
}

impl Segment {
    fn begin(&mut self, epoch: u64, header: Header) -> io::Result<()> {
        self.file.write_all_at(&header.to_bytes(epoch), 0)?;
        self.epoch = epoch;
        self.records = 0;
        self.retained = None;
        Ok(())
    }

    fn write(&mut self, used: Use, now: Timestamp, until: Timestamp) -> io::Result<()> {
        let at = self.records.saturating_add(to_u64(HEADER_BLOCKS)).saturating_mul(to_u64(BLOCK));
        self.file.write_all_at(&record(self.epoch, used, now), at)?;
        self.records = self.records.saturating_add(1);
        let (from, last) = self.retained.unwrap_or((until, until));
        self.retained = Some((from.min(until), last.max(until)));
        Ok(())
    }

    /// Extends the file to its full length with data, not a hole.
    fn lay_out(&self) -> io::Result<()> {
        let full = BLOCKS_LAID_OUT.saturating_mul(to_u64(BLOCK));
        let length = self.file.metadata()?.len();
        let missing = usize::try_from(full.saturating_sub(length)).unwrap_or(0);
        self.file.write_all_at(&vec![0; missing], length)
    }
}

/// Rewrites both files under temporary names and renames them. The one with all remembered uses
/// comes first, so that a crash in between leaves it and an old one, which together have no less.
fn write_anew(
    directory: &Path,
    header: Header,
    epoch: u64,
    uses: &[(Use, Timestamp)],
    window: Window,
) -> Result<Vec<Segment>, JournalFailure> {
    let mut segments = Vec::with_capacity(2);
    let turns = [(epoch.saturating_add(2), uses), (epoch.saturating_add(1), &[])];
    for (path, (epoch, uses)) in paths(directory).into_iter().zip(turns) {
        let mut aside = path.clone().into_os_string();
        aside.push(".new");
        match std::fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&path)(error)),
            Ok(()) | Err(_) => {}
        }
        let make = || {
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&aside)?;
            fill(&file, header, epoch, uses)?;
            Ok(file)
        };
        let file = lock(make().map_err(failed(&path))?, &path)?;
        let place = || {
            std::fs::rename(&aside, &path)?;
            File::open(directory)?.sync_all()
        };
        place().map_err(failed(&path))?;
        segments.push(Segment { file, epoch, records: to_u64(uses.len()), retained: retained(uses, window) });
    }
    Ok(segments)
}

/// Fills a new file to its full length, and syncs it to the disk.
fn fill(file: &File, header: Header, epoch: u64, uses: &[(Use, Timestamp)]) -> io::Result<()> {
    let blocks = usize::try_from(BLOCKS_LAID_OUT).unwrap_or(0).max(uses.len().saturating_add(HEADER_BLOCKS));
    let mut bytes = header.to_bytes(epoch).to_vec();
    uses.iter().for_each(|(used, now)| bytes.extend_from_slice(&record(epoch, *used, *now)));
    bytes.resize(blocks.saturating_mul(BLOCK), 0);
    file.write_all_at(&bytes, 0)?;
    file.sync_all()
}

/// From when until when these uses have to be kept.
fn retained(uses: &[(Use, Timestamp)], window: Window) -> Option<(Timestamp, Timestamp)> {
    let until = || uses.iter().map(|(used, _)| window.retain_until(used.exp));
    Some((until().min()?, until().max()?))
}

fn paths(directory: &Path) -> [PathBuf; 2] {
    [directory.join("used-intents.a"), directory.join("used-intents.b")]
}

fn take(path: &Path) -> Result<(LockedFile, Content), JournalFailure> {
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
    let mut file = lock(options.open(path).map_err(failed(path))?, path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed(path))?;
    Ok((file, Content::parse(&bytes)))
}

fn lock(file: File, path: &Path) -> Result<LockedFile, JournalFailure> {
    LockedFile::take(file).map_err(|error| match error {
        TryLockError::WouldBlock => JournalFailure::InUse { path: path.to_owned() },
        TryLockError::Error(source) => failed(path)(source),
    })
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> JournalFailure + use<'_> {
    move |source| JournalFailure::File { path: path.to_owned(), source }
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests;
