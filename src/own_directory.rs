//! A directory of the user's own, to write in: made where it is missing, one writer at a time,
//! files replaced whole.
//!
//! A reader sees the file as it was or as it is, never half of it, and a crash leaves one of the
//! two. Everything happens relative to open directories that have been checked: see
//! [`crate::config::strict_file`].

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use countersign_keys::identity::Uid;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};

use crate::config::strict_file::{StrictDirectory, StrictFileFailure};

/// Where instances keep what they have to remember, below the home directory. What is of one
/// provider alone is in a directory below it with that provider's id: homes may be shared by
/// machines of several.
pub(crate) const STATE: [&str; 3] = [".local", "state", "countersign"];

/// Why something of the user's own cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteFailure {
    /// The directory is not there, or others could write in it.
    #[error(transparent)]
    Strict(#[from] StrictFileFailure),
    /// The system refused a step.
    #[error("cannot {step} {path}")]
    Step {
        /// What was refused.
        step: &'static str,
        /// With which file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl WriteFailure {
    /// Whether there is no room, on the disk or within the quota.
    pub(crate) fn is_full(&self) -> bool {
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
pub(crate) struct OwnDirectory {
    directory: StrictDirectory,
    _lock: Flock<OwnedFd>,
}

impl OwnDirectory {
    /// Opens the directory of these names below a home; makes what is missing, for its owner alone.
    pub(crate) fn make(home: &Path, owner: Uid, names: &[&str]) -> Result<Self, WriteFailure> {
        let mut directory = StrictDirectory::home(home, owner)?;
        for name in names {
            directory = enter_or_make(&directory, name)?;
        }
        Self::lock(directory)
    }

    fn lock(directory: StrictDirectory) -> Result<Self, WriteFailure> {
        let failed = |source| WriteFailure::Step { step: "lock", path: directory.path().to_owned(), source };
        let descriptor = directory.descriptor().try_clone().map_err(failed)?;
        let lock = Flock::lock(descriptor, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))?;
        Ok(Self { directory, _lock: lock })
    }

    /// A file in it, to read.
    pub(crate) const fn strict(&self) -> &StrictDirectory {
        &self.directory
    }

    /// Writes a file of mode 0600, or replaces it whole. It is on the disk when this returns.
    pub(crate) fn replace(&self, name: &str, content: &[u8]) -> Result<(), WriteFailure> {
        let path = self.directory.path().join(name);
        let unfinished = format!(".{name}.unfinished");
        let at = self.directory.descriptor();
        let failed = |step: &'static str| {
            let path = path.clone();
            move |source: std::io::Error| WriteFailure::Step { step, path, source }
        };
        // Left over by a process that died; the lock says that nobody is writing it.
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
            // What matters is the first failure.
            let _ = unlinkat(at, unfinished.as_str(), UnlinkatFlags::NoRemoveDir);
            return Err(failed("write")(error));
        }
        fsync(at).map_err(|errno| failed("write")(errno.into()))
    }
}

fn enter_or_make(directory: &StrictDirectory, name: &str) -> Result<StrictDirectory, WriteFailure> {
    match directory.enter(name) {
        Err(failure) if failure.is_absence() => {}
        entered => return Ok(entered?),
    }
    match mkdirat(directory.descriptor(), name, Mode::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => Ok(directory.enter(name)?),
        Err(errno) => Err(WriteFailure::Step { step: "make", path: directory.path().join(name), source: errno.into() }),
    }
}
