//! The messages between the processes, and the head of a piece of a file, which two processes
//! parse.
#![no_main]

use arbitrary::Arbitrary;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::fuzzing::ipc;
use libfuzzer_sys::fuzz_target;

/// Member names that the protocol knows are frequent, and so are numbers, so that the fuzzer need
/// not guess them.
#[derive(Arbitrary, Debug)]
enum Line<'a> {
    Offset(i64),
    Total(i64),
    Length(i64),
    Digest([u8; 32]),
    Typed(u8, &'a [u8]),
}

const NAMES: [&str; 4] = ["chunked-upload-offset", "chunked-upload-total-size", "content-length", "content-digest"];

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Message(&'a [u8]),
    Piece(Vec<Line<'a>>),
}

fuzz_target!(|data: &[u8]| {
    if data.first().is_some_and(|first| matches!(first, b'{' | b'[')) {
        return ipc::message(data);
    }
    let mut from = arbitrary::Unstructured::new(data);
    match Input::arbitrary(&mut from) {
        Ok(Input::Message(bytes)) => ipc::message(bytes),
        Ok(Input::Piece(lines)) => {
            let lines: Vec<(&str, Vec<u8>)> = lines
                .iter()
                .map(|line| match line {
                    Line::Offset(number) => (NAMES[0], number.to_string().into()),
                    Line::Total(number) => (NAMES[1], number.to_string().into()),
                    Line::Length(number) => (NAMES[2], number.to_string().into()),
                    Line::Digest(bytes) => (NAMES[3], format!("sha-256=:{}:", STANDARD.encode(bytes)).into()),
                    Line::Typed(name, value) => (NAMES[usize::from(*name) % NAMES.len()], value.to_vec()),
                })
                .collect();
            ipc::piece(&lines.iter().map(|(name, value)| (*name, value.as_slice())).collect::<Vec<_>>());
        }
        Err(_) => {}
    }
});
