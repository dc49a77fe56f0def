//! The peer of a Unix socket, according to the kernel.

use countersign_keys::identity::Uid;
use nix::sys::socket::{getsockopt, sockopt};
use std::os::fd::AsFd;

/// The process that connected, at that moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Peer {
    /// Its effective uid.
    pub uid: Uid,
    /// Its effective gid.
    pub gid: u32,
    /// Its process id, for logs alone, because ids are reused.
    pub pid: i32,
}

impl Peer {
    /// Reads `SO_PEERCRED` of a connected Unix socket.
    pub fn of(socket: &impl AsFd) -> Result<Self, UnknownPeer> {
        let credentials = getsockopt(socket, sockopt::PeerCredentials)?;
        Ok(Self { uid: Uid(credentials.uid()), gid: credentials.gid(), pid: credentials.pid() })
    }
}

/// The kernel does not name the peer, which is then refused.
#[derive(Debug, thiserror::Error)]
#[error("the kernel does not name the peer of the socket")]
pub struct UnknownPeer(#[from] nix::Error);

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn both_ends_of_a_pair_are_this_process() {
        let (one, other) = UnixStream::pair().unwrap();
        for end in [&one, &other] {
            let peer = Peer::of(end).unwrap();
            assert_eq!(peer.uid, Uid(nix::unistd::geteuid().as_raw()));
            assert_eq!(peer.gid, nix::unistd::getegid().as_raw());
            assert_eq!(peer.pid, nix::unistd::getpid().as_raw());
        }
    }

    #[test]
    fn a_tcp_socket_has_no_peer() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        // Linux answers the option on TCP with pid 0 and uid -1, which no account has.
        if let Ok(peer) = Peer::of(&stream) {
            assert_eq!(peer.uid, Uid(u32::MAX));
        }
    }
}
