//! Applications and signed specifications, and the scripts made of them.
#![no_main]

use countersign::fuzzing::applications;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| applications::script(text));
