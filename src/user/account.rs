//! The account that this process runs as: who it is, where its home is, and whether it may have an instance at all.
//!
//! The server looks at the same before it launches one. What it cannot see, an account's expiry, is seen from here: the account itself
//! may ask (V59).

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use countersign_keys::identity::Uid;
use nix::unistd::{User, geteuid, getuid};

use crate::config::{Instances, Launch};

/// Shells that let nobody in.
const CLOSED_SHELLS: [&str; 3] = ["nologin", "false", "sync"];

/// The conventional uid of nobody: files of users that this machine does not know belong to it.
const NOBODY: u32 = 65_534;

/// Tells an account of its own ageing; part of Debian's and Red Hat's basic systems.
const CHAGE: &str = "/usr/bin/chage";

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
    #[error("the account cannot be looked up: {0}")]
    Unreadable(#[source] nix::Error),
    /// Below the floor, or nobody.
    #[error("uid {uid} is a system account's: instances.uid_min is {uid_min}")]
    System {
        /// The account.
        uid: Uid,
        /// The floor.
        uid_min: Uid,
    },
    /// It has no login shell.
    #[error("the account is locked: its shell is {0}")]
    Shell(PathBuf),
    /// It has expired.
    #[error("the account has expired")]
    Expired,
}

/// The account of this process.
#[derive(Clone, Debug)]
pub(crate) struct OwnAccount {
    uid: Uid,
    name: String,
    home: PathBuf,
    shell: PathBuf,
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
        let home = home.map_or(user.dir, Path::to_owned);
        Ok(Self { uid, name: user.name, home, shell: user.shell })
    }

    /// Whether the rules let it have an instance.
    ///
    /// # Errors
    /// The rule that does not.
    pub(crate) fn check_may_have_instance(&self, rules: &Instances) -> Result<(), AccountFailure> {
        if rules.launch != Launch::Sudo {
            return Ok(());
        }
        if self.uid < rules.uid_min || self.uid.0 == NOBODY || self.uid.0 == u32::MAX {
            return Err(AccountFailure::System { uid: self.uid, uid_min: rules.uid_min });
        }
        let shell = self.shell.file_name().map(|name| name.to_string_lossy());
        if shell.is_none_or(|shell| CLOSED_SHELLS.contains(&shell.as_ref())) {
            return Err(AccountFailure::Shell(self.shell.clone()));
        }
        if has_expired(&self.name) { Err(AccountFailure::Expired) } else { Ok(()) }
    }

    /// Its number.
    pub(crate) const fn uid(&self) -> Uid {
        self.uid
    }

    /// Its home directory.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Where the instance keeps what it has to remember.
    pub(crate) fn state_directory(&self) -> PathBuf {
        self.home.join(".local/state/countersign")
    }
}

/// Makes a directory, and what is missing above it, for its owner alone.
pub(crate) fn make_private_directory(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let metadata = std::fs::symlink_metadata(path)?;
    let is_ours = metadata.is_dir() && metadata.uid() == super::own_uid().0 && metadata.mode() & 0o022 == 0;
    if is_ours { Ok(()) } else { Err(io::Error::other("not a directory of this account's that nobody else can write")) }
}

/// Asks the local account database. An account that it does not know (from LDAP, say) is for its own directory to end, and sudo asks that.
fn has_expired(name: &str) -> bool {
    let mut chage = Command::new(CHAGE);
    chage
        .args(["--iso8601", "--list", "--", name])
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let Ok(output) = chage.output() else { return false };
    let text = String::from_utf8_lossy(&output.stdout);
    let today = time::OffsetDateTime::now_utc().date();
    expiry(&text).is_some_and(|date| date <= today)
}

/// The line `Account expires : 1970-01-02`, or `never`.
fn expiry(text: &str) -> Option<time::Date> {
    let line = text.lines().find(|line| line.starts_with("Account expires"))?;
    let (_, date) = line.split_once(':')?;
    time::Date::parse(date.trim(), time::macros::format_description!("[year]-[month]-[day]")).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn v59_an_expiry_is_read_as_chage_writes_it() {
        let check = |text: &str, want: Option<&str>| {
            assert_eq!(expiry(text).map(|date| date.to_string()).as_deref(), want, "{text}");
        };
        check("Last password change\t\t\t: 2026-01-01\nAccount expires\t\t\t\t: 1970-01-02\n", Some("1970-01-02"));
        check("Account expires\t\t\t\t\t\t: never\n", None);
        check("", None);
    }

    #[test]
    fn v59_system_and_locked_accounts_are_refused() {
        let rules = Instances {
            launch: Launch::Sudo,
            listen: crate::config::InstanceListen::Unix,
            uid_min: Uid(1000),
            idle_stop: std::time::Duration::from_secs(1),
        };
        let check = |uid: u32, shell: &str, want: bool| {
            let account =
                OwnAccount { uid: Uid(uid), name: "no-such-account".into(), home: "/".into(), shell: shell.into() };
            assert_eq!(account.check_may_have_instance(&rules).is_ok(), want, "{uid} {shell}");
        };
        check(1000, "/bin/bash", true);
        check(999, "/bin/bash", false);
        check(0, "/bin/bash", false);
        check(65_534, "/bin/bash", false);
        check(u32::MAX, "/bin/bash", false);
        check(1000, "/usr/sbin/nologin", false);
        check(1000, "/bin/false", false);
        check(1000, "", false);
    }
}
