//! Usage: what jobs have used, by Slurm's accounting, as UCloud is told.
//!
//! Each figure is absolute and has a scope of its own, so that a repeated report changes nothing.
//! What Core has acknowledged is in the store. Nothing is done on Core's answers: Core learns
//! figures here, and decides nothing (protocol, section 14).

mod charge;
pub(crate) mod listing;
pub(crate) mod reporter;
mod send;
pub(crate) mod storage;
mod units;
