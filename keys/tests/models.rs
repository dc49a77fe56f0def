//! Exhaustive models of replay and enrolment (P2, P4). They try every order of steps of Core, the
//! user and the clock, up to a bound, on the code that gateway and server run. A model defines only
//! the possible steps and the forbidden states.
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
