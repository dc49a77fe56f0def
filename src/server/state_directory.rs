//! The server's paths on disk: its private state directory, and the public IPC socket.
//!
//! Refuses a state directory that other accounts can read or write, a second server in it, and a
//! socket directory in which another account could create a socket (P7).

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg, OFlag};

use countersign_config::{Ipc, State};

/// Every account may connect; the kernel identifies the peer.
const IPC_SOCKET_MODE: u32 = 0o777;

/// Why a path cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirectoryFailure {
    /// It cannot be created, opened or inspected.
    #[error("{path} cannot be used")]
    Unusable {
        /// The place.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The directory of the public IPC socket does not exist.
    #[error("{path} does not exist; it is made at each boot by: systemd-tmpfiles --create countersign.conf")]
    NoRunDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// It belongs to another account.
    #[error("{path} belongs to uid {owner}, not to this process's account")]
    Foreign {
        /// The place.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Its mode gives other accounts access.
    #[error("{path} has mode {mode:o}; it must be {wanted}")]
    Open {
        /// The place.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The required mode.
        wanted: &'static str,
    },
    /// It is not a directory.
    #[error("{path} is not a directory")]
    NotADirectory {
        /// The place.
        path: PathBuf,
    },
    /// Another server runs in it.
    #[error("another server is running in {path}")]
    Occupied {
        /// The place.
        path: PathBuf,
    },
}

/// The state directory, locked by this process until it ends.
#[derive(Debug)]
pub struct StateDirectory {
    _lock: Flock<File>,
    instances: PathBuf,
    logs: PathBuf,
}

impl StateDirectory {
    /// Checks the state directory, creates it and its subdirectories if missing, and locks it.
    pub fn claim(state: &State) -> Result<Self, StateDirectoryFailure> {
        let instances = state.instances();
        let logs = state.directory.join("log");
        private_directory(&state.directory)?;
        let lock = lock(&state.directory)?;
        private_directory(&instances)?;
        private_directory(&logs)?;
        Ok(Self { _lock: lock, instances, logs })
    }

    /// The directory of instances' sockets, after removing the files of an earlier server.
    pub fn swept_instances(&self) -> Result<&Path, StateDirectoryFailure> {
        let unusable = |source| StateDirectoryFailure::Unusable { path: self.instances.clone(), source };
        for entry in std::fs::read_dir(&self.instances).map_err(unusable)? {
            std::fs::remove_file(entry.map_err(unusable)?.path()).map_err(unusable)?;
        }
        Ok(&self.instances)
    }

    /// The directory of instances' logs.
    pub fn logs(&self) -> &Path {
        &self.logs
    }
}

/// Listens at a path below the state directory. Replaces the socket of an earlier server.
pub(crate) fn listen_privately(path: &Path) -> Result<UnixListener, StateDirectoryFailure> {
    let unusable = |source| StateDirectoryFailure::Unusable { path: path.to_owned(), source };
    remove_stale(path).map_err(unusable)?;
    UnixListener::bind(path).map_err(unusable)
}

/// Listens at a path that the site chose. Replaces the socket of an earlier server, and nothing
/// else.
pub(crate) fn listen_with_mode(path: &Path, mode: u32) -> Result<UnixListener, StateDirectoryFailure> {
    let unusable = |source| StateDirectoryFailure::Unusable { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(unusable(io::Error::new(io::ErrorKind::AlreadyExists, "it is not a socket")));
        }
        Ok(_) | Err(_) => {}
    }
    remove_stale(path).map_err(unusable)?;
    let listener = UnixListener::bind(path).map_err(unusable)?;
    std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(unusable)?;
    Ok(listener)
}

/// Listens at the public IPC socket.
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

/// Converts a listener for the async runtime.
///
/// # Errors
/// An I/O error.
pub(crate) fn async_listener(listener: UnixListener) -> io::Result<tokio::net::UnixListener> {
    listener.set_nonblocking(true)?;
    tokio::net::UnixListener::from_std(listener)
}

/// Device and inode of a path, if it exists.
pub(crate) fn identity(path: &Path) -> io::Result<Option<(u64, u64)>> {
    match std::fs::symlink_metadata(path) {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates a directory that only this account can read, or checks an existing one.
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

/// Removes the socket of an earlier server. The lock on the state directory ensures that it has
/// ended.
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
