//! Inter-process communication of server, gateway and instances on one machine.
//!
//! [`gateway_protocol`] is the private channel between the server and its gateway,
//! [`instance_line`] the one between the server and an instance. All other clients use the server's
//! Unix socket, where the kernel names their account ([`server_protocol`]).
#![allow(missing_docs, reason = "internal to Countersign: a doc says what the name cannot")]

pub mod alarm;
pub mod attachment;
pub mod body;
pub mod client;
pub mod error_code;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod gateway_protocol;
pub mod http;
pub mod instance_line;
pub mod peer;
pub mod room;
pub mod server_protocol;
pub mod session_headers;
pub mod tcp_proof;
pub mod web;
pub mod web_connections;
pub mod within;
