//! Rejects ambiguous request heads, for every call (request smuggling, RFC 9112 section 11.2).
//!
//! [`super::request_syntax`] rejects what breaks the grammar: bare CR, NUL, folded lines, a space
//! before the colon, `Content-Length` fields that disagree. This module rejects heads that are
//! valid and still ambiguous. The security headers are left to `countersign_keys` (V02, V31).

mod rejection;

use http::header::{ACCEPT_ENCODING, EXPECT, HOST, HeaderMap, HeaderName, TE, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Version};

pub(crate) use self::rejection::HeadRejection;
use crate::http1::request_syntax::{HEAD_MAX, HEADERS_MAX};

/// Longest path and query, in bytes. The longest path of the table has 60. The query of a download
/// or socket has a token and its user's proof, 1.5 KiB with the longest signature.
const TARGET_MAX: usize = 4_096;

/// Headers that `Connection` may name beside its own options. It may remove no other, so that no
/// verified header can vanish (V31).
const MAY_BE_TAKEN_BACK: [HeaderName; 5] =
    [TE, ACCEPT_ENCODING, UPGRADE, HeaderName::from_static("keep-alive"), HeaderName::from_static("proxy-connection")];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// A request and its response, followed by the next request.
    Request,
    /// A switch to another protocol on the same connection.
    Upgrade,
}

/// How a header is treated, by its name.
enum Kind {
    /// Message framing or coding. All are refused: bodies come with `Content-Length`, whole and
    /// plain. Without them no two parsers can split the stream at different places.
    Framing,
    /// May occur once.
    Single,
    /// Names other headers.
    Connection,
    /// May repeat; nothing here depends on it.
    Any,
}

/// Headers that the gateway reads, besides those of framing.
const READ: [&str; 21] = [
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "chunked-upload-offset",
    "chunked-upload-token",
    "chunked-upload-total-size",
    "host",
    "if-none-match",
    "if-range",
    "origin",
    "range",
    "sec-fetch-dest",
    "sec-websocket-key",
    "sec-websocket-version",
    "service-worker",
    "te",
    "ucloud-session-enc",
    "ucloud-signed-intent",
    "ucloud-username",
];

/// Drops each header that the gateway does not read and whose value is not ASCII, such as a cookie
/// of a parent domain (R8). Runs before the checks, so that they see what the gateway later reads.
pub(crate) fn drop_unread(headers: &mut HeaderMap) {
    let is_dropped = |name: &HeaderName, value: &HeaderValue| {
        let is_read = !matches!(kind(name), Kind::Any) || READ.contains(&name.as_str());
        !is_read && !value.as_bytes().is_ascii()
    };
    let dropped: Vec<HeaderName> =
        headers.iter().filter(|(name, value)| is_dropped(name, value)).map(|(name, _)| name.clone()).collect();
    for name in dropped {
        headers.remove(name);
    }
}

/// Refuses an ambiguous head.
pub(crate) fn check(head: &Parts, purpose: Purpose) -> Result<(), HeadRejection> {
    check_target(head)?;
    check_headers(head, purpose)
}

/// As [`check`], for an application's own paths and methods. The next parser is hyper's, as here.
pub(crate) fn check_web(head: &Parts, purpose: Purpose) -> Result<(), HeadRejection> {
    let is_absolute =
        head.version == Version::HTTP_11 && (head.uri.scheme().is_some() || head.uri.authority().is_some());
    let is_own = [http::Method::CONNECT, http::Method::TRACE].contains(&head.method);
    if is_absolute || is_own || !head.uri.path().starts_with('/') {
        return Err(HeadRejection::Target);
    }
    check_headers(head, purpose)
}

fn check_headers(head: &Parts, purpose: Purpose) -> Result<(), HeadRejection> {
    match head.version {
        Version::HTTP_11 | Version::HTTP_2 => {}
        _ => return Err(HeadRejection::Version),
    }
    // HTTP/1.1 heads had both checked before they were parsed. The length of an HTTP/2 list is that
    // of its names and values.
    let length: usize = head.headers.iter().map(|(name, value)| name.as_str().len().saturating_add(value.len())).sum();
    if head.headers.len() > HEADERS_MAX || length > HEAD_MAX {
        return Err(HeadRejection::TooLong);
    }
    let mut hosts = head.headers.get_all(HOST).iter();
    check_host(head, hosts.next(), hosts.next())?;
    // Values of one name follow each other in this iteration.
    let mut before = None;
    for (name, value) in &head.headers {
        // A fold without early exit, which the compiler vectorises: values are most of a head.
        let is_visible = |is_visible, byte: &u8| is_visible & matches!(byte, b'\t' | b' '..=b'~');
        if !value.as_bytes().iter().fold(true, is_visible) {
            return Err(HeadRejection::Bytes(name.clone()));
        }
        match kind(name) {
            Kind::Framing if name == UPGRADE && purpose == Purpose::Upgrade => {} // [`crate::http1::upgrade`] judges it
            Kind::Framing => return Err(HeadRejection::Framing(name.clone())),
            Kind::Single if before == Some(name) => return Err(HeadRejection::Repeated(name.clone())),
            Kind::Single if name == EXPECT && !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
                return Err(HeadRejection::Expectation);
            }
            Kind::Connection => check_connection(value, &head.headers)?,
            Kind::Single | Kind::Any => {}
        }
        before = Some(name);
    }
    Ok(())
}

fn kind(name: &HeaderName) -> Kind {
    match name.as_str() {
        "transfer-encoding" | "trailer" | "upgrade" | "content-encoding" | "http2-settings" => Kind::Framing,
        "content-length" | "content-type" | "expect" | "origin" | "range" | "if-range" | "content-digest" => {
            Kind::Single
        }
        "chunked-upload-token" | "chunked-upload-offset" | "chunked-upload-total-size" | "ucloud-session-enc" => {
            Kind::Single
        }
        "connection" => Kind::Connection,
        _ => Kind::Any,
    }
}

/// Requires a path without percent-encoding, dot segments or backslashes. The table's paths have
/// none, and parsers differ in decoding them.
fn check_target(head: &Parts) -> Result<(), HeadRejection> {
    let is_absolute =
        head.version == Version::HTTP_11 && (head.uri.scheme().is_some() || head.uri.authority().is_some());
    let target = head.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let path = head.uri.path();
    let is_plain = path.starts_with('/')
        && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~'))
        && !path.split('/').any(|segment| matches!(segment, "." | ".."));
    if is_absolute || target.len() > TARGET_MAX || !is_plain { Err(HeadRejection::Target) } else { Ok(()) }
}

/// Requires one authority: `Host` in HTTP/1.1; `:authority` in HTTP/2, with which a `Host` has to
/// agree (RFC 9113 section 8.3.1).
fn check_host(head: &Parts, host: Option<&HeaderValue>, second: Option<&HeaderValue>) -> Result<(), HeadRejection> {
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = match (head.version, host.map(HeaderValue::as_bytes), authority, second) {
        (Version::HTTP_2, None, Some(authority), None) => authority,
        (Version::HTTP_2, Some(host), Some(authority), None) if host.eq_ignore_ascii_case(authority) => host,
        (Version::HTTP_2, Some(host), None, None) => host,
        (Version::HTTP_11, Some(host), None, None) => host,
        _ => return Err(HeadRejection::Host),
    };
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'[' | b']');
    if host.is_empty() || host.len() > 262 || !host.iter().all(is_host) { Err(HeadRejection::Host) } else { Ok(()) }
}

fn check_connection(value: &HeaderValue, headers: &HeaderMap) -> Result<(), HeadRejection> {
    for option in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        let Ok(name) = HeaderName::from_bytes(option) else {
            continue; // empty, or not a header name: removes nothing
        };
        if headers.contains_key(&name) && !MAY_BE_TAKEN_BACK.contains(&name) {
            return Err(HeadRejection::TakenBack(name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use http::header::CONTENT_LENGTH;

    fn verdict(version: Version, target: &str, headers: &[(&str, &[u8])]) -> Result<(), HeadRejection> {
        let mut request = Request::builder().version(version).uri(target);
        for (name, value) in headers {
            request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
        }
        check(&request.body(()).unwrap().into_parts().0, Purpose::Request)
    }

    const HOST_OK: (&str, &[u8]) = ("host", b"hpc.example.org");

    fn with(name: &'static str, value: &'static [u8]) -> Result<(), HeadRejection> {
        verdict(Version::HTTP_11, "/ucloud/hpc/files/move", &[HOST_OK, ("content-length", b"2"), (name, value)])
    }

    #[test]
    fn a_plain_head_passes() {
        assert_eq!(with("user-agent", b"Go-http-client/1.1"), Ok(()));
        assert_eq!(with("accept-encoding", b"gzip"), Ok(()));
        assert_eq!(with("expect", b"100-continue"), Ok(()));
        assert_eq!(with("connection", b"keep-alive"), Ok(()));
    }

    #[test]
    fn only_a_plain_path_is_a_target() {
        let target = |target: &str| verdict(Version::HTTP_11, target, &[HOST_OK]);
        assert_eq!(target("/ucloud//hpc/files/"), Ok(()));
        for trick in ["/a/%2e%2e/b", "/a/../b", "/a/./b", "/%75cloud", "/a;b", "*", "http://h/a", "/a\\b", "/a:b"] {
            let Ok(uri) = trick.parse::<http::Uri>() else { continue };
            assert_eq!(target(&uri.to_string()), Err(HeadRejection::Target), "{trick}");
        }
        assert_eq!(target(&format!("/{}", "a".repeat(TARGET_MAX))), Err(HeadRejection::Target));
    }

    #[test]
    fn there_is_one_host() {
        let host = |version, target: &str, hosts: &[(&str, &[u8])]| verdict(version, target, hosts);
        let refused = Err(HeadRejection::Host);
        assert_eq!(host(Version::HTTP_11, "/", &[]), refused);
        assert_eq!(host(Version::HTTP_11, "/", &[HOST_OK, HOST_OK]), refused);
        for bad in [&b""[..], b"a b", b"a,b", b"user@a", b"a/b"] {
            assert_eq!(host(Version::HTTP_11, "/", &[("host", bad)]), refused);
        }
        assert_eq!(host(Version::HTTP_2, "https://hpc.example.org/", &[]), Ok(()));
        assert_eq!(host(Version::HTTP_2, "https://hpc.example.org/", &[HOST_OK]), Ok(()));
        assert_eq!(host(Version::HTTP_2, "https://other.example.org/", &[HOST_OK]), refused);
        assert_eq!(host(Version::HTTP_10, "/", &[HOST_OK]), Err(HeadRejection::Version));
    }

    #[test]
    fn nothing_but_content_length_cuts_a_message() {
        for (name, value) in [
            ("transfer-encoding", &b"chunked"[..]),
            ("transfer-encoding", b"identity"),
            ("trailer", b"x"),
            ("upgrade", b"websocket"),
            ("upgrade", b"h2c"),
            ("http2-settings", b"AAMAAABkAARAAAAAAAIAAAAA"),
            ("content-encoding", b"gzip"),
        ] {
            assert_eq!(with(name, value), Err(HeadRejection::Framing(HeaderName::from_static(name))));
        }
        assert_eq!(with("content-length", b"2"), Err(HeadRejection::Repeated(CONTENT_LENGTH)));
        assert_eq!(with("expect", b"200-ok"), Err(HeadRejection::Expectation));
    }

    #[test]
    fn v07_there_are_limits_for_http_2_as_well() {
        let list = |count: usize, length: usize| {
            let value = "a".repeat(length);
            let headers: Vec<(&str, &[u8])> = vec![("x-any", value.as_bytes()); count];
            verdict(Version::HTTP_2, "https://hpc.example.org/", &headers)
        };
        assert_eq!(list(HEADERS_MAX, 1), Ok(()));
        assert_eq!(list(HEADERS_MAX + 1, 1), Err(HeadRejection::TooLong));
        assert_eq!(list(1, HEAD_MAX - 5), Ok(()));
        assert_eq!(list(1, HEAD_MAX - 4), Err(HeadRejection::TooLong));
    }

    #[test]
    fn v09_values_are_visible_ascii() {
        assert_eq!(with("x-any", b"a\tb c~"), Ok(()));
        assert_eq!(with("x-any", b"\xc3\xa6"), Err(HeadRejection::Bytes(HeaderName::from_static("x-any"))));
    }

    #[test]
    fn r08_a_header_that_nothing_reads_may_have_any_bytes_and_is_gone() {
        let left = |name: &str, value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value).unwrap());
            drop_unread(&mut headers);
            headers.len()
        };
        for unread in ["cookie", "user-agent", "referer", "accept-language", "x-any"] {
            assert_eq!(
                (left(unread, b"a=\xc3\xb8"), left(unread, b"\xff"), left(unread, b"a=b")),
                (0, 0, 1),
                "{unread}"
            );
        }
        for read in READ.into_iter().chain(["content-length", "content-type", "connection", "transfer-encoding"]) {
            assert_eq!(left(read, b"\xc3\xb8"), 1, "{read} is judged");
        }
    }

    #[test]
    fn v31_connection_takes_nothing_back() {
        assert_eq!(with("connection", b"close, x-absent"), Ok(()));
        assert_eq!(with("connection", b"Host"), Err(HeadRejection::TakenBack(HOST)));
        assert_eq!(with("connection", b"close, Content-Length"), Err(HeadRejection::TakenBack(CONTENT_LENGTH)));
    }
}
