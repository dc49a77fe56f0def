//! The two listeners for requests to the server, and its replies.

pub(crate) mod callers;
pub(crate) mod endpoints;
pub(crate) mod reply;
