//! Entry point of the fuzz target `seal`: records and pieces that a gateway altered or made up.
#![allow(clippy::expect_used, clippy::panic, missing_docs, reason = "a fuzz target panics at what must not be")]

use std::sync::Arc;

use crate::seal::{
    EncapsulatedKey, Frames, Kind, MessageReader, Opener, PieceReader, RECORD_OVERHEAD, RecordRejection, SALT, SealKey,
    SealedSession, Sealer,
};
use crate::session::{SealedOpening, TokenHash};

/// Most content of a record here: several records from short inputs.
const CONTENT: usize = 64;

/// Where the pieces stand, and in a file of which length.
const PLACE: (i64, i64) = (5, 10_000);

/// What an attacker does to sealed bytes.
#[derive(Clone, Copy, Debug)]
pub enum Attack {
    /// Changes a byte.
    Alter { at: usize, by: u8 },
    /// Cuts the end off.
    Cut { at: usize },
    /// Puts bytes of its own behind.
    Append,
    /// Passes them on.
    Nothing,
}

/// Seals `content`, lets the attacker at it, and reads what arrives, in cuts of `cut` bytes. Panics
/// if anything but the unaltered piece is read whole, or its content differs.
pub fn piece(content: &[u8], attack: Attack, cut: usize, own: &[u8]) {
    let session = session();
    let mut body = sealed(&session, content);
    let before = body.clone();
    match attack {
        Attack::Alter { at, by } => body.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= by),
        Attack::Cut { at } => body.truncate(at),
        Attack::Append => body.extend_from_slice(own),
        Attack::Nothing => {}
    }
    let outcome = read(&session, &body, cut.max(1));
    assert_eq!(outcome, read(&session, &body, body.len().max(1)), "cuts change nothing");
    match outcome {
        Ok(read) => assert!(body == before && read == content, "an altered piece was read"),
        Err(reason) => assert_ne!(body, before, "an honest piece was refused: {reason}"),
    }
}

/// Reads bytes that the attacker made up. Panics if they are taken for a piece or a record.
pub fn forged(bytes: &[u8], cut: usize) {
    let outcome = read(&session(), bytes, cut.max(1));
    assert!(outcome.is_err(), "a piece without the key");
    let (opener, _) = both();
    let mut reader = MessageReader::new(opener, 1_000);
    assert!(reader.take(bytes.to_vec()).is_err(), "a record without the key");
    assert_eq!(reader.take(bytes.to_vec()), Err(RecordRejection::Ended), "an error is the end");
}

/// Sends the records of a socket in an order of the attacker's, by their numbers. Panics if one is
/// read out of its place.
pub fn reordered(order: &[u8], message: &[u8]) {
    let (mut opener, mut sealer) = both();
    let mut records = vec![sealer.record(Kind::First, b"").expect("sealed")];
    for part in message.chunks(CONTENT) {
        records.push(sealer.record(Kind::Message, part).expect("sealed"));
    }
    records.push(sealer.record(Kind::End, b"").expect("sealed"));
    for (place, number) in order.iter().enumerate() {
        let number = usize::from(*number) % records.len();
        let mut record = records.get(number).cloned().unwrap_or_default();
        if opener.open(&mut record).is_err() {
            assert!(place != number || place >= records.len(), "record {number} was refused in its place");
            return;
        }
        assert_eq!(place, number, "a record out of its place");
    }
}

/// Both ends of one direction.
fn both() -> (Opener, Sealer) {
    let key = zeroize::Zeroizing::new([7; 32]);
    (Opener::new(&key).expect("a key"), Sealer::new(&key).expect("a key"))
}

fn session() -> Arc<SealedSession> {
    // The base point of P-256: any point does.
    let enc = EncapsulatedKey::parse(
        "BGsX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
    )
    .expect("a point");
    let opening = SealedOpening { token: TokenHash::of("token"), intent: [5; 32], enc };
    Arc::new(opening.accept(SealKey::derive([9; 32])).expect("keys"))
}

fn sealed(session: &SealedSession, content: &[u8]) -> Vec<u8> {
    let salt = [3; SALT];
    let mut sealer = session.piece_sealer(&salt, PLACE.0, PLACE.1).expect("a key");
    let mut body = salt.to_vec();
    let contents = content.chunks(CONTENT).map(|part| (Kind::Message, part));
    for (kind, part) in [(Kind::First, &[][..])].into_iter().chain(contents).chain([(Kind::End, &[][..])]) {
        Frames::write_length(part.len().saturating_add(RECORD_OVERHEAD), &mut body);
        sealer.seal(kind, part, &mut body).expect("sealed");
    }
    body
}

fn read(session: &Arc<SealedSession>, body: &[u8], cut: usize) -> Result<Vec<u8>, RecordRejection> {
    let mut reader = PieceReader::new(Arc::clone(session), PLACE.0, PLACE.1);
    let mut read = Vec::new();
    for mut bytes in body.chunks(cut) {
        while reader.read(&mut bytes)? {
            read.extend_from_slice(reader.plaintext());
        }
    }
    if reader.answer().is_ok() { Ok(read) } else { Err(RecordRejection::Short) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_takes_honest_and_hostile_input() {
        let content = [1; 200];
        piece(&content, Attack::Nothing, 7, b"");
        piece(&content, Attack::Append, 7, b"");
        piece(&content, Attack::Append, 7, b"more");
        for at in [0, 20, 60, 100, 400] {
            piece(&content, Attack::Alter { at, by: 0 }, 3, b"");
            piece(&content, Attack::Alter { at, by: 1 }, 3, b"");
            piece(&content, Attack::Cut { at }, 3, b"");
        }
        forged(b"", 1);
        forged(&[0; 100], 9);
        reordered(&[0, 1, 2, 3], b"message");
        reordered(&[1], b"message");
        reordered(&[0, 2], b"message");
    }
}
