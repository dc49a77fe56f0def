//! A stream that is read at its connection's pace until it authenticates ([`crate::limits::pace`]).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::http1::timeouts::Turns;
use crate::limits::connections::ClientConnection;

/// Longest piece of HTTP/1.1, or of a socket, in bytes. It holds at most one request.
const PIECE_MAX: usize = 4 * 1024;

/// Longest piece of HTTP/2, in bytes: some ten requests of a flood, or a browser's first.
const PIECE_OF_FRAMES_MAX: usize = 512;

pub(crate) struct PacedStream<S> {
    stream: S,
    client: Arc<ClientConnection>,
    piece_max: usize,
    /// Whether the connection was unauthenticated at the last look. Looked up until it changes.
    is_strangers: bool,
    /// Ends the pause after a piece.
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<S> PacedStream<S> {
    pub(crate) fn new(stream: S, client: Arc<ClientConnection>, turns: Turns) -> Self {
        let piece_max = match turns {
            Turns::OneByOne => PIECE_MAX,
            Turns::Interleaved => PIECE_OF_FRAMES_MAX,
        };
        Self { stream, client, piece_max, is_strangers: true, pause: None }
    }

    /// Returns when the next piece may be read.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.is_strangers {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            self.is_strangers = self.client.is_strangers();
            match self.client.rests_until(Instant::now()).filter(|_| self.is_strangers) {
                Some(until) => self.pause = Some(Box::pin(rest(Arc::clone(&self.client), until))),
                None => break,
            }
        }
        Poll::Ready(())
    }
}

/// Returns at that moment, or when the connection authenticates.
async fn rest(client: Arc<ClientConnection>, until: Instant) {
    tokio::select! {
        () = tokio::time::sleep_until(until) => {}
        () = client.is_authenticated() => {}
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PacedStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_turn(cx));
        if !this.is_strangers {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        let piece_max = this.piece_max.min(buffer.remaining());
        let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(piece_max));
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut piece))?;
        let read = piece.filled().len();
        buffer.advance(read);
        if read > 0 {
            this.client.has_sent();
            this.pause = Some(Box::pin(tokio::task::yield_now()));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PacedStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use super::*;
    use crate::limits::connections::{ConnectionTable, Principal};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    fn paced(turns: Turns) -> (PacedStream<DuplexStream>, DuplexStream, Arc<ClientConnection>) {
        let (ours, theirs) = tokio::io::duplex(1024 * 1024);
        let client = ConnectionTable::new(2).take(CLIENT).unwrap();
        (PacedStream::new(ours, Arc::clone(&client), turns), theirs, client)
    }

    async fn read(stream: &mut PacedStream<DuplexStream>) -> usize {
        let mut buffer = vec![0; 64 * 1024];
        stream.read(&mut buffer).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn v67_s03_a_stranger_is_read_in_pieces_and_then_at_the_rate() {
        for (turns, piece) in [(Turns::OneByOne, PIECE_MAX), (Turns::Interleaved, PIECE_OF_FRAMES_MAX)] {
            let (mut ours, mut theirs, _place) = paced(turns);
            theirs.write_all(&vec![0; piece * 250]).await.unwrap();
            let began = Instant::now();
            for _ in 0..32 {
                assert_eq!(read(&mut ours).await, piece);
            }
            assert_eq!(began.elapsed(), Duration::ZERO, "a page is not held up");
            for _ in 0..200 {
                assert_eq!(read(&mut ours).await, piece);
            }
            // Of 200 more pieces, the network has 128 at once and the connection one a second;
            // after that, 16 a second.
            let took = began.elapsed();
            assert!((Duration::from_secs(4)..=Duration::from_secs(5)).contains(&took), "{took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn v67_s03_a_connection_that_shows_something_is_read_at_once_and_whole() {
        let (mut ours, mut theirs, client) = paced(Turns::Interleaved);
        theirs.write_all(&vec![0; 1_000_000]).await.unwrap();
        for _ in 0..1_000 {
            client.has_sent();
        }
        let began = Instant::now();
        let showing = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            client.authenticated_as(Principal::Core);
        };
        let (read, ()) = tokio::join!(read(&mut ours), showing);
        assert_eq!((read, began.elapsed().as_millis()), (64 * 1024, 10));
    }
}
