//! A file's content: whole, or in the ranges that were asked for (RFC 9110 section 14).

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{HeaderValue, Response, StatusCode};
use http_range_header::{RangeUnsatisfiableError, parse_range_header_with_max_ranges};

use super::body::{Answer, AnswerBody, FileBody, Part, whole};
use crate::clock::{NoRandomness, random_bytes};
use crate::ipc::answers::Told;
use crate::user::files::outgoing::Outgoing;

/// Ranges in one request at most. A player asks for one, a tool that mends a file for a few.
const RANGES_MAX: NonZeroUsize = NonZeroUsize::new(16).unwrap();

/// What every file is to a browser: nothing that it would run or show.
const ANY_BYTES: &str = "application/octet-stream";

/// From when on two changes cannot share a second, so that a date names one content (RFC 9110 section 8.8.2.2).
const DATE_IS_STRONG_AFTER: Duration = Duration::from_secs(60);

/// What of a file is asked for.
#[derive(Debug, Eq, PartialEq)]
enum Asked {
    Whole,
    Some(Vec<RangeInclusive<u64>>),
    /// Nothing that there is.
    Nothing,
}

/// Answers with the file, or with parts of it.
pub(crate) fn download(file: Outgoing, headers: &HeaderMap) -> Answer {
    let length = file.length;
    let (name, tag, modified) = (disposition(&file.name), file.tag.clone(), httpdate::fmt_http_date(file.modified));
    let answer = match asked(&file, headers, SystemTime::now()) {
        Asked::Whole => {
            let whole = (length > 0).then_some(Part::Of { offset: 0, length });
            Ok(of_file(StatusCode::OK, ANY_BYTES, FileBody::new(file, whole)))
        }
        Asked::Some(ranges) => match ranges.as_slice() {
            [range] => {
                let body = FileBody::new(file, [part(range)]);
                let mut answer = of_file(StatusCode::PARTIAL_CONTENT, ANY_BYTES, body);
                set(&mut answer, CONTENT_RANGE, &content_range(range, length));
                Ok(answer)
            }
            several => multipart(file, several),
        },
        Asked::Nothing => {
            let mut answer = whole(Told::RangeNotSatisfiable.reply());
            set(&mut answer, CONTENT_RANGE, &format!("bytes */{length}"));
            return answer;
        }
    };
    let Ok(mut answer) = answer else { return whole(Told::Unavailable.reply()) };
    set(&mut answer, ACCEPT_RANGES, "bytes");
    set(&mut answer, ETAG, &tag);
    set(&mut answer, LAST_MODIFIED, &modified);
    set(&mut answer, CONTENT_DISPOSITION, &name);
    answer
}

/// A range that cannot be read is as none (RFC 9110 section 14.2); so is one of another content than there is now.
fn asked(file: &Outgoing, headers: &HeaderMap, now: SystemTime) -> Asked {
    let Some(wanted) = headers.get(RANGE).and_then(|value| value.to_str().ok()) else { return Asked::Whole };
    if headers.get(IF_RANGE).is_some_and(|condition| !is_of(file, condition, now)) {
        return Asked::Whole;
    }
    let ranges = parse_range_header_with_max_ranges(wanted, RANGES_MAX);
    match ranges.and_then(|ranges| ranges.validate(file.length)) {
        // Sixteen times the whole file is nothing that anybody needs (RFC 9110 section 14.2).
        Ok(ranges) if ranges.is_empty() || overlap(&ranges) => Asked::Whole,
        Ok(ranges) => Asked::Some(ranges),
        Err(RangeUnsatisfiableError::Unsatisfiable | RangeUnsatisfiableError::Rejected(_)) => Asked::Nothing,
        Err(_) => Asked::Whole,
    }
}

/// Whether some byte is in two of them.
fn overlap(ranges: &[RangeInclusive<u64>]) -> bool {
    let mut sorted: Vec<_> = ranges.iter().map(|range| (*range.start(), *range.end())).collect();
    sorted.sort_unstable();
    sorted.array_windows().any(|[(_, end), (start, _)]| start <= end)
}

/// Whether a condition is of this content: by a strong tag, or by a date that is one (RFC 9110 section 13.1.5).
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
    Part::Of { offset: first, length: last.saturating_sub(first).saturating_add(1) }
}

fn content_range(range: &RangeInclusive<u64>, length: u64) -> String {
    format!("bytes {}-{}/{length}", range.start(), range.end())
}

/// Several ranges, in the order that was asked for (RFC 9110 section 14.6).
fn multipart(file: Outgoing, ranges: &[RangeInclusive<u64>]) -> Result<Answer, NoRandomness> {
    let boundary: String = random_bytes::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    let length = file.length;
    let mut parts = Vec::with_capacity(ranges.len().saturating_mul(2).saturating_add(1));
    for range in ranges {
        let content_range = content_range(range, length);
        let head = format!("\r\n--{boundary}\r\nContent-Type: {ANY_BYTES}\r\nContent-Range: {content_range}\r\n\r\n");
        parts.extend([Part::Text(Bytes::from(head)), part(range)]);
    }
    parts.push(Part::Text(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
    let kind = format!("multipart/byteranges; boundary={boundary}");
    Ok(of_file(StatusCode::PARTIAL_CONTENT, &kind, FileBody::new(file, parts)))
}

fn of_file(status: StatusCode, kind: &str, body: FileBody) -> Answer {
    let mut answer = Response::new(AnswerBody::File(body));
    *answer.status_mut() = status;
    set(&mut answer, CONTENT_TYPE, kind);
    answer
}

/// What is written here is visible ASCII throughout.
fn set(answer: &mut Answer, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// To be kept under that name (RFC 6266): in ASCII for whoever reads no more, and in full (RFC 8187).
fn disposition(name: &str) -> String {
    let is_plain =
        |letter: char| letter.is_ascii_graphic() && !matches!(letter, '"' | '\\' | '%' | '/') || letter == ' ';
    let plain: String = name.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
    // The characters that RFC 8187 section 3.2.1 lets stand for themselves.
    let is_itself = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte);
    let full: String = name
        .bytes()
        .map(|byte| if is_itself(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{full}")
}

#[cfg(fuzzing)]
pub mod fuzzing;
#[cfg(test)]
mod tests;
