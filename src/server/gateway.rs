//! The gateway: starts or attaches it, answers its queries, and tells it what has ended.

pub(crate) mod channel;
pub(crate) mod invalidations;
pub(crate) mod process;
pub(crate) mod queries;
pub(crate) mod service;
