//! Tests of terminals and searches at a real installation. They run as the user, in the user's
//! account, and end with the key.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use crate::support::stream::{Terminal, granted, message, open, rpc, text_of};
use crate::support::test_site::{Accounts, PROVIDER, Part, Person, TestSite, said};
use countersign_portal::session::{self, OPEN};
use countersign_portal::signer::Projection;
use countersign_portal::{Deed, Intent, now};
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn a_terminal_is_the_user_s_own() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let home = fs::metadata(&alice.home).unwrap();
    let mut terminal = Terminal::open(&centre, &alice).await;
    let said = terminal.run("id -u; id -g; pwd -P; echo $0; stty size").await;
    let home_path = alice.home.canonicalize().unwrap();
    if centre.accounts == Accounts::Own {
        let want = format!("{}\n{}\n{}\n-bash\n50 200\n", home.uid(), home.gid(), home_path.display());
        assert_eq!(said, want);
        assert_eq!(terminal.run("id -Gn").await, "alice ucloud_users\n");
    }
    // The shell has no descriptor and no environment variable of the instance's.
    assert_eq!(
        terminal.run("for f in 0 1 2 3 4 5 6 7 8 9; do test -e /proc/$$/fd/$f && echo $f; done").await,
        "0\n1\n2\n"
    );
    assert_eq!(terminal.run("env | cut -d= -f1 | grep -i -e sudo -e countersign").await, "");
    terminal.run("touch made-in-a-terminal").await;
    assert_eq!(fs::metadata(alice.home.join("made-in-a-terminal")).unwrap().uid(), home.uid());

    // When the browser leaves, the shell is hung up.
    let pid = terminal.run("echo $$").await.trim().to_owned();
    assert!(is_alive(&pid));
    drop(terminal);
    centre.until("the shell ends", async || !is_alive(&pid)).await;
}

/// The server does not know of this: the key is removed from the user's own file alone, and the
/// user's own instance notices.
#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v53_a_terminal_ends_with_its_pinned_key_within_a_second() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let mut terminal = Terminal::open(&centre, &alice).await;
    let pid = terminal.run("echo $$").await.trim().to_owned();
    let pins = alice.home.join(".config/countersign/authorized_keys");
    fs::write(&pins, "").unwrap();
    let gone = Instant::now();
    while terminal.browser.hear().await.is_some() {}
    assert!(gone.elapsed() < Duration::from_secs(1), "{:?}", gone.elapsed());
    centre.until("the shell ends", async || !is_alive(&pid)).await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn a_site_may_offer_no_terminals() {
    let centre = TestSite::open_with("[terminals]\noffered = false\n").await;
    let alice = centre.connect("alice").await;
    let answer = centre.perform(&alice, &Deed::Terminal("/home".to_owned())).await;
    assert_eq!((answer.status, answer.error_code().as_str()), (404, "NOT_FOUND"), "{answer:?}");
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn a_terminal_ends_with_its_instance() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut terminal = Terminal::open(&centre, &alice).await;
        let pid = terminal.run("echo $$").await.trim().to_owned();
        let told = Instant::now();
        kill(centre.pid(Part::Instance("alice")).unwrap(), signal).unwrap();
        while terminal.browser.hear().await.is_some() {}
        assert!(told.elapsed() < Duration::from_secs(2), "{signal}: {:?}", told.elapsed());
        centre.until("the shell ends", async || !is_alive(&pid)).await;
        centre.until("users are served", async || centre.browse(&alice, "/home").await.is_ok()).await;
    }
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn a_search_tells_what_it_finds_and_closes() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    for number in 0..250 {
        centre.write(&alice, &format!("Needle-{number}"), b"");
    }
    let mut socket = rpc(&centre, &alice, &format!("/ucloud/{PROVIDER}/files")).await;
    let item = Projection::new([("query", json!("needle")), ("currentFolder", json!("/home"))]);
    let payload = json!({
        "query": "needle", "owner": {"createdBy": alice.username, "project": null}, "flags": {},
        "category": {"name": "storage", "provider": PROVIDER}, "currentFolder": "/home",
    });
    let call = format!("files.provider.{PROVIDER}.streamingSearch");
    socket.say(message(&centre, &alice, ("files.streamingSearch", &call), &item, &payload)).await;
    let (mut found, mut last) = (0, Value::Null);
    while let Some(heard) = socket.hear_json().await {
        assert!(
            heard["status"].is_null() || heard["status"] == 200,
            "{heard}
{:?}",
            centre.decisions().last()
        );
        found += heard["payload"]["batch"].as_array().map_or(0, Vec::len);
        last = heard;
    }
    assert_eq!(found, 250, "{last}\n{}", centre.last_words());
    let end = json!({"type": "response", "streamId": "ignored", "status": 200, "payload": {"type": "end_of_results"}});
    assert_eq!(last, end);
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn there_is_no_job_to_follow() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let mut socket = rpc(&centre, &alice, &format!("/ucloud/jobs.provider.{PROVIDER}/websocket")).await;
    let (item, payload) = (Projection::new([("id", json!("1"))]), json!({"type": "init", "job": {"id": "1"}}));
    let call = format!("jobs.provider.{PROVIDER}.follow");
    socket.say(message(&centre, &alice, ("jobs.follow", &call), &item, &payload)).await;
    let refused = socket.hear_json().await.unwrap();
    assert_eq!((&refused["type"], &refused["status"]), (&json!("response"), &json!(404)), "{refused}");
    assert_eq!(refused["payload"]["errorCode"], "NOT_FOUND");
    assert_eq!(refused["payload"]["type"], "end_of_results", "all that Core reads of it");
    assert_eq!(socket.hear().await, None, "and closes");
}

/// The request of a UCloud page that knows no signer, as Core sends it.
#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v76_c03_c10_c11_what_nobody_signed_ends_at_once_and_never_cores_process() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let token = format!("Bearer {}", centre.core.token().unwrap());
    let search = json!({
        "call": format!("files.provider.{PROVIDER}.streamingSearch"), "streamId": "ignored", "bearer": "", "project": null,
        "payload": { "query": "needle", "currentFolder": "/home" },
    });
    let path = format!("/ucloud/{PROVIDER}/files");
    let name = |username: &str| countersign_portal::core::username_header(username);
    let began = Instant::now();
    for (username, status) in [(Some(alice.username.as_str()), 482), (Some("nobody#1"), 403), (None, 400)] {
        let name = username.map(name);
        let headers = [Some(("authorization", token.as_str())), name.as_deref().map(|name| ("ucloud-username", name))];
        let headers: Vec<_> = headers.into_iter().flatten().collect();
        let mut socket = open(&centre, &path, &headers).await.expect("101, whatever is wrong");
        if username.is_some() {
            socket.say(Message::text(search.to_string())).await;
        }
        let refused = socket.hear_json().await.unwrap();
        assert_eq!((&refused["status"], &refused["payload"]["type"]), (&json!(status), &json!("end_of_results")));
        assert_eq!(socket.hear().await, None, "{refused}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    let began = Instant::now();
    let answer = centre.core.perform("nobody#1", &Deed::browse("/home"), None).await.unwrap();
    assert_eq!((answer.status, answer.error_code().as_str()), (403, "NOT_CONNECTED"));
    for (method, operation, body, want) in [
        (
            "POST",
            "jobs/requestDynamicParameters",
            Some(&b"{\"owner\":{},\"application\":{}}"[..]),
            json!({ "parameters": [] }),
        ),
        ("GET", "tokens/retrieveOptions", None, json!({ "availablePermissions": [] })),
    ] {
        for username in [alice.username.as_str(), "nobody#1"] {
            let answer = centre.core.call(method, operation, Some(username), None, body).await.unwrap();
            assert_eq!((answer.status, answer.json()), (200, want.clone()), "{operation}");
        }
    }
    assert!(began.elapsed() < Duration::from_secs(1), "nothing is waited for: {:?}", began.elapsed());
}

/// Speaks to an instance's socket as an attacker with the gateway's account would, and prints every
/// answer.
const SPEAK: &str = r#"python3 -c '
import os, socket, struct, sys
line = socket.socket(socket.AF_UNIX)
line.settimeout(10)
line.connect(sys.argv[1])
line.sendall(open(sys.argv[2], "rb").read())
print(line.recv(65536))
for path in sys.argv[3:]:
    said = open(path, "rb").read()
    line.sendall(b"\x81\xfe" + struct.pack(">H", len(said)) + b"\0\0\0\0" + said)
heard = b""
while len(sys.argv) > 3:
    more = line.recv(65536)
    if not more:
        break
    heard += more
print(heard)
'"#;

/// The answers of alice's instance to the account `ucloud`, which opens a WebSocket at its socket
/// and sends `messages`.
async fn speak(centre: &TestSite, path: &str, headers: &str, messages: &[String]) -> String {
    let mut instances = fs::read_dir(centre.state.join("instances")).unwrap().map(|entry| entry.unwrap().path());
    let socket = instances.find(|path| path.to_str().unwrap().contains("/1101-")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: instance\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    let mut script = format!("{SPEAK} {}", socket.display());
    for (number, text) in [&head].into_iter().chain(messages).enumerate() {
        let file = directory.path().join(number.to_string());
        fs::write(&file, text).unwrap();
        script += &format!(" {}", file.display());
    }
    said(&centre.shell_as("ucloud", &script).await)
}

/// A limit of P3, not a promise: until sessions are sealed (protocol, section 10), an attacker with
/// the gateway's account can use a terminal's token and proof in the user's place. When this test
/// goes red, correct the limits in README, invariants.md, boundaries.md and actors.md.
#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn p3_s04_a_terminals_token_and_proof_open_it_for_the_gateways_account() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let (token, proof) = granted(&centre, &alice, &Deed::Terminal("/home".to_owned())).await;
    let headers = format!("ucloud-session-token: {token}\r\nucloud-signed-intent: {proof}\r\n");
    let call = format!("jobs.compute.{PROVIDER}.shell.open");
    let initialize = json!({"type": "initialize", "sessionIdentifier": token, "cols": 80, "rows": 24});
    let input = json!({"type": "input", "data": "id -u > by-ucloud; exit\r"});
    let messages = [("0", &initialize), ("1", &input)].map(|(stream, payload)| text_of(&call, stream, payload));
    let path = format!("/ucloud/{PROVIDER}/websocket");
    let heard = speak(&centre, &path, &headers, &messages).await;
    assert!(heard.contains("101"), "{heard}");
    assert_eq!(fs::read_to_string(alice.home.join("by-ucloud")).unwrap(), "1101\n", "{heard}");
    // Once: the user's own attempt then finds the token used, which the log records.
    let again = speak(&centre, &path, &headers, &[]).await;
    assert!(again.contains("HTTP/1.1 482"), "{again}");
}

/// P3 for sockets: an attacker has taken over the gateway and sends any message to alice's
/// instance.
#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v57_an_instance_judges_messages_and_tokens_itself() {
    let centre = TestSite::open().await;
    let (alice, bob) = (centre.connect("alice").await, centre.connect("bob").await);
    centre.write(&alice, "needle", b"");
    assert!(centre.browse(&alice, "/home").await.is_ok());
    let speak = async |path: &str, headers: &str, messages: &[String]| speak(&centre, path, headers, messages).await;

    let item = Projection::new([("query", json!("needle")), ("currentFolder", json!("/home"))]);
    let payload = json!({"query": "needle", "currentFolder": "/home"});
    let name = format!("files.provider.{PROVIDER}.streamingSearch");
    let token = centre.keys.core2_token(now()).unwrap();
    let path = format!("/ucloud/{PROVIDER}/files");
    let username = countersign_portal::core::username_header(&alice.username);
    let headers = format!("authorization: Bearer {token}\r\nucloud-username: {username}\r\n");
    let say = |person: &Person, payload: &Value| {
        let intent =
            Intent::new(&centre.origin(), &alice.username, "files.streamingSearch", std::slice::from_ref(&item), now());
        let intent = intent.unwrap().sign(&person.key).unwrap();
        json!({"call": name, "streamId": "1", "payload": payload, "bearer": token, "signedIntent": intent}).to_string()
    };
    let check = async |what: &str, headers: &str, message: String, want: &str| {
        let heard = speak(&path, headers, &[message]).await;
        assert!(heard.contains("101") && heard.contains(want), "{what}: {heard}");
        assert_eq!(heard.contains("/home/needle"), want == "end_of_results", "{what}: {heard}");
    };
    let unsigned = json!({"call": name, "streamId": "1", "payload": payload, "bearer": token}).to_string();
    check("no intent", &headers, unsigned, "INTENT_REQUIRED").await;
    check("another user's", &headers, say(&bob, &payload), "INTENT_INVALID").await;
    let elsewhere = json!({"query": "needle", "currentFolder": "/home/x"});
    check("for another folder", &headers, say(&alice, &elsewhere), "INTENT_INVALID").await;
    let by_name = format!("ucloud-username: {username}\r\n");
    let tokenless = say(&alice, &payload).replace(&token, "");
    check("without Core's token", &by_name, tokenless, "UNAUTHORIZED").await;
    let hers = say(&alice, &payload);
    check("what alice signed", &headers, hers.clone(), "end_of_results").await;
    check("the same again", &headers, hers, "INTENT_REPLAYED").await;
    assert!(speak(&format!("/ucloud/{PROVIDER}/websocket"), &headers, &[]).await.contains("HTTP/1.1 4"), "no token");

    // A session that alice asked for is hers alone: the token alone opens nothing, nor does it with
    // another user's proof.
    let (token, proof) = granted(&centre, &alice, &Deed::Terminal("/home".to_owned())).await;
    let by_bob = session::proof(&centre.origin(), &bob.username, OPEN, &token, None, now()).unwrap();
    let terminal = format!("/ucloud/{PROVIDER}/websocket");
    let with = |proof: &str| format!("ucloud-session-token: {token}\r\n{proof}");
    let alone = speak(&terminal, &with(""), &[]).await;
    assert!(alone.contains("HTTP/1.1 482"), "{alone}");
    let others = format!("ucloud-signed-intent: {}\r\n", by_bob.sign(&bob.key).unwrap());
    let heard = speak(&terminal, &with(&others), &[]).await;
    assert!(heard.contains("HTTP/1.1 482"), "{heard}");
    let upload =
        speak(&format!("/ucloud/{PROVIDER}/upload"), &with(&format!("ucloud-signed-intent: {proof}\r\n")), &[]).await;
    assert!(upload.contains("HTTP/1.1 4"), "a terminal's token is not an upload's: {upload}");
}
