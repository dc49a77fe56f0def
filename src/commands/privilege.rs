//! Giving up root, for good: the one thing that a command does as root.
//!
//! Nothing of the user's, and nothing on the network, is touched before it has been done and seen
//! to be done (P10). The account could otherwise lead root to other files by links, or take over
//! this process and through it root's terminal.

use std::ffi::{CString, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, getresgid, getresuid, initgroups, seteuid, setresgid, setresuid, setuid};

/// The environment's search path once root is given up; nothing is run from it.
const PATH: &str = "/usr/bin:/bin";

/// What of root's environment is kept: how the terminal writes.
const KEPT: [&str; 2] = ["TERM", "LANG"];

/// Why root could not be given up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrivilegeFailure {
    /// The account is root's own.
    #[error("uid 0 is root itself: name the account of the user")]
    IsRoot,
    /// The account's name cannot be said to the system.
    #[error("the account's name has a NUL in it")]
    Name,
    /// This program could not be run again without root's environment.
    #[error("cannot clear the environment")]
    Environment(#[source] std::io::Error),
    /// There is nowhere to go.
    #[error("cannot leave root's directory")]
    Directory(#[source] std::io::Error),
    /// The system refused a step.
    #[error("cannot {step}")]
    Step {
        /// What was refused.
        step: &'static str,
        /// The cause.
        source: Errno,
    },
    /// After all steps, something of root was left.
    #[error("root has not been given up entirely: stopping here")]
    StillRoot,
}

/// An account to become.
pub(super) struct Target<'a> {
    /// Its uid.
    pub(super) uid: u32,
    /// Its primary group.
    pub(super) gid: u32,
    /// Its login name.
    pub(super) name: &'a str,
    /// Its home directory.
    pub(super) home: &'a Path,
}

/// Becomes the account, so that there is no way back.
pub(super) fn give_up_root(account: &Target<'_>) -> Result<(), PrivilegeFailure> {
    let failed = |step: &'static str| move |source: Errno| PrivilegeFailure::Step { step, source };
    let uid = Uid::from_raw(account.uid);
    let gid = Gid::from_raw(account.gid);
    if uid.is_root() {
        return Err(PrivilegeFailure::IsRoot);
    }
    clear_environment(account)?;
    let name = CString::new(account.name).map_err(|_| PrivilegeFailure::Name)?;
    initgroups(&name, gid).map_err(failed("take on the account's groups"))?;
    setresgid(gid, gid, gid).map_err(failed("take on the account's group"))?;
    setresuid(uid, uid, uid).map_err(failed("take on the account's uid"))?;
    make_sure(uid, gid)?;
    // The account's other processes must not reach into this one: it holds root's terminal.
    prctl::set_dumpable(false).map_err(failed("close this process to others"))?;
    prctl::set_no_new_privs().map_err(failed("renounce new privileges"))?;
    umask(Mode::from_bits_truncate(0o077));
    std::env::set_current_dir(account.home)
        .or_else(|_| std::env::set_current_dir("/"))
        .map_err(PrivilegeFailure::Directory)
}

/// Sees that nothing is left of root.
fn make_sure(uid: Uid, gid: Gid) -> Result<(), PrivilegeFailure> {
    let failed = |source| PrivilegeFailure::Step { step: "look at the own uid", source };
    let uids = getresuid().map_err(failed)?;
    let gids = getresgid().map_err(failed)?;
    let is_given_up = [uids.real, uids.effective, uids.saved] == [uid; 3]
        && [gids.real, gids.effective, gids.saved] == [gid; 3]
        && setuid(Uid::from_raw(0)).is_err()
        && seteuid(Uid::from_raw(0)).is_err();
    if is_given_up { Ok(()) } else { Err(PrivilegeFailure::StillRoot) }
}

/// Runs this program again, with the same arguments, in an environment that says only what the
/// account's own would. Where that is so already, it returns.
fn clear_environment(account: &Target<'_>) -> Result<(), PrivilegeFailure> {
    let kept = KEPT.into_iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
    let own: [(&str, OsString); 4] = [
        ("HOME", account.home.into()),
        ("LOGNAME", account.name.into()),
        ("PATH", PATH.into()),
        ("USER", account.name.into()),
    ];
    let mut wanted: Vec<(OsString, OsString)> =
        kept.chain(own.into_iter().map(|(name, value)| (name.into(), value))).collect();
    let mut present: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    wanted.sort();
    present.sort();
    if wanted == present {
        return Ok(());
    }
    let failure = Command::new("/proc/self/exe")
        .arg0("countersign")
        .args(std::env::args_os().skip(1))
        .env_clear()
        .envs(wanted)
        .exec();
    Err(PrivilegeFailure::Environment(failure))
}
