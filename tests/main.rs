//! Tests of the whole program, in one executable: it is linked once.
//!
//! Ignored tests need an installation, or a machine that systemd has started. `./test` runs each
//! of them alone, by its exact name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

mod accounts;
mod apps;
mod attacks;
mod audit;
mod commands;
mod compromised_gateway;
mod config;
mod config_files;
mod connection_expiry;
mod deploy;
mod direct_channel;
mod drives;
mod enrolment;
mod first_day;
mod folders;
mod gateway_unit;
mod hostile;
mod ingress;
mod intent_v1;
mod jobs;
mod jobs_choices;
mod jobs_figures;
mod jobs_licences;
mod jobs_links;
mod jobs_outside;
mod jobs_poller;
mod jobs_usage;
mod jobs_web;
mod kill;
mod mapper;
mod mishaps;
mod pinned_keys;
mod privilege_drop;
mod projects;
mod protected;
mod reload;
mod sandbox;
mod sealed;
mod signals;
mod sockets;
mod ssh_keys;
mod starting;
mod state;
mod streams;
mod support;
mod tasks;
mod tour;
mod transfers;
mod units;
mod watching;
