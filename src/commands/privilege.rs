//! Gives up root for good. A command does nothing else as root.
//!
//! Happens, and is verified, before the command touches anything of the user's or the network
//! (P10). Otherwise the account could lead root to other files by links, or take over this process
//! and with it root's terminal.

use std::ffi::{CString, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, getresgid, getresuid, initgroups, seteuid, setresgid, setresuid, setuid};

/// The search path after giving up root. Nothing is run from it.
const PATH: &str = "/usr/bin:/bin";

/// The variables kept of root's environment: they control the terminal.
const KEPT: [&str; 2] = ["TERM", "LANG"];

/// Why root could not be given up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrivilegeFailure {
    /// The account is root's own.
    #[error("uid 0 is root itself: name the account of the user")]
    IsRoot,
    /// The account's name contains NUL.
    #[error("the account's name contains a NUL")]
    Name,
    /// The program could not be run again with a clean environment.
    #[error("cannot clear the environment")]
    Environment(#[source] std::io::Error),
    /// No working directory is accessible.
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
    /// Some of root's identity was left after all steps.
    #[error("root has not been given up entirely: stopping here")]
    StillRoot,
}

/// The account to become.
pub(super) struct Target<'a> {
    pub(super) uid: u32,
    /// The primary group.
    pub(super) gid: u32,
    /// The login name.
    pub(super) name: &'a str,
    pub(super) home: &'a Path,
}

/// Becomes the account, irreversibly.
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
    // The account's other processes must not attach to this one, which holds root's terminal.
    prctl::set_dumpable(false).map_err(failed("close this process to others"))?;
    prctl::set_no_new_privs().map_err(failed("renounce new privileges"))?;
    umask(Mode::from_bits_truncate(0o077));
    std::env::set_current_dir(account.home)
        .or_else(|_| std::env::set_current_dir("/"))
        .map_err(PrivilegeFailure::Directory)
}

/// Verifies that nothing of root is left.
fn make_sure(uid: Uid, gid: Gid) -> Result<(), PrivilegeFailure> {
    let failed = |source| PrivilegeFailure::Step { step: "read its own uid", source };
    let uids = getresuid().map_err(failed)?;
    let gids = getresgid().map_err(failed)?;
    let is_given_up = [uids.real, uids.effective, uids.saved] == [uid; 3]
        && [gids.real, gids.effective, gids.saved] == [gid; 3]
        && setuid(Uid::from_raw(0)).is_err()
        && seteuid(Uid::from_raw(0)).is_err();
    if is_given_up { Ok(()) } else { Err(PrivilegeFailure::StillRoot) }
}

/// Runs this program again with the same arguments in a clean environment of the account. Returns
/// if the environment is clean already.
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
