//! The instance's end of its channel to the server. Reports that the instance serves, and ends when
//! the server says so or closes the channel.
//!
//! No message of the server has authority over what is verified.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream as StdUnixStream;

use tokio::io::BufReader;
use tokio::net::UnixStream;

use countersign_ipc::instance_line::{DESCRIPTOR, FromInstance, ToInstance, hear, say};
use countersign_ipc::tcp_proof::ListenerKey;
use countersign_os::descriptors::{self, DescriptorFailure};

/// Why an instance has no channel to its server.
#[derive(Debug, thiserror::Error)]
pub enum ServerLinkFailure {
    /// Descriptor 1 is not that channel.
    #[error("standard output is not the line to the server: start instances by the server, through deploy/sudoers")]
    Descriptor(#[from] DescriptorFailure),
    /// The server has closed the channel.
    #[error("the server does not take this instance")]
    Server(#[from] io::Error),
}

/// The channel, inherited from the server.
#[derive(Debug)]
pub(super) struct ServerLink(BufReader<UnixStream>);

impl ServerLink {
    /// Takes the channel, and reports that the program runs: later failures are not sudo's. From
    /// then on standard output is `/dev/null`, so that no child process inherits the channel.
    ///
    /// # Errors
    /// If descriptor 1 is not a socket that the server left open, or the server has closed the
    /// channel.
    pub(super) fn inherited() -> Result<InheritedLine, ServerLinkFailure> {
        let mut line = descriptors::take_unix_stream_elsewhere(DESCRIPTOR)?;
        let mut started = serde_json::to_vec(&FromInstance::Started).map_err(io::Error::from)?;
        started.push(b'\n');
        line.write_all(&started)?;
        Ok(InheritedLine(line))
    }

    /// Reads the key of the instance's listening socket. The server sends it first if that socket
    /// is a TCP port.
    ///
    /// # Errors
    /// If the server sends another message, or has closed the channel.
    pub(super) async fn key(&mut self) -> io::Result<ListenerKey> {
        match hear(&mut self.0).await? {
            Some(ToInstance::Key { key }) => Ok(key),
            Some(ToInstance::Stop) | None => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    /// Reports that the instance serves, and waits until the server stops it.
    pub(super) async fn until_stopped(mut self) {
        if let Err(error) = self.converse().await {
            tracing::warn!(%error, "the line to the server broke");
        }
    }

    async fn converse(&mut self) -> io::Result<()> {
        say(&mut self.0, &FromInstance::Ready).await?;
        match hear(&mut self.0).await? {
            Some(ToInstance::Stop) | None => Ok(()),
            Some(ToInstance::Key { .. }) => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// The channel before the runtime exists.
#[derive(Debug)]
pub(super) struct InheritedLine(StdUnixStream);

impl InheritedLine {
    /// Registers the channel with the runtime.
    ///
    /// # Errors
    /// If the runtime rejects the socket.
    pub(super) fn open(self) -> io::Result<ServerLink> {
        UnixStream::from_std(self.0).map(BufReader::new).map(ServerLink)
    }
}
