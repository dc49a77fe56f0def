//! The steps of each request on its way to an instance or to the server: a file for each kind of
//! sender (design, section 3), and the parts that they share.

pub(crate) mod budget;
pub(crate) mod core;
pub(crate) mod deposits;
pub(crate) mod direct;
pub(crate) mod fetch_metadata;
pub(crate) mod forward;
pub(crate) mod health;
pub(crate) mod public;
pub(crate) mod session;
