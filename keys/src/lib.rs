//! What a key is, what it may sign, and how that is judged.
//!
//! This crate decides and does nothing else: no socket, no clock, no randomness, no environment.
//! Time and random bytes are arguments, so that every decision can be replayed from a file, and
//! fuzzed. The sled store, behind the feature `store`, is the one part that touches files.
//!
//! Upper modules may use lower ones, never the reverse: `verify → session → policy → freshness,
//! replay → bind → own → intent → core_token → jws, keyring → request, call → identity, time`.

pub mod bind;
pub mod call;
mod canonical;
pub mod core_token;
pub mod enrolment;
pub mod freshness;
pub mod identity;
pub mod intent;
pub mod json;
pub mod jws;
pub mod keyring;
pub mod own;
pub mod pins;
pub mod policy;
pub mod replay;
pub mod request;
pub mod secret;
pub mod session;
pub mod store;
pub mod time;
pub mod verify;
