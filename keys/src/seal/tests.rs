//! Tests of records: each way to misuse one is refused, and ends the session.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::seal::record::RecordKey;

fn key(number: u8) -> RecordKey {
    Zeroizing::new([number; 32])
}

fn pair() -> (Sealer, Opener) {
    (Sealer::new(&key(1)).unwrap(), Opener::new(&key(1)).unwrap())
}

/// The records of a direction that says `one` and `two`.
fn said() -> Vec<Vec<u8>> {
    let (mut sealer, _) = pair();
    [(Kind::First, ""), (Kind::Message, "one"), (Kind::Message, "two"), (Kind::End, "bye")]
        .map(|(kind, text)| sealer.record(kind, text.as_bytes()).unwrap())
        .to_vec()
}

/// How the reading of these records ends.
fn check(records: &[Vec<u8>], want: Result<&[&str], RecordRejection>) {
    let (_, mut opener) = pair();
    let mut texts = Vec::new();
    let mut read = || {
        for record in records {
            let mut record = record.clone();
            let (kind, text) = opener.open(&mut record)?;
            if kind != Kind::First {
                texts.push(String::from_utf8(text.to_vec()).unwrap());
            }
        }
        Ok(())
    };
    let outcome = read();
    assert_eq!(outcome.map(|()| texts), want.map(|texts| texts.iter().map(|&text| text.to_owned()).collect()));
    if outcome.is_err() {
        let mut next = records.last().unwrap().clone();
        assert_eq!(opener.open(&mut next).unwrap_err(), RecordRejection::Ended, "an error is the end");
    }
}

#[test]
fn p3_records_open_once_in_their_order_and_nothing_follows_the_end() {
    let good = said();
    check(&good, Ok(&["one", "two", "bye"]));
    let forged = Err(RecordRejection::Forged);
    // Repeated, reordered, left out.
    check(&[&good[..2], &good[1..]].concat(), forged);
    check(&[good[0].clone(), good[2].clone(), good[1].clone()], forged);
    check(&[&good[..1], &good[2..]].concat(), forged);
    check(&good[1..], forged);
    check(&[&good[..1], &good[..1]].concat(), forged);
    check(&[&good[..], &good[3..]].concat(), Err(RecordRejection::Ended));
}

#[test]
fn p3_a_changed_record_does_not_open() {
    let good = said();
    let forged = Err(RecordRejection::Forged);
    for at in 0..good[1].len() {
        let mut altered = good.clone();
        altered[1][at] ^= if at == 0 { Kind::Message as u8 ^ 1 } else { 0x80 };
        check(&altered, forged);
    }
    let mut longer = good.clone();
    longer[1].push(0);
    check(&longer, forged);
    let mut shorter = good.clone();
    shorter[1].pop();
    check(&shorter, forged);
    // A message passed off as the end, and the end as a message.
    for (record, kind) in [(2, 3), (3, 2), (0, 2), (1, 0)] {
        let mut altered = good.clone();
        altered[record][0] = kind;
        check(&altered[..=record], forged);
    }
    let mut unknown = good;
    unknown[1][0] = 4;
    check(&unknown, Err(RecordRejection::Kind));
}

#[test]
fn p3_records_of_another_key_do_not_open() {
    let mut other = Sealer::new(&key(2)).unwrap();
    check(&[other.record(Kind::First, b"").unwrap()], Err(RecordRejection::Forged));
    let good = said();
    check(&[good[0].clone(), other.record(Kind::Message, b"one").unwrap()], Err(RecordRejection::Forged));
}

#[test]
fn p3_a_record_has_its_place_among_the_others() {
    let order = |kinds: &[(Kind, &[u8])]| {
        let (mut sealer, _) = pair();
        let records: Vec<_> = kinds.iter().map(|(kind, text)| sealer.record(*kind, text).unwrap()).collect();
        check(&records, Err(RecordRejection::Order));
    };
    order(&[(Kind::Message, b"before the first")]);
    order(&[(Kind::End, b"")]);
    order(&[(Kind::Part, b"")]);
    order(&[(Kind::First, b"not empty")]);
    order(&[(Kind::First, b""), (Kind::First, b"")]);
    order(&[(Kind::First, b""), (Kind::Part, b"half"), (Kind::End, b"")]);
}

#[test]
fn a_record_has_a_least_and_a_greatest_length() {
    check(&[vec![0; RECORD_OVERHEAD - 1]], Err(RecordRejection::Short));
    check(&[vec![]], Err(RecordRejection::Short));
    check(&[vec![0; RECORD_MAX + 1]], Err(RecordRejection::Long));
    let (mut sealer, mut opener) = pair();
    assert_eq!(sealer.record(Kind::Message, &vec![0; PLAINTEXT_MAX + 1]).unwrap_err(), RecordRejection::Long);
    opener.open(&mut sealer.record(Kind::First, b"").unwrap()).unwrap();
    let mut full = sealer.record(Kind::Message, &vec![7; PLAINTEXT_MAX]).unwrap();
    assert_eq!(full.len(), RECORD_MAX);
    assert_eq!(opener.open(&mut full).unwrap().1, vec![7; PLAINTEXT_MAX]);
    sealer.record(Kind::End, b"").unwrap();
    assert_eq!(sealer.record(Kind::Message, b"").unwrap_err(), RecordRejection::Ended);
}

#[test]
fn messages_are_cut_and_joined_up_to_a_limit() {
    let read = |length: usize, message_max: usize| {
        let (mut sealer, opener) = pair();
        let mut reader = MessageReader::new(opener, message_max);
        assert_eq!(reader.take(sealer.record(Kind::First, b"").unwrap()), Ok(Received::Confirmed));
        let message: Vec<u8> = (0..length).map(|at| at as u8).collect();
        let records = sealer.message(&message).unwrap();
        assert_eq!(records.len(), length.div_ceil(PLAINTEXT_MAX).max(1));
        let received: Result<Vec<_>, _> = records.into_iter().map(|record| reader.take(record)).collect();
        let is_refused = received == Err(RecordRejection::Message);
        if is_refused {
            let next = sealer.record(Kind::Message, b"").unwrap();
            assert_eq!(reader.take(next), Err(RecordRejection::Ended));
        } else {
            assert_eq!(received.unwrap().pop().unwrap(), Received::Message(message));
        }
        !is_refused
    };
    assert!(read(0, 0));
    assert!(!read(1, 0));
    assert!(read(PLAINTEXT_MAX, PLAINTEXT_MAX));
    assert!(read(200_000, 200_000));
    assert!(!read(200_001, 200_000));
}

fn session(enc: u8) -> SealedSession {
    use hpke::{Kem as _, Serializable as _};
    let mut point = [0; POINT];
    hpke::kem::DhP256HkdfSha256::derive_keypair(&[enc; 32]).1.write_exact(&mut point);
    let enc = EncapsulatedKey::parse(&URL_SAFE_NO_PAD.encode(point)).unwrap();
    let opening = crate::session::SealedOpening { token: crate::session::TokenHash::of("token"), intent: [5; 32], enc };
    opening.accept(SealKey::derive([9; 32])).unwrap()
}

/// A piece as the protocol describes it, with `content` as its records of content.
fn piece(session: &SealedSession, salt: [u8; SALT], offset: i64, content: &[&[u8]]) -> Vec<u8> {
    // The instance only opens pieces; the key is the same on both sides.
    let mut sealer = session.piece_sealer(&salt, offset, 100).unwrap();
    let mut body = salt.to_vec();
    let records = [(Kind::First, &[][..])].into_iter();
    for (kind, text) in records.chain(content.iter().map(|text| (Kind::Message, *text))).chain([(Kind::End, &[][..])]) {
        Frames::write_length(text.len() + RECORD_OVERHEAD, &mut body);
        sealer.seal(kind, text, &mut body).unwrap();
    }
    body
}

fn read(session: &Arc<SealedSession>, offset: i64, body: &[u8], cut: usize) -> Result<Vec<u8>, RecordRejection> {
    let mut reader = PieceReader::new(Arc::clone(session), offset, 100);
    let mut read = Vec::new();
    for mut bytes in body.chunks(cut) {
        while reader.read(&mut bytes)? {
            read.extend_from_slice(reader.plaintext());
        }
    }
    if reader.is_ended() { Ok(read) } else { Err(RecordRejection::Short) }
}

#[test]
fn p3_a_sealed_piece_opens_whole_and_in_its_place_only() {
    let session_1 = Arc::new(session(1));
    let body = piece(&session_1, [3; SALT], 10, &[b"abc", b"de"]);
    for cut in 1..body.len() {
        assert_eq!(read(&session_1, 10, &body, cut).unwrap(), b"abcde", "cut in {cut}");
    }
    let forged = RecordRejection::Forged;
    assert_eq!(read(&session_1, 11, &body, 7).unwrap_err(), forged, "at another place");
    assert_eq!(read(&Arc::new(session(2)), 10, &body, 7).unwrap_err(), forged, "in another session");
    let mut salted = body.clone();
    salted[0] ^= 1;
    assert_eq!(read(&session_1, 10, &salted, 7).unwrap_err(), forged, "with another salt");
    for length in 0..body.len() {
        assert!(read(&session_1, 10, &body[..length], 7).is_err(), "cut short at {length}");
    }
    let more = [body.as_slice(), b"x"].concat();
    assert_eq!(read(&session_1, 10, &more, 7).unwrap_err(), RecordRejection::Ended);
    // The same bytes, sealed again, share no key and so no ciphertext.
    let again = piece(&session_1, [4; SALT], 10, &[b"abc", b"de"]);
    assert!(body[SALT..].chunks(20).zip(again[SALT..].chunks(20)).filter(|(a, b)| a == b).count() == 0);
}

#[test]
fn a_sealed_pieces_plaintext_follows_from_its_length() {
    let full = PLAINTEXT_MAX as u64;
    let sealed = |length: u64| 16 + 2 * 21 + length + length.div_ceil(full) * 21;
    for length in [0, 1, 2, full - 1, full, full + 1, 3 * full, 3 * full + 5, 32_000_000] {
        assert_eq!(plaintext_of(sealed(length)), Some(length));
    }
    for impossible in [0, 15, 57, sealed(0) + 1, sealed(0) + 21, sealed(full) + 21] {
        assert_eq!(plaintext_of(impossible), None, "{impossible}");
    }
}

#[test]
fn a_point_that_is_none_seals_nothing() {
    let enc = |bytes: [u8; POINT]| EncapsulatedKey::parse(&URL_SAFE_NO_PAD.encode(bytes));
    let accept = |enc: EncapsulatedKey| {
        let token = crate::session::TokenHash::of("token");
        crate::session::SealedOpening { token, intent: [0; 32], enc }.accept(SealKey::derive([9; 32])).map(|_| ())
    };
    for first in [0, 2, 4] {
        let mut bytes = [0; POINT];
        bytes[0] = first;
        bytes[POINT - 1] = 1;
        assert_eq!(accept(enc(bytes).unwrap()), Err(SealFailure::Point));
    }
    assert_eq!(EncapsulatedKey::parse(""), None);
    assert_eq!(EncapsulatedKey::parse(&URL_SAFE_NO_PAD.encode([4; POINT - 1])), None);
    assert_eq!(EncapsulatedKey::parse(&format!("{}=", URL_SAFE_NO_PAD.encode([4; POINT]))), None);
}

proptest! {
    /// Any bytes are read to their end or refused, in any cuts, without more memory than a record.
    #[test]
    fn anything_is_a_stream_of_records_or_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 1_usize..50) {
        let mut frames = Frames::default();
        let mut taken = 0;
        'all: for mut piece in bytes.chunks(cut) {
            while !piece.is_empty() {
                match frames.fill(&mut piece) {
                    Ok(true) => taken += frames.record().len() + 4,
                    Ok(false) => prop_assert!(piece.is_empty()),
                    Err(_) => break 'all,
                }
            }
        }
        prop_assert!(taken <= bytes.len());
        let (_, mut opener) = pair();
        prop_assert!(opener.open(&mut bytes.clone()).is_err());
    }
}
