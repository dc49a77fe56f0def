//! Tests of the stand-in from outside, in one program: it is linked once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

mod control;
mod core2_wire;
mod events;
mod tls;
mod tokens_and_keys;
