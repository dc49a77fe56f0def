//! Between the network and `hyper`'s HTTP/1.1: a head that breaks the grammar does not get through.
//!
//! [`MessageFilter`] lets whole messages pass, one behind the other, as [`super::request_syntax`]
//! measures them. In the place of the first that is refused `hyper` reads a request that says so
//! and nothing after it, so that a refusal for its form is answered, logged and counted like any
//! other, behind the answers to what came before. That request is one that could never be served:
//! whoever sends it is refused too.
//!
//! Behind an upgrade there are no more messages. The filter stops looking when whoever answered it
//! says so ([`UpgradeBoundary::open`]), which is after our own 101; what came before that was
//! looked at as a message, and ends the connection instead of being taken for something else.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Method;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::HeadRejection;
use super::request_syntax;

/// What `hyper` reads in the place of a refused head.
const PLACEHOLDER_REQUEST: &[u8] = b"REFUSED / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// How much of a refused request is read and thrown away after its answer, in bytes, and how long
/// that may take. Closed at once, with bytes unread, the connection would be reset, and the client
/// might never see the answer.
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

/// Bytes came behind an upgrade before its answer was out.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("bytes came behind an upgrade before its answer")]
pub(super) struct Early;

/// How a connection's messages come to their end, for whoever answers an upgrade on it.
#[derive(Clone, Debug, Default)]
pub(super) struct UpgradeBoundary(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Messages that were let through, or are being.
    begun: AtomicU64,
    /// Something was read that was not let through.
    holds: AtomicBool,
    /// No message follows.
    is_open: AtomicBool,
}

impl UpgradeBoundary {
    /// Whether nothing has come behind the connection's message of that number, the first being 1.
    pub(super) fn check_last(&self, number: u64) -> Result<(), Early> {
        let is_last = self.0.begun.load(Ordering::Acquire) == number && !self.0.holds.load(Ordering::Acquire);
        if is_last { Ok(()) } else { Err(Early) }
    }

    /// What comes from here on is no message: to be said once the answer to message `number`, an
    /// upgrade, is out.
    pub(super) fn open(&self, number: u64) -> Result<(), Early> {
        self.check_last(number)?;
        self.0.is_open.store(true, Ordering::Release);
        Ok(())
    }
}

/// A stream of which only well-formed messages are read.
#[derive(Debug)]
pub(super) struct MessageFilter<S> {
    stream: S,
    refused: Refused,
    passage: UpgradeBoundary,
    /// Read from the stream and not let through: part of a head, or what came behind a message. Its
    /// head at most, and what one read brings.
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

impl<S> MessageFilter<S> {
    /// Around a stream that begins with a head.
    pub(super) fn new(stream: S) -> Self {
        let (refused, passage) = (Refused::default(), UpgradeBoundary::default());
        Self {
            stream,
            refused,
            passage,
            held: Vec::new(),
            looked_at: 0,
            to_pass: 0,
            stood_in: 0,
            linger: Linger::NotYet,
        }
    }

    /// For whoever answers requests.
    pub(super) fn refused(&self) -> Refused {
        self.refused.clone()
    }

    /// For whoever answers upgrades.
    pub(super) fn passage(&self) -> UpgradeBoundary {
        self.passage.clone()
    }

    /// How many of these bytes, which are the next of the connection, may pass now. None: their
    /// head is not whole, or is refused.
    fn may_pass(&mut self, bytes: &[u8]) -> usize {
        if self.to_pass == 0 {
            match request_syntax::measure(bytes, self.looked_at) {
                Ok(Some(message)) => {
                    (self.to_pass, self.looked_at) = (message, 0);
                    self.passage.0.begun.fetch_add(1, Ordering::AcqRel);
                }
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
        self.passage.0.holds.store(!self.held.is_empty(), Ordering::Release);
        count > 0
    }

    /// Lets through what it may of what the stream has just put behind the first `before` bytes,
    /// and holds the rest; whether it was anything.
    fn pass_fresh(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> bool {
        let fresh = buffer.filled().get(before..).unwrap_or_default();
        let count = self.may_pass(fresh);
        self.held.extend_from_slice(fresh.get(count..).unwrap_or_default());
        self.passage.0.holds.store(!self.held.is_empty(), Ordering::Release);
        self.passed(count);
        buffer.set_filled(before.saturating_add(count));
        count > 0
    }

    fn stand_in(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = PLACEHOLDER_REQUEST.get(self.stood_in..).unwrap_or_default();
        let piece = rest.get(..buffer.remaining()).unwrap_or(rest);
        buffer.put_slice(piece);
        self.stood_in = self.stood_in.saturating_add(piece.len());
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for MessageFilter<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let filter = self.get_mut();
        if filter.passage.0.is_open.load(Ordering::Acquire) {
            return if filter.held.is_empty() && filter.to_pass == 0 {
                Pin::new(&mut filter.stream).poll_read(cx, buffer)
            } else {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, Early)))
            };
        }
        if buffer.remaining() == 0 || (!filter.held.is_empty() && filter.looked_at == 0 && filter.pass_held(buffer)) {
            return Poll::Ready(Ok(()));
        }
        loop {
            if filter.refused.0.get().is_some() {
                if filter.stood_in >= PLACEHOLDER_REQUEST.len() {
                    // Nothing comes any more; the answer under way is what wakes the connection.
                    return Poll::Pending;
                }
                filter.held = Vec::new();
                filter.stand_in(buffer);
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut filter.stream).poll_read(cx, buffer))?;
            let came = buffer.filled().get(before..).unwrap_or_default();
            if came.is_empty() {
                return Poll::Ready(Ok(())); // the end, perhaps within a head: of that nothing was let through
            }
            let has_passed = if filter.held.is_empty() {
                filter.pass_fresh(buffer, before)
            } else {
                filter.held.extend_from_slice(came);
                buffer.set_filled(before);
                filter.pass_held(buffer)
            };
            if has_passed {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> MessageFilter<S> {
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MessageFilter<S> {
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
        let filter = self.get_mut();
        if matches!(filter.linger, Linger::NotYet) {
            ready!(Pin::new(&mut filter.stream).poll_shutdown(cx))?;
        }
        // Only where something is certainly on its way is the end worth waiting for.
        if filter.to_pass > 0 || filter.refused.0.get().is_some() {
            ready!(filter.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
