//! The opening handshake of a WebSocket (RFC 6455 section 4.2.1), strictly: HTTP/1.1, one spelling,
//! no body.
//!
//! Checks the form alone. Neither reads nor offers extensions and subprotocols, so a browser that
//! needs one does without it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{HeaderValue, Method, Version};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::http1::message_filter::{Early, UpgradeBoundary};
use crate::limits::connections::ClientConnection;
use countersign_os::clock::{NoRandomness, random_bytes};

pub(crate) const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// The only version.
const VERSION: &[u8] = b"13";

/// Bytes of a key before encoding.
const KEY_LENGTH: usize = 16;

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum UpgradeRejection {
    /// Not the opening handshake of a WebSocket.
    #[error("{0}")]
    Form(&'static str),
    /// Another version of WebSocket.
    #[error("a version of WebSocket other than 13")]
    Version,
}

/// A request for an upgrade, and the connection that the socket would take over.
pub(crate) struct PendingUpgrade {
    /// The connection's messages, of which this is the last.
    pub(crate) passage: UpgradeBoundary,
    /// The number of this message.
    pub(crate) number: u64,
    /// Turns true when sockets are to end.
    pub(crate) stop: watch::Receiver<bool>,
    /// The connection, whose place the socket keeps.
    pub(crate) client: Arc<ClientConnection>,
}

impl PendingUpgrade {
    /// Checks that nothing follows this message: the client has to wait for the answer.
    pub(crate) fn check_last(&self) -> Result<(), Early> {
        self.passage.check_last(self.number)
    }
}

/// A client's key. A peer that derives the accept value has read the handshake.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Key(String);

impl Key {
    /// Draws a key for a handshake with an instance.
    pub(crate) fn new() -> Result<Self, NoRandomness> {
        Ok(Self(STANDARD.encode(random_bytes::<KEY_LENGTH>()?)))
    }

    /// As in the handshake.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The `Sec-WebSocket-Accept` value.
    pub(crate) fn accept(&self) -> String {
        derive_accept_key(self.0.as_bytes())
    }

    fn parse(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?;
        STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == KEY_LENGTH).then(|| Self(text.to_owned()))
    }
}

/// Whether a request asks for another protocol, of whatever kind.
pub(crate) fn is_asked(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
}

/// Checks an opening handshake and returns its key.
pub(crate) fn read(head: &Parts) -> Result<Key, UpgradeRejection> {
    let form =
        |holds: bool, else_it_is: &'static str| if holds { Ok(()) } else { Err(UpgradeRejection::Form(else_it_is)) };
    form(head.version == Version::HTTP_11, "an upgrade over something else than HTTP/1.1")?;
    form(head.method == Method::GET, "an upgrade that is not a GET request")?;
    form(only(head, &UPGRADE)?.as_bytes().eq_ignore_ascii_case(b"websocket"), "an upgrade to something else")?;
    let options =
        head.headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let mut options = options.map(<[u8]>::trim_ascii);
    form(options.any(|option| option.eq_ignore_ascii_case(b"upgrade")), "an upgrade that Connection does not name")?;
    let is_empty = head.headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0");
    form(is_empty && !head.headers.contains_key(EXPECT), "an upgrade with a body")?;
    if only(head, &SEC_WEBSOCKET_VERSION)?.as_bytes() != VERSION {
        return Err(UpgradeRejection::Version);
    }
    Key::parse(only(head, &SEC_WEBSOCKET_KEY)?).ok_or(UpgradeRejection::Form("a key that is not 16 bytes in base64"))
}

/// Returns the header of that name, which has to occur once.
fn only<'h>(head: &'h Parts, name: &HeaderName) -> Result<&'h HeaderValue, UpgradeRejection> {
    let mut values = head.headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(UpgradeRejection::Form("a header of the handshake is missing")),
        (Some(_), Some(_)) => Err(UpgradeRejection::Form("a header of the handshake stands twice")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 section 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    const GOOD: [(&str, &str); 5] = [
        ("host", "hpc.example.org"),
        ("upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-key", KEY),
        ("sec-websocket-version", "13"),
    ];

    fn verdict(method: &str, version: Version, headers: &[(&str, &str)]) -> Result<String, UpgradeRejection> {
        let mut request = http::Request::builder().method(method).version(version).uri("/ucloud/hpc/files");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(&request.body(()).unwrap().into_parts().0).map(|key| key.accept())
    }

    #[test]
    fn v52_the_handshake_of_rfc_6455_is_taken() {
        let accept = verdict("GET", Version::HTTP_11, &GOOD);
        assert_eq!(accept.as_deref(), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        let more = [&GOOD[..], &[("sec-websocket-extensions", "permessage-deflate"), ("content-length", "0")]].concat();
        assert_eq!(verdict("GET", Version::HTTP_11, &more), accept);
    }

    #[test]
    fn v52_and_nothing_like_it() {
        let is_form = |verdict| matches!(verdict, Err(UpgradeRejection::Form(_)));
        assert!(is_form(verdict("POST", Version::HTTP_11, &GOOD)));
        assert!(is_form(verdict("GET", Version::HTTP_2, &GOOD)));
        for (at, (name, _)) in GOOD.iter().enumerate().skip(1) {
            let mut lacking = GOOD.to_vec();
            lacking.remove(at);
            assert!(is_form(verdict("GET", Version::HTTP_11, &lacking)), "without {name}");
        }
        for at in [1, 3, 4] {
            let twice = [&GOOD[..], &GOOD[at..=at]].concat();
            assert!(is_form(verdict("GET", Version::HTTP_11, &twice)), "twice {}", GOOD[at].0);
        }
        let with = |name: &str, value: &'static str| {
            let mut headers = GOOD.to_vec();
            headers.retain(|(known, _)| *known != name);
            let name =
                GOOD.iter().map(|(known, _)| *known).chain(["content-length", "expect"]).find(|known| *known == name);
            headers.push((name.unwrap(), value));
            verdict("GET", Version::HTTP_11, &headers)
        };
        for (name, value) in [
            ("upgrade", "h2c"),
            ("upgrade", "websocket, h2c"),
            ("upgrade", ""),
            ("connection", "close"),
            ("connection", "upgraded"),
            ("content-length", "1"),
            ("expect", "100-continue"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZR=="),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub24="),
            ("sec-websocket-key", ""),
        ] {
            assert!(is_form(with(name, value)), "{name}: {value}");
        }
        for version in ["8", "13, 8", "", "013"] {
            assert_eq!(with("sec-websocket-version", version), Err(UpgradeRejection::Version), "{version}");
        }
    }
}
