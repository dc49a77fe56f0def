//! Tests of sealed sessions at a real installation (protocol, section 10). An attacker has the
//! gateway and the whole account `ucloud`: it sees every byte, sends any to the instance, and
//! alters what passes. Nothing of a sealed terminal, upload or download is read or changed (P3).
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_portal::core::Brings;
use countersign_portal::seal::{END, FIRST, MESSAGE, Records};
use countersign_portal::session::{self, CONTINUE, OPEN, Piece};
use countersign_portal::{Answer, Deed, SealingKey, now};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::stream::{Browser, open, text_of};
use crate::support::test_site::{PROVIDER, Person, TestSite, said};
use crate::support::transfer::{chunk, get, proof, token, verdict};

/// A token that Core has seen, and what its user's browser makes of it.
struct Granted {
    token: String,
    key: SealingKey,
    enc: String,
    proof: String,
}

async fn granted(centre: &TestSite, person: &Person, deed: &Deed) -> Granted {
    let answer = centre.perform(person, deed).await;
    assert!(answer.is_ok(), "{answer:?}\n{}", centre.last_words());
    let response = &answer.json()["responses"][0];
    let token = response["sessionIdentifier"].as_str().map_or_else(|| token(&answer), str::to_owned);
    let key = SealingKey::agree(&token).unwrap().expect("the token offers a seal");
    let enc = key.enc();
    let proof = session::sealed_proof(&centre.origin(), &person.username, &token, None, &enc, now()).unwrap();
    Granted { proof: proof.sign(&person.key).unwrap(), token, key, enc }
}

/// A sealed terminal in the person's home, as an honest browser opens it.
struct Terminal {
    browser: Browser,
    up: Records,
    down: Records,
    shown: String,
    /// Every frame of the socket, as the gateway sees it.
    seen: Vec<u8>,
}

fn typed(text: &str) -> String {
    text_of(&format!("jobs.compute.{PROVIDER}.shell.open"), "1", &json!({"type": "input", "data": text}))
}

impl Terminal {
    async fn open(centre: &TestSite, person: &Person) -> Self {
        let Granted { token, key, enc, proof } = granted(centre, person, &Deed::Terminal("/home".to_owned())).await;
        let target = format!("/ucloud/{PROVIDER}/websocket?session={token}&intent={proof}&enc={enc}");
        let browser =
            open(centre, &target, &[]).await.unwrap_or_else(|status| panic!("{status}\n{}", centre.last_words()));
        let (up, down) = key.session(&proof).unwrap();
        let mut terminal = Self { browser, up, down, shown: String::new(), seen: Vec::new() };
        terminal.say(FIRST, "").await;
        let initialize = json!({"type": "initialize", "sessionIdentifier": token, "cols": 200, "rows": 50});
        terminal.say(MESSAGE, &text_of(&format!("jobs.compute.{PROVIDER}.shell.open"), "0", &initialize)).await;
        assert_eq!(terminal.hear().await, Some((FIRST, String::new())));
        let (_, first) = terminal.hear().await.unwrap();
        assert_eq!(serde_json::from_str::<Value>(&first).unwrap()["payload"], json!({"type": "initialize"}));
        terminal
    }

    async fn say(&mut self, kind: u8, text: &str) {
        let record = self.up.seal(kind, text.as_bytes()).unwrap();
        self.send(record).await;
    }

    async fn send(&mut self, record: Vec<u8>) {
        self.seen.extend(&record);
        self.browser.say(Message::Binary(record.into())).await;
    }

    /// Kind and text of the next record; `None` if the socket ends without one.
    async fn hear(&mut self) -> Option<(u8, String)> {
        let record = self.browser.hear().await?.into_data();
        self.seen.extend(&record);
        let (kind, text) = self.down.open(&record).unwrap();
        Some((kind, String::from_utf8(text).unwrap()))
    }

    async fn run(&mut self, command: &str) -> String {
        self.say(MESSAGE, &typed(&format!("echo be'gi'n; {command}; echo e'n'd\r"))).await;
        loop {
            if let Some((_, after)) = self.shown.split_once("begin\r\n")
                && let Some((said, after)) = after.split_once("end\r\n")
            {
                let said = said.replace("\r\n", "\n");
                self.shown = after.to_owned();
                return said;
            }
            let (_, text) = self.hear().await.unwrap_or_else(|| panic!("closed: {:?}", self.shown));
            let message: Value = serde_json::from_str(&text).unwrap();
            self.shown += message["payload"]["data"].as_str().unwrap_or_default();
        }
    }

    /// Waits for the end. Returns whether the instance sealed it.
    async fn ends(&mut self) -> bool {
        while let Some((kind, _)) = self.hear().await {
            if kind == END {
                return true;
            }
        }
        false
    }
}

/// Whether the gateway's log says that its last opening was sealed.
fn logged_seal(centre: &TestSite) -> Value {
    centre.decisions().iter().rev().find(|decision| !decision["sealed"].is_null()).unwrap()["sealed"].clone()
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn p3_a_sealed_terminal_shows_nothing_on_the_way_and_ends_at_the_first_frame_that_is_not_its_own() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let mut terminal = Terminal::open(&centre, &alice).await;
    assert_eq!(logged_seal(&centre), true);
    assert_eq!(terminal.run("echo of-$((40 + 2))-alice").await, "of-42-alice\n");
    for secret in ["of-42-alice", "initialize", "input", "echo"] {
        assert!(!terminal.seen.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()), "{secret}");
    }
    terminal.say(MESSAGE, &typed("exit\r")).await;
    assert!(terminal.ends().await, "the instance says that this is the end");

    // What a gateway can do to frames: alter, repeat, leave out, put in its own.
    let by_ucloud = typed("touch by-ucloud\r");
    for attack in ["altered", "repeated", "left out", "of another key", "in the clear", "as an end"] {
        let mut terminal = Terminal::open(&centre, &alice).await;
        assert_eq!(terminal.run("echo ready").await, "ready\n", "{attack}");
        let record = terminal.up.seal(MESSAGE, by_ucloud.as_bytes()).unwrap();
        match attack {
            "altered" => {
                let mut altered = record;
                altered[5] ^= 1;
                terminal.send(altered).await;
            }
            "repeated" => {
                let harmless = terminal.up.seal(MESSAGE, typed("true\r").as_bytes()).unwrap();
                drop(record);
                terminal.send(harmless.clone()).await;
                terminal.send(harmless).await;
            }
            "left out" => {
                let next = terminal.up.seal(MESSAGE, by_ucloud.as_bytes()).unwrap();
                terminal.send(next).await;
            }
            "of another key" => {
                let mut own = Records::new(&[7; 32]).unwrap();
                terminal.send(own.seal(MESSAGE, by_ucloud.as_bytes()).unwrap()).await;
            }
            "in the clear" => terminal.browser.say(Message::text(by_ucloud.clone())).await,
            _ => {
                let mut end = record;
                end[0] = END;
                terminal.send(end).await;
            }
        }
        assert!(!terminal.ends().await, "{attack}: cut off");
        assert!(!alice.home.join("by-ucloud").exists(), "{attack}");
    }
    let log = centre.last_words();
    assert!(log.contains("ended sealed session"), "{log}");
}

/// Opens a WebSocket at an instance's socket, sends binary frames, and prints all that comes.
const SPEAK: &str = r#"python3 -c '
import os, socket, struct, sys
line = socket.socket(socket.AF_UNIX)
line.settimeout(10)
line.connect(sys.argv[1])
line.sendall(open(sys.argv[2], "rb").read())
heard = line.recv(65536)
for path in sys.argv[3:]:
    said = open(path, "rb").read()
    line.sendall(said[:1] + b"\xfe" + struct.pack(">H", len(said) - 1) + b"\0\0\0\0" + said[1:])
while len(sys.argv) > 3:
    try:
        more = line.recv(65536)
    except ConnectionResetError:
        break # closed with frames unread
    if not more:
        break
    heard += more
print(heard)
'"#;

/// The answers of alice's instance to the account `ucloud`. Each frame begins with its opcode.
async fn speak(centre: &TestSite, headers: &str, frames: &[Vec<u8>]) -> String {
    let mut instances = fs::read_dir(centre.state.join("instances")).unwrap().map(|entry| entry.unwrap().path());
    let socket = instances.find(|path| path.to_str().unwrap().contains("/1101-")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let head = format!(
        "GET /ucloud/{PROVIDER}/websocket HTTP/1.1\r\nhost: instance\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    let mut script = format!("{SPEAK} {}", socket.display());
    for (number, bytes) in [head.as_bytes()].into_iter().chain(frames.iter().map(Vec::as_slice)).enumerate() {
        let file = directory.path().join(number.to_string());
        fs::write(&file, bytes).unwrap();
        script += &format!(" {}", file.display());
    }
    said(&centre.shell_as("ucloud", &script).await)
}

/// The sealed half of `p3_s04_a_terminals_token_and_proof_open_it_for_the_gateways_account`, which
/// shows that the same attack succeeds without a seal.
#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn p3_a_sealed_terminals_token_and_proof_are_of_no_use_to_the_gateways_account() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let deed = Deed::Terminal("/home".to_owned());
    let headers = |granted: &Granted, enc: Option<&str>| {
        let enc = enc.map(|enc| format!("ucloud-session-enc: {enc}\r\n")).unwrap_or_default();
        format!("ucloud-session-token: {}\r\nucloud-signed-intent: {}\r\n{enc}", granted.token, granted.proof)
    };
    let initialize = json!({"type": "initialize", "cols": 80, "rows": 24});
    let call = format!("jobs.compute.{PROVIDER}.shell.open");
    let texts = [text_of(&call, "0", &initialize), typed("id -u > by-ucloud; exit\r")];
    let in_the_clear: Vec<Vec<u8>> = texts.iter().map(|text| [b"\x81", text.as_bytes()].concat()).collect();

    // The seal stripped, and the attacker's own in its place: not what alice signed.
    let hers = granted(&centre, &alice, &deed).await;
    let stripped = speak(&centre, &headers(&hers, None), &[]).await;
    assert!(stripped.contains("HTTP/1.1 482"), "{stripped}");
    let own = SealingKey::agree(&hers.token).unwrap().unwrap();
    let swapped = speak(&centre, &headers(&hers, Some(&own.enc())), &[]).await;
    assert!(swapped.contains("HTTP/1.1 482"), "{swapped}");

    // As alice signed it, the session opens once, and the one who opened it cannot speak in it.
    let heard = speak(&centre, &headers(&hers, Some(&hers.enc)), &in_the_clear).await;
    assert!(heard.contains("101 Switching") && !heard.contains("shell"), "{heard}");
    let guessed = granted(&centre, &alice, &deed).await;
    let (mut up, _) = own.session(&guessed.proof).unwrap();
    let sealed = [(FIRST, ""), (MESSAGE, texts[0].as_str()), (MESSAGE, texts[1].as_str())];
    let sealed = sealed.map(|(kind, text)| [b"\x82", up.seal(kind, text.as_bytes()).unwrap().as_slice()].concat());
    let padded = sealed.map(|mut frame| {
        // The script writes long frames only; a record of another length opens even less.
        frame.resize(frame.len().max(140), 0);
        frame
    });
    let heard = speak(&centre, &headers(&guessed, Some(&guessed.enc)), &padded).await;
    assert!(heard.contains("101 Switching"), "{heard}");
    assert!(!alice.home.join("by-ucloud").exists());
    let again = speak(&centre, &headers(&guessed, Some(&guessed.enc)), &[]).await;
    assert!(again.contains("HTTP/1.1 482"), "once: {again}");
}

async fn sealed_download(centre: &TestSite, granted: &Granted) -> Answer {
    let Granted { token, proof, enc, .. } = granted;
    get(
        centre,
        &format!("/ucloud/{PROVIDER}/download?token={token}&intent={proof}&enc={enc}"),
        &[("range", "bytes=1-2")],
    )
    .await
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn p3_a_sealed_download_is_read_by_its_user_alone_whole_or_not_at_all() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let deed = Deed::Download("/home/secret of alice".to_owned());
    for length in [0, 1, 65_536, 65_537, 524_288, 1_500_000] {
        let content: Vec<u8> = b"of alice alone ".iter().copied().cycle().take(length).collect();
        centre.write(&alice, "secret of alice", &content);
        let hers = granted(&centre, &alice, &deed).await;
        let answer = sealed_download(&centre, &hers).await;
        assert_eq!(answer.status, 200, "whole, whatever range was asked: {answer:?}\n{}", centre.last_words());
        assert_eq!(answer.header("content-disposition"), "attachment; filename=\"sealed\"; filename*=UTF-8''sealed");
        assert_eq!((answer.header("etag"), answer.header("accept-ranges")), ("", ""));
        let body = answer.bytes.to_vec();
        assert!(!body.windows(8).any(|bytes| bytes == b"of alice"), "in the clear");
        let records = || hers.key.session(&hers.proof).unwrap().1;
        let (head, read) = records().open_download(&body).unwrap();
        assert!(read == content, "{length}");
        assert_eq!((&head["name"], &head["size"]), (&json!("secret of alice"), &json!(length)));

        // Cut short at each record, and changed at some bytes: refused by an honest reader.
        let mut ends = vec![0];
        while let Some(length) = body.get(ends[ends.len() - 1]..).and_then(<[u8]>::first_chunk) {
            ends.push(ends[ends.len() - 1] + 4 + u32::from_be_bytes(*length) as usize);
        }
        for end in &ends[..ends.len() - 1] {
            assert!(records().open_download(&body[..*end]).is_err(), "cut at {end}");
        }
        let [first, second] = [ends[0]..ends[1], ends[1]..ends[2]];
        let swapped = [&body[second.clone()], &body[first], &body[second.end..]].concat();
        assert!(records().open_download(&swapped).is_err());
        for at in (4..body.len()).step_by(9_973) {
            let mut altered = body.clone();
            altered[at] ^= 0x40;
            assert!(records().open_download(&altered).is_err(), "altered at {at}");
        }
    }
    assert_eq!(logged_seal(&centre), true);

    // The seal stripped on the way: nothing is served. Without a seal all of it can be read.
    let hers = granted(&centre, &alice, &deed).await;
    let target = format!("/ucloud/{PROVIDER}/download?token={}&intent={}", hers.token, hers.proof);
    assert_eq!(verdict(&get(&centre, &target, &[]).await), (482, "INTENT_INVALID".to_owned()));
    let plain = token(&centre.perform(&alice, &deed).await);
    let plain =
        format!("/ucloud/{PROVIDER}/download?token={plain}&intent={}", proof(&centre, &alice, OPEN, &plain, None));
    assert!(get(&centre, &plain, &[]).await.bytes.starts_with(b"of alice alone"));
    assert_eq!(logged_seal(&centre), false);
}

/// Sends a sealed piece as its user signs it. `body` may differ from what was signed.
async fn send_piece(
    centre: &TestSite,
    alice: &Person,
    (token, enc): (&str, Option<&str>),
    piece: &Piece<'_>,
    body: &[u8],
) -> Answer {
    let signed = match enc {
        Some(enc) => session::sealed_proof(&centre.origin(), &alice.username, token, Some(piece), enc, now()),
        None => session::proof(&centre.origin(), &alice.username, CONTINUE, token, Some(piece), now()),
    };
    let mut request = chunk(token, &signed.unwrap().sign(&alice.key).unwrap(), piece, body);
    if let Some(enc) = enc {
        request.headers_mut().insert("ucloud-session-enc", enc.parse().unwrap());
    }
    centre.core.send_http(request).await.unwrap()
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn p3_a_sealed_upload_arrives_whole_and_its_pieces_say_nothing() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let content: Vec<u8> = b"of alice alone ".iter().copied().cycle().take(300_000).collect();
    let token = token(&centre.perform(&alice, &Deed::upload("/home/f", "RENAME")).await);
    let key = SealingKey::agree(&token).unwrap().unwrap();
    let (enc, total) = (key.enc(), 300_000);
    let (open, go_on) = ((token.as_str(), Some(enc.as_str())), (token.as_str(), None));
    let sealed = |salt: u8, offset: usize, end: usize| {
        let body = key.piece([salt; 16], offset as i64, total, &content[offset..end]).unwrap();
        assert!(!body.windows(8).any(|bytes| bytes == b"of alice"), "in the clear");
        body
    };
    let check = async |what: &str, way: (&str, Option<&str>), offset: i64, signed: &[u8], body: &[u8], status: u16| {
        let answer = send_piece(&centre, &alice, way, &Piece { offset, bytes: signed, total }, body).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        // The instance's word for this piece, which an account without its keys cannot make.
        let salt = |body: &[u8]| body.first_chunk::<16>().copied().unwrap();
        let taken = URL_SAFE_NO_PAD.decode(answer.text("taken")).unwrap();
        let is_answer = |body: &[u8]| key.is_answer(salt(body), offset, total, &taken).unwrap();
        assert_eq!(is_answer(body), status == 200, "{what}");
        assert!(!is_answer(&[9; 16]), "{what}");
        answer.text("why")
    };
    let first = sealed(1, 0, 100_000);
    check("the first", open, 0, &first, &first, 200).await;
    assert_eq!(logged_seal(&centre), true);
    let second = sealed(2, 100_000, 200_000);
    let mut altered = second.clone();
    altered[40] ^= 1;
    let why = check("altered on the way", go_on, 100_000, &second, &altered, 400).await;
    assert!(why.contains("does not open"), "{why}");
    // Even with alice's signature: only what she sealed for this place is taken.
    let why = check("in the clear", go_on, 100_000, &content[100_000..100_500], &content[100_000..100_500], 400).await;
    assert!(why.contains("seal") || why.contains("open"), "{why}");
    let why = check("sealed for another place", go_on, 100_000, &first, &first, 400).await;
    assert!(why.contains("does not open"), "{why}");
    let cut = &second[..second.len() - 21];
    check("cut short", go_on, 100_000, cut, cut, 400).await;
    let nowhere = key.piece([7; 16], -1, total, &content[100_000..200_000]).unwrap();
    let why = check("sealed for no place", go_on, -1, &nowhere, &nowhere, 400).await;
    assert!(why.contains("has an offset"), "{why}");
    assert!(!alice.home.join("f").exists());
    check("the second", go_on, 100_000, &second, &second, 200).await;
    // Sent again with another salt, as after a lost answer.
    let again = sealed(3, 100_000, 200_000);
    check("the second again", go_on, 100_000, &again, &again, 200).await;
    let third = sealed(4, 200_000, 300_000);
    check("the third", go_on, 200_000, &third, &third, 200).await;
    assert!(fs::read(alice.home.join("f")).unwrap() == content, "{}", centre.last_words());
    check("the last again", go_on, 200_000, &third, &third, 200).await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn p3_a_sealed_folder_upload_arrives_and_takes_nothing_else() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let deed = Deed::Upload("/home/folder".to_owned(), Brings::Folder, "RENAME".to_owned());
    let listing = |name: &str, length: i64| {
        let mut listing = vec![4, 0, 0, 0, 0];
        listing.extend(length.to_be_bytes());
        listing.extend(1_700_000_000_000_i64.to_be_bytes());
        listing.extend(u32::try_from(name.len()).unwrap().to_be_bytes());
        listing.extend(name.as_bytes());
        listing
    };
    let start = async || {
        let Granted { token, key, enc, proof } = granted(&centre, &alice, &deed).await;
        let target = format!("/ucloud/{PROVIDER}/upload?token={token}&intent={proof}&enc={enc}");
        let mut browser = open(&centre, &target, &[]).await.unwrap_or_else(|status| panic!("{status}"));
        let (mut up, down) = key.session(&proof).unwrap();
        browser.say(Message::Binary(up.seal(FIRST, b"").unwrap().into())).await;
        (browser, up, down)
    };
    let (mut browser, mut up, mut down) = start().await;
    let content = vec![b'x'; 150_000];
    let chunk = [&[2, 0, 0, 0, 0], content.as_slice()].concat();
    browser.say(Message::Binary(up.seal(MESSAGE, &listing("sub/a", 150_000)).unwrap().into())).await;
    for (at, part) in chunk.chunks(65_536).enumerate() {
        let kind = if (at + 1) * 65_536 < chunk.len() { 1 } else { MESSAGE };
        browser.say(Message::Binary(up.seal(kind, part).unwrap().into())).await;
    }
    let mut heard = Vec::new();
    while !heard.ends_with(&[5, 0, 0, 0, 1]) {
        let record = browser.hear().await.expect("a record").into_data();
        heard.extend(down.open(&record).unwrap().1);
    }
    browser.say(Message::Binary(up.seal(MESSAGE, &[6]).unwrap().into())).await;
    let mut last = None;
    while let Some(record) = browser.hear().await {
        last = Some(down.open(&record.into_data()).unwrap().0);
    }
    assert_eq!(last, Some(END));
    assert!(fs::read(alice.home.join("folder/sub/a")).unwrap() == content);

    let (mut browser, mut up, mut down) = start().await;
    browser.say(Message::Binary(up.seal(MESSAGE, &listing("b", 3)).unwrap().into())).await;
    let mut altered = up.seal(MESSAGE, b"\x02\0\0\0\0abc").unwrap();
    altered[7] ^= 1;
    browser.say(Message::Binary(altered.into())).await;
    while let Some(record) = browser.hear().await {
        assert_ne!(down.open(&record.into_data()).unwrap().0, END);
    }
    assert!(!alice.home.join("folder/b").exists());
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn a_site_may_require_seals_or_offer_none() {
    let centre = TestSite::open_with("[sessions]\nsealed = \"required\"\n").await;
    let alice = centre.connect("alice").await;
    centre.write(&alice, "f", b"of alice");
    let deed = Deed::Download("/home/f".to_owned());
    let plain = token(&centre.perform(&alice, &deed).await);
    let target =
        format!("/ucloud/{PROVIDER}/download?token={plain}&intent={}", proof(&centre, &alice, OPEN, &plain, None));
    let refused = get(&centre, &target, &[]).await;
    assert_eq!(verdict(&refused), (482, "INTENT_INVALID".to_owned()));
    let why = centre.reason(refused.header("x-request-id")).unwrap();
    assert!(why.contains("without a seal"), "{why}");
    let hers = granted(&centre, &alice, &deed).await;
    assert_eq!(sealed_download(&centre, &hers).await.status, 200);
    drop(centre);

    let centre = TestSite::open_with("[sessions]\nsealed = \"off\"\n").await;
    let alice = centre.connect("alice").await;
    centre.write(&alice, "f", b"of alice");
    let plain = token(&centre.perform(&alice, &deed).await);
    assert!(SealingKey::agree(&plain).unwrap().is_none());
    let target =
        format!("/ucloud/{PROVIDER}/download?token={plain}&intent={}", proof(&centre, &alice, OPEN, &plain, None));
    assert_eq!(get(&centre, &target, &[]).await.bytes, "of alice");
}
