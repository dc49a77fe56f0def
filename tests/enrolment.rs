//! Tests of key enrolment at a real installation: refused keys, the proof that a key is in the
//! browser, and the effect of a second and of a revoked key (P2, P6).
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use crate::support::test_site::{TestSite, said};
use countersign_portal::malicious::offers;
use countersign_portal::signer::{Draft, enrolment_proof};
use countersign_portal::{Algorithm, Answer, BrowserKey, ConnectionPage, Deed};
use serde_json::{Value, json};

/// A change to an honest proof.
type Alteration = fn(Draft) -> Draft;

/// The page of a new connection, and its description of the connection.
async fn page(centre: &TestSite, username: &str) -> (ConnectionPage, Answer) {
    let redirect = centre.core.connect(username).await.unwrap();
    let page = ConnectionPage::open(&redirect, centre.core.endpoint().clone()).unwrap();
    let described = page.describe().await.unwrap();
    assert_eq!(described.text("username"), username, "{described:?}");
    (page, described)
}

fn assert_refused(name: &str, answer: &Answer, for_the_proof: bool) {
    assert_eq!(answer.status, 400, "{name}: {answer:?}");
    assert_eq!(answer.text("why").contains("the proof"), for_the_proof, "{name}: {answer:?}");
    assert!(answer.text("code").is_empty(), "{name} got a code: {answer:?}");
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v13_v14_weak_malformed_and_private_keys_are_refused() {
    let centre = TestSite::open().await;
    for (number, altered) in offers::all().unwrap().into_iter().enumerate() {
        let username = format!("user{number}#1");
        let (page, described) = page(&centre, &username).await;
        // The proof is by another key: most of these keys cannot make one.
        let key = BrowserKey::make(Algorithm::Es256).unwrap();
        let proof = enrolment_proof(&key, &page.origin, &page.ticket, &username, &described.text("nonce"));
        let body = json!({
            "ticket": page.ticket, "jwk": altered.it.jwk, "alg": altered.it.alg, "proof": proof.sign(&key).unwrap(),
        });
        assert_refused(&altered.name, &page.offer_raw(&body).await.unwrap(), false);
        assert_ne!(page.status().await.unwrap().text("state"), "offered", "{}", altered.name);
    }
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v46_a_proof_is_over_origin_ticket_user_and_nonce() {
    let centre = TestSite::open().await;
    let altered: [(&str, Alteration); 15] = [
        ("aud of another provider", |draft| draft.with_claim("aud", json!("https://other.example.org"))),
        ("aud absent", |draft| draft.without_claim("aud")),
        ("another ticket", |draft| draft.with_claim("ticket", json!("A".repeat(43)))),
        ("no ticket", |draft| draft.without_claim("ticket")),
        ("another user", |draft| draft.with_claim("username", json!("mallory#6666"))),
        ("no user", |draft| draft.without_claim("username")),
        ("another nonce", |draft| draft.with_claim("nonce", json!("A".repeat(43)))),
        ("no nonce", |draft| draft.without_claim("nonce")),
        ("a claim more", |draft| draft.with_claim("iat", json!(1))),
        ("an intent's typ", |draft| draft.with_header("typ", json!("ucloud-intent+jwt"))),
        ("no typ", |draft| draft.without_header("typ")),
        ("a kid", |draft| draft.with_header("kid", json!("A".repeat(22)))),
        ("alg none", |draft| draft.with_header("alg", json!("none"))),
        ("another alg", |draft| draft.with_header("alg", json!("EdDSA"))),
        ("the key itself", |draft| draft.with_header("jwk", json!({"kty": "EC"}))),
    ];
    let key = BrowserKey::make(Algorithm::Es256).unwrap();
    let stranger = BrowserKey::make(Algorithm::Es256).unwrap();
    let offer = async |number: usize, alter: &dyn Fn(Draft) -> Draft, signer: &BrowserKey| {
        let username = format!("user{number}#1");
        let (page, described) = page(&centre, &username).await;
        let proof = enrolment_proof(&key, &page.origin, &page.ticket, &username, &described.text("nonce"));
        let proof = alter(proof).sign(signer).unwrap();
        let body = json!({"ticket": page.ticket, "jwk": key.public_jwk(), "alg": "ES256", "proof": proof});
        page.offer_raw(&body).await.unwrap()
    };
    for (number, (name, alter)) in altered.iter().enumerate() {
        assert_refused(name, &offer(number, alter, &key).await, true);
    }
    assert_refused("somebody else's signature", &offer(100, &|draft| draft, &stranger).await, true);
    let honest = offer(101, &|draft| draft, &key).await;
    assert!(honest.is_ok() && !honest.text("code").is_empty(), "{honest:?}");
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v19_a_key_that_nobody_approved_verifies_nothing() {
    let centre = TestSite::open().await;
    let mut alice = centre.connect("alice").await;
    let offered = centre.offer(&alice.username, Algorithm::Es256).await;
    let approved = std::mem::replace(&mut alice.key, offered.key);
    let folder = Deed::create_folder("/home/unapproved");
    let answer = centre.perform(&alice, &folder).await;
    assert_eq!((answer.status, answer.error_code().as_str()), (482, "INTENT_INVALID"), "{answer:?}");
    alice.key = approved;
    assert!(centre.perform(&alice, &folder).await.is_ok());
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v18_v50_a_second_key_stands_beside_the_first_until_that_is_revoked() {
    let centre = TestSite::open().await;
    let old = centre.connect("alice").await;
    let new = centre.connect_with("alice", Algorithm::EdDsa).await;
    for person in [&old, &new] {
        let answer = centre.browse(person, "/home").await;
        assert!(answer.is_ok(), "{answer:?}");
    }
    let keys = async || {
        let output = centre.run_as("alice", &["keys", "list", "--json"]).await;
        assert!(output.status.success(), "{}", said(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let listed = keys().await.to_string();
    assert!(listed.contains(old.key.kid()) && listed.contains(new.key.kid()), "{listed}");

    let revoked = centre.run_as("alice", &["keys", "revoke", old.key.kid()]).await;
    assert!(revoked.status.success(), "{}", said(&revoked));
    // At once, not only when a cache entry expires.
    let refused = centre.perform(&old, &Deed::create_folder("/home/after")).await;
    assert_eq!((refused.status, refused.error_code().as_str()), (482, "INTENT_INVALID"), "{refused:?}");
    assert!(!old.home.join("after").exists());
    assert!(centre.browse(&new, "/home").await.is_ok());
}
