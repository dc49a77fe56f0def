//! The server's places on disk: the state directory, which is its alone, and the socket at which
//! everybody may ask.
//!
//! Refused: a state directory that others could read or write, a second server in it, and a socket
//! directory in which somebody else could put a socket of their own (P7).

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg, OFlag};

use crate::config::{Ipc, State};

/// Everybody may connect: who they are is read from the kernel.
const IPC_SOCKET_MODE: u32 = 0o777;

/// Why a place cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateDirectoryFailure {
    /// It cannot be made, opened or looked at.
    #[error("{path} cannot be used")]
    Unusable {
        /// The place.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The directory of the socket at which everybody may ask.
    #[error("{path} does not exist; it is made at each boot by: systemd-tmpfiles --create countersign.conf")]
    NoRunDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// It belongs to somebody else.
    #[error("{path} belongs to uid {owner}, and not to this process's account")]
    Foreign {
        /// The place.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Others may do there what only we may.
    #[error("{path} has mode {mode:o}; it must be {wanted}")]
    Open {
        /// The place.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// What it must be.
        wanted: &'static str,
    },
    /// It is not a directory.
    #[error("{path} is not a directory")]
    NotADirectory {
        /// The place.
        path: PathBuf,
    },
    /// Another server is at work there.
    #[error("another server is running in {path}")]
    Occupied {
        /// The place.
        path: PathBuf,
    },
}

/// The state directory, held by this process until it ends.
#[derive(Debug)]
pub(crate) struct StateDirectory {
    _lock: Flock<File>,
    instances: PathBuf,
    logs: PathBuf,
}

impl StateDirectory {
    /// Checks the state directory, makes it and what belongs into it if they are missing, and takes
    /// hold of it.
    pub(crate) fn claim(state: &State) -> Result<Self, StateDirectoryFailure> {
        let instances = state.instances();
        let logs = state.directory.join("log");
        private_directory(&state.directory)?;
        let lock = lock(&state.directory)?;
        private_directory(&instances)?;
        private_directory(&logs)?;
        Ok(Self { _lock: lock, instances, logs })
    }

    /// Where instances' sockets are; what an earlier server left there is removed.
    pub(crate) fn swept_instances(&self) -> Result<&Path, StateDirectoryFailure> {
        let unusable = |source| StateDirectoryFailure::Unusable { path: self.instances.clone(), source };
        for entry in std::fs::read_dir(&self.instances).map_err(unusable)? {
            std::fs::remove_file(entry.map_err(unusable)?.path()).map_err(unusable)?;
        }
        Ok(&self.instances)
    }

    /// Where what instances print is kept.
    pub(crate) fn logs(&self) -> &Path {
        &self.logs
    }
}

/// Listens at a path below the state directory, in place of whatever an earlier server left there.
pub(crate) fn listen_privately(path: &Path) -> Result<UnixListener, StateDirectoryFailure> {
    let unusable = |source| StateDirectoryFailure::Unusable { path: path.to_owned(), source };
    remove_stale(path).map_err(unusable)?;
    UnixListener::bind(path).map_err(unusable)
}

/// Listens where every account of this machine may ask.
pub(crate) fn listen_to_everybody(ipc: &Ipc) -> Result<UnixListener, StateDirectoryFailure> {
    let path = ipc.socket();
    let unusable = |source| StateDirectoryFailure::Unusable { path: path.clone(), source };
    let directory = std::fs::metadata(&ipc.directory).map_err(|source| {
        let path = ipc.directory.clone();
        if source.kind() == io::ErrorKind::NotFound {
            StateDirectoryFailure::NoRunDirectory { path }
        } else {
            StateDirectoryFailure::Unusable { path, source }
        }
    })?;
    if directory.uid() != 0 && directory.uid() != own_uid() {
        return Err(StateDirectoryFailure::Foreign { path: ipc.directory.clone(), owner: directory.uid() });
    }
    if directory.mode() & 0o022 != 0 {
        let wanted = "writable for its owner alone";
        return Err(StateDirectoryFailure::Open {
            path: ipc.directory.clone(),
            mode: directory.mode() & 0o7777,
            wanted,
        });
    }
    remove_stale(&path).map_err(unusable)?;
    let listener = UnixListener::bind(&path).map_err(unusable)?;
    std::fs::set_permissions(&path, Permissions::from_mode(IPC_SOCKET_MODE)).map_err(unusable)?;
    Ok(listener)
}

/// The same listener, for the runtime.
///
/// # Errors
/// The system.
pub(super) fn async_listener(listener: UnixListener) -> io::Result<tokio::net::UnixListener> {
    listener.set_nonblocking(true)?;
    tokio::net::UnixListener::from_std(listener)
}

/// Which file a path is, if there is one: another one has another number.
pub(crate) fn identity(path: &Path) -> io::Result<Option<(u64, u64)>> {
    match std::fs::symlink_metadata(path) {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a directory that only this account can look into, or checks that it is one.
pub(crate) fn private_directory(path: &Path) -> Result<(), StateDirectoryFailure> {
    let unusable = |source| StateDirectoryFailure::Unusable { path: path.to_owned(), source };
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unusable(error)),
        Ok(()) | Err(_) => {}
    }
    let found = std::fs::symlink_metadata(path).map_err(unusable)?;
    if !found.is_dir() {
        return Err(StateDirectoryFailure::NotADirectory { path: path.to_owned() });
    }
    if found.uid() != own_uid() {
        return Err(StateDirectoryFailure::Foreign { path: path.to_owned(), owner: found.uid() });
    }
    if found.mode() & 0o077 != 0 {
        let wanted = "0700";
        return Err(StateDirectoryFailure::Open { path: path.to_owned(), mode: found.mode() & 0o7777, wanted });
    }
    Ok(())
}

fn lock(directory: &Path) -> Result<Flock<File>, StateDirectoryFailure> {
    let path = directory.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(&path)
        .map_err(|source| StateDirectoryFailure::Unusable { path: path.clone(), source })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| {
        if error == nix::Error::EWOULDBLOCK {
            StateDirectoryFailure::Occupied { path: directory.to_owned() }
        } else {
            StateDirectoryFailure::Unusable { path, source: error.into() }
        }
    })
}

/// Removes a socket that nobody listens at any more: the lock on the state directory shows that.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

    use super::*;

    fn claim(directory: &Path) -> Result<StateDirectory, StateDirectoryFailure> {
        StateDirectory::claim(&State { directory: directory.to_owned() })
    }

    #[test]
    fn a_missing_state_directory_is_made_private() {
        let outside = tempfile::tempdir().unwrap();
        let path = outside.path().join("state");
        let state = claim(&path).unwrap();
        for place in [path.as_path(), state.swept_instances().unwrap(), state.logs()] {
            assert_eq!(std::fs::metadata(place).unwrap().mode() & 0o7777, 0o700);
        }
    }

    #[test]
    fn an_open_or_odd_state_directory_is_refused() {
        let outside = tempfile::tempdir().unwrap();
        let path = outside.path().join("state");
        std::fs::create_dir(&path).unwrap();
        for mode in [0o701, 0o710, 0o750, 0o777] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(matches!(claim(&path), Err(StateDirectoryFailure::Open { .. })), "{mode:o}");
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        let link = outside.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(claim(&link), Err(StateDirectoryFailure::NotADirectory { .. })));
        assert!(matches!(claim(Path::new("/nonexistent/state")), Err(StateDirectoryFailure::Unusable { .. })));
    }

    #[test]
    fn a_second_server_is_refused_and_a_later_one_is_not() {
        let outside = tempfile::tempdir().unwrap();
        let path = outside.path().join("state");
        let first = claim(&path).unwrap();
        assert!(matches!(claim(&path), Err(StateDirectoryFailure::Occupied { .. })));
        drop(first);
        claim(&path).unwrap();
    }

    #[test]
    fn the_ipc_socket_is_for_everybody_in_a_directory_for_nobody_else() {
        let outside = tempfile::tempdir().unwrap();
        let ipc = Ipc { directory: outside.path().join("run") };
        assert!(matches!(listen_to_everybody(&ipc), Err(StateDirectoryFailure::NoRunDirectory { .. })));
        std::fs::create_dir(&ipc.directory).unwrap();
        for mode in [0o777, 0o1777, 0o775] {
            std::fs::set_permissions(&ipc.directory, Permissions::from_mode(mode)).unwrap();
            assert!(matches!(listen_to_everybody(&ipc), Err(StateDirectoryFailure::Open { .. })), "{mode:o}");
        }
        std::fs::set_permissions(&ipc.directory, Permissions::from_mode(0o755)).unwrap();
        drop(listen_to_everybody(&ipc).unwrap());
        let _again = listen_to_everybody(&ipc).unwrap();
        assert_eq!(std::fs::metadata(ipc.socket()).unwrap().mode() & 0o777, 0o777);
    }
}
