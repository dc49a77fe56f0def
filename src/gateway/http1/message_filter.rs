//! Filters what `hyper` reads of an HTTP/1.1 connection: only messages with a valid head pass, as
//! [`crate::http1::request_syntax`] measures them.
//!
//! In place of the first invalid head `hyper` reads a placeholder request, and nothing after it. So
//! the refusal is answered, logged and counted like any other, after the responses to earlier
//! requests. The gateway serves no such request, so a client that sends the placeholder is refused
//! too.
//!
//! After an upgrade no messages follow: see [`UpgradeBoundary::open`].

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Method;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http1::head::HeadRejection;
use crate::http1::request_syntax;

/// What `hyper` reads in place of a refused head.
const PLACEHOLDER_REQUEST: &[u8] = b"REFUSED / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// How many bytes of a refused request are read and discarded after its response, and for how long.
/// Closing with unread bytes would reset the connection, and the client might lose the response.
const LINGER_MAX: usize = 256 * 1024;
const LINGER: Duration = Duration::from_secs(1);

/// Why the head was refused, for the service that answers the placeholder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refused(Arc<OnceLock<HeadRejection>>);

impl Refused {
    /// The rejection, if this request is the placeholder.
    pub(crate) fn stands_for(&self, method: &Method) -> Option<HeadRejection> {
        (method.as_str() == "REFUSED").then(|| self.0.get().cloned()).flatten()
    }
}

/// Bytes followed an upgrade before its response was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("bytes came behind an upgrade before its answer")]
pub(crate) struct Early;

/// Where a connection's messages end, for the handler of an upgrade.
#[derive(Clone, Debug, Default)]
pub(crate) struct UpgradeBoundary(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Messages that passed, or have begun to.
    begun: AtomicU64,
    /// Bytes were read that have not passed.
    holds: AtomicBool,
    /// No message follows.
    is_open: AtomicBool,
}

impl UpgradeBoundary {
    /// Checks that nothing followed the message of that number; the first has number 1.
    pub(crate) fn check_last(&self, number: u64) -> Result<(), Early> {
        let is_last = self.0.begun.load(Ordering::Acquire) == number && !self.0.holds.load(Ordering::Acquire);
        if is_last { Ok(()) } else { Err(Early) }
    }

    /// Stops the filter: what follows is not a message. Has to be called after the 101 to message
    /// `number`, an upgrade. Bytes that came before that were parsed as a message, and end the
    /// connection.
    pub(crate) fn open(&self, number: u64) -> Result<(), Early> {
        self.check_last(number)?;
        self.0.is_open.store(true, Ordering::Release);
        Ok(())
    }
}

/// A stream from which only well-formed messages are read.
#[derive(Debug)]
pub(crate) struct MessageFilter<S> {
    stream: S,
    refused: Refused,
    passage: UpgradeBoundary,
    /// Bytes read that have not passed: part of a head, or what followed a message. At most a head
    /// and one read.
    held: Vec<u8>,
    /// Bytes of `held` already searched for the end of a head.
    looked_at: usize,
    /// Bytes of the current message that have yet to pass.
    to_pass: u64,
    /// Bytes of the placeholder already read.
    stood_in: usize,
    linger: Linger,
}

/// How far the lingering close is.
#[derive(Debug)]
enum Linger {
    NotYet,
    Until(Pin<Box<tokio::time::Sleep>>, usize),
}

impl<S> MessageFilter<S> {
    /// Wraps a stream that begins with a head.
    pub(crate) fn new(stream: S) -> Self {
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

    /// The rejection, for the service that answers requests.
    pub(crate) fn refused(&self) -> Refused {
        self.refused.clone()
    }

    /// The boundary, for the handler of upgrades.
    pub(crate) fn passage(&self) -> UpgradeBoundary {
        self.passage.clone()
    }

    /// How many of these bytes, the next of the connection, may pass now. 0 if their head is
    /// incomplete or refused.
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

    /// Passes what it may of `held`; whether it passed anything.
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

    /// Passes what it may of the bytes that the stream put behind the first `before`, and holds the
    /// rest. Whether it passed anything.
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
                    // Nothing more comes; the response in progress wakes the connection.
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
                return Poll::Ready(Ok(())); // end of stream; a partial head has not passed
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
    /// Discards incoming bytes, within limits.
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
        // Lingers only if more bytes are certainly on their way.
        if filter.to_pass > 0 || filter.refused.0.get().is_some() {
            ready!(filter.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
