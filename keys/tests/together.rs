//! The fast tests as one program, only for cargo-mutants, which then links each mutant twice and
//! not eight times.
#![allow(clippy::duplicate_mod, reason = "each of the files brings its own site")]

#[path = "binding.rs"]
mod binding;
#[path = "checklist.rs"]
mod checklist;
#[path = "digests.rs"]
mod digests;
#[path = "direct_channel.rs"]
mod direct_channel;
#[path = "edges.rs"]
mod edges;
#[path = "key_material.rs"]
mod key_material;
#[path = "passkeys.rs"]
mod passkeys;
#[path = "proofs.rs"]
mod proofs;
#[path = "sessions.rs"]
mod sessions;
#[path = "store_rules.rs"]
mod store_rules;
#[path = "tasks.rs"]
mod tasks;
