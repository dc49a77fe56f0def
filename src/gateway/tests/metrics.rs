//! Metrics: what is counted, and how they are served.

use countersign_metrics::{FAMILIES, Snapshot, family};

use super::*;
use crate::metrics::Scraped;
use countersign_config::MetricsReach;
use countersign_os::descriptors::Listener;

/// The server's part of each scrape.
pub(super) fn of_the_server() -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.put(&family::SERVER_USERS, 3_u64);
    snapshot
}

/// Serves the metrics of that gateway, and returns their address.
async fn serve(test: &TestGateway, reach: MetricsReach) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let scraped = Scraped::new(&test.gateway, &test.acceptor.connections, None);
    let listener = Listener::Tcp(listener.into_std().unwrap());
    tokio::spawn(crate::metrics::serve(listener, scraped, reach));
    address
}

async fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(60), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

async fn scrape(address: std::net::SocketAddr) -> String {
    ask(address, &format!("GET /metrics HTTP/1.1\nHost: {address}\nConnection: close\n\n")).await
}

#[tokio::test]
async fn w01_a_scrape_has_what_was_decided_and_nothing_of_a_request() {
    let test = TestGateway::new().await;
    let address = serve(&test, MetricsReach::ThisMachine).await;
    let deed = Deed::browse("/1/secret-folder");
    let answer = test.core.send(&test.core.request("alice", &deed, Some(&test.sign(&deed))).unwrap()).await.unwrap();
    assert_eq!(answer.status, 200);
    let refused = test.raw(b"GET /no-such-path HTTP/1.1\r\nHost: h.example.org\r\nConnection: close\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 404 "), "{refused}");
    let _held = TcpStream::connect(test.core.endpoint().origin().trim_start_matches("http://")).await.unwrap();

    let text = scrape(address).await;
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    assert!(text.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{text}");
    for line in [
        "gateway_decisions_total{lane=\"core\",decision=\"forward\",class=\"\",reason=\"\"} 1.0",
        "gateway_decisions_total{lane=\"unknown\",decision=\"refuse\",class=\"NOT_FOUND\",reason=\"no_such_call\"} 1.0",
        "gateway_answers_total{lane=\"core\",status=\"2xx\"} 1.0",
        "gateway_request_seconds_count 2",
        "gateway_verification_seconds_count 1",
        "gateway_upstream_seconds_count 1",
        "gateway_requests_in_flight 0.0",
        "gateway_replay_entries 1.0",
        "gateway_connections_max 32.0",
        "gateway_server_answers 1.0",
        "server_users 3.0",
    ] {
        assert!(text.contains(&format!("\ncountersign_{line}\n")), "{line}\n{text}");
    }
    // Nothing that a client sent, or that names a user.
    for word in ["alice", "secret-folder", "no-such-path", "example.org"] {
        assert!(!text.to_lowercase().contains(word), "{word}\n{text}");
    }
    let kid = test.alice.lock().unwrap().record.kid.to_string();
    assert!(!text.contains(&kid), "{text}");
}

#[tokio::test]
async fn w01_a_scrape_has_every_family_of_the_gateway() {
    let test = TestGateway::new().await;
    let deed = Deed::browse("/1/a");
    let answer = test.core.send(&test.core.request("alice", &deed, Some(&test.sign(&deed))).unwrap()).await.unwrap();
    assert_eq!(answer.status, 200);
    let scraped = Scraped::new(&test.gateway, &test.acceptor.connections, None);
    let text = scraped.text().await;
    // Without TLS there is no certificate.
    let absent = [family::GATEWAY_CERTIFICATE_ENDS.name];
    for family in FAMILIES.iter().filter(|family| !family.name.starts_with("countersign_server_")) {
        let is_there = text.contains(&format!("# TYPE {} ", family.name.trim_end_matches("_total")));
        assert_eq!(is_there, !absent.contains(&family.name), "{}\n{text}", family.name);
    }
}

#[tokio::test]
async fn w01_the_listener_of_metrics_answers_nothing_else() {
    let test = TestGateway::new().await;
    let address = serve(&test, MetricsReach::ThisMachine).await;
    for request in [
        "POST /metrics HTTP/1.1\nHost: localhost\nContent-Length: 0\nConnection: close\n\n",
        "GET /metrics?x HTTP/1.1\nHost: localhost\nConnection: close\n\n",
        "GET / HTTP/1.1\nHost: localhost\nConnection: close\n\n",
        "GET /ucloud/hpc/keys HTTP/1.1\nHost: localhost\nConnection: close\n\n",
    ] {
        let answer = ask(address, request).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{request}{answer}");
    }
    let seen = test.upstream_saw();
    assert!(seen.is_empty(), "{seen}");
}

#[tokio::test]
async fn w01_no_page_of_this_machine_reads_them_under_a_name_of_its_own() {
    let test = TestGateway::new().await;
    let (here, anywhere) = (serve(&test, MetricsReach::ThisMachine).await, serve(&test, MetricsReach::Anywhere).await);
    let under = |name: &str| format!("GET /metrics HTTP/1.1\nHost: {name}\nConnection: close\n\n");
    for name in ["evil.example.org:9464", "localhost.evil.example.org", "evil"] {
        let refused = ask(here, &under(name)).await;
        assert!(refused.starts_with("HTTP/1.1 403 ") && !refused.contains("countersign_"), "{name}: {refused}");
        assert!(ask(anywhere, &under(name)).await.starts_with("HTTP/1.1 200 "), "{name}");
    }
    for name in ["localhost:9464", "127.0.0.1:9464", "[::1]:9464", "192.0.2.1"] {
        assert!(ask(here, &under(name)).await.starts_with("HTTP/1.1 200 "), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn w01_a_collector_that_holds_every_place_loses_them() {
    let test = TestGateway::new().await;
    let address = serve(&test, MetricsReach::ThisMachine).await;
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
        held.push(stream);
    }
    // Their heads never come; the places are free after the time for a head.
    let text = tokio::time::timeout(Duration::from_secs(120), scrape(address)).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
}
