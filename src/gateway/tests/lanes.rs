//! Tests of what passes, what the upstream receives, and the response to each missing proof.
//!
//! Of a refused request the upstream must not see a byte (P5), and the log must have the reason
//! (P9).

use std::sync::atomic::Ordering;

use countersign_portal::Deed;

use super::*;

#[tokio::test]
async fn a_signed_request_reaches_the_instance_rebuilt_from_what_was_judged() {
    let test = TestGateway::new().await;
    let deed = Deed::move_("/1/a", "/1/b");
    let intent = test.sign(&deed);
    let request = test.core.request("alice", &deed, Some(&intent)).unwrap();
    let request = request.with_header("X-Forwarded-For", "203.0.113.9").with_header("Cookie", "a=b");
    let answer = test.core.send(&request).await.unwrap();
    assert_eq!((answer.status, answer.json()), (200, serde_json::json!({"ok": true})));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("x-inner"), "", "an upstream's own headers stay inside");
    assert_eq!(answer.header("set-cookie"), "");
    assert!(!answer.header("x-request-id").is_empty());
    let saw = test.upstream_saw();
    assert!(saw.starts_with("POST /ucloud/hpc/files/move HTTP/1.1\r\n"), "{saw}");
    let lower = saw.to_lowercase();
    for absent in ["x-forwarded-for", "cookie", "accept-encoding", "user-agent"] {
        assert!(!lower.contains(absent), "{absent} went upstream");
    }
    assert!(saw.contains(&intent));
    assert!(saw.contains("ucloud-username: YWxpY2U=\r\n"));
    assert!(saw.contains("host: instance\r\n"));
    assert!(saw.ends_with(std::str::from_utf8(&request.body.unwrap()).unwrap()));
    assert_eq!(test.last_decision(), ("answered".to_owned(), String::new()));
    assert_eq!(test.decisions(), 2);
}

/// Each way for a request to be incomplete, its response, and the reason in the log.
#[tokio::test]
async fn what_a_request_lacks_is_refused_with_its_class_and_not_a_byte_upstream() {
    let test = TestGateway::new().await;
    let deed = Deed::move_("/1/a", "/1/b");
    let other = Deed::move_("/1/a", "/1/c");
    let good = |intent: Option<&str>| test.core.request("alice", &deed, intent).unwrap();
    let intent = test.sign(&deed);
    let (head, signature) = intent.rsplit_once('.').unwrap();
    let flipped = format!("{head}.{}{}", if signature.starts_with('A') { "B" } else { "A" }, &signature[1..]);
    let stranger = Signer::new("alice");
    let now = countersign_portal::now();
    let by = |signer: &Signer, deed: &Deed, at: i64| {
        Intent::of(ORIGIN, "alice", deed, at).unwrap().sign(&signer.key).unwrap()
    };
    let unknown_key = by(&stranger, &deed, now);
    let (stale, early) = {
        let alice = test.alice.lock().unwrap();
        (by(&alice, &deed, now - 600), by(&alice, &deed, now + 600))
    };
    let elsewhere = {
        let alice = test.alice.lock().unwrap();
        Intent::of("https://other.example.org", "alice", &deed, now).unwrap().sign(&alice.key).unwrap()
    };
    let cases = [
        ("no intent", good(None), 482, "INTENT_REQUIRED", "no intent"),
        ("flipped signature", good(Some(&flipped)), 482, "INTENT_INVALID", "signature"),
        ("unknown key", good(Some(&unknown_key)), 482, "INTENT_INVALID", "no such key"),
        ("another request", good(Some(&test.sign(&other))), 482, "INTENT_INVALID", "parameters"),
        ("another provider", good(Some(&elsewhere)), 482, "INTENT_INVALID", "aud"),
        ("stale", good(Some(&stale)), 482, "INTENT_STALE", "expired"),
        ("early", good(Some(&early)), 482, "INTENT_STALE", "future"),
        ("no JWS", good(Some("x")), 482, "INTENT_INVALID", "JWS"),
        (
            "altered by Core",
            good(Some(&test.sign(&deed))).altered(|body| body["items"][0]["newId"] = "/1/z".into()),
            482,
            "INTENT_INVALID",
            "parameters",
        ),
    ];
    for (name, request, status, error_code, reason) in cases {
        let answer = test.core.send(&request).await.unwrap();
        assert_eq!(verdict(&answer), (status, error_code.to_owned()), "{name}");
        let (decision, why) = test.last_decision();
        assert_eq!(decision, "refuse", "{name}");
        assert!(why.contains(reason), "{name}: {why}");
    }
    assert_eq!(test.upstream_saw(), "");
}

#[tokio::test]
async fn without_cores_token_nothing_is_looked_at() {
    let test = TestGateway::new().await;
    let deed = Deed::trash("/1/a");
    let (head, body) = test.good_head(&deed);
    let body = String::from_utf8(body.to_vec()).unwrap();
    let token = test.core.token().unwrap();
    let with = |token_line: &str| head.replace(&format!("Authorization: Bearer {token}\r\n"), token_line);
    let provider_token = CORE_KEYS.provider_token(countersign_portal::now()).unwrap();
    for line in [
        String::new(),
        "Authorization: Basic YTpi\r\n".to_owned(),
        "Authorization: Bearer a.b.c\r\n".to_owned(),
        format!("Authorization: Bearer {provider_token}\r\n"),
        format!("Authorization: Bearer {}x\r\n", token),
    ] {
        let answer = test.raw(format!("{}\r\n{body}", with(&line)).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{line}: {answer}");
        assert!(answer.contains(r#""errorCode":"UNAUTHORIZED""#));
    }
    assert_eq!(test.upstream_saw(), "");
}

#[tokio::test]
async fn v35_an_intent_is_used_once_however_many_copies_come_together() {
    let test = TestGateway::new().await;
    let deed = Deed::trash("/1/a");
    let intent = test.sign(&deed);
    let request = test.core.request("alice", &deed, Some(&intent)).unwrap();
    let copies = (0..8).map(|_| {
        let (core, request) = (core_at(test.core.endpoint().clone()), request.clone());
        tokio::spawn(async move { core.send(&request).await.unwrap() })
    });
    let copies: Vec<_> = copies.collect();
    let mut answers = Vec::new();
    for copy in copies {
        answers.push(verdict(&copy.await.unwrap()));
    }
    assert_eq!(answers.iter().filter(|answer| answer.0 == 200).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.1 == "INTENT_REPLAYED").count(), 7, "{answers:?}");
    assert_eq!(test.upstream_saw().matches("POST /ucloud/").count(), 1);
}

#[tokio::test]
async fn without_an_instance_the_intent_stays_good_for_cores_repeat() {
    let test = TestGateway::new().await;
    test.instance_is_up.store(false, Ordering::SeqCst);
    let deed = Deed::trash("/1/a");
    let intent = test.sign(&deed);
    let request = test.core.request("alice", &deed, Some(&intent)).unwrap();
    for _ in 0..2 {
        let answer = test.core.send(&request).await.unwrap();
        assert_eq!(verdict(&answer), (449, "NO_INSTANCE".to_owned()));
        assert_eq!(test.last_decision().0, "no_instance");
    }
    assert_eq!(test.upstream_saw(), "");
    test.instance_is_up.store(true, Ordering::SeqCst);
    assert_eq!(test.core.send(&request).await.unwrap().status, 200);
    assert_eq!(verdict(&test.core.send(&request).await.unwrap()), (482, "INTENT_REPLAYED".to_owned()));
}

#[tokio::test]
async fn an_instance_that_has_gone_is_no_instance() {
    let test = TestGateway::new().await;
    std::fs::remove_file(test.directory.path().join("instance.sock")).unwrap();
    let deed = Deed::trash("/1/a");
    let intent = test.sign(&deed);
    let request = test.core.request("alice", &deed, Some(&intent)).unwrap();
    assert_eq!(verdict(&test.core.send(&request).await.unwrap()), (449, "NO_INSTANCE".to_owned()));
}

#[tokio::test]
async fn v18_a_revoked_key_is_refused_on_the_next_request() {
    let test = TestGateway::new().await;
    let deed = Deed::trash("/1/a");
    let send = || async {
        let intent = test.sign(&deed);
        let request = test.core.request("alice", &deed, Some(&intent)).unwrap();
        verdict(&test.core.send(&request).await.unwrap())
    };
    assert_eq!(send().await.0, 200);
    test.revoke();
    assert_eq!(send().await, (482, "INTENT_INVALID".to_owned()));
    assert!(test.last_decision().1.contains("revoked"));
}

#[tokio::test]
async fn a_log_that_cannot_be_written_lets_nothing_through() {
    let mut test = TestGateway::new().await;
    let Ok(full) = std::fs::File::options().append(true).open("/dev/full") else { return };
    test.stop.send_replace(true);
    let gateway = gateway(&tempfile::tempdir().unwrap(), Arc::clone(&test.gateway.key_cache));
    let gateway = Arc::new(Gateway { audit: DecisionLog::to(full), ..gateway });
    let (_stop, stopping) = watch::channel(false);
    let acceptor = Acceptor { gateway, stop: stopping, ..test.acceptor.clone() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::plain(listener.local_addr().unwrap());
    tokio::spawn(listener::accept(listener, acceptor));
    test.core = Core::new(Arc::clone(&CORE_KEYS), endpoint);
    let deed = Deed::trash("/1/a");
    let intent = test.sign(&deed);
    let request = test.core.request("alice", &deed, Some(&intent)).unwrap();
    let answer = test.core.send(&request).await.unwrap();
    assert_eq!(verdict(&answer), (503, "UNAVAILABLE".to_owned()));
    assert_eq!(test.upstream_saw(), "");
}

#[tokio::test]
async fn cores_own_calls_go_to_the_server_with_its_token_alone() {
    let test = TestGateway::new().await;
    assert_eq!(test.core.retrieve_manifest().await.unwrap().status, 200);
    assert_eq!(test.core.init("alice").await.unwrap().status, 200);
    assert_eq!(test.core.retrieve_products("jobs").await.unwrap().status, 200);
    let saw = test.upstream_saw();
    assert!(saw.contains("GET /ucloud/hpc/integration/retrieveManifest HTTP/1.1\r\n"), "{saw}");
    assert!(saw.contains("POST /ucloud/hpc/integration/init HTTP/1.1\r\n"));
    assert!(saw.contains("GET /ucloud/hpc/jobs/retrieveProducts HTTP/1.1\r\n"));
    assert!(!saw.contains("ucloud-username"));
    let unsigned = plain_request("POST", "/ucloud/hpc/integration/init", &[], r#"{"username":"alice"}"#);
    assert_eq!(test.core.send_http(unsigned).await.unwrap().status, 401);
}

#[tokio::test]
async fn v01_what_is_in_no_table_is_not_found() {
    let test = TestGateway::new().await;
    for (method, operation) in [
        ("POST", "files/delete"),
        ("DELETE", "files/move"),
        ("PUT", "files/move"),
        ("PATCH", "files/move"),
        ("HEAD", "connect"),
        ("POST", "files/move?x=1"),
        ("POST", "FILES/move"),
        ("POST", "files/move/x"),
        ("GET", ""),
    ] {
        let answer = test.core.call(method, operation, Some("alice"), None, Some(b"{}")).await.unwrap();
        assert_eq!(answer.status, 404, "{method} {operation}");
    }
    assert_eq!(test.upstream_saw(), "");
}

#[tokio::test]
async fn slashes_are_folded_as_ucloud_folds_them() {
    let test = TestGateway::new().await;
    let deed = Deed::trash("/1/a");
    let intent = test.sign(&deed);
    let body = test.good_head(&deed).1;
    let answer = test.core.call("POST", "/files//trash/", Some("alice"), Some(&intent), Some(&body)).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(test.upstream_saw().starts_with("POST /ucloud/hpc/files/trash HTTP/1.1\r\n"));
}

#[tokio::test]
async fn the_connection_page_is_for_anybody_and_its_own_pages() {
    let test = TestGateway::new().await;
    let describe = |origin: Option<&'static str>| {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(origin.map(|origin| ("origin", origin)));
        test.core.send_http(plain_request("POST", "/ucloud/hpc/connect/describe", &headers, r#"{"ticket":"t"}"#))
    };
    assert_eq!(describe(None).await.unwrap().status, 200);
    assert_eq!(describe(Some(ORIGIN)).await.unwrap().status, 200);
    assert!(test.upstream_saw().contains("x-client-address: 127.0.0.1\r\n"));
    let before = test.upstream_saw().len();
    assert_eq!(describe(Some("https://evil.example")).await.unwrap().status, 403);
    assert_eq!(describe(Some(CORE_ORIGIN)).await.unwrap().status, 403, "Core's pages offer no keys");
    let long = "x".repeat(16 * 1024 + 1);
    let long = plain_request("POST", "/ucloud/hpc/connect/offer", &[("content-type", "application/json")], &long);
    assert_eq!(test.core.send_http(long).await.unwrap().status, 413);
    assert_eq!(test.upstream_saw().len(), before);
}

#[tokio::test]
async fn one_address_asks_so_often_and_no_more() {
    let test = TestGateway::new().await;
    let mut refused = 0;
    for _ in 0..200 {
        let request = plain_request("GET", "/ucloud/hpc/intent/calls.json", &[], "");
        refused += usize::from(test.core.send_http(request).await.unwrap().status == 429);
    }
    assert!(refused > 0);
    assert_eq!(test.core.retrieve_manifest().await.unwrap().status, 200, "Core's own calls are not counted");
}

/// Signatures of RFC 9421 are not supported: complete or not, they are not an intent, and beside
/// one they are not passed on.
#[tokio::test]
async fn v03_v08_signatures_of_another_kind_are_no_intent() {
    let test = TestGateway::new().await;
    let deed = Deed::trash("/1/a");
    let input = "sig1=(\"@method\" \"@path\" \"content-digest\");created=1;keyid=\"a\";alg=\"ed25519\"";
    let (signature, digest) = ("sig1=:AAAA:", "sha-256=:AAAA:, sha-256=:BBBB:");
    let cases: &[&[(&str, &str)]] = &[
        &[("Signature", signature)],
        &[("Signature-Input", input)],
        &[("Signature-Input", input), ("Signature", signature)],
        &[("Signature-Input", "sig1=(\"@path\");keyid=a"), ("Signature", signature)],
        &[("Signature-Input", input), ("Signature-Input", input), ("Signature", signature)],
        &[("Signature-Input", input), ("Signature", signature), ("Content-Digest", digest)],
    ];
    for headers in cases {
        let with = |mut request: countersign_portal::Request| {
            for (name, value) in *headers {
                request = request.with_header(name, value);
            }
            request
        };
        let refused = with(test.core.request("alice", &deed, None).unwrap());
        let answer = test.core.send(&refused).await.unwrap();
        assert_eq!(verdict(&answer), (482, "INTENT_REQUIRED".to_owned()), "{headers:?}");
        assert_eq!(test.upstream_saw(), "", "{headers:?}");
    }
    let both = test.core.request("alice", &deed, Some(&test.sign(&deed))).unwrap();
    let both = both.with_header("Signature-Input", input).with_header("Signature", signature);
    assert_eq!(test.core.send(&both).await.unwrap().status, 200);
    assert!(!test.upstream_saw().to_lowercase().contains("\r\nsignature"), "{}", test.upstream_saw());
}
