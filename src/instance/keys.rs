//! The keys that the user pinned: reads them to verify requests, and changes them for their owner.

pub(crate) mod key_calls;
pub(crate) mod pinned;
