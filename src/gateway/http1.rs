//! Request heads and bodies as they come from the network: strict syntax before the HTTP library
//! parses (request smuggling, RFC 9112 section 11.2), timeouts, and the upgrade to a WebSocket.

pub(crate) mod body;
pub(crate) mod head;
pub(crate) mod message_filter;
pub(crate) mod paced_stream;
pub(crate) mod request_syntax;
pub(crate) mod timeouts;
pub(crate) mod upgrade;
