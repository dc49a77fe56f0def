//! Renames in one step, and never loses a file that has the new name.
//!
//! Linux has a rename that refuses to replace (`RENAME_NOREPLACE`); NFS and some parallel file
//! systems have not. There the name is first claimed with an empty file or folder, which only one
//! process can create. Then the claim is replaced.

use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use super::error::FilesError;
use super::path::Name;
use super::resolve::{EntryRef, Identity, Kind};

/// Most scratch names that are tried. A taken one comes from a process with the same number on
/// another machine.
const SCRATCH_TRIES_MAX: u32 = 10_000;

/// A scratch name. It begins with a dot and names the process, which identifies its origin after a
/// power cut.
pub(crate) fn scratch_name() -> Result<Name, FilesError> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let text = format!(".countersign-{}-{number}.part", std::process::id());
    Ok(Name::from_bytes(text.into_bytes())?)
}

/// Makes something under a scratch name beside an entry; `make` fails with `EEXIST` if the name is
/// taken.
pub(crate) fn scratch<T>(
    beside: &EntryRef,
    make: impl Fn(&EntryRef) -> Result<T, Errno>,
) -> Result<(EntryRef, T), FilesError> {
    for _ in 0..SCRATCH_TRIES_MAX {
        let slot = beside.beside(scratch_name()?)?;
        match make(&slot) {
            Ok(made) => return Ok((slot, made)),
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(FilesError::Exists)
}

/// Renames; `EEXIST` if the new name is taken.
pub(crate) fn rename_new(from: &EntryRef, to: &EntryRef) -> Result<(), Errno> {
    let flags = RenameFlags::RENAME_NOREPLACE;
    match renameat2(from.folder(), from.name(), to.folder(), to.name(), flags) {
        Err(errno) if is_unsupported(errno) => claim_and_rename(from, to),
        outcome => outcome,
    }
}

/// Gives a complete file its name; `EEXIST` if the name is taken. Where the kernel cannot refuse to
/// replace, the file briefly has both names. The new name always means the whole file.
pub(crate) fn link_new(from: &EntryRef, to: &EntryRef) -> Result<(), Errno> {
    let flags = RenameFlags::RENAME_NOREPLACE;
    match renameat2(from.folder(), from.name(), to.folder(), to.name(), flags) {
        Err(errno) if is_unsupported(errno) => link_and_unlink(from, to),
        outcome => outcome,
    }
}

/// [`link_new`] where the kernel cannot. A file system without links claims the name first.
pub(super) fn link_and_unlink(from: &EntryRef, to: &EntryRef) -> Result<(), Errno> {
    match linkat(from.folder(), from.name(), to.folder(), to.name(), AtFlags::empty()) {
        // If the old name stays, its owner removes it.
        Ok(()) => unlinkat(from.folder(), from.name(), UnlinkatFlags::NoRemoveDir).or(Ok(())),
        Err(Errno::EPERM | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EMLINK) => claim_and_rename(from, to),
        Err(errno) => Err(errno),
    }
}

/// Replaces a file or link in one step. The kernel refuses to replace a folder.
pub(crate) fn rename_over(from: &EntryRef, to: &EntryRef) -> Result<(), FilesError> {
    let (new, old) = (from.look()?, to.look_if_any()?);
    renameat(from.folder(), from.name(), to.folder(), to.name())?;
    // POSIX: renaming one link to a file over another link to it does nothing.
    let is_same_file = old.is_some_and(|old| Identity::of(&old) == Identity::of(&new));
    if is_same_file && from.stat().is_ok_and(|left| Identity::of(&left) == Identity::of(&new)) {
        unlinkat(from.folder(), from.name(), UnlinkatFlags::NoRemoveDir)?;
    }
    Ok(())
}

fn is_unsupported(errno: Errno) -> bool {
    matches!(errno, Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP)
}

/// [`rename_new`] where the kernel cannot: claims the name first.
pub(super) fn claim_and_rename(from: &EntryRef, to: &EntryRef) -> Result<(), Errno> {
    let is_folder = Kind::of(&from.stat()?) == Kind::Folder;
    let unclaim = if is_folder {
        mkdirat(to.folder(), to.name(), Mode::S_IRWXU)?;
        UnlinkatFlags::RemoveDir
    } else {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        openat(to.folder(), to.name(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        UnlinkatFlags::NoRemoveDir
    };
    let renamed = renameat(from.folder(), from.name(), to.folder(), to.name());
    if renamed.is_err() {
        // The rename's own error is reported.
        let _ = unlinkat(to.folder(), to.name(), unclaim);
    }
    renamed
}
