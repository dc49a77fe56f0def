//! One request and its response on a connection (HTTP/1.1, RFC 9112), limited to what the gateway
//! needs.
//!
//! Sends head and body in one write if the kernel accepts them. Streams the response's body; only a
//! body read to its end leaves its connection reusable.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::time::{Instant, Sleep};

use super::failure::UpstreamFailure;
use super::request::UpstreamRequest;
use super::response::{Head, InvalidResponse};
use super::stream::Stream;
use countersign_ipc::gateway_protocol::InstanceAddress;

/// How long an upstream may take to begin its response. The longest is a long poll of 25 s.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// How long an upstream may take to accept a piece of a body: it writes to a disk.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);

/// Bytes read at a time; most responses fit. An idle connection holds one such buffer.
pub(super) const READ: usize = 8 * 1024;

/// An open connection without a request in flight.
pub(crate) struct Connection {
    address: Arc<InstanceAddress>,
    pub(super) stream: Stream,
    /// Received bytes that were not parsed yet.
    pub(super) buffer: BytesMut,
    /// Reset only when it fires, so that a response in time costs no timer.
    timer: Pin<Box<Sleep>>,
    idle_since: Instant,
}

impl Connection {
    pub(super) fn new(address: Arc<InstanceAddress>, stream: Stream) -> Self {
        let timer = Box::pin(tokio::time::sleep(ANSWER_WITHIN));
        Self { address, stream, buffer: BytesMut::new(), timer, idle_since: Instant::now() }
    }

    pub(crate) const fn address(&self) -> &Arc<InstanceAddress> {
        &self.address
    }

    /// The stream itself, on which nothing was sent yet.
    pub(crate) fn into_stream(self) -> Stream {
        self.stream
    }

    pub(super) const fn idle_since(&self) -> Instant {
        self.idle_since
    }

    /// Marks the connection as idle from now on.
    pub(super) fn rest(&mut self, now: Instant) {
        self.idle_since = now;
        if self.buffer.capacity() > READ {
            self.buffer = BytesMut::new();
        }
    }

    /// Whether a request may be sent: the peer has neither closed nor sent unrequested bytes.
    pub(super) fn is_usable(&self) -> bool {
        self.buffer.is_empty() && self.stream.is_silent()
    }

    /// Sends the head of a request whose body is streamed.
    ///
    /// # Errors
    /// If the head cannot be sent.
    pub(crate) async fn begin(mut self, request: &UpstreamRequest) -> Result<Body, UpstreamFailure> {
        match tokio::time::timeout(TAKEN_WITHIN, self.stream.write_all(&request.head)).await {
            Ok(Ok(())) => Ok(Body { connection: self, sending: Sending { sent: 0, error: None } }),
            Ok(Err(error)) => Err(UpstreamFailure::NotSent(error)),
            Err(_elapsed) => Err(UpstreamFailure::Slow),
        }
    }

    /// Drives the request and then the response's head. An upstream may answer before it has the
    /// whole request, or instead of taking it.
    pub(super) fn poll_head(
        &mut self,
        request: &UpstreamRequest,
        sending: &mut Sending,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Head, UpstreamFailure>> {
        while sending.error.is_none() && sending.sent < request.length() {
            let slices = request.left(sending.sent).map(io::IoSlice::new);
            match Pin::new(&mut self.stream).poll_write_vectored(cx, &slices) {
                Poll::Ready(Ok(0)) => sending.error = Some(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => sending.sent = sending.sent.saturating_add(written),
                Poll::Ready(Err(error)) if sending.sent == 0 => {
                    return Poll::Ready(Err(UpstreamFailure::NotSent(error)));
                }
                Poll::Ready(Err(error)) => sending.error = Some(error),
                Poll::Pending => break,
            }
        }
        loop {
            if let Some(head) =
                Head::take(&mut self.buffer).map_err(|InvalidResponse| UpstreamFailure::InvalidResponse)?
            {
                return Poll::Ready(Ok(head));
            }
            match self.poll_read(READ, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(UpstreamFailure::Broken(sending.error.take().unwrap_or(error))));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Reads into the buffer. The end of the stream is an error, because no message here may end
    /// with it.
    pub(super) fn poll_read(&mut self, at_most: usize, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.buffer.reserve(at_most);
        let mut reading = std::pin::pin!(self.stream.read_buf(&mut self.buffer));
        reading.as_mut().poll(cx).map(|read| match read {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        })
    }

    /// Whether the deadline has passed. If not, wakes the task when it may have.
    pub(super) fn poll_late(&mut self, deadline: Instant, cx: &mut Context<'_>) -> bool {
        while self.timer.as_mut().poll(cx).is_ready() {
            if deadline <= Instant::now() {
                return true;
            }
            self.timer.as_mut().reset(deadline);
        }
        false
    }
}

/// The body of a request, sent in pieces; holds none of it.
pub(crate) struct Body {
    pub(super) connection: Connection,
    pub(super) sending: Sending,
}

impl Body {
    /// Sends a piece; whether more is wanted. An upstream that accepts no more has answered, or is
    /// gone.
    pub(crate) async fn write(&mut self, piece: &[u8]) -> bool {
        let error = match tokio::time::timeout(TAKEN_WITHIN, self.connection.stream.write_all(piece)).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error,
            Err(elapsed) => elapsed.into(),
        };
        self.sending.error = Some(error);
        false
    }
}

pub(super) struct Sending {
    pub(super) sent: usize,
    /// Why no more can be sent. The upstream may still answer what it has.
    pub(super) error: Option<io::Error>,
}

impl UpstreamRequest {
    pub(super) fn length(&self) -> usize {
        self.head.len().saturating_add(self.body.len())
    }

    /// What is left of head and body after `sent` bytes.
    fn left(&self, sent: usize) -> [&[u8]; 2] {
        let head = self.head.get(sent..).unwrap_or_default();
        let body = self.body.get(sent.saturating_sub(self.head.len())..).unwrap_or_default();
        [head, body]
    }
}
