//! Inter-process communication of server, gateway and instances on one machine.
//!
//! [`control`] is the private channel between the server and its gateway, [`instance_line`] the one
//! between the server and an instance. All other clients use the server's Unix socket, where the
//! kernel names their account.

pub(crate) mod answers;
pub(crate) mod attachment;
pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod control;
#[cfg(fuzzing)]
pub mod fuzzing;
pub(crate) mod http;
pub(crate) mod instance_line;
pub(crate) mod messages;
pub(crate) mod peer;
pub(crate) mod room;
pub(crate) mod sessions;
pub(crate) mod tcp_proof;
pub(crate) mod within;
