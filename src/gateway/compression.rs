//! Compresses long lists on their way to Core, which asks for it: a page of a folder is 350 KB of
//! JSON, mostly the same.
//!
//! Only calls on a list are compressed, where no secret shares the body with text that somebody
//! else can choose: the length of a compressed body tells whoever sees it how much of the one is in
//! the other (BREACH, CVE-2013-3587). Tokens and intents are in no listing. Nothing compressed is
//! ever taken from an instance (V63).

use countersign_keys::identity::CallName;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, VARY};
use http::{HeaderValue, StatusCode};
use hyper::body::Body as _;

use super::gzip::{GzipBody, takes_gzip};
use super::response::{Answer, AnswerBody};

/// Calls whose answers are compressed: names, sizes and times of files that the user may list.
/// Whoever can put a name into a folder can list it, too.
const COMPRESSED: [&str; 1] = ["files.browse"];

/// Shorter answers are not compressed, in bytes: they fit one packet as they are.
const COMPRESSED_MIN: u64 = 1_400;

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
    Answer::from_parts(head, AnswerBody::Gzip(Box::new(GzipBody::new(body))))
}
