//! The stand-in sends what the real Core sends: method, path, every header and the body's bytes are
//! compared with requests captured from Core's own client (`fixtures/core2-requests.txt`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_portal::core::bodies::{Browse, BrowseRequest, Bulk, Drive, FolderItem, MoveItem, PathItem};
use countersign_portal::core::{Control, POLLED, rewriting};
use countersign_portal::line::Line;
use countersign_portal::{Core, CoreKeys, Deed, Endpoint, Fault, Flavour, IntentForwarding};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// One request as the capture shows it.
#[derive(Debug, Eq, PartialEq)]
struct Captured {
    line: String,
    headers: BTreeMap<String, String>,
    body: String,
}

fn captured(name: &str) -> Captured {
    let text = include_str!("fixtures/core2-requests.txt");
    let section = text
        .split("# ")
        .find(|section| section.lines().next() == Some(name))
        .unwrap_or_else(|| panic!("no capture of {name}"));
    let mut lines = section.lines().skip(1).filter(|line| !line.contains("[core-auth]"));
    let line = lines.next().unwrap().trim().to_owned();
    let mut headers = BTreeMap::new();
    let mut body = String::new();
    for line in lines.take_while(|line| line.starts_with("    ")) {
        let (name, value) = line.trim().split_once(": ").unwrap();
        if name == "body" {
            value.clone_into(&mut body);
        } else {
            headers.insert(name.to_owned(), value.to_owned());
        }
    }
    Captured { line, headers, body }
}

/// A provider that gives these answers in turn, and what it was asked.
struct Provider {
    core: Core,
    asked: mpsc::UnboundedReceiver<(usize, Captured)>,
}

impl Provider {
    async fn answering(answers: &[&str]) -> Self {
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let keys = Arc::new(CoreKeys::generate("k8").unwrap());
        let core =
            Core::new(keys, Endpoint::plain(listener.local_addr().unwrap())).with_retry_pause(Duration::from_millis(1));
        let (tell, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut answers = answers.into_iter();
            for connection in 1.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                while let Some(request) = read_request(&mut stream).await {
                    tell.send((connection, request)).unwrap();
                    let answer = answers.next().unwrap_or_else(|| ok("{}"));
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        Self { core, asked }
    }

    async fn asked(&mut self) -> Captured {
        self.asked.recv().await.unwrap().1
    }
}

fn ok(body: &str) -> String {
    answer("200 OK", body)
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

async fn read_request(stream: &mut tokio::net::TcpStream) -> Option<Captured> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
        }
    };
    let mut body = bytes.split_off(end + 4);
    let head = String::from_utf8(bytes).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next().unwrap().strip_suffix(" HTTP/1.1").unwrap().to_owned();
    let mut headers: BTreeMap<String, String> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let length: usize = headers.get("Content-Length").map_or(0, |length| length.parse().unwrap());
    while body.len() < length {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.unwrap();
        body.extend_from_slice(&chunk[..read]);
    }
    // The capture leaves out the host, and no two tokens are the same.
    assert!(headers.remove("Host").unwrap().starts_with("127.0.0.1:"));
    if let Some(token) = headers.get_mut("Authorization") {
        assert_eq!(token.split('.').count(), 3);
        *token = "Bearer <jwt>".to_owned();
    }
    Some(Captured { line, headers, body: String::from_utf8(body).unwrap() })
}

#[tokio::test]
async fn service_calls_are_as_captured() {
    let mut provider = Provider::answering(&[
        &ok(r#"{"enabled":true,"expireAfterMs":null}"#),
        &ok("{}"),
        &ok(r#"{"redirectTo":"https://hpc.example.org/ucloud/k8/connect#t"}"#),
        &ok("{}"),
        &ok(r#"{"responses":[]}"#),
    ])
    .await;
    assert!(provider.core.retrieve_manifest().await.unwrap().is_ok());
    assert_eq!(provider.asked().await, captured("manifest"));
    assert!(provider.core.init("Ælice#1234").await.unwrap().is_ok());
    assert_eq!(provider.asked().await, captured("init, reply {}"));
    let redirect = provider.core.connect("Ælice#1234").await.unwrap();
    assert_eq!(redirect, "https://hpc.example.org/ucloud/k8/connect#t");
    assert_eq!(provider.asked().await, captured("connect, reply redirectTo"));
    assert!(provider.core.unlinked("a").await.unwrap().is_ok());
    assert_eq!(provider.asked().await, captured("disconnect"));
    assert!(provider.core.retrieve_products("jobs").await.unwrap().is_ok());
    assert_eq!(provider.asked().await, captured("jobs.retrieveProducts"));
}

#[tokio::test]
async fn user_calls_have_the_captured_headers() {
    let mut provider = Provider::answering(&[]).await;
    for (deed, name) in [
        (Deed::browse("/home"), "files.browse ok, items null"),
        (Deed::create_folder("/home/a"), "files.createFolder"),
        (Deed::trash("/home/a"), "files.trash"),
        (Deed::move_("/home/a", "/home/b"), "files.move"),
    ] {
        provider.core.perform("Ælice#1234", &deed, None).await.unwrap();
        let (mut asked, mut want) = (provider.asked().await, captured(name));
        for it in [&mut asked, &mut want] {
            // Real drives and paths are longer than the captured zero values.
            let length = it.headers.remove("Content-Length").unwrap();
            assert_eq!(length, it.body.len().to_string());
            it.body.clear();
        }
        assert_eq!(asked, want, "{name}");
    }
}

#[test]
fn bodies_are_byte_for_byte_as_captured() {
    fn check(name: &str, body: &impl serde::Serialize) {
        assert_eq!(serde_json::to_string(body).unwrap(), captured(name).body, "{name}");
    }
    let zero = Drive::zero;
    check("files.browse ok, items null", &BrowseRequest { resolved_collection: zero(), browse: Browse::default() });
    let folder = FolderItem { id: "/1/a".into(), conflict_policy: String::new(), resolved_collection: zero() };
    check("files.createFolder", &Bulk { items: vec![folder] });
    let path = PathItem { id: "/1/a".into(), resolved_collection: zero() };
    check("files.trash", &Bulk { items: vec![path] });
    let moved = MoveItem {
        resolved_old_collection: zero(),
        resolved_new_collection: zero(),
        old_id: "/1/a".into(),
        new_id: "/1/b".into(),
        conflict_policy: "REJECT".into(),
    };
    check("files.move", &Bulk { items: vec![moved] });
    assert_eq!(serde_json::to_string(&Bulk::<PathItem> { items: vec![] }).unwrap(), "{}");
}

#[test]
fn a_real_body_has_every_member_of_the_captured_one() {
    fn members(value: &serde_json::Value, at: &str, into: &mut Vec<String>) {
        for (name, value) in value.as_object().into_iter().flatten() {
            into.push(format!("{at}/{name}"));
            members(value, &format!("{at}/{name}"), into);
        }
        for item in value.as_array().into_iter().flatten() {
            members(item, at, into);
        }
    }
    for (deed, name) in [
        (Deed::browse("/home/x"), "files.browse ok, items null"),
        (Deed::create_folder("/home/x"), "files.createFolder"),
        (Deed::trash("/home/x"), "files.trash"),
        (Deed::move_("/home/x", "/home/y"), "files.move"),
    ] {
        let body = deed.body("alice#1", "k8", Flavour::Core2).unwrap();
        let (mut have, mut want) = (Vec::new(), Vec::new());
        members(&serde_json::from_slice(&body).unwrap(), "", &mut have);
        members(&serde_json::from_str(&captured(name).body).unwrap(), "", &mut want);
        let missing: Vec<_> = want.iter().filter(|member| !have.contains(member)).collect();
        assert!(missing.is_empty(), "{name}: {missing:?}");
    }
}

#[tokio::test]
async fn a_missing_instance_is_asked_for_and_the_same_request_repeated() {
    let mut provider = Provider::answering(&[&answer("449 Retry With", ""), &ok("{}"), &ok("{}")]).await;
    let deed = Deed::browse("/home");
    let answer = provider.core.perform("alice#1", &deed, Some("a.b.c")).await.unwrap();
    assert!(answer.is_ok());
    let first = provider.asked().await;
    assert_eq!(first.headers["Ucloud-Signed-Intent"], "a.b.c");
    let init = provider.asked().await;
    assert_eq!(init.line, "POST /ucloud/k8/integration/init");
    assert_eq!(init.headers["Ucloud-Username"], "YWxpY2UjMQ==");
    assert_eq!(provider.asked().await, first);
}

#[tokio::test]
async fn core2_gives_up_after_five_repetitions_and_core1_after_four() {
    for (flavour, want) in [(Flavour::Core2, 11), (Flavour::Core1, 9)] {
        let answers: Vec<String> =
            (0..20).map(|n| if n % 2 == 0 { answer("503 Gone", "") } else { ok("{}") }).collect();
        let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
        let mut provider = Provider::answering(&answers).await;
        provider.core = provider.core.with_flavour(flavour);
        let answer = provider.core.perform("a#1", &Deed::browse("/home"), None).await.unwrap();
        assert_eq!(answer.status, 503);
        let mut asked = 0;
        while provider.asked.try_recv().is_ok() {
            asked += 1;
        }
        assert_eq!(asked, want);
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests_and_a_closed_one_is_replaced() {
    let closing = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    let mut provider = Provider::answering(&[&ok("{}"), &ok("{}"), closing, &ok("{}")]).await;
    for want in [1, 1, 1] {
        provider.core.retrieve_manifest().await.unwrap();
        assert_eq!(provider.asked.recv().await.unwrap().0, want);
    }
    provider.core.retrieve_manifest().await.unwrap();
    assert_eq!(provider.asked.recv().await.unwrap().0, 2);
}

#[tokio::test]
async fn an_intent_is_forwarded_or_dropped() {
    let mut provider = Provider::answering(&[]).await;
    provider.core.perform("a#1", &Deed::browse("/home"), Some("a.b.c")).await.unwrap();
    assert!(provider.asked().await.headers.contains_key("Ucloud-Signed-Intent"));
    provider.core = provider.core.with_forwarding(IntentForwarding::Dropped);
    provider.core.perform("a#1", &Deed::browse("/home"), Some("a.b.c")).await.unwrap();
    assert!(!provider.asked().await.headers.contains_key("Ucloud-Signed-Intent"));
    provider.core.deposit("a.b.c").await.unwrap();
    let deposit = provider.asked().await;
    assert_eq!(deposit.line, "POST /ucloud/k8/intents");
    assert_eq!(deposit.headers["Origin"], "https://cloud.sdu.dk");
    assert_eq!(deposit.headers["Content-Type"], "application/jwt");
    assert_eq!(deposit.body, "a.b.c");
}

#[tokio::test]
async fn core1_spells_the_listing_in_lower_case_and_leaves_init_unnamed() {
    let mut provider = Provider::answering(&[]).await;
    provider.core = provider.core.with_flavour(Flavour::Core1);
    provider.core.perform("a#1", &Deed::browse("/home"), None).await.unwrap();
    let asked = provider.asked().await;
    let body: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(body["browse"]["flags"]["path"], "/home");
    assert!(asked.headers["Content-Type"].starts_with("application/json"));
    provider.core.init("a#1").await.unwrap();
    assert!(!provider.asked().await.headers.contains_key("Ucloud-Username"));
}

#[tokio::test]
async fn core2_polls_seven_features_and_the_branding_every_ten_seconds_on_one_connection() {
    let refused = answer("404 Not Found", "{}");
    let answers: Vec<String> = (0..16).map(|n| if n == 7 { refused.clone() } else { ok("{}") }).collect();
    let mut provider = Provider::answering(&answers.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let first = provider.core.poll_if_due(1000).await.unwrap().expect("the first is due at once");
    assert_eq!(first.refused(), Some(("provider/branding/retrieveInfo", 404)));
    assert!(provider.core.poll_if_due(1009).await.unwrap().is_none(), "nine seconds are too few");
    assert_eq!(provider.core.poll_if_due(1010).await.unwrap().expect("ten are not").refused(), None);
    for round in 0..2 {
        for path in POLLED {
            let (connection, asked) = provider.asked.recv().await.unwrap();
            assert_eq!((connection, asked.line), (1, format!("GET /ucloud/k8/{path}")), "round {round}");
            assert!(!asked.headers.contains_key("Ucloud-Username"));
        }
    }
}

#[tokio::test]
async fn core2_ends_when_the_handshake_of_its_search_is_refused() {
    let switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let mut provider = Provider::answering(&[switching]).await;
    provider.core.search_socket("Ælice#1234").await.unwrap();
    let asked = provider.asked().await;
    assert_eq!(asked.line, "GET /ucloud/k8/files?usernameHint=w4ZsaWNlIzEyMzQ=");
    assert!(!asked.headers.contains_key("Ucloud-Username"));
    assert_eq!(provider.core.take_death(), None);

    for refusal in [answer("404 Not Found", "{}"), answer("449 Retry With", ""), answer("200 OK", "{}")] {
        let provider = Provider::answering(&[&refusal, &refusal]).await;
        assert!(provider.core.follow_socket("a#1").await.is_err());
        assert_eq!(provider.core.take_death(), None, "of a job that is followed Core takes it well");
        drop(provider);
        let provider = Provider::answering(&[&refusal]).await;
        check_end(&provider.core).await;
    }
    // Not so much as a connection.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    check_end(&Core::new(Arc::new(CoreKeys::generate("k8").unwrap()), Endpoint::plain(free))).await;
}

async fn check_end(core: &Core) {
    assert!(matches!(core.search_socket("a#1").await, Err(Fault::Died(_))));
    assert!(matches!(core.retrieve_manifest().await, Err(Fault::Died(_))), "it is gone for everything");
    assert!(core.take_death().is_some());
}

/// Core's create of a drive for `username`, which it numbers `number`.
fn make_drive(username: &str, number: &str) -> (String, Deed) {
    let deed = Deed::CreateDrive {
        title: "Photos".into(),
        product: "own".into(),
        provider: "k8".into(),
        number: number.into(),
    };
    (username.to_owned(), deed)
}

fn answered(id: &str) -> String {
    ok(&json!({"responses": [{"id": id}]}).to_string())
}

/// Alice's drive and Bob's get one id: both see a success, and Core is gone.
#[tokio::test]
async fn core2_ends_when_a_create_is_answered_with_an_id_that_a_resource_has() {
    let job = || ("a#1".to_owned(), Deed::StartJob { number: "8".into(), specification: json!({}), script: None });
    for (first, second) in [
        (make_drive("a#1", "7"), make_drive("b#2", "9")),
        (job(), make_drive("a#1", "9")),
        (make_drive("a#1", "7"), job()),
    ] {
        let provider = Provider::answering(&[&answered("own-Photos"), &answered("own-Photos")]).await;
        for (username, deed) in [&first, &second] {
            assert_eq!(provider.core.take_death(), None);
            assert!(provider.core.perform(username, deed, None).await.unwrap().is_ok());
        }
        assert!(matches!(provider.core.retrieve_manifest().await, Err(Fault::Died(_))), "{first:?} {second:?}");
        assert!(provider.core.take_death().is_some());
    }
}

#[tokio::test]
async fn core2_lives_where_no_resource_has_the_id() {
    // No id, another id, a refusal with the id in it, and an id whose resource was deleted.
    let refused = answer("409 Conflict", &json!({"responses": [{"id": "a"}]}).to_string());
    let no_id = ok(r#"{"responses":[{}]}"#);
    let answers = [answered("a"), no_id.clone(), no_id, answered("b"), refused, ok("{}"), answered("a"), answered("b")];
    let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
    let provider = Provider::answering(&answers).await;
    let make = async |number: &str| {
        let (username, deed) = make_drive("a#1", number);
        provider.core.perform(&username, &deed, None).await.unwrap()
    };
    for number in ["1", "2", "3", "4", "5"] {
        make(number).await;
    }
    let deleted = provider.core.perform("a#1", &Deed::DeleteDrives(vec!["1".into()]), None).await.unwrap();
    assert!(deleted.is_ok());
    make("6").await;
    assert_eq!(provider.core.take_death(), None);
    make("7").await;
    assert!(provider.core.take_death().is_some(), "the other one is still there");
}

/// The ids that a provider registers and those that it answers are in one index, and both ends are
/// of one process.
#[tokio::test]
async fn core2_ends_when_a_create_is_answered_with_a_registered_id() {
    let mut provider = Provider::answering(&[&answered("h-alice")]).await;
    let control = Control::start(Arc::new(CoreKeys::generate("k8").unwrap())).await.unwrap();
    control.register_drive("h-alice", "a#1");
    provider.core = provider.core.with_control(&control);
    let (username, deed) = make_drive("b#2", "9");
    assert!(provider.core.perform(&username, &deed, None).await.unwrap().is_ok());
    let refresh = http::Request::post("/auth/providers/refresh").body(Bytes::new().into()).unwrap();
    let line = Line::new(Endpoint::plain(control.address()), Duration::from_secs(5));
    assert!(line.send(refresh).await.is_err(), "what the provider calls has ended too");
    assert!(control.take_death().is_some());
    assert_eq!(provider.core.take_death(), None, "it is one end");
}

/// The test that forgets to look fails all the same.
#[tokio::test]
#[should_panic(expected = "the provider ended Core's process")]
async fn core2s_end_fails_the_test_that_did_not_expect_it() {
    let provider = Provider::answering(&[&answer("404 Not Found", "{}")]).await;
    let _died = provider.core.search_socket("a#1").await;
}

/// What the user asks and what Core sends, of the real Core: `keys/tests/vectors/real.json`.
fn real(call: &str) -> (Value, Value) {
    let all: Value = serde_json::from_str(include_str!("../../keys/tests/vectors/real.json")).unwrap();
    let fixture = all["fixtures"].as_array().unwrap().iter().find(|fixture| fixture["call"] == call).unwrap();
    (fixture["asked"]["body"]["items"][0].clone(), fixture["sent"][0]["body"]["items"][0].clone())
}

#[test]
fn c06_core2_rewrites_what_it_sends_as_the_real_one_does() {
    let check = |call: &str, rewrite: &dyn Fn(&Value) -> Value| {
        let (asked, sent) = real(call);
        assert_eq!(rewrite(&asked), sent["specification"], "{call}");
    };
    check("jobs.create", &|asked| rewriting::job(asked, |_| true));
    check("files.collections.create", &rewriting::drive);
    check("ingresses.create", &rewriting::link);
    check("private-networks.create", &rewriting::private_network);
    let (asked, sent) = real("files.collections.updateLabels");
    assert_eq!(rewriting::labels(asked.get("labels")), sent["specification"]["labels"]);
    let (asked, sent) = real("files.collections.rename");
    assert_eq!(asked["newTitle"].as_str().unwrap().trim(), sent["newTitle"]);
}

#[test]
fn c06_a_user_without_edit_mounts_read_only_whatever_was_asked() {
    let asked =
        json!({"resources": [{"type": "file", "path": "/4/x", "readOnly": true}, {"type": "file", "path": "/5/x"}]});
    let made = rewriting::job(&asked, |drive| drive == "4");
    assert_eq!((&made["resources"][0]["readOnly"], &made["resources"][1]["readOnly"]), (&json!(false), &json!(true)));
    assert_eq!(made["parameters"]["ucMetricSampleRate"]["value"], "0ms");
}
