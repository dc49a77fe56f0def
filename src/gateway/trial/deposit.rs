//! Intents that come by themselves, for a Core that drops the header (protocol, section 5).
//!
//! Each is good for one request of its user, call and items, whichever of the two comes first.

use std::sync::atomic::Ordering;

use countersign_portal::Deed;

use super::*;

#[tokio::test]
async fn a_deposit_serves_the_request_whichever_comes_first() {
    let trial = Trial::new().await;
    let core = trial.dropping_core();
    let deed = Deed::trash("/1/a");

    let intent = trial.sign(&deed);
    let answer = core.deposit(&intent).await.unwrap();
    assert_eq!((answer.status, answer.json()), (202, serde_json::json!({})));
    assert_eq!(answer.header("access-control-allow-origin"), CORE_ORIGIN);
    assert_eq!(answer.header("vary"), "origin");
    assert_eq!(core.perform("alice", &deed, None).await.unwrap().status, 200);
    assert!(trial.upstream_saw().contains(&intent), "the instance gets it as a header");
    assert_eq!(verdict(&core.perform("alice", &deed, None).await.unwrap()), (482, "INTENT_REQUIRED".to_owned()));

    let waiting = {
        let (core, deed) = (trial.dropping_core(), deed.clone());
        tokio::spawn(async move { core.perform("alice", &deed, None).await.unwrap() })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(core.deposit(&trial.sign(&deed)).await.unwrap().status, 202);
    assert_eq!(waiting.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_deposit_stays_for_the_repeat_after_449_and_is_then_spent() {
    let trial = Trial::new().await;
    let core = trial.dropping_core();
    trial.instance_is_up.store(false, Ordering::SeqCst);
    let deed = Deed::trash("/1/a");
    let intent = trial.sign(&deed);
    core.deposit(&intent).await.unwrap();
    let request = core.request("alice", &deed, None).unwrap();
    assert_eq!(verdict(&core.send(&request).await.unwrap()), (449, "NO_INSTANCE".to_owned()));
    trial.instance_is_up.store(true, Ordering::SeqCst);
    assert_eq!(core.send(&request).await.unwrap().status, 200);
    assert_eq!(verdict(&core.deposit(&intent).await.unwrap()), (482, "INTENT_REPLAYED".to_owned()));
}

#[tokio::test]
async fn a_deposit_is_for_its_own_user_call_and_items_alone() {
    let trial = Trial::new().await;
    let core = trial.dropping_core();
    core.deposit(&trial.sign(&Deed::trash("/1/a"))).await.unwrap();
    for (username, deed) in
        [("alice", Deed::trash("/1/b")), ("bob", Deed::trash("/1/a")), ("alice", Deed::retrieve("/1/a"))]
    {
        let answer = core.perform(username, &deed, None).await.unwrap();
        assert_eq!(verdict(&answer), (482, "INTENT_REQUIRED".to_owned()), "{username} {deed:?}");
    }
    assert_eq!(trial.upstream_saw(), "");
    assert_eq!(core.perform("alice", &Deed::trash("/1/a"), None).await.unwrap().status, 200);
}

#[tokio::test]
async fn v18_a_deposit_of_a_key_that_was_then_revoked_serves_nothing() {
    let trial = Trial::new().await;
    let core = trial.dropping_core();
    let deed = Deed::trash("/1/a");
    core.deposit(&trial.sign(&deed)).await.unwrap();
    trial.revoke();
    assert_eq!(verdict(&core.perform("alice", &deed, None).await.unwrap()), (482, "INTENT_INVALID".to_owned()));
    assert_eq!(trial.upstream_saw(), "");
}

#[tokio::test]
async fn a_bad_deposit_is_refused_at_once() {
    let trial = Trial::new().await;
    let core = &trial.core;
    let deed = Deed::trash("/1/a");
    let good = trial.sign(&deed);
    let stranger = Signer::new("alice");
    let unknown = Intent::of(ORIGIN, "alice", &deed, countersign_portal::now()).unwrap().sign(&stranger.key).unwrap();
    let invalid = (482, "INTENT_INVALID".to_owned());
    assert_eq!(verdict(&core.deposit(&unknown).await.unwrap()), invalid);
    assert_eq!(verdict(&core.deposit("").await.unwrap()), invalid);
    assert_eq!(verdict(&core.deposit(&good[1..]).await.unwrap()), invalid);
    let deposit = |headers: &[(&str, &str)], body: &str| {
        core.send_http(plain_request("POST", "/ucloud/hpc/intents", headers, body))
    };
    let jwt = ("content-type", "application/jwt");
    assert_eq!(deposit(&[("content-type", "text/plain")], &good).await.unwrap().status, 400);
    assert_eq!(deposit(&[], &good).await.unwrap().status, 400);
    assert_eq!(deposit(&[jwt], &"a".repeat(256 * 1024 + 1)).await.unwrap().status, 413);
    let foreign = deposit(&[jwt, ("origin", "https://evil.example")], &good).await.unwrap();
    assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (403, ""));
    assert_eq!(deposit(&[jwt], &good).await.unwrap().status, 202);
}

#[tokio::test]
async fn v48_a_browser_is_told_exactly_what_its_page_may_do() {
    let trial = Trial::new().await;
    let ask = |origin: &'static str, method: &'static str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", "content-type"),
        ];
        trial.core.send_http(plain_request("OPTIONS", "/ucloud/hpc/intents", &headers, ""))
    };
    let answer = ask(CORE_ORIGIN, "POST").await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), CORE_ORIGIN);
    assert_eq!(answer.header("access-control-allow-methods"), "POST");
    assert_eq!(answer.header("access-control-allow-headers"), "content-type");
    assert_eq!(answer.header("access-control-allow-credentials"), "");
    assert_eq!(ask("https://evil.example", "POST").await.unwrap().status, 403);
    assert_eq!(ask(CORE_ORIGIN, "DELETE").await.unwrap().status, 403);
    let elsewhere = plain_request("OPTIONS", "/ucloud/hpc/files/move", &[("origin", CORE_ORIGIN)], "");
    assert_eq!(trial.core.send_http(elsewhere).await.unwrap().status, 404);
}
