//! A gateway that the service manager started comes to the server for its sockets: over one
//! connection, which is the control line from then on.
//!
//! It listens to nobody but its own account, which alone can enter the directory.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use countersign_keys::identity::Uid;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use crate::descriptors::{self, DescriptorFailure, Listener};
use crate::ipc::control::LISTENERS_MAX;
use crate::ipc::peer::{Peer, UnknownPeer};

/// How long the server may take to hand them over. It takes the next gateway when the one before is
/// gone.
const WITHIN: Duration = Duration::from_secs(30);

/// Why it got none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachFailure {
    /// The server is not there, or not in time.
    #[error("nobody answers at {path}: is gateway.start \"service\", and does the server run?")]
    Absent {
        /// Where it should be.
        path: std::path::PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Somebody else is there.
    #[error("uid {0} listens there, and not this account")]
    Stranger(Uid),
    /// The kernel does not say who is there.
    #[error(transparent)]
    Unknown(#[from] UnknownPeer),
    /// What came is no listening socket.
    #[error(transparent)]
    Descriptor(#[from] DescriptorFailure),
    /// The system.
    #[error("the sockets cannot be taken")]
    System(#[from] nix::Error),
}

/// The control line, and the listening sockets.
pub(super) fn to_server(path: &Path) -> Result<(UnixStream, Vec<Listener>), AttachFailure> {
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
    // They came without the mark that anything of this process's own has, like what is inherited.
    let listeners = handed_over.into_iter().map(descriptors::take_listener).collect::<Result<_, _>>()?;
    Ok((line, listeners))
}

fn receive(line: &UnixStream) -> Result<Vec<RawFd>, nix::Error> {
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let mut room = nix::cmsg_space!([RawFd; LISTENERS_MAX]);
    let message = recvmsg::<()>(line.as_raw_fd(), &mut bytes, Some(&mut room), MsgFlags::empty())?;
    let mut handed_over = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = control {
            handed_over.extend(descriptors);
        }
    }
    Ok(handed_over)
}
