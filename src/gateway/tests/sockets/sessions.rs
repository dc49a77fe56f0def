//! Tests of sockets opened by a one-time token: a shell, which relays messages, and an upload,
//! which relays bytes.

use countersign_keys::session::ProofNeed;
use countersign_portal::session::OPEN;

use super::*;

const SHELL_CALL: &str = "jobs.openTerminalInFolder";
const UPLOAD_CALL: &str = "files.createUpload";

fn shell(token: &str) -> String {
    format!("/ucloud/hpc/websocket?session={token}&usernameHint=YWxpY2U=")
}

fn upload(token: &str, proof: &str) -> String {
    format!("/ucloud/hpc/upload?token={token}&usernameHint=YWxpY2U%3D&intent={proof}")
}

/// The message as UCloud's page writes it.
fn initialise(token: &str, proof: Option<&str>) -> Value {
    json!({
        "call": "jobs.compute.hpc.shell.open", "streamId": "0", "signedIntent": proof,
        "payload": { "type": "initialize", "sessionIdentifier": token, "cols": 80, "rows": 24 },
    })
}

async fn echo(socket: &mut Socket, message: Message) {
    socket.0.send(message.clone()).await.unwrap();
    let next = tokio::time::timeout(Duration::from_secs(5), socket.0.next()).await.expect("an answer in time");
    assert_eq!(next.unwrap().unwrap(), message);
}

#[tokio::test]
async fn v52_a_shell_is_opened_by_the_proof_in_its_first_message_and_by_nothing_before() {
    let test = TestGateway::new().await;
    let token = test.token(SHELL_CALL);
    let mut socket = test.open(&shell(&token), &[("origin", CORE_ORIGIN)]).await.unwrap();
    let other = test.token(SHELL_CALL);
    let required = (482, "INTENT_REQUIRED".to_owned());
    let invalid = (482, "INTENT_INVALID".to_owned());
    assert_eq!(socket.verdict(&initialise(&token, None)).await, required);
    let of_another = test.proof(OPEN, &other, None);
    assert_eq!(socket.verdict(&initialise(&token, Some(&of_another))).await, invalid);
    let stranger = countersign_portal::session::proof(ORIGIN, "alice", OPEN, &token, None, countersign_portal::now());
    let stranger = stranger.unwrap().sign(&Signer::new("alice").key).unwrap();
    assert_eq!(socket.verdict(&initialise(&token, Some(&stranger))).await, invalid);
    assert_eq!((test.upstream_saw(), test.decisions()), (String::new(), 3));

    let proof = test.proof(OPEN, &token, None);
    let first = initialise(&token, Some(&proof));
    socket.say(&first).await;
    assert_eq!(socket.hear().await, first, "the first message goes on with the rest");
    let saw = String::from_utf8_lossy(&test.seen.lock().unwrap()).into_owned();
    let head = saw.split_once("\r\n\r\n").unwrap().0;
    assert!(head.starts_with("GET /ucloud/hpc/websocket HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nucloud-session-token: {token}\r\nucloud-signed-intent: {proof}")));
    for absent in ["authorization", "origin", "ucloud-username", "usernameHint"] {
        assert!(!head.contains(absent), "{absent} went upstream");
    }
    echo(&mut socket, Message::Text("no JSON, and nobody's business".into())).await;
    echo(&mut socket, Message::Binary(vec![0, 1, 2].into())).await;
    assert_eq!((test.decisions(), test.last_decision().0), (4, "forward".to_owned()));

    let mut again = test.open(&shell(&token), &[]).await.unwrap();
    let another = test.proof(OPEN, &token, None);
    let replayed = (482, "INTENT_REPLAYED".to_owned());
    assert_eq!(again.verdict(&initialise(&token, Some(&another))).await, replayed, "once");
    assert_eq!(again.verdict(&initialise(&token, Some(&proof))).await, replayed);
}

#[tokio::test]
async fn v52_a_shells_token_is_looked_at_before_the_socket_is_opened() {
    let test = TestGateway::new().await;
    let token = test.token(SHELL_CALL);
    let refused =
        async |target: &str, headers: &[(&str, &str)]| test.open(target, headers).await.map(drop).unwrap_err();
    assert_eq!(refused(&shell(&token), &[("origin", "https://evil.example")]).await.0, 403);
    assert_eq!(refused(&shell(&format!("{token}A")), &[]).await.0, 401);
    assert_eq!(refused(&shell(&test.token(UPLOAD_CALL)), &[]).await.0, 401);
    assert_eq!(refused("/ucloud/hpc/websocket", &[]).await.0, 401);
    assert_eq!(refused(&format!("{}&x=y", shell(&token)), &[]).await.0, 400);
    let bearer = test.bearer();
    assert_eq!(refused("/ucloud/hpc/websocket", &[("authorization", &bearer)]).await.0, 401, "Core opens none");
    let mut socket = test.open(&shell(&token), &[]).await.unwrap();
    let other = test.token(SHELL_CALL);
    let proof = test.proof(OPEN, &token, None);
    assert_eq!(socket.verdict(&initialise(&other, Some(&proof))).await.0, 400, "a message of another session");
    assert_eq!(socket.end().await.0, Some(CloseCode::Policy));
    assert_eq!(test.upstream_saw(), "");
}

#[tokio::test]
async fn v52_a_proof_in_the_query_opens_a_shell_at_once_and_an_upload() {
    let test = TestGateway::new().await;
    let token = test.token(SHELL_CALL);
    let proof = test.proof(OPEN, &token, None);
    let mut socket = test.open(&format!("{}&intent={proof}", shell(&token)), &[]).await.unwrap();
    echo(&mut socket, Message::Text("x".into())).await;

    let token = test.token(UPLOAD_CALL);
    let proof = test.proof(OPEN, &token, None);
    let mut socket = test.open(&upload(&token, &proof), &[("origin", CORE_ORIGIN)]).await.unwrap();
    echo(&mut socket, Message::Binary(vec![7; 100_000].into())).await;
    echo(&mut socket, Message::Text("ping".into())).await;
    socket.0.close(None).await.unwrap();
    assert_eq!(socket.end().await.0, None, "it closes as it was closed, without a code");
    let saw = String::from_utf8_lossy(&test.seen.lock().unwrap()).into_owned();
    assert!(saw.contains("GET /ucloud/hpc/upload HTTP/1.1\r\n"), "without the query");

    let refused = async |target: &str| test.open(target, &[]).await.map(drop).unwrap_err();
    let again = test.proof(OPEN, &token, None);
    assert_eq!(refused(&upload(&token, &again)).await, (482, "INTENT_REPLAYED".to_owned()));
    let token = test.token(UPLOAD_CALL);
    let alone = format!("/ucloud/hpc/upload?token={token}");
    assert_eq!(refused(&alone).await, (482, "INTENT_REQUIRED".to_owned()));
    assert_eq!(refused(&upload(&token, &again)).await, (482, "INTENT_INVALID".to_owned()));
    let download = test.token("files.createDownload");
    assert_eq!(refused(&upload(&download, &test.proof(OPEN, &download, None))).await.0, 401);
    test.sockets.refuses.store(true, Ordering::SeqCst);
    let proof = test.proof(OPEN, &token, None);
    assert_eq!(refused(&upload(&token, &proof)).await, (482, "INTENT_INVALID".to_owned()), "in the instance's words");
}

#[tokio::test]
async fn where_a_site_asks_for_no_proof_the_token_opens_once() {
    let test = TestGateway::changed(|gateway| gateway.rules.change(|rules| rules.proof = ProofNeed::Off)).await;
    let token = test.token(SHELL_CALL);
    let mut socket = test.open(&shell(&token), &[]).await.unwrap();
    echo(&mut socket, Message::Text(initialise(&token, None).to_string().into())).await;
    assert_eq!(test.open(&shell(&token), &[]).await.map(drop).unwrap_err(), (482, "INTENT_REPLAYED".to_owned()));
    let token = test.token(UPLOAD_CALL);
    let mut socket = test.open(&format!("/ucloud/hpc/upload?token={token}"), &[]).await.unwrap();
    echo(&mut socket, Message::Binary(vec![1].into())).await;
}

#[tokio::test]
async fn v53_a_revoked_keys_shells_and_uploads_end_within_a_second() {
    let test = TestGateway::new().await;
    let token = test.token(SHELL_CALL);
    let mut shell = test.open(&shell(&token), &[]).await.unwrap();
    shell.say(&initialise(&token, Some(&test.proof(OPEN, &token, None)))).await;
    shell.hear().await;
    let token = test.token(UPLOAD_CALL);
    let mut upload = test.open(&upload(&token, &test.proof(OPEN, &token, None)), &[]).await.unwrap();
    echo(&mut upload, Message::Binary(vec![1].into())).await;
    test.sockets.until_open(2).await;
    test.revoke();
    let began = tokio::time::Instant::now();
    assert_eq!(shell.end().await.0, Some(CloseCode::Policy));
    assert_eq!(upload.end().await.0, None, "what nobody reads can only be cut");
    test.sockets.until_open(0).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(test.last_decision().1.contains("revoked"), "{:?}", test.last_decision());
}

#[tokio::test]
async fn a_sessions_sockets_end_when_the_gateway_stops() {
    let test = TestGateway::new().await;
    let token = test.token(SHELL_CALL);
    let mut waiting = test.open(&shell(&token), &[]).await.unwrap();
    let token = test.token(SHELL_CALL);
    let mut open = test.open(&shell(&token), &[]).await.unwrap();
    open.say(&initialise(&token, Some(&test.proof(OPEN, &token, None)))).await;
    open.hear().await;
    let token = test.token(UPLOAD_CALL);
    let mut upload = test.open(&upload(&token, &test.proof(OPEN, &token, None)), &[]).await.unwrap();
    test.stop.send_replace(true);
    assert_eq!(waiting.end().await.0, Some(CloseCode::Away));
    assert_eq!(open.end().await.0, Some(CloseCode::Away));
    assert_eq!(upload.end().await.0, None);
    test.sockets.until_open(0).await;
    drop((waiting, open, upload));
    tokio::time::timeout(Duration::from_secs(1), test.acceptor.connections.all_left()).await.expect("no place is held");
}

#[tokio::test]
async fn v55_a_shell_that_is_not_proved_has_so_many_tries_and_little_time() {
    let test = TestGateway::new().await;
    let token = test.token(SHELL_CALL);
    let mut socket = test.open(&shell(&token), &[]).await.unwrap();
    for _ in 0..200 {
        let _ = socket.0.send(Message::Text(initialise(&token, Some("a.b.c")).to_string().into())).await;
    }
    let (code, answers) = socket.end().await;
    assert_eq!(code, Some(CloseCode::Policy));
    assert!((60..100).contains(&answers.len()) && test.decisions() < 102, "{} {}", answers.len(), test.decisions());

    let (ours, request) = {
        let request = format!("ws://hpc.example.org{}", shell(&test.token(SHELL_CALL)));
        (crate::tests::connections::connect(&test), request.into_client_request().unwrap())
    };
    let (mut silent, _) = tokio_tungstenite::client_async(request, ours).await.unwrap();
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    while silent.next().await.is_some_and(|said| said.is_ok()) {}
    // Part of the 10 s may have passed before time was paused.
    let waited = began.elapsed().as_secs();
    assert!((8..=10).contains(&waited), "{waited} s");
    assert_eq!(test.upstream_saw(), "");
}
