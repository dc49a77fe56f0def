//! Compresses long lists on their way to Core, which asks for it: a page of a folder is 350 KB of JSON, mostly the same.
//!
//! Only calls on a list are compressed, where no secret shares the body with text that somebody else can choose: the
//! length of a compressed body tells whoever sees it how much of the one is in the other (BREACH, CVE-2013-3587).
//! Tokens and intents are in no listing. Nothing compressed is ever taken from an instance (V63).

use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use countersign_keys::identity::CallName;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, VARY};
use http::{HeaderValue, StatusCode};
use hyper::body::{Body, Frame};

use super::document::takes_gzip;
use super::respond::{Answer, AnswerBody};
use super::upstream::UpstreamBody;

/// Calls whose answers are compressed: names, sizes and times of files that the user may list. Whoever can put a name
/// into a folder can list it, too.
const COMPRESSED: [&str; 1] = ["files.browse"];

/// Shorter answers are not compressed, in bytes: they fit one packet as they are.
const COMPRESSED_MIN: u64 = 1_400;

/// An upstream's body, compressed as it comes. Holds no more than the encoder's window and one piece.
pub(super) struct GzipBody {
    body: Box<UpstreamBody>,
    /// `None`: the last byte has been sent.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

/// Compresses the answer, if that is allowed, asked for and worth it.
pub(super) fn compress(answer: Answer, call: &CallName, asked: &HeaderMap) -> Answer {
    let is_allowed = COMPRESSED.contains(&call.as_str()) && answer.status() == StatusCode::OK;
    let is_long = answer.body().size_hint().exact().is_none_or(|length| length >= COMPRESSED_MIN);
    if !is_allowed || !is_long || !takes_gzip(asked) {
        return answer;
    }
    let (mut head, body) = answer.into_parts();
    let AnswerBody::Upstream(body) = body else { return Answer::from_parts(head, body) };
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    head.headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    let encoder = Some(GzEncoder::new(Vec::new(), Compression::fast()));
    Answer::from_parts(head, AnswerBody::Gzip(Box::new(GzipBody { body, encoder })))
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
