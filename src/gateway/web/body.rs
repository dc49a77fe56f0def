//! Bodies on their way to and from an application, which are never held.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use countersign_keys::identity::Username;
use countersign_os::limits::InFlight;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

/// One of the requests, or sockets, of a user.
pub(crate) type OfUser = InFlight<Username>;

/// Allowed for every body, however short.
const GRACE: Duration = Duration::from_secs(30);

/// Slowest rate of a body, in bytes a second. A modem is faster.
const RATE_MIN: u64 = 8 * 1024;

/// The time for a body of unknown length.
const UNKNOWN_MAX: Duration = Duration::from_secs(3600);

/// The body of a browser's request, which has to come in time.
pub(crate) struct SentBody {
    body: Option<Incoming>,
    late: Pin<Box<Sleep>>,
}

impl SentBody {
    pub(crate) fn of(body: Incoming) -> Self {
        let length = body.size_hint().exact();
        let within = length.map_or(UNKNOWN_MAX, |length| GRACE.saturating_add(Duration::from_secs(length / RATE_MIN)));
        Self { body: Some(body), late: Box::pin(tokio::time::sleep(within)) }
    }

    /// A request without one.
    pub(crate) fn none() -> Self {
        Self { body: None, late: Box::pin(tokio::time::sleep(GRACE)) }
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Self { body, late } = self.get_mut();
        let Some(body) = body else { return Poll::Ready(None) };
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => {
                Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, "trailers after the body"))))
            }
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other))),
            Poll::Pending if late.as_mut().poll(cx).is_ready() => {
                Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// An application's body. Its request counts for its user until the body ends.
pub(crate) struct ApplicationBody {
    body: Incoming,
    _counted: OfUser,
}

impl ApplicationBody {
    pub(crate) const fn new(body: Incoming, counted: OfUser) -> Self {
        Self { body, _counted: counted }
    }
}

impl Body for ApplicationBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx).map_err(io::Error::other)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
