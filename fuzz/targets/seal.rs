//! Sealed sessions: records and pieces that a gateway altered, cut, reordered or made up. Only what
//! the client sealed is read, in its place and whole.
#![no_main]

use arbitrary::Arbitrary;
use countersign_keys::seal::fuzzing::{self, Attack};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Altered { at: u16, by: u8, cut: u8, content: &'a [u8] },
    Shortened { at: u16, cut: u8, content: &'a [u8] },
    Lengthened { cut: u8, own: &'a [u8], content: &'a [u8] },
    Honest { cut: u8, content: &'a [u8] },
    Forged { cut: u8, bytes: &'a [u8] },
    Reordered { order: &'a [u8], message: &'a [u8] },
}

fuzz_target!(|input: Input| {
    match input {
        Input::Altered { at, by, cut, content } => {
            fuzzing::piece(content, Attack::Alter { at: at.into(), by }, cut.into(), &[]);
        }
        Input::Shortened { at, cut, content } => fuzzing::piece(content, Attack::Cut { at: at.into() }, cut.into(), &[]),
        Input::Lengthened { cut, own, content } => fuzzing::piece(content, Attack::Append, cut.into(), own),
        Input::Honest { cut, content } => fuzzing::piece(content, Attack::Nothing, cut.into(), &[]),
        Input::Forged { cut, bytes } => fuzzing::forged(bytes, cut.into()),
        Input::Reordered { order, message } => fuzzing::reordered(order, message),
    }
});
