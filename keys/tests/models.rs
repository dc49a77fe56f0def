//! The rules of replay and enrolment, checked exhaustively: every order in which Core, the user and
//! the clock can act, up to a bound, is tried on the very code that a gateway and a server run (P2,
//! P4). The models only say who may do what, and what must never be.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    missing_docs
)]

#[path = "models/enrolment.rs"]
mod enrolment;
#[path = "models/replay.rs"]
mod replay;
