//! The answer to a WebSocket upgrade (RFC 6455 section 4.2).
//!
//! The gateway has checked the client's request strictly and made this one. The instance only reads
//! and answers it.

use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use countersign_ipc::error_code::Reply;

/// The accept header of a connection that becomes a WebSocket.
pub(super) struct Accept(HeaderValue);

/// Checks whether a request asks for another protocol.
pub(crate) fn is_asked<B>(request: &Request<B>) -> bool {
    request.headers().contains_key(UPGRADE)
}

impl Accept {
    /// Reads an upgrade request. Returns `None` unless it asks for WebSocket version 13 with a key.
    pub(super) fn of(head: &Parts) -> Option<Self> {
        let is = |name, value: &str| {
            head.headers.get(name).is_some_and(|said| said.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
        };
        if !is(UPGRADE, "websocket") || !is(SEC_WEBSOCKET_VERSION, "13") {
            return None;
        }
        let key = head.headers.get(SEC_WEBSOCKET_KEY)?;
        HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok().map(Self)
    }

    /// The answer after which the connection is a WebSocket.
    pub(super) fn reply(self) -> Reply {
        let mut reply = Response::new(Full::new(Bytes::new()));
        *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = reply.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.0);
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard() {
        let request = |upgrade: &str, version: &str| {
            let request = http::Request::builder()
                .header(UPGRADE, upgrade)
                .header(SEC_WEBSOCKET_VERSION, version)
                .header(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==");
            request.body(()).unwrap().into_parts().0
        };
        let reply = Accept::of(&request("WebSocket", "13")).unwrap().reply();
        assert_eq!(reply.status(), 101);
        assert_eq!(reply.headers().get(SEC_WEBSOCKET_ACCEPT).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(Accept::of(&request("h2c", "13")).is_none());
        assert!(Accept::of(&request("websocket", "8")).is_none());
    }
}
