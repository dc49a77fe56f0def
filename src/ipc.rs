//! How the three processes speak to each other on this machine.
//!
//! [`control`] is the private line between the server and the gateway that it started; everything else
//! asks the server over its Unix socket, where the kernel says who is asking.

pub(crate) mod answers;
pub(crate) mod attachment;
pub(crate) mod control;
#[cfg(fuzzing)]
pub mod fuzzing;
pub(crate) mod http;
pub(crate) mod messages;
pub(crate) mod peer;
pub(crate) mod sessions;
