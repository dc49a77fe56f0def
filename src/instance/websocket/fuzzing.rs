//! Fuzz entry points for messages at the instance. Asserts that its parsers read a message as
//! `serde_json` does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use serde_json::Value;

use super::frames::{CallMessage, STREAM_ID_MAX};
use super::rpc;

/// Parses arbitrary text as a message.
pub fn text(text: &str) {
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        assert!(rpc::fuzzed(text).is_none());
        return;
    };
    if let Some((call, stream_id, payload)) = rpc::fuzzed(text) {
        assert_eq!((&value["call"], &value["streamId"]), (&call.into(), &stream_id.into()));
        assert_eq!(serde_json::from_str::<Value>(&payload).unwrap(), value["payload"]);
    }
    if let Some(message) = value["call"].as_str().and_then(|call| CallMessage::<Value>::of(call, text)) {
        assert!(message.stream_id.len() <= STREAM_ID_MAX);
        assert_eq!(
            (message.stream_id.as_str(), &message.payload),
            (value["streamId"].as_str().unwrap(), &value["payload"])
        );
    }
}

/// Asserts that the instance parses the message by which the gateway cancels a stream.
pub fn cancelled(text: &str) {
    assert!(rpc::fuzzed(text).is_some(), "{text}");
}
