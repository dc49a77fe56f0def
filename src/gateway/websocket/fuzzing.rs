//! Fuzz targets of WebSockets: no message exceeds the limit, and each has the same meaning to every
//! parser.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::io::{self, Cursor, Read, Write};

use countersign_keys::json::{DEPTH_MAX, Json};
use serde_json::Value;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::keepalive::{MESSAGE_MAX, limits};
use super::message::{Streams, Written, cancelled};
use super::shell::Initialise;

/// A client's bytes; discards what is written.
struct Bytes<'b>(Cursor<&'b [u8]>);

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Bytes<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads bytes as the frames of a client. Returns what the instance is sent for the messages that
/// end a stream.
pub fn frames(bytes: &[u8]) -> Vec<String> {
    let mut socket = WebSocket::from_raw_socket(Bytes(Cursor::new(bytes)), Role::Server, Some(limits()));
    let (streams, mut sent) = (Streams::default(), Vec::new());
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => {
                assert!(text.len() <= MESSAGE_MAX);
                streams.hear(&text);
                sent.extend(message(&text, &streams));
            }
            Ok(message) => assert!(message.len() <= MESSAGE_MAX),
            Err(Error::Io(_) | Error::ConnectionClosed | Error::AlreadyClosed) => return sent,
            Err(_) => return sent,
        }
    }
}

/// Reads a text as a message. Returns what is forwarded of it, if it ends a stream.
pub fn text(text: &str) -> Option<String> {
    message(text, &Streams::default())
}

fn message(text: &str, streams: &Streams) -> Option<String> {
    let written = Written::read(text).ok()??;
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        // Half a surrogate pair is skipped in members that are not read here. `countersign_keys`
        // refuses such a payload, and nothing else of it is forwarded.
        let is_refused = Json::parse(written.payload(), DEPTH_MAX).is_err();
        let sent = written.cancels().map(|cancel| cancelled(&cancel, &written).unwrap());
        assert!(is_refused != sent.is_some() || sent.is_none(), "{text}");
        return sent;
    };
    let members = value.as_object().expect("a message is an object");
    let known = ["call", "streamId", "payload", "bearer", "signedIntent", "causedBy", "project"];
    assert!(members.keys().all(|name| known.contains(&name.as_str())), "{text}");
    let said = |name: &str| members.get(name).and_then(Value::as_str).filter(|said| !said.is_empty());
    assert_eq!(members["call"], written.call.as_ref());
    assert_eq!(members["streamId"], written.stream_id.as_ref());
    assert_eq!((said("bearer"), said("signedIntent")), (written.bearer(), written.intent()));
    let payload: Value = serde_json::from_slice(written.payload()).expect("a payload is JSON");
    assert_eq!(members["payload"], payload);
    if let Ok(initialise) = serde_json::from_slice::<Initialise>(written.payload()) {
        let named = payload.get("sessionIdentifier").and_then(Value::as_str);
        assert!(!payload.is_object() || initialise.session_identifier.as_deref() == named);
    }
    if let Ok(beginning) = streams.begin(&written.stream_id) {
        beginning.done();
        assert!(streams.has(&written.stream_id));
    }
    let cancel = written.cancels()?;
    assert_eq!(payload["streamId"], cancel.stream_id.as_ref());
    streams.end(&cancel.stream_id);
    let sent = cancelled(&cancel, &written).unwrap();
    let value: Value = serde_json::from_str(&sent).unwrap();
    assert_eq!((&value["call"], &value["streamId"]), (&members["call"], &members["streamId"]));
    assert_eq!((&value["payload"], &value["signedIntent"]), (&payload, &Value::Null), "it ends a stream, and no more");
    Some(sent)
}
