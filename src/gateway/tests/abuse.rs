//! Tests of abuse: resets, endless header frames, connections without a handshake, bodies that
//! never come. Each is ended, and honest clients are served during and after it.

use countersign_portal::Deed;
use tokio::time::Instant;

use super::connections::{connect, until_closed};
use super::over_tls::Tls;
use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types, flags and error codes (RFC 9113, sections 6 and 7).
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// HPACK of `GET` for that path, without a dynamic table.
fn get(path: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [&[0x82, 0x87, 0x04][..], &text(path), &[0x01], &text("hpc.example.org")].concat()
}

/// The stream ids that a client may open: odd numbers.
fn streams() -> impl Iterator<Item = u32> {
    (1..).step_by(2)
}

/// Sends until the gateway accepts no more, and reads meanwhile. Returns the bytes sent and the
/// error code that ended the connection.
async fn flood(tls: &Tls, chunks: impl Iterator<Item = Vec<u8>> + Send + 'static) -> (usize, Option<u32>) {
    let (mut reading, mut writing) = tokio::io::split(tls.connect(b"h2").await);
    let sending = tokio::spawn(async move {
        let mut sent = 0;
        for chunk in std::iter::once([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).chain(chunks) {
            if writing.write_all(&chunk).await.is_err() {
                break;
            }
            sent += chunk.len();
        }
        sent
    });
    let mut said = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), reading.read_to_end(&mut said)).await;
    assert!(ended.is_ok(), "the gateway ends the connection");
    let mut code = None;
    let mut rest = said.as_slice();
    while rest.len() >= 9 {
        let length = usize::from(rest[0]) << 16 | usize::from(rest[1]) << 8 | usize::from(rest[2]);
        if rest[3] == GOAWAY && rest.len() >= 17 {
            code = Some(u32::from_be_bytes(rest[13..17].try_into().unwrap()));
        }
        rest = rest.get(9 + length..).unwrap_or_default();
    }
    (sending.await.unwrap(), code)
}

async fn is_served(tls: &Tls) -> bool {
    let deed = Deed::trash("/1/a");
    let request = tls.good(&deed).body(Tls::body(&deed)).unwrap();
    tls.http2().await.send_request(request).await.is_ok_and(|answer| answer.status() == 200)
}

/// CVE-2023-44487: streams are opened and reset at once, so that no limit on open streams is
/// reached.
#[tokio::test]
async fn v55_a_client_that_only_resets_is_sent_away() {
    let tls = Tls::new().await;
    let one = |stream: u32| {
        let open = frame(HEADERS, END_STREAM | END_HEADERS, stream, &get("/ucloud/hpc/connect"));
        [open, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    let volley = streams().take(20_000).map(one).collect::<Vec<_>>().concat();
    let (flooding, honest) = tokio::join!(flood(&tls, std::iter::once(volley)), is_served(&tls));
    assert_eq!(flooding.1, Some(ENHANCE_YOUR_CALM));
    assert!(honest && is_served(&tls).await);
}

/// CVE-2024-24549 and similar: a head that continues in frame after frame and never ends.
#[tokio::test]
async fn v07_v55_a_head_of_http2_without_an_end_is_cut_off() {
    let tls = Tls::new().await;
    // One header, never indexed, of 16,000 bytes a frame.
    let length = [0x7f, 0x81, 0x7c]; // 127 + 1 + 124 * 128 = 16,000
    let padding = [&[0x10, 1, b'x'][..], &length, &[b'a'; 16_000]].concat();
    let first = frame(HEADERS, END_STREAM, 1, &get("/ucloud/hpc/connect"));
    let endless = (0..4_000).map(move |_| frame(CONTINUATION, 0, 1, &padding));
    let (flooding, honest) = tokio::join!(flood(&tls, std::iter::once(first).chain(endless)), is_served(&tls));
    // Of 64 MB. The kernel's buffers of both sides, 10 MiB, count as taken.
    assert!(flooding.0 < 16 * 1024 * 1024, "{} bytes were taken", flooding.0);
    assert_eq!(tls.test.upstream_saw().matches("POST ").count(), 1, "the honest one alone");
    assert!(honest && is_served(&tls).await);
}

#[tokio::test]
async fn v55_who_never_shakes_hands_is_closed() {
    let tls = Tls::new().await;
    let mut silent = TcpStream::connect(tls.address).await.unwrap();
    let mut half = TcpStream::connect(tls.address).await.unwrap();
    half.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
    assert!(is_served(&tls).await, "both were accepted before");
    tokio::time::pause();
    let began = Instant::now();
    for stream in [&mut silent, &mut half] {
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said).await;
        assert_eq!(said, b"");
    }
    let seconds = began.elapsed().as_secs();
    assert!(seconds <= 11, "{seconds}");
}

/// A valid head that promises a body of this length.
fn promising(test: &TestGateway, length: usize) -> String {
    let (head, body) = test.good_head(&Deed::trash("/1/a"));
    let honest = format!("Content-Length: {}\r\n", body.len());
    assert!(head.contains(&honest));
    head.replacen(&honest, &format!("Content-Length: {length}\r\nConnection: close\r\n\r\n"), 1)
}

async fn served_in_memory(test: &TestGateway) -> String {
    let (head, body) = test.good_head(&Deed::trash("/1/a"));
    let mut stream = connect(test);
    stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    until_closed(&mut stream).await.0
}

#[tokio::test]
async fn v55_bodies_that_never_come_take_the_room_for_a_while_only() {
    const LONG: usize = 50_000;
    let test = TestGateway::with_room(BodyRoom::of(2 * LONG)).await;
    assert!(served_in_memory(&test).await.starts_with("HTTP/1.1 200 "));
    tokio::time::pause();
    let mut slow: Vec<_> = std::iter::repeat_with(|| connect(&test)).take(2).collect();
    for stream in &mut slow {
        stream.write_all(promising(&test, LONG).as_bytes()).await.unwrap();
    }
    let upstream = test.upstream_saw();
    let refused = served_in_memory(&test).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains(r#""errorCode":"UNAVAILABLE""#), "{refused}");
    for stream in &mut slow {
        let (answer, seconds) = until_closed(stream).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && seconds <= 10, "{seconds}: {answer}");
    }
    assert_eq!(test.upstream_saw(), upstream, "of none of them did the instance hear");
    assert!(served_in_memory(&test).await.starts_with("HTTP/1.1 200 "), "the room is free again");
}

#[tokio::test]
async fn v55_a_body_takes_its_room_until_its_request_is_answered() {
    let length = Deed::trash("/1/a").body("alice", "hpc", countersign_portal::Flavour::Core2).unwrap().len();
    room_is_taken(BodyRoom::of(length + length / 2), "HTTP/1.1 503 ").await;
}

#[tokio::test]
async fn c17_v55_one_users_bodies_do_not_take_the_room_of_all() {
    let length = Deed::trash("/1/a").body("alice", "hpc", countersign_portal::Flavour::Core2).unwrap().len();
    room_is_taken(BodyRoom::of_each(100 * length, length + length / 2), "HTTP/1.1 429 ").await;
}

/// While one request waits for its deposit and fills the memory, another of the same user is
/// refused.
async fn room_is_taken(bodies: BodyRoom, want: &str) {
    let test = TestGateway::changed(|gateway| {
        gateway.bodies = bodies;
        gateway.rules.change(|rules| rules.deposit_wait = Duration::from_secs(60));
    })
    .await;
    tokio::time::pause();
    let (head, body) = test.good_head(&Deed::trash("/1/a"));
    let unsigned: String =
        head.split_inclusive("\r\n").filter(|line| !line.starts_with("UCloud-Signed-Intent")).collect();
    let mut waits = connect(&test);
    waits.write_all(format!("{unsigned}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
    waits.write_all(&body).await.unwrap();
    let refused = served_in_memory(&test).await;
    assert!(refused.starts_with(want), "{refused}");
    let answer = until_closed(&mut waits).await.0;
    assert!(answer.starts_with("HTTP/1.1 482 "), "{answer}");
    assert!(served_in_memory(&test).await.starts_with("HTTP/1.1 200 "), "the room is free again");
}

#[tokio::test]
async fn v55_one_user_has_so_many_requests_under_way_and_no_more() {
    let test = TestGateway::new().await;
    tokio::time::pause();
    let mut slow = Vec::new();
    loop {
        assert!(slow.len() <= 100, "a user may have any number");
        let mut stream = connect(&test);
        stream.write_all(promising(&test, 1_000).as_bytes()).await.unwrap();
        slow.push(stream);
        // It is under way if the gateway waits for its body; a refused one gets a response.
        let mut first = [0];
        let last = slow.last_mut().unwrap();
        if tokio::time::timeout(Duration::from_millis(1), last.read_exact(&mut first)).await.is_ok() {
            let answer = until_closed(last).await.0;
            assert!(answer.starts_with("TTP/1.1 429 ") && answer.contains(r#""errorCode":"TOO_MANY""#), "{answer}");
            assert!(answer.contains("\r\nretry-after: "), "{answer}");
            break;
        }
    }
    assert_eq!(slow.len(), 65);
    for stream in &mut slow[..64] {
        assert!(until_closed(stream).await.0.starts_with("HTTP/1.1 400 "));
    }
    assert!(served_in_memory(&test).await.starts_with("HTTP/1.1 200 "));
}
