//! Accounts of this machine: which may have an instance, and which never (P10).
//!
//! An [`Account`] is a passwd row that was checked. Refused: uid 0, system accounts, nobody,
//! accounts that do not exist, are locked, or may not log in, and a uid whose name is not the one
//! that was connected. The server asks before it connects or launches anybody, and the instance
//! asks again. An account's expiry stands in `/etc/shadow`, so only the account itself can ask for
//! it: its instance does, and whoever approves a connection does.

use std::process::{Command, ExitStatus, Stdio};

use crate::config::{Drive, PlainName};
use countersign_keys::identity::Uid;
use nix::unistd::{self, User};

/// The most groups of an account that are looked at.
const GROUPS_MAX: usize = 1_024;

/// The uid that network file systems map strangers to; it is nobody's, however large.
const NOBODY: u32 = 65_534;

/// The same in 16 bits; and "no uid", with the number before it, which systemd and shadow's tools
/// keep out of use with it.
const NO_UID: [u32; 3] = [65_535, u32::MAX - 1, u32::MAX];

/// The shells that let nobody in, wherever they are and whatever `/etc/shells` says.
const CLOSED_SHELLS: [&str; 4] = ["nologin", "false", "sync", "halt"];

/// What counts where there is no `/etc/shells` (getusershell(3)).
const SHELLS_WITHOUT_FILE: [&str; 2] = ["/bin/sh", "/bin/csh"];

/// Tells an account of its own ageing; part of Debian's and Red Hat's basic systems.
const CHAGE: &str = "/usr/bin/chage";

/// The accounts whose expiry the local shadow database has.
const LOCAL_ACCOUNTS: &str = "/etc/passwd";

/// A passwd row that was checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Account {
    /// Its uid.
    pub(crate) uid: Uid,
    /// Its login name.
    pub(crate) name: String,
}

/// Why an account may not have an instance.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountRejection {
    /// Root.
    #[error("nothing runs as root")]
    Root,
    /// Below `instances.uid_min`.
    #[error("uid {uid} is below instances.uid_min ({uid_min}): a system account")]
    System {
        /// The account's.
        uid: Uid,
        /// The configured floor.
        uid_min: Uid,
    },
    /// nobody, or no uid at all.
    #[error("uid {0} is nobody's")]
    Nobody(Uid),
    /// No such account.
    #[error("there is no account with uid {0}")]
    Unknown(Uid),
    /// The account database cannot be asked.
    #[error("the account database does not answer")]
    Database(#[source] nix::Error),
    /// The login name belongs to another uid as well.
    #[error("the login name {name} belongs to another uid as well")]
    Ambiguous {
        /// The name.
        name: String,
    },
    /// The uid's login name is another one than was connected, or than the caller takes itself for.
    #[error("uid {uid} has the login name {name}, and not {expected}")]
    Renamed {
        /// The uid.
        uid: Uid,
        /// Its name.
        name: String,
        /// The name that it should have.
        expected: String,
    },
    /// Its password field says that it is locked.
    #[error("the account {name} is locked")]
    Locked {
        /// The name.
        name: String,
    },
    /// Its shell lets nobody in.
    #[error("the account {name} may not log in: its shell is {shell}")]
    Shell {
        /// The name.
        name: String,
        /// The shell.
        shell: String,
    },
    /// It has expired.
    #[error("the account {name} expired on {date}: it can have no instance (see chage -E)")]
    Expired {
        /// The name.
        name: String,
        /// The first day that it is closed.
        date: time::Date,
    },
    /// Nobody can tell whether it has.
    #[error("it cannot be told whether the account {name} has expired")]
    ExpiryUnknown {
        /// The name.
        name: String,
        /// The cause.
        source: ExpiryFailure,
    },
    /// Nobody can tell which shells let users in.
    #[error("/etc/shells cannot be read")]
    Shells(#[source] std::io::Error),
}

/// Why it cannot be told whether an account has expired.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExpiryFailure {
    /// The local account database.
    #[error("{LOCAL_ACCOUNTS} cannot be read")]
    Accounts(#[source] std::io::Error),
    /// The program that is asked.
    #[error("{CHAGE} cannot be run (Debian: apt-get install passwd)")]
    Run(#[source] std::io::Error),
    /// It failed, or was ended: by the account itself, perhaps.
    #[error("{CHAGE} ended with {0}")]
    Ended(ExitStatus),
    /// It said something else.
    #[error("{CHAGE} did not say when the account expires")]
    Answer,
}

/// The parts of a passwd row that are judged.
#[derive(Clone, Copy, Debug)]
struct Row<'r> {
    uid: u32,
    name: &'r str,
    password: &'r str,
    shell: &'r str,
}

/// Where accounts are looked up.
#[derive(Clone, Debug)]
pub(crate) enum Accounts {
    /// The system's account database.
    System,
    /// Accounts that a test makes up.
    #[cfg(test)]
    These(Vec<Account>),
}

impl Accounts {
    /// Looks the uid up and checks it; `expected` is the name that it must have. May take a while.
    pub(crate) fn check(&self, uid: Uid, expected: Option<&str>, uid_min: Uid) -> Result<Account, AccountRejection> {
        match self {
            Self::System => Account::check(uid, expected, uid_min),
            #[cfg(test)]
            Self::These(accounts) => {
                refuse_reserved(uid, uid_min)?;
                let found = accounts.iter().find(|account| account.uid == uid).cloned();
                let account = found.ok_or(AccountRejection::Unknown(uid))?;
                match expected.filter(|expected| *expected != account.name) {
                    Some(expected) => {
                        let expected = expected.to_owned();
                        Err(AccountRejection::Renamed { uid, name: account.name, expected })
                    }
                    None => Ok(account),
                }
            }
        }
    }
}

impl Account {
    fn check(uid: Uid, expected: Option<&str>, uid_min: Uid) -> Result<Self, AccountRejection> {
        refuse_reserved(uid, uid_min)?;
        let user = User::from_uid(unistd::Uid::from_raw(uid.0))
            .map_err(AccountRejection::Database)?
            .ok_or(AccountRejection::Unknown(uid))?;
        let namesake = User::from_name(&user.name).map_err(AccountRejection::Database)?;
        if namesake.is_none_or(|namesake| namesake.uid != user.uid) {
            return Err(AccountRejection::Ambiguous { name: user.name });
        }
        let row = Row {
            uid: user.uid.as_raw(),
            name: &user.name,
            password: &user.passwd.to_string_lossy(),
            shell: &user.shell.to_string_lossy(),
        };
        let shells = match std::fs::read_to_string("/etc/shells") {
            Ok(shells) => Some(shells),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(AccountRejection::Shells(error)),
        };
        judge(&row, expected, uid_min, shells.as_deref())
    }

    /// The account that this process runs as, which must not have expired either.
    pub(crate) fn of_this_process(uid_min: Uid) -> Result<Self, AccountRejection> {
        let account = Self::check(Uid(unistd::getuid().as_raw()), None, uid_min)?;
        refuse_expired(&account.name)?;
        Ok(account)
    }

    /// The login name of a uid, if it has one; for display alone.
    pub(crate) fn name_of(uid: Uid) -> Option<String> {
        User::from_uid(unistd::Uid::from_raw(uid.0)).ok().flatten().map(|user| user.name)
    }
}

fn refuse_reserved(uid: Uid, uid_min: Uid) -> Result<(), AccountRejection> {
    if uid.0 == 0 {
        return Err(AccountRejection::Root);
    }
    if uid.0 == NOBODY || NO_UID.contains(&uid.0) {
        return Err(AccountRejection::Nobody(uid));
    }
    if uid < uid_min {
        return Err(AccountRejection::System { uid, uid_min });
    }
    Ok(())
}

fn judge(
    row: &Row<'_>,
    expected: Option<&str>,
    uid_min: Uid,
    shells: Option<&str>,
) -> Result<Account, AccountRejection> {
    let uid = Uid(row.uid);
    refuse_reserved(uid, uid_min)?;
    let name = row.name.to_owned();
    if let Some(expected) = expected
        && expected != row.name
    {
        return Err(AccountRejection::Renamed { uid, name, expected: expected.to_owned() });
    }
    // SSSD and LDAP write "*" for every account, since the password is not in the row; "!" is only
    // ever a lock.
    if row.password.starts_with('!') || row.password.starts_with("*LK*") {
        return Err(AccountRejection::Locked { name });
    }
    if !lets_in(row.shell, shells) {
        return Err(AccountRejection::Shell { name, shell: row.shell.to_owned() });
    }
    Ok(Account { uid, name })
}

/// Whether `/etc/shells` lists the shell, and it is not one of the closed ones. An empty field
/// means `/bin/sh` (passwd(5)).
fn lets_in(shell: &str, shells: Option<&str>) -> bool {
    let shell = if shell.is_empty() { "/bin/sh" } else { shell };
    let file_name = shell.rsplit('/').next().unwrap_or(shell);
    if CLOSED_SHELLS.contains(&file_name) {
        return false;
    }
    match shells {
        Some(shells) => shell.starts_with('/') && shells.lines().map(str::trim).any(|line| line == shell),
        None => SHELLS_WITHOUT_FILE.contains(&shell),
    }
}

/// Refuses an expired account, and one of which that cannot be told; nobody but root and the
/// account itself learns of its expiry. An account that the local database does not have (from
/// LDAP, say) is for its own directory to end.
pub(crate) fn refuse_expired(name: &str) -> Result<(), AccountRejection> {
    let today = time::OffsetDateTime::now_utc().date();
    let expiry =
        Expiry::of(name).map_err(|source| AccountRejection::ExpiryUnknown { name: name.to_owned(), source })?;
    match expiry {
        Expiry::On(date) if date <= today => Err(AccountRejection::Expired { name: name.to_owned(), date }),
        Expiry::On(_) | Expiry::Never => Ok(()),
    }
}

/// When an account expires.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Expiry {
    Never,
    On(time::Date),
}

impl Expiry {
    /// The expiry of an account.
    fn of(name: &str) -> Result<Self, ExpiryFailure> {
        let accounts = std::fs::read(LOCAL_ACCOUNTS).map_err(ExpiryFailure::Accounts)?;
        if !is_local(name, &accounts) {
            return Ok(Self::Never);
        }
        let output = Command::new(CHAGE)
            .args(["--list", "--", name])
            .env_clear()
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .map_err(ExpiryFailure::Run)?;
        Self::told(output.status, &String::from_utf8_lossy(&output.stdout))
    }

    /// What `chage` said. Its own user can end or starve it: only a whole answer is one.
    fn told(status: ExitStatus, text: &str) -> Result<Self, ExpiryFailure> {
        if !status.success() {
            return Err(ExpiryFailure::Ended(status));
        }
        Self::parse(text).ok_or(ExpiryFailure::Answer)
    }

    /// The line `Account expires : Jan 02, 1970`, or `never`.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find(|line| line.starts_with("Account expires"))?;
        let (_, date) = line.split_once(':')?;
        match date.trim() {
            "never" => Some(Self::Never),
            date => {
                let format = time::macros::format_description!("[month repr:short] [day], [year]");
                time::Date::parse(date, format).ok().map(Self::On)
            }
        }
    }
}

/// Whether the local database has an account of that name (passwd(5)).
fn is_local(name: &str, accounts: &[u8]) -> bool {
    accounts.split(|byte| *byte == b'\n').any(|row| row.split(|byte| *byte == b':').next() == Some(name.as_bytes()))
}

/// The groups of this process that can have drives, by name; without a drive of groups nobody asks
/// the database.
pub(crate) fn own_groups(drives: &[Drive]) -> Vec<PlainName> {
    if !drives.iter().any(Drive::is_of_groups) {
        return Vec::new();
    }
    let mut gids = nix::unistd::getgroups().unwrap_or_default();
    gids.push(nix::unistd::getegid());
    gids.sort_unstable_by_key(|gid| gid.as_raw());
    gids.dedup();
    let name = |gid| nix::unistd::Group::from_gid(gid).ok().flatten().and_then(|group| PlainName::parse(&group.name));
    gids.into_iter().take(GROUPS_MAX).filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

    use super::*;

    const SHELLS: &str = "# valid login shells\n/bin/sh\n/bin/bash\n/usr/bin/bash\n/usr/sbin/nologin\n";
    const ALICE: Row<'_> = Row { uid: 1001, name: "alice", password: "x", shell: "/bin/bash" };

    fn check(row: &Row<'_>, want: Result<(), &str>) {
        let got = judge(row, Some("alice"), Uid(1000), Some(SHELLS));
        assert_eq!(got.map(|_| ()).map_err(|rejection| rejection.to_string()), want.map_err(str::to_owned), "{row:?}");
    }

    #[test]
    fn v59_only_ordinary_accounts_that_may_log_in_have_instances() {
        check(&ALICE, Ok(()));
        check(&Row { uid: 1000, ..ALICE }, Ok(()));
        check(&Row { uid: 0, ..ALICE }, Err("nothing runs as root"));
        check(&Row { uid: 999, ..ALICE }, Err("uid 999 is below instances.uid_min (1000): a system account"));
        check(&Row { uid: 65_534, ..ALICE }, Err("uid 65534 is nobody's"));
        check(&Row { uid: 65_535, ..ALICE }, Err("uid 65535 is nobody's"));
        check(&Row { uid: u32::MAX, ..ALICE }, Err("uid 4294967295 is nobody's"));
        check(&Row { uid: u32::MAX - 1, ..ALICE }, Err("uid 4294967294 is nobody's"));
        check(&Row { name: "bob", ..ALICE }, Err("uid 1001 has the login name bob, and not alice"));
    }

    #[test]
    fn v59_locked_and_closed_accounts_are_refused() {
        check(&Row { password: "*", ..ALICE }, Ok(()));
        check(&Row { password: "!", ..ALICE }, Err("the account alice is locked"));
        check(&Row { password: "!$6$salt$hash", ..ALICE }, Err("the account alice is locked"));
        check(&Row { password: "*LK*", ..ALICE }, Err("the account alice is locked"));
        check(&Row { shell: "", ..ALICE }, Ok(()));
        for shell in ["/usr/sbin/nologin", "/bin/false", "/opt/odd/shell", "bash", "/bin/sync", "# valid login shells"]
        {
            let want = format!("the account alice may not log in: its shell is {shell}");
            check(&Row { shell, ..ALICE }, Err(&want));
        }
    }

    #[test]
    fn without_a_list_of_shells_the_standard_one_counts() {
        assert!(lets_in("/bin/sh", None));
        assert!(!lets_in("/bin/bash", None));
        assert!(!lets_in("/bin/bash", Some("")));
    }

    #[test]
    fn v59_uids_of_this_machine() {
        let check = |uid: u32, want: &str| {
            assert_eq!(Account::check(Uid(uid), None, Uid(1000)).unwrap_err().to_string(), want);
        };
        check(0, "nothing runs as root");
        check(1, "uid 1 is below instances.uid_min (1000): a system account");
        check(65_534, "uid 65534 is nobody's");
        check(3_999_999_999, "there is no account with uid 3999999999");
    }

    #[test]
    fn v59_an_expiry_is_read_as_chage_writes_it() {
        let check = |text: &str, want: Option<Expiry>| assert_eq!(Expiry::parse(text), want, "{text}");
        let closed = Expiry::On(time::macros::date!(1970 - 01 - 02));
        check("Last password change\t\t\t: Jan 01, 2026\nAccount expires\t\t\t\t: Jan 02, 1970\n", Some(closed));
        check("Account expires\t\t\t\t\t\t: never\n", Some(Expiry::Never));
        check("Account expires\t\t\t\t\t\t: some day\n", None);
        check("Account expires\n", None);
        check("", None);
    }

    #[test]
    fn s10_only_a_whole_answer_says_that_an_account_has_not_expired() {
        use std::os::unix::process::ExitStatusExt as _;
        let never = "Account expires\t\t\t\t\t\t: never\n";
        let told = |status: i32, text: &str| Expiry::told(ExitStatus::from_raw(status), text);
        assert!(matches!(told(0, never), Ok(Expiry::Never)));
        // Killed, failed, silent, cut short.
        assert!(matches!(told(9, never), Err(ExpiryFailure::Ended(_))));
        assert!(matches!(told(1 << 8, never), Err(ExpiryFailure::Ended(_))));
        assert!(matches!(told(0, ""), Err(ExpiryFailure::Answer)));
        assert!(matches!(told(0, "Last password change : never\nAccount exp"), Err(ExpiryFailure::Answer)));
    }

    #[test]
    fn s10_only_the_local_database_has_an_expiry_to_ask_for() {
        let accounts = b"root:x:0:0:root:/root:/bin/bash\nalice:x:1101:1101::/home/alice:/bin/bash\n";
        for (name, want) in [("alice", true), ("root", true), ("ali", false), ("x", false), ("", true)] {
            assert_eq!(is_local(name, accounts), want, "{name}");
        }
    }
}
