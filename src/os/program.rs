//! The program file: which accounts could read or replace what becomes a user's instance.
//!
//! At `execve` the kernel closes a process to its account if that account cannot read the program
//! file. It does so before the first instruction: no `ptrace`, no `pidfd_getfd`, no `/proc/PID/mem`
//! (`would_dump` and `begin_new_exec` in fs/exec.c). So the program is installed with mode 0711.
//! With a readable file, a user could take the listening socket of the user's own starting instance
//! and answer in its place (P7, V71).

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use countersign_keys::identity::Uid;

/// Permission bits with which others than root could read the program. On a file with an access
/// list, the group's bits are its mask.
const READABLE: u32 = 0o044;

/// Permission bits with which others than root could change it.
const WRITABLE: u32 = 0o022;

/// How the kernel treats a process that it closes at `execve` (proc_sys_fs(5)).
const SUID_DUMPABLE: &str = "/proc/sys/fs/suid_dumpable";

/// The value of [`SUID_DUMPABLE`] with which the kernel closes nothing: a debugging aid.
const DUMPS_ALL: &str = "1";

/// Why the program must not be started as a user.
#[derive(Debug, thiserror::Error)]
pub enum ProgramFault {
    /// Users could trace the instance that it becomes.
    #[error(
        "{path} has mode {mode:04o}: users can read it, and so take over their own starting instance; chmod 0711 {path}"
    )]
    Readable {
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Its owner could read and replace it.
    #[error("{path} belongs to uid {owner}, and must belong to root: chown root:root {path}")]
    Owner {
        /// The program, or a directory above it.
        path: PathBuf,
        owner: Uid,
    },
    /// Others could replace it.
    #[error("{path} has mode {mode:04o}: others can exchange the program; chmod go-w {path}")]
    Writable {
        /// The program, or a directory above it.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The kernel closes nothing.
    #[error("fs.suid_dumpable is 1: users can trace their own starting instance; sysctl fs.suid_dumpable=0")]
    DumpsAll,
    #[error("cannot check {path}")]
    Unknown {
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// Checks that users can neither read nor replace the program, and that the kernel honours this.
///
/// # Errors
/// The first condition that does not hold, or is unknown.
pub fn check(program: &Path) -> Result<(), ProgramFault> {
    let unknown = |path: &Path| {
        let path = path.to_owned();
        move |source| ProgramFault::Unknown { path, source }
    };
    let path = std::fs::canonicalize(program).map_err(unknown(program))?;
    for (place, above) in path.ancestors().zip(0..) {
        let found = std::fs::metadata(place).map_err(unknown(place))?;
        judge(place, found.uid(), found.mode() & 0o7777, above == 0)?;
    }
    let dumpable = std::fs::read_to_string(SUID_DUMPABLE).map_err(unknown(Path::new(SUID_DUMPABLE)))?;
    if dumpable.trim() == DUMPS_ALL { Err(ProgramFault::DumpsAll) } else { Ok(()) }
}

fn judge(path: &Path, owner: u32, mode: u32, is_program: bool) -> Result<(), ProgramFault> {
    if owner != 0 {
        return Err(ProgramFault::Owner { path: path.to_owned(), owner: Uid(owner) });
    }
    if mode & WRITABLE != 0 {
        return Err(ProgramFault::Writable { path: path.to_owned(), mode });
    }
    if is_program && mode & READABLE != 0 {
        return Err(ProgramFault::Readable { path: path.to_owned(), mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v71_the_program_is_roots_alone_to_read_and_to_change() {
        let check = |owner: u32, mode: u32, is_program: bool, want: Option<&str>| {
            let judged = judge(Path::new("/usr/bin/countersign"), owner, mode, is_program);
            let fault = judged.err().map(|fault| fault.to_string());
            assert_eq!(fault.is_some(), want.is_some(), "{owner} {mode:o}: {fault:?}");
            assert!(fault.unwrap_or_default().contains(want.unwrap_or_default()), "{owner} {mode:o}");
        };
        check(0, 0o711, true, None);
        check(0, 0o700, true, None);
        check(0, 0o755, true, Some("chmod 0711"));
        check(0, 0o750, true, Some("chmod 0711"));
        check(0, 0o715, true, Some("chmod 0711"));
        check(0, 0o731, true, Some("chmod go-w"));
        check(1101, 0o711, true, Some("chown root:root"));
        check(0, 0o755, false, None);
        check(0, 0o2775, false, Some("chmod go-w"));
        check(999, 0o755, false, Some("must belong to root"));
    }
}
