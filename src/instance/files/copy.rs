//! Copies to a scratch name beside the target. The copy gets its real name only when it is
//! complete.
//!
//! Files keep their holes, permissions and times; links are copied as links. Pipes, sockets and
//! devices are never opened and make the copy fail. Owners, access lists and extended attributes
//! are those of new files.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstat, futimens, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Whence, lseek, symlinkat};

use super::error::FilesError;
use super::leftovers::Note;
use super::progress::{Amount, PIECE, Progress};
use super::remove::remove;
use super::resolve::{EntryRef, Identity, Kind, Mounts};

/// Deepest nesting that is copied: each level holds three descriptors, and a process has some 1024
/// for two copies at a time.
pub(crate) const DEPTH_MAX: usize = 100;

/// The permissions that are copied. Set-user-id and similar bits are not: the copy has another
/// owner.
const PERMISSIONS: u32 = 0o777;

/// A complete copy under a scratch name. Removed on drop unless [`Self::place`] succeeded.
#[derive(Debug)]
pub(crate) struct StagedCopy {
    slot: Option<(EntryRef, Identity)>,
    /// Dropped after the copy has its name.
    _note: Note,
}

impl StagedCopy {
    /// Copies something to a scratch name beside an entry.
    pub(crate) fn copy(
        from: &EntryRef,
        beside: &EntryRef,
        mounts: Mounts,
        progress: &Progress,
    ) -> Result<Self, FilesError> {
        let stat = from.look()?;
        let make = Make::of(from, &stat)?;
        let (slot, mut note) = beside.unfinished()?;
        let (made, identity) = make.at(&slot)?.checked(&slot)?;
        note.made(identity);
        let staged = Self { slot: Some((slot.clone(), identity)), _note: note };
        let walk = Walk { mounts, avoid: identity, progress };
        walk.fill(made, from, &slot, &stat, 0)?;
        Ok(staged)
    }

    /// Gives the copy its name with `step`. If `step` fails, the copy is removed.
    pub(crate) fn place(mut self, step: impl FnOnce(&EntryRef) -> Result<(), FilesError>) -> Result<(), FilesError> {
        let Some((slot, _)) = &self.slot else {
            return Ok(());
        };
        let outcome = step(slot);
        if outcome.is_ok() {
            self.slot = None;
        }
        outcome
    }
}

impl Drop for StagedCopy {
    fn drop(&mut self) {
        if let Some((slot, made)) = self.slot.take()
            && let Err(trouble) = remove(&slot, made)
        {
            tracing::warn!(scratch = slot.text(), %trouble, "cannot remove unfinished copy");
        }
    }
}

/// What a copy starts from.
enum Make {
    File,
    Folder,
    Link(std::ffi::OsString),
}

/// What was made, to be filled.
enum Made {
    File(OwnedFd),
    Folder,
    Link,
}

impl Make {
    fn of(from: &EntryRef, stat: &FileStat) -> Result<Self, FilesError> {
        match Kind::of(stat) {
            Kind::File => Ok(Self::File),
            Kind::Folder => Ok(Self::Folder),
            Kind::Link => Ok(Self::Link(readlinkat(from.folder(), from.name())?)),
            Kind::Special => Err(FilesError::Special),
        }
    }

    fn at(&self, slot: &EntryRef) -> Result<Made, Errno> {
        match self {
            Self::File => {
                let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
                let mode = Mode::S_IRUSR | Mode::S_IWUSR;
                openat(slot.folder(), slot.name(), flags, mode).map(Made::File)
            }
            Self::Folder => mkdirat(slot.folder(), slot.name(), Mode::S_IRWXU).map(|()| Made::Folder),
            Self::Link(target) => symlinkat(target.as_os_str(), slot.folder(), slot.name()).map(|()| Made::Link),
        }
    }
}

impl Made {
    /// Returns the identity of what was made. Another account with write access here may have
    /// exchanged a new folder meanwhile: a new folder is empty.
    fn checked(self, slot: &EntryRef) -> Result<(Self, Identity), FilesError> {
        let identity = match &self {
            Self::File(file) => Identity::of(&fstat(file)?),
            Self::Link => Identity::of(&slot.stat()?),
            Self::Folder => {
                let folder = slot.open_folder(Mounts::Stay, FilesError::walking)?;
                if folder.names()?.next().is_some() {
                    return Err(FilesError::InUse);
                }
                folder.identity()
            }
        };
        Ok((self, identity))
    }
}

struct Walk<'h> {
    mounts: Mounts,
    /// The copy itself, which the walk must not enter.
    avoid: Identity,
    progress: &'h Progress,
}

impl Walk<'_> {
    fn fill(
        &self,
        made: Made,
        from: &EntryRef,
        to: &EntryRef,
        stat: &FileStat,
        depth: usize,
    ) -> Result<(), FilesError> {
        match made {
            Made::File(target) => self.fill_file(from, target, stat),
            Made::Folder => self.fill_folder(from, to, depth),
            Made::Link => {
                self.progress.advance(Amount::file(0))?;
                let (accessed, modified) = times(stat);
                tolerate(utimensat(to.folder(), to.name(), &accessed, &modified, UtimensatFlags::NoFollowSymlink))
            }
        }
    }

    fn fill_folder(&self, from: &EntryRef, to: &EntryRef, depth: usize) -> Result<(), FilesError> {
        if depth >= DEPTH_MAX {
            return Err(FilesError::TooDeep);
        }
        let source = from.open_folder(self.mounts, FilesError::walking)?;
        let target = to.open_folder(Mounts::Stay, FilesError::walking)?;
        let stat = fstat(&source)?;
        if Identity::of(&stat) == self.avoid {
            return Err(FilesError::IntoItself);
        }
        self.progress.advance(Amount::file(0))?;
        for name in source.names()? {
            let name = name?;
            if source.is_unfinished(&name) {
                continue;
            }
            let (from, to) = (from.within(&source, name.clone())?, to.within(&target, name)?);
            let stat = from.look().map_err(FilesError::vanished)?;
            let made = Make::of(&from, &stat)?.at(&to)?;
            self.fill(made, &from, &to, &stat, depth + 1)?;
        }
        finish(&target, &stat)
    }

    fn fill_file(&self, from: &EntryRef, target: OwnedFd, seen: &FileStat) -> Result<(), FilesError> {
        // If a pipe took the file's place meanwhile, opening it does not wait for a writer.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let (source, stat) = from.open_file(flags, self.mounts)?;
        let source = File::from(source);
        if Identity::of(&stat) != Identity::of(seen) {
            return Err(FilesError::InUse);
        }
        let target = File::from(target);
        copy_data(&source, &target, self.progress)?;
        self.progress.advance(Amount::file(0))?;
        finish(&target, &stat)
    }
}

/// Copies a file's data and skips its holes. The kernel copies from file to file.
fn copy_data(source: &File, target: &File, progress: &Progress) -> Result<(), FilesError> {
    let mut at = 0;
    let mut reached = 0;
    loop {
        let (begin, end) = match lseek(source, at, Whence::SeekData) {
            Ok(begin) => (begin, lseek(source, begin, Whence::SeekHole)?),
            Err(Errno::ENXIO) => break,
            // The file system does not support holes.
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => (at, i64::MAX),
            Err(errno) => return Err(errno.into()),
        };
        let (begin, end) = (begin.unsigned_abs(), end.unsigned_abs());
        let (mut source, mut target) = (source, target);
        source.seek(SeekFrom::Start(begin))?;
        target.seek(SeekFrom::Start(begin))?;
        reached = begin;
        while reached < end {
            let piece = PIECE.min(end.saturating_sub(reached));
            let copied = std::io::copy(&mut source.take(piece), &mut target)?;
            reached = reached.saturating_add(copied);
            progress.advance(Amount::piece(copied))?;
            if copied < piece {
                break;
            }
        }
        if reached < end {
            break;
        }
        at = i64::try_from(reached).map_err(|_| FilesError::NoSpace)?;
    }
    // The file ends with a hole, or it grew, or it reports size 0. All that was read counts.
    let length = fstat(source)?.st_size.unsigned_abs().max(reached);
    Ok(target.set_len(length)?)
}

fn finish(copy: impl std::os::fd::AsFd, original: &FileStat) -> Result<(), FilesError> {
    let copy = copy.as_fd();
    // A folder inherits the set-group-id bit from the folder above it: that bit belongs to the
    // place, not to the original.
    let inherited = fstat(copy)?.st_mode & (SFlag::S_IFMT.bits() ^ u32::MAX) & !PERMISSIONS;
    let mode = Mode::from_bits_truncate(inherited | (original.st_mode & PERMISSIONS));
    tolerate(fchmod(copy, mode))?;
    let (accessed, modified) = times(original);
    tolerate(futimens(copy, &accessed, &modified))
}

fn times(stat: &FileStat) -> (TimeSpec, TimeSpec) {
    (TimeSpec::new(stat.st_atime, stat.st_atime_nsec), TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec))
}

/// Some file systems store no permissions or times; only the content counts.
fn tolerate(outcome: Result<(), Errno>) -> Result<(), FilesError> {
    match outcome {
        Ok(()) | Err(Errno::EPERM | Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
