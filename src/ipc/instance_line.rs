//! The channel between the server and one instance: a socket pair, inherited through sudo as
//! descriptor 1.
//!
//! Only the process that the server launched has the other end. So its messages come from that
//! process (V72), even if the account runs hostile programs. Reports of an account about itself
//! (keys, drives, tasks) use the public socket, where the kernel names the account. The instance
//! ends with the channel.

use std::io;

use super::tcp_proof::ListenerKey;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

/// The descriptor that the instance inherits.
pub const DESCRIPTOR: std::os::fd::RawFd = 1;

/// Longest line in either direction, in bytes. A message has under 100.
const LINE_MAX: u64 = 256;

/// An instance's message.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "say", rename_all = "snake_case", deny_unknown_fields)]
pub enum FromInstance {
    /// The program runs, so sudo has finished.
    Started,
    /// The instance serves its socket.
    Ready,
    /// The server may stop it: it was idle for long enough, or, after [`ToInstance::Renew`], no
    /// session is open and no work under way.
    Free,
}

/// The server's message.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "say", rename_all = "snake_case", deny_unknown_fields)]
pub enum ToInstance {
    /// The key of the instance's listening socket, if that is a TCP port.
    Key { key: ListenerKey },
    /// The configuration has changed: say when another instance may take over.
    Renew,
    /// Finish requests in flight and exit.
    Stop,
}

/// Reads one message; `None` at the end of the channel.
///
/// # Errors
/// If the channel breaks or the line is not a valid message.
pub async fn hear<M: DeserializeOwned>(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<M>> {
    let mut line = Zeroizing::new(Vec::new());
    reader.take(LINE_MAX).read_until(b'\n', &mut line).await?;
    match line.split_last() {
        None => Ok(None),
        Some((b'\n', message)) => serde_json::from_slice(message).map(Some).map_err(io::Error::from),
        Some(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Writes one message.
///
/// # Errors
/// If the channel is broken.
pub async fn say(writer: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> io::Result<()> {
    let mut line = Zeroizing::new(serde_json::to_vec(message)?);
    line.push(b'\n');
    writer.write_all(&line).await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn heard(said: &[u8]) -> io::Result<Option<FromInstance>> {
        let mut said = said;
        hear(&mut said).await
    }

    #[tokio::test]
    async fn what_is_no_message_is_an_error_and_the_end_is_none() {
        assert_eq!(heard(b"{\"say\":\"ready\"}\n").await.unwrap(), Some(FromInstance::Ready));
        assert_eq!(heard(b"").await.unwrap(), None);
        for said in [&b"{\"say\":\"ready\"}"[..], b"hello\n", b"{\"say\":\"stop\"}\n", &[b' '; 300]] {
            assert!(heard(said).await.is_err(), "{said:?}");
        }
        let mut line = Vec::new();
        say(&mut line, &ToInstance::Stop).await.unwrap();
        assert_eq!(line, b"{\"say\":\"stop\"}\n");
    }
}
