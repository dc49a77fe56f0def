//! Tests of one-time tokens: which sender may redeem one, for which bytes, and that the instance
//! sees nothing of a refused request.

use countersign_portal::session::{self, CONTINUE, InstanceKey, OPEN, Piece};
use serde_json::Value;

use super::*;

const DOWNLOAD: &str = "/ucloud/hpc/download";
const CHUNK: &str = "/ucloud/hpc/chunked/upload";

impl TestGateway {
    pub(super) fn token(&self, call: &str) -> String {
        self.token_altered(call, |_, _| {})
    }

    pub(super) fn token_altered(&self, call: &str, alter: impl FnOnce(&mut Value, &mut Value)) -> String {
        let alice = self.alice.lock().unwrap();
        alice.instance_key.token(ORIGIN, "alice", call, countersign_portal::now(), alter).unwrap()
    }

    pub(super) fn proof(&self, call: &str, token: &str, piece: Option<&Piece<'_>>) -> String {
        let proof = session::proof(ORIGIN, "alice", call, token, piece, countersign_portal::now()).unwrap();
        proof.sign(&self.alice.lock().unwrap().key).unwrap()
    }

    async fn get(&self, target: &str, headers: &[(&str, &str)]) -> (u16, String) {
        verdict(&self.core.send_http(plain_request("GET", target, headers, "")).await.unwrap())
    }

    /// Requests a download that is refused: the instance sees nothing, and the log has the reason.
    async fn refused(&self, name: &str, target: &str, headers: &[(&str, &str)], want: (u16, &str), reason: &str) {
        let before = self.upstream_saw();
        assert_eq!(self.get(target, headers).await, (want.0, want.1.to_owned()), "{name}");
        let (decision, why) = self.last_decision();
        assert_eq!(decision, "refuse", "{name}");
        assert!(why.contains(reason), "{name}: {why}");
        assert_eq!(self.upstream_saw(), before, "{name}: P5");
    }

    /// Sends `body` as a chunk of a file, with the headers of `piece`.
    async fn send(&self, token: &str, proof: &str, piece: &Piece<'_>, body: &[u8]) -> (u16, String) {
        let (offset, total, digest) = (piece.offset.to_string(), piece.total.to_string(), piece.content_digest());
        let headers = [
            ("chunked-upload-token", token),
            ("chunked-upload-offset", &*offset),
            ("chunked-upload-total-size", &*total),
            ("content-digest", &*digest),
            ("ucloud-signed-intent", proof),
            ("ucloud-username", "YWxpY2U="),
            ("cookie", "a=b"),
        ];
        let mut request = http::Request::builder().method("POST").uri(CHUNK);
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        verdict(&self.core.send_http(request.body(Full::from(body.to_vec())).unwrap()).await.unwrap())
    }
}

const UNAUTHORISED: (u16, &str) = (401, "UNAUTHORIZED");
const INVALID: (u16, &str) = (482, "INTENT_INVALID");

#[tokio::test]
async fn v52_a_download_is_opened_once_by_whoever_has_token_and_proof() {
    let test = TestGateway::new().await;
    let token = test.token("files.createDownload");
    let proof = test.proof(OPEN, &token, None);
    let target = format!("{DOWNLOAD}?token={token}&usernameHint=Ym9i&intent={proof}");
    let headers = [("range", "bytes=0-9"), ("if-range", "\"x\""), ("cookie", "a=b"), ("x-other", "1")];
    assert_eq!(test.get(&target, &headers).await.0, 200);
    let saw = test.upstream_saw();
    assert!(saw.starts_with("GET /ucloud/hpc/download HTTP/1.1\r\n"), "{saw}");
    for present in [
        format!("ucloud-session-token: {token}\r\n"),
        format!("ucloud-signed-intent: {proof}\r\n"),
        "range: bytes=0-9\r\n".to_owned(),
        "if-range: \"x\"\r\n".to_owned(),
    ] {
        assert!(saw.contains(&present), "{present} in {saw}");
    }
    for absent in ["authorization", "cookie", "x-other", "usernameHint", "ucloud-username"] {
        assert!(!saw.contains(absent), "{absent} went upstream");
    }
    assert_eq!(test.last_decision().0, "answered");
    test.refused("again", &target, &[], (482, "INTENT_REPLAYED"), "used").await;
    let second = format!("{DOWNLOAD}?token={token}&intent={}", test.proof(OPEN, &token, None));
    test.refused("with another proof", &second, &[], (482, "INTENT_REPLAYED"), "session token").await;
    let later = format!("{DOWNLOAD}?token={token}&intent={}", test.proof(CONTINUE, &token, None));
    assert_eq!(test.get(&later, &[("range", "bytes=10-")]).await.0, 200, "the same session goes on");
}

#[tokio::test]
async fn v52_what_core_saw_opens_nothing() {
    let test = TestGateway::new().await;
    let token = test.token("files.createDownload");
    let good = test.proof(OPEN, &token, None);
    let with = |token: &str, proof: &str| format!("{DOWNLOAD}?token={token}&intent={proof}");
    let alone = format!("{DOWNLOAD}?token={token}");
    let required = (482, "INTENT_REQUIRED");
    test.refused("the token alone", &alone, &[], required, "without the user's proof").await;
    let bearer = format!("Bearer {}", test.core.token().unwrap());
    test.refused("with Core's token", &alone, &[("authorization", &bearer)], required, "proof").await;
    let other = test.token("files.createDownload");
    test.refused("another token's proof", &with(&other, &good), &[], INVALID, "parameters").await;
    let stranger = InstanceKey::make().unwrap();
    let forged = stranger.token(ORIGIN, "alice", "files.createDownload", countersign_portal::now(), |_, _| {}).unwrap();
    let proof = test.proof(OPEN, &forged, None);
    test.refused("a token of Core's own", &with(&forged, &proof), &[], UNAUTHORISED, "own instance").await;
    let forged = test.token_altered("files.createDownload", |_, claims| claims["username"] = "bob".into());
    let proof = test.proof(OPEN, &forged, None);
    test.refused("another user's token", &with(&forged, &proof), &[], UNAUTHORISED, "own instance").await;
    let upload = test.token("files.createUpload");
    let proof = test.proof(OPEN, &upload, None);
    test.refused("another endpoint's token", &with(&upload, &proof), &[], UNAUTHORISED, "another endpoint").await;
    let late = test.token_altered("files.createDownload", |_, claims| {
        claims["iat"] = (claims["iat"].as_i64().unwrap() - 61).into();
        claims["exp"] = (claims["exp"].as_i64().unwrap() - 61).into();
    });
    let proof = test.proof(OPEN, &late, None);
    test.refused("late", &with(&late, &proof), &[], (482, "INTENT_STALE"), "expired").await;
    let origin = [("origin", "https://evil.example")];
    test.refused("a foreign page", &with(&token, &good), &origin, (403, "FORBIDDEN"), "another origin").await;
    let malformed = (400, "BAD_REQUEST");
    for query in [
        format!("token={token}&token={token}&intent={good}"),
        format!("token={token}&intent={good}&more=1"),
        format!("token={token}&intent={good}&intent={good}"),
        format!("token={token}&intent={good}&intent"),
    ] {
        test.refused("a strange query", &format!("{DOWNLOAD}?{query}"), &[], malformed, "query").await;
    }
    let twice = [("ucloud-signed-intent", &*good)];
    test.refused("two proofs", &with(&token, &good), &twice, malformed, "intent").await;
    test.refused("no token", DOWNLOAD, &[], UNAUTHORISED, "no session token").await;
    assert_eq!(test.upstream_saw(), "");
    assert_eq!(test.get(&with(&token, &good), &[("origin", CORE_ORIGIN)]).await.0, 200, "nothing was used up");
    test.revoke();
    let another = test.token("files.createDownload");
    let proof = test.proof(OPEN, &another, None);
    test.refused("a revoked key", &with(&another, &proof), &[], INVALID, "revoked").await;
}

#[tokio::test]
async fn v28_v29_a_piece_is_passed_on_as_it_was_signed_and_not_otherwise() {
    let test = TestGateway::new().await;
    let token = test.token("files.createUpload");
    let piece = Piece { offset: 0, bytes: b"first half ", total: 22 };
    let proof = test.proof(OPEN, &token, Some(&piece));
    let check = async |altered: Piece<'_>, body: &[u8], want: (u16, &str)| {
        assert_eq!(test.send(&token, &proof, &altered, body).await, (want.0, want.1.to_owned()), "{altered:?}");
        assert_eq!(test.upstream_saw(), "", "{altered:?}");
    };
    check(Piece { offset: 11, ..piece }, piece.bytes, INVALID).await;
    check(Piece { offset: -2, ..piece }, piece.bytes, (400, "BAD_REQUEST")).await;
    check(Piece { total: 11, ..piece }, piece.bytes, INVALID).await;
    check(Piece { bytes: b"other bytes", ..piece }, b"other bytes", INVALID).await;
    check(piece, b"more bytes than were signed", INVALID).await;
    assert_eq!(test.send(&token, &proof, &piece, piece.bytes).await.0, 200);
    let saw = test.upstream_saw();
    assert!(saw.starts_with("POST /ucloud/hpc/chunked/upload HTTP/1.1\r\n") && saw.ends_with("first half "), "{saw}");
    for present in ["chunked-upload-offset: 0\r\n", "chunked-upload-total-size: 22\r\n", "content-length: 11\r\n"] {
        assert!(saw.contains(present), "{present} in {saw}");
    }
    assert!(saw.contains(&format!("content-digest: {}\r\n", piece.content_digest())), "{saw}");
    assert!(!saw.contains("chunked-upload-token") && !saw.contains("ucloud-username"), "{saw}");
    let next = Piece { offset: 11, bytes: b"second half", total: 22 };
    let proof = test.proof(CONTINUE, &token, Some(&next));
    assert_eq!(test.send(&token, &proof, &next, next.bytes).await.0, 200);
    assert!(test.upstream_saw().ends_with("second half"));
    assert_eq!(test.send(&token, &proof, &next, next.bytes).await, (482, "INTENT_REPLAYED".to_owned()));
}

#[tokio::test]
async fn a_long_piece_passes_without_being_held() {
    let test = TestGateway::with_room(BodyRoom::of(1)).await;
    let token = test.token("files.createUpload");
    let bytes = vec![b'x'; 20_000_000];
    let piece = Piece { offset: 0, bytes: &bytes, total: 20_000_000 };
    let proof = test.proof(OPEN, &token, Some(&piece));
    let answer = test.send(&token, &proof, &piece, &bytes).await;
    assert_eq!(answer.0, 200, "{answer:?}");
    let bytes = vec![b'x'; 32_000_001];
    let piece = Piece { offset: 0, bytes: &bytes, total: 32_000_001 };
    let head = format!(
        "POST {CHUNK} HTTP/1.1\r\nHost: hpc.example.org\r\nChunked-Upload-Token: {token}\r\nChunked-Upload-Offset: 0\r\n\
         Chunked-Upload-Total-Size: 32000001\r\nContent-Length: 32000001\r\nContent-Digest: {}\r\n\r\n",
        piece.content_digest()
    );
    assert!(test.raw(head.as_bytes()).await.starts_with("HTTP/1.1 400 "), "more than a piece may have");
}

#[tokio::test]
async fn where_no_proof_is_asked_for_a_token_still_opens_once() {
    let test = TestGateway::changed(|gateway| gateway.rules.change(|rules| rules.proof = ProofNeed::Off)).await;
    let token = test.token("files.createDownload");
    let target = format!("{DOWNLOAD}?token={token}");
    assert_eq!(test.get(&target, &[]).await.0, 200);
    test.refused("again", &target, &[], (482, "INTENT_REPLAYED"), "session token").await;
    let upload = test.token("files.createUpload");
    let piece = Piece { offset: 0, bytes: b"x", total: 2 };
    assert_eq!(test.send(&upload, "", &piece, b"x").await.0, 200);
    assert_eq!(test.send(&upload, "", &Piece { offset: 1, ..piece }, b"x").await.0, 200, "and goes on");
}

#[tokio::test]
async fn without_an_instance_there_is_no_session_and_none_is_started() {
    let test = TestGateway::new().await;
    test.instance_is_up.store(false, Ordering::SeqCst);
    let token = test.token("files.createDownload");
    let target = format!("{DOWNLOAD}?token={token}&intent={}", test.proof(OPEN, &token, None));
    assert_eq!(test.get(&target, &[]).await, (449, "NO_INSTANCE".to_owned()));
    test.instance_is_up.store(true, Ordering::SeqCst);
    assert_eq!(test.get(&target, &[]).await.0, 200, "nothing was used up");
}

#[tokio::test]
async fn a_head_without_its_body() {
    let test = TestGateway::new().await;
    let token = test.token("files.createDownload");
    let target = format!("{DOWNLOAD}?token={token}&intent={}", test.proof(OPEN, &token, None));
    let request = format!("HEAD {target} HTTP/1.1\r\nHost: hpc.example.org\r\nConnection: close\r\n\r\n");
    let answer = test.raw(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("content-length: 11\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(test.upstream_saw().starts_with("HEAD /ucloud/hpc/download"));
    let elsewhere = test.raw(b"HEAD /ucloud/hpc/connect HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(elsewhere.starts_with("HTTP/1.1 404 "), "{elsewhere}");
}

#[tokio::test]
async fn a_refusal_that_leaves_a_long_body_unread_ends_the_connection_and_says_so() {
    let test = TestGateway::new().await;
    for (length, want) in [(4 * 1024, ""), (400 * 1024, "close")] {
        let (token, bytes) = (test.token("files.createUpload"), vec![7; length]);
        let total = i64::try_from(length).unwrap();
        let piece = Piece { offset: 0, bytes: &bytes, total };
        let (total, digest) = (total.to_string(), piece.content_digest());
        let headers = [
            ("chunked-upload-token", &*token),
            ("chunked-upload-offset", "0"),
            ("chunked-upload-total-size", &total),
            ("content-digest", &digest),
        ];
        let mut request = http::Request::builder().method("POST").uri(CHUNK);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = test.core.send_http(request.body(Full::from(bytes)).unwrap()).await.unwrap();
        assert_eq!(
            (verdict(&answer), answer.header("connection")),
            ((482, "INTENT_REQUIRED".to_owned()), want),
            "{length}"
        );
    }
}
