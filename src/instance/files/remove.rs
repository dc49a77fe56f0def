//! Removes the content of a folder for good: link by link and folder by folder. Never follows a
//! link, and never enters another file system.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, renameat2};
use nix::sys::stat::{Mode, fchmod, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::error::FilesError;
use super::progress::{Amount, Progress};
use super::rename::scratch_name;
use super::resolve::{EntryRef, Folder, Identity, Kind, Mounts};

/// Deepest level of a removal. Deeper folders are first moved to the top: each level holds a
/// descriptor, and a process has some 1024.
const DEPTH_MAX: usize = 64;
/// Most names held at once. The folder is read again from its start until nothing is left.
const NAMES_MAX: usize = 4096;
/// How often a folder is emptied again because something appeared in it meanwhile.
const REFILLS_MAX: usize = 16;
/// The permissions that an owner needs to empty a folder.
const OWNER: u32 = 0o700;

/// Removes a file, a link or a folder with its content, if it is the expected one. Another account
/// that may rename here could otherwise put a folder there whose content that account may not
/// remove itself.
pub(crate) fn remove(slot: &EntryRef, expected: Identity) -> Result<(), FilesError> {
    if Identity::of(&slot.stat()?) != expected {
        return Err(FilesError::InUse);
    }
    match unlink(slot.folder(), slot.name())? {
        Unlinked::Gone => Ok(()),
        Unlinked::IsFolder => {
            let folder = slot.open_folder(Mounts::Stay, FilesError::walking)?;
            if folder.identity() != expected {
                return Err(FilesError::InUse);
            }
            empty(&folder, &Progress::default())?;
            remove_empty_folder(slot)
        }
    }
}

/// Removes an empty file or folder, or a link.
pub(crate) fn remove_if_empty(slot: &EntryRef) -> Result<(), FilesError> {
    let stat = slot.stat()?;
    match Kind::of(&stat) {
        Kind::Folder => remove_empty_folder(slot),
        Kind::File if stat.st_size > 0 => Err(FilesError::InUse),
        Kind::File | Kind::Link => Ok(unlinkat(slot.folder(), slot.name(), UnlinkatFlags::NoRemoveDir)?),
        Kind::Special => Err(FilesError::InUse),
    }
}

fn remove_empty_folder(slot: &EntryRef) -> Result<(), FilesError> {
    match unlinkat(slot.folder(), slot.name(), UnlinkatFlags::RemoveDir) {
        Err(Errno::ENOTEMPTY | Errno::EEXIST) => Err(FilesError::InUse),
        outcome => Ok(outcome?),
    }
}

/// Removes everything in a folder that is open for reading. The folder stays.
pub(crate) fn empty(folder: &Folder, progress: &Progress) -> Result<(), FilesError> {
    let mut refills = 0;
    loop {
        let lifted = empty_level(folder, folder, 0, progress)?;
        if folder.names()?.next().is_none() {
            return Ok(());
        }
        if lifted == Lifted::No {
            refills += 1;
        }
        if refills > REFILLS_MAX {
            return Err(FilesError::InUse);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lifted {
    No,
    Some,
}

/// Empties a folder. Folders that are too deep move up to `top`.
fn empty_level(folder: &Folder, top: &Folder, depth: usize, progress: &Progress) -> Result<Lifted, FilesError> {
    folder.check_removable()?;
    make_writable(folder);
    let mut lifted = Lifted::No;
    loop {
        let names = folder.names()?.take(NAMES_MAX).collect::<Result<Vec<_>, _>>()?;
        let whole = names.len() < NAMES_MAX;
        for name in names {
            progress.advance(Amount::file(0))?;
            let name = name.as_bytes();
            if unlink(folder, name)? == Unlinked::Gone {
                continue;
            }
            let inner = match folder.enter(name, OFlag::O_RDONLY, Mounts::Stay)? {
                Err(Errno::ENOENT) => continue,
                opened => opened.map_err(FilesError::walking)?,
            };
            if depth >= DEPTH_MAX {
                inner.check_removable()?;
                make_writable(&inner);
                lift(folder, name, top)?;
                lifted = Lifted::Some;
                continue;
            }
            if empty_level(&inner, top, depth + 1, progress)? == Lifted::Some {
                lifted = Lifted::Some;
            }
            match unlinkat(folder, name, UnlinkatFlags::RemoveDir) {
                // Refilled meanwhile: the next round finds it.
                Ok(()) | Err(Errno::ENOENT | Errno::ENOTEMPTY | Errno::EEXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        // Lifted folders appear among the names at the top: the caller continues with them.
        if whole || lifted == Lifted::Some {
            return Ok(lifted);
        }
    }
}

fn lift(folder: &Folder, name: &[u8], top: &Folder) -> Result<(), FilesError> {
    loop {
        let scratch = scratch_name()?;
        // Without RENAME_NOREPLACE (NFS) a folder replaces at most an empty one: nothing is lost.
        let free = renameat2(folder, name, top, scratch.as_bytes(), RenameFlags::RENAME_NOREPLACE);
        match free {
            Err(Errno::EEXIST) => {}
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
                return Ok(nix::fcntl::renameat(folder, name, top, scratch.as_bytes())?);
            }
            outcome => return Ok(outcome?),
        }
    }
}

/// Makes the user's own read-only folder writable, such as Go's module cache. If this fails,
/// the removal fails too and gives the reason.
fn make_writable(folder: &Folder) {
    if let Ok(stat) = fstat(folder)
        && stat.st_mode & OWNER != OWNER
    {
        let _ = fchmod(folder, Mode::from_bits_truncate(stat.st_mode | OWNER));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unlinked {
    Gone,
    IsFolder,
}

fn unlink(folder: impl std::os::fd::AsFd, name: &[u8]) -> Result<Unlinked, Errno> {
    match unlinkat(folder.as_fd(), name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(Unlinked::Gone),
        Err(Errno::EISDIR) => Ok(Unlinked::IsFolder),
        // `EPERM` is the POSIX error for a folder, and Linux's error for a file that cannot be
        // removed.
        Err(Errno::EPERM) => match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) if Kind::of(&stat) == Kind::Folder => Ok(Unlinked::IsFolder),
            Ok(_) | Err(_) => Err(Errno::EPERM),
        },
        Err(errno) => Err(errno),
    }
}
