//! Checks the syntax of an HTTP/1.1 request head, and finds the end of its message, before `hyper`
//! reads a byte of it.
//!
//! Stricter than RFC 9112 and never laxer, so that all parsers agree on each message that passes.
//! Lines end with CRLF. A target is a path without a fragment, which `http` would drop silently. A
//! body has one length. Interprets no other header: [`super::head`] and `countersign_keys` do.

use http::header::{CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use memchr::memchr_iter;

use crate::http1::head::HeadRejection;

/// Longest head, in bytes: an intent of 16 KiB, Core's token, and their names.
pub(crate) const HEAD_MAX: usize = 32 * 1024;

/// Most header lines. Core sends seven.
pub(crate) const HEADERS_MAX: usize = 64;

/// Most digits of a `Content-Length`: longer than any real body, and too short to overflow a sum.
const LENGTH_DIGITS_MAX: usize = 15;

/// Measures a message in bytes; `None` while its head is incomplete. Skips lines that ended within
/// the first `looked_at` bytes, which an earlier call checked.
pub(crate) fn measure(bytes: &[u8], looked_at: usize) -> Result<Option<u64>, HeadRejection> {
    let Some(end) = find_end(bytes, looked_at)? else {
        // A wrong request line is refused at once, before the head is complete.
        Lines(bytes).next().map_or(Ok(()), check_request_line)?;
        return if bytes.len() < HEAD_MAX { Ok(None) } else { Err(HeadRejection::TooLong) };
    };
    let head = bytes.get(..end).filter(|head| head.len() <= HEAD_MAX).ok_or(HeadRejection::TooLong)?;
    let mut lines = Lines(head);
    check_request_line(lines.next().unwrap_or_default())?;
    let mut body = None;
    for (count, line) in lines.take_while(|line| !line.is_empty()).enumerate() {
        if count >= HEADERS_MAX {
            return Err(HeadRejection::TooLong);
        }
        let (name, value) = check_field(line)?;
        if let Some(framing) = framing_in_disguise(name) {
            return Err(HeadRejection::Framing(framing));
        }
        if name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str().as_bytes()) {
            if body.replace(length(value)?).is_some() {
                return Err(HeadRejection::Repeated(CONTENT_LENGTH));
            }
        } else if name.eq_ignore_ascii_case(TRANSFER_ENCODING.as_str().as_bytes()) {
            return Err(HeadRejection::Framing(TRANSFER_ENCODING));
        }
    }
    let head = u64::try_from(head.len()).unwrap_or(u64::MAX);
    Ok(Some(head.saturating_add(body.unwrap_or(0))))
}

/// Finds the end of the empty line that ends the head.
fn find_end(bytes: &[u8], looked_at: usize) -> Result<Option<usize>, HeadRejection> {
    for at in memchr_iter(b'\n', bytes.get(looked_at..).unwrap_or_default()) {
        let before = bytes.get(..looked_at.saturating_add(at)).unwrap_or_default();
        let Some(line) = before.strip_suffix(b"\r") else {
            return Err(HeadRejection::Grammar("a line that does not end with CRLF"));
        };
        if line.is_empty() {
            return Err(HeadRejection::Grammar("an empty line before the request"));
        }
        if line.ends_with(b"\n") {
            return Ok(Some(before.len().saturating_add(1)));
        }
    }
    Ok(None)
}

/// The complete lines, without their ends.
struct Lines<'h>(&'h [u8]);

impl<'h> Iterator for Lines<'h> {
    type Item = &'h [u8];

    fn next(&mut self) -> Option<&'h [u8]> {
        let at = memchr::memchr(b'\n', self.0)?;
        let (line, rest) = self.0.split_at_checked(at.saturating_add(1))?;
        self.0 = rest;
        line.strip_suffix(b"\r\n")
    }
}

/// Checks `METHOD SP /path?query SP HTTP/1.1`.
fn check_request_line(line: &[u8]) -> Result<(), HeadRejection> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(HeadRejection::Grammar("not a method, a target and a version with a space between"));
    };
    if !is_token(method) {
        return Err(HeadRejection::Grammar("a method that is not a token"));
    }
    if version != b"HTTP/1.1" {
        return Err(HeadRejection::Version);
    }
    let is_path = target.starts_with(b"/") && target.iter().all(|byte| is_of_target(*byte));
    if is_path { Ok(()) } else { Err(HeadRejection::Target) }
}

/// Characters of a path or query in RFC 3986, which exclude `#`.
const fn is_of_target(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'/' | b'?'
                | b'-'
                | b'.'
                | b'_'
                | b'~'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        )
}

/// Splits `name: value`. The name has to be a token; the value may have no control character but
/// the tab.
fn check_field(line: &[u8]) -> Result<(&[u8], &[u8]), HeadRejection> {
    let colon = memchr::memchr(b':', line).ok_or(HeadRejection::Grammar("a header line without a colon"))?;
    let (name, value) = line.split_at_checked(colon).unwrap_or_default();
    if !is_token(name) {
        return Err(HeadRejection::Grammar("a header name that is not a token"));
    }
    // A fold without early exit, which the compiler vectorises: values are most of a head.
    let is_text = value.iter().fold(true, |is_text, &byte| is_text & ((byte >= b' ' && byte != 0x7f) || byte == b'\t'));
    if !is_text {
        return Err(HeadRejection::Grammar("a control character in a header"));
    }
    Ok((name, value.get(1..).unwrap_or_default().trim_ascii()))
}

/// Finds a framing header written with `_`, which parsers in front of CGI read as `-`.
fn framing_in_disguise(name: &[u8]) -> Option<HeaderName> {
    let has_underscore = memchr::memchr(b'_', name).is_some();
    let reads_as = |known: &HeaderName| {
        let known = known.as_str().as_bytes();
        let is_same = |(byte, known): (&u8, &u8)| byte.eq_ignore_ascii_case(known) || (*byte == b'_' && *known == b'-');
        name.len() == known.len() && name.iter().zip(known).all(is_same)
    };
    [CONTENT_LENGTH, TRANSFER_ENCODING].into_iter().find(|known| has_underscore && reads_as(known))
}

/// RFC 9110 section 5.6.2.
fn is_token(word: &[u8]) -> bool {
    let is_of_token = |byte: &u8| matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'^'..=b'z' | b'|' | b'~');
    !word.is_empty() && word.iter().all(is_of_token)
}

fn length(value: &[u8]) -> Result<u64, HeadRejection> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits
        .filter(|digits| digits.len() <= LENGTH_DIGITS_MAX)
        .and_then(|digits| digits.parse().ok())
        .ok_or(HeadRejection::Grammar("a Content-Length that is not a length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "POST /ucloud/hpc/files/move HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nX: \tb\u{e6}\r\n\r\n";

    #[test]
    fn a_message_ends_where_its_length_says() {
        let bytes = format!("{GOOD}{{}}GET / HTTP/1.1\r\n");
        let whole = u64::try_from(GOOD.len() + 2).unwrap();
        assert_eq!(measure(bytes.as_bytes(), 0), Ok(Some(whole)));
        for cut in 0..GOOD.len() {
            assert_eq!(measure(&bytes.as_bytes()[..cut], 0), Ok(None), "{cut}");
            assert_eq!(measure(bytes.as_bytes(), cut), Ok(Some(whole)), "{cut} looked at");
        }
        assert_eq!(measure(b"GET /a?b=%20 HTTP/1.1\r\n\r\nx", 0), Ok(Some(25)), "without a body");
    }

    #[test]
    fn v02_what_another_reader_might_read_otherwise_is_refused() {
        let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
        let field = |field: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
        let refused = |text: String| measure(text.as_bytes(), 0).unwrap_err();
        for target in ["/a#b", "/#", "*", "a", "http://a/", "/a\"", "/a\\b", "/a|b", "/a<b", "/\u{e6}", "/a\tb", ""] {
            assert_eq!(refused(line(&format!("GET {target} HTTP/1.1"))), HeadRejection::Target, "{target}");
        }
        for version in ["HTTP/1.0", "HTTP/2.0", "HTTP/1.1 ", "http/1.1", "HTTP/1.11", ""] {
            let rejection = refused(line(&format!("GET / {version}")));
            assert!(matches!(rejection, HeadRejection::Version | HeadRejection::Grammar(_)), "{version}");
        }
        let grammar = [
            line("GET /"),
            line("GET  / HTTP/1.1"),
            line(" GET / HTTP/1.1"),
            line("G(T / HTTP/1.1"),
            line("\r\nGET / HTTP/1.1"),
            "GET / HTTP/1.1\nHost: a\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a\n\n".to_owned(),
            "GET / HTTP/1.1\n".to_owned(),
            "GET /\r\n".to_owned(),
            field("X: a\rb"),
            field("X: a\0b"),
            field("X: a\x7fb"),
            field("X : a"),
            field(" X: a"),
            field(": a"),
            field("nonsense"),
            field("Content-Length: +1"),
            field("Content-Length: -1"),
            field("Content-Length: 0x1"),
            field("Content-Length: 1, 1"),
            field("Content-Length:"),
            field("Content-Length: 1000000000000000"),
        ];
        for text in grammar {
            assert!(matches!(refused(text.clone()), HeadRejection::Grammar(_)), "{text:?}");
        }
        let twice = field("Content-Length: 1\r\ncontent-length: 1");
        assert_eq!(refused(twice), HeadRejection::Repeated(CONTENT_LENGTH));
        assert_eq!(refused(field("transfer-Encoding: x")), HeadRejection::Framing(TRANSFER_ENCODING));
        assert_eq!(refused(field("Transfer_encoding: x")), HeadRejection::Framing(TRANSFER_ENCODING));
        assert_eq!(refused(field("Content-Length: 1\r\nContent_Length: 1")), HeadRejection::Framing(CONTENT_LENGTH));
    }

    #[test]
    fn v07_a_head_has_an_end() {
        let long = |value: usize| format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(value));
        let room = HEAD_MAX - long(0).len();
        assert!(matches!(measure(long(room).as_bytes(), 0), Ok(Some(_))));
        assert_eq!(measure(long(room + 1).as_bytes(), 0), Err(HeadRejection::TooLong));
        assert_eq!(measure(&long(HEAD_MAX).as_bytes()[..HEAD_MAX], 0), Err(HeadRejection::TooLong), "no end in sight");
        let many = |lines: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "X: a\r\n".repeat(lines));
        assert!(measure(many(HEADERS_MAX).as_bytes(), 0).is_ok());
        assert_eq!(measure(many(HEADERS_MAX + 1).as_bytes(), 0), Err(HeadRejection::TooLong));
    }
}
