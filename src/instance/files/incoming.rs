//! A file on its way in: written under a scratch name beside its target, which gets its real name
//! only when it is complete.
//!
//! Whatever happens before that, what was there under the real name stays as it was: a file that is
//! given up, or whose instance is killed, is removed, at once or by the next instance. It is
//! written from its beginning to its end without gaps, so what says that it is complete is its
//! length. All of this waits for the disk: it belongs on a thread of its own.

use std::fs::{File, FileTimes, Permissions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::entry::milliseconds;
use super::error::FilesError;
use super::leftovers::Note;
use super::operations::{Location, in_new_folders};
use super::relocate::RENAMES_MAX;
use super::rename::link_new;
use super::request::ConflictPolicy;
use super::resolve::{EntryRef, Identity, Kind};

/// The permissions of a file that comes in, before the user's umask or the default access list of
/// its folder: those of touch(1).
const MODE: Mode = Mode::S_IRUSR
    .union(Mode::S_IWUSR)
    .union(Mode::S_IRGRP)
    .union(Mode::S_IWGRP)
    .union(Mode::S_IROTH)
    .union(Mode::S_IWOTH);
/// The permissions that a file inherits from the one whose place it takes. Set-user-id and its like
/// are not among them.
const PERMISSIONS: u32 = 0o777;

/// A file that is not complete yet. Dropped, it is gone without a trace.
#[derive(Debug)]
pub(crate) struct Incoming {
    target: EntryRef,
    policy: ConflictPolicy,
    scratch: EntryRef,
    file: File,
    /// How many bytes there are from the beginning on, without a gap.
    written: u64,
    is_placed: bool,
    /// Gone after the scratch name, so that there is no moment at which neither stands for the
    /// other.
    _note: Note,
}

impl Incoming {
    /// Begins a file for a place, under a scratch name.
    ///
    /// # Errors
    /// If the policy does not let it take the place: it would be refused at the end, and nothing
    /// needs to be sent. If the folder cannot be written to.
    pub(crate) fn begin(place: &Location, policy: ConflictPolicy) -> Result<Self, FilesError> {
        Self::begin_at(place.slot()?, policy)
    }

    /// The same, making the folders above it that do not exist.
    ///
    /// # Errors
    /// As of [`Self::begin`]; then no folder is left that was made for it.
    pub(crate) fn begin_in_new_folders(place: &Location, policy: ConflictPolicy) -> Result<Self, FilesError> {
        in_new_folders(place, || Self::begin(place, policy))
    }

    fn begin_at(target: EntryRef, policy: ConflictPolicy) -> Result<Self, FilesError> {
        if let Some(there) = target.look_if_any()? {
            refuse(&there, policy)?;
        }
        let (scratch, mut note) = target.unfinished()?;
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let file = File::from(openat(scratch.folder(), scratch.name(), flags, MODE)?);
        note.made(Identity::of(&fstat(&file)?));
        Ok(Self { target, policy, scratch, file, written: 0, is_placed: false, _note: note })
    }

    /// Writes some of it, over what is there or right behind.
    ///
    /// # Errors
    /// If a part before it is missing; if the disk is full or fails. What was written before stays.
    pub(crate) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), FilesError> {
        if offset > self.written {
            return Err(FilesError::Gap);
        }
        let length = u64::try_from(bytes.len()).map_err(|_| FilesError::NoSpace)?;
        let end = offset.checked_add(length).ok_or(FilesError::NoSpace)?;
        if let Err(error) = self.file.write_all_at(bytes, offset) {
            // A disk that became full may have taken some of it: what does not count takes no room.
            tolerate(self.file.set_len(self.written))?;
            return Err(error.into());
        }
        self.written = self.written.max(end);
        Ok(())
    }

    /// How many bytes there are, from the beginning on.
    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// Takes back what is behind `length`, so that it can be written anew.
    ///
    /// # Errors
    /// If the disk fails.
    pub(crate) fn truncate(&mut self, length: u64) -> Result<(), FilesError> {
        if length < self.written {
            // Less is promised than there may be, even if the disk fails.
            self.written = length;
            self.file.set_len(length)?;
        }
        Ok(())
    }

    /// Gives it its name, once all of it is safe on the disk; tells which name it has got.
    ///
    /// # Errors
    /// If something has taken the name meanwhile and the policy lets it; if the disk is full or
    /// fails. Then nothing has changed.
    pub(crate) fn commit(mut self, modified: Option<SystemTime>) -> Result<EntryRef, FilesError> {
        if let Some(modified) = modified {
            tolerate(self.file.set_times(FileTimes::new().set_modified(modified)))?;
        }
        self.file.sync_all()?;
        // Somebody who may write to the folder as well could have put another file under the
        // scratch name.
        if Identity::of(&self.scratch.stat()?) != Identity::of(&fstat(&self.file)?) {
            return Err(FilesError::InUse);
        }
        let placed = self.place()?;
        self.is_placed = true;
        // Before this, a power cut could take the name away again. The file is there: whether the
        // disk says so is for the log.
        if let Err(error) = placed.sync_folder() {
            tracing::warn!(%error, "a folder could not be synchronised after a file came in");
        }
        Ok(placed)
    }

    fn place(&self) -> Result<EntryRef, FilesError> {
        self.target.check_again()?;
        match link_new(&self.scratch, &self.target) {
            Ok(()) => return Ok(self.target.clone()),
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        match self.policy {
            ConflictPolicy::Reject => Err(FilesError::Exists),
            ConflictPolicy::Replace => self.replace(),
            ConflictPolicy::Rename | ConflictPolicy::MergeRename => {
                for number in 1..=RENAMES_MAX {
                    let numbered = self.target.numbered(number)?;
                    match link_new(&self.scratch, &numbered) {
                        Err(Errno::EEXIST) => {}
                        outcome => return Ok(outcome.map(|()| numbered)?),
                    }
                }
                Err(FilesError::Exists)
            }
        }
    }

    /// Takes the place of what is there in one step. Who could read the user's old file can read
    /// the new one, and nobody else.
    fn replace(&self) -> Result<EntryRef, FilesError> {
        if let Some(there) = self.target.look_if_any()? {
            refuse(&there, self.policy)?;
            // Another account's permissions are not this user's choice.
            if Kind::of(&there) == Kind::File && there.st_uid == fstat(&self.file)?.st_uid {
                tolerate(self.file.set_permissions(Permissions::from_mode(there.st_mode & PERMISSIONS)))?;
            }
        }
        let (scratch, target) = (&self.scratch, &self.target);
        renameat(scratch.folder(), scratch.name(), target.folder(), target.name())?;
        Ok(target.clone())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.is_placed {
            return;
        }
        match unlinkat(self.scratch.folder(), self.scratch.name(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => tracing::warn!(scratch = self.scratch.text(), %errno, "an unfinished file cannot be removed"),
        }
    }
}

/// Whether a file is at that place already that is of this size and was last changed then, in
/// milliseconds since 1970.
///
/// # Errors
/// If the path leads out of the drive, or cannot be looked at.
pub(crate) fn is_there(place: &Location, size: u64, modified_ms: i64) -> Result<bool, FilesError> {
    let slot = match place.slot() {
        Err(FilesError::NotFound) => return Ok(false),
        slot => slot?,
    };
    let is_same = |stat: FileStat| {
        Kind::of(&stat) == Kind::File
            && u64::try_from(stat.st_size) == Ok(size)
            && milliseconds(stat.st_mtime, stat.st_mtime_nsec) == modified_ms
    };
    Ok(slot.look_if_any()?.is_some_and(is_same))
}

/// What a file may never replace: a folder, with all that it holds, for one thing.
fn refuse(there: &FileStat, policy: ConflictPolicy) -> Result<(), FilesError> {
    match policy {
        ConflictPolicy::Reject => Err(FilesError::Exists),
        ConflictPolicy::Replace if Kind::of(there) == Kind::Folder => Err(FilesError::FolderNotReplaced),
        ConflictPolicy::Replace | ConflictPolicy::Rename | ConflictPolicy::MergeRename => Ok(()),
    }
}

/// Some file systems have no permissions or times of their own; the content is what counts.
fn tolerate(outcome: std::io::Result<()>) -> Result<(), FilesError> {
    match outcome.map_err(FilesError::from) {
        Err(FilesError::Denied | FilesError::Failed(Errno::EOPNOTSUPP | Errno::ENOSYS)) => Ok(()),
        outcome => outcome,
    }
}
