//! The server's part of the audit log: its records, its signed checkpoints, and their witnesses.

pub(crate) mod record;
pub(crate) mod signer;
pub(crate) mod witness;
