//! Notifies the service manager when the server is ready (`Type=notify`).
//!
//! Sends one message to the socket that the environment names (sd_notify(3)); without that name,
//! none. Receives nothing.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variable with the socket's name: a path, or `@` and an abstract name.
const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";

/// The service manager's socket.
#[derive(Debug)]
pub struct ServiceManager {
    socket: OsString,
}

impl ServiceManager {
    /// The socket that the environment names.
    pub fn named() -> Option<Self> {
        std::env::var_os(SOCKET_VARIABLE).map(|socket| Self { socket })
    }

    /// Reports that this process is ready.
    ///
    /// # Errors
    /// If the message cannot be sent.
    pub fn tell_ready(&self) -> io::Result<()> {
        let address = match self.socket.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
        };
        UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address).map(|_sent| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(socket: impl Into<OsString>, address: &SocketAddr) {
        let hears = UnixDatagram::bind_addr(address).unwrap();
        ServiceManager { socket: socket.into() }.tell_ready().unwrap();
        let mut said = [0; 64];
        let length = hears.recv(&mut said).unwrap();
        assert_eq!(&said[..length], b"READY=1");
    }

    #[test]
    fn it_is_told_at_a_path_and_at_an_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        check(&path, &SocketAddr::from_pathname(&path).unwrap());
        let name = format!("countersign-test-{}", std::process::id());
        check(format!("@{name}"), &SocketAddr::from_abstract_name(&name).unwrap());
    }

    #[test]
    fn that_it_is_gone_is_an_error_and_no_more() {
        assert!(ServiceManager { socket: "/no/such/socket".into() }.tell_ready().is_err());
    }
}
