//! The table of answers to refused requests, shared by all three processes (design, section 8).
//!
//! Each row has a status, an `errorCode`, and a sentence without information about other users
//! (V61). The reasons are in the log alone.

use bytes::Bytes;
use countersign_keys::verify::Class;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use http_body_util::Full;
use serde::Serialize;
use serde_json::{Value, json};

use super::body::BodyError;

/// A response with its whole body.
pub type Reply = Response<Full<Bytes>>;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ErrorCode {
    /// Malformed, or asks for something impossible.
    Malformed,
    BodyTooLong,
    /// The head, or one header, is too long.
    HeadTooLong,
    /// Core's token is missing or invalid.
    Unauthorised,
    /// It exists, but is not for the sender.
    Forbidden,
    /// A folder of Countersign's own, or of the user's SSH keys.
    Protected,
    /// It exists, but belongs to another user.
    NotYours,
    /// The account may have no keys, or no instance.
    AccountRefused,
    /// The application of a job was not approved, or is not the approved one. Not 409, after which
    /// UCloud's page offers to start the job all the same.
    ApplicationNotApproved,
    /// A job would run another script than the one that its user approved. Not 409 either.
    AnotherScript,
    /// The user is not connected to this provider. Not 482, on which UCloud's older page discards
    /// its keys, and not 449 or 503, after which UCloud repeats the request.
    NotConnected,
    /// Another account has this UCloud user.
    OfAnotherAccount,
    /// The path is in no table, or the object does not exist.
    NotFound,
    /// The site is in maintenance. Not a 5xx, whose text UCloud hides from the user, and not 449 or
    /// 503, after which UCloud repeats the request.
    Maintenance,
    /// The user's account, or this host, needs repair; the sentence says how. Neither 503 nor 449,
    /// after which UCloud repeats a request whose intent is consumed.
    AccountUnusable,
    /// Not possible in the present state.
    Conflict,
    /// The account or the user is connected to another.
    MappedOtherwise,
    KeyRefused,
    KeyExists,
    /// The pending connection has ended.
    TicketDead,
    /// Another version of WebSocket.
    UpgradeRequired,
    /// The disk or the quota is full. Not 507, whose text UCloud hides from the user.
    NoSpace,
    /// A range that the file does not have.
    RangeNotSatisfiable,
    /// A rate or a limit is exceeded. Not 503, after which UCloud launches the instance again.
    TooMany,
    /// Permitted, but no instance is up. UCloud asks for one and repeats the request.
    NoInstance,
    IntentRequired,
    /// Unknown user or key, bad signature, wrong parameters: one answer for all.
    IntentInvalid,
    /// Outside its validity period.
    IntentStale,
    /// The intent was used before.
    IntentReplayed,
    /// A passkey's assertion is needed too.
    IntentStepUp,
    /// The disk or the kernel failed during the user's operation.
    Failed,
    /// The request was forwarded, and no response came. Not 503, after which UCloud would repeat
    /// what may have been done.
    NoAnswer,
    /// Countersign failed, and nothing was done.
    Unavailable,
}

/// The body of every refusal. [`super::server_protocol::Refused`] parses it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    status_code: u16,
    why: &'a str,
    error_code: &'a str,
}

impl ErrorCode {
    /// Status, code and default sentence.
    const fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Malformed => (400, "BAD_REQUEST", "the request is malformed"),
            Self::Unauthorised => (401, "UNAUTHORIZED", "a valid token of UCloud is needed"),
            Self::Forbidden => (403, "FORBIDDEN", "this is not for you"),
            Self::Protected => (403, "PROTECTED", "this folder cannot be used through UCloud"),
            Self::NotYours => (403, "NOT_YOURS", "that is not yours"),
            Self::AccountRefused => {
                (403, "ACCOUNT_REFUSED", "this account cannot be used here: the provider's staff can tell why")
            }
            Self::ApplicationNotApproved => (
                403,
                "APPLICATION_NOT_APPROVED",
                "this application is not approved at the computing centre yet: its staff have been asked to review it",
            ),
            Self::AnotherScript => (403, "ANOTHER_SCRIPT", "the job would not run the script that you approved"),
            Self::NotConnected => (403, "NOT_CONNECTED", "connect to this provider first"),
            Self::OfAnotherAccount => (403, "MAPPED_OTHERWISE", "this UCloud user belongs to another account"),
            Self::NotFound => (404, "NOT_FOUND", "there is nothing of this kind"),
            Self::Maintenance => {
                (404, "MAINTENANCE", "the provider is undergoing maintenance and serves no users at the moment")
            }
            Self::AccountUnusable => {
                (409, "ACCOUNT_UNUSABLE", "your account at the computing centre has to be put right first")
            }
            Self::Conflict => (409, "CONFLICT", "not as things stand"),
            Self::MappedOtherwise => (409, "MAPPED_OTHERWISE", "the account or the user is connected to another"),
            Self::KeyExists => (409, "KEY_REFUSED", "this key is there already"),
            Self::TicketDead => (409, "TICKET_DEAD", "nothing can come of this connection any more"),
            Self::KeyRefused => (400, "KEY_REFUSED", "this key cannot be used"),
            Self::BodyTooLong => (413, "BAD_REQUEST", "the body is too long"),
            Self::NoSpace => (413, "NO_SPACE", "there is not enough space"),
            Self::RangeNotSatisfiable => (416, "BAD_REQUEST", "the file has no such part"),
            Self::UpgradeRequired => (426, "UPGRADE_REQUIRED", "WebSocket version 13 is needed"),
            Self::TooMany => (429, "TOO_MANY", "too many requests; try again in a moment"),
            Self::HeadTooLong => (431, "BAD_REQUEST", "the head is too long"),
            Self::NoInstance => (449, "NO_INSTANCE", "the user has no running instance"),
            Self::IntentRequired => (482, "INTENT_REQUIRED", "the user has to sign this request"),
            Self::IntentInvalid => (482, "INTENT_INVALID", "the user's signature is not valid for this request"),
            Self::IntentStale => (482, "INTENT_STALE", "the user's signature is too old or too new"),
            Self::IntentReplayed => (482, "INTENT_REPLAYED", "the user's signature has been used already"),
            Self::IntentStepUp => (482, "INTENT_STEP_UP", "this request needs the user's passkey as well"),
            Self::Failed => (500, "FAILURE", "the system failed"),
            Self::NoAnswer => (502, "UNAVAILABLE", "the request was passed on, and no answer came back"),
            Self::Unavailable => (503, "UNAVAILABLE", "the provider cannot answer at the moment"),
        }
    }

    pub const fn number(self) -> u16 {
        self.row().0
    }

    /// HTTP has no name for 449 and 482, and allows every number of three digits.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.number()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
    }

    /// The code, for programs.
    pub const fn code(self) -> &'static str {
        self.row().1
    }

    /// The sentence, if the caller has no better one.
    pub const fn why(self) -> &'static str {
        self.row().2
    }

    /// Whether Countersign is at fault and not the sender.
    pub const fn is_failure(self) -> bool {
        self.number() >= 500
    }

    /// The body with another sentence.
    pub fn body(self, why: &str) -> Bytes {
        let (status_code, error_code, _) = self.row();
        // A struct of a number and two strings always serialises.
        serde_json::to_vec(&Body { status_code, why, error_code }).map(Bytes::from).unwrap_or_default()
    }

    /// The payload of the last message of a refused stream, with another sentence.
    pub fn last_payload(self, why: &str) -> Value {
        let (status_code, error_code, _) = self.row();
        end_of_results(json!({ "statusCode": status_code, "why": why, "errorCode": error_code }))
    }

    /// The response with another sentence.
    pub fn reply_with(self, why: &str) -> Reply {
        let mut reply = Response::new(Full::new(self.body(why)));
        *reply.status_mut() = self.status();
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        reply
    }

    pub fn reply(self) -> Reply {
        self.reply_with(self.why())
    }
}

impl From<Class> for ErrorCode {
    fn from(class: Class) -> Self {
        match class {
            Class::Malformed => Self::Malformed,
            Class::HeadTooLong => Self::HeadTooLong,
            Class::Unauthorised => Self::Unauthorised,
            Class::NotFound => Self::NotFound,
            Class::IntentRequired => Self::IntentRequired,
            Class::IntentInvalid => Self::IntentInvalid,
            Class::IntentStale => Self::IntentStale,
            Class::IntentReplayed => Self::IntentReplayed,
            Class::IntentStepUp => Self::IntentStepUp,
            Class::OurFailure => Self::Unavailable,
        }
    }
}

impl From<&BodyError> for ErrorCode {
    fn from(error: &BodyError) -> Self {
        match error {
            BodyError::TooLarge { .. } => Self::BodyTooLong,
            BodyError::Broken | BodyError::Slow => Self::Malformed,
        }
    }
}

/// Adds to a refusal's payload that no result follows. The Go Core ignores a message's type and
/// status, and hands the payload on to UCloud's page, which waits for this member.
pub fn end_of_results(mut payload: Value) -> Value {
    if let Some(members) = payload.as_object_mut() {
        members.insert("type".to_owned(), "end_of_results".into());
    }
    payload
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_protocol::Refused;

    #[test]
    fn the_body_is_what_every_process_reads_as_a_refusal() {
        let check = |told: ErrorCode, why: &str, want: (u16, &str)| {
            let refused: Refused = serde_json::from_slice(&told.body(why)).unwrap();
            assert_eq!((refused.status_code, refused.error_code.as_str(), refused.why.as_str()), (want.0, want.1, why));
            assert_eq!(told.status().as_u16(), want.0, "{told:?}");
        };
        check(ErrorCode::NoInstance, "none", (449, "NO_INSTANCE"));
        check(ErrorCode::IntentInvalid, "a \"quoted\"\nword", (482, "INTENT_INVALID"));
        check(ErrorCode::Unavailable, "", (503, "UNAVAILABLE"));
    }

    #[test]
    fn v61_what_is_wrong_with_an_intent_is_no_part_of_its_class() {
        assert_eq!(ErrorCode::from(Class::IntentInvalid), ErrorCode::IntentInvalid);
        assert!(!ErrorCode::from(Class::IntentInvalid).is_failure());
        assert!(ErrorCode::from(Class::OurFailure).is_failure());
    }
}
