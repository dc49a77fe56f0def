//! A stream that lingers when it is closed, so that the last response arrives (RFC 9112, section
//! 9.6).
//!
//! Closing a socket with unread or incoming bytes resets the connection. A peer that is still
//! sending may then lose a response such as "too large". So this side closes first, and discards
//! what the peer still sends, for a short time and up to a limit.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long the peer has to read the response and close its side.
const LINGER: Duration = Duration::from_secs(2);

/// In bytes. Clients with longer bodies read while they send.
const DISCARDED_MAX: usize = 4 * 1024 * 1024;

/// Bytes read at a time.
const PIECE: usize = 16 * 1024;

/// Lingers on shutdown and changes nothing else.
#[derive(Debug)]
pub struct LingeringStream<S> {
    stream: S,
    lingering: Option<Lingering>,
}

/// This side is closed, the peer's is not.
#[derive(Debug)]
struct Lingering {
    end: Pin<Box<Sleep>>,
    discarded: usize,
}

impl<S> LingeringStream<S> {
    /// Wraps a stream. Has to be the layer next to the socket, so that discarded bytes are not
    /// decrypted.
    pub fn new(stream: S) -> Self {
        Self { stream, lingering: None }
    }
}

impl Lingering {
    fn begin() -> Self {
        Self { end: Box::pin(tokio::time::sleep(LINGER)), discarded: 0 }
    }

    /// Reads until the peer has closed its side too, or until the time or the limit is over.
    fn poll_discard<S: AsyncRead + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<()> {
        let mut piece = [0; PIECE];
        while self.discarded < DISCARDED_MAX && self.end.as_mut().poll(cx).is_pending() {
            let mut piece = ReadBuf::new(&mut piece);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut piece)) {
                Ok(()) if !piece.filled().is_empty() => {
                    self.discarded = self.discarded.saturating_add(piece.filled().len());
                }
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LingeringStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for LingeringStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, lingering } = &mut *self;
        if lingering.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
        }
        ready!(lingering.get_or_insert_with(Lingering::begin).poll_discard(stream, cx));
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    /// Both ends of a connection.
    async fn ends() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn an_answer_arrives_that_was_given_before_all_had_come() {
        let (mut client, server) = ends().await;
        let answering = async {
            let mut server = LingeringStream::new(server);
            server.read_u8().await.unwrap();
            server.write_all(b"too large").await.unwrap();
            server.shutdown().await.unwrap();
        };
        let sending = async {
            client.write_all(&vec![b'x'; 4 * 1024 * 1024]).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let ((), answer) = tokio::join!(answering, sending);
        assert_eq!(answer, "too large");
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_closes_is_waited_for_a_short_time() {
        let (client, server) = tokio::io::duplex(64);
        let began = tokio::time::Instant::now();
        LingeringStream::new(server).shutdown().await.unwrap();
        assert_eq!(began.elapsed(), LINGER);
        drop(client);
    }

    #[tokio::test]
    async fn who_never_stops_sending_is_heard_up_to_a_limit() {
        let (mut client, server) = ends().await;
        let sending = async {
            let mut sent: usize = 0;
            while client.write_all(&[b'x'; PIECE]).await.is_ok() {
                sent += PIECE;
            }
            sent
        };
        let ending = async {
            LingeringStream::new(server).shutdown().await.unwrap(); // and dropped
        };
        let (sent, ()) = tokio::join!(sending, ending);
        assert!(sent >= DISCARDED_MAX, "{sent}");
    }
}
