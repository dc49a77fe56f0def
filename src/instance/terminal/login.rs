//! Starts the user's login shell on a new terminal, as `login` would, in a folder that is already
//! open.
//!
//! The shell gets a clean environment and no descriptor except its terminal. However it ends, no
//! process that holds the terminal survives it.

use std::ffi::OsString;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getsid, tcgetpgrp};
use pty_process::{Command, Pty, Size};
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};

/// How long a shell may take to end after the hangup.
const HANG_UP_MAX: Duration = Duration::from_secs(2);
/// The search path until the shell's own profile changes it.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games";
/// The terminal type of UCloud's page (xterm.js).
const TERM: &str = "xterm-256color";
/// UTF-8, available on every Linux.
const LANG: &str = "C.UTF-8";
/// The meaning of an empty shell field in the account database.
const SHELL: &str = "/bin/sh";

/// The account that logs in.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) name: String,
    pub(crate) home: PathBuf,
    /// The shell from the account database.
    pub(crate) shell: PathBuf,
}

/// What a terminal runs.
#[derive(Debug)]
pub(crate) enum Opened {
    /// The login shell, in this folder.
    Folder(OwnedFd),
    /// A program that brings a shell of another machine.
    Program(Launch),
}

/// A program, and the folder in which it starts.
#[derive(Debug)]
pub(crate) struct Launch {
    /// Absolute.
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// Beside that of a login shell.
    pub(crate) environment: Vec<(&'static str, OsString)>,
    pub(crate) folder: OwnedFd,
}

/// A running shell. Dropping it hangs it up.
pub(super) struct Running {
    pub(super) pty: Pty,
    child: Option<Child>,
}

impl Login {
    /// The shell of the account.
    pub(crate) fn shell(&self) -> PathBuf {
        if self.shell.as_os_str().is_empty() { SHELL.into() } else { self.shell.clone() }
    }

    pub(super) fn start(&self, opened: &Opened, size: Size) -> pty_process::Result<Running> {
        // The shell would inherit a signal that this process ignores (started with nohup, for
        // example), and no shell could be hung up. A signal that is handled here has its default
        // there.
        let _handled = signal(SignalKind::hangup()).map_err(pty_process::Error::Io)?;
        let (pty, pts) = pty_process::open()?;
        pty.resize(size)?;
        let shell = self.shell();
        let (command, folder, environment) = match opened {
            Opened::Folder(folder) => {
                let mut arg0 = OsString::from("-"); // marks a login shell
                arg0.push(shell.file_name().unwrap_or(shell.as_os_str()));
                (Command::new(&shell).arg0(arg0), folder, &[][..])
            }
            Opened::Program(launch) => {
                let command = Command::new(&launch.program).args(&launch.arguments);
                (command, &launch.folder, launch.environment.as_slice())
            }
        };
        let child = command
            // The child resolves this path before the kernel closes the descriptor (close-on-exec).
            .current_dir(format!("/proc/self/fd/{}", folder.as_raw_fd()))
            .env_clear()
            .env("HOME", &self.home)
            .env("USER", &self.name)
            .env("LOGNAME", &self.name)
            .env("SHELL", &shell)
            .env("TERM", TERM)
            .env("LANG", LANG)
            .env("PATH", PATH)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .spawn(pts)?;
        Ok(Running { pty, child: Some(child) })
    }
}

impl Running {
    /// The terminal, and a future that waits for the shell's end.
    pub(super) fn parts(&mut self) -> (&mut Pty, impl Future<Output = ()>) {
        let Self { pty, child } = self;
        let ended = async move {
            if let Some(child) = child
                && let Err(error) = child.wait().await
            {
                tracing::warn!(%error, "a shell's end cannot be waited for");
            }
        };
        (pty, ended)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // Dropping this value closes the terminal. The kernel then sends SIGHUP to the shell and to
        // the foreground group, and continues stopped processes. Once the shell's end is known,
        // there is nothing left to wait for, and another process may have its number.
        let Some(shell) = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw) else { return };
        let foreground = tcgetpgrp(&self.pty).ok().filter(|group| group.as_raw() > 1);
        let end = async move {
            if tokio::time::timeout(HANG_UP_MAX, child.wait()).await.is_err() {
                let _ = killpg(shell, Signal::SIGKILL);
                let _ = child.wait().await;
            }
            // A reused number belongs to another session.
            if let Some(group) = foreground.filter(|group| getsid(Some(*group)) == Ok(shell)) {
                tokio::time::sleep(HANG_UP_MAX).await;
                if getsid(Some(group)) == Ok(shell) {
                    let _ = killpg(group, Signal::SIGKILL);
                }
            }
        };
        // Without a runtime the process is ending, and the kernel hangs up the terminal.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(end);
        }
    }
}
