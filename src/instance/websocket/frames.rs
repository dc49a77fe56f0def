//! Encodes and decodes UCloud's messages on a WebSocket. A text frame holds one JSON object. The
//! client chooses an id for each stream.
//!
//! Ignores frames that it cannot parse, as UCloud's own modules do.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// The longest stream id that is accepted, in bytes. Both Cores and UCloud's page number their
/// streams.
pub(super) const STREAM_ID_MAX: usize = 128;
/// Size of a socket's read buffer, in bytes. A socket holds it for as long as it is open, so it is
/// small.
const BUFFER: usize = 8 * 1024;

/// A message that calls something.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct CallMessage<P> {
    pub(crate) call: String,
    /// The stream for the answers.
    #[serde(rename = "streamId")]
    pub(crate) stream_id: String,
    pub(crate) payload: P,
}

impl<P: DeserializeOwned> CallMessage<P> {
    /// Parses a message of this call. Returns `None` if it is another, or its stream id is too
    /// long.
    pub(crate) fn of(call: &str, text: &str) -> Option<Self> {
        let message: Self = serde_json::from_str(text).ok()?;
        (message.call == call && message.stream_id.len() <= STREAM_ID_MAX).then_some(message)
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Answer<'a, P> {
    #[serde(rename_all = "camelCase")]
    Message { stream_id: &'a str, payload: &'a P },
    #[serde(rename_all = "camelCase")]
    Response { stream_id: &'a str, status: u16, payload: &'a P },
}

/// One of several answers on a stream.
pub(crate) fn message<P: Serialize>(stream_id: &str, payload: &P) -> Message {
    write(&Answer::Message { stream_id, payload })
}

/// The last answer on a stream.
pub(crate) fn response<P: Serialize>(stream_id: &str, status: u16, payload: &P) -> Message {
    write(&Answer::Response { stream_id, status, payload })
}

fn write<P: Serialize>(answer: &Answer<'_, P>) -> Message {
    // Fails only for values that JSON cannot represent, and none is sent. Clients ignore an empty
    // object.
    Message::text(serde_json::to_string(answer).unwrap_or_else(|_| "{}".to_owned()))
}

/// A socket's configuration. Messages and frames have at most `message_max` bytes.
pub(crate) fn reading(message_max: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(message_max.saturating_mul(4).max(1024 * 1024))
        .max_message_size(Some(message_max))
        .max_frame_size(Some(message_max))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn messages() {
        let check = |text: &str, want: Option<(&str, Value)>| {
            let got = CallMessage::<Value>::of("a.b", text);
            assert_eq!(
                got.map(|message| (message.stream_id, message.payload)),
                want.map(|(id, p)| (id.to_owned(), p)),
                "{text}"
            );
        };
        check(r#"{"call":"a.b","streamId":"0","payload":{"x":1}}"#, Some(("0", json!({"x": 1}))));
        let whole = r#"{"call":"a.b","streamId":"7","payload":{},"bearer":null,"causedBy":null,"project":null,"signedIntent":"x"}"#;
        check(whole, Some(("7", json!({}))));
        check(r#"{"call":"a.c","streamId":"0","payload":{}}"#, None);
        check(r#"{"call":"a.b","payload":{}}"#, None);
        check(r#"{"ping":"pong"}"#, None);
        check("[", None);
        let long = "x".repeat(STREAM_ID_MAX + 1);
        check(&format!(r#"{{"call":"a.b","streamId":"{long}","payload":{{}}}}"#), None);
    }

    #[test]
    fn answers_are_ucloud_s() {
        let payload = json!({"type": "ack"});
        assert_eq!(
            message("3", &payload),
            Message::text(r#"{"type":"message","streamId":"3","payload":{"type":"ack"}}"#)
        );
        assert_eq!(
            response("\"", 404, &json!({})),
            Message::text(r#"{"type":"response","streamId":"\"","status":404,"payload":{}}"#)
        );
    }
}
