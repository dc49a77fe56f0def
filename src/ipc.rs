//! How the three processes speak to each other on this machine.
//!
//! [`control`] is the private line between the server and the gateway that it started,
//! [`instance_line`] the one between the server and an instance; everything else asks the server
//! over its Unix socket, where the kernel says which account is asking.

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
