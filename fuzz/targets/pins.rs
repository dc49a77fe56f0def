//! A user's file of pinned keys. Reading and writing it neither loses, changes nor invents a key.
#![no_main]

use countersign_keys::pins::Pins;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(pins) = Pins::parse(text) else { return };
    let written = pins.to_string();
    let again = Pins::parse(&written).expect("what was written is read");
    assert!(pins.all().eq(again.all()), "{written}");
});
