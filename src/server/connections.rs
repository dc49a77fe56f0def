//! Connections of UCloud users to local accounts, and their keys: begun, offered, approved, listed
//! and ended.

pub(crate) mod approval;
pub(crate) mod expiry;
pub(crate) mod list;
pub(crate) mod offer;
#[cfg(test)]
mod tests;
pub(crate) mod tickets;
pub(crate) mod user_mapper;
