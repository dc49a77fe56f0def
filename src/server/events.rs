//! Core's events about projects, users and wallets, over one WebSocket that the server opens.
//!
//! Nothing in them is believed: they are read within limits, and each part decides what it takes
//! from them. They name no path, no group and no argument of a program.

pub(crate) mod connection;
pub(crate) mod frames;
pub(crate) mod project;
pub(crate) mod wallet_table;
