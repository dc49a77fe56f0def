//! Tests of WebSockets at a real installation, as the gateway sees them: the sender of each
//! message, and the end of a socket.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::time::{Duration, Instant};

use crate::support::stream::{self, Browser};
use crate::support::test_site::{PROVIDER, Part, Person, TestSite, said};
use countersign_portal::core::{Brings, username_header};
use countersign_portal::signer::Projection;
use countersign_portal::{Deed, Intent, now};
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

struct Open {
    centre: TestSite,
    alice: Person,
}

impl Open {
    async fn new() -> Self {
        let centre = TestSite::open().await;
        let alice = centre.connect("alice").await;
        centre.begin_to_judge(&alice).await;
        Self { centre, alice }
    }

    /// A socket for searches, as Core opens it.
    async fn search(&self) -> Browser {
        stream::rpc(&self.centre, &self.alice, &format!("/ucloud/{PROVIDER}/files")).await
    }

    /// A session's socket: signs its call, then redeems its token.
    async fn session(&self, deed: &Deed, place: &str, member: &str) -> Browser {
        let (token, proof) = stream::granted(&self.centre, &self.alice, deed).await;
        let target = format!("/ucloud/{PROVIDER}/{place}?{member}={token}&intent={proof}");
        let opened = stream::open(&self.centre, &target, &[]).await;
        opened.unwrap_or_else(|status| panic!("{status}\n{}", self.centre.last_words()))
    }

    async fn terminal(&self) -> Browser {
        self.session(&Deed::Terminal("/home".to_owned()), "websocket", "session").await
    }

    async fn upload(&self) -> Browser {
        let deed = Deed::Upload("/home/folder".to_owned(), Brings::Folder, "REPLACE".to_owned());
        self.session(&deed, "upload", "token").await
    }

    fn sign(&self, query: &str) -> String {
        let item = Projection::new([("query", json!(query)), ("currentFolder", json!("/home"))]);
        let (origin, username) = (self.centre.origin(), &self.alice.username);
        let intent = Intent::new(&origin, username, "files.streamingSearch", &[item], now()).unwrap();
        intent.sign(&self.alice.key).unwrap()
    }

    fn message(&self, query: &str, intent: Option<&str>) -> Message {
        let message = json!({
            "call": format!("files.provider.{PROVIDER}.streamingSearch"), "streamId": "ignored", "bearer": "", "signedIntent": intent,
            "payload": {
                "query": query, "owner": {"createdBy": self.alice.username, "project": null}, "flags": {},
                "category": {"name": "storage", "provider": PROVIDER}, "currentFolder": "/home",
            },
        });
        Message::text(message.to_string())
    }
}

/// The next text message.
async fn hear(socket: &mut Browser) -> Value {
    socket.hear_json().await.expect("a message, not the end")
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v53_each_message_is_signed_and_works_once() {
    let open = Open::new().await;
    open.centre.write(&open.alice, "needle", b"");
    let judged = open.centre.judged().len();
    let good = open.sign("needle");
    for (query, intent, class) in [
        ("needle", None, "INTENT_REQUIRED"),
        ("need", Some(good.as_str()), "INTENT_INVALID"),
        ("needle", Some(&good[1..]), "INTENT_INVALID"),
    ] {
        let mut socket = open.search().await;
        socket.say(open.message(query, intent)).await;
        assert_eq!(hear(&mut socket).await["payload"]["errorCode"], class, "{query} {intent:?}");
        assert_eq!(socket.end().await, Some(CloseCode::Policy), "the only call there is was refused");
    }
    assert_eq!(open.centre.judged().len(), judged, "the instance has heard of none of them");
    let mut socket = open.search().await;
    socket.say(open.message("needle", Some(&good))).await;
    let found = hear(&mut socket).await;
    assert_eq!(found["payload"]["batch"][0]["id"], "/home/needle", "{found}\n{}", open.centre.last_words());
    open.centre.until_judged(judged + 1, "the instance has heard of the signed message alone").await;
    assert_eq!(hear(&mut socket).await["type"], "response");
    assert_eq!(socket.end().await, Some(CloseCode::Normal), "Core of today waits for that");

    let mut again = open.search().await;
    again.say(open.message("needle", Some(&good))).await;
    assert_eq!(hear(&mut again).await["payload"]["errorCode"], "INTENT_REPLAYED");
    let intent = open.sign("needle");
    assert_eq!(open.centre.core.deposit(&intent).await.unwrap().status, 202);
    let mut again = open.search().await;
    again.say(open.message("needle", None)).await;
    assert_eq!(hear(&mut again).await["payload"]["batch"][0]["id"], "/home/needle", "a deposit serves a message");
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn p6_a_key_that_its_user_revokes_takes_its_sockets_along() {
    let open = Open::new().await;
    let (mut terminal, mut upload) = (open.terminal().await, open.upload().await);
    let revoked = open.centre.run_as("alice", &["keys", "revoke", open.alice.key.kid()]).await;
    let since = Instant::now();
    assert!(revoked.status.success(), "{}", said(&revoked));
    assert_eq!(upload.end().await, None, "of an upload the gateway reads nothing, and so it says nothing");
    let code = terminal.end().await;
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    assert_eq!(code, Some(CloseCode::Policy), "{}", open.centre.last_words());
    let ended = |decision: &Value| decision["reason"].as_str().is_some_and(|reason| reason.contains("revoked"));
    assert_eq!(open.centre.decisions().iter().filter(|decision| ended(decision)).count(), 2, "and the log says so");
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn sockets_are_told_when_the_gateway_stops() {
    let open = Open::new().await;
    let mut terminal = open.terminal().await;
    let mut search = open.search().await;
    kill(open.centre.pid(Part::Server).unwrap(), Signal::SIGTERM).unwrap();
    assert_eq!(terminal.end().await, Some(CloseCode::Away));
    assert_eq!(search.end().await, Some(CloseCode::Away));
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v52_a_page_of_another_site_opens_none() {
    let open = Open::new().await;
    let bearer = format!("Bearer {}", open.centre.core.token().unwrap());
    let name = username_header(&open.alice.username);
    let target = format!("/ucloud/{PROVIDER}/files");
    for (origin, want) in [
        ("https://evil.example".to_owned(), Some(403)),
        ("null".to_owned(), Some(403)),
        (open.centre.origin(), None),
        (open.centre.control.origin(), None),
    ] {
        let headers = [("ucloud-username", name.as_str()), ("origin", &origin)];
        assert_eq!(stream::open(&open.centre, &target, &headers).await.err(), want, "{origin}");
        // No page has Core's token. A request with it comes from Core, and is refused on the
        // socket.
        let headers = [("authorization", bearer.as_str()), ("ucloud-username", &name), ("origin", &origin)];
        let mut socket = stream::open(&open.centre, &target, &headers).await.unwrap();
        if want.is_some() {
            assert_eq!(hear(&mut socket).await["payload"]["errorCode"], "FORBIDDEN", "{origin}");
            assert_eq!(socket.end().await, Some(CloseCode::Policy), "{origin}");
        }
    }
}
