//! The instances that run: how each is launched, what it writes, and when it ends.

pub(crate) mod launch;
pub(crate) mod log;
pub(crate) mod phase;
pub(crate) mod table;
