//! A real installation under attack from the network: what two readers of HTTP read differently,
//! clients that are slow or far too many, frames of HTTP/2 that only cost, and TLS as other
//! people's tools judge it. During each of them an honest user is served.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`. Longer runs:
//! `tests/hostile/run`, and the README beside it.
#![allow(clippy::print_stdout)]

mod corpus;
mod floods;
mod honest;
mod protocol;
mod proxy;
mod script;
mod smuggling;
mod tls;
