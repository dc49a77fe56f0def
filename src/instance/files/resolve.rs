//! Resolves paths beneath a drive's root (openat2); the only access to the disk.
//!
//! `openat2` itself refuses a path that leads out of the drive: by `..`, by an absolute or relative
//! symbolic link, or by a magic link of `/proc`. So nothing lies between a check and its use.
//! Changes work on an [`EntryRef`]: an open folder, and a name in it that is never followed.
//!
//! A [`Folder`] proves that the open folder is not protected and lies in no protected one. An
//! [`EntryRef`] proves that its name leads to none. Both compare the identity of what was opened
//! (see [`super::protected`]). Nothing in a drive can be opened in another way.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::dir::{Dir, OwningIter};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::unistd::{fsync, sync, syncfs};

use super::error::FilesError;
pub(crate) use super::identity::{Identity, Kind};
use super::leftovers::Unfinished;
use super::path::{self, Name};
use super::protected::{Protected, Protection};

/// The kernel gives up resolving `..`, which links contain, while anything on the machine is
/// renamed (`EAGAIN`). A resolution is repeated this often at once, and then with pauses: a process
/// that renames continuously could otherwise stay in step with it.
const RESOLVE_TRIES_MAX: u32 = 64;
const PATIENT_TRIES_MAX: u32 = 200;
const PAUSE: Duration = Duration::from_micros(500);
/// How many names at the end of a path that leads nowhere are checked for protection.
const UNOPENED_MAX: usize = 32;
/// How many folders are climbed to find out whether one lies in another: as many as the longest
/// path has.
const CLIMB_MAX: usize = path::PATH_BYTES_MAX;

/// Whether a walk may enter another file system (or the same one, mounted again).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mounts {
    /// A mounted file system belongs to the folder.
    Enter,
    /// Entering a mounted file system is an error.
    Stay,
}

#[derive(Debug, Clone)]
pub(crate) struct Root {
    folder: Arc<OwnedFd>,
    identity: Identity,
    protection: Arc<Protection>,
    unfinished: Arc<Unfinished>,
}

impl Root {
    /// Opens the folder that the configuration names. Links in that path are followed: the path is
    /// the provider's own. Unfinished copies in the drive are noted in `unfinished`.
    pub(crate) fn at(path: &Path, protection: Arc<Protection>, unfinished: Arc<Unfinished>) -> Result<Self, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = open(path, flags, Mode::empty())?;
        let identity = Identity::of(&fstat(&folder)?);
        Ok(Self { folder: Arc::new(folder), identity, protection, unfinished })
    }

    /// Opens a folder, following links as long as they stay in the drive.
    pub(crate) fn folder(&self, names: &[Name], flags: OFlag) -> Result<Arc<Folder>, FilesError> {
        let (descriptor, stat, protected) = self.resolve(names, flags | OFlag::O_DIRECTORY)?;
        let unfinished = Arc::clone(&self.unfinished);
        Ok(Arc::new(Folder { descriptor, identity: Identity::of(&stat), protected, unfinished }))
    }

    /// Opens a file, following links as long as they stay in the drive.
    pub(crate) fn file(&self, names: &[Name], flags: OFlag) -> Result<(OwnedFd, FileStat), FilesError> {
        self.resolve(names, flags).map(|(file, stat, _)| (file, stat))
    }

    /// Looks at a path's target, following links as long as they stay in the drive.
    pub(crate) fn look(&self, names: &[Name]) -> Result<FileStat, FilesError> {
        self.resolve(names, OFlag::O_PATH).map(|(_, stat, _)| stat)
    }

    /// The open folder of a path, and its last name.
    pub(crate) fn slot(&self, names: &[Name]) -> Result<EntryRef, FilesError> {
        let (name, above) = names.split_last().ok_or(FilesError::WholeDrive)?;
        let folder = self.folder(above, OFlag::O_PATH)?;
        self.slot_in(folder, name.clone())
    }

    /// A name in a folder of this drive.
    pub(crate) fn slot_in(&self, folder: Arc<Folder>, name: Name) -> Result<EntryRef, FilesError> {
        EntryRef::checked(self.identity, folder, name, Arc::clone(&self.protection))
    }

    /// Opens a path, and refuses what is protected. Protection is checked on the open descriptor,
    /// which cannot be exchanged any more.
    fn resolve(&self, names: &[Name], flags: OFlag) -> Result<(OwnedFd, FileStat, Arc<Protected>), FilesError> {
        let found = self.open(names, flags);
        let protected = self.protection.look()?;
        let found = match found {
            Ok(found) => found,
            Err(errno) => {
                self.check_unopened(names, &protected)?;
                return Err(FilesError::resolving(errno));
            }
        };
        let stat = fstat(&found)?;
        protected.check_file(&stat)?;
        if Kind::of(&stat) == Kind::Folder {
            match check_way_up(&found, &protected) {
                // The folder may be seen but not entered: nothing is done in it, and it lies in the
                // one above.
                Err(FilesError::Denied) => {}
                outcome => return outcome.map(|()| (found, stat, protected)),
            }
            protected.check_folder(Identity::of(&stat))?;
        }
        let Some((name, above)) = names.split_last() else {
            return Err(FilesError::Denied);
        };
        let folder = self.open(above, OFlag::O_PATH | OFlag::O_DIRECTORY).map_err(FilesError::resolving)?;
        let named = fstatat(&folder, name.as_bytes(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if Identity::of(&named) == Identity::of(&stat) {
            check_way_up(&folder, &protected)?;
        } else {
            // A link, or a file that was exchanged: the kernel says where it is.
            check_way_up(&folder_of(&found, &stat)?, &protected)?;
        }
        Ok((found, stat, protected))
    }

    /// Refuses a path that leads nowhere if it would lead to a protected folder. The answer does
    /// not tell whether the name exists.
    fn check_unopened(&self, names: &[Name], protected: &Protected) -> Result<(), FilesError> {
        for length in (0..names.len()).rev().take(UNOPENED_MAX) {
            let (Some(above), Some(name)) = (names.get(..length), names.get(length)) else { continue };
            let Ok(folder) = self.open(above, OFlag::O_PATH | OFlag::O_DIRECTORY) else { continue };
            check_way_up(&folder, protected)?;
            let entry = protected.check_entry(Identity::of(&fstat(&folder)?), name.as_bytes());
            return if entry == Err(FilesError::HoldsProtected) { Ok(()) } else { entry };
        }
        Ok(())
    }

    fn open(&self, names: &[Name], flags: OFlag) -> Result<OwnedFd, Errno> {
        beneath(&self.folder, path::relative(names).as_os_str(), flags, ResolveFlag::empty())
    }
}

/// The folder that holds an open file at this moment.
fn folder_of(file: &OwnedFd, stat: &FileStat) -> Result<OwnedFd, FilesError> {
    let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(FilesError::InUse);
    };
    let resolve = ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let folder = openat2(AT_FDCWD, above, OpenHow::new().flags(flags).resolve(resolve)).map_err(FilesError::walking)?;
    let named = fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(FilesError::walking)?;
    if Identity::of(&named) == Identity::of(stat) { Ok(folder) } else { Err(FilesError::InUse) }
}

/// Refuses a folder that is protected or lies in a protected one.
fn check_way_up(folder: &OwnedFd, protected: &Protected) -> Result<(), FilesError> {
    let mut at = Identity::of(&fstat(folder)?);
    protected.check_folder(at)?;
    let mut above = None;
    for _ in 0..CLIMB_MAX {
        // A folder above a protected one lies in none.
        if protected.is_above(at) {
            return Ok(());
        }
        let next = parent(above.as_ref().unwrap_or(folder))?;
        let identity = Identity::of(&fstat(&next)?);
        if identity == at {
            return Ok(());
        }
        protected.check_folder(identity)?;
        (at, above) = (identity, Some(next));
    }
    Err(FilesError::TooDeep)
}

fn parent(folder: &OwnedFd) -> Result<OwnedFd, Errno> {
    openat2(folder, "..", OpenHow::new().flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC))
}

/// An open folder of a drive that is not protected.
#[derive(Debug)]
pub(crate) struct Folder {
    descriptor: OwnedFd,
    identity: Identity,
    protected: Arc<Protected>,
    unfinished: Arc<Unfinished>,
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Folder {
    /// A descriptor for a terminal, whose user may do there whatever their account may.
    pub(crate) fn descriptor(&self) -> std::io::Result<OwnedFd> {
        self.descriptor.try_clone()
    }

    /// Where the folder is on this machine, at this moment.
    pub(crate) fn local_path(&self) -> std::io::Result<PathBuf> {
        std::fs::read_link(format!("/proc/self/fd/{}", self.descriptor.as_raw_fd()))
    }

    pub(crate) const fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether a name in the folder is an unfinished copy or upload.
    pub(crate) fn is_unfinished(&self, name: &Name) -> bool {
        self.unfinished.is_noted(name.as_bytes())
    }

    pub(crate) fn names(&self) -> Result<Names, Errno> {
        Names::of(self)
    }

    /// Looks at an entry without following a link; `None` if it does not exist or is not shown.
    pub(crate) fn look(&self, name: &Name) -> Result<Option<FileStat>, Errno> {
        if self
            .protected
            .check_entry(self.identity, name.as_bytes())
            .is_err_and(|why| why != FilesError::HoldsProtected)
        {
            return Ok(None);
        }
        let stat = match fstatat(self, name.as_bytes(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let seen = self.protected.check_folder(Identity::of(&stat)).and_then(|()| self.protected.check_file(&stat));
        Ok(Some(stat).filter(|_| seen.is_ok() && !self.is_unfinished(name)))
    }

    /// Opens a folder in this one, without following a link. The inner error is the system's; the
    /// outer one says that the folder is protected.
    pub(crate) fn enter(&self, name: &[u8], flags: OFlag, mounts: Mounts) -> Result<Result<Self, Errno>, FilesError> {
        let descriptor = match child(self, name, flags | OFlag::O_DIRECTORY, mounts) {
            Ok(descriptor) => descriptor,
            Err(errno) => return Ok(Err(errno)),
        };
        let identity = Identity::of(&fstat(&descriptor)?);
        self.protected.check_folder(identity)?;
        let (protected, unfinished) = (Arc::clone(&self.protected), Arc::clone(&self.unfinished));
        Ok(Ok(Self { descriptor, identity, protected, unfinished }))
    }

    /// Refuses a folder from which something protected could be moved or removed.
    pub(crate) fn check_removable(&self) -> Result<(), FilesError> {
        if self.protected.is_above(self.identity) { Err(FilesError::HoldsProtected) } else { Ok(()) }
    }
}

/// A name in an open folder of a drive, which leads to nothing protected. The name need not exist.
#[derive(Debug, Clone)]
pub(crate) struct EntryRef {
    root: Identity,
    folder: Arc<Folder>,
    name: Name,
    protection: Arc<Protection>,
}

impl EntryRef {
    /// A name in a folder that this process recorded by path. The path contains no link.
    pub(crate) fn at(folder: &Path, name: Name, protection: Arc<Protection>) -> Result<Self, FilesError> {
        let resolve = ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let descriptor = openat2(AT_FDCWD, folder, OpenHow::new().flags(flags).resolve(resolve))?;
        let identity = Identity::of(&fstat(&descriptor)?);
        let protected = protection.look()?;
        check_way_up(&descriptor, &protected)?;
        let unfinished = Arc::new(Unfinished::unnoted());
        let folder = Arc::new(Folder { descriptor, identity, protected, unfinished });
        Self::checked(identity, folder, name, protection)
    }

    fn checked(
        root: Identity,
        folder: Arc<Folder>,
        name: Name,
        protection: Arc<Protection>,
    ) -> Result<Self, FilesError> {
        folder.protected.check_entry(folder.identity, name.as_bytes())?;
        Ok(Self { root, folder, name, protection })
    }

    /// Checks protection again, for work that began long ago.
    pub(crate) fn check_again(&self) -> Result<(), FilesError> {
        let protected = self.protection.look()?;
        check_way_up(&self.folder.descriptor, &protected)?;
        protected.check_entry(self.folder.identity, self.name())
    }

    /// The path of the open folder at this moment.
    pub(crate) fn folder_path(&self) -> std::io::Result<PathBuf> {
        std::fs::read_link(format!("/proc/self/fd/{}", self.folder.descriptor.as_raw_fd()))
    }

    /// The notes of unfinished copies in its drive.
    pub(super) fn notes(&self) -> &Unfinished {
        &self.folder.unfinished
    }

    pub(crate) fn folder(&self) -> &OwnedFd {
        &self.folder.descriptor
    }

    pub(crate) fn name(&self) -> &[u8] {
        self.name.as_bytes()
    }

    /// The name as the user knows it.
    pub(crate) fn text(&self) -> String {
        self.name.text()
    }

    /// Another name in the same folder.
    pub(crate) fn beside(&self, name: Name) -> Result<Self, FilesError> {
        Self::checked(self.root, Arc::clone(&self.folder), name, Arc::clone(&self.protection))
    }

    /// `name(1).ext` beside `name.ext`.
    pub(crate) fn numbered(&self, number: u32) -> Result<Self, FilesError> {
        self.beside(self.name.numbered(number))
    }

    /// A name within `folder`, which is this entry, open.
    pub(crate) fn within(&self, folder: &Arc<Folder>, name: Name) -> Result<Self, FilesError> {
        Self::checked(self.root, Arc::clone(folder), name, Arc::clone(&self.protection))
    }

    /// Looks at the entry, protected or not, without following a link.
    pub(crate) fn stat(&self) -> Result<FileStat, Errno> {
        fstatat(&self.folder, self.name(), AtFlags::AT_SYMLINK_NOFOLLOW)
    }

    /// Looks at the entry, if it may be changed, without following a link.
    pub(crate) fn look(&self) -> Result<FileStat, FilesError> {
        let stat = self.stat()?;
        self.folder.protected.check_change(&stat)?;
        Ok(stat)
    }

    /// As [`Self::look`]; `None` if the entry does not exist.
    pub(crate) fn look_if_any(&self) -> Result<Option<FileStat>, FilesError> {
        match self.look() {
            Ok(stat) => Ok(Some(stat)),
            Err(FilesError::NotFound) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Opens the file, without following a link. Refuses a file of a protected folder.
    pub(crate) fn open_file(&self, flags: OFlag, mounts: Mounts) -> Result<(OwnedFd, FileStat), FilesError> {
        let file = child(&self.folder, self.name(), flags, mounts).map_err(FilesError::walking)?;
        let stat = fstat(&file)?;
        self.folder.protected.check_file(&stat)?;
        Ok((file, stat))
    }

    /// Opens the folder for reading and for work in it, without following a link. `meaning`
    /// translates an error of the system.
    pub(crate) fn open_folder(
        &self,
        mounts: Mounts,
        meaning: fn(Errno) -> FilesError,
    ) -> Result<Arc<Folder>, FilesError> {
        self.folder.enter(self.name(), OFlag::O_RDONLY, mounts)?.map(Arc::new).map_err(meaning)
    }

    /// As [`Self::open_folder`], but only for work in it.
    pub(crate) fn enter(&self, mounts: Mounts, meaning: fn(Errno) -> FilesError) -> Result<Arc<Folder>, FilesError> {
        self.folder.enter(self.name(), OFlag::O_PATH, mounts)?.map(Arc::new).map_err(meaning)
    }

    /// Whether another entry has the same name in the same folder.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        self.name == other.name && self.folder.identity == other.folder.identity
    }

    /// Waits until everything written to the folder's file system is safe there.
    pub(crate) fn sync_file_system(&self) -> Result<(), Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        match beneath(&self.folder, ".", flags, ResolveFlag::empty()) {
            Ok(readable) => syncfs(&readable),
            // The folder may be entered but not read: synchronise all file systems.
            Err(_) => {
                sync();
                Ok(())
            }
        }
    }

    /// Waits until the names in the folder are safe on its disk.
    pub(crate) fn sync_folder(&self) -> Result<(), Errno> {
        match beneath(&self.folder, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY, ResolveFlag::empty()) {
            Ok(readable) => fsync(&readable),
            // The folder may be entered and written to but not read.
            Err(Errno::EACCES) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Whether this entry's folder is the given one, or lies in it at any depth.
    pub(crate) fn lies_in(&self, outer: Identity) -> Result<bool, Errno> {
        let mut at = self.folder.identity;
        let mut folder: Option<OwnedFd> = None;
        for _ in 0..CLIMB_MAX {
            if at == outer {
                return Ok(true);
            }
            if at == self.root {
                return Ok(false);
            }
            let above = parent(folder.as_ref().unwrap_or(&self.folder.descriptor))?;
            let next = Identity::of(&fstat(&above)?);
            if next == at {
                // The root of the file system: the folder was moved out of the drive meanwhile.
                return Err(Errno::EXDEV);
            }
            (at, folder) = (next, Some(above));
        }
        Err(Errno::ELOOP)
    }
}

/// Opens an entry of an open folder, without following a link.
fn child(folder: impl AsFd, name: &[u8], flags: OFlag, mounts: Mounts) -> Result<OwnedFd, Errno> {
    let stay = match mounts {
        Mounts::Enter => ResolveFlag::empty(),
        Mounts::Stay => ResolveFlag::RESOLVE_NO_XDEV,
    };
    beneath(folder, name, flags, ResolveFlag::RESOLVE_NO_SYMLINKS | stay)
}

/// The names in a folder, without `.` and `..`, in the system's order.
pub(crate) struct Names(OwningIter);

impl Names {
    /// Reads through a new descriptor, so that several readers can read the same folder.
    fn of(folder: impl AsFd) -> Result<Self, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let fresh = beneath(folder, ".", flags, ResolveFlag::empty())?;
        Ok(Self(Dir::from_fd(fresh)?.into_iter()))
    }
}

impl Iterator for Names {
    type Item = Result<Name, Errno>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let bytes = match self.0.next()? {
                Ok(entry) => entry.file_name().to_bytes().to_vec(),
                Err(errno) => return Some(Err(errno)),
            };
            if bytes != b"." && bytes != b".." {
                return Some(Name::from_bytes(bytes).map_err(|_| Errno::EILSEQ));
            }
        }
    }
}

fn beneath<P: ?Sized + nix::NixPath>(
    folder: impl AsFd,
    path: &P,
    flags: OFlag,
    further: ResolveFlag,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS | further;
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    for tries in 1..RESOLVE_TRIES_MAX.saturating_add(PATIENT_TRIES_MAX) {
        match openat2(folder.as_fd(), path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) if tries < RESOLVE_TRIES_MAX => {}
            Err(Errno::EAGAIN | Errno::EINTR) => std::thread::sleep(PAUSE),
            outcome => return outcome,
        }
    }
    openat2(folder.as_fd(), path, how)
}
