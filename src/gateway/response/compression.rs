//! Compresses long lists for Core, which asks for it: a page of a folder is 350 KB of repetitive
//! JSON.
//!
//! Compresses listed calls only, where no secret shares the body with text that an attacker can
//! choose. Otherwise the compressed length would leak the secret (BREACH, CVE-2013-3587). No
//! listing contains tokens or intents. No compressed body is accepted from an instance (V63).

use countersign_keys::call::names;
use countersign_keys::identity::CallName;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, VARY};
use http::{HeaderValue, StatusCode};
use hyper::body::Body as _;

use crate::response::gzip::{GzipBody, takes_gzip};
use crate::response::{Answer, AnswerBody};

/// Answers with names, sizes and times of files that the user may list. A user who can put a name
/// into a folder can also list it.
const COMPRESSED: [&str; 1] = [names::FILES_BROWSE];

/// In bytes. Shorter answers fit one packet as they are.
const COMPRESSED_MIN: u64 = 1_400;

/// Compresses the answer if its call allows it, the client asks for it, and it is long enough.
pub(crate) fn compress(answer: Answer, call: &CallName, asked: &HeaderMap) -> Answer {
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
