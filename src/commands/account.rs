//! The account for which a command acts: the caller's own, or one that root names and then becomes.

use std::path::{Path, PathBuf};

use countersign_keys::identity::{ProviderId, Uid};
use nix::errno::Errno;
use nix::unistd::{User, geteuid, getuid};

use crate::commands::privilege::{self, PrivilegeFailure, Target};
use countersign_home::accounts::{self, AccountRejection};
use countersign_home::pin_file::PinFile;
use countersign_os::exit_code::Exit;
use countersign_os::quoted::word;

/// Why a command has no account to act for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountFailure {
    /// Root named no account.
    #[error("root approves nothing for itself: {0}")]
    RootForNobody(&'static str),
    /// A caller other than root named another account.
    #[error("only root can act for another account: run the command as {0}")]
    NotRoot(String),
    /// Real and effective uid differ.
    #[error("real and effective uid differ: this program must not be set-uid")]
    Disguised,
    /// No such account.
    #[error("there is no account {0}")]
    Unknown(String),
    /// The account database cannot be read.
    #[error("the account cannot be looked up")]
    Unreadable(#[source] Errno),
    /// The account can never have an instance.
    #[error(transparent)]
    Refused(#[from] AccountRejection),
    /// Root could not be given up.
    #[error(transparent)]
    Privilege(#[from] PrivilegeFailure),
}

impl AccountFailure {
    /// The exit code.
    pub(super) const fn exit(&self) -> Exit {
        match self {
            Self::RootForNobody(_)
            | Self::NotRoot(_)
            | Self::Disguised
            | Self::Refused(_)
            | Self::Privilege(PrivilegeFailure::IsRoot) => Exit::Refused,
            Self::Unknown(_) | Self::Unreadable(_) | Self::Privilege(_) => Exit::Failure,
        }
    }
}

/// The account that a command line names.
#[derive(Clone, Copy, Debug)]
pub(super) enum TargetAccount<'a> {
    /// The caller's own. The text advises root, which has none.
    Own(&'static str),
    /// The account with this uid. Only root can name another account than its own.
    Uid(Uid),
    /// The account with this name or, if there is none and it is a number, with this uid. Only root
    /// can name another account than its own.
    Named(&'a str),
}

/// An account, looked up.
#[derive(Clone, Debug)]
pub(super) struct Account {
    uid: Uid,
    gid: u32,
    name: String,
    home: PathBuf,
}

impl Account {
    /// Looks the account up, and becomes it for good if root named another.
    pub(super) fn acting(meant: TargetAccount<'_>) -> Result<Self, AccountFailure> {
        Self::named(meant)?.become_it()
    }

    /// Like [`Account::acting`], for an account to connect. Refuses an expired account, whose
    /// instance would not start; the server cannot check that. Only root can read the expiry, so
    /// this checks before it gives root up.
    pub(super) fn connecting(meant: TargetAccount<'_>) -> Result<Self, AccountFailure> {
        let account = Self::named(meant)?;
        accounts::refuse_expired(&account.name)?;
        account.become_it()
    }

    /// Looks the account up, and refuses a caller who may not act for it.
    fn named(meant: TargetAccount<'_>) -> Result<Self, AccountFailure> {
        if getuid() != geteuid() {
            return Err(AccountFailure::Disguised);
        }
        let own = Uid(getuid().as_raw());
        let account = match meant {
            TargetAccount::Own(advice) if own == Uid(0) => return Err(AccountFailure::RootForNobody(advice)),
            TargetAccount::Own(_) => Self::of_uid(own)?,
            TargetAccount::Uid(uid) => Self::of_uid(uid)?,
            TargetAccount::Named(named) => Self::of_name_or_uid(named)?,
        };
        if account.uid != own && own != Uid(0) {
            return Err(AccountFailure::NotRoot(account.name));
        }
        Ok(account)
    }

    fn become_it(self) -> Result<Self, AccountFailure> {
        if geteuid().is_root() {
            privilege::give_up_root(&Target { uid: self.uid.0, gid: self.gid, name: &self.name, home: &self.home })?;
        }
        Ok(self)
    }

    fn of_uid(uid: Uid) -> Result<Self, AccountFailure> {
        let user = User::from_uid(uid.0.into()).map_err(AccountFailure::Unreadable)?;
        user.map(Self::from).ok_or_else(|| AccountFailure::Unknown(format!("with uid {uid}")))
    }

    /// Like the operand of `chown` (POSIX).
    fn of_name_or_uid(named: &str) -> Result<Self, AccountFailure> {
        match (User::from_name(named).map_err(AccountFailure::Unreadable)?, named.parse::<u32>()) {
            (Some(user), _) => Ok(user.into()),
            (None, Ok(uid)) => Self::of_uid(Uid(uid)),
            (None, Err(_)) => Err(AccountFailure::Unknown(word(named))),
        }
    }

    /// The same account with another home directory, for development.
    pub(super) fn at_home(self, home: Option<PathBuf>) -> Self {
        Self { home: home.unwrap_or(self.home), ..self }
    }

    pub(super) const fn uid(&self) -> Uid {
        self.uid
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    /// The file of keys that it pinned, for changes to that provider's keys.
    pub(super) fn pins(&self, provider: &ProviderId) -> PinFile {
        PinFile::of(&self.home, self.uid, provider)
    }
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self { uid: Uid(user.uid.as_raw()), gid: user.gid.as_raw(), name: user.name, home: user.dir }
    }
}
