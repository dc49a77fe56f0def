//! Runs the stand-in's corpus of attacks against a real installation. Every attack is refused and
//! nothing is done. The sender learns a class, the log the reason (P1, P5).
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::collections::BTreeSet;

use crate::support::test_site::{Person, TestSite};
use countersign_portal::core::Bearer;
use countersign_portal::malicious::{intents, tokens};
use countersign_portal::{Algorithm, Deed, Intent, now};

/// The folder that a successful attack would create.
const TARGET: &str = "/home/attacked";

fn deed() -> Deed {
    Deed::create_folder(TARGET)
}

fn is_made(person: &Person) -> bool {
    person.home.join("attacked").exists()
}

async fn every_altered_intent_is_refused(algorithm: Algorithm) {
    let centre = TestSite::open().await;
    let alice = centre.connect_with("alice", algorithm).await;
    let answer = centre.browse(&alice, "/home").await;
    assert!(answer.is_ok(), "{answer:?}\n{}", centre.last_words());
    let now = now();
    let intent = Intent::of(&centre.origin(), &alice.username, &deed(), now).unwrap();
    for altered in intents::all(&intent, &alice.key, now).unwrap() {
        let name = altered.name;
        let request = centre.core.request(&alice.username, &deed(), Some(&altered.it)).unwrap();
        let answer = centre.core.send(&request).await.unwrap_or_else(|why| panic!("{name}: {why}"));
        assert!(!is_made(&alice), "{name} was done");
        if answer.status == 431 {
            // The head is too long to be read to its end: the gateway closes the connection, and
            // there is no decision to log.
            continue;
        }
        let class = answer.error_code();
        let is_a_class = match answer.status {
            482 => ["INTENT_INVALID", "INTENT_STALE"].contains(&class.as_str()),
            status => status == 400 && class == "BAD_REQUEST",
        };
        assert!(is_a_class, "{name}: {answer:?}");
        let members: BTreeSet<String> = answer.json().as_object().unwrap().keys().cloned().collect();
        assert!(members.iter().eq(["errorCode", "statusCode", "why"]), "{name}: {answer:?}");
        assert!(centre.reason(answer.header("x-request-id")).is_some(), "{name}: no reason in the log");
    }
    // The unaltered request is valid.
    assert!(centre.perform(&alice, &deed()).await.is_ok());
    assert!(is_made(&alice));
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn every_altered_intent_is_refused_es256() {
    every_altered_intent_is_refused(Algorithm::Es256).await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn every_altered_intent_is_refused_eddsa() {
    every_altered_intent_is_refused(Algorithm::EdDsa).await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn every_altered_intent_is_refused_ps256() {
    every_altered_intent_is_refused(Algorithm::Ps256).await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn every_altered_intent_is_refused_rs256() {
    every_altered_intent_is_refused(Algorithm::Rs256).await;
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn no_other_token_is_cores() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    for altered in tokens::all(&centre.keys, now()).unwrap() {
        let mut request = centre.signed(&alice, &deed());
        request.bearer = Bearer::Given(altered.it.clone());
        let mut service = centre.core.service("GET", "integration/retrieveManifest", None).unwrap();
        service.bearer = Bearer::Given(altered.it);
        for request in [request, service] {
            let answer = centre.core.send(&request).await.unwrap_or_else(|why| panic!("{}: {why}", altered.name));
            assert_eq!((answer.status, answer.error_code().as_str()), (401, "UNAUTHORIZED"), "{}", altered.name);
        }
    }
    // Of senders other than Core, the log has the first refusal of each kind and counts the rest.
    assert!(centre.decisions().iter().any(|decision| decision["status"] == 401));
    assert!(!is_made(&alice));
}
