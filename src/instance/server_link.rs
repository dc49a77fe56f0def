//! The instance's end of its channel to the server. Reports that the instance serves, and ends when
//! the server says so or closes the channel.
//!
//! No message of the server has authority over what is verified.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::sync::Notify;

use countersign_ipc::instance_line::{DESCRIPTOR, FromInstance, ToInstance, hear, say};
use countersign_ipc::tcp_proof::ListenerKey;
use countersign_os::descriptors::{self, DescriptorFailure};

/// How often an instance that another is to replace looks whether it is free.
const LOOK_EVERY: Duration = Duration::from_millis(200);

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
            Some(ToInstance::Stop | ToInstance::Renew) | None => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    /// Reports that the instance serves, and waits until the server stops it. `is_busy` tells of
    /// sessions and work that a stop would cut off, `idle` ends when the instance was idle for long
    /// enough.
    pub(super) async fn until_stopped(self, is_busy: impl Fn() -> bool, idle: impl Future<Output = ()>) {
        if let Err(error) = self.converse(is_busy, idle).await {
            tracing::warn!(%error, "the line to the server broke");
        }
    }

    async fn converse(mut self, is_busy: impl Fn() -> bool, idle: impl Future<Output = ()>) -> io::Result<()> {
        say(&mut self.0, &FromInstance::Ready).await?;
        let (reader, mut writer) = tokio::io::split(self.0);
        let mut reader = BufReader::new(reader);
        let renew = Notify::new();
        let hearing = async {
            loop {
                match hear(&mut reader).await? {
                    Some(ToInstance::Renew) => renew.notify_one(),
                    Some(ToInstance::Stop) | None => return Ok(()),
                    Some(ToInstance::Key { .. }) => return Err(io::ErrorKind::InvalidData.into()),
                }
            }
        };
        let telling = async {
            let renewed = async {
                renew.notified().await;
                while is_busy() {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            };
            tokio::select! {
                () = renewed => {}
                () = idle => {}
            }
            say(&mut writer, &FromInstance::Free).await?;
            std::future::pending().await
        };
        tokio::select! {
            heard = hearing => heard,
            told = telling => told,
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_says_that_it_is_free_when_nothing_is_open_and_stops_when_told() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (busy, is_told) = (Cell::new(true), Cell::new(false));
        let mut running =
            Box::pin(ServerLink(BufReader::new(ours)).until_stopped(|| busy.get(), std::future::pending()));
        let mut server = BufReader::new(theirs);
        let mut line = String::new();
        let told = async {
            server.read_line(&mut line).await.unwrap();
            assert_eq!(std::mem::take(&mut line), "{\"say\":\"ready\"}\n");
            // Both may come together, and the second changes nothing.
            server.write_all(b"{\"say\":\"renew\"}\n{\"say\":\"renew\"}\n").await.unwrap();
            let early = tokio::time::timeout(LOOK_EVERY * 50, server.read_line(&mut line)).await;
            assert!(early.is_err(), "it is busy: {line}");
            busy.set(false);
            server.read_line(&mut line).await.unwrap();
            assert_eq!(std::mem::take(&mut line), "{\"say\":\"free\"}\n");
            is_told.set(true);
            server.write_all(b"{\"say\":\"stop\"}\n").await.unwrap();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = told => {}
            () = &mut running => assert!(is_told.get(), "it ended by itself"),
        }
    }

    #[tokio::test]
    async fn it_is_free_when_it_was_idle_and_serves_until_it_is_told() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut running = Box::pin(ServerLink(BufReader::new(ours)).until_stopped(|| false, std::future::ready(())));
        let mut server = BufReader::new(theirs);
        let mut said = String::new();
        tokio::select! {
            _ = async { server.read_line(&mut said).await.unwrap() + server.read_line(&mut said).await.unwrap() } => {}
            () = &mut running => panic!("it ended by itself"),
        }
        assert_eq!(said, "{\"say\":\"ready\"}\n{\"say\":\"free\"}\n");
        server.write_all(b"{\"say\":\"stop\"}\n").await.unwrap();
        running.await;
    }
}
