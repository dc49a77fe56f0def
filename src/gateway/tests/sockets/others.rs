//! Tests with WebSocket clients of other projects, and with the Autobahn test suite, against a
//! whole gateway over real sockets.
//!
//! The programs are in `tests/interop/`. The suite expects its own messages back: an instance that
//! echoes returns a shell's messages and an upload's bytes. A relay gives each connection its own
//! token and changes nothing else.

use std::path::Path;
use std::process::Stdio;

use countersign_keys::session::ProofNeed;
use countersign_portal::session::OPEN;
use serde::Deserialize;
use tokio::io::AsyncBufReadExt as _;
use tokio::process::Command;

use super::*;

/// Runs one job in a program.
async fn ask(program: &str, job: &Value) -> Vec<Value> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let (interpreter, installed) = if program.ends_with(".mjs") {
        (Path::new("node").to_owned(), root.join("tests/interop/node_modules/.installed-from"))
    } else {
        let venv = root.join("target/interop-venv");
        (venv.join("bin/python"), venv.join(".installed-from"))
    };
    assert!(installed.exists(), "other people's clients are not installed; ./test does it, with tests/interop/install");
    let mut child = Command::new(interpreter)
        .arg(root.join("tests/interop").join(program))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(job.to_string().as_bytes()).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_secs(300), child.wait_with_output());
    let output = waiting.await.expect("an end in time").unwrap();
    assert!(output.status.success(), "{program} failed: {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn others(program: &str) {
    let test = TestGateway::new().await;
    let host = test.core.endpoint().origin().replace("http://", "");
    let bearer = test.bearer();
    let messages = ["x", "y"].map(|query| message(query, Some(&test.sign_search(query))).to_string());
    // A refusal closes a socket without an open stream.
    let opened = message("z", Some(&test.sign_search("z"))).to_string();
    let token = test.token("jobs.openTerminalInFolder");
    let proof = test.proof(OPEN, &token, None);
    let shell = format!("ws://{host}/ucloud/hpc/websocket?session={token}&intent={proof}&usernameHint=YWxpY2U=");
    let job = json!({ "sockets": [
        { "url": format!("ws://{host}{SEARCH}"), "headers": { "Authorization": bearer }, "messages": messages },
        { "url": format!("ws://{host}{SEARCH}"), "headers": { "Authorization": bearer }, "messages": [opened, message("x", None).to_string()] },
        { "url": shell, "headers": { "Origin": CORE_ORIGIN }, "messages": ["ls\n", "æøå".repeat(100_000)] },
        { "url": format!("ws://{host}{SEARCH}"), "headers": { "Origin": "https://evil.example" }, "messages": [] },
    ] });
    let used = ask(program, &job).await;
    let said = |query: &str| json!({ "type": "message", "streamId": "ignored", "payload": { "type": "result", "query": query } });
    let heard = |at: usize| -> Vec<Value> {
        used[at]["heard"]
            .as_array()
            .unwrap()
            .iter()
            .map(|text| serde_json::from_str(text.as_str().unwrap()).unwrap())
            .collect()
    };
    assert_eq!(heard(0), [said("x"), said("y")]);
    assert_eq!((&heard(1)[0], &heard(1)[1]["payload"]["errorCode"]), (&said("z"), &json!("INTENT_REQUIRED")));
    assert_eq!(used[2]["heard"], json!(["ls\n", "æøå".repeat(100_000)]));
    for socket in &used[..3] {
        assert_eq!((&socket["pong"], &socket["code"]), (&json!(true), &json!(1000)), "{socket}");
    }
    assert_eq!(used[3], json!({ "refused": 403 }));
}

#[tokio::test]
#[ignore = "needs programs of other people: run by ./test"]
async fn a_client_by_npms_ws_uses_sockets() {
    others("socket_client.mjs").await;
}

#[tokio::test]
#[ignore = "needs programs of other people: run by ./test"]
async fn a_client_by_pypis_websockets_uses_sockets() {
    others("socket_client.py").await;
}

/// Listens, and passes each connection on with another request target.
async fn relay(test: Arc<TestGateway>, target: fn(&TestGateway) -> String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let test = Arc::clone(&test);
            tokio::spawn(async move {
                let gateway = test.core.endpoint().origin().replace("http://", "");
                let mut gateway = TcpStream::connect(gateway).await.unwrap();
                let mut client = tokio::io::BufReader::new(client);
                client.read_line(&mut String::new()).await.unwrap();
                gateway.write_all(format!("GET {} HTTP/1.1\r\n", target(&test)).as_bytes()).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut gateway).await; // the suite breaks connections
            });
        }
    });
    format!("ws://{address}")
}

#[derive(Deserialize)]
struct Case {
    case: String,
    behaviour: String,
    close: String,
}

/// Runs that many cases of the suite through sockets of that target; fails if one fails.
async fn conforms(target: fn(&TestGateway) -> String, without: &[&str], cases: usize) {
    let test = TestGateway::changed(|gateway| gateway.rules.change(|rules| rules.proof = ProofNeed::Off)).await;
    let url = relay(Arc::new(test), target).await;
    // 12 and 13 test compression, which the gateway does not offer.
    let without: Vec<&str> = without.iter().copied().chain(["12.*", "13.*"]).collect();
    let results = ask("conformance.py", &json!({ "url": url, "cases": null, "without": without })).await;
    let results: Vec<Case> = results.into_iter().map(|case| serde_json::from_value(case).unwrap()).collect();
    let is_fine = |case: &&Case| {
        matches!(case.behaviour.as_str(), "OK" | "NON-STRICT" | "INFORMATIONAL")
            && matches!(case.close.as_str(), "OK" | "INFORMATIONAL")
    };
    let failed: Vec<_> = results.iter().filter(|case| !is_fine(case)).collect();
    let failed: Vec<_> =
        failed.iter().map(|case| format!("{}: {}, {}", case.case, case.behaviour, case.close)).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(results.len(), cases);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs programs of other people: run by ./test"]
async fn a_shells_socket_keeps_to_the_protocol_in_every_case_of_the_suite() {
    let target =
        |test: &TestGateway| format!("/ucloud/hpc/websocket?session={}", test.token("jobs.openTerminalInFolder"));
    // Messages of more than 1 MiB, which a shell does not need.
    let longer = ["9.1.3", "9.1.4", "9.1.5", "9.1.6", "9.2.3", "9.2.4", "9.2.5", "9.2.6", "9.3.*", "9.4.*"];
    conforms(target, &longer, 275).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs programs of other people: run by ./test"]
async fn an_uploads_socket_keeps_to_the_protocol_in_every_case_of_the_suite() {
    conforms(|test| format!("/ucloud/hpc/upload?token={}", test.token("files.createUpload")), &[], 301).await;
}
