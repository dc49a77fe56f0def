//! Terminals, folders and searches at a real installation: done as the user, in the user's account, and over when the key is.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

#[path = "support/centre.rs"]
mod centre;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use centre::{Accounts, Centre, PROVIDER, Part, Person, said};
use countersign_portal::core::Brings;
use countersign_portal::session::{self, OPEN};
use countersign_portal::signer::Projection;
use countersign_portal::{Deed, Intent, now};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

/// What a test waits for at most.
const PATIENCE: Duration = Duration::from_secs(20);

struct Browser(WebSocketStream<TcpStream>);

/// Opens a WebSocket as a browser or as Core does; the status if that is refused.
async fn open(centre: &Centre, target: &str, headers: &[(&'static str, &str)]) -> Result<Browser, u16> {
    let origin = centre.origin();
    let address = origin.strip_prefix("http://").unwrap().to_owned();
    let mut request = format!("ws://{address}{target}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(&address).await.unwrap();
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok(Browser(socket)),
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}\n{}", centre.last_words()),
    }
}

impl Browser {
    async fn say(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    /// The next message that says something; nothing when the socket has ended.
    async fn hear(&mut self) -> Option<Message> {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a message") {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(message)) => return Some(message),
            }
        }
    }

    async fn hear_json(&mut self) -> Option<Value> {
        Some(serde_json::from_str(self.hear().await?.to_text().unwrap()).unwrap())
    }
}

/// The token in the answer to a signed call, and the proof with which its user redeems it.
async fn granted(centre: &Centre, person: &Person, deed: &Deed) -> (String, String) {
    let answer = centre.perform(person, deed).await;
    assert!(answer.is_ok(), "{answer:?}\n{}", centre.last_words());
    let response = &answer.json()["responses"][0];
    let token = response["sessionIdentifier"].as_str().or(response["token"].as_str()).unwrap().to_owned();
    let proof = session::proof(&centre.origin(), &person.username, OPEN, &token, None, now()).unwrap();
    (token, proof.sign(&person.key).unwrap())
}

fn shell_message(stream_id: &str, payload: &Value) -> Message {
    let call = format!("jobs.compute.{PROVIDER}.shell.open");
    Message::text(json!({"call": call, "streamId": stream_id, "payload": payload}).to_string())
}

/// A terminal in the person's home, and what its shell answers to a line.
struct Terminal {
    browser: Browser,
    shown: String,
}

impl Terminal {
    async fn open(centre: &Centre, person: &Person) -> Self {
        let (token, proof) = granted(centre, person, &Deed::Terminal("/home".to_owned())).await;
        let target = format!("/ucloud/{PROVIDER}/websocket?session={token}&intent={proof}");
        let mut browser =
            open(centre, &target, &[]).await.unwrap_or_else(|status| panic!("{status}\n{}", centre.last_words()));
        let initialize = json!({"type": "initialize", "sessionIdentifier": token, "cols": 200, "rows": 50});
        browser.say(shell_message("0", &initialize)).await;
        assert_eq!(browser.hear_json().await.unwrap()["payload"], json!({"type": "initialize"}));
        assert_eq!(open(centre, &target, &[]).await.err(), Some(482), "it opens one");
        Self { browser, shown: String::new() }
    }

    /// What a command writes between two marks that nobody types.
    async fn run(&mut self, command: &str) -> String {
        let line = format!("echo be'gi'n; {command}; echo e'n'd\r");
        self.browser.say(shell_message("1", &json!({"type": "input", "data": line}))).await;
        loop {
            if let Some((_, after)) = self.shown.split_once("begin\r\n")
                && let Some((said, after)) = after.split_once("end\r\n")
            {
                let said = said.replace("\r\n", "\n");
                self.shown = after.to_owned();
                return said;
            }
            let message = self.browser.hear_json().await.unwrap_or_else(|| panic!("closed: {:?}", self.shown));
            self.shown += message["payload"]["data"].as_str().unwrap_or_default();
        }
    }
}

fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn a_terminal_is_the_user_s_own() {
    let centre = Centre::open().await;
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
    // Nothing of the instance is open in it, and nothing of its environment is set.
    assert_eq!(
        terminal.run("for f in 0 1 2 3 4 5 6 7 8 9; do test -e /proc/$$/fd/$f && echo $f; done").await,
        "0\n1\n2\n"
    );
    assert_eq!(terminal.run("env | cut -d= -f1 | grep -i -e sudo -e countersign").await, "");
    terminal.run("touch made-in-a-terminal").await;
    assert_eq!(fs::metadata(alice.home.join("made-in-a-terminal")).unwrap().uid(), home.uid());

    // Whoever leaves hangs up.
    let pid = terminal.run("echo $$").await.trim().to_owned();
    assert!(is_alive(&pid));
    drop(terminal);
    centre.until("the shell ends", async || !is_alive(&pid)).await;
}

/// The server knows nothing of this: the key is gone from the user's own file alone, and the user's own instance sees it.
#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v53_a_terminal_ends_with_its_pinned_key_within_a_second() {
    let centre = Centre::open().await;
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

/// Files as a client lists them: id, size and path.
fn listing(files: &[(i32, i64, &str)]) -> Message {
    let mut listing = vec![4];
    for (id, size, path) in files {
        listing.extend(id.to_be_bytes());
        listing.extend(size.to_be_bytes());
        listing.extend(1_700_000_000_000_i64.to_be_bytes());
        listing.extend((path.len() as u32).to_be_bytes());
        listing.extend(path.as_bytes());
    }
    Message::binary(listing)
}

fn chunk(id: i32, bytes: &[u8]) -> Message {
    Message::binary([&[2], id.to_be_bytes().as_slice(), bytes].concat())
}

async fn uploading(centre: &Centre, person: &Person, deed: &Deed) -> Browser {
    let (token, proof) = granted(centre, person, deed).await;
    let target = format!("/ucloud/{PROVIDER}/upload?token={token}&intent={proof}");
    open(centre, &target, &[]).await.unwrap_or_else(|status| panic!("{status}\n{}", centre.last_words()))
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn a_folder_comes_over_a_socket_as_the_user() {
    let centre = Centre::open().await;
    let alice = centre.connect("alice").await;
    let deed = Deed::Upload("/home/folder".to_owned(), Brings::Folder, "REPLACE".to_owned());
    let mut browser = uploading(&centre, &alice, &deed).await;
    let content = vec![7; 3_000_000];
    browser.say(listing(&[(1, 3_000_000, "a/large"), (2, 0, "empty")])).await;
    assert_eq!(browser.hear().await.unwrap().into_data(), b"\0\0\0\0\x01\0\0\0\0\x02".as_slice());
    for piece in content.chunks(1_000_000) {
        browser.say(Message::binary([b"\x02\0\0\0\x01", piece].concat())).await;
    }
    browser.say(Message::binary(b"\x02\0\0\0\x02".to_vec())).await;
    let mut done = Vec::new();
    while !done.ends_with(b"\x05\0\0\0\x02") {
        done.extend_from_slice(&browser.hear().await.expect("the end").into_data());
    }
    browser.say(Message::binary(vec![6])).await;
    assert_eq!(browser.hear().await, None);
    let (large, empty) = (alice.home.join("folder/a/large"), alice.home.join("folder/empty"));
    assert!(fs::read(&large).unwrap() == content);
    assert_eq!(fs::read(&empty).unwrap(), b"");
    for path in [&large, &empty, &alice.home.join("folder/a")] {
        assert_eq!(fs::metadata(path).unwrap().uid(), fs::metadata(&alice.home).unwrap().uid());
    }
    assert_eq!(fs::metadata(&large).unwrap().mtime(), 1_700_000_000);
    assert_eq!(fs::read_dir(alice.home.join("folder")).unwrap().count(), 2, "nothing unfinished");
}

/// A signed message of Core's.
fn message(centre: &Centre, person: &Person, call: (&str, &str), item: &Projection, payload: &Value) -> Message {
    let intent = Intent::new(&centre.origin(), &person.username, call.0, std::slice::from_ref(item), now()).unwrap();
    let intent = intent.sign(&person.key).unwrap();
    let message = json!({
        "call": call.1, "streamId": "ignored", "payload": payload, "bearer": "", "project": null, "signedIntent": intent,
    });
    Message::text(message.to_string())
}

async fn rpc(centre: &Centre, person: &Person, path: &str) -> Browser {
    let token = format!("Bearer {}", centre.core.token().unwrap());
    let name = countersign_portal::core::username_header(&person.username);
    let opened = open(centre, path, &[("authorization", &token), ("ucloud-username", &name)]).await;
    opened.unwrap_or_else(|status| panic!("{status}\n{}", centre.last_words()))
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn a_search_tells_what_it_finds_and_closes() {
    let centre = Centre::open().await;
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
    let centre = Centre::open().await;
    let alice = centre.connect("alice").await;
    let mut socket = rpc(&centre, &alice, &format!("/ucloud/jobs.provider.{PROVIDER}/websocket")).await;
    let (item, payload) = (Projection::new([("id", json!("1"))]), json!({"type": "init", "job": {"id": "1"}}));
    let call = format!("jobs.provider.{PROVIDER}.follow");
    socket.say(message(&centre, &alice, ("jobs.follow", &call), &item, &payload)).await;
    let refused = socket.hear_json().await.unwrap();
    assert_eq!((&refused["type"], &refused["status"]), (&json!("response"), &json!(404)), "{refused}");
    assert_eq!(refused["payload"]["errorCode"], "NOT_FOUND");
    assert_eq!(socket.hear().await, None, "and closes");
}

/// `kill -9` among 200 files that replace others (the server starts an instance that often fails ever later, so not oftener): every file is the old one or the whole new one, and what was half done goes.
#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn of_uploads_whose_instance_is_killed_every_file_is_the_old_one_or_the_new() {
    const FILES: i32 = 50;
    const ROUNDS: usize = 4;
    const PIECE: usize = 10_000;
    let centre = Centre::open().await;
    let alice = centre.connect("alice").await;
    let folder = alice.home.join("folder");
    let names: Vec<String> = (0..FILES).map(|id| format!("f{id}")).collect();
    let content = |round: usize, id: i32| format!("{round} {id} ").repeat(5_000 + round).into_bytes();
    let is_whole = |round: usize, id: i32| fs::read(folder.join(&names[id as usize])).unwrap() == content(round, id);
    let deed = Deed::Upload("/home/folder".to_owned(), Brings::Folder, "REPLACE".to_owned());
    let mut now_there = [0; FILES as usize];
    let mut renewed = 0;
    for round in 0..=ROUNDS {
        let mut browser = uploading(&centre, &alice, &deed).await;
        let files: Vec<(i32, i64, &str)> =
            (0..FILES).map(|id| (id, content(round, id).len() as i64, names[id as usize].as_str())).collect();
        browser.say(listing(&files)).await;
        browser.hear().await.unwrap();
        let all: Vec<Vec<u8>> = (0..FILES).map(|id| content(round, id)).collect();
        let pieces = (0..FILES).flat_map(|id| all[id as usize].chunks(PIECE).map(move |piece| chunk(id, piece)));
        if round == 0 {
            for piece in pieces {
                browser.say(piece).await;
            }
            browser.say(Message::binary(vec![6])).await;
            while browser.hear().await.is_some() {}
            continue;
        }
        let killing = pieces.clone().count() * round / (ROUNDS + 1);
        for piece in pieces.take(killing) {
            browser.say(piece).await;
        }
        // As soon as half of them have their names: others are being given theirs at this moment.
        let half = i32::try_from(FILES as usize * round / (ROUNDS + 1) / 2).unwrap();
        let mut done = 0;
        while done < half {
            let heard = browser.hear().await.unwrap().into_data();
            done = i32::from_be_bytes(heard[heard.len() - 4..].try_into().unwrap());
        }
        centre.kill(Part::Instance("alice"));
        while browser.hear().await.is_some() {}
        for id in 0..FILES {
            let there = &mut now_there[id as usize];
            if is_whole(round, id) {
                *there = round;
                renewed += 1;
            }
            assert!(is_whole(*there, id), "file {id} is neither that of round {there} nor that of {round}");
        }
        centre.until("users are served", async || centre.browse(&alice, "/home").await.is_ok()).await;
    }
    assert!((40..160).contains(&renewed), "{renewed} of them were complete");
    centre.until("what was half done is gone", async || fs::read_dir(&folder).unwrap().count() == FILES as usize).await;
}

/// What a process has had in memory at most, in KiB.
fn peak_kib(centre: &Centre, part: Part) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", centre.pid(part).unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn an_upload_takes_the_memory_of_one_message_however_long_it_is() {
    let centre = Centre::open().await;
    let alice = centre.connect("alice").await;
    let deed = Deed::Upload("/home/long".to_owned(), Brings::Folder, "REPLACE".to_owned());
    let mut browser = uploading(&centre, &alice, &deed).await;
    browser.say(listing(&[(1, 200_000_000, "f")])).await;
    browser.hear().await.unwrap();
    let before = (peak_kib(&centre, Part::Instance("alice")), peak_kib(&centre, Part::Gateway));
    let piece = vec![7; 1_000_000];
    for _ in 0..200 {
        browser.say(chunk(1, &piece)).await;
    }
    assert_eq!(browser.hear().await.unwrap().into_data(), b"\x05\0\0\0\x01".as_slice());
    let after = (peak_kib(&centre, Part::Instance("alice")), peak_kib(&centre, Part::Gateway));
    assert!(after.0 - before.0 < 8 * 1024, "the instance: {before:?} {after:?}");
    assert!(after.1 - before.1 < 8 * 1024, "the gateway: {before:?} {after:?}");
    assert_eq!(fs::metadata(alice.home.join("long/f")).unwrap().len(), 200_000_000);
}

/// Speaks to an instance's socket as whoever has the gateway's account would, and prints every answer.
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

/// P3 for sockets: the gateway is taken over, and speaks to alice's instance as it likes.
#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v57_an_instance_judges_messages_and_tokens_itself() {
    let centre = Centre::open().await;
    let (alice, bob) = (centre.connect("alice").await, centre.connect("bob").await);
    centre.write(&alice, "needle", b"");
    assert!(centre.browse(&alice, "/home").await.is_ok());
    let instances = fs::read_dir(centre.state.join("instances")).unwrap().map(|entry| entry.unwrap().path());
    let socket = instances.into_iter().find(|path| path.to_str().unwrap().contains("/1101-")).unwrap();
    let speak = async |path: &str, headers: &str, messages: &[String]| {
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
    };

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

    // What alice asked for is granted her alone: the token alone opens nothing, nor does it with another's proof.
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
