//! The typed values taken from the head of an upstream's response.
//!
//! Reads only the headers named here. One that cannot be parsed, or occurs twice, counts as absent.
//! Keeps no header's bytes: [`crate::response::instance_answer`] serialises each value (S1, V63).

use http::StatusCode;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED, RETRY_AFTER,
};
use httpdate::HttpDate;

use countersign_ipc::attachment;

/// Longest entity tag, in bytes with its quotes. An instance of ours sends 66.
const TAG_MAX: usize = 128;

/// Longest `Retry-After` of an upstream, in seconds: an hour. A longer one would look like an
/// outage of the gateway.
const RETRY_AFTER_MAX_S: u32 = 3_600;

/// Most digits of a number, too few to overflow a sum.
const DIGITS_MAX: usize = 18;

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Said {
    /// Of any value.
    pub(crate) status: StatusCode,
    /// Which part of a file the body is.
    pub(crate) range: Option<ContentRange>,
    /// `Accept-Ranges: bytes`.
    pub(crate) takes_ranges: bool,
    /// A strong or weak entity tag.
    pub(crate) tag: Option<String>,
    /// `Last-Modified`.
    pub(crate) modified: Option<HttpDate>,
    pub(crate) name: Option<String>,
    /// Seconds until the client may retry.
    pub(crate) retry_after_s: Option<u32>,
    /// In the response to `HEAD`, the length of the body that `GET` would have.
    pub(crate) length_of_get: Option<u64>,
}

/// `Content-Range` (RFC 9110 section 14.4), in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ContentRange {
    /// From the first byte to the last, of a whole.
    Part {
        first: u64,
        /// Not before the first, and before the length.
        last: u64,
        /// Length of the whole.
        of: u64,
    },
    /// The range cannot be satisfied.
    Unsatisfied {
        /// Length of the whole.
        of: u64,
    },
}

#[derive(Default)]
pub(super) struct Values<'h> {
    disposition: Once<'h>,
    range: Once<'h>,
    takes_ranges: Once<'h>,
    tag: Once<'h>,
    modified: Once<'h>,
    retry_after: Once<'h>,
}

/// The value of a header that occurs once.
#[derive(Clone, Copy, Default)]
enum Once<'h> {
    #[default]
    Absent,
    Value(&'h [u8]),
    Repeated,
}

impl<'h> Once<'h> {
    fn note(&mut self, value: &'h [u8]) {
        *self = if matches!(self, Self::Absent) { Self::Value(value) } else { Self::Repeated };
    }

    fn text(self) -> Option<&'h str> {
        match self {
            Self::Value(value) => str::from_utf8(value).ok(),
            Self::Absent | Self::Repeated => None,
        }
    }
}

impl<'h> Values<'h> {
    /// Notes a header, if it is one of those that are read.
    pub(super) fn note(&mut self, name: &str, value: &'h [u8]) {
        let slots = [
            (CONTENT_DISPOSITION, &mut self.disposition),
            (CONTENT_RANGE, &mut self.range),
            (ACCEPT_RANGES, &mut self.takes_ranges),
            (ETAG, &mut self.tag),
            (LAST_MODIFIED, &mut self.modified),
            (RETRY_AFTER, &mut self.retry_after),
        ];
        if let Some((_, slot)) = slots.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_str())) {
            slot.note(value);
        }
    }

    /// Parses the values.
    pub(super) fn said(&self, status: StatusCode) -> Said {
        Said {
            status,
            range: self.range.text().and_then(ContentRange::parse),
            takes_ranges: self.takes_ranges.text() == Some("bytes"),
            tag: self.tag.text().filter(|tag| is_entity_tag(tag)).map(ToOwned::to_owned),
            modified: self.modified.text().and_then(|date| date.parse().ok()),
            name: self.disposition.text().and_then(|value| attachment::read(value.as_bytes())),
            retry_after_s: self.retry_after.text().and_then(retry_after),
            length_of_get: None,
        }
    }
}

impl Said {
    /// Writes the headers of a file, which browsers save instead of displaying.
    pub(crate) fn write_of_file(&self, headers: &mut HeaderMap) {
        let text = |text: &str| HeaderValue::from_str(text).ok();
        let values = [
            (ACCEPT_RANGES, self.takes_ranges.then_some(HeaderValue::from_static("bytes"))),
            (ETAG, self.tag.as_deref().and_then(text)),
            (LAST_MODIFIED, self.modified.and_then(|date| text(&date.to_string()))),
        ];
        headers.extend(values.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let disposition = match &self.name {
            Some(name) => text(&attachment::write(name)),
            None => None,
        };
        headers.insert(CONTENT_DISPOSITION, disposition.unwrap_or(HeaderValue::from_static("attachment")));
    }
}

impl ContentRange {
    fn parse(value: &str) -> Option<Self> {
        let (range, of) = value.strip_prefix("bytes ")?.split_once('/')?;
        let of = number(of)?;
        if range == "*" {
            return Some(Self::Unsatisfied { of });
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        (first <= last && last < of).then_some(Self::Part { first, last, of })
    }
}

impl std::fmt::Display for ContentRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Part { first, last, of } => write!(f, "bytes {first}-{last}/{of}"),
            Self::Unsatisfied { of } => write!(f, "bytes */{of}"),
        }
    }
}

fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.len() <= DIGITS_MAX && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// In seconds. Refuses a date, which would depend on the client's clock.
fn retry_after(value: &str) -> Option<u32> {
    number(value).map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX).min(RETRY_AFTER_MAX_S))
}

/// RFC 9110 section 8.8.3, in ASCII.
fn is_entity_tag(value: &str) -> bool {
    let opaque = value.strip_prefix("W/").unwrap_or(value);
    let opaque = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    value.len() <= TAG_MAX
        && opaque.is_some_and(|opaque| opaque.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The headers written for a file from these headers of an upstream.
    fn written(headers: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut values = Values::default();
        for (name, value) in headers {
            values.note(name, value.as_bytes());
        }
        let mut written = HeaderMap::new();
        values.said(StatusCode::OK).write_of_file(&mut written);
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        written.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    }

    fn check(name: &str, value: &str, want: Option<&str>) {
        let written = written(&[(name, value)]);
        let got = written.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(got, want, "{name}: {value}");
    }

    #[test]
    fn v63_s01_a_typed_value_is_written_again_and_another_is_absent() {
        let range = |value: &str| ContentRange::parse(value).map(|range| range.to_string());
        for (value, want) in
            [("bytes 0-9/36", "bytes 0-9/36"), ("bytes 007-9/36", "bytes 7-9/36"), ("bytes */36", "bytes */36")]
        {
            assert_eq!(range(value).as_deref(), Some(want), "{value}");
        }
        for bad in ["bytes 0-36/36", "bytes 5-3/36", "bytes 0-9/*", "lines 0-9/36", "bytes 0-9", "bytes +0-9/36", ""] {
            assert_eq!(range(bad), None, "{bad}");
        }
        check("accept-ranges", "bytes", Some("bytes"));
        check("accept-ranges", "none, bytes", None);
        check("etag", "\"abc\"", Some("\"abc\""));
        check("etag", "W/\"a-b\"", Some("W/\"a-b\""));
        for bad in
            ["abc", "\"", "\"a b\"", "\"a\"b\"", "\"\u{e6}\"", "w/\"a\"", &format!("\"{}\"", "a".repeat(TAG_MAX))]
        {
            check("etag", bad, None);
        }
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        check("last-modified", date, Some(date));
        check("last-modified", "Sunday, 06-Nov-94 08:49:37 GMT", Some(date));
        for bad in ["yesterday", "Sun, 06 Nov 1894 08:49:37 GMT", "Sun, 06 Nov 99999 08:49:37 GMT", ""] {
            check("last-modified", bad, None);
        }
        check("content-disposition", "inline; filename=\"a.html\"", Some("attachment"));
        let want = "attachment; filename=\"a.html\"; filename*=UTF-8''a.html";
        check("content-disposition", "inline; filename*=UTF-8''a.html", Some(want));
    }

    #[test]
    fn v63_s01_a_header_that_is_not_named_is_not_read_and_one_that_stands_twice_is_absent() {
        let only = [("content-disposition".to_owned(), "attachment".to_owned())];
        for name in ["content-type", "content-security-policy", "set-cookie", "location", "link", "cache-control"] {
            assert_eq!(written(&[(name, "x")]), only, "{name}");
        }
        assert_eq!(written(&[("ETag", "\"a\""), ("etag", "\"b\"")]), only);
        assert_eq!(written(&[("etag", "\"a\""), ("etag", "\"a\"")]), only);
    }

    #[test]
    fn a_wait_is_a_bounded_number_of_seconds() {
        let check = |value: &str, want: Option<u32>| assert_eq!(retry_after(value), want, "{value}");
        check("0", Some(0));
        check("120", Some(120));
        check("999999999999", Some(RETRY_AFTER_MAX_S));
        for bad in ["", "-1", "1.5", "Sun, 06 Nov 1994 08:49:37 GMT", "9999999999999999999"] {
            check(bad, None);
        }
    }
}
