//! The connection to the server: the sockets it hands over, the control channel, the cache of what
//! it answered, and the reports of key uses.

pub(crate) mod channel;
pub(crate) mod key_cache;
pub(crate) mod receive_sockets;
pub(crate) mod uses;
