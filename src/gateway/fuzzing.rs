//! Fuzz targets of the gateway: other parsers read each accepted input in the same way, and it has
//! one encoding.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_keys::call::SessionEndpoint;
use http::header::{CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::{HeaderValue, Request, Version};

use crate::http1::head::{self, Purpose};
use crate::http1::request_syntax::{HEAD_MAX, HEADERS_MAX, measure};
use crate::http1::upgrade;
use crate::pipeline::session::Asked;

pub use crate::websocket::fuzzing as socket;

/// Reads the bytes as the head of a request.
pub fn head(bytes: &[u8]) {
    let whole = measure(bytes, 0);
    // The result does not depend on how the input is split.
    for cut in [1, bytes.len() / 2, bytes.len().saturating_sub(1)] {
        let Some(part) = bytes.get(..cut) else { continue };
        match measure(part, 0) {
            Ok(None) => assert_eq!(measure(bytes, cut), whole, "cut at {cut}"),
            Ok(Some(end)) => assert_eq!(whole, Ok(Some(end)), "cut at {cut}"),
            Err(_) => assert!(whole.is_err(), "cut at {cut}"),
        }
    }
    let Ok(Some(end)) = whole else { return };
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut read = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = read.parse(bytes).expect("what we take the parser takes") else {
        panic!("what we take as whole the parser does not");
    };
    assert!(length <= HEAD_MAX);
    let Some(parts) = parts(&read) else { return };
    let body = parts.headers.get(CONTENT_LENGTH).map_or(0, |length| length.to_str().unwrap().parse().unwrap());
    assert_eq!(u64::try_from(length).unwrap() + body, end, "two ends of one message");
    plain(&parts, Purpose::Request);
    plain(&parts, Purpose::Upgrade);
    handshake(&parts);
    for (endpoint, _, _) in SessionEndpoint::ALL {
        session(endpoint, &parts);
    }
}

fn parts(read: &httparse::Request<'_, '_>) -> Option<Parts> {
    let mut request = Request::builder().version(Version::HTTP_11).method(read.method?).uri(read.path?);
    for header in read.headers.iter() {
        request = request.header(header.name, HeaderValue::from_bytes(header.value).ok()?);
    }
    Some(request.body(()).ok()?.into_parts().0)
}

/// An accepted head is unambiguous.
fn plain(parts: &Parts, purpose: Purpose) {
    if head::check(parts, purpose).is_err() {
        return;
    }
    let headers = &parts.headers;
    assert_eq!(headers.get_all(HOST).iter().count(), 1);
    assert!(!["transfer-encoding", "content-encoding", "trailer"].iter().any(|name| headers.contains_key(*name)));
    assert!(purpose == Purpose::Upgrade || !headers.contains_key("upgrade"));
    let path = parts.uri.path();
    assert!(
        !path.contains(['%', '\\', ';', '#']) && !path.split('/').any(|name| name == ".." || name == "."),
        "{path}"
    );
    for option in headers.get_all("connection") {
        for option in option.to_str().unwrap().split(',').map(str::trim) {
            let decides = ["authorization", "ucloud-username", "ucloud-signed-intent", "content-length", "host"];
            assert!(!decides.iter().any(|name| name.eq_ignore_ascii_case(option) && headers.contains_key(*name)));
        }
    }
}

/// An accepted handshake follows RFC 6455.
fn handshake(parts: &Parts) {
    let Ok(key) = upgrade::read(parts) else { return };
    let bytes = STANDARD.decode(key.as_str()).unwrap();
    assert_eq!((bytes.len(), STANDARD.encode(&bytes).as_str()), (16, key.as_str()), "two spellings of one key");
    assert_eq!(STANDARD.decode(key.accept()).unwrap().len(), 20);
    assert_eq!(parts.headers["sec-websocket-version"], "13");
    assert!(upgrade::is_asked(&parts.headers));
}

/// An accepted session request has one token and at most one proof, in query and headers together.
fn session(endpoint: SessionEndpoint, parts: &Parts) {
    let Ok(asked) = Asked::of(endpoint, parts) else { return };
    // In a header `&` is a character like others, and the token is refused when it is parsed.
    assert!(endpoint == SessionEndpoint::ChunkedUpload || !asked.token.contains('&'));
    let query = parts.uri.query().unwrap_or_default();
    let named = |name: &str| query.split('&').filter(|member| member.split('=').next() == Some(name)).count();
    assert!(named("token") <= 1 && named("session") <= 1);
    let proofs = named("intent") + parts.headers.get_all("ucloud-signed-intent").iter().count();
    assert_eq!(proofs, usize::from(asked.proof.is_some()), "a proof that was not looked at");
}
