//! Maps refusals and upstream responses to HTTP responses.
//!
//! The sender learns a class and the request's id. The reason is in the audit log, under the same
//! id.

pub(crate) mod compression;
pub(crate) mod cors;
pub(crate) mod gzip;
pub(crate) mod instance_answer;
pub(crate) mod refusal;
pub(crate) mod request_id;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use countersign_keys::verify::Class;
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, RETRY_AFTER,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, STRICT_TRANSPORT_SECURITY, UPGRADE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Collected, Limited};
use hyper::body::{Body, Frame, SizeHint};
use hyper::ext::ReasonPhrase;

use crate::http1::body::BodyRejection;
use crate::http1::head::HeadRejection;
use crate::http1::upgrade::{Key, UpgradeRejection, WEBSOCKET};
use crate::limits::COME_BACK_AFTER;
use crate::pipeline::deposits::DepositRejection;
use crate::response::gzip::GzipBody;
use crate::response::refusal::{Failure, Refusal, SocketRejection, StepUpRejection, WebRejection};
use crate::response::request_id::RequestId;
use crate::upstream::{UpstreamBody, UpstreamFailure};
use crate::web::body::ApplicationBody;
use countersign_ipc::error_code::{ErrorCode, end_of_results};

/// Longest refusal of an instance that is read whole, in bytes: a sentence in JSON.
pub(crate) const REFUSAL_MAX: usize = 16 * 1024;

/// Whether pages of other origins may load the response without CORS (Fetch standard).
pub(crate) const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Two years, as the preload lists require.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=63072000");

/// CSP of every response that is not part of a page: an opaque origin that runs and loads nothing.
const INERT: HeaderValue = HeaderValue::from_static("sandbox; default-src 'none'");

/// Content type of every response that is neither a document of the gateway's nor a file.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub(crate) enum AnswerBody {
    /// All of it, taken when it is sent.
    Whole(Bytes),
    /// Streamed from upstream.
    Upstream(Box<UpstreamBody>),
    /// Streamed from upstream and compressed.
    Gzip(Box<GzipBody>),
    /// Streamed from an application's web interface.
    Application(Box<ApplicationBody>),
}

/// A response of the gateway.
pub(crate) type Answer = Response<AnswerBody>;

/// Whether the connection can be used for another request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Afterwards {
    Keep,
    /// The end of the message is in doubt, or will not be read.
    Close,
}

/// The response to a refused request: a row of the table of answers, perhaps with another text.
struct ErrorResponse {
    told: ErrorCode,
    why: &'static str,
    afterwards: Afterwards,
}

impl ErrorResponse {
    const fn row(told: ErrorCode) -> Self {
        Self::own(told, told.why())
    }

    const fn own(told: ErrorCode, why: &'static str) -> Self {
        Self { told, why, afterwards: Afterwards::Keep }
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
            Refusal::Deposit(DepositRejection::Consumed) => Self::of_class(Class::IntentReplayed),
            Refusal::Deposit(DepositRejection::TooMany) | Refusal::TooMany => Self::row(ErrorCode::TooMany),
            Refusal::Deposit(DepositRejection::Full) => Self::row(ErrorCode::Unavailable),
            Refusal::StepUp(StepUpRejection::NoPasskey) => Self::own(ErrorCode::IntentStepUp, "enrol a passkey first"),
            Refusal::StepUp(StepUpRejection::Form) => Self::row(ErrorCode::Malformed).and_close(),
            Refusal::StepUp(StepUpRejection::NotAsserted(_)) => {
                Self::own(ErrorCode::IntentStepUp, "the passkey's answer is not valid for this request")
            }
            Refusal::CrossOrigin(_) => Self::own(ErrorCode::Forbidden, "not for pages of this origin").and_close(),
            Refusal::Destination(_) => Self::own(ErrorCode::Forbidden, "not for this use of the answer").and_close(),
            Refusal::ContentType(_) => {
                Self::own(ErrorCode::Malformed, "the content type is not the one that is taken here").and_close()
            }
            Refusal::NoInstance => Self::row(ErrorCode::NoInstance),
            Refusal::AccountRefused => Self::row(ErrorCode::AccountRefused),
            Refusal::NotConnected => Self::row(ErrorCode::NotConnected),
            Refusal::NoKey => Self::own(
                ErrorCode::IntentRequired,
                "you have no valid key at this provider: connect to it again in this browser",
            ),
            Refusal::Maintenance => Self::row(ErrorCode::Maintenance),
            Refusal::Web(rejection) => Self::of_web(*rejection),
            Refusal::Socket(rejection) => Self::of_socket(*rejection),
            Refusal::Failure(failure) => Self::of_failure(failure),
        }
    }

    const fn of_socket(rejection: SocketRejection) -> Self {
        match rejection {
            SocketRejection::Upgrade(UpgradeRejection::Version) => Self::row(ErrorCode::UpgradeRequired),
            SocketRejection::Upgrade(UpgradeRejection::Form(_))
            | SocketRejection::Early(_)
            | SocketRejection::Message(_)
            | SocketRejection::Silent => Self::row(ErrorCode::Malformed).and_close(),
            SocketRejection::TooFast => Self::row(ErrorCode::TooMany).and_close(),
        }
    }

    const fn of_web(rejection: WebRejection) -> Self {
        match rejection {
            WebRejection::NoSession => {
                Self::own(ErrorCode::Forbidden, "this address alone opens nothing: open the job's interface in UCloud")
            }
            WebRejection::OtherPage => Self::own(ErrorCode::Forbidden, "not for pages of this origin").and_close(),
            WebRejection::Ended => {
                Self::own(ErrorCode::NotFound, "the job, or your time in its interface, has ended: open it in UCloud")
            }
            WebRejection::NoJob => {
                Self::own(ErrorCode::NotFound, "this public link leads to no running job at the moment")
            }
            WebRejection::NotThere => Self::own(
                ErrorCode::NoAnswer,
                "the application does not answer. It may still be starting: reload this page in a moment",
            ),
            WebRejection::Foreign => Self::own(
                ErrorCode::Forbidden,
                "another account has taken the application's port on its node: start the job again",
            ),
            WebRejection::Refused => Self::own(ErrorCode::Malformed, "the request cannot be passed on"),
        }
    }

    fn of_class(class: Class) -> Self {
        let word = Self::row(ErrorCode::from(class));
        match class {
            Class::Malformed | Class::HeadTooLong | Class::Unauthorised => word.and_close(),
            Class::NotFound
            | Class::IntentRequired
            | Class::IntentInvalid
            | Class::IntentStale
            | Class::IntentReplayed
            | Class::IntentStepUp
            | Class::OurFailure => word,
        }
    }

    const fn of_head(rejection: &HeadRejection) -> Self {
        match rejection {
            HeadRejection::TooLong => Self::row(ErrorCode::HeadTooLong).and_close(),
            HeadRejection::Grammar(_)
            | HeadRejection::Version
            | HeadRejection::Host
            | HeadRejection::Target
            | HeadRejection::Repeated(_)
            | HeadRejection::Framing(_)
            | HeadRejection::Expectation
            | HeadRejection::Bytes(_)
            | HeadRejection::TakenBack(_) => Self::row(ErrorCode::Malformed).and_close(),
        }
    }

    const fn of_body(rejection: BodyRejection) -> Self {
        match rejection {
            BodyRejection::TooLong(_) => {
                Self::own(ErrorCode::BodyTooLong, "the request is too long: select fewer items at once").and_close()
            }
            BodyRejection::UserFull => Self::row(ErrorCode::TooMany).and_close(),
            BodyRejection::TooSlow => Self::own(ErrorCode::Malformed, "the body came too slowly").and_close(),
            BodyRejection::Broken | BodyRejection::Trailers => {
                Self::own(ErrorCode::Malformed, "the body is malformed").and_close()
            }
            BodyRejection::NoRoom => Self::row(ErrorCode::Unavailable).and_close(),
        }
    }

    const fn of_failure(failure: &Failure) -> Self {
        match failure {
            Failure::Upstream(
                UpstreamFailure::Broken(_)
                | UpstreamFailure::Slow
                | UpstreamFailure::InvalidResponse
                | UpstreamFailure::NotPassedOn(_),
            ) => Self::row(ErrorCode::NoAnswer),
            Failure::Upstream(
                UpstreamFailure::Absent
                | UpstreamFailure::Connect(_)
                | UpstreamFailure::Stranger(_)
                | UpstreamFailure::NotSent(_),
            )
            | Failure::KeyCache(_)
            | Failure::Unreadable(_)
            | Failure::Clock(_)
            | Failure::Audit(_)
            | Failure::Late
            | Failure::Unwritable(_)
            | Failure::Unwritten(_)
            | Failure::Randomness(_) => Self::row(ErrorCode::Unavailable),
        }
    }
}

/// The row and the text that the sender of a refused request gets.
pub(crate) fn told(refusal: &Refusal) -> (ErrorCode, &'static str) {
    let word = ErrorResponse::of(refusal);
    (word.told, word.why)
}

/// The response to a refused request.
pub(crate) fn refused(refusal: &Refusal, version: Version) -> Answer {
    let word = ErrorResponse::of(refusal);
    let mut answer = json(word.told.status(), word.told.body(word.why));
    if word.afterwards == Afterwards::Close {
        close_after(&mut answer, version);
    }
    if word.told == ErrorCode::TooMany {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(COME_BACK_AFTER.as_secs()));
    }
    if word.told == ErrorCode::UpgradeRequired {
        answer.headers_mut().insert(UPGRADE, WEBSOCKET);
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        answer.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    if word.told == ErrorCode::Unauthorised {
        answer.headers_mut().insert(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

/// Announces that the connection ends with this response. HTTP/2 has a frame for that.
pub(crate) fn close_after(answer: &mut Answer, version: Version) {
    if version != Version::HTTP_2 {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// The message, in UCloud's form, that refuses a message on a socket; its status; and whether the
/// socket can be used for another.
pub(crate) fn refused_message(refusal: &Refusal, stream_id: &str) -> (String, u16, Afterwards) {
    let word = ErrorResponse::of(refusal);
    let status = word.told.number();
    (response_message(status, &word.told.body(word.why), stream_id), status, word.afterwards)
}

/// As [`refused_message`] on a socket of Core's: the last message of its stream.
pub(crate) fn refused_stream(refusal: &Refusal, stream_id: &str) -> (String, u16, Afterwards) {
    let word = ErrorResponse::of(refusal);
    let (status, payload) = (word.told.number(), word.told.last_payload(word.why));
    (last_message(status, &payload, stream_id), status, word.afterwards)
}

/// The message for Core's socket if an instance answered instead of opening one.
pub(crate) async fn last_of(answer: Answer, stream_id: &str) -> String {
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), REFUSAL_MAX).collect().await;
    let body = body.map(Collected::to_bytes).unwrap_or_default();
    let payload = serde_json::from_slice(&body).unwrap_or_else(|_error| serde_json::json!({}));
    last_message(status, &end_of_results(payload), stream_id)
}

fn last_message(status: u16, payload: &serde_json::Value, stream_id: &str) -> String {
    serde_json::json!({ "type": "response", "streamId": stream_id, "status": status, "payload": payload }).to_string()
}

/// A response as a message on a socket: its status and its body. A body that is not JSON counts as
/// empty.
fn response_message(status: u16, body: &[u8], stream_id: &str) -> String {
    let payload: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    last_message(status, &payload, stream_id)
}

/// A response of the gateway or an instance as a message on a socket.
pub(crate) async fn message_of(answer: Answer, stream_id: &str) -> String {
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), REFUSAL_MAX).collect().await;
    response_message(status, &body.map(Collected::to_bytes).unwrap_or_default(), stream_id)
}

/// 101: the connection becomes a WebSocket.
pub(crate) fn switching(key: &Key, protocol: Option<HeaderValue>) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(UPGRADE, WEBSOCKET);
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Some(protocol) = protocol {
        answer.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    if let Ok(accept) = HeaderValue::from_str(&key.accept()) {
        answer.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    answer
}

/// 202: the deposit is stored.
pub(crate) fn deposited() -> Answer {
    json(StatusCode::ACCEPTED, Bytes::from_static(b"{}"))
}

/// 202: the deposit is stored, and waits for a passkey's assertion.
pub(crate) fn challenged(options: &serde_json::Value) -> Answer {
    let body = serde_json::json!({ "stepUp": { "publicKey": options } });
    json(StatusCode::ACCEPTED, Bytes::from(body.to_string()))
}

/// The response to a health check.
pub(crate) fn health(is_well: bool) -> Answer {
    match is_well {
        true => json(StatusCode::OK, Bytes::from_static(br#"{"status":"ok"}"#)),
        false => json(StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(br#"{"status":"unavailable"}"#)),
    }
}

/// A response with headers alone.
pub(crate) fn empty() -> Answer {
    json(StatusCode::OK, Bytes::from_static(b"{}"))
}

/// A document that the client may cache.
pub(crate) fn document(content: Bytes, content_type: HeaderValue) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(content));
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// 304: the client has the document.
pub(crate) fn unchanged() -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(Bytes::new()));
    *answer.status_mut() = StatusCode::NOT_MODIFIED;
    answer
}

/// Reason phrases of statuses without a registered name. HTTP/2 has none.
const PHRASES: [(u16, ReasonPhrase); 2] =
    [(449, ReasonPhrase::from_static(b"No Running Instance")), (482, ReasonPhrase::from_static(b"Signature Refused"))];

/// Adds the headers of every response.
pub(crate) fn finish(answer: &mut Answer, id: &RequestId, transport: Transport) {
    let status = answer.status().as_u16();
    if let Some((_, phrase)) = PHRASES.iter().find(|(known, _)| *known == status) {
        answer.extensions_mut().insert(phrase.clone());
    }
    let headers = answer.headers_mut();
    headers.insert(HeaderName::from_static("x-request-id"), id.to_header());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Only the gateway's own documents set a CSP themselves.
    if !headers.contains_key(CONTENT_SECURITY_POLICY) {
        headers.insert(CONTENT_SECURITY_POLICY, INERT);
        headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    }
    if transport == Transport::Tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// Adds to an application's answer what keeps its origin apart from all others of the site.
pub(crate) fn finish_application(answer: &mut Answer, transport: Transport) {
    let headers = answer.headers_mut();
    headers.insert(HeaderName::from_static("origin-agent-cluster"), HeaderValue::from_static("?1"));
    if transport == Transport::Tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Transport {
    Tls,
    /// Without TLS, on the loop-back interface.
    LoopBack,
}

fn json(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Upstream(body) => Pin::new(body.as_mut()).poll_frame(cx),
            Self::Gzip(body) => Pin::new(body.as_mut()).poll_frame(cx),
            Self::Application(body) => Pin::new(body.as_mut()).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Upstream(body) => body.is_end_stream(),
            Self::Gzip(body) => body.is_end_stream(),
            Self::Application(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Self::Upstream(body) => body.size_hint(),
            Self::Gzip(body) => body.size_hint(),
            Self::Application(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
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
        check(BodyRejection::UserFull, 429, "TOO_MANY");
        check(Rejection::NoSuchCall, 404, "NOT_FOUND");
        check(IntentRejection::Missing, 482, "INTENT_REQUIRED");
        check(DepositRejection::Consumed, 482, "INTENT_REPLAYED");
        check(Refusal::TooMany, 429, "TOO_MANY");
        check(Refusal::NoInstance, 449, "NO_INSTANCE");
        check(Refusal::AccountRefused, 403, "ACCOUNT_REFUSED");
        check(Refusal::Maintenance, 404, "MAINTENANCE");
        check(Refusal::NotConnected, 403, "NOT_CONNECTED");
        check(Refusal::NoKey, 482, "INTENT_REQUIRED");
        check(UpstreamFailure::Absent, 503, "UNAVAILABLE");
        check(UpstreamFailure::Slow, 502, "UNAVAILABLE");
    }

    #[test]
    fn v61_what_an_intent_lacks_is_one_answer() {
        let body = |rejection: IntentRejection| match refused(&rejection.into(), Version::HTTP_11).into_body() {
            AnswerBody::Whole(bytes) => bytes,
            AnswerBody::Upstream(_) | AnswerBody::Gzip(_) | AnswerBody::Application(_) => panic!("whole"),
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
