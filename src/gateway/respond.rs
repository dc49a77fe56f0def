//! From what was decided to what the sender hears: the only place that knows status codes (design, section 8).
//!
//! The sender learns a class and the request's id. The reason is in the audit log, under the same id.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use countersign_keys::verify::Class;
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, RETRY_AFTER, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use hyper::body::{Body, Frame, SizeHint};

use super::body::BodyRejection;
use super::crowd::COME_BACK_AFTER;
use super::deposits::DepositRejection;
use super::head::HeadRejection;
use super::refusal::{Failure, Refusal};
use super::request_id::RequestId;
use super::upstream::{UpstreamBody, UpstreamFailure};

/// Two years: what the preload lists ask for.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=63072000");

/// What of an upstream's answer is passed on. All of it says how the body is to be shown or kept; the rest of an answer's head
/// speaks about the connection that it came on.
const PASSED_ON: [HeaderName; 10] = [
    CONTENT_TYPE,
    CACHE_CONTROL,
    RETRY_AFTER,
    http::header::CONTENT_DISPOSITION,
    http::header::CONTENT_SECURITY_POLICY,
    http::header::REFERRER_POLICY,
    http::header::X_FRAME_OPTIONS,
    HeaderName::from_static("cross-origin-opener-policy"),
    HeaderName::from_static("cross-origin-resource-policy"),
    HeaderName::from_static("permissions-policy"),
];

/// The body of an answer.
pub(super) enum AnswerBody {
    /// All of it; taken when it is sent.
    Whole(Bytes),
    /// As it comes from upstream.
    Upstream(Box<UpstreamBody>),
}

/// An answer.
pub(super) type Answer = Response<AnswerBody>;

/// Whether the connection can be used for another request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Afterwards {
    Keep,
    /// Where the message ends is in doubt, or it will not be read to its end.
    Close,
}

/// What the sender of a refused request is told.
struct Told {
    status: StatusCode,
    error_code: &'static str,
    why: &'static str,
    afterwards: Afterwards,
}

/// What UCloud calls a bad signature; no name in HTTP.
fn unsigned() -> StatusCode {
    StatusCode::from_u16(482).unwrap_or(StatusCode::FORBIDDEN)
}

/// "Retry with": UCloud then asks for an instance and repeats the request.
fn retry_with() -> StatusCode {
    StatusCode::from_u16(449).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
}

impl Told {
    const fn new(status: StatusCode, error_code: &'static str, why: &'static str) -> Self {
        Self { status, error_code, why, afterwards: Afterwards::Keep }
    }

    const fn and_close(mut self) -> Self {
        self.afterwards = Afterwards::Close;
        self
    }

    fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Head(rejection) => Self::of_head(rejection),
            Refusal::Body(rejection) => Self::of_body(*rejection),
            Refusal::Rejection(rejection) => Self::of_class(rejection.class()),
            Refusal::Deposit(DepositRejection::Spent) => Self::of_class(Class::IntentReplayed),
            Refusal::Deposit(DepositRejection::TooMany) | Refusal::TooMany => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY", "too many requests; try again in a moment")
            }
            Refusal::Deposit(DepositRejection::Full) => Self::unavailable(),
            Refusal::CrossOrigin(_) => {
                Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", "not for pages of this origin").and_close()
            }
            Refusal::ContentType(_) => {
                Self::malformed("the content type is not the one that is taken here").and_close()
            }
            Refusal::NoInstance => Self::new(retry_with(), "NO_INSTANCE", "the user has no running instance"),
            Refusal::Failure(failure) => Self::of_failure(failure),
        }
    }

    fn of_class(class: Class) -> Self {
        match class {
            Class::Malformed => Self::malformed("the request is malformed").and_close(),
            Class::HeadTooLong => {
                let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                Self::new(status, "BAD_REQUEST", "a header is too long").and_close()
            }
            Class::Unauthorised => {
                Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "a valid token of UCloud is needed").and_close()
            }
            Class::NotFound => Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "no such call"),
            Class::IntentRequired => Self::new(unsigned(), "INTENT_REQUIRED", "the user has to sign this request"),
            Class::IntentInvalid => {
                Self::new(unsigned(), "INTENT_INVALID", "the user's signature is not valid for this request")
            }
            Class::IntentStale => Self::new(unsigned(), "INTENT_STALE", "the user's signature is too old or too new"),
            Class::IntentReplayed => {
                Self::new(unsigned(), "INTENT_REPLAYED", "the user's signature has been used already")
            }
            Class::IntentStepUp => {
                Self::new(unsigned(), "INTENT_STEP_UP", "this request needs the user's passkey as well")
            }
            Class::OurFailure => Self::unavailable(),
        }
    }

    const fn of_head(rejection: &HeadRejection) -> Self {
        match rejection {
            HeadRejection::Version
            | HeadRejection::Host
            | HeadRejection::Target
            | HeadRejection::Repeated(_)
            | HeadRejection::Framing(_)
            | HeadRejection::Expectation
            | HeadRejection::Bytes(_)
            | HeadRejection::TakenBack(_) => Self::malformed("the request is malformed").and_close(),
        }
    }

    fn of_body(rejection: BodyRejection) -> Self {
        match rejection {
            BodyRejection::TooLong(_) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "BAD_REQUEST", "the body is too long").and_close()
            }
            BodyRejection::TooSlow => Self::malformed("the body came too slowly").and_close(),
            BodyRejection::Broken | BodyRejection::Trailers => Self::malformed("the body is malformed").and_close(),
            BodyRejection::NoRoom => Self::unavailable().and_close(),
        }
    }

    fn of_failure(failure: &Failure) -> Self {
        match failure {
            Failure::Upstream(UpstreamFailure::Broken(_) | UpstreamFailure::Slow | UpstreamFailure::NoAnswer) => {
                // It went out: Core must not repeat it, as it would after 503.
                let why = "the request was passed on, and no answer came back";
                Self::new(StatusCode::BAD_GATEWAY, "UNAVAILABLE", why)
            }
            Failure::Upstream(
                UpstreamFailure::Absent
                | UpstreamFailure::Connect(_)
                | UpstreamFailure::Stranger(_)
                | UpstreamFailure::NotSent(_),
            )
            | Failure::Directory(_)
            | Failure::Unreadable(_)
            | Failure::Clock(_)
            | Failure::Audit(_)
            | Failure::Unwritable(_) => Self::unavailable(),
        }
    }

    const fn malformed(why: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", why)
    }

    const fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "the provider cannot answer at the moment")
    }

    /// Every text is our own, without a character that JSON would escape.
    fn body(&self) -> Bytes {
        let Self { status, error_code, why, .. } = self;
        Bytes::from(format!(r#"{{"statusCode":{},"why":"{why}","errorCode":"{error_code}"}}"#, status.as_u16()))
    }
}

/// The answer to a refused request.
pub(super) fn refused(refusal: &Refusal, version: Version) -> Answer {
    let told = Told::of(refusal);
    let mut answer = json(told.status, told.body());
    if told.afterwards == Afterwards::Close && version != Version::HTTP_2 {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if told.status == StatusCode::TOO_MANY_REQUESTS {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(COME_BACK_AFTER.as_secs()));
    }
    if told.status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

/// The deposit is kept.
pub(super) fn deposited() -> Answer {
    json(StatusCode::ACCEPTED, Bytes::from_static(b"{}"))
}

/// Nothing but headers to say.
pub(super) fn empty() -> Answer {
    json(StatusCode::OK, Bytes::from_static(b"{}"))
}

/// A document that the client may keep.
pub(super) fn document(content: Bytes) -> Answer {
    json(StatusCode::OK, content)
}

/// The client has the document.
pub(super) fn unchanged() -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(Bytes::new()));
    *answer.status_mut() = StatusCode::NOT_MODIFIED;
    answer
}

/// Core takes every success for JSON; a success without a body gets an empty object.
pub(super) fn forwarded(upstream: Response<UpstreamBody>) -> Answer {
    let (head, body) = upstream.into_parts();
    if head.status.is_success() && body.is_end_stream() {
        return empty();
    }
    let mut headers = HeaderMap::with_capacity(8);
    for (name, value) in &head.headers {
        if PASSED_ON.contains(name) {
            headers.insert(name, value.clone());
        }
    }
    let mut answer = Response::new(AnswerBody::Upstream(Box::new(body)));
    *answer.status_mut() = head.status;
    *answer.headers_mut() = headers;
    answer
}

/// What every answer has.
pub(super) fn finish(answer: &mut Answer, id: &RequestId, transport: Transport) {
    let headers = answer.headers_mut();
    headers.insert(HeaderName::from_static("x-request-id"), id.to_header());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if transport == Transport::Tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// How the request came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Transport {
    /// Over TLS.
    Tls,
    /// Over the loop-back interface, bare.
    LoopBack,
}

fn json(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Upstream(body) => Pin::new(body.as_mut()).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

    use super::*;
    use countersign_keys::intent::IntentRejection;
    use countersign_keys::verify::Rejection;

    fn check(refusal: impl Into<Refusal>, status: u16, error_code: &str) {
        let answer = refused(&refusal.into(), Version::HTTP_11);
        assert_eq!(answer.status().as_u16(), status);
        let AnswerBody::Whole(bytes) = answer.into_body() else { panic!("whole") };
        let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(body["statusCode"], status);
        assert_eq!(body["errorCode"], error_code);
        assert!(!body["why"].as_str().unwrap().is_empty());
    }

    #[test]
    fn every_class_has_its_answer() {
        check(HeadRejection::Host, 400, "BAD_REQUEST");
        check(BodyRejection::TooLong(1), 413, "BAD_REQUEST");
        check(Rejection::NoSuchCall, 404, "NOT_FOUND");
        check(IntentRejection::Missing, 482, "INTENT_REQUIRED");
        check(DepositRejection::Spent, 482, "INTENT_REPLAYED");
        check(Refusal::TooMany, 429, "TOO_MANY");
        check(Refusal::NoInstance, 449, "NO_INSTANCE");
        check(UpstreamFailure::Absent, 503, "UNAVAILABLE");
        check(UpstreamFailure::Slow, 502, "UNAVAILABLE");
    }

    #[test]
    fn v61_what_an_intent_lacks_is_one_answer() {
        let body = |rejection: IntentRejection| match refused(&rejection.into(), Version::HTTP_11).into_body() {
            AnswerBody::Whole(bytes) => bytes,
            AnswerBody::Upstream(_) => panic!("whole"),
        };
        let first = body(IntentRejection::UnknownKey);
        for rejection in [IntentRejection::Signature, IntentRejection::Username, IntentRejection::Audience] {
            assert_eq!(body(rejection), first);
        }
    }

    #[test]
    fn a_message_of_doubtful_length_ends_its_connection() {
        let closes = |version| refused(&HeadRejection::Host.into(), version).headers().contains_key(CONNECTION);
        assert!(closes(Version::HTTP_11));
        assert!(!closes(Version::HTTP_2), "which has no such header");
        assert!(!refused(&Refusal::NoInstance, Version::HTTP_11).headers().contains_key(CONNECTION));
    }
}
