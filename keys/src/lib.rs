//! Decides whether a request may act as a user, and which keys may speak for that user.
//!
//! Gateway, server and instances call the same functions, each with keys from its own source. Time
//! and random bytes are arguments, so every decision can be replayed from a file and fuzzed.
//!
//! # The stages of a request
//!
//! Each stage consumes the value of the stage before it, and only the stage's own module can make
//! its value. A skipped check does not compile (`tests/compile_fail`).
//!
//! 1. [`Presented`](request::Presented): the head is well-formed and unambiguous. Nothing is
//!    verified yet.
//! 2. [`Authenticated`](core_token::Authenticated): Core sent the request. Its token is signed with
//!    the configured key and has not expired.
//! 3. [`Intended`](intent::Intended): a valid key of the user signed an intent for this call, this
//!    provider and this time (P1).
//! 4. [`Bound`](bind::Bound): the intent covers the parameters of every item. Each other member is
//!    one that Core may add.
//! 5. [`Authorised`](policy::Authorised): the site's policy allows it. A dangerous item needs the
//!    user's consent, and some calls need a passkey.
//! 6. [`Permit`](policy::Permit): the intent is still fresh, and this is its first use (P4). Only a
//!    permit is forwarded, and forwarding consumes it.
//!
//! A direct request has no token of Core: it enters as
//! [`PresentedDirect`](request::PresentedDirect) and has a permit of another type ([`direct`]). The
//! use of a one-time token has its own stages ([`session`]). Each refusal is a
//! [`Rejection`](verify::Rejection) with the reason for the operator. The sender learns only its
//! [`Class`](verify::Class).
//!
//! `examples/replay.rs` prints these stages for a request from a file:
//!
//! ```console
//! cargo run -p countersign-keys --example replay keys/tests/vectors/request.json
//! ```
//!
//! # What a signature covers
//!
//! ```
//! use countersign_keys::bind::Items;
//! use countersign_keys::call::CallTable;
//! use countersign_keys::identity::ProviderId;
//!
//! let calls = CallTable::new(&ProviderId::parse("hpc")?, &[])?;
//! let row = calls.row("files.trash").ok_or("no such call")?;
//! let signed = Items::read(row, br#"{"items":[{"id":"/1/thesis"}]}"#)?;
//! // Core adds members that the row names. They change no digest.
//! let sent = Items::read(row, br#"{"items":[{"id":"/1/thesis","resolvedCollection":{"id":"1"}}]}"#)?;
//! assert_eq!(signed.digests(), sent.digests());
//! // A member that the row does not name is refused.
//! assert!(Items::read(row, br#"{"items":[{"id":"/1/thesis","force":true}]}"#).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What this crate refuses to do
//!
//! It opens no socket, reads no clock, environment or random source, and starts no process or
//! thread; `clippy.toml` bans the functions. The feature `store` adds the one part that touches
//! files: the key store on disk ([`store`]). The crate signs nothing. It refuses a request that it
//! cannot judge (P8).
//!
//! # Where to read on
//!
//! The order of modules, each of which uses only later ones: `verify`, `session`, `policy`,
//! `freshness` and `replay`, `bind`, `own`, `intent`, `core_token`, `jws` and `keyring`, `request`
//! and `call`, `identity` and `time`. `tests/checklist.rs` has a test for each line of
//! `docs/checklist.md`.

pub mod bind;
pub mod call;
pub mod canonical;
pub mod core_token;
pub mod direct;
pub mod enrolment;
pub mod freshness;
pub mod identity;
pub mod intent;
pub mod json;
pub mod jws;
pub mod keyring;
pub mod pins;
pub mod policy;
pub mod replay;
pub mod request;
pub mod seal;
pub mod secret;
pub mod session;
pub mod store;
pub mod time;
pub mod verify;
