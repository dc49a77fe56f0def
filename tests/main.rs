//! Tests of the whole program, in one executable: it is linked once.
//!
//! Ignored tests need an installation, or a machine that systemd has started. `./test` runs each
//! of them alone, by its exact name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

mod accounts;
mod attacks;
mod audit;
mod commands;
mod config;
mod config_files;
mod deploy;
mod direct_channel;
mod drives;
mod enrolment;
mod first_day;
mod folders;
mod gateway_unit;
mod giving_up_root;
mod hostile;
mod ingress;
mod kill;
mod mapper;
mod mishaps;
mod not_for_ever;
mod pinned_keys;
mod protected;
mod sandbox;
mod signals;
mod sockets;
mod ssh_keys;
mod starting;
mod state;
mod streams;
mod support;
mod taken_over;
mod tasks;
mod tour;
mod transfers;
mod units;
mod version_1;
