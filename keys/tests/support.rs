//! Sites, stores and users that several tests use.

#[cfg(feature = "store")]
pub(crate) mod enrolled;
pub(crate) mod judging;
#[cfg(feature = "store")]
pub(crate) mod registry;
