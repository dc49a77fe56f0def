//! Sends a file's content: whole, or one requested range (RFC 9110 section 14). A sealed download
//! is always whole.

pub(crate) mod body;
#[cfg(fuzzing)]
pub mod fuzzing;
mod sealed;
#[cfg(test)]
mod tests;

use std::io;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use countersign_keys::seal::Sealer;
use countersign_keys::session::Unsealed;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{HeaderValue, Response, StatusCode};
use http_range_header::{RangeUnsatisfiableError, parse_range_header_with_max_ranges};

use self::body::{Answer, AnswerBody, FileBody, Part, whole};
use self::sealed::SealedBody;
use crate::files::outgoing::Outgoing;
use countersign_ipc::attachment;
use countersign_ipc::error_code::ErrorCode;

/// Most ranges of one request that are parsed.
const RANGES_MAX: NonZeroUsize = NonZeroUsize::new(16).unwrap();

/// The age from which a modification date is strong: two later changes cannot share its second (RFC
/// 9110 section 8.8.2.2).
const DATE_IS_STRONG_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug, Eq, PartialEq)]
enum RequestedRange {
    Whole,
    Part(RangeInclusive<u64>),
    /// No requested range can be satisfied.
    Nothing,
}

/// The name under which a browser would save a sealed body. The file's own is sealed too.
const SEALED_NAME: &str = "sealed";

/// Answers with the file, sealed.
pub(crate) fn sealed_download(file: Outgoing, sealer: Sealer) -> io::Result<Answer> {
    let mut answer = Response::new(AnswerBody::Sealed(Box::new(SealedBody::new(file, sealer)?)));
    set(&mut answer, CONTENT_TYPE, "application/octet-stream");
    set(&mut answer, CONTENT_DISPOSITION, &attachment::write(SEALED_NAME));
    Ok(answer)
}

/// Answers with the file or one range of it, in a session that was opened without a seal.
pub(crate) fn download(file: Outgoing, headers: &HeaderMap, _: Unsealed) -> Answer {
    plain(file, headers)
}

fn plain(file: Outgoing, headers: &HeaderMap) -> Answer {
    let length = file.length;
    let (name, tag, modified) =
        (attachment::write(&file.name), file.tag.clone(), httpdate::fmt_http_date(file.modified));
    let mut answer = match requested_range(&file, headers, SystemTime::now()) {
        RequestedRange::Whole => of_file(StatusCode::OK, FileBody::new(file, Part { offset: 0, length })),
        RequestedRange::Part(range) => {
            let body = FileBody::new(file, part(&range));
            let mut answer = of_file(StatusCode::PARTIAL_CONTENT, body);
            set(&mut answer, CONTENT_RANGE, &format!("bytes {}-{}/{length}", range.start(), range.end()));
            answer
        }
        RequestedRange::Nothing => {
            let mut answer = whole(ErrorCode::RangeNotSatisfiable.reply());
            set(&mut answer, CONTENT_RANGE, &format!("bytes */{length}"));
            return answer;
        }
    };
    set(&mut answer, ACCEPT_RANGES, "bytes");
    set(&mut answer, ETAG, &tag);
    set(&mut answer, LAST_MODIFIED, &modified);
    set(&mut answer, CONTENT_DISPOSITION, &name);
    answer
}

/// Reads the `Range` header. An invalid range counts as none (RFC 9110 section 14.2), and so does a
/// range of another content than the current one. Several ranges count as none as well: their
/// answer would need its own content type, and the gateway accepts none from an instance (S1).
fn requested_range(file: &Outgoing, headers: &HeaderMap, now: SystemTime) -> RequestedRange {
    let Some(range) = headers.get(RANGE).and_then(|value| value.to_str().ok()) else { return RequestedRange::Whole };
    if headers.get(IF_RANGE).is_some_and(|condition| !is_of(file, condition, now)) {
        return RequestedRange::Whole;
    }
    let ranges = parse_range_header_with_max_ranges(range, RANGES_MAX);
    match ranges.and_then(|ranges| ranges.validate(file.length)) {
        Ok(ranges) => match <[_; 1]>::try_from(ranges) {
            Ok([range]) => RequestedRange::Part(range),
            Err(_several) => RequestedRange::Whole,
        },
        Err(RangeUnsatisfiableError::Unsatisfiable | RangeUnsatisfiableError::Rejected(_)) => RequestedRange::Nothing,
        Err(_) => RequestedRange::Whole,
    }
}

/// Whether a condition names this content, by a strong tag or a strong date (RFC 9110 section
/// 13.1.5).
fn is_of(file: &Outgoing, condition: &HeaderValue, now: SystemTime) -> bool {
    let Ok(condition) = condition.to_str() else { return false };
    if condition.starts_with('"') || condition.starts_with("W/") {
        return condition == file.tag;
    }
    let is_strong = now.duration_since(file.modified).is_ok_and(|age| age >= DATE_IS_STRONG_AFTER);
    is_strong && condition == httpdate::fmt_http_date(file.modified)
}

const fn part(range: &RangeInclusive<u64>) -> Part {
    let (first, last) = (*range.start(), *range.end());
    Part { offset: first, length: last.saturating_sub(first).saturating_add(1) }
}

fn of_file(status: StatusCode, body: FileBody) -> Answer {
    let mut answer = Response::new(AnswerBody::File(body));
    *answer.status_mut() = status;
    set(&mut answer, CONTENT_TYPE, "application/octet-stream");
    answer
}

/// Every value set here is visible ASCII.
fn set(answer: &mut Answer, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}
