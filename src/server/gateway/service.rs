//! The gateway in a separate systemd unit: it connects to fetch the listening sockets, and the
//! connection becomes its control channel.
//!
//! Accepts one gateway at a time, and only a process of this account, which alone can enter the
//! directory. Holds the process by a pidfd, so that a kill reaches this process and no other.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, recv, sendmsg};
use tokio::io::unix::AsyncFd;
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Child;

use countersign_ipc::peer::Peer;
use countersign_os::descriptors::Process;

/// A running gateway.
#[derive(Debug)]
pub(crate) enum Running {
    /// A child process.
    Child(Child),
    /// Started by the service manager.
    Unit(AsyncFd<Process>),
}

impl Running {
    /// Waits until it has ended. The status is known only for a child.
    pub(crate) async fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        match self {
            Self::Child(child) => child.wait().await.map(Some),
            Self::Unit(process) => process.readable().await.map(|_ended| None),
        }
    }

    /// Kills it, if it still runs.
    pub(crate) async fn kill(&mut self) -> io::Result<()> {
        match self {
            Self::Child(child) => child.kill().await,
            Self::Unit(process) => match process.get_ref().kill() {
                Ok(()) | Err(Errno::ESRCH) => Ok(()),
                Err(error) => Err(error.into()),
            },
        }
    }
}

/// Waits for the next gateway and sends it the sockets. Skips a process of another account, and one
/// that is gone.
///
/// # Errors
/// The listener failed.
pub(crate) async fn next(door: &UnixListener, listeners: &[OwnedFd]) -> io::Result<(Running, UnixStream, i32)> {
    loop {
        let (line, _) = door.accept().await?;
        match take(&line, listeners) {
            Ok((process, pid)) => {
                tracing::info!(pid, "handed out listening sockets to a gateway");
                return Ok((Running::Unit(process.watched()?), line, pid));
            }
            Err(error) => tracing::warn!(%error, "refused to hand out listening sockets"),
        }
    }
}

fn take(line: &UnixStream, listeners: &[OwnedFd]) -> io::Result<(Process, i32)> {
    let peer = Peer::of(line).map_err(io::Error::other)?;
    if peer.uid.0 != nix::unistd::geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let process = Process::of(peer.pid)?;
    // While the peer holds its end open it has not exited, so the pid is still its own.
    match recv(line.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
        Err(Errno::EAGAIN) => {}
        Ok(_) | Err(_) => return Err(io::ErrorKind::ConnectionReset.into()),
    }
    let descriptors: Vec<RawFd> = listeners.iter().map(std::os::fd::AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&descriptors)];
    sendmsg::<()>(line.as_raw_fd(), &[IoSlice::new(b"\n")], &rights, MsgFlags::MSG_DONTWAIT, None)?;
    Ok((process, peer.pid))
}
