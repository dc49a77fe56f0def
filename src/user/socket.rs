//! WebSockets: what all sockets of an instance share.

pub(crate) mod frames;
