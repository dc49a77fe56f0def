//! The account that this process runs as: who it is, where its home is, and whether it may have an
//! instance at all (V59).

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use countersign_keys::identity::Uid;
use nix::unistd::{User, geteuid, getuid};

use crate::accounts::{Account, AccountRejection};
use crate::config::{Instances, Launch};
use crate::instance::terminal::Login;
use crate::own_directory::STATE;

/// Why an account cannot have an instance.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountFailure {
    /// P10.
    #[error("an instance does not run as root: it runs as the user whom it serves")]
    Root,
    /// Real and effective uid differ.
    #[error("real and effective uid differ: an instance is exactly its user")]
    Disguised,
    /// No such account.
    #[error("uid {0} has no account")]
    Unknown(Uid),
    /// The system would not say.
    #[error("the account cannot be looked up")]
    Unreadable(#[source] nix::Error),
    /// There is nowhere to keep what it has to remember.
    #[error("the home directory {path} is not there: make it, or mount it")]
    Home {
        /// The home directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The rules forbid it.
    #[error(transparent)]
    Refused(#[from] AccountRejection),
}

/// The account of this process.
#[derive(Clone, Debug)]
pub(crate) struct OwnAccount {
    uid: Uid,
    home: PathBuf,
    /// Its row of the account database.
    user: User,
}

impl OwnAccount {
    /// Looks it up; `home` stands in for the account's own in development.
    ///
    /// # Errors
    /// If this process is root or in disguise, or the account is not known.
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

    /// This process's account, with a home of a test's.
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

    /// Whether the rules let it have an instance.
    ///
    /// # Errors
    /// The rule that does not.
    pub(crate) fn check_may_have_instance(rules: &Instances) -> Result<(), AccountFailure> {
        if rules.launch != Launch::Sudo {
            return Ok(());
        }
        Ok(Account::of_this_process(rules.uid_min).map(|_checked| ())?)
    }

    /// Whether its home is there.
    ///
    /// # Errors
    /// If it is not, or cannot be looked at.
    pub(crate) fn check_home(&self) -> Result<(), AccountFailure> {
        let missing = |source| AccountFailure::Home { path: self.home.clone(), source };
        let found = std::fs::metadata(&self.home).map_err(missing)?;
        if found.is_dir() { Ok(()) } else { Err(missing(io::ErrorKind::NotADirectory.into())) }
    }

    /// Gives this process, and the terminals that it opens, the umask of the account's logins.
    pub(crate) fn take_on_umask(&self) {
        super::umask::take_on(&self.user);
    }

    /// Its number.
    pub(crate) const fn uid(&self) -> Uid {
        self.uid
    }

    /// Its home directory.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Who logs in to a terminal of it.
    pub(crate) fn login(&self) -> Login {
        Login { name: self.user.name.clone(), home: self.home.clone(), shell: self.user.shell.clone() }
    }

    /// Where the instance keeps what it has to remember.
    pub(crate) fn state_directory(&self) -> PathBuf {
        STATE.iter().fold(self.home.clone(), |path, name| path.join(name))
    }
}

/// Makes a directory, and what is missing above it, for its owner alone.
pub(crate) fn make_private_directory(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let metadata = std::fs::symlink_metadata(path)?;
    let is_ours =
        metadata.is_dir() && metadata.uid() == nix::unistd::geteuid().as_raw() && metadata.mode() & 0o022 == 0;
    if is_ours { Ok(()) } else { Err(io::Error::other("not a directory of this account's that nobody else can write")) }
}
