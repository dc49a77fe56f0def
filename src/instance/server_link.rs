//! The instance's end of its line to the server: says when it serves, and ends when the server says
//! so or is gone.
//!
//! Nothing that the server says here has authority over what is verified.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream as StdUnixStream;

use tokio::io::BufReader;
use tokio::net::UnixStream;

use countersign_ipc::instance_line::{DESCRIPTOR, FromInstance, ToInstance, hear, say};
use countersign_ipc::tcp_proof::ListenerKey;
use countersign_os::descriptors::{self, DescriptorFailure};

/// Why an instance has no line to its server.
#[derive(Debug, thiserror::Error)]
pub enum ServerLinkFailure {
    /// Descriptor 1 is something else.
    #[error("standard output is not the line to the server: start instances by the server, through deploy/sudoers")]
    Descriptor(#[from] DescriptorFailure),
    /// The server is gone.
    #[error("the server does not take this instance")]
    Server(#[from] io::Error),
}

/// The line, inherited from the server.
#[derive(Debug)]
pub(super) struct ServerLink(BufReader<UnixStream>);

impl ServerLink {
    /// Takes it, and says that the program runs: a failure from here on is not sudo's. Standard
    /// output is `/dev/null` from then on, so that no program that is started has the line.
    ///
    /// # Errors
    /// If descriptor 1 is no socket that the server left open, or the server is gone.
    pub(super) fn inherited() -> Result<InheritedLine, ServerLinkFailure> {
        let mut line = descriptors::take_unix_stream_elsewhere(DESCRIPTOR)?;
        let mut started = serde_json::to_vec(&FromInstance::Started).map_err(io::Error::from)?;
        started.push(b'\n');
        line.write_all(&started)?;
        Ok(InheritedLine(line))
    }

    /// The key of the instance's listening socket, which the server says first where that is a TCP
    /// port.
    ///
    /// # Errors
    /// If the server says something else, or is gone.
    pub(super) async fn key(&mut self) -> io::Result<ListenerKey> {
        match hear(&mut self.0).await? {
            Some(ToInstance::Key { key }) => Ok(key),
            Some(ToInstance::Stop) | None => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    /// Says that the instance serves, and waits for the end.
    pub(super) async fn until_told_to_stop(mut self) {
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

/// The line before there is a runtime.
#[derive(Debug)]
pub(super) struct InheritedLine(StdUnixStream);

impl InheritedLine {
    /// The same in the runtime.
    ///
    /// # Errors
    /// If the runtime does not take it.
    pub(super) fn open(self) -> io::Result<ServerLink> {
        UnixStream::from_std(self.0).map(BufReader::new).map(ServerLink)
    }
}
