//! How every process of this program begins: closed to other processes, and the three daemons with
//! nothing that they were not given.
//!
//! [`Untraceable`] is the first statement of the program, before arguments, environment or files
//! are read. Each daemon then takes [`Daemon::begin`], the one place that refuses root (P10),
//! closes inherited descriptors and forbids core files. Both are values: a daemon's `run` cannot be
//! called without them.
//!
//! From the first instruction up to `Untraceable::begin` (dynamic linker, start of the standard
//! library) a process is closed by the mode of its program file alone: see [`crate::program`]
//! (V71).

use std::os::fd::RawFd;

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{geteuid, getuid};

use crate::descriptors;

/// Evidence that this process is closed to other processes of its account: no `ptrace`, no
/// `pidfd_getfd`, no `/proc/PID/mem`, no core file.
#[derive(Debug)]
pub(crate) struct Untraceable(());

impl Untraceable {
    /// Closes this process. Programs that it executes are open again, if their files can be read.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(crate) fn begin() -> Result<Self, BeginFailure> {
        prctl::set_dumpable(false)
            .map_err(|source| BeginFailure::Step { step: "close this process to others", source })?;
        Ok(Self(()))
    }
}

/// Which daemon begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum DaemonKind<'a> {
    /// IM/Server.
    Server,
    /// The L7 ingress, with the descriptors that its server left open for it.
    Gateway(&'a [RawFd]),
    /// IM/User.
    Instance,
}

/// Why a process does not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BeginFailure {
    /// P10.
    #[error("countersign {mode} does not run as root: {advice}")]
    Root {
        /// The daemon's name on the command line.
        mode: &'static str,
        /// Who starts it.
        advice: &'static str,
    },
    /// The kernel refuses a step.
    #[error("cannot {step}")]
    Step {
        /// What was refused.
        step: &'static str,
        /// The cause.
        source: nix::Error,
    },
}

/// Evidence that a daemon has begun as it must.
#[derive(Debug)]
pub(crate) struct Daemon(());

impl Daemon {
    /// Refuses root, closes what was inherited beside the standard streams, and sets the process's
    /// limits. To be called before anything is opened.
    ///
    /// # Errors
    /// If this is root, or the kernel refuses a step.
    pub(crate) fn begin(_closed: &Untraceable, kind: DaemonKind<'_>) -> Result<Self, BeginFailure> {
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
        // Also of what it starts: its memory holds keys and tokens (V62).
        setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(step("forbid core files"))?;
        match kind {
            DaemonKind::Server => own_files_only(),
            DaemonKind::Gateway(_) => {
                prctl::set_no_new_privs().map_err(step("renounce new privileges"))?;
                own_files_only();
            }
            // Its umask is the user's, for the user's files; its own files have modes of their own.
            DaemonKind::Instance => {}
        }
        Ok(Self(()))
    }
}

/// What these two write is for their own account; each connection and instance takes a descriptor.
fn own_files_only() {
    umask(Mode::from_bits_truncate(0o077));
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}
