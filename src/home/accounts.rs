//! Local accounts: which may have an instance (P10).
//!
//! An [`Account`] is a checked passwd row. Refuses uid 0, system accounts, `nobody`, and accounts
//! that do not exist, are locked or may not log in. Refuses a uid whose name differs from the
//! connected one. The server checks before it connects or launches an account, and the instance
//! checks again. Expiry is in `/etc/shadow`, which only the account itself can query: its instance
//! does, and so does the command that approves a connection.

use std::process::{Command, ExitStatus, Stdio};

use countersign_config::{Drive, PlainName};
use countersign_keys::identity::Uid;
use nix::unistd::{self, User};

/// Most groups of an account that are considered.
const GROUPS_MAX: usize = 1_024;

/// The uid to which network file systems map unknown users.
const NOBODY: u32 = 65_534;

/// `nobody` in 16 bits; "no uid", and the number before it, which systemd and shadow's tools
/// reserve too.
const NO_UID: [u32; 3] = [65_535, u32::MAX - 1, u32::MAX];

/// Shells that permit no login, in any directory and even if `/etc/shells` lists them.
const CLOSED_SHELLS: [&str; 4] = ["nologin", "false", "sync", "halt"];

/// The allowed shells without `/etc/shells` (getusershell(3)).
const SHELLS_WITHOUT_FILE: [&str; 2] = ["/bin/sh", "/bin/csh"];

/// Reports an account's ageing to that account. Part of Debian's and Red Hat's base systems.
const CHAGE: &str = "/usr/bin/chage";

/// The accounts whose expiry the local shadow database has.
const LOCAL_ACCOUNTS: &str = "/etc/passwd";

/// A checked passwd row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    pub uid: Uid,
    pub name: String,
}

#[derive(Debug, thiserror::Error)]
pub enum AccountRejection {
    #[error("nothing runs as root")]
    Root,
    #[error("uid {uid} is below instances.uid_min ({uid_min}): a system account")]
    System {
        uid: Uid,
        /// The configured minimum.
        uid_min: Uid,
    },
    /// `nobody`, or "no uid".
    #[error("uid {0} belongs to no account")]
    Nobody(Uid),
    #[error("there is no account with uid {0}")]
    Unknown(Uid),
    #[error("the account database does not answer")]
    Database(#[source] nix::Error),
    #[error("the login name {name} belongs to another uid as well")]
    Ambiguous { name: String },
    /// The uid's login name differs from the connected one, or from the caller's claim.
    #[error("uid {uid} has the login name {name}, and not {expected}")]
    Renamed {
        uid: Uid,
        name: String,
        /// The expected name.
        expected: String,
    },
    /// Its password field is locked.
    #[error("the account {name} is locked")]
    Locked { name: String },
    /// Its shell permits no login.
    #[error("the account {name} may not log in: its shell is {shell}")]
    Shell { name: String, shell: String },
    #[error("the account {name} expired on {date}: it can have no instance (see chage -E)")]
    Expired {
        name: String,
        /// The first day on which it is closed.
        date: time::Date,
    },
    #[error("the expiry of the account {name} is unknown")]
    ExpiryUnknown {
        name: String,
        /// The cause.
        source: ExpiryFailure,
    },
    /// The list of login shells cannot be read.
    #[error("/etc/shells cannot be read")]
    Shells(#[source] std::io::Error),
}

/// Why the expiry of an account is unknown.
#[derive(Debug, thiserror::Error)]
pub enum ExpiryFailure {
    #[error("{LOCAL_ACCOUNTS} cannot be read")]
    Accounts(#[source] std::io::Error),
    #[error("{CHAGE} cannot be run (Debian: apt-get install passwd)")]
    Run(#[source] std::io::Error),
    /// It failed or was killed, perhaps by the account itself.
    #[error("{CHAGE} ended with {0}")]
    Ended(ExitStatus),
    /// Its output has another form.
    #[error("{CHAGE} did not say when the account expires")]
    Answer,
}

/// The checked parts of a passwd row.
#[derive(Clone, Copy, Debug)]
struct Row<'r> {
    uid: u32,
    name: &'r str,
    password: &'r str,
    shell: &'r str,
}

/// The source of accounts.
#[derive(Clone, Debug)]
pub enum Accounts {
    /// The system's account database.
    System,
    /// A test's accounts.
    #[cfg(any(test, feature = "testing"))]
    These(Vec<Account>),
}

impl Accounts {
    /// Looks the uid up and checks it; `expected` is its required name. May block for a while.
    pub fn check(&self, uid: Uid, expected: Option<&str>, uid_min: Uid) -> Result<Account, AccountRejection> {
        match self {
            Self::System => Account::check(uid, expected, uid_min),
            #[cfg(any(test, feature = "testing"))]
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

    /// The account of this process, which must not have expired either.
    pub fn of_this_process(uid_min: Uid) -> Result<Self, AccountRejection> {
        let account = Self::check(Uid(unistd::getuid().as_raw()), None, uid_min)?;
        refuse_expired(&account.name)?;
        Ok(account)
    }

    /// The login name of a uid, if it has one. For display alone.
    pub fn name_of(uid: Uid) -> Option<String> {
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
    // SSSD and LDAP write "*" for every account, because the password is not in the row; "!" always
    // means locked.
    if row.password.starts_with('!') || row.password.starts_with("*LK*") {
        return Err(AccountRejection::Locked { name });
    }
    if !lets_in(row.shell, shells) {
        return Err(AccountRejection::Shell { name, shell: row.shell.to_owned() });
    }
    Ok(Account { uid, name })
}

/// Whether `/etc/shells` lists the shell, and it is not one of [`CLOSED_SHELLS`]. An empty field
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

/// Refuses an expired account, and one whose expiry is unknown. Only root and the account itself
/// can query it. The expiry of an account outside the local database (LDAP, for example) is left to
/// its own directory.
pub fn refuse_expired(name: &str) -> Result<(), AccountRejection> {
    let today = time::OffsetDateTime::now_utc().date();
    let expiry =
        Expiry::of(name).map_err(|source| AccountRejection::ExpiryUnknown { name: name.to_owned(), source })?;
    match expiry {
        Expiry::On(date) if date <= today => Err(AccountRejection::Expired { name: name.to_owned(), date }),
        Expiry::On(_) | Expiry::Never => Ok(()),
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Expiry {
    Never,
    On(time::Date),
}

impl Expiry {
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

    /// Interprets `chage`'s output. The account can kill or starve it, so only a complete output
    /// counts.
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

/// The groups of this process that can have drives, by name. Without a group drive the database is
/// not queried.
pub fn own_groups(drives: &[Drive]) -> Vec<PlainName> {
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
        check(&Row { uid: 65_534, ..ALICE }, Err("uid 65534 belongs to no account"));
        check(&Row { uid: 65_535, ..ALICE }, Err("uid 65535 belongs to no account"));
        check(&Row { uid: u32::MAX, ..ALICE }, Err("uid 4294967295 belongs to no account"));
        check(&Row { uid: u32::MAX - 1, ..ALICE }, Err("uid 4294967294 belongs to no account"));
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
        check(65_534, "uid 65534 belongs to no account");
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
        // Killed, failed, silent, truncated.
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
