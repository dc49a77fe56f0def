//! What a connection to the gateway brings: heads of requests, handshakes, the queries of sessions.
#![no_main]

use countersign::fuzzing::gateway;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| gateway::head(bytes));
