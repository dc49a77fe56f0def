//! The gateway in a unit of its own: it comes for the listening sockets, and what it came over is
//! the line to it from then on.
//!
//! One at a time, and only a process of this very account, which alone can enter the directory. It
//! is held by a descriptor of the process, so that it can be ended for certain, and no other by
//! mistake.

use std::io::{self, IoSlice};
use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, RawFd};
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, recv, sendmsg};
use tokio::io::unix::AsyncFd;
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Child;

use crate::descriptors::Process;
use crate::ipc::peer::Peer;

/// A gateway that runs.
#[derive(Debug)]
pub(super) enum Running {
    /// A child of ours.
    Child(Child),
    /// Started by somebody else.
    Unit(AsyncFd<Process>),
}

impl Running {
    /// Waits until it has ended; of one that is no child of ours nobody says how.
    pub(super) async fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        match self {
            Self::Child(child) => child.wait().await.map(Some),
            Self::Unit(process) => process.readable().await.map(|_ended| None),
        }
    }

    /// Ends it now, if it still runs.
    pub(super) async fn kill(&mut self) -> io::Result<()> {
        match self {
            Self::Child(child) => child.kill().await,
            Self::Unit(process) => match process.get_ref().kill() {
                Ok(()) | Err(Errno::ESRCH) => Ok(()),
                Err(error) => Err(error.into()),
            },
        }
    }
}

/// Waits for the next gateway and hands it the sockets.
///
/// # Errors
/// If none can be waited for. One that is a stranger's, or gone again, is passed over.
pub(super) async fn next(door: &UnixListener, listeners: &[TcpListener]) -> io::Result<(Running, UnixStream)> {
    loop {
        let (line, _) = door.accept().await?;
        match take(&line, listeners) {
            Ok((process, pid)) => {
                tracing::info!(pid, "a gateway has come for its sockets");
                return Ok((Running::Unit(process.watched()?), line));
            }
            Err(error) => tracing::warn!(%error, "what came for the gateway's sockets gets none"),
        }
    }
}

fn take(line: &UnixStream, listeners: &[TcpListener]) -> io::Result<(Process, i32)> {
    let peer = Peer::of(line).map_err(io::Error::other)?;
    if peer.uid.0 != nix::unistd::geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let process = Process::of(peer.pid)?;
    // Whoever still holds the other end has not ended, so that the number was its own.
    match recv(line.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
        Err(Errno::EAGAIN) => {}
        Ok(_) | Err(_) => return Err(io::ErrorKind::ConnectionReset.into()),
    }
    let descriptors: Vec<RawFd> = listeners.iter().map(std::os::fd::AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&descriptors)];
    sendmsg::<()>(line.as_raw_fd(), &[IoSlice::new(b"\n")], &rights, MsgFlags::MSG_DONTWAIT, None)?;
    Ok((process, peer.pid))
}
