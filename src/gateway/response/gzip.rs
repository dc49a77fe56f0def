//! gzip: content negotiation, and a body that is compressed as it streams.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, HeaderMap};
use hyper::body::{Body, Frame};

use crate::upstream::UpstreamBody;

/// An upstream's body, compressed as it streams. Holds at most the encoder's window and one piece.
pub(crate) struct GzipBody {
    body: Box<UpstreamBody>,
    /// `None` after the last byte.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl GzipBody {
    pub(crate) fn new(body: Box<UpstreamBody>) -> Self {
        Self { body, encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())) }
    }
}

impl Body for GzipBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        while let Some(encoder) = &mut this.encoder {
            let written = match ready!(Pin::new(this.body.as_mut()).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => encoder.write_all(&piece).map(|()| std::mem::take(encoder.get_mut())),
                    Err(_trailers) => continue, // an upstream's body has none
                },
                Some(Err(error)) => Err(error),
                None => this.encoder.take().map_or(Ok(Vec::new()), GzEncoder::finish),
            };
            match written {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(Bytes::from(bytes))))),
                Err(error) => {
                    this.encoder = None;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none()
    }
}

/// Whether `Accept-Encoding` lists gzip with a weight other than 0.
pub(crate) fn takes_gzip(asked: &HeaderMap) -> bool {
    let codings = asked.get_all(ACCEPT_ENCODING).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    codings.into_iter().any(|coding| {
        let mut parts = coding.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(b"gzip"));
        is_gzip && !parts.any(|weight| matches!(weight, b"q=0" | b"q=0." | b"q=0.0" | b"q=0.00" | b"q=0.000"))
    })
}
