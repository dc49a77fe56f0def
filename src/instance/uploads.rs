//! Uploads over UCloud's two protocols: in chunks, one HTTP request each, or over a WebSocket.

pub(crate) mod chunked;
pub(crate) mod websocket;
