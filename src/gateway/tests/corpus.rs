//! Tests of requests that two HTTP parsers would read differently: each is refused with its class,
//! and nothing of it goes upstream.
//!
//! Each trick is a valid request with one change; the valid request itself passes at the end.

use countersign_portal::Deed;

use super::*;

/// A valid head is changed, and closed with an empty line and its body.
struct Trick {
    name: &'static str,
    make: fn(&str, &str) -> Vec<u8>,
    status: &'static str,
}

fn more(head: &str, line: &str, body: &str) -> Vec<u8> {
    format!("{head}{line}\r\n\r\n{body}").into_bytes()
}

fn instead(head: &str, from: &str, to: &str, body: &str) -> Vec<u8> {
    assert!(head.contains(from));
    format!("{}\r\n{body}", head.replacen(from, to, 1)).into_bytes()
}

fn line_of<'h>(head: &'h str, name: &str) -> &'h str {
    head.split_inclusive("\r\n").find(|line| line.starts_with(name)).unwrap()
}

const TRICKS: &[Trick] = &[
    // Length of the message.
    Trick { name: "TE after CL", status: "400", make: |h, b| more(h, "Transfer-Encoding: chunked", b) },
    Trick {
        name: "CL after TE",
        status: "400",
        make: |h, b| instead(h, "Content-Length", "Transfer-Encoding: chunked\r\nContent-Length", b),
    },
    Trick { name: "TE obfuscated by a tab", status: "400", make: |h, b| more(h, "Transfer-Encoding:\tchunked", b) },
    Trick { name: "TE with an underscore", status: "400", make: |h, b| more(h, "Transfer_Encoding: chunked", b) },
    Trick { name: "CL with an underscore", status: "400", make: |h, b| more(h, "Content_Length: 1", b) },
    Trick { name: "TE of another coding", status: "400", make: |h, b| more(h, "Transfer-Encoding: xchunked", b) },
    Trick {
        name: "TE twice",
        status: "400",
        make: |h, b| more(h, "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", b),
    },
    Trick {
        name: "TE alone",
        status: "400",
        make: |h, b| {
            instead(
                h,
                line_of(h, "Content-Length"),
                "Transfer-Encoding: chunked\r\n",
                &format!("{:x}\r\n{b}\r\n0\r\n\r\n", b.len()),
            )
        },
    },
    Trick { name: "CL twice, differing", status: "400", make: |h, b| more(h, "Content-Length: 1", b) },
    Trick {
        name: "CL as a list",
        status: "400",
        make: |h, b| instead(h, "Content-Length: ", "Content-Length: 1, ", b),
    },
    Trick {
        name: "CL with a sign",
        status: "400",
        make: |h, b| instead(h, "Content-Length: ", "Content-Length: +", b),
    },
    Trick {
        name: "CL in hexadecimal",
        status: "400",
        make: |h, b| instead(h, "Content-Length: ", "Content-Length: 0x", b),
    },
    Trick {
        name: "CL beyond 64 bits",
        status: "400",
        make: |h, b| instead(h, "Content-Length: ", "Content-Length: 18446744073709551616", b),
    },
    Trick {
        name: "CL beyond the limit",
        status: "413",
        make: |h, b| instead(h, "Content-Length: ", "Content-Length: 99", &b.repeat(99)),
    },
    // Ends of lines.
    Trick { name: "folded line", status: "400", make: |h, b| more(h, "X-Folded: a\r\n b", b) },
    Trick { name: "bare CR in a value", status: "400", make: |h, b| more(h, "X-A: a\rTransfer-Encoding: chunked", b) },
    Trick { name: "NUL in a value", status: "400", make: |h, b| more(h, "X-A: a\0b", b) },
    Trick { name: "NUL in a name", status: "400", make: |h, b| more(h, "X\0A: a", b) },
    Trick { name: "space before the colon", status: "400", make: |h, b| more(h, "Transfer-Encoding : chunked", b) },
    Trick { name: "line without a colon", status: "400", make: |h, b| more(h, "Transfer-Encoding", b) },
    Trick { name: "empty name", status: "400", make: |h, b| more(h, ": a", b) },
    Trick { name: "value beyond ASCII", status: "400", make: |h, b| more(h, "Range: æ", b) },
    Trick { name: "vertical tab as white space", status: "400", make: |h, b| more(h, "X-A: \x0bchunked", b) },
    // Host and target.
    Trick { name: "no Host", status: "400", make: |h, b| instead(h, line_of(h, "Host"), "", b) },
    Trick { name: "two Hosts", status: "400", make: |h, b| more(h, "Host: hpc.example.org", b) },
    Trick { name: "empty Host", status: "400", make: |h, b| instead(h, "hpc.example.org", "", b) },
    Trick {
        name: "Host with a user",
        status: "400",
        make: |h, b| instead(h, "hpc.example.org", "a@hpc.example.org", b),
    },
    Trick {
        name: "Host with a path",
        status: "400",
        make: |h, b| instead(h, "hpc.example.org", "hpc.example.org/x", b),
    },
    Trick {
        name: "absolute target",
        status: "400",
        make: |h, b| instead(h, "POST /", "POST http://hpc.example.org/", b),
    },
    Trick {
        name: "absolute target elsewhere",
        status: "400",
        make: |h, b| instead(h, "POST /", "POST http://evil.example/", b),
    },
    Trick {
        name: "authority target",
        status: "400",
        make: |h, b| instead(h, line_of(h, "POST"), "CONNECT hpc.example.org:443 HTTP/1.1\r\n", b),
    },
    Trick {
        name: "asterisk target",
        status: "400",
        make: |h, b| instead(h, line_of(h, "POST"), "OPTIONS * HTTP/1.1\r\n", b),
    },
    Trick {
        name: "fragment in the target",
        status: "400",
        make: |h, b| instead(h, "/trash HTTP/1.1\r\n", "/trash#x HTTP/1.1\r\n", b),
    },
    Trick {
        name: "line feeds alone",
        status: "400",
        make: |h, b| format!("{h}\r\n{b}").replace("\r\n", "\n").into_bytes(),
    },
    Trick { name: "a line feed alone", status: "400", make: |h, b| instead(h, "HTTP/1.1\r\n", "HTTP/1.1\n", b) },
    Trick { name: "empty line first", status: "400", make: |h, b| format!("\r\n{h}\r\n{b}").into_bytes() },
    Trick { name: "the gate's own word", status: "400", make: |h, b| instead(h, "POST /", "REFUSED #/", b) },
    Trick { name: "percent-encoded path", status: "400", make: |h, b| instead(h, "/files/", "/%66iles/", b) },
    Trick { name: "encoded slash", status: "400", make: |h, b| instead(h, "/files/", "/files%2f", b) },
    Trick { name: "dotted path", status: "400", make: |h, b| instead(h, "/files/", "/x/../files/", b) },
    Trick { name: "backslash in the path", status: "400", make: |h, b| instead(h, "/files/", "/files\\", b) },
    Trick { name: "path parameters", status: "400", make: |h, b| instead(h, "/files/", "/files;x/", b) },
    Trick { name: "HTTP/1.0", status: "400", make: |h, b| instead(h, "HTTP/1.1", "HTTP/1.0", b) },
    Trick {
        name: "HTTP/0.9",
        status: "400",
        make: |h, _| format!("{}\r\n", h.split(" HTTP").next().unwrap()).into_bytes(),
    },
    Trick { name: "HTTP/1.2", status: "400", make: |h, b| instead(h, "HTTP/1.1", "HTTP/1.2", b) },
    Trick { name: "two spaces in the request line", status: "400", make: |h, b| instead(h, "POST /", "POST  /", b) },
    Trick { name: "space in the path", status: "400", make: |h, b| instead(h, "/files/", "/fi les/", b) },
    // Security headers (V02, V31).
    Trick {
        name: "v02 two intents",
        status: "400",
        make: |h, b| more(h, line_of(h, "UCloud-Signed-Intent").trim_end(), b),
    },
    Trick { name: "v02 two tokens", status: "400", make: |h, b| more(h, line_of(h, "Authorization").trim_end(), b) },
    Trick { name: "v02 two users", status: "400", make: |h, b| more(h, "ucloud-username: Ym9i", b) },
    Trick {
        name: "v31 Connection names the intent",
        status: "400",
        make: |h, b| more(h, "Connection: close, UCloud-Signed-Intent", b),
    },
    Trick {
        name: "v31 Connection names the token",
        status: "400",
        make: |h, b| more(h, "Connection: Authorization", b),
    },
    Trick {
        name: "v31 Connection names the user",
        status: "400",
        make: |h, b| more(h, "Connection: keep-alive\r\nConnection: ucloud-username", b),
    },
    Trick {
        name: "v31 Connection names Content-Length",
        status: "400",
        make: |h, b| more(h, "Connection: content-length", b),
    },
    Trick { name: "v31 Connection names Host", status: "400", make: |h, b| more(h, "Connection: host", b) },
    Trick { name: "v30 Content-Encoding", status: "400", make: |h, b| more(h, "Content-Encoding: gzip", b) },
    Trick { name: "v30 Trailer", status: "400", make: |h, b| more(h, "Trailer: UCloud-Signed-Intent", b) },
    Trick { name: "Upgrade", status: "400", make: |h, b| more(h, "Connection: upgrade\r\nUpgrade: websocket", b) },
    Trick {
        name: "Upgrade to h2c",
        status: "400",
        make: |h, b| more(h, "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk", b),
    },
    Trick { name: "Expect of something else", status: "400", make: |h, b| more(h, "Expect: x", b) },
    // Limits (V07).
    Trick { name: "v07 65 lines", status: "431", make: |h, b| more(h, &["X-A: a"; 65].join("\r\n"), b) },
    Trick { name: "v07 long head", status: "431", make: |h, b| more(h, &format!("X-A: {}", "a".repeat(40_000)), b) },
    Trick {
        name: "v07 long intent",
        status: "431",
        make: |h, b| {
            instead(h, "UCloud-Signed-Intent: ", &format!("UCloud-Signed-Intent: {}", "a".repeat(16 * 1024)), b)
        },
    },
    Trick {
        name: "long target",
        status: "400",
        make: |h, b| instead(h, "/files/", &format!("/{}/files/", "a".repeat(4_096)), b),
    },
    Trick {
        name: "v05 duplicate member",
        status: "400",
        make: |h, b| {
            let twice = b.replacen("{\"id\":", "{\"id\":\"/1/z\",\"id\":", 1);
            let length = format!("Content-Length: {}\r\n", twice.len());
            instead(h, line_of(h, "Content-Length"), &length, &twice)
        },
    },
    // Other protocols.
    Trick {
        name: "HTTP/2 without TLS",
        status: "400",
        make: |_, _| b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
    },
    Trick {
        name: "TLS on the bare port",
        status: "400",
        make: |_, _| b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaa\r\n\r\n".to_vec(),
    },
];

#[tokio::test]
async fn v55_no_trick_reaches_the_instance() {
    let test = TestGateway::new().await;
    let deed = Deed::trash("/1/a");
    for Trick { name, make, status } in TRICKS {
        let (head, body) = test.good_head(&deed);
        let decided = test.decisions_or_none();
        let answer = test.raw(&make(&head, std::str::from_utf8(&body).unwrap())).await;
        assert_eq!(answer.get(9..12).unwrap_or_default(), *status, "{name}: {answer}");
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{name}: one answer to one request: {answer}");
        let said: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(said["statusCode"].to_string(), *status, "{name}: {answer}");
        assert!(
            answer.contains("\r\nx-request-id: ") && answer.contains("\r\nconnection: close\r\n"),
            "{name}: {answer}"
        );
        assert_eq!(test.upstream_saw(), "", "{name}");
        assert_eq!(test.decisions_or_none(), decided + 1, "{name} leaves its record");
        assert_eq!(test.last_decision().0, "refuse", "{name}");
    }
    let (head, body) = test.good_head(&deed);
    let good =
        test.raw(format!("{head}Connection: close\r\n\r\n{}", std::str::from_utf8(&body).unwrap()).as_bytes()).await;
    assert!(good.starts_with("HTTP/1.1 200 OK\r\n"), "what the tricks were made of is good: {good}");
}

impl TestGateway {
    fn decisions_or_none(&self) -> usize {
        std::fs::read_to_string(self.directory.path().join("decisions.jsonl")).map_or(0, |log| log.lines().count())
    }
}

#[tokio::test]
async fn a_bad_request_behind_a_good_one_is_refused_and_ends_the_connection() {
    let test = TestGateway::new().await;
    let deed = Deed::trash("/1/a");
    let good = |test: &TestGateway| {
        let (head, body) = test.good_head(&deed);
        format!("{head}\r\n{}", std::str::from_utf8(&body).unwrap())
    };
    let smuggled = good(&test).replacen("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n", 1);
    let answer = test.raw(format!("{}{}{}", good(&test), smuggled, good(&test)).as_bytes()).await;
    let statuses: Vec<&str> = answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "400"]);
    assert_eq!(test.upstream_saw().matches("POST /ucloud/").count(), 1);
}

#[tokio::test]
async fn requests_that_follow_each_other_are_answered_in_order() {
    let test = TestGateway::new().await;
    let mut bytes = String::new();
    for path in ["/1/a", "/1/b", "/1/c"] {
        let (head, body) = test.good_head(&Deed::trash(path));
        let last = if path == "/1/c" { "Connection: close\r\n" } else { "" };
        bytes += &format!("{head}{last}\r\n{}", std::str::from_utf8(&body).unwrap());
    }
    let answer = test.raw(bytes.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 3, "{answer}");
}
