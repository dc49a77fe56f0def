//! Inputs of a connection to the gateway: request heads, handshakes, the queries of sessions.
#![no_main]

use countersign::fuzzing::gateway;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| gateway::head(bytes));
