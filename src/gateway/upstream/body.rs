//! The body of an upstream's response, streamed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::Upstreams;
use super::connection::{Connection, READ};
use super::response::{Framing, InvalidResponse};

/// Bytes read at a time of a body known to be longer.
const READ_LONG: usize = 64 * 1024;

/// The body of an upstream's response, streamed. At its end the connection returns to the pool.
pub(crate) struct UpstreamBody {
    framing: Framing,
    connection: Option<Connection>,
    /// The pool; `None` if the connection cannot be reused.
    keeper: Option<Arc<Upstreams>>,
}

impl UpstreamBody {
    pub(super) fn new(connection: Connection, framing: Framing, keeper: Option<Arc<Upstreams>>) -> Self {
        let mut body = Self { framing, connection: Some(connection), keeper };
        if body.framing.is_over() {
            body.finish(); // a response without a body is never polled
        }
        body
    }

    fn finish(&mut self) {
        if let (Some(connection), Some(keeper)) = (self.connection.take(), self.keeper.take())
            && connection.buffer.is_empty()
        {
            keeper.keep(connection);
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        while let Some(connection) = &mut self.connection {
            let piece =
                self.framing.take(&mut connection.buffer).map_err(|InvalidResponse| io::ErrorKind::InvalidData)?;
            if self.framing.is_over() {
                self.finish();
            }
            if let Some(piece) = piece {
                return Poll::Ready(Some(Ok(piece)));
            }
            if let Some(connection) = &mut self.connection {
                let is_long =
                    self.framing.exact().is_some_and(|left| usize::try_from(left).is_ok_and(|left| left > READ));
                match connection.poll_read(if is_long { READ_LONG } else { READ }, cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Poll::Pending => return Poll::Pending,
                }
            }
        }
        Poll::Ready(None)
    }
}

impl hyper::body::Body for UpstreamBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = self.poll_piece(cx);
        if let Poll::Ready(Some(Err(_))) = piece {
            self.connection = None;
        }
        piece.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.framing.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.framing.exact().map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
