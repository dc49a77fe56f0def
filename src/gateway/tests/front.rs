//! Tests of the origin's own paths: pages, an icon, health checks, and refusals as pages.

use std::io::Read as _;

use countersign_portal::Deed;

use super::*;

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nSec-Fetch-Dest: document\r\n";

async fn ask(test: &TestGateway, method: &str, path: &str, lines: &str) -> String {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: hpc.example.org\r\n{lines}Connection: close\r\n\r\n");
    test.raw(request.as_bytes()).await
}

fn has(answer: &str, line: &str) -> bool {
    answer.split_once("\r\n\r\n").unwrap().0.to_lowercase().contains(&format!("\r\n{line}"))
}

#[tokio::test]
async fn n12_a_person_finds_pages_where_a_program_finds_json() {
    let test = TestGateway::new().await;
    let front = ask(&test, "GET", "/", BROWSER).await;
    assert!(front.starts_with("HTTP/1.1 200 ") && has(&front, "content-type: text/html; charset=utf-8"), "{front}");
    let unknown = "/ucloud/hpc/nothing";
    for (path, want) in [(unknown, 404), ("/index.html", 404), ("/ucloud/hpc/download?token=x", 400)] {
        let page = ask(&test, "GET", path, BROWSER).await;
        assert!(page.starts_with(&format!("HTTP/1.1 {want} ")), "{path}: {page}");
        assert!(
            has(&page, "content-type: text/html; charset=utf-8") && has(&page, "cache-control: no-store"),
            "{page}"
        );
        assert!(has(&page, "content-security-policy: default-src 'none'; script-src 'self'"), "{page}");
        assert!(has(&page, "x-frame-options: deny"), "{page}");
        let id = page.split("x-request-id: ").nth(1).unwrap().split("\r\n").next().unwrap();
        assert!(page.contains(&format!("<code>{id}</code>")), "{path}: the page says which request it was");
        assert!(!page.contains(path.trim_start_matches('/')), "{path}: nothing of a request stands in a page");
        let frame = BROWSER.replace("document", "iframe");
        for program in ["", "Accept: */*\r\n", "Accept: application/json\r\n", &frame] {
            let json = ask(&test, "GET", path, program).await;
            assert!(json.starts_with(&format!("HTTP/1.1 {want} ")), "{path}: {json}");
            assert!(has(&json, "content-type: application/json"), "{path}: {json}");
        }
    }
    let posted = ask(&test, "POST", unknown, BROWSER).await;
    assert!(has(&posted, "content-type: application/json"), "{posted}");
}

#[tokio::test]
async fn n12_every_page_says_whose_it_is_and_whom_to_ask() {
    let test = TestGateway::new().await;
    let mut logo = String::new();
    for path in ["/", "/ucloud/hpc/connect", "/ucloud/hpc/keys", "/ucloud/hpc/signer", "/nothing"] {
        let page = ask(&test, "GET", path, BROWSER).await;
        assert!(page.contains("<span>Example &#38; Centre</span>"), "{path}: {page}");
        assert!(page.contains("<a href=\"mailto:support@example.org\">support@example.org</a>"), "{path}: {page}");
        assert!(page.contains("<html lang=\"en\" data-provider=\"hpc\""), "{path}: programs are told the id");
        page.split("<img src=\"").nth(1).unwrap().split('"').next().unwrap().clone_into(&mut logo);
    }
    for path in [logo.as_str(), "/favicon.ico"] {
        let image = ask(&test, "GET", path, "").await;
        assert!(
            image.starts_with("HTTP/1.1 200 ") && image.ends_with("<svg xmlns=\"http://www.w3.org/2000/svg\"/>"),
            "{image}"
        );
        assert!(
            has(&image, "content-type: image/svg+xml") && has(&image, "x-content-type-options: nosniff"),
            "{image}"
        );
        assert!(
            has(&image, "content-security-policy: sandbox; default-src 'none'; style-src 'unsafe-inline'"),
            "{image}"
        );
    }
    let decisions = test.decisions();
    ask(&test, "GET", "/favicon.ico", "").await;
    ask(&test, "GET", "/", BROWSER).await;
    assert_eq!(test.decisions(), decisions, "the same for everybody: no decision");
}

#[tokio::test]
async fn r10_a_health_check_is_answered_and_leaves_no_record() {
    let test = TestGateway::new().await;
    // More than an unauthenticated address may send: a load balancer checks every second.
    for _ in 0..20 {
        for (method, path) in [
            ("GET", "/healthz"),
            ("HEAD", "/healthz"),
            ("OPTIONS", "/healthz"),
            ("GET", "/readyz"),
            ("HEAD", "/readyz"),
            ("OPTIONS", "/readyz"),
            ("HEAD", "/"),
            ("OPTIONS", "/"),
        ] {
            let answer = ask(&test, method, path, "").await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{method} {path}: {answer}");
        }
    }
    assert_eq!(std::fs::read_to_string(test.directory.path().join("decisions.jsonl")).unwrap(), "");
    for (method, path) in [("POST", "/healthz"), ("GET", "/healthz?x"), ("GET", "/healthz/"), ("DELETE", "/readyz")] {
        let answer = ask(&test, method, path, "").await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{method} {path}: {answer}");
    }
}

#[tokio::test]
async fn c13_a_status_without_a_name_in_http_has_a_phrase() {
    let test = TestGateway::new().await;
    let deed = Deed::move_("/1/a", "/1/b");
    let (head, body) = test.good_head(&deed);
    let body = String::from_utf8(body.to_vec()).unwrap();
    test.instance_is_up.store(false, Ordering::SeqCst);
    let answer = test.raw(format!("{head}Connection: close\r\n\r\n{body}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 449 No Running Instance\r\n"), "{answer}");
    let unsigned = head.split("UCloud-Signed-Intent").next().unwrap();
    let unsigned = format!("{unsigned}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    let answer = test.raw(unsigned.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 482 Signature Refused\r\n"), "{answer}");
}

#[tokio::test]
async fn c12_a_long_list_goes_to_core_compressed_and_nothing_else_does() {
    let test = TestGateway::new().await;
    let item = |number: usize| {
        serde_json::json!({
            "id": format!("/5001/results/sample-{number:04}.csv"), "createdAt": 1_750_000_000_000_i64 + i64::try_from(number * 7919).unwrap(),
            "status": { "type": "FILE", "sizeInBytes": number * 7919 % 100_003, "modifiedAt": 1_750_000_000_000_i64, "unixMode": 0o644 },
            "specification": { "collection": "5001", "product": { "id": "home", "category": "home", "provider": "hpc" } },
        })
    };
    let list =
        serde_json::json!({ "itemsPerPage": 1000, "items": (0..1000).map(item).collect::<Vec<_>>() }).to_string();
    let upstream = |body: &str| {
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            .into_bytes()
    };
    let ask = async |deed: &Deed, body: &str, coding: &str| {
        *test.hostile.lock().unwrap() = Some(upstream(body));
        let intent = test.sign(deed);
        let request = test.core.request("alice", deed, Some(&intent)).unwrap().with_header("Accept-Encoding", coding);
        test.core.send(&request).await.unwrap()
    };
    let browse = Deed::browse("/1");
    let answer = ask(&browse, &list, "gzip").await;
    assert_eq!((answer.status, answer.header("content-encoding")), (200, "gzip"));
    assert_eq!((answer.header("content-type"), answer.header("vary")), ("application/json", "accept-encoding"));
    assert!(answer.bytes.len() <= 40_000, "{} of {} bytes", answer.bytes.len(), list.len());
    let mut read = String::new();
    flate2::read::GzDecoder::new(answer.bytes.as_ref()).read_to_string(&mut read).unwrap();
    assert_eq!(read, list);
    for (deed, body, coding, why) in [
        (&browse, "{}", "gzip", "it is short"),
        (&Deed::move_("/1/a", "/1/b"), list.as_str(), "gzip", "only listings are"),
        (&Deed::Download("/1/a".to_owned()), list.as_str(), "gzip", "tokens share no body with names"),
    ] {
        let answer = ask(deed, body, coding).await;
        assert_eq!(
            (answer.header("content-encoding"), String::from_utf8(answer.bytes.to_vec()).unwrap()),
            ("", body.to_owned()),
            "{why}"
        );
    }
    *test.hostile.lock().unwrap() = Some(upstream(&list));
    let (head, body) = test.good_head(&browse);
    let plain = test.raw(&[head.as_bytes(), b"Connection: close\r\n\r\n", &body].concat()).await;
    assert!(plain.ends_with(&list) && !has(&plain, "content-encoding"), "it was not asked for");
}
