//! The account that this process runs as: its uid and home, and whether it may have an instance
//! (V59).

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use countersign_keys::identity::Uid;
use nix::unistd::{User, geteuid, getuid};

use crate::terminal::Login;
use countersign_config::{Config, Launch};
use countersign_home::accounts::{Account, AccountRejection};
use countersign_home::own_directory::STATE;

#[derive(Debug, thiserror::Error)]
pub enum AccountFailure {
    /// P10.
    #[error("an instance does not run as root: it runs as the user whom it serves")]
    Root,
    #[error("the real and effective uid differ: an instance must run as exactly one user")]
    Disguised,
    #[error("uid {0} has no account")]
    Unknown(Uid),
    #[error("the account of this process cannot be looked up")]
    Unreadable(#[source] nix::Error),
    /// The instance keeps its state in the home directory.
    #[error("the home directory {path} does not exist: create it or mount it")]
    Home { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Refused(#[from] AccountRejection),
}

#[derive(Clone, Debug)]
pub(crate) struct OwnAccount {
    uid: Uid,
    home: PathBuf,
    /// The row of the account database.
    user: User,
}

impl OwnAccount {
    /// Looks the account up; `home` replaces the account's home in development.
    ///
    /// # Errors
    /// If this process is root, if real and effective uid differ, or if the account is unknown.
    pub(crate) fn of_this_process(home: Option<&Path>) -> Result<Self, AccountFailure> {
        if geteuid().is_root() || getuid().is_root() {
            return Err(AccountFailure::Root);
        }
        if getuid() != geteuid() {
            return Err(AccountFailure::Disguised);
        }
        let uid = Uid(getuid().as_raw());
        let user = User::from_uid(getuid()).map_err(AccountFailure::Unreadable)?;
        let user = user.ok_or(AccountFailure::Unknown(uid))?;
        let home = home.map_or_else(|| user.dir.clone(), Path::to_owned);
        Ok(Self { uid, home, user })
    }

    /// This process's account, with a test's home directory.
    #[cfg(test)]
    pub(crate) fn in_tests(home: &Path) -> Self {
        let user = User {
            name: "alice".to_owned(),
            passwd: std::ffi::CString::default(),
            uid: geteuid(),
            gid: nix::unistd::getegid(),
            gecos: std::ffi::CString::default(),
            dir: home.to_owned(),
            shell: "/bin/sh".into(),
        };
        Self { uid: Uid(geteuid().as_raw()), home: home.to_owned(), user }
    }

    /// Checks that the configuration allows this account an instance.
    pub(crate) fn check_may_have_instance(config: &Config) -> Result<(), AccountFailure> {
        if config.instances.launch != Launch::Sudo {
            return Ok(());
        }
        Ok(Account::of_this_process(config.served().uid_min).map(|_checked| ())?)
    }

    /// Checks that the home directory exists.
    pub(crate) fn check_home(&self) -> Result<(), AccountFailure> {
        let missing = |source| AccountFailure::Home { path: self.home.clone(), source };
        let found = std::fs::metadata(&self.home).map_err(missing)?;
        if found.is_dir() { Ok(()) } else { Err(missing(io::ErrorKind::NotADirectory.into())) }
    }

    /// Sets this process's umask to that of the account's logins. Terminals inherit it.
    pub(crate) fn take_on_umask(&self) {
        super::umask::take_on(&self.user);
    }

    pub(crate) const fn uid(&self) -> Uid {
        self.uid
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The login that a terminal starts.
    pub(crate) fn login(&self) -> Login {
        Login { name: self.user.name.clone(), home: self.home.clone(), shell: self.user.shell.clone() }
    }

    /// The directory of the instance's state.
    pub(crate) fn state_directory(&self) -> PathBuf {
        STATE.iter().fold(self.home.clone(), |path, name| path.join(name))
    }
}

/// Makes a directory and its missing parents with mode 0700. Refuses one that another account owns,
/// or that group or others can write to.
pub(crate) fn make_private_directory(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let metadata = std::fs::symlink_metadata(path)?;
    let is_ours =
        metadata.is_dir() && metadata.uid() == nix::unistd::geteuid().as_raw() && metadata.mode() & 0o022 == 0;
    if is_ours {
        Ok(())
    } else {
        Err(io::Error::other("not a directory that this account owns and no other account can write to"))
    }
}
