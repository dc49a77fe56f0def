//! Tests of slow clients, of too many connections, and of shutdown.
//!
//! Time is paused and advanced: no test waits.

use countersign_portal::Deed;
use tokio::io::DuplexStream;
use tokio::time::Instant;

use super::*;
use crate::http1::timeouts::{HEAD, IDLE};
use crate::response::Transport;

/// A connection in memory, so that time can be advanced.
pub(super) fn connect(test: &TestGateway) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let address = "127.0.0.1".parse().unwrap();
    let place = ConnectionTable::new(2).take(address).unwrap();
    tokio::spawn(test.acceptor.clone().serve_http1(ours, Transport::LoopBack, place));
    theirs
}

/// Reads until the gateway closes; returns the bytes and the seconds.
pub(super) async fn until_closed(stream: &mut DuplexStream) -> (String, u64) {
    let began = Instant::now();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    (String::from_utf8(answer).unwrap(), began.elapsed().as_secs())
}

#[tokio::test]
async fn v55_a_slow_head_is_given_up_and_an_idle_connection_later() {
    let test = TestGateway::new().await;
    tokio::time::pause();
    let mut stream = connect(&test);
    stream.write_all(b"POST /ucloud/hpc/fi").await.unwrap();
    let (answer, seconds) = until_closed(&mut stream).await;
    assert_eq!((answer.as_str(), seconds), ("", HEAD.as_secs()));
    let (answer, seconds) = until_closed(&mut connect(&test)).await;
    assert_eq!((answer.as_str(), seconds), ("", IDLE.as_secs()));
}

#[tokio::test]
async fn v55_bytes_that_trickle_in_buy_no_time() {
    let test = TestGateway::new().await;
    tokio::time::pause();
    let mut stream = connect(&test);
    let began = Instant::now();
    for byte in "POST /ucloud/hpc/files/trash HTTP/1.1".bytes() {
        if stream.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    until_closed(&mut stream).await;
    assert!(began.elapsed() <= HEAD + Duration::from_secs(2));
}

#[tokio::test]
async fn v55_a_slow_body_is_refused() {
    let test = TestGateway::new().await;
    let (head, body) = test.good_head(&Deed::trash("/1/a"));
    tokio::time::pause();
    let mut stream = connect(&test);
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    stream.write_all(&body[..10]).await.unwrap();
    let (answer, seconds) = until_closed(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("too slowly"));
    assert!((5..=6).contains(&seconds), "{seconds}");
    assert_eq!(test.upstream_saw(), "");
}

#[tokio::test]
async fn v55_a_body_that_is_cut_short_goes_nowhere() {
    let test = TestGateway::new().await;
    let (head, body) = test.good_head(&Deed::trash("/1/a"));
    let mut stream = connect(&test);
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    stream.write_all(&body[..body.len() - 1]).await.unwrap();
    stream.shutdown().await.unwrap();
    until_closed(&mut stream).await;
    assert_eq!(test.upstream_saw(), "");
}

#[tokio::test]
async fn a_body_that_waits_for_leave_is_asked_for_only_when_the_head_is_good() {
    let test = TestGateway::new().await;
    let deed = Deed::trash("/1/a");
    let (head, body) = test.good_head(&deed);
    let mut stream = connect(&test);
    stream.write_all(format!("{head}Expect: 100-continue\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut leave = [0; 25];
    stream.read_exact(&mut leave).await.unwrap();
    assert_eq!(&leave, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&body).await.unwrap();
    assert!(until_closed(&mut stream).await.0.starts_with("HTTP/1.1 200 OK\r\n"));

    let mut stream = connect(&test);
    let unsigned = head.replace("UCloud-Signed-Intent: ", "UCloud-Signed-Intent: A");
    stream.write_all(format!("{unsigned}Expect: 100-continue\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let answer = until_closed(&mut stream).await.0;
    assert!(answer.starts_with("HTTP/1.1 482 "), "the signature comes before the body: {answer}");
}

#[tokio::test]
async fn one_address_has_half_of_the_connections_at_most() {
    let test = TestGateway::new().await;
    let address = test.core.endpoint().origin();
    let address = address.trim_start_matches("http://");
    let mut held = Vec::new();
    for _ in 0..=PLACES / 2 {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    let mut nothing = Vec::new();
    let _ = held[0].read_to_end(&mut nothing).await;
    assert!(nothing.is_empty(), "its oldest is closed unread");
    let mut byte = [0];
    let last = held.last_mut().unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), last.read(&mut byte)).await.is_err(), "the others are not");
}

#[tokio::test]
async fn what_is_under_way_is_finished_when_the_gateway_stops() {
    let test = TestGateway::new().await;
    let (head, body) = test.good_head(&Deed::trash("/1/a"));
    let mut under_way = connect(&test);
    under_way.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut idle = connect(&test);
    test.stop.send_replace(true);
    assert_eq!(until_closed(&mut idle).await.0, "");
    under_way.write_all(&body).await.unwrap();
    assert!(until_closed(&mut under_way).await.0.starts_with("HTTP/1.1 200 OK\r\n"));
    tokio::time::sleep(Duration::from_millis(20)).await;
    let refused = TcpStream::connect(test.core.endpoint().origin().trim_start_matches("http://")).await;
    assert!(refused.is_err(), "nobody listens any more");
}
