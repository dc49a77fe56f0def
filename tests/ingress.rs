//! Tests of the gateway from outside, as a stranger or a proxy with another reading of HTTP meets
//! it. The gateway refuses ambiguous requests and ends slow ones. An instance sees no byte of a
//! refused request (P5).
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::sync::Arc;
use std::time::Duration;

use crate::support::test_site::{PROVIDER, Person, TestSite};
use countersign_portal::core::{Flavour, username_header};
use countersign_portal::{Deed, Intent, now};

/// How long the gateway may take to answer or to close.
const PATIENCE: Duration = Duration::from_secs(40);

struct Open {
    centre: TestSite,
    alice: Person,
}

impl Open {
    async fn new(more: &str) -> Self {
        let centre = TestSite::open_with(more).await;
        let alice = centre.connect("alice").await;
        centre.begin_to_judge(&alice).await;
        Self { centre, alice }
    }

    /// The header lines of a valid request that makes this folder, without the request line, and
    /// its body.
    fn good(&self, folder: &str) -> (Vec<String>, String) {
        let deed = Deed::create_folder(&format!("/home/{folder}"));
        let body = deed.body(&self.alice.username, PROVIDER, Flavour::Core2).unwrap();
        let intent = Intent::of(&self.centre.origin(), &self.alice.username, &deed, now()).unwrap();
        let lines = vec![
            "Host: localhost".to_owned(),
            format!("Authorization: Bearer {}", self.centre.keys.core2_token(now()).unwrap()),
            format!("Ucloud-Username: {}", username_header(&self.alice.username)),
            format!("UCloud-Signed-Intent: {}", intent.sign(&self.alice.key).unwrap()),
            format!("Content-Length: {}", body.len()),
            "Connection: close".to_owned(), // else the test would wait for the idle limit of the connection
        ];
        (lines, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn send(&self, text: &str) -> String {
        let answer = self.centre.core.endpoint().raw(text.as_bytes(), PATIENCE).await.unwrap_or_default();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn has(&self, folder: &str) -> bool {
        self.alice.home.join(folder).exists()
    }
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v02_v31_what_can_be_read_in_two_ways_is_refused() {
    let open = Open::new("").await;
    let path = format!("/ucloud/{PROVIDER}/files/folder");
    let request_line = format!("POST {path} HTTP/1.1");
    let text = |line: &str, lines: &[String], body: &str| format!("{line}\r\n{}\r\n\r\n{body}", lines.join("\r\n"));
    let heard = open.centre.judged().len();
    let mut number = 0;
    // A valid request with one change. The answer begins with `want`, and no folder is made.
    let mut check = async |what: &str, want: &[&str], change: &dyn Fn(&mut Vec<String>, &mut String) -> String| {
        number += 1;
        let folder = format!("smuggled-{number}");
        let (mut lines, mut body) = open.good(&folder);
        let first = change(&mut lines, &mut body);
        let answer = open.send(&text(&first, &lines, &body)).await;
        let status = answer.split(' ').nth(1).unwrap_or("closed");
        assert!(want.contains(&status), "{what}: {want:?} wanted, came: {answer}");
        let said: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(said["statusCode"].to_string(), status, "{what}: {answer}");
        assert!(!open.has(&folder), "{what} made a folder");
    };
    let add = |line: &'static str| {
        let request_line = request_line.clone();
        move |lines: &mut Vec<String>, _: &mut String| {
            lines.push(line.to_owned());
            request_line.clone()
        }
    };
    let set = |at: usize, line: &'static str| {
        let request_line = request_line.clone();
        move |lines: &mut Vec<String>, _: &mut String| {
            line.clone_into(&mut lines[at]);
            request_line.clone()
        }
    };
    let bad = ["400"];
    check("a second intent", &bad, &add("UCloud-Signed-Intent: a.b.c")).await;
    check("a second token", &bad, &add("authorization: Bearer a.b.c")).await;
    check("a second user", &bad, &add("UCLOUD-USERNAME: dXNlcg==")).await;
    check("a second host", &bad, &add("Host: elsewhere")).await;
    check("no host", &bad, &set(0, "X-Nothing: x")).await;
    check("intent taken back", &bad, &add("Connection: ucloud-signed-intent")).await;
    check("token taken back", &bad, &add("Connection: close, Authorization")).await;
    check("two lengths", &bad, &add("Content-Length: 3")).await;
    check("length and chunks", &bad, &add("Transfer-Encoding: chunked")).await;
    check("chunks alone", &bad, &set(4, "Transfer-Encoding: chunked")).await;
    check("chunks in disguise", &bad, &set(4, "Transfer-Encoding: xchunked")).await;
    check("chunks and identity", &bad, &add("Transfer-Encoding: chunked, identity")).await;
    check("a length with a sign", &bad, &set(4, "Content-Length: +10")).await;
    check("a negative length", &bad, &set(4, "Content-Length: -1")).await;
    check("lengths in a list", &bad, &set(4, "Content-Length: 10, 11")).await;
    check("a hexadecimal length", &bad, &set(4, "Content-Length: 0x10")).await;
    check("a space before the colon", &bad, &add("X-Space : x")).await;
    check("a folded line", &bad, &add("X-Folded: a\r\n b")).await;
    check("a lone carriage return", &bad, &add("X-Return: a\rb")).await;
    check("a NUL", &bad, &add("X-Nul: a\0b")).await;
    check("no colon", &bad, &add("nonsense")).await;
    check("an encoded body", &["400", "415"], &add("Content-Encoding: gzip")).await;
    check("an expectation", &["400", "417"], &add("Expect: something")).await;
    let line = |text: String| move |_: &mut Vec<String>, _: &mut String| text.clone();
    check("HTTP/1.0", &bad, &line(format!("POST {path} HTTP/1.0"))).await;
    check("HTTP/2.0 in words", &bad, &line(format!("POST {path} HTTP/2.0"))).await;
    check("an absolute target", &bad, &line(format!("POST http://elsewhere{path} HTTP/1.1"))).await;
    check("a fragment", &bad, &line(format!("POST {path}#x HTTP/1.1"))).await;
    check("a fragment and a query", &bad, &line(format!("POST {path}#x?y HTTP/1.1"))).await;
    check("a query", &["400", "404"], &line(format!("POST {path}?x=1 HTTP/1.1"))).await;
    check("an encoded path", &["400", "404"], &line(format!("POST /ucloud/{PROVIDER}/files/%66older HTTP/1.1"))).await;
    check("a dotted path", &["400", "404"], &line(format!("POST /ucloud/{PROVIDER}/x/../files/folder HTTP/1.1"))).await;
    check("another method", &["404", "405"], &line(format!("PUT {path} HTTP/1.1"))).await;
    check("a method in lower case", &["400", "404"], &line(format!("post {path} HTTP/1.1"))).await;
    check("two spaces", &bad, &line(format!("POST  {path} HTTP/1.1"))).await;
    check("a member twice", &bad, &|_, body| {
        *body = body.replacen(r#"{"items""#, r#"{"items":[],"items""#, 1);
        request_line.clone()
    })
    .await;
    assert_eq!(open.centre.judged().len(), heard, "an instance heard of a refused request");

    // Unchanged it passes: the gateway refused the change.
    let (lines, body) = open.good("honest");
    let answer = open.send(&text(&request_line, &lines, &body)).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && open.has("honest"), "{answer}");
    open.centre.until_judged(heard + 1, "the instance heard of the honest request alone").await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v55_who_is_slow_long_or_gone_forwards_nothing() {
    let open = Open::new("").await;
    let request_line = format!("POST /ucloud/{PROVIDER}/files/folder HTTP/1.1");
    let heard = open.centre.judged().len();
    let statuses = |answer: &str| answer.matches("HTTP/1.1 ").count();

    let (mut lines, body) = open.good("long-head");
    lines.push(format!("X-Long: {}", "x".repeat(40 * 1024)));
    let answer = open.send(&format!("{request_line}\r\n{}\r\n\r\n{body}", lines.join("\r\n"))).await;
    assert!(answer.starts_with("HTTP/1.1 431 ") && answer.ends_with(r#""errorCode":"BAD_REQUEST"}"#), "{answer}");

    let (mut lines, _) = open.good("long-body");
    lines[4] = format!("Content-Length: {}", 9 * 1024 * 1024); // more than gateway.body_max
    let answer = open.send(&format!("{request_line}\r\n{}\r\n\r\n{{", lines.join("\r\n"))).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");

    // An endless head and a missing body: the gateway ends both.
    let answer = open.send(&format!("{request_line}\r\nHost: localhost\r\n")).await;
    assert!(statuses(&answer) <= 1 && !answer.contains(" 200 "), "{answer}");
    let (lines, body) = open.good("half");
    let half = &body[..body.len() / 2];
    let answer = open.send(&format!("{request_line}\r\n{}\r\n\r\n{half}", lines.join("\r\n"))).await;
    assert!(statuses(&answer) <= 1 && !answer.contains(" 200 "), "{answer}");

    // A valid request with an invalid one right behind it. The first is done; the second and all
    // that follows are not.
    let (mut lines, body) = open.good("first");
    lines.pop(); // keep the connection
    let good = format!("{request_line}\r\n{}\r\n\r\n{body}", lines.join("\r\n"));
    let (mut lines, body) = open.good("second");
    lines.push("Transfer-Encoding: chunked".to_owned());
    let bad = format!("{request_line}\r\n{}\r\n\r\n{body}", lines.join("\r\n"));
    let (lines, body) = open.good("third");
    let third = format!("{request_line}\r\n{}\r\n\r\n{body}", lines.join("\r\n"));
    let answer = open.send(&format!("{good}{bad}{third}")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(open.has("first") && !open.has("second") && !open.has("third"), "{answer}");

    assert!(!["long-head", "long-body", "half"].iter().any(|folder| open.has(folder)));
    open.centre.until_judged(heard + 1, "the instance heard of the honest request alone").await;
    assert!(open.centre.browse(&open.alice, "/home").await.is_ok(), "service goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn v35_of_64_copies_at_once_one_passes() {
    let open = Arc::new(Open::new("").await);
    for round in 0..5 {
        let request = open.centre.signed(&open.alice, &Deed::create_folder(&format!("/home/copies-{round}")));
        let copies = (0..64).map(|_| {
            let (open, request) = (Arc::clone(&open), request.clone());
            tokio::spawn(async move { open.centre.core.send(&request).await.unwrap() })
        });
        let mut passed = 0;
        for copy in copies.collect::<Vec<_>>() {
            let answer = copy.await.unwrap();
            match (answer.status, answer.error_code().as_str()) {
                (200, _) => passed += 1,
                (482, "INTENT_REPLAYED") => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(passed, 1, "round {round}");
        // A second folder of the same name would be `copies(1)`.
        assert!(open.has(&format!("copies-{round}")) && !open.has(&format!("copies-{round}(1)")));
    }
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v42_a_deposit_serves_the_request_that_it_covers_once() {
    let open = Open::new("").await;
    let folder = |name: &str| Deed::create_folder(&format!("/home/{name}"));
    let sign = |open: &Open, deed: &Deed| {
        let intent = Intent::of(&open.centre.origin(), &open.alice.username, deed, now()).unwrap();
        intent.sign(&open.alice.key).unwrap()
    };
    let code = |answer: &countersign_portal::Answer| (answer.status, answer.error_code());
    let send = async |open: &Open, deed: &Deed| {
        let request = open.centre.core.request(&open.alice.username, deed, None).unwrap();
        open.centre.core.send(&request).await.unwrap()
    };
    // Deposited first.
    let intent = sign(&open, &folder("deposited"));
    assert_eq!(open.centre.core.deposit(&intent).await.unwrap().status, 202);
    assert_eq!(code(&send(&open, &folder("other")).await), (482, "INTENT_REQUIRED".to_owned()));
    assert_eq!(send(&open, &folder("deposited")).await.status, 200);
    assert_eq!(code(&send(&open, &folder("deposited")).await), (482, "INTENT_REQUIRED".to_owned()));
    // Once used, the intent is not accepted as a deposit again.
    assert_eq!(code(&open.centre.core.deposit(&intent).await.unwrap()), (482, "INTENT_REPLAYED".to_owned()));
    // Deposited while the request waits.
    let late = folder("late");
    let intent = sign(&open, &late);
    let (answer, deposited) = tokio::join!(send(&open, &late), open.centre.core.deposit(&intent));
    assert_eq!((answer.status, deposited.unwrap().status), (200, 202));
    // From another page.
    let intent = sign(&open, &folder("foreign"));
    let refused = open.centre.core.deposit_from("https://elsewhere.example.org", &intent).await.unwrap();
    assert_eq!(refused.status, 403);
    assert!(open.has("deposited") && open.has("late") && !open.has("other") && !open.has("foreign"));
}
