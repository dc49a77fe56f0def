//! Between the network and `hyper`'s HTTP/1.1: a head that breaks the grammar does not get through.
//!
//! [`Gate`] lets whole messages pass, one behind the other, as [`super::grammar`] measures them. In the place of the first that is refused
//! `hyper` reads a request that says so and nothing after it, so that a refusal for its form is answered, logged and counted like any
//! other, behind the answers to what came before. That request is one that could never be served: whoever sends it is refused too.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Method;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::grammar;
use super::head::HeadRejection;

/// What `hyper` reads in the place of a refused head.
const STAND_IN: &[u8] = b"REFUSED / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// How much of a refused request is read and thrown away after its answer, in bytes, and how long that may take. Closed at once, with bytes
/// unread, the connection would be reset, and the client might never see the answer.
const LINGER_MAX: usize = 256 * 1024;
const LINGER: Duration = Duration::from_secs(1);

/// Why a connection's head was refused, for whoever answers in its place.
#[derive(Clone, Debug, Default)]
pub(super) struct Refused(Arc<OnceLock<HeadRejection>>);

impl Refused {
    /// The rejection, if this is the request that stands for it.
    pub(super) fn stands_for(&self, method: &Method) -> Option<HeadRejection> {
        (method.as_str() == "REFUSED").then(|| self.0.get().cloned()).flatten()
    }
}

/// A stream of which only well-formed messages are read.
#[derive(Debug)]
pub(super) struct Gate<S> {
    stream: S,
    refused: Refused,
    /// Read from the stream and not let through: part of a head, or what came behind a message. Its head at most, and what one read brings.
    held: Vec<u8>,
    /// How much of `held` holds no end of a head.
    looked_at: usize,
    /// How much of the message under way has yet to pass.
    to_pass: u64,
    /// How much of the stand-in has been read.
    stood_in: usize,
    linger: Linger,
}

/// How far the end of a connection is of which not all was read.
#[derive(Debug)]
enum Linger {
    NotYet,
    Until(Pin<Box<tokio::time::Sleep>>, usize),
}

impl<S> Gate<S> {
    /// Around a stream that begins with a head.
    pub(super) fn new(stream: S) -> Self {
        let refused = Refused::default();
        Self { stream, refused, held: Vec::new(), looked_at: 0, to_pass: 0, stood_in: 0, linger: Linger::NotYet }
    }

    /// For whoever answers requests.
    pub(super) fn refused(&self) -> Refused {
        self.refused.clone()
    }

    /// How many of these bytes, which are the next of the connection, may pass now. None: their head is not whole, or is refused.
    fn may_pass(&mut self, bytes: &[u8]) -> usize {
        if self.to_pass == 0 {
            match grammar::measure(bytes, self.looked_at) {
                Ok(Some(message)) => (self.to_pass, self.looked_at) = (message, 0),
                Ok(None) => self.looked_at = bytes.len(),
                Err(rejection) => {
                    let _first = self.refused.0.set(rejection);
                }
            }
        }
        usize::try_from(self.to_pass).map_or(bytes.len(), |to_pass| to_pass.min(bytes.len()))
    }

    fn passed(&mut self, count: usize) {
        self.to_pass = self.to_pass.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Lets through what it may of what is held; whether it was anything.
    fn pass_held(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let mut held = std::mem::take(&mut self.held);
        let count = self.may_pass(&held).min(buffer.remaining());
        buffer.put_slice(held.get(..count).unwrap_or_default());
        self.passed(count);
        if count < held.len() {
            held.drain(..count);
            self.held = held;
        }
        count > 0
    }

    /// Lets through what it may of what the stream has just put behind the first `before` bytes, and holds the rest; whether it was anything.
    fn pass_fresh(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> bool {
        let fresh = buffer.filled().get(before..).unwrap_or_default();
        let count = self.may_pass(fresh);
        self.held.extend_from_slice(fresh.get(count..).unwrap_or_default());
        self.passed(count);
        buffer.set_filled(before.saturating_add(count));
        count > 0
    }

    fn stand_in(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = STAND_IN.get(self.stood_in..).unwrap_or_default();
        let piece = rest.get(..buffer.remaining()).unwrap_or(rest);
        buffer.put_slice(piece);
        self.stood_in = self.stood_in.saturating_add(piece.len());
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        if buffer.remaining() == 0 || (!gate.held.is_empty() && gate.looked_at == 0 && gate.pass_held(buffer)) {
            return Poll::Ready(Ok(()));
        }
        loop {
            if gate.refused.0.get().is_some() {
                if gate.stood_in >= STAND_IN.len() {
                    // Nothing comes any more; the answer under way is what wakes the connection.
                    return Poll::Pending;
                }
                gate.held = Vec::new();
                gate.stand_in(buffer);
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut gate.stream).poll_read(cx, buffer))?;
            let came = buffer.filled().get(before..).unwrap_or_default();
            if came.is_empty() {
                return Poll::Ready(Ok(())); // the end, perhaps within a head: of that nothing was let through
            }
            let has_passed = if gate.held.is_empty() {
                gate.pass_fresh(buffer, before)
            } else {
                gate.held.extend_from_slice(came);
                buffer.set_filled(before);
                gate.pass_held(buffer)
            };
            if has_passed {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gate<S> {
    /// Throws away what still comes, within limits.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scrap = [0; 4096];
        if matches!(self.linger, Linger::NotYet) {
            self.linger = Linger::Until(Box::pin(tokio::time::sleep(LINGER)), 0);
        }
        let Linger::Until(end, thrown_away) = &mut self.linger else { return Poll::Ready(()) };
        loop {
            if end.as_mut().poll(cx).is_ready() || *thrown_away >= LINGER_MAX {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut scrap);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    *thrown_away = thrown_away.saturating_add(buffer.filled().len());
                }
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<S> {
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
        let gate = self.get_mut();
        if matches!(gate.linger, Linger::NotYet) {
            ready!(Pin::new(&mut gate.stream).poll_shutdown(cx))?;
        }
        // Only where something is certainly on its way is the end worth waiting for.
        if gate.to_pass > 0 || gate.refused.0.get().is_some() {
            ready!(gate.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const FIRST: &[u8] = b"POST /a HTTP/1.1\r\nContent-Length: 30\r\n\r\nGET /in-the-body HTTP/1.1\n\n\n\n\n";
    const SECOND: &[u8] = b"GET /b HTTP/1.1\r\n\r\n";
    const BAD: &[u8] = b"GET /c HTTP/1.1\n\n";

    /// What comes through a gate that gets these bytes in pieces of `piece`, and is read in pieces of `room`; and the gate.
    async fn through(bytes: &[u8], piece: usize, room: usize) -> (Vec<u8>, Gate<tokio::io::DuplexStream>) {
        let (ours, mut theirs) = tokio::io::duplex(piece);
        let mut gate = Gate::new(ours);
        let reading = async {
            let (mut got, mut buffer) = (Vec::new(), vec![0; room]);
            while gate.refused.0.get().is_none() || gate.stood_in < STAND_IN.len() {
                match gate.read(&mut buffer).await.unwrap() {
                    0 => break,
                    count => got.extend_from_slice(&buffer[..count]),
                }
            }
            got
        };
        let writing = async {
            // A gate that has refused reads no further.
            let _ = tokio::time::timeout(Duration::from_secs(1), theirs.write_all(bytes)).await;
            drop(theirs);
        };
        let (got, ()) = tokio::join!(reading, writing);
        (got, gate)
    }

    #[tokio::test(start_paused = true)]
    async fn whole_messages_pass_unchanged_however_they_are_cut() {
        let bytes = [FIRST, SECOND, FIRST, FIRST, SECOND].concat();
        for (piece, room) in [(1, 1), (1, 100), (7, 3), (1000, 1), (1000, 7), (1000, 1000)] {
            let (got, gate) = through(&bytes, piece, room).await;
            assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(&bytes), "{piece} {room}");
            assert_eq!(gate.refused.stands_for(&Method::GET), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn in_the_place_of_a_bad_head_stands_what_is_refused_and_nothing_follows() {
        let bytes = [FIRST, SECOND, BAD, SECOND].concat();
        for (piece, room) in [(1, 1), (1, 100), (7, 3), (1000, 1), (1000, 1000)] {
            let (got, mut gate) = through(&bytes, piece, room).await;
            let want = [FIRST, SECOND, STAND_IN].concat();
            assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(&want), "{piece} {room}");
            let more = tokio::time::timeout(Duration::from_secs(60), gate.read_u8()).await;
            assert!(more.is_err(), "{piece} {room}: {more:?}");
            let stands_for = |method: &[u8]| gate.refused.stands_for(&Method::from_bytes(method).unwrap());
            assert!(matches!(stands_for(b"REFUSED"), Some(HeadRejection::Grammar(_))));
            assert_eq!(stands_for(b"GET"), None, "what came before is judged by itself");
        }
    }

    #[tokio::test]
    async fn of_a_head_that_never_ends_nothing_passes() {
        assert_eq!(through(b"GET /a HTTP/1.1\r\nHost: a\r\n", 1000, 1000).await.0, b"");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_refused_client_still_sends_is_thrown_away_for_a_while() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut gate = Gate::new(ours);
        theirs.write_all(BAD).await.unwrap();
        let mut buffer = vec![0; STAND_IN.len()];
        gate.read_exact(&mut buffer).await.unwrap();
        let began = tokio::time::Instant::now();
        let sending = async { while theirs.write_all(&[b'x'; 64]).await.is_ok() && began.elapsed() < LINGER * 3 {} };
        let closing = async {
            gate.shutdown().await.unwrap();
            drop(gate);
        };
        tokio::join!(sending, closing);
        assert!(began.elapsed() <= LINGER + Duration::from_millis(100), "{:?}", began.elapsed());
        let mut rest = Vec::new();
        theirs.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"");
    }
}
