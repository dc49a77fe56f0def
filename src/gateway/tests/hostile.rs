//! Tests with a hostile instance. Whatever status, header, framing or body it sends, the gateway
//! writes the head (V63), and no browser gets content that it would execute.

use std::collections::BTreeSet;

use countersign_portal::Deed;
use countersign_portal::session::{OPEN, Piece};

use super::*;

const SCRIPT: &str = "<!doctype html><script>fetch('/ucloud/hpc/keys/renew')</script>";

/// Every header that the gateway writes in a response from an instance.
const WRITTEN: &[&str] = &[
    "accept-ranges",
    "cache-control",
    "connection",
    "content-disposition",
    "content-length",
    "content-range",
    "content-security-policy",
    "content-type",
    "cross-origin-resource-policy",
    "date",
    "etag",
    "last-modified",
    "referrer-policy",
    "retry-after",
    "transfer-encoding",
    "vary",
    "x-content-type-options",
    "x-request-id",
];

/// Headers with which an instance would make its response active, redirect a browser or change what
/// it stores.
const HEADERS: &[&str] = &[
    "content-type: text/html",
    "content-type: text/html; charset=utf-7",
    "content-type: text/html; charset=utf-16le",
    "content-type: image/svg+xml",
    "content-type: application/xml",
    "content-type: application/xslt+xml",
    "content-type: application/xhtml+xml",
    "content-type: application/pdf",
    "content-type: multipart/related; boundary=b",
    "content-type: message/rfc822",
    "content-type: multipart/x-mixed-replace; boundary=b",
    "content-type: multipart/byteranges; boundary=b",
    "content-type: text/javascript",
    "content-type: text/css",
    "content-type: application/wasm",
    "content-type: text/event-stream",
    "content-type: application/x-shockwave-flash",
    "content-type: text/plain",
    "content-type:",
    "content-type: application/json\r\ncontent-type: text/html",
    "content-disposition: inline",
    "content-disposition: inline; filename=\"a.html\"",
    "content-disposition: attachment; filename*=UTF-8''a%0D%0AContent-Type:%20text/html",
    "content-security-policy: default-src * 'unsafe-inline' 'unsafe-eval'",
    "content-security-policy-report-only: default-src 'none'; report-uri https://evil.example/",
    "x-content-type-options: sniff",
    "x-frame-options: ALLOWALL",
    "cross-origin-resource-policy: cross-origin",
    "cross-origin-opener-policy: unsafe-none",
    "cross-origin-embedder-policy: unsafe-none",
    "service-worker-allowed: /",
    "access-control-allow-origin: *\r\naccess-control-allow-credentials: true",
    "location: https://evil.example/",
    "location: javascript:alert(1)",
    "content-location: https://evil.example/",
    "refresh: 0; url=https://evil.example/",
    "link: </x.js>; rel=preload; as=script, </manifest>; rel=manifest",
    "set-cookie: __Host-a=b; Secure; Path=/",
    "clear-site-data: \"*\"",
    "strict-transport-security: max-age=0",
    "alt-svc: h3=\"evil.example:443\"; persist=1",
    "www-authenticate: Basic realm=\"password\"",
    "proxy-authenticate: Basic",
    "content-language: en\r\nx-dns-prefetch-control: on",
    "speculation-rules: \"/rules\"",
    "sourcemap: /map",
    "supports-loading-mode: fenced-frame",
    "permissions-policy: camera=*",
    "reporting-endpoints: a=\"https://evil.example/\"",
    "nel: {\"report_to\":\"a\",\"max_age\":1}",
    "report-to: {}",
    "accept-ch: Sec-CH-UA\r\ncritical-ch: Sec-CH-UA",
    "origin-agent-cluster: ?0",
    "no-vary-search: params",
    "set-login: logged-in",
    "age: 1\r\nexpires: Tue, 01 Jan 2999 00:00:00 GMT\r\ncache-control: public, max-age=31536000, immutable",
    "vary: *",
    "server: evil\r\nvia: 1.1 evil\r\nx-any: a",
    "trailer: content-type",
    "upgrade: websocket",
];

/// Statuses that no call's response has; browsers or proxies would act on each.
const STATUSES: &[u16] = &[
    201, 202, 203, 205, 207, 208, 226, 299, 300, 301, 302, 303, 304, 305, 307, 308, 399, 402, 405, 406, 407, 408, 410,
    411, 412, 414, 415, 417, 418, 421, 422, 423, 424, 425, 428, 430, 451, 499, 501, 504, 505, 507, 508, 510, 511, 520,
    599, 600, 999,
];

fn answer_with(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let headers = if headers.is_empty() { String::new() } else { format!("{headers}\r\n") };
    format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A response as a browser reads it.
struct Heard {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Heard {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(!body.contains("HTTP/1.1 "), "one answer: {text}");
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        };
        Self { status, headers: lines.map(header).collect(), body: body.to_owned() }
    }

    fn header(&self, name: &str) -> &str {
        let mut values = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = values.next().unwrap_or_default();
        assert_eq!(values.next(), None, "{name} stands once");
        value
    }

    /// A browser neither runs it nor shows it as a page, nor learns anything else from it.
    fn assert_inert(&self, what: &str) {
        let names: BTreeSet<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        let more: Vec<_> = names.iter().filter(|name| !WRITTEN.contains(name)).collect();
        assert!(more.is_empty(), "{what}: {more:?}");
        match self.header("content-type") {
            "application/octet-stream" => {
                assert!(self.header("content-disposition").starts_with("attachment"), "{what}")
            }
            "application/json" => assert!(!names.contains("content-disposition"), "{what}"),
            other => panic!("{what}: {other}"),
        }
        for (name, want) in [
            ("content-security-policy", "sandbox; default-src 'none'"),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-resource-policy", "same-origin"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(self.header(name), want, "{what}: {name}");
        }
        assert!(["", "origin"].contains(&self.header("vary")), "{what}");
    }
}

/// A path to an instance or to the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lane {
    Download,
    DownloadHead,
    DownloadPart,
    Chunk,
    UploadSocket,
    User,
    Direct,
    Service,
    Public,
}

const LANES: [Lane; 9] = [
    Lane::Download,
    Lane::DownloadHead,
    Lane::DownloadPart,
    Lane::Chunk,
    Lane::UploadSocket,
    Lane::User,
    Lane::Direct,
    Lane::Service,
    Lane::Public,
];

impl TestGateway {
    /// Sends a valid request on that lane, to which the upstream responds with these bytes; returns
    /// the client's response.
    async fn hear(&self, lane: Lane, answer: Vec<u8>) -> Heard {
        *self.hostile.lock().unwrap() = Some(answer);
        // Each request of this test would count against the one address that sends them all.
        self.gateway.public_calls.refund(&std::net::Ipv4Addr::LOCALHOST.into());
        let request = self.good(lane);
        Heard::read(&self.raw(request.as_bytes()).await)
    }

    fn good(&self, lane: Lane) -> String {
        let host = "Host: hpc.example.org\r\nConnection: close\r\n";
        let opened = |call: &str, piece: Option<&Piece<'_>>| {
            let token = self.token(call);
            let proof = self.proof(OPEN, &token, piece);
            (token, proof)
        };
        let download = |method: &str, more: &str| {
            let (token, proof) = opened("files.createDownload", None);
            format!("{method} /ucloud/hpc/download?token={token}&intent={proof} HTTP/1.1\r\n{host}{more}\r\n")
        };
        match lane {
            Lane::Download => download("GET", ""),
            Lane::DownloadHead => download("HEAD", ""),
            Lane::DownloadPart => download("GET", "Range: bytes=0-1\r\n"),
            Lane::Chunk => {
                let piece = Piece { offset: 0, bytes: b"x", total: 1 };
                let (token, proof) = opened("files.createUpload", Some(&piece));
                format!(
                    "POST /ucloud/hpc/chunked/upload HTTP/1.1\r\n{host}Chunked-Upload-Token: {token}\r\n\
                     Chunked-Upload-Offset: 0\r\nChunked-Upload-Total-Size: 1\r\nContent-Digest: {}\r\n\
                     UCloud-Signed-Intent: {proof}\r\nContent-Length: 1\r\n\r\nx",
                    piece.content_digest()
                )
            }
            Lane::UploadSocket => {
                let (token, proof) = opened("files.createUpload", None);
                format!(
                    "GET /ucloud/hpc/upload?token={token}&intent={proof} HTTP/1.1\r\nHost: hpc.example.org\r\n\
                     Connection: upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                )
            }
            Lane::User => {
                let (head, body) = self.good_head(&Deed::move_("/1/a", "/1/b"));
                format!("{head}Connection: close\r\n\r\n{}", String::from_utf8(body.to_vec()).unwrap())
            }
            Lane::Direct => {
                let intent = self.own_signed("keys.list", &serde_json::json!({}));
                format!(
                    "POST /ucloud/hpc/keys/list HTTP/1.1\r\n{host}Content-Type: application/json\r\n\
                     UCloud-Signed-Intent: {intent}\r\nContent-Length: 2\r\n\r\n{{}}"
                )
            }
            Lane::Service => {
                let token = self.core.token().unwrap();
                format!(
                    "GET /ucloud/hpc/integration/retrieveManifest HTTP/1.1\r\n{host}Authorization: Bearer {token}\r\n\r\n"
                )
            }
            Lane::Public => {
                format!(
                    "POST /ucloud/hpc/connect/describe HTTP/1.1\r\n{host}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
                )
            }
        }
    }

    /// The response is not passed on: the sender gets 502, and the log has the status or the
    /// reason.
    async fn gets_nothing(&self, lane: Lane, answer: Vec<u8>, why: &str) {
        let what = format!("{lane:?}: {:?}", String::from_utf8_lossy(&answer));
        let heard = self.hear(lane, answer).await;
        heard.assert_inert(&what);
        assert_eq!(heard.status, 502, "{what}");
        assert!(!heard.body.contains("evil"), "{what}: {}", heard.body);
        let is_it = |(decision, reason): &(String, String)| decision == "fail" && reason.contains(why);
        let decisions = self.last_decisions();
        assert!(decisions.iter().any(is_it), "{what}: {decisions:?}");
    }
}

#[tokio::test]
async fn v63_s01_of_a_hostile_instances_head_no_byte_reaches_a_browser() {
    let test = TestGateway::new().await;
    for lane in LANES {
        let is_file = matches!(lane, Lane::Download | Lane::DownloadHead | Lane::DownloadPart);
        for header in HEADERS {
            for status in [200, 403, 500] {
                let heard = test.hear(lane, answer_with(status, header, SCRIPT)).await;
                let what = format!("{lane:?}: {status} {header}");
                heard.assert_inert(&what);
                assert_eq!(heard.status, status, "{what}");
                let is_bytes = heard.header("content-type") == "application/octet-stream";
                assert_eq!(is_bytes, is_file && status == 200, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn v63_s01_a_status_that_no_call_has_is_not_passed_on() {
    let test = TestGateway::new().await;
    for lane in LANES {
        for status in STATUSES {
            let why = if [205, 304].contains(status) { "not valid HTTP/1.1" } else { &status.to_string() };
            let answer = answer_with(*status, "location: javascript:alert(1)\r\nwww-authenticate: Basic", "evil");
            test.gets_nothing(lane, answer, why).await;
        }
        if lane != Lane::DownloadPart {
            let part = answer_with(206, "content-range: bytes 0-3/9", "evil");
            test.gets_nothing(lane, part, "206").await;
        }
    }
}

#[tokio::test]
async fn v63_s01_framing_that_can_be_read_in_two_ways_is_not_passed_on() {
    let test = TestGateway::new().await;
    let early = "HTTP/1.1 103 Early Hints\r\nlink: </evil.js>; rel=preload; as=script\r\n\r\n";
    let whole = String::from_utf8(answer_with(200, "content-type: text/html", "evil")).unwrap();
    let answers = [
        format!("{early}{whole}"),
        format!("HTTP/1.1 100 Continue\r\n\r\n{whole}"),
        format!("HTTP/1.1 102 Processing\r\n\r\n{whole}"),
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n<evil>".to_owned(),
        "HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\nevil".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\nevil".to_owned(),
        "HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\nevil".to_owned(),
        "HTTP/2 200\r\ncontent-length: 4\r\n\r\nevil".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\nevil".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nevil!".to_owned(),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nevil".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\ncontent-length: 4\r\n\r\nevil".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length : 4\r\n\r\nevil".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n evil: folded\r\n\r\nevil".to_owned(),
        "<!doctype html><script>evil()</script>\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 4\r\n\r\nevil", "a".repeat(64 * 1024)),
        format!("HTTP/1.1 200 OK\r\n{}content-length: 4\r\n\r\nevil", "a: b\r\n".repeat(100)),
    ];
    for lane in LANES {
        for answer in &answers {
            test.gets_nothing(lane, answer.clone().into_bytes(), "not valid HTTP/1.1").await;
        }
    }
}

#[tokio::test]
async fn v63_s01_trailers_are_no_part_of_an_answer() {
    let test = TestGateway::new().await;
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: content-type\r\n\r\n4\r\nfile\r\n0\r\ncontent-type: text/html\r\n\r\n";
    *test.hostile.lock().unwrap() = Some(answer.as_bytes().to_vec());
    let heard = test.raw(test.good(Lane::Download).as_bytes()).await;
    assert!(!heard.contains("text/html") && !heard.ends_with("0\r\n\r\n"), "the answer is cut off: {heard}");
}

#[tokio::test]
async fn v63_s01_a_part_of_a_file_says_which_it_is() {
    let test = TestGateway::new().await;
    let heard = test.hear(Lane::DownloadPart, answer_with(206, "content-range: bytes 0-1/9", "ab")).await;
    heard.assert_inert("a part");
    assert_eq!((heard.status, heard.header("content-range"), heard.body.as_str()), (206, "bytes 0-1/9", "ab"));
    for range in [
        "x: y",
        "content-range: bytes 0-2/9",
        "content-range: bytes */9",
        "content-range: bytes 0-1/*",
        "content-type: multipart/byteranges; boundary=b",
        "content-range: bytes 0-1/9\r\ncontent-range: bytes 0-1/9",
    ] {
        test.gets_nothing(Lane::DownloadPart, answer_with(206, range, "ev"), "which part").await;
    }
    let beyond = test.hear(Lane::DownloadPart, answer_with(416, "content-range: bytes */9", "{}")).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, "bytes */9"));
    beyond.assert_inert("beyond the end");
    test.gets_nothing(Lane::User, answer_with(416, "content-range: bytes */9", "evil"), "416").await;
}

#[tokio::test]
async fn v63_s01_a_download_keeps_its_name_length_range_and_validators() {
    let test = TestGateway::new().await;
    let said = "content-type: text/html\r\ncontent-disposition: inline; filename=\"x.html\"; filename*=UTF-8''na%C3%AFve.html\r\n\
                etag: \"abc\"\r\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\naccept-ranges: bytes";
    for (lane, body) in [(Lane::Download, SCRIPT), (Lane::DownloadHead, "")] {
        let heard = test.hear(lane, answer_with(200, said, SCRIPT)).await;
        heard.assert_inert("a download");
        let want = "attachment; filename=\"na_ve.html\"; filename*=UTF-8''na%C3%AFve.html";
        assert_eq!(heard.header("content-disposition"), want);
        assert_eq!((heard.header("etag"), heard.header("accept-ranges")), ("\"abc\"", "bytes"));
        assert_eq!(heard.header("last-modified"), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(heard.header("content-length"), SCRIPT.len().to_string());
        assert_eq!(heard.body, body);
    }
    let heard = test.hear(Lane::User, answer_with(503, "retry-after: 99999", "{}")).await;
    assert_eq!((heard.status, heard.header("retry-after")), (503, "3600"));
}

#[tokio::test]
async fn v63_s01_a_browser_that_would_run_an_instances_answer_is_refused_before_the_instance_is_asked() {
    let test = TestGateway::new().await;
    for destination in ["script", "style", "worker", "sharedworker", "object", "embed", "image", "manifest", "xslt"] {
        let request = test.good(Lane::Download);
        let line = format!("\r\nSec-Fetch-Dest: {destination}\r\nSec-Fetch-Mode: no-cors\r\nHost:");
        let heard = Heard::read(&test.raw(request.replacen("\r\nHost:", &line, 1).as_bytes()).await);
        assert_eq!(heard.status, 403, "{destination}");
        heard.assert_inert(destination);
        assert!(test.last_decision().1.starts_with("destination: "));
    }
    assert_eq!(test.upstream_saw(), "");
}

#[tokio::test]
async fn v64_s01_no_service_worker_comes_from_this_origin() {
    let test = TestGateway::new().await;
    let page = test.core.send_http(plain_request("GET", "/ucloud/hpc/connect", &[], "")).await.unwrap();
    let html = String::from_utf8(page.bytes.to_vec()).unwrap();
    let asset = html.split(" src=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: hpc.example.org\r\nConnection: close\r\n\r\n");
    let mut requests: Vec<String> =
        LANES.iter().filter(|lane| **lane != Lane::UploadSocket).map(|lane| test.good(*lane)).collect();
    requests.extend(["/ucloud/hpc/connect", "/ucloud/hpc/intent/calls.json", "/", "/sw.js", &asset].map(get));
    for request in requests {
        for line in ["Service-Worker: script", "Sec-Fetch-Dest: serviceworker"] {
            let request = request.replacen("\r\nHost:", &format!("\r\n{line}\r\nHost:"), 1);
            let heard = Heard::read(&test.raw(request.as_bytes()).await);
            assert_eq!(heard.status, 403, "{request}");
            heard.assert_inert(&request);
            let refused = ("refuse".to_owned(), "destination: a service worker".to_owned());
            assert!(test.last_decisions().contains(&refused), "{request}: {:?}", test.last_decisions());
        }
    }
    assert_eq!(test.upstream_saw(), "");
    assert!(test.raw(get(&asset).as_bytes()).await.starts_with("HTTP/1.1 200 "), "a page's own script is served");
}

/// N18: the log has the result of a request, whatever the instance responds.
#[tokio::test]
async fn n18_what_came_of_a_request_is_in_the_log() {
    let test = TestGateway::new().await;
    for lane in [Lane::User, Lane::Direct, Lane::Download, Lane::Chunk] {
        for (status, passed_on) in [(200, 200), (404, 404), (503, 503), (302, 502)] {
            let heard = test.hear(lane, answer_with(status, "x: y", "{}")).await;
            assert_eq!(heard.status, passed_on, "{lane:?}");
            let log = std::fs::read_to_string(test.directory.path().join("decisions.jsonl")).unwrap();
            let of_request = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            let of_request = of_request.filter(|record| record["requestId"] == heard.header("x-request-id"));
            let said: Vec<_> =
                of_request.map(|record| (record["decision"].clone(), record["status"].clone())).collect();
            let mut want = vec![("forward", serde_json::Value::Null), ("answered", status.into())];
            want.extend((status != passed_on).then(|| ("fail", passed_on.into())));
            let want: Vec<_> = want.into_iter().map(|(name, status)| (serde_json::Value::from(name), status)).collect();
            assert_eq!(said, want, "{lane:?}");
        }
    }
}

/// R1: the log has the instance's reason for a refusal, on every lane, as one bounded line.
#[tokio::test]
async fn r01_why_an_instance_refused_is_in_the_gateways_log() {
    let test = TestGateway::new().await;
    let refused =
        |why: &str| serde_json::json!({ "statusCode": 409, "why": why, "errorCode": "ACCOUNT_UNUSABLE" }).to_string();
    let sentence = refused("others may write into your home: chmod 755 ~");
    let said = "answer: ACCOUNT_UNUSABLE \"others may write into your home: chmod 755 ~\"";
    let painted = refused("a\"\n\u{1b}[2J\u{202e}");
    for lane in [Lane::User, Lane::Direct, Lane::Download, Lane::Chunk] {
        let silent = "answer: no reason was given";
        let long = refused(&"x".repeat(64 * 1024));
        for (status, body, reason, heard_body) in [
            (409, sentence.as_str(), Some(said), sentence.as_str()),
            (
                409,
                painted.as_str(),
                Some("answer: ACCOUNT_UNUSABLE \"a\\\"\\u{a}\\u{1b}[2J\\u{202e}\""),
                painted.as_str(),
            ),
            (503, "<html>", Some(silent), "<html>"),
            (409, long.as_str(), Some(silent), "{}"),
            (200, sentence.as_str(), None, sentence.as_str()),
        ] {
            let heard = test.hear(lane, answer_with(status, "x: y", body)).await;
            assert_eq!((heard.status, heard.body.as_str()), (status, heard_body), "{lane:?}");
            let log = std::fs::read_to_string(test.directory.path().join("decisions.jsonl")).unwrap();
            let records = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            let answered = records.filter(|record| {
                record["requestId"] == heard.header("x-request-id") && record["decision"] == "answered"
            });
            let reasons: Vec<_> = answered.map(|record| record["reason"].clone()).collect();
            assert_eq!(reasons, [reason.map_or(serde_json::Value::Null, Into::into)], "{lane:?}");
        }
    }
}
