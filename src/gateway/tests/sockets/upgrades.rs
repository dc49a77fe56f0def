//! Tests of the upgrade: who may open a socket, and every check before the response.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::*;

#[tokio::test]
async fn v52_a_page_opens_a_socket_only_where_it_belongs() {
    let test = TestGateway::new().await;
    let bearer = test.bearer();
    let open =
        async |origin: &str| test.open(SEARCH, &[("authorization", &bearer), ("origin", origin)]).await.map(drop);
    assert_eq!(open(CORE_ORIGIN).await, Ok(()));
    assert_eq!(open(ORIGIN).await, Ok(()));
    let decisions = test.decisions();
    let foreign = [
        "https://evil.example",
        "https://cloud.sdu.dk.evil.example",
        "http://cloud.sdu.dk",
        "null",
        "",
        "https://CLOUD.sdu.dk",
    ];
    for origin in foreign {
        // Core alone has its token, and is refused on the socket.
        let mut refused = test.open(SEARCH, &[("authorization", &bearer), ("origin", origin)]).await.unwrap();
        assert_eq!(refused.refusal().await, (403, "FORBIDDEN".to_owned()), "{origin}");
        assert_eq!(test.last_decision().0, "refuse");
    }
    assert_eq!((test.decisions(), test.upstream_saw()), (decisions + foreign.len(), String::new()));
    for origin in foreign {
        let pages = test.open(SEARCH, &[("origin", origin)]).await.map(drop);
        assert_eq!(pages, Err((403, "FORBIDDEN".to_owned())), "{origin}");
    }
    let both = [("authorization", bearer.as_str()), ("origin", CORE_ORIGIN), ("origin", "https://evil.example")];
    assert_eq!(test.open(SEARCH, &both).await.map(drop).unwrap_err().0, 400);
}

#[tokio::test]
async fn v52_the_user_is_named_by_header_or_by_hint_in_either_alphabet() {
    let signer = Signer::new("Ælice?>?>?>#1");
    let name = signer.username.as_str().to_owned();
    let test = TestGateway::new().await;
    *test.alice.lock().unwrap() = signer;
    let (standard, url_safe) = (STANDARD.encode(&name), URL_SAFE.encode(&name));
    assert_ne!(standard, url_safe);
    let escaped = standard.replace('+', "%2B").replace('/', "%2F").replace('=', "%3d");
    let bearer = test.bearer();
    for (target, header) in [
        (SEARCH_BARE.to_owned(), Some(standard.as_str())),
        (format!("{SEARCH_BARE}?usernameHint={standard}"), None),
        (format!("{SEARCH_BARE}?usernameHint={url_safe}"), None),
        (format!("{SEARCH_BARE}?usernameHint={escaped}"), None),
        (format!("{SEARCH_BARE}?usernameHint={url_safe}"), Some(standard.as_str())),
    ] {
        let headers = [Some(("authorization", bearer.as_str())), header.map(|header| ("ucloud-username", header))];
        let headers: Vec<_> = headers.into_iter().flatten().collect();
        let mut socket = test.open(&target, &headers).await.unwrap();
        let intent = test.sign_search("x");
        assert_eq!(socket.verdict(&message("x", Some(&intent))).await.0, 200, "{target} {header:?}");
    }
    let refused =
        async |target: &str, headers: &[(&str, &str)]| test.open(target, headers).await.map(drop).unwrap_err().0;
    let token = ("authorization", bearer.as_str());
    assert_eq!(refused(SEARCH_BARE, &[]).await, 400, "nobody");
    assert_eq!(refused(SEARCH, &[("ucloud-username", "Ym9i")]).await, 400, "two users");
    assert_eq!(refused(SEARCH, &[("ucloud-signed-intent", "a.b.c")]).await, 400, "an intent is of a message");
    assert_eq!(refused(SEARCH, &[("authorization", "Bearer a.b.c")]).await, 401);
    assert_eq!(refused(&format!("{SEARCH}&token=x"), &[]).await, 400);
    assert_eq!(refused(&format!("{SEARCH_BARE}?token=x"), &[]).await, 404);
    assert_eq!(refused("/ucloud/hpc/intent/calls.json", &[token]).await, 400, "there, and no socket");
    for elsewhere in ["/", "/ucloud/hpc/files/move", "/ucloud/other/files", "/ucloud/hpc/jobs"] {
        assert_eq!(refused(elsewhere, &[token]).await, 404, "{elsewhere}");
    }
    assert_eq!(test.sockets.heard().len(), 5);
}

/// A handshake as raw bytes, with some lines changed.
fn raw(test: &TestGateway, change: impl FnOnce(&mut Vec<String>)) -> String {
    let mut lines = vec![
        format!("GET {SEARCH} HTTP/1.1"),
        "Host: hpc.example.org".to_owned(),
        "Upgrade: websocket".to_owned(),
        "Connection: Upgrade".to_owned(),
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==".to_owned(),
        "Sec-WebSocket-Version: 13".to_owned(),
        format!("Authorization: {}", test.bearer()),
    ];
    change(&mut lines);
    format!("{}\r\n\r\n", lines.join("\r\n"))
}

#[tokio::test]
async fn v52_only_the_handshake_of_rfc_6455_is_one() {
    let test = TestGateway::new().await;
    let status = async |change: &dyn Fn(&mut Vec<String>)| {
        // With `Connection: close`, so that a refused connection ends after its response and an
        // open one with its next request.
        let bytes = raw(&test, |lines| {
            change(lines);
            lines.push("Connection: close".to_owned());
        });
        test.raw(bytes.as_bytes()).await
    };
    let set = |at: usize, line: &'static str| move |lines: &mut Vec<String>| line.clone_into(&mut lines[at]);
    let add = |line: &'static str| move |lines: &mut Vec<String>| lines.push(line.to_owned());
    let answer = status(&set(5, "Sec-WebSocket-Version: 8")).await;
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(answer.contains("\r\nsec-websocket-version: 13\r\n") && answer.contains("\r\nupgrade: websocket\r\n"));
    for (change, what) in [
        (&set(0, "POST /ucloud/hpc/files HTTP/1.1") as &dyn Fn(&mut Vec<String>), "404"),
        (&set(2, "Upgrade: h2c"), "400"),
        (&set(3, "X-Nothing: x"), "400"),
        (&set(4, "Sec-WebSocket-Key: c2hvcnQ="), "400"),
        (&set(5, "X-Nothing: x"), "400"),
        (&add("Upgrade: websocket"), "400"),
        (&add("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), "400"),
        (&add("Host: elsewhere"), "400"),
        (&add("Transfer-Encoding: chunked"), "400"),
        (&add("Expect: 100-continue"), "400"),
        (&set(3, "Connection: Upgrade, Authorization"), "400"),
        (&set(2, "X-Nothing: websocket"), "404"),
    ] {
        let answer = status(change).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {what} ")), "{what} wanted: {answer}");
    }
    assert_eq!(test.upstream_saw(), "");
}

#[tokio::test]
async fn v52_bytes_behind_the_handshake_are_no_part_of_a_socket() {
    let test = TestGateway::new().await;
    let hidden = message("x", Some(&test.sign_search("x"))).to_string();
    let length = u16::try_from(hidden.len()).unwrap().to_be_bytes();
    let frame = [&[0x81, 0x80 | 126, length[0], length[1], 0, 0, 0, 0], hidden.as_bytes()].concat();
    let request = raw(&test, |lines| lines[0] = "GET /ucloud/hpc/intent/calls.json HTTP/1.1".to_owned());
    for (behind, what) in [(frame, "a frame"), (request.into_bytes(), "a request"), (b"G".to_vec(), "half of one")] {
        let bytes = [raw(&test, |_| {}).as_bytes(), &behind].concat();
        let answer = test.raw(&bytes).await;
        // It has Core's token, so it is answered like Core's, and then closed.
        assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("\r\n\r\n"), "{what}: {answer}");
        assert!(test.last_decision().1.contains("bytes came behind"), "{what}: {:?}", test.last_decision());
        assert_eq!((test.upstream_saw(), test.sockets.heard()), (String::new(), Vec::new()), "{what}");
        let strangers = raw(&test, |lines| lines[6] = "X-Nothing: x".to_owned());
        let answer = test.raw(&[strangers.as_bytes(), &behind].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{what}: {answer}");
    }
    let body = raw(&test, |lines| lines.push("Content-Length: 5".to_owned())) + "hello";
    assert!(test.raw(body.as_bytes()).await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn v52_over_http_2_there_are_no_sockets() {
    let tls = over_tls::Tls::new().await;
    let mut http2 = tls.http2().await;
    let get =
        plain_request("GET", &format!("https://hpc.example.org{SEARCH}"), &[("authorization", &tls.test.bearer())], "");
    assert_eq!(http2.send_request(get).await.unwrap().status(), 404);
    // RFC 8441 is not offered, and HTTP/2 forbids HTTP/1.1's header.
    let asks = plain_request("GET", &format!("https://hpc.example.org{SEARCH}"), &[("upgrade", "websocket")], "");
    let answer = http2.send_request(asks).await;
    assert!(answer.is_err() || answer.unwrap().status().is_client_error());
}

#[tokio::test]
async fn a_socket_over_tls_is_like_any_other() {
    let tls = over_tls::Tls::new().await;
    let stream = tls.connect(b"http/1.1").await;
    let mut request = format!("wss://hpc.example.org{SEARCH}").into_client_request().unwrap();
    request.headers_mut().insert("authorization", tls.test.bearer().parse().unwrap());
    let (socket, answer) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    assert!(answer.headers().get("ucloud-no-bearer").is_none(), "Core keeps its token in messages");
    let mut socket = Socket(socket);
    let intent = tls.test.sign_search("x");
    assert_eq!(socket.verdict(&message("x", Some(&intent))).await.0, 200);
}
