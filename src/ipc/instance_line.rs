//! The line between the server and one instance: a socket pair that the instance inherits as
//! descriptor 1, through sudo.
//!
//! Only the process that the server launched has the other end, so what comes over it is that
//! process's word and no other's (V72), also where the account runs hostile programs. What an
//! account says of itself (keys, drives, tasks) goes over the public socket, where the kernel names
//! the account. The line's end is the instance's end.

use std::io;

use super::tcp_proof::ListenerKey;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

/// The descriptor that the instance inherits.
pub(crate) const DESCRIPTOR: std::os::fd::RawFd = 1;

/// The longest line either side reads, in bytes: a message has under 100.
const LINE_MAX: u64 = 256;

/// What an instance says.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "say", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FromInstance {
    /// The program runs: sudo has done its part.
    Started,
    /// It serves its socket.
    Ready,
}

/// What the server says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "say", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ToInstance {
    /// The key of its listening socket, where that is a TCP port.
    Key {
        /// The key.
        key: ListenerKey,
    },
    /// Finish what is under way and exit.
    Stop,
}

/// Reads one message; `None` at the line's end.
///
/// # Errors
/// If the line breaks, or what comes is no message.
pub(crate) async fn hear<M: DeserializeOwned>(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<M>> {
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
/// If the line is broken.
pub(crate) async fn say(writer: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> io::Result<()> {
    let mut line = Zeroizing::new(serde_json::to_vec(message)?);
    line.push(b'\n');
    writer.write_all(&line).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

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
