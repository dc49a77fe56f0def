//! Tests of the crate from outside, in one program: it is linked once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

mod asked;
mod binding;
mod browser;
mod checklist;
mod compile_fail;
mod confirmation;
mod digests;
mod direct_channel;
mod edges;
mod interop;
mod jobs;
mod key_material;
mod licences;
mod links;
mod models;
mod passkeys;
mod proofs;
mod properties;
mod real_bodies;
mod replay_example;
mod scripts;
mod seals;
mod sessions;
mod store_kill;
mod store_large;
mod store_rules;
mod store_seal;
mod support;
mod tasks;
mod ticket_limits;
mod together;
mod usage;
mod user_side;
mod wycheproof;
