//! Receives the listening sockets from the server, for a gateway that the service manager started.
//!
//! The connection then serves as the control channel. Accepts only a server of its own account,
//! which alone can enter the directory.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use countersign_keys::identity::Uid;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use countersign_config::LISTENERS_MAX;
use countersign_ipc::peer::{Peer, UnknownPeer};
use countersign_os::descriptors::{self, DescriptorFailure, Listener};

/// How long the server may take to hand the sockets over. It serves the next gateway only when the
/// previous one is gone.
const WITHIN: Duration = Duration::from_secs(30);

/// Why the gateway got no sockets.
#[derive(Debug, thiserror::Error)]
pub enum AttachFailure {
    /// The server is absent, or too slow.
    #[error("{path}: the server does not answer (is it running, and is gateway.start \"service\"?)")]
    Absent {
        path: std::path::PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another account listens there.
    #[error("the server's socket belongs to uid {0}, not to this account")]
    Stranger(Uid),
    /// The kernel does not name the peer.
    #[error(transparent)]
    Unknown(#[from] UnknownPeer),
    /// A received descriptor is not a listening socket.
    #[error(transparent)]
    Descriptor(#[from] DescriptorFailure),
    #[error("cannot receive the listening sockets")]
    System(#[from] nix::Error),
}

/// Returns the control channel and the listening sockets.
pub(crate) fn to_server(path: &Path) -> Result<(UnixStream, Vec<Listener>), AttachFailure> {
    let absent = |source| AttachFailure::Absent { path: path.to_owned(), source };
    let line = UnixStream::connect(path).map_err(absent)?;
    let server = Peer::of(&line)?;
    if server.uid.0 != nix::unistd::geteuid().as_raw() {
        return Err(AttachFailure::Stranger(server.uid));
    }
    line.set_read_timeout(Some(WITHIN)).map_err(absent)?;
    let handed_over = receive(&line)?;
    if handed_over.is_empty() {
        return Err(absent(io::ErrorKind::UnexpectedEof.into()));
    }
    line.set_nonblocking(true).map_err(absent)?;
    // They arrive without close-on-exec, as inherited descriptors do, which `take_listener`
    // expects.
    let listeners = handed_over.into_iter().map(descriptors::take_listener).collect::<Result<_, _>>()?;
    Ok((line, listeners))
}

fn receive(line: &UnixStream) -> Result<Vec<RawFd>, nix::Error> {
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    // The last is that of the metrics.
    let mut room = nix::cmsg_space!([RawFd; LISTENERS_MAX + 1]);
    let message = recvmsg::<()>(line.as_raw_fd(), &mut bytes, Some(&mut room), MsgFlags::empty())?;
    let mut handed_over = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = control {
            handed_over.extend(descriptors);
        }
    }
    Ok(handed_over)
}
