//! Tests of the hosts of jobs' web interfaces: they have one lane, and it has no other host.

use countersign_config::WebHosts;
use countersign_portal::session::OPEN;

use serde_json::json;

use super::*;

const OPENING: &str = "/ucloud/hpc/authorize-app";

/// The origin of an interface.
const INTERFACE: &str = "https://app-5-0.apps.example.org";

/// Every spelling of a host that belongs to web interfaces.
const HOSTS: [&str; 6] = [
    "app-5-0.apps.example.org",
    "APP-5-0.Apps.Example.org",
    "app-5-0.apps.example.org:8889",
    "app-5-0.apps.example.org.",
    "app-nothing.apps.example.org",
    "app-.apps.example.org",
];

async fn with_interfaces() -> TestGateway {
    let provider = Origin::parse(ORIGIN).unwrap();
    TestGateway::changed(|gateway| gateway.web_hosts = WebHosts::new("app-", ".apps.example.org", &provider)).await
}

impl TestGateway {
    /// A token for the interface at this origin.
    fn web_token(&self, origin: &str) -> String {
        let interface = json!({"kind": "web", "place": "5-0", "origin": origin});
        self.token_altered("jobs.openInteractiveSession", |_, claims| claims["interface"] = interface)
    }
}

/// A request of Core's that is good at the provider's own host.
pub(super) async fn ask_well(test: &TestGateway, host: &str) -> String {
    let (head, body) = test.good_head(&Deed::trash("/1/a"));
    let head = head.replace("Host: hpc.example.org", &format!("Host: {host}"));
    let mut request = format!("{head}Connection: close\r\n\r\n").into_bytes();
    request.extend_from_slice(&body);
    test.raw(&request).await
}

/// A request that closes its connection, at a host.
pub(super) async fn ask(test: &TestGateway, host: &str, target: &str, more: &str) -> String {
    let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n");
    test.raw(head.as_bytes()).await
}

#[tokio::test]
async fn j06_a_request_at_an_interfaces_host_reaches_no_other_lane() {
    let test = with_interfaces().await;
    for host in HOSTS {
        let answer = ask_well(&test, host).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{host}: {answer}");
        for target in ["/", "/ucloud/hpc/connect", "/ucloud/hpc/intent/calls.json", "/ucloud/hpc/download?token=x"] {
            let answer = ask(&test, host, target, "").await;
            let is_refused = answer.starts_with("HTTP/1.1 403 ") || answer.starts_with("HTTP/1.1 404 ");
            assert!(is_refused, "{host} {target}: {answer}");
        }
        let token = test.token("files.createDownload");
        let proof = test.proof(OPEN, &token, None);
        let answer = ask(&test, host, &format!("/ucloud/hpc/download?token={token}&intent={proof}"), "").await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{host}: {answer}");
    }
    assert_eq!(test.upstream_saw(), "");
}

#[tokio::test]
async fn j06_no_other_host_reaches_an_interfaces_lane() {
    let test = with_interfaces().await;
    for host in ["hpc.example.org", "apps.example.org", "app-5-0.apps.example.org.evil.example", "127.0.0.1"] {
        let token = test.web_token(INTERFACE);
        let proof = test.proof(OPEN, &token, None);
        let answer = ask(&test, host, &format!("{OPENING}?token={token}&intent={proof}"), "").await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{host}: {answer}");
    }
    // At the host of another interface, the gateway refuses it by itself.
    for origin in ["https://app-6-0.apps.example.org", "http://app-5-0.apps.example.org", ORIGIN, "x"] {
        let token = test.web_token(origin);
        let target = format!("{OPENING}?token={token}&intent={}", test.proof(OPEN, &token, None));
        let answer = ask(&test, "app-5-0.apps.example.org", &target, "").await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{origin}: {answer}");
    }
    assert_eq!(test.upstream_saw(), "");
    // At its own host the same goes to the instance.
    let token = test.web_token(INTERFACE);
    let target = format!("{OPENING}?token={token}&intent={}", test.proof(OPEN, &token, None));
    let framed = ask(&test, "app-5-0.apps.example.org", &target, "Sec-Fetch-Dest: iframe\r\n").await;
    assert!(framed.starts_with("HTTP/1.1 403 "), "{framed}");
    let _answer = ask(&test, "app-5-0.apps.example.org", &target, "").await;
    let saw = test.upstream_saw();
    assert!(saw.starts_with("GET /ucloud/hpc/authorize-app HTTP/1.1\r\n"), "{saw}");
    assert!(saw.contains("ucloud-web-place: 5-0\r\n") && !saw.contains("host: app"), "{saw}");
}

#[tokio::test]
async fn j06_without_a_session_nothing_goes_upstream_and_a_page_says_what_to_do() {
    let test = with_interfaces().await;
    let host = "app-5-0.apps.example.org";
    let unknown = format!("Cookie: __Host-countersign={}\r\n", "A".repeat(43));
    for more in ["", "Cookie: a=b\r\n", "Cookie: __Host-countersign=\r\n", &unknown, "Origin: https://evil.example\r\n"]
    {
        let answer = ask(&test, host, "/lab?a=%2F", &format!("{more}Accept: text/html\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{more}: {answer}");
        assert!(answer.contains("Go back to UCloud"), "{more}: {answer}");
    }
    let decisions = test.last_decisions();
    for reason in ["no cookie of an open session", "a page of another origin"] {
        let is_it = |(decision, why): &(String, String)| decision == "refuse" && why.contains(reason);
        assert!(decisions.iter().any(is_it), "{decisions:?}");
    }
    let socket = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let head = format!("GET /socket HTTP/1.1\r\nHost: {host}\r\n{socket}\r\n");
    let answered = test.core.endpoint().raw(head.as_bytes(), Duration::from_millis(500)).await.unwrap();
    assert!(answered.starts_with(b"HTTP/1.1 403 "), "{}", String::from_utf8_lossy(&answered));
    let two = format!("Host: hpc.example.org\r\n{unknown}");
    assert!(ask(&test, host, "/", &two).await.starts_with("HTTP/1.1 400 "), "two hosts");
    assert_eq!(test.upstream_saw(), "");
}
