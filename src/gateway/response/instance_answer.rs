//! The response of an instance or of the server's service endpoint, and the only way to pass it on.
//!
//! An instance's responses may be hostile: its user runs code in that process, and every user's
//! signing keys belong to the provider's origin. So the gateway writes the whole head. The call
//! alone decides the content type. Status and the values of [`Said`] must be on a list. The body is
//! passed on as bytes that no browser executes (P1, V63).

use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, Collected, Limited};
use hyper::body::{Body as _, Bytes};

use crate::response::{self, Answer, AnswerBody, REFUSAL_MAX};
use crate::upstream::{ContentRange, NotPassedOn, Said, UpstreamBody};
use countersign_ipc::server_protocol::Refused;
use countersign_os::quoted;

/// Statuses of refusals: those of [`countersign_ipc::error_code::ErrorCode`]. Others mean something
/// to browsers or proxies that no call needs: 3xx redirect, 407 and 511 ask for passwords, 421 and
/// 425 make the client repeat.
const REFUSALS: [u16; 15] = [400, 401, 403, 404, 409, 413, 416, 426, 429, 431, 449, 482, 500, 502, 503];

/// How long an instance may take over the text of a refusal, which ours send with the head. Only
/// its own user waits, and Core must not give up meanwhile.
const REFUSAL_WITHIN: Duration = Duration::from_millis(500);

/// Longest error code that is recorded whole, in columns: ours have 19.
const CODE_MAX: usize = 32;

/// Longest text of a refusal that is recorded whole, in columns.
const WHY_MAX: usize = 240;

/// Recorded if a refusal has no reason, or none in [`Refused`]'s form.
const NO_REASON: &str = "answer: no reason was given";

/// Content type of every file: a browser neither executes nor displays it.
const ANY_BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Content type of a call's response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Content {
    /// JSON. Core parses every success as JSON, so a success without a body becomes an empty
    /// object.
    Json,
    /// A file's bytes on success, JSON otherwise.
    File {
        /// The client asked for a range, so a part may come.
        range_asked: bool,
    },
}

/// A response of an instance or of the server. Its head and body are available only as a response
/// that is safe for browsers, through [`InstanceAnswer::pass_on`].
pub(crate) struct InstanceAnswer {
    said: Said,
    body: AnswerBody,
}

impl InstanceAnswer {
    pub(crate) fn new(said: Said, body: UpstreamBody) -> Self {
        Self { said, body: AnswerBody::Upstream(Box::new(body)) }
    }

    /// For the log.
    pub(crate) fn status(&self) -> u16 {
        self.said.status.as_u16()
    }

    fn is_refusal(&self) -> bool {
        REFUSALS.contains(&self.status())
    }

    /// Reads the reason of a refusal, for the log: the text for the user, quoted and cut, because
    /// the instance may be hostile. Passes the refusal on unchanged; if it is too long or too slow,
    /// without its text.
    pub(crate) async fn with_reason(self) -> (Self, Option<String>) {
        if !self.is_refusal() {
            return (self, None);
        }
        let Self { said, body } = self;
        let reading = tokio::time::timeout(REFUSAL_WITHIN, Limited::new(body, REFUSAL_MAX).collect()).await;
        let read = reading.ok().and_then(Result::ok).map(Collected::to_bytes);
        let body = read.unwrap_or_else(|| Bytes::from_static(b"{}"));
        let reason = reason_of(&body);
        (Self { said, body: AnswerBody::Whole(body) }, Some(reason))
    }

    pub(crate) fn pass_on(self, content: Content) -> Result<Answer, NotPassedOn> {
        let is_refusal = self.is_refusal();
        let Self { said, body } = self;
        let length = body.size_hint().exact();
        let is_allowed = match (content, said.status) {
            (_, status) if is_refusal => status != StatusCode::RANGE_NOT_SATISFIABLE || content.has_ranges(),
            (_, StatusCode::OK) => true,
            (Content::File { range_asked: true }, StatusCode::PARTIAL_CONTENT) => {
                if !is_of(said.range, said.length_of_get.or(length)) {
                    return Err(NotPassedOn::Range);
                }
                true
            }
            _ => false,
        };
        if !is_allowed {
            return Err(NotPassedOn::Status(said.status));
        }
        if content == Content::Json && !is_refusal && body.is_end_stream() {
            return Ok(response::empty());
        }
        let mut answer = Response::new(body);
        *answer.status_mut() = said.status;
        write_head(answer.headers_mut(), &said, content, is_refusal);
        Ok(answer)
    }

    /// The whole body of a success, for the gateway alone; `None` if it is too long or breaks off.
    pub(crate) async fn into_bytes(self, max: usize) -> Option<Bytes> {
        let read = tokio::time::timeout(REFUSAL_WITHIN, Limited::new(self.body, max).collect()).await;
        read.ok().and_then(Result::ok).map(Collected::to_bytes)
    }

    #[cfg(test)]
    pub(crate) fn into_body(self) -> AnswerBody {
        self.body
    }
}

/// The code and the text of a refusal, as one line of a log.
fn reason_of(body: &Bytes) -> String {
    match serde_json::from_slice::<Refused>(body) {
        Ok(refused) => {
            let (code, why) = (&refused.error_code, &refused.why);
            format!("answer: {} {}", quoted::word_within(code, CODE_MAX), quoted::quoted_within(why, WHY_MAX))
        }
        Err(_not_ours) => NO_REASON.to_owned(),
    }
}

impl Content {
    const fn has_ranges(self) -> bool {
        matches!(self, Self::File { range_asked: true })
    }
}

fn write_head(headers: &mut HeaderMap, said: &Said, content: Content, is_refusal: bool) {
    if is_refusal || content == Content::Json {
        headers.insert(CONTENT_TYPE, response::JSON);
    } else {
        headers.insert(CONTENT_TYPE, ANY_BYTES);
        said.write_of_file(headers);
    }
    let range = said.range.filter(|range| match range {
        ContentRange::Part { .. } => said.status == StatusCode::PARTIAL_CONTENT,
        ContentRange::Unsatisfied { .. } => said.status == StatusCode::RANGE_NOT_SATISFIABLE,
    });
    if let Some(range) = range.and_then(|range| HeaderValue::from_str(&range.to_string()).ok()) {
        headers.insert(CONTENT_RANGE, range);
    }
    if let Some(seconds) = said.retry_after_s.filter(|_| is_refusal) {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(length) = said.length_of_get {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Whether a body of this length can be that part.
fn is_of(range: Option<ContentRange>, length: Option<u64>) -> bool {
    match (range, length) {
        (Some(ContentRange::Part { first, last, .. }), Some(length)) => {
            last.checked_sub(first) == length.checked_sub(1)
        }
        (Some(ContentRange::Part { .. }), None) => true,
        (Some(ContentRange::Unsatisfied { .. }) | None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r01_a_reason_is_one_bounded_line_whatever_the_instance_writes() {
        let check = |body: &str, want: &str| assert_eq!(reason_of(&Bytes::copy_from_slice(body.as_bytes())), want);
        let refused = |code: &str, why: &str| {
            serde_json::json!({ "statusCode": 409, "errorCode": code, "why": why, "more": 1 }).to_string()
        };
        check(&refused("ACCOUNT_UNUSABLE", "chmod 700 ~"), "answer: ACCOUNT_UNUSABLE \"chmod 700 ~\"");
        check(&refused("A B", "\"\n\u{1b}[2J"), "answer: \"A B\" \"\\\"\\u{a}\\u{1b}[2J\"");
        for none in ["", "{}", "[]", "<script>", "{\"why\":1}", "\u{ff}"] {
            check(none, NO_REASON);
        }
        let long = reason_of(&Bytes::from(refused(&"c".repeat(9_000), &"\u{202e}".repeat(2_000))));
        assert!(long.chars().count() <= 2 * (CODE_MAX + WHY_MAX) && long.is_ascii() || long.len() < 700, "{long}");
    }
}
