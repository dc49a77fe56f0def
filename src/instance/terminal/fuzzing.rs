//! Fuzz entry for the terminal: text that arrives in pieces decodes to the same text, and no
//! message decodes as two.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use super::ClientMessage;
use super::text::Decoder;
use crate::websocket::frames::CallMessage;

/// Decodes a shell's output, cut into pieces.
pub fn shown(pieces: &[&[u8]]) {
    let mut decoder = Decoder::default();
    let mut shown: String = pieces.iter().map(|piece| decoder.decode(piece)).collect();
    let whole = pieces.concat();
    // An incomplete character at the end is not shown yet.
    shown.push_str(&String::from_utf8_lossy(decoder.rest()));
    assert_eq!(shown, String::from_utf8_lossy(&whole));
}

/// Parses a message from a browser.
pub fn typed(text: &str) {
    let Some(call) = CallMessage::<ClientMessage>::of("shell.open", text) else { return };
    if let ClientMessage::Input { data } = call.payload {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(value["payload"]["data"], data);
    }
}
