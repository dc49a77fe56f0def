//! Inter-process communication of server, gateway and instances on one machine.
//!
//! [`control`] is the private channel between the server and its gateway, [`instance_line`] the one
//! between the server and an instance. All other clients use the server's Unix socket, where the
//! kernel names their account.
#![allow(missing_docs, reason = "internal to Countersign: a doc says what the name cannot")]

pub mod answers;
pub mod attachment;
pub mod body;
pub mod client;
pub mod control;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod http;
pub mod instance_line;
pub mod messages;
pub mod peer;
pub mod room;
pub mod sessions;
pub mod tcp_proof;
pub mod within;
