//! The only door to the disk: the kernel resolves every path beneath a drive's root, by descriptor.
//!
//! A path that leads out of the drive, by `..`, by an absolute or relative symbolic link or by a magic link
//! of `/proc`, is refused by `openat2` itself, so nothing lies between a check and its use. What changes
//! something works on a [`Slot`]: a folder that is already open, and a name in it that is never followed.

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::dir::{Dir, OwningIter};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{fsync, sync, syncfs};

use super::error::Trouble;
use super::path::{self, Name};
use super::unfinished::{Note, Unfinished};

/// How often a resolution is repeated at once that the kernel gave up because somebody renamed something meanwhile, anywhere on the machine:
/// so it does with `..`, which stands in links. Then it is repeated with pauses, since whoever renames without pause is in step with us.
const RESOLVE_TRIES_MAX: u32 = 64;
const PATIENT_TRIES_MAX: u32 = 200;
const PAUSE: Duration = Duration::from_micros(500);
/// How many folders one may climb to find out whether one lies in another: as many as a longest path has.
const CLIMB_MAX: usize = path::PATH_BYTES_MAX;

/// Which file something is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// The identity of what was looked at.
    pub(crate) fn of(stat: &FileStat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// What kind of file something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An ordinary file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A pipe, a socket or a device: never opened.
    Special,
}

impl Kind {
    /// The kind of what was looked at.
    pub(crate) fn of(stat: &FileStat) -> Self {
        let format = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        if format == SFlag::S_IFREG {
            Self::File
        } else if format == SFlag::S_IFDIR {
            Self::Folder
        } else if format == SFlag::S_IFLNK {
            Self::Link
        } else {
            Self::Special
        }
    }
}

/// Whether a walk may enter another file system (or the same one, mounted again).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mounts {
    /// What is mounted inside belongs to it.
    Enter,
    /// It ends there: such a folder is an error.
    Stay,
}

/// The open root of a drive.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    folder: Arc<OwnedFd>,
    identity: Identity,
    unfinished: Arc<Unfinished>,
}

impl Root {
    /// Opens the folder that the configuration names, following links in that path: it is the provider's own. Copies in it are noted
    /// while they are made.
    pub(crate) fn open(path: &Path, unfinished: Arc<Unfinished>) -> Result<Self, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = open(path, flags, Mode::empty())?;
        let identity = Identity::of(&fstat(&folder)?);
        Ok(Self { folder: Arc::new(folder), identity, unfinished })
    }

    /// Opens what a path names, following links as long as they stay in the drive.
    pub(crate) fn resolve(&self, names: &[Name], flags: OFlag) -> Result<OwnedFd, Errno> {
        beneath(&self.folder, path::relative(names).as_os_str(), flags, ResolveFlag::empty())
    }

    /// The place that a path names: its folder, open, and its last name; nothing for the drive itself.
    pub(crate) fn slot(&self, names: &[Name]) -> Result<Option<Slot>, Errno> {
        let Some((name, above)) = names.split_last() else {
            return Ok(None);
        };
        let folder = self.resolve(above, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        let unfinished = Arc::clone(&self.unfinished);
        Ok(Some(Slot { root: self.identity, folder: Arc::new(folder), name: name.clone(), unfinished }))
    }
}

/// A name in an open folder of a drive. There may or may not be something of that name.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    root: Identity,
    folder: Arc<OwnedFd>,
    name: Name,
    unfinished: Arc<Unfinished>,
}

impl Slot {
    /// A name in a folder that this process knew by this path, which has no link in it.
    pub(crate) fn at(folder: &Path, name: Name) -> Result<Self, Errno> {
        let resolve = ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = openat2(AT_FDCWD, folder, OpenHow::new().flags(flags).resolve(resolve))?;
        let root = Identity::of(&fstat(&folder)?);
        Ok(Self { root, folder: Arc::new(folder), name, unfinished: Arc::new(Unfinished::unnoted()) })
    }

    /// Where the open folder is at this moment.
    pub(crate) fn folder_path(&self) -> std::io::Result<PathBuf> {
        std::fs::read_link(format!("/proc/self/fd/{}", self.folder.as_raw_fd()))
    }

    /// A scratch name beside this one for a copy, which is noted while the note lives.
    pub(crate) fn unfinished(&self) -> Result<(Self, Note), Trouble> {
        self.unfinished.begin(self)
    }

    /// The open folder.
    pub(crate) fn folder(&self) -> &OwnedFd {
        &self.folder
    }

    /// The name in it.
    pub(crate) fn name(&self) -> &[u8] {
        self.name.as_bytes()
    }

    /// The name in it, as the user knows it.
    pub(crate) fn text(&self) -> String {
        self.name.text()
    }

    /// Another name in the same folder.
    pub(crate) fn beside(&self, name: Name) -> Self {
        Self { name, ..self.clone() }
    }

    /// `name(1).ext` beside `name.ext`.
    pub(crate) fn numbered(&self, number: u32) -> Self {
        self.beside(self.name.numbered(number))
    }

    /// A name within the folder that has this slot's name and is open already.
    pub(crate) fn within(&self, folder: &Arc<OwnedFd>, name: Name) -> Self {
        Self { folder: Arc::clone(folder), name, ..self.clone() }
    }

    /// What is there: the link itself if it is one.
    pub(crate) fn look(&self) -> Result<FileStat, Errno> {
        fstatat(&self.folder, self.name(), AtFlags::AT_SYMLINK_NOFOLLOW)
    }

    /// What is there, or nothing.
    pub(crate) fn look_if_any(&self) -> Result<Option<FileStat>, Errno> {
        match self.look() {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Opens what is there if it is no link.
    pub(crate) fn open(&self, flags: OFlag, mounts: Mounts) -> Result<OwnedFd, Errno> {
        child(&self.folder, self.name(), flags, mounts)
    }

    /// Opens the folder that is there, not a link to one, for reading and for work in it.
    pub(crate) fn open_folder(&self, mounts: Mounts) -> Result<Arc<OwnedFd>, Errno> {
        self.open(OFlag::O_RDONLY | OFlag::O_DIRECTORY, mounts).map(Arc::new)
    }

    /// Whether another slot has the same name in the same folder.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        let identity = |slot: &Self| fstat(&slot.folder).map(|stat| Identity::of(&stat));
        self.name == other.name && identity(self) == identity(other)
    }

    /// Waits until all that was written to the folder's file system is safe there.
    pub(crate) fn sync_file_system(&self) -> Result<(), Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        match beneath(&self.folder, ".", flags, ResolveFlag::empty()) {
            Ok(readable) => syncfs(&readable),
            // A folder that may be entered but not read: all file systems, then.
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
            // A folder that may be entered and written to but not read.
            Err(Errno::EACCES) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Whether this slot's folder is the given one, or lies in it at any depth.
    pub(crate) fn lies_in(&self, outer: Identity) -> Result<bool, Errno> {
        let mut at = Identity::of(&fstat(&self.folder)?);
        let mut folder = Arc::clone(&self.folder);
        for _ in 0..CLIMB_MAX {
            if at == outer {
                return Ok(true);
            }
            if at == self.root {
                return Ok(false);
            }
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let above = openat2(&folder, "..", OpenHow::new().flags(flags))?;
            let next = Identity::of(&fstat(&above)?);
            if next == at {
                // The root of all: the folder was moved out of the drive meanwhile.
                return Err(Errno::EXDEV);
            }
            (at, folder) = (next, Arc::new(above));
        }
        Err(Errno::ELOOP)
    }
}

/// Opens an entry of an open folder if it is no link.
pub(crate) fn child(folder: impl AsFd, name: &[u8], flags: OFlag, mounts: Mounts) -> Result<OwnedFd, Errno> {
    let stay = match mounts {
        Mounts::Enter => ResolveFlag::empty(),
        Mounts::Stay => ResolveFlag::RESOLVE_NO_XDEV,
    };
    beneath(folder, name, flags, ResolveFlag::RESOLVE_NO_SYMLINKS | stay)
}

/// The names in a folder, without `.` and `..`, as they come.
pub(crate) struct Names(OwningIter);

impl Names {
    /// Reads through a descriptor of its own, so that several may read the same folder.
    pub(crate) fn of(folder: impl AsFd) -> Result<Self, Errno> {
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
