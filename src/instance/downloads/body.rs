//! The body of an instance's answer: in memory, or a file that is read while it is sent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::task::JoinHandle;

use super::sealed::SealedBody;
use crate::files::outgoing::Outgoing;
use countersign_ipc::error_code::Reply;

/// Bytes read at once. One piece is read while the previous one is sent, so a download holds two.
const PIECE: u64 = 512 * 1024;

/// A part of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Part {
    /// Of its first byte in the file.
    pub(super) offset: u64,
    /// In bytes.
    pub(super) length: u64,
}

/// A part of a file, read while it is sent.
#[derive(Debug)]
pub(crate) struct FileBody {
    file: Arc<Outgoing>,
    unread: Part,
    /// Bytes still to be sent.
    left: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileBody {
    pub(super) fn new(file: Outgoing, part: Part) -> Self {
        Self { file: Arc::new(file), unread: part, left: part.length, reading: None }
    }

    /// Begins to read the next piece of the file, if there is one.
    fn read_ahead(&mut self) {
        let Part { offset, length } = self.unread;
        if length == 0 {
            return;
        }
        let piece = length.min(PIECE);
        let file = Arc::clone(&self.file);
        self.reading = Some(tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; usize::try_from(piece).unwrap_or(0)];
            file.read_at(offset, &mut buffer)?;
            Ok(Bytes::from(buffer))
        }));
        self.unread = Part { offset: offset.saturating_add(piece), length: length.saturating_sub(piece) };
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let body = &mut *self;
        if body.reading.is_none() {
            body.read_ahead();
        }
        let Some(reading) = &mut body.reading else { return Poll::Ready(None) };
        let piece = ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other).and_then(|piece| piece);
        body.reading = None;
        if let Ok(piece) = &piece {
            body.left = body.left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            body.read_ahead();
        } else {
            // The rest of the announced body cannot be sent: the connection ends with the body.
            body.unread.length = 0;
        }
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.reading.is_none() && self.unread.length == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[derive(Debug)]
pub(crate) enum AnswerBody {
    /// In memory.
    Whole(Full<Bytes>),
    File(FileBody),
    Sealed(Box<SealedBody>),
    /// An application's, of a web interface.
    Application(Incoming),
}

pub(crate) type Answer = http::Response<AnswerBody>;

/// An answer whose body is in memory.
pub(crate) fn whole(reply: Reply) -> Answer {
    reply.map(AnswerBody::Whole)
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::File(body) => Pin::new(body).poll_frame(cx),
            Self::Sealed(body) => Pin::new(body).poll_frame(cx),
            Self::Application(body) => Pin::new(body).poll_frame(cx).map_err(io::Error::other),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::File(body) => body.is_end_stream(),
            Self::Sealed(body) => body.is_end_stream(),
            Self::Application(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::File(body) => body.size_hint(),
            Self::Sealed(body) => body.size_hint(),
            Self::Application(body) => body.size_hint(),
        }
    }
}
