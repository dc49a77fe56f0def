//! Tests of floods: Core, and users who are served already, do not notice them.

use std::net::{IpAddr, SocketAddr};

use countersign_portal::Deed;
use tokio::io::DuplexStream;
use tokio::net::TcpSocket;
use tokio::time::Instant;

use super::connections::until_closed;
use super::*;
use crate::response::Transport;
use countersign_ipc::alarm::Alarm;
use countersign_os::limits::Counted;

/// A connection from the loop-back address of that number.
async fn connect_from(test: &TestGateway, number: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let address = IpAddr::from(u32::try_from(0x7f00_0100 + number).unwrap().to_be_bytes());
    socket.bind(SocketAddr::new(address, 0)).unwrap();
    let gateway = test.core.endpoint().origin().trim_start_matches("http://").parse().unwrap();
    socket.connect(gateway).await.unwrap()
}

/// A connection in memory, from the address of that number.
fn in_memory_from(test: &TestGateway, number: usize) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let address = IpAddr::from(u32::try_from(0x0a00_0000 + number).unwrap().to_be_bytes());
    let place = test.acceptor.connections.take(address).unwrap();
    tokio::spawn(test.acceptor.clone().serve_http1(ours, Transport::LoopBack, place));
    theirs
}

async fn is_served(stream: &mut TcpStream, test: &TestGateway) -> bool {
    let (head, body) = test.good_head(&Deed::trash("/1/a"));
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap_or(0);
    answer[..length].starts_with(b"HTTP/1.1 200 ")
}

/// Lets that many addresses hold all connections they can, with a request now and then.
async fn held_by(test: &TestGateway, addresses: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for number in 0..PLACES.max(addresses) * 4 {
        let mut stream = connect_from(test, number % addresses).await;
        let _ = stream.write_all(b"GET /x HTTP/1.1\r\nHost: hpc.example.org\r\n\r\n").await;
        held.push(stream);
    }
    held
}

#[tokio::test]
async fn v73_s09_strangers_who_hold_all_connections_keep_out_neither_core_nor_users() {
    for addresses in [2, 200] {
        let test = TestGateway::new().await;
        let mut kept = TcpStream::connect(test.core.endpoint().origin().trim_start_matches("http://")).await.unwrap();
        assert!(is_served(&mut kept, &test).await);
        let mut held = held_by(&test, addresses).await;
        for _ in 0..10 {
            let began = Instant::now();
            let intent = test.sign(&Deed::trash("/1/a"));
            let answer = test.core.perform("alice", &Deed::trash("/1/a"), Some(&intent)).await.unwrap();
            assert_eq!(answer.status, 200, "{addresses} addresses");
            assert!(began.elapsed() < Duration::from_secs(1), "{addresses} addresses: {:?}", began.elapsed());
            held.push(connect_from(&test, 0).await);
        }
        assert!(is_served(&mut kept, &test).await, "a connection that has shown something is kept");
    }
}

#[tokio::test]
async fn v67_s03_a_stranger_who_is_refused_too_often_waits_and_has_to_connect_again() {
    let test = TestGateway::new().await;
    tokio::time::pause();
    // As many as a connection may send without a rest.
    let requests = "GET /x HTTP/1.1\r\nHost: hpc.example.org\r\n\r\n".repeat(29);
    let requests = format!("{requests}GET /x HTTP/1.1\r\nHost: hpc.example.org\r\nConnection: close\r\n\r\n");
    let (mut answers, mut seconds) = (String::new(), 0);
    while !answers.contains("HTTP/1.1 429 ") {
        let mut stream = in_memory_from(&test, 1);
        stream.write_all(requests.as_bytes()).await.unwrap();
        let (answered, took) = until_closed(&mut stream).await;
        (answers, seconds) = (answers + &answered, took);
    }
    let of = |status: &str| answers.matches(&format!("HTTP/1.1 {status} ")).count();
    // The burst, and the rate for the time that it took.
    assert!((1_024..1_400).contains(&of("404")), "{}", of("404"));
    assert!((1..=2).contains(&of("429")) && (1..=2).contains(&seconds), "{seconds} s: {answers}");
    assert_eq!(test.raised(Alarm::Flood), of("429") as u64);
    assert_eq!(test.written(), 2, "the first of each kind");
    assert_eq!(test.decisions(), if of("429") > 1 { 4 } else { 3 });
    let counted = test.last_record();
    assert!(counted["counted"]["number"].as_u64().unwrap() > 0 && counted["counted"]["networks"] == 1, "{counted}");
    // Another user of the same address gets pages, and users get responses.
    let mut page = in_memory_from(&test, 1);
    page.write_all(b"GET /ucloud/hpc/connect HTTP/1.1\r\nHost: hpc.example.org\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    assert!(until_closed(&mut page).await.0.starts_with("HTTP/1.1 200 "));
    let (head, body) = test.good_head(&Deed::trash("/1/a"));
    let mut honest = in_memory_from(&test, 1);
    honest.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
    honest.write_all(&body).await.unwrap();
    assert!(until_closed(&mut honest).await.0.starts_with("HTTP/1.1 200 "));
    assert_eq!(test.last_decision().0, "forward", "what is let through for a user is a record");
}

#[tokio::test]
async fn v67_s03_a_stranger_who_pipelines_is_read_at_the_rate_and_nobody_waits_for_it() {
    const ANSWERED_MAX: usize = 1024 * 1024;
    let test = TestGateway::new().await;
    tokio::time::pause();
    let (mut answers, mut requests) = tokio::io::split(in_memory_from(&test, 1));
    tokio::spawn(async move {
        while requests.write_all(b"GET /x HTTP/1.1\r\nHost: hpc.example.org\r\n\r\n").await.is_ok() {}
    });
    let (began, mut answered, mut slowest) = (Instant::now(), Vec::new(), Duration::ZERO);
    // More bytes than that are too many in any case.
    while began.elapsed() < Duration::from_secs(20) && answered.len() < ANSWERED_MAX {
        let next = Instant::now() + Duration::from_secs(1);
        while answered.len() < ANSWERED_MAX {
            match tokio::time::timeout_at(next, answers.read_buf(&mut answered)).await {
                Ok(came) => assert_ne!(came.unwrap(), 0, "the gateway ended the connection"),
                Err(_) => break,
            }
        }
        let asked = Instant::now();
        let mut page = in_memory_from(&test, 1);
        page.write_all(b"GET /ucloud/hpc/connect HTTP/1.1\r\nHost: hpc.example.org\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        assert!(until_closed(&mut page).await.0.starts_with("HTTP/1.1 200 "));
        slowest = slowest.max(asked.elapsed());
    }
    let answered = String::from_utf8(answered).unwrap();
    let refused = answered.matches("HTTP/1.1 404 ").count();
    // The bursts of the connection and of its network, and the rates of both for 20 s.
    assert!((400..=32 + 128 + 21 * 17).contains(&refused), "{refused}");
    assert_eq!(answered.matches("HTTP/1.1 429 ").count(), 0);
    assert!(slowest < Duration::from_millis(1), "a neighbour behind the same address: {slowest:?}");
}

#[tokio::test]
async fn v67_s03_public_pages_and_cores_polls_are_counted_and_not_written_one_by_one() {
    let test = TestGateway::new().await;
    let token = format!("Authorization: Bearer {}\r\n", test.core.token().unwrap());
    for _ in 0..20 {
        for (path, token) in [("connect", ""), ("intent/calls.json", ""), ("jobs/retrieveProducts", token.as_str())] {
            let request =
                format!("GET /ucloud/hpc/{path} HTTP/1.1\r\nHost: hpc.example.org\r\n{token}Connection: close\r\n\r\n");
            assert!(test.raw(request.as_bytes()).await.starts_with("HTTP/1.1 200 "), "{path}");
        }
    }
    assert_eq!(test.written(), 0);
    assert_eq!(test.decisions(), 3);
    let counted = test.last_record();
    assert_eq!((&counted["decision"], &counted["counted"]["number"]), (&"forward".into(), &20.into()), "{counted}");
}

/// A server that answers Core's calls and lets every page wait.
async fn patient_server(directory: &std::path::Path) -> std::path::PathBuf {
    let path = directory.join("patient.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let mut waiting = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).await.unwrap();
            if head[..length].starts_with(b"GET /ucloud/hpc/jobs/retrieveProducts") {
                stream.write_all(UPSTREAM_ANSWER.as_bytes()).await.unwrap();
            }
            waiting.push(stream);
        }
    });
    path
}

#[tokio::test]
async fn v73_s08_pages_that_wait_leave_room_for_cores_calls() {
    const ROOM: usize = 64;
    let directory = tempfile::tempdir().unwrap();
    let path = patient_server(directory.path()).await;
    let test = TestGateway::changed(|gateway| {
        gateway.server = Arc::new(InstanceAddress { uid: None, socket: SocketAddress::Unix(path), key: None });
        gateway.public_at_server = Counted::new(ROOM, ROOM);
    })
    .await;
    let poll = "POST /ucloud/hpc/connect/status HTTP/1.1\r\nHost: hpc.example.org\r\nContent-Type: application/json\r\nContent-Length: 14\r\nOrigin: https://hpc.example.org\r\n\r\n{\"ticket\":\"x\"}";
    let mut refused = 0;
    let mut waiting = Vec::new();
    for number in 0..220 {
        let mut stream = in_memory_from(&test, number % 22);
        stream.write_all(poll.as_bytes()).await.unwrap();
        waiting.push(stream);
    }
    for stream in &mut waiting {
        let mut answer = [0; 13];
        if tokio::time::timeout(Duration::from_millis(1), stream.read_exact(&mut answer)).await.is_ok() {
            assert_eq!(&answer, b"HTTP/1.1 429 ");
            refused += 1;
        }
    }
    assert!(refused >= 220 - ROOM, "{refused}");
    let token = test.core.token().unwrap();
    let request = format!(
        "GET /ucloud/hpc/jobs/retrieveProducts HTTP/1.1\r\nHost: hpc.example.org\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    let answer = test.raw(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
