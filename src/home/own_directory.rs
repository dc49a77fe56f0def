//! Writes in a user's own directory: creates it if missing, with one writer at a time, and replaces
//! files whole.
//!
//! A reader sees the old or the new file, never a part, and a crash leaves one of the two. All
//! operations are relative to open, checked directories: see [`countersign_config::user_file`].

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use countersign_keys::identity::Uid;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};

use countersign_config::user_file::{CheckedDirectory, UserFileFailure};

/// Where instances keep state, below the home directory. A provider's own data is in a subdirectory
/// named by its id, because machines of several providers may share homes.
pub const STATE: [&str; 3] = [".local", "state", "countersign"];

/// The end of a file's name while it is written.
const UNFINISHED: &str = ".unfinished";

#[derive(Debug, thiserror::Error)]
pub enum WriteFailure {
    /// The directory is missing, or others could write in it.
    #[error(transparent)]
    Strict(#[from] UserFileFailure),
    #[error("cannot {step} {path}")]
    Step {
        step: &'static str,
        /// The file concerned.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl WriteFailure {
    /// Whether the disk or the quota is full.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Strict(_) => false,
            Self::Step { source, .. } => source
                .raw_os_error()
                .map(Errno::from_raw)
                .is_some_and(|errno| matches!(errno, Errno::ENOSPC | Errno::EDQUOT)),
        }
    }
}

/// An open directory with its lock: no other process of this program writes in it.
#[derive(Debug)]
pub struct OwnDirectory {
    directory: CheckedDirectory,
    _lock: Flock<OwnedFd>,
}

impl OwnDirectory {
    /// Opens the directory of these names below a home. Creates missing ones, for their owner
    /// alone.
    pub fn make(home: &Path, owner: Uid, names: &[&str]) -> Result<Self, WriteFailure> {
        let mut directory = CheckedDirectory::home(home, owner)?;
        for name in names {
            directory = enter_or_make(&directory, name)?;
        }
        Self::lock(directory)
    }

    fn lock(directory: CheckedDirectory) -> Result<Self, WriteFailure> {
        let failed = |source| WriteFailure::Step { step: "lock", path: directory.path().to_owned(), source };
        let descriptor = directory.descriptor().try_clone().map_err(failed)?;
        let lock = Flock::lock(descriptor, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))?;
        Ok(Self { directory, _lock: lock })
    }

    /// The directory, to read files from.
    pub const fn strict(&self) -> &CheckedDirectory {
        &self.directory
    }

    /// Removes what processes that died have left of files that they were writing.
    pub fn remove_unfinished(&self) -> Result<(), WriteFailure> {
        let failed = |source: Errno| WriteFailure::Step {
            step: "clear",
            path: self.directory.path().to_owned(),
            source: source.into(),
        };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let at = self.directory.descriptor();
        for entry in Dir::openat(at, ".", flags, Mode::empty()).map_err(failed)?.iter() {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if name.starts_with(b".") && name.ends_with(UNFINISHED.as_bytes()) {
                match unlinkat(at, entry.file_name(), UnlinkatFlags::NoRemoveDir) {
                    Ok(()) | Err(Errno::ENOENT) => {}
                    Err(errno) => return Err(failed(errno)),
                }
            }
        }
        Ok(())
    }

    /// Writes or replaces a file of mode 0600. It is on the disk when this returns.
    pub fn replace(&self, name: &str, content: &[u8]) -> Result<(), WriteFailure> {
        let path = self.directory.path().join(name);
        let unfinished = format!(".{name}{UNFINISHED}");
        let at = self.directory.descriptor();
        let failed = |step: &'static str| {
            let path = path.clone();
            move |source: std::io::Error| WriteFailure::Step { step, path, source }
        };
        // Left over by a process that died: the lock excludes another writer.
        match unlinkat(at, unfinished.as_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(failed("make room for")(errno.into())),
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let written =
            openat(at, unfinished.as_str(), flags, mode).map_err(std::io::Error::from).and_then(|descriptor| {
                fchmod(&descriptor, mode)?;
                let mut file = File::from(descriptor);
                file.write_all(content)?;
                file.sync_all()?;
                renameat(at, unfinished.as_str(), at, name)?;
                Ok(())
            });
        if let Err(error) = written {
            // The first failure matters.
            let _ = unlinkat(at, unfinished.as_str(), UnlinkatFlags::NoRemoveDir);
            return Err(failed("write")(error));
        }
        fsync(at).map_err(|errno| failed("write")(errno.into()))
    }
}

fn enter_or_make(directory: &CheckedDirectory, name: &str) -> Result<CheckedDirectory, WriteFailure> {
    match directory.enter(name) {
        Err(failure) if failure.is_absence() => {}
        entered => return Ok(entered?),
    }
    match mkdirat(directory.descriptor(), name, Mode::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => Ok(directory.enter(name)?),
        Err(errno) => Err(WriteFailure::Step { step: "make", path: directory.path().join(name), source: errno.into() }),
    }
}
