//! Receives a file under a scratch name beside its target. It gets its real name only when it is
//! complete.
//!
//! Until then, the file with the real name stays as it was. An abandoned file is removed at once,
//! or by the next instance if this one is killed. A file is written from its beginning without
//! gaps, so its length says how much of it has arrived. All of this waits for the disk and belongs
//! on a blocking thread.

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

/// Permissions of a received file, before the user's umask or the folder's default access list:
/// those of touch(1).
const MODE: Mode = Mode::S_IRUSR
    .union(Mode::S_IWUSR)
    .union(Mode::S_IRGRP)
    .union(Mode::S_IWGRP)
    .union(Mode::S_IROTH)
    .union(Mode::S_IWOTH);
/// Permissions that a file takes over from the one that it replaces. Set-user-id and similar bits
/// are not among them.
const PERMISSIONS: u32 = 0o777;

/// An incomplete file, removed on drop.
#[derive(Debug)]
pub(crate) struct Incoming {
    target: EntryRef,
    policy: ConflictPolicy,
    scratch: EntryRef,
    file: File,
    /// Bytes received from the beginning on, without a gap.
    written: u64,
    is_placed: bool,
    /// Dropped after the scratch name is gone, so that the scratch name never exists without its
    /// note.
    _note: Note,
}

impl Incoming {
    /// Begins a file under a scratch name.
    ///
    /// # Errors
    /// If the conflict policy would refuse it at the end, so that nothing needs to be sent; if the
    /// folder cannot be written to.
    pub(crate) fn begin(place: &Location, policy: ConflictPolicy) -> Result<Self, FilesError> {
        Self::begin_at(place.slot()?, policy)
    }

    /// As [`Self::begin`], but makes the missing folders above the file.
    ///
    /// # Errors
    /// As for [`Self::begin`]; then the folders made for it are removed.
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

    /// Writes bytes over existing ones or directly after them.
    ///
    /// # Errors
    /// If a part before `offset` is missing; if the disk is full or fails. What was written before
    /// stays.
    pub(crate) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), FilesError> {
        if offset > self.written {
            return Err(FilesError::Gap);
        }
        let length = u64::try_from(bytes.len()).map_err(|_| FilesError::NoSpace)?;
        let end = offset.checked_add(length).ok_or(FilesError::NoSpace)?;
        if let Err(error) = self.file.write_all_at(bytes, offset) {
            // A disk that became full may have taken some of the bytes: they do not count, so they
            // are cut off.
            tolerate(self.file.set_len(self.written))?;
            return Err(error.into());
        }
        self.written = self.written.max(end);
        Ok(())
    }

    /// Bytes received from the beginning on.
    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// Discards everything after `length`, so that it can be written again.
    ///
    /// # Errors
    /// If the disk fails.
    pub(crate) fn truncate(&mut self, length: u64) -> Result<(), FilesError> {
        if length < self.written {
            // `written` never claims more than the file holds, even if the disk fails.
            self.written = length;
            self.file.set_len(length)?;
        }
        Ok(())
    }

    /// Gives the file its name once it is safe on the disk; returns the entry that it got.
    ///
    /// # Errors
    /// If another file has taken the name and the policy forbids it; if the disk is full or fails.
    /// Then nothing has changed.
    pub(crate) fn commit(mut self, modified: Option<SystemTime>) -> Result<EntryRef, FilesError> {
        if let Some(modified) = modified {
            tolerate(self.file.set_times(FileTimes::new().set_modified(modified)))?;
        }
        self.file.sync_all()?;
        // Another account with write access to the folder could have put another file under the
        // scratch name.
        if Identity::of(&self.scratch.stat()?) != Identity::of(&fstat(&self.file)?) {
            return Err(FilesError::InUse);
        }
        let placed = self.place()?;
        self.is_placed = true;
        // Before this, a power cut could undo the name. The file is in place, so a failure here is
        // only logged.
        if let Err(error) = placed.sync_folder() {
            tracing::warn!(%error, "cannot synchronise the folder of a received file");
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

    /// Replaces the old file in one step. Accounts that could read the user's old file can read the
    /// new one, and no others.
    fn replace(&self) -> Result<EntryRef, FilesError> {
        if let Some(there) = self.target.look_if_any()? {
            refuse(&there, self.policy)?;
            // Permissions that another account set are not this user's choice.
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
            Err(errno) => tracing::warn!(scratch = self.scratch.text(), %errno, "cannot remove unfinished file"),
        }
    }
}

/// Whether a place holds a file of this size that was last changed at this time, in milliseconds
/// since 1970.
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

/// Refuses what the policy does not let a file replace. A folder is never replaced.
fn refuse(there: &FileStat, policy: ConflictPolicy) -> Result<(), FilesError> {
    match policy {
        ConflictPolicy::Reject => Err(FilesError::Exists),
        ConflictPolicy::Replace if Kind::of(there) == Kind::Folder => Err(FilesError::FolderNotReplaced),
        ConflictPolicy::Replace | ConflictPolicy::Rename | ConflictPolicy::MergeRename => Ok(()),
    }
}

/// Some file systems store no permissions or times; only the content counts.
fn tolerate(outcome: std::io::Result<()>) -> Result<(), FilesError> {
    match outcome.map_err(FilesError::from) {
        Err(FilesError::Denied | FilesError::Failed(Errno::EOPNOTSUPP | Errno::ENOSYS)) => Ok(()),
        outcome => outcome,
    }
}
