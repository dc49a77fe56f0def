//! Start-up of every process, and of the three daemons.
//!
//! [`Untraceable::begin`] closes the process to others, and [`Daemon::begin`] refuses root and
//! unintended inheritance (P10). Both return evidence, without which a daemon's `run` cannot be
//! called.

use std::os::fd::RawFd;

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{geteuid, getuid};

use crate::descriptors;

/// Evidence that this process is closed to other processes of its account: no `ptrace`, no
/// `pidfd_getfd`, no `/proc/PID/mem`, no core file.
#[derive(Debug)]
pub struct Untraceable(());

impl Untraceable {
    /// Closes this process, as the program's first statement, before it reads arguments,
    /// environment or files. Before that (dynamic linker, start of the standard library) only the
    /// mode of the program file protects it: see [`crate::program`] (V71). Programs that it
    /// executes are open again, if their files are readable.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn begin() -> Result<Self, BeginFailure> {
        prctl::set_dumpable(false)
            .map_err(|source| BeginFailure::Step { step: "close this process to others", source })?;
        Ok(Self(()))
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DaemonKind<'a> {
    /// IM/Server.
    Server,
    /// The gateway, with the descriptors that the server left open for it.
    Gateway(&'a [RawFd]),
    /// IM/User.
    Instance,
}

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum BeginFailure {
    /// The process runs as root (P10).
    #[error("countersign {mode} does not run as root: {advice}")]
    Root {
        /// The daemon's name on the command line.
        mode: &'static str,
        /// Who starts it.
        advice: &'static str,
    },
    #[error("cannot {step}")]
    Step {
        step: &'static str,
        /// The cause.
        source: nix::Error,
    },
}

/// Evidence that a daemon has started with these restrictions.
#[derive(Debug)]
pub struct Daemon(());

impl Daemon {
    /// Refuses root (the only place, P10), closes inherited descriptors except the standard
    /// streams, forbids core files and sets the process's other limits. Has to be called before
    /// anything is opened.
    ///
    /// # Errors
    /// If this is root, or the kernel refuses a step.
    pub fn begin(_closed: &Untraceable, kind: DaemonKind<'_>) -> Result<Self, BeginFailure> {
        let (mode, advice, kept) = match kind {
            DaemonKind::Server => ("server", "start it as the account that owns the state directory", &[][..]),
            DaemonKind::Gateway(kept) => ("gateway", "the server starts it, as its own account", kept),
            DaemonKind::Instance => ("user", "an instance runs as the user whom it serves", &[][..]),
        };
        if getuid().is_root() || geteuid().is_root() {
            return Err(BeginFailure::Root { mode, advice });
        }
        let step = |step| move |source| BeginFailure::Step { step, source };
        descriptors::close_others(kept).map_err(step("close inherited descriptors"))?;
        // Children inherit this. The memory holds keys and tokens (V62).
        setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(step("forbid core files"))?;
        match kind {
            DaemonKind::Server => own_files_only(),
            DaemonKind::Gateway(_) => {
                prctl::set_no_new_privs().map_err(step("renounce new privileges"))?;
                own_files_only();
            }
            // An instance keeps the user's umask, for the user's files; its own files have explicit
            // modes.
            DaemonKind::Instance => {}
        }
        Ok(Self(()))
    }
}

/// Server and gateway write for their own account alone. Each connection and instance takes a
/// descriptor.
fn own_files_only() {
    umask(Mode::from_bits_truncate(0o077));
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, "cannot raise limit of open files");
    }
}
