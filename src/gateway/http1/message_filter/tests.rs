//! Tests of the message filter: what passes, however it is split, and the placeholder for what does
//! not.

use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const FIRST: &[u8] = b"POST /a HTTP/1.1\r\nContent-Length: 30\r\n\r\nGET /in-the-body HTTP/1.1\n\n\n\n\n";
const SECOND: &[u8] = b"GET /b HTTP/1.1\r\n\r\n";
const BAD: &[u8] = b"GET /c HTTP/1.1\n\n";

/// What passes a filter that gets these bytes in pieces of `piece` and is read in pieces of `room`;
/// and the filter.
async fn through(bytes: &[u8], piece: usize, room: usize) -> (Vec<u8>, MessageFilter<tokio::io::DuplexStream>) {
    let (ours, mut theirs) = tokio::io::duplex(piece);
    let mut filter = MessageFilter::new(ours);
    let reading = async {
        let (mut got, mut buffer) = (Vec::new(), vec![0; room]);
        while filter.refused.0.get().is_none() || filter.stood_in < PLACEHOLDER_REQUEST.len() {
            match filter.read(&mut buffer).await.unwrap() {
                0 => break,
                count => got.extend_from_slice(&buffer[..count]),
            }
        }
        got
    };
    let writing = async {
        // A filter that has refused reads no further.
        let _ = tokio::time::timeout(Duration::from_secs(1), theirs.write_all(bytes)).await;
        drop(theirs);
    };
    let (got, ()) = tokio::join!(reading, writing);
    (got, filter)
}

#[tokio::test(start_paused = true)]
async fn whole_messages_pass_unchanged_however_they_are_cut() {
    let bytes = [FIRST, SECOND, FIRST, FIRST, SECOND].concat();
    for (piece, room) in [(1, 1), (1, 100), (7, 3), (1000, 1), (1000, 7), (1000, 1000)] {
        let (got, filter) = through(&bytes, piece, room).await;
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(&bytes), "{piece} {room}");
        assert_eq!(filter.refused.stands_for(&Method::GET), None);
    }
}

#[tokio::test(start_paused = true)]
async fn in_the_place_of_a_bad_head_stands_what_is_refused_and_nothing_follows() {
    let bytes = [FIRST, SECOND, BAD, SECOND].concat();
    for (piece, room) in [(1, 1), (1, 100), (7, 3), (1000, 1), (1000, 1000)] {
        let (got, mut filter) = through(&bytes, piece, room).await;
        let want = [FIRST, SECOND, PLACEHOLDER_REQUEST].concat();
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(&want), "{piece} {room}");
        let more = tokio::time::timeout(Duration::from_secs(60), filter.read_u8()).await;
        assert!(more.is_err(), "{piece} {room}: {more:?}");
        let stands_for = |method: &[u8]| filter.refused.stands_for(&Method::from_bytes(method).unwrap());
        assert!(matches!(stands_for(b"REFUSED"), Some(HeadRejection::Grammar(_))));
        assert_eq!(stands_for(b"GET"), None, "what came before is judged by itself");
    }
}

const UPGRADE: &[u8] = b"GET /s HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
const FRAME: &[u8] = b"\x81\x82\x01\x02\x03\x04GET";

/// A filter through which an upgrade was read, with the bytes that followed it.
async fn behind_an_upgrade(rest: &[u8]) -> (MessageFilter<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
    let (ours, mut theirs) = tokio::io::duplex(1000);
    let mut filter = MessageFilter::new(ours);
    theirs.write_all(&[UPGRADE, rest].concat()).await.unwrap();
    let mut buffer = [0; 1000];
    let length = filter.read(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..length], UPGRADE);
    (filter, theirs)
}

#[tokio::test]
async fn v52_what_follows_the_answer_to_an_upgrade_passes_as_it_comes() {
    let (mut filter, mut theirs) = behind_an_upgrade(b"").await;
    filter.passage().open(1).unwrap();
    theirs.write_all(FRAME).await.unwrap();
    let mut got = vec![0; FRAME.len()];
    filter.read_exact(&mut got).await.unwrap();
    assert_eq!(got, FRAME);
}

#[tokio::test]
async fn v52_what_comes_before_the_answer_to_an_upgrade_is_judged_as_a_head() {
    for early in [FRAME, SECOND, BAD, b"G"] {
        let (mut filter, _theirs) = behind_an_upgrade(early).await;
        assert_eq!(filter.passage().open(1), Err(Early), "{early:?}");
        let mut buffer = [0; 100];
        let reading = tokio::time::timeout(Duration::from_millis(20), filter.read(&mut buffer)).await;
        let got = reading.map_or(0, |read| read.unwrap());
        assert!(
            [b"", SECOND, PLACEHOLDER_REQUEST].contains(&&buffer[..got]),
            "{early:?} came through as {:?}",
            &buffer[..got]
        );
    }
    // Bytes that arrive while the response is written are parsed as a head too, and keep the
    // boundary closed.
    let (mut filter, mut theirs) = behind_an_upgrade(b"").await;
    theirs.write_all(FRAME).await.unwrap();
    let reading = tokio::time::timeout(Duration::from_millis(20), filter.read_u8()).await;
    assert!(reading.is_err(), "no head, and so nothing came through");
    assert_eq!(filter.passage().open(1), Err(Early));
}

#[tokio::test]
async fn of_a_head_that_never_ends_nothing_passes() {
    assert_eq!(through(b"GET /a HTTP/1.1\r\nHost: a\r\n", 1000, 1000).await.0, b"");
}

#[tokio::test(start_paused = true)]
async fn what_a_refused_client_still_sends_is_thrown_away_for_a_while() {
    let (ours, mut theirs) = tokio::io::duplex(64);
    let mut filter = MessageFilter::new(ours);
    theirs.write_all(BAD).await.unwrap();
    let mut buffer = vec![0; PLACEHOLDER_REQUEST.len()];
    filter.read_exact(&mut buffer).await.unwrap();
    let began = tokio::time::Instant::now();
    let sending = async { while theirs.write_all(&[b'x'; 64]).await.is_ok() && began.elapsed() < LINGER * 3 {} };
    let closing = async {
        filter.shutdown().await.unwrap();
        drop(filter);
    };
    tokio::join!(sending, closing);
    assert!(began.elapsed() <= LINGER + Duration::from_millis(100), "{:?}", began.elapsed());
    let mut rest = Vec::new();
    theirs.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"");
}
