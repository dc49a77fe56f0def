//! WebSockets: a client's frames, the messages in them, what the gateway forwards, and how an
//! instance reads it.
#![no_main]

use arbitrary::Arbitrary;
use countersign::fuzzing::{gateway, instance};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    /// Bytes as they arrive from the network.
    Frames(&'a [u8]),
    /// Complete, masked frames, so that the fuzzer need not guess the framing.
    Written(Vec<(Opcode, bool, &'a [u8])>),
}

#[derive(Arbitrary, Debug)]
enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

fn frame(bytes: &mut Vec<u8>, opcode: &Opcode, is_last: bool, payload: &[u8]) {
    let opcode = match opcode {
        Opcode::Continuation => 0,
        Opcode::Text => 1,
        Opcode::Binary => 2,
        Opcode::Close => 8,
        Opcode::Ping => 9,
        Opcode::Pong => 10,
    };
    bytes.push(opcode | if is_last { 0x80 } else { 0 });
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        long => {
            bytes.push(0x80 | 126);
            bytes.extend((long.min(usize::from(u16::MAX)) as u16).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload.iter().take(usize::from(u16::MAX)));
}

fn message(text: &str) {
    if let Some(sent) = gateway::socket::text(text) {
        instance::websocket::cancelled(&sent);
    }
    instance::websocket::text(text);
    instance::terminal::typed(text);
}

fuzz_target!(|data: &[u8]| {
    if data.first() == Some(&b'{') {
        return message(&String::from_utf8_lossy(data));
    }
    let mut from = arbitrary::Unstructured::new(data);
    let sent = match Input::arbitrary(&mut from) {
        Ok(Input::Frames(bytes)) => gateway::socket::frames(bytes),
        Ok(Input::Written(frames)) => {
            let mut bytes = Vec::new();
            for (opcode, is_last, payload) in &frames {
                frame(&mut bytes, opcode, *is_last, payload);
            }
            gateway::socket::frames(&bytes)
        }
        Err(_) => return,
    };
    sent.iter().for_each(|sent| instance::websocket::cancelled(sent));
});
