//! The body of an instance's answer: at hand, or a file that is read as it is sent.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::ipc::http::Reply;
use crate::user::files::outgoing::Outgoing;

/// Read at a time, in bytes. One piece is read while the one before it is sent, so a download holds two.
const PIECE: u64 = 512 * 1024;

/// A part of a body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Part {
    /// What is said between the parts of a file.
    Text(Bytes),
    /// So many bytes of the file, from an offset on.
    Of {
        /// Where they begin.
        offset: u64,
        /// How many they are.
        length: u64,
    },
}

impl Part {
    fn length(&self) -> u64 {
        match self {
            Self::Text(text) => u64::try_from(text.len()).unwrap_or(u64::MAX),
            Self::Of { length, .. } => *length,
        }
    }
}

/// Parts of a file, one after the other.
#[derive(Debug)]
pub(crate) struct FileBody {
    file: Arc<Outgoing>,
    parts: VecDeque<Part>,
    /// What is still to come of all of them.
    left: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileBody {
    /// These parts of a file.
    pub(super) fn new(file: Outgoing, parts: impl IntoIterator<Item = Part>) -> Self {
        let parts: VecDeque<Part> = parts.into_iter().collect();
        let left = parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.length()));
        Self { file: Arc::new(file), parts, left, reading: None }
    }

    /// Begins to read the next piece of the file, if that is what comes next.
    fn read_ahead(&mut self) {
        let Some(Part::Of { offset, length }) = self.parts.front_mut() else { return };
        let piece = (*length).min(PIECE);
        let (file, from) = (Arc::clone(&self.file), *offset);
        self.reading = Some(tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; usize::try_from(piece).unwrap_or(0)];
            file.read_at(from, &mut buffer)?;
            Ok(Bytes::from(buffer))
        }));
        *offset = offset.saturating_add(piece);
        *length = length.saturating_sub(piece);
        if *length == 0 {
            self.parts.pop_front();
        }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let body = &mut *self;
        if body.reading.is_none() {
            match body.parts.front() {
                None => return Poll::Ready(None),
                Some(Part::Text(text)) => {
                    let text = text.clone();
                    body.left = body.left.saturating_sub(u64::try_from(text.len()).unwrap_or(u64::MAX));
                    body.parts.pop_front();
                    return Poll::Ready(Some(Ok(Frame::data(text))));
                }
                Some(Part::Of { .. }) => body.read_ahead(),
            }
        }
        let Some(reading) = &mut body.reading else { return Poll::Ready(None) };
        let piece = ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other).and_then(|piece| piece);
        body.reading = None;
        if let Ok(piece) = &piece {
            body.left = body.left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            body.read_ahead();
        } else {
            // What was promised cannot be sent: the connection ends with the body.
            body.parts.clear();
        }
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.reading.is_none() && self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The body of any answer.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    /// At hand.
    Whole(Full<Bytes>),
    /// Of a file.
    File(FileBody),
}

/// Any answer.
pub(crate) type Answer = http::Response<AnswerBody>;

/// An answer whose body is at hand.
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
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::File(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::File(body) => body.size_hint(),
        }
    }
}
