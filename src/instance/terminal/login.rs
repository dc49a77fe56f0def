//! The user's login shell on a terminal of its own: as `login` would start it, in a folder that is
//! open already.
//!
//! It gets a clean environment and no descriptor but its terminal. However it comes to its end,
//! nothing of it goes on that holds the terminal.

use std::ffi::OsString;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getsid, tcgetpgrp};
use pty_process::{Command, Pty, Size};
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};

/// How long a shell that was hung up may take to end.
const HANG_UP_MAX: Duration = Duration::from_secs(2);
/// Where programs are until the shell's own profile says otherwise.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games";
/// The terminal that UCloud's page is (xterm.js).
const TERM: &str = "xterm-256color";
/// UTF-8, on every Linux.
const LANG: &str = "C.UTF-8";
/// What an empty field of the account database means.
const SHELL: &str = "/bin/sh";

/// Who logs in.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    /// The login name.
    pub(crate) name: String,
    /// The home directory.
    pub(crate) home: PathBuf,
    /// The shell of the account database.
    pub(crate) shell: PathBuf,
}

/// A shell that runs. Dropped, it is hung up.
pub(super) struct Running {
    pub(super) pty: Pty,
    child: Option<Child>,
}

impl Login {
    /// Starts the shell in a folder.
    pub(super) fn start(&self, folder: &OwnedFd, size: Size) -> pty_process::Result<Running> {
        // What is ignored here (by whoever started us with nohup, say) would be ignored there, and
        // no shell could be hung up. What is handled here has its default there.
        let _handled = signal(SignalKind::hangup()).map_err(pty_process::Error::Io)?;
        let (pty, pts) = pty_process::open()?;
        pty.resize(size)?;
        let shell = if self.shell.as_os_str().is_empty() { SHELL.into() } else { self.shell.clone() };
        let mut arg0 = OsString::from("-"); // what tells a shell that this is a login
        arg0.push(shell.file_name().unwrap_or(shell.as_os_str()));
        let child = Command::new(&shell)
            .arg0(arg0)
            // Resolved in the child, before the descriptor is closed by the kernel as all of ours
            // are.
            .current_dir(format!("/proc/self/fd/{}", folder.as_raw_fd()))
            .env_clear()
            .env("HOME", &self.home)
            .env("USER", &self.name)
            .env("LOGNAME", &self.name)
            .env("SHELL", &shell)
            .env("TERM", TERM)
            .env("LANG", LANG)
            .env("PATH", PATH)
            .spawn(pts)?;
        Ok(Running { pty, child: Some(child) })
    }
}

impl Running {
    /// The terminal, and a wait for the shell's end.
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
        // The terminal closes with this value: the kernel then sends SIGHUP to the shell and to the
        // foreground, and lets go on what is stopped. Nothing is left to wait for once the shell's
        // end is known, and its number may be another's.
        let Some(shell) = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw) else { return };
        let foreground = tcgetpgrp(&self.pty).ok().filter(|group| group.as_raw() > 1);
        let end = async move {
            if tokio::time::timeout(HANG_UP_MAX, child.wait()).await.is_err() {
                let _ = killpg(shell, Signal::SIGKILL);
                let _ = child.wait().await;
            }
            // A number that has become somebody else's is of another session.
            if let Some(group) = foreground.filter(|group| getsid(Some(*group)) == Ok(shell)) {
                tokio::time::sleep(HANG_UP_MAX).await;
                if getsid(Some(group)) == Ok(shell) {
                    let _ = killpg(group, Signal::SIGKILL);
                }
            }
        };
        // Without a runtime the process is at its end, and the kernel hangs the terminal up.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(end);
        }
    }
}
