//! Tests of the hosts of public links: one lane, without cookie and token, and no other.

use countersign_config::LinkHosts;
use countersign_ipc::gateway_protocol::LinkTarget;
use countersign_keys::identity::{CoreJobId, LinkName, Username};
use countersign_portal::session::OPEN;

use super::web::{ask, ask_well};
use super::*;

/// Every spelling of a host that belongs to public links.
const HOSTS: [&str; 6] = [
    "link-paper.links.example.org",
    "LINK-Paper.Links.example.org",
    "link-paper.links.example.org:8889",
    "link-paper.links.example.org.",
    "link-other.links.example.org",
    "link-.links.example.org",
];

/// What the server says of links: one leads to a job of alice's.
pub(super) fn target(name: &LinkName, alice: &Username) -> Option<LinkTarget> {
    let job = CoreJobId::parse("5").unwrap();
    (name.as_str() == "paper").then(|| LinkTarget { username: alice.clone(), job })
}

async fn with_links() -> TestGateway {
    let provider = Origin::parse(ORIGIN).unwrap();
    TestGateway::changed(|gateway| gateway.links = Links::at(LinkHosts::new("link-", ".links.example.org", &provider)))
        .await
}

#[tokio::test]
async fn j07_a_link_needs_no_cookie_and_carries_none_of_ours() {
    let test = with_links().await;
    let ours = format!("Cookie: a=b; __Host-countersign={}\r\nUCloud-Web-Session: x\r\n", "A".repeat(43));
    let more = format!("{ours}UCloud-Web-Place: 6-0\r\nOrigin: https://elsewhere.example\r\nX-Forwarded-For: x\r\n");
    let answer = ask(&test, "link-paper.links.example.org", "/a%2Fb?x=1", &more).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("x-inner: no"), "{answer}");
    let saw = test.upstream_saw();
    assert!(saw.starts_with("GET /a%2Fb?x=1 HTTP/1.1\r\n"), "{saw}");
    assert!(saw.contains("ucloud-web-link: paper\r\n") && saw.contains("ucloud-web-job: 5\r\n"), "{saw}");
    assert!(saw.contains("cookie: a=b\r\n") && !saw.contains("__Host-"), "{saw}");
    for gone in ["ucloud-web-session", "ucloud-web-place", "x-forwarded-for"] {
        assert!(!saw.contains(gone), "{gone}: {saw}");
    }
}

#[tokio::test]
async fn j07_a_request_at_a_links_host_reaches_no_other_lane() {
    let test = with_links().await;
    for host in HOSTS {
        let answer = ask_well(&test, host).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{host}: {answer}");
        let token = test.token("jobs.openInteractiveSession");
        let proof = test.proof(OPEN, &token, None);
        for path in ["authorize-app", "vnc", "download", "connect", "intent/calls.json"] {
            let target = format!("/ucloud/hpc/{path}?token={token}&intent={proof}");
            let answer = ask(&test, host, &target, "").await;
            assert!(answer.starts_with("HTTP/1.1 404 "), "{host} {path}: {answer}");
        }
    }
    for host in ["link-other.links.example.org", "link-a.b.links.example.org", "link-.links.example.org"] {
        let answer = ask(&test, host, "/", "Accept: text/html\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("no running job"), "{host}: {answer}");
    }
    let two = "Host: hpc.example.org\r\n";
    assert!(ask(&test, "link-paper.links.example.org", "/", two).await.starts_with("HTTP/1.1 400 "), "two hosts");
    assert_eq!(test.upstream_saw(), "");
}

#[tokio::test]
async fn j07_no_other_host_reaches_a_link() {
    let test = with_links().await;
    for host in ["hpc.example.org", "links.example.org", "link-paper.links.example.org.evil.example", "127.0.0.1"] {
        let answer = ask(&test, host, "/", "UCloud-Web-Link: paper\r\nUCloud-Web-Job: 5\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{host}: {answer}");
    }
    assert_eq!(test.upstream_saw(), "");
}

#[tokio::test]
async fn j07_a_deleted_link_is_asked_for_again_and_its_socket_ends() {
    let test = with_links().await;
    let gateway = &test.gateway;
    let name = LinkName::parse("paper").unwrap();
    let route = async || gateway.links.route(&name, &gateway.key_cache).await.unwrap().unwrap();
    let one = route().await;
    assert!(Arc::ptr_eq(&one, &route().await));
    gateway.key_cache.forget(&Ended::Link { name: name.clone() });
    assert!(Arc::ptr_eq(&one, &route().await), "asked for again, and the same");
    gateway.links.end(&one);
    one.connections().until_closed().await;
    let other = route().await;
    assert!(!Arc::ptr_eq(&one, &other) && !other.connections().is_closed());
}
