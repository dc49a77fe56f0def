//! Tests of deposits, for a Core that drops the header (protocol, section 5).
//!
//! Each serves one request of its user, call and items, whichever of the two arrives first.

use std::sync::atomic::Ordering;

use countersign_portal::Deed;

use super::*;

#[tokio::test]
async fn a_deposit_serves_the_request_whichever_comes_first() {
    let test = TestGateway::new().await;
    let core = test.dropping_core();
    let deed = Deed::trash("/1/a");

    let intent = test.sign(&deed);
    let answer = core.deposit(&intent).await.unwrap();
    assert_eq!((answer.status, answer.json()), (202, serde_json::json!({})));
    assert_eq!(answer.header("access-control-allow-origin"), CORE_ORIGIN);
    assert_eq!(answer.header("vary"), "origin");
    assert_eq!(core.perform("alice", &deed, None).await.unwrap().status, 200);
    assert!(test.upstream_saw().contains(&intent), "the instance gets it as a header");
    assert_eq!(verdict(&core.perform("alice", &deed, None).await.unwrap()), (482, "INTENT_REQUIRED".to_owned()));

    let waiting = {
        let (core, deed) = (test.dropping_core(), deed.clone());
        tokio::spawn(async move { core.perform("alice", &deed, None).await.unwrap() })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(core.deposit(&test.sign(&deed)).await.unwrap().status, 202);
    assert_eq!(waiting.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_deposit_stays_for_the_repeat_after_449_and_is_then_consumed() {
    let test = TestGateway::new().await;
    let core = test.dropping_core();
    test.instance_is_up.store(false, Ordering::SeqCst);
    let deed = Deed::trash("/1/a");
    let intent = test.sign(&deed);
    core.deposit(&intent).await.unwrap();
    let request = core.request("alice", &deed, None).unwrap();
    assert_eq!(verdict(&core.send(&request).await.unwrap()), (449, "NO_INSTANCE".to_owned()));
    test.instance_is_up.store(true, Ordering::SeqCst);
    assert_eq!(core.send(&request).await.unwrap().status, 200);
    assert_eq!(verdict(&core.deposit(&intent).await.unwrap()), (482, "INTENT_REPLAYED".to_owned()));
}

#[tokio::test]
async fn a_deposit_is_for_its_own_user_call_and_items_alone() {
    let test = TestGateway::new().await;
    let core = test.dropping_core();
    core.deposit(&test.sign(&Deed::trash("/1/a"))).await.unwrap();
    for (username, deed, want) in [
        ("alice", Deed::trash("/1/b"), (482, "INTENT_REQUIRED")),
        ("bob", Deed::trash("/1/a"), (403, "NOT_CONNECTED")),
        ("alice", Deed::retrieve("/1/a"), (482, "INTENT_REQUIRED")),
    ] {
        let answer = core.perform(username, &deed, None).await.unwrap();
        assert_eq!(verdict(&answer), (want.0, want.1.to_owned()), "{username} {deed:?}");
    }
    assert_eq!(test.upstream_saw(), "");
    assert_eq!(core.perform("alice", &Deed::trash("/1/a"), None).await.unwrap().status, 200);
}

#[tokio::test]
async fn v18_a_deposit_of_a_key_that_was_then_revoked_serves_nothing() {
    let test = TestGateway::new().await;
    let core = test.dropping_core();
    let deed = Deed::trash("/1/a");
    core.deposit(&test.sign(&deed)).await.unwrap();
    test.revoke();
    assert_eq!(verdict(&core.perform("alice", &deed, None).await.unwrap()), (482, "INTENT_INVALID".to_owned()));
    assert_eq!(test.upstream_saw(), "");
}

#[tokio::test]
async fn a_bad_deposit_is_refused_at_once() {
    let test = TestGateway::new().await;
    let core = &test.core;
    let deed = Deed::trash("/1/a");
    let good = test.sign(&deed);
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
    let test = TestGateway::new().await;
    let ask = |origin: &'static str, method: &'static str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", "content-type"),
        ];
        test.core.send_http(plain_request("OPTIONS", "/ucloud/hpc/intents", &headers, ""))
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
    assert_eq!(test.core.send_http(elsewhere).await.unwrap().status, 404);
}

/// Signs an intent that expires before the others, and so would be taken first.
fn sign_shorter(test: &TestGateway, deed: &Deed, change: impl FnOnce(&mut Intent)) -> String {
    let alice = test.alice.lock().unwrap();
    let mut intent = Intent::of(ORIGIN, "alice", deed, countersign_portal::now()).unwrap();
    intent.exp -= 5;
    change(&mut intent);
    intent.sign(&alice.key).unwrap()
}

#[tokio::test]
async fn v70_s11_a_used_up_deposit_blocks_no_fresh_one() {
    let test = TestGateway::new().await;
    let core = test.dropping_core();
    let deed = Deed::trash("/1/a");
    let used = sign_shorter(&test, &deed, |_| {});
    // A Core that passes the header on consumes it; then it arrives as a deposit too.
    assert_eq!(test.core.perform("alice", &deed, Some(&used)).await.unwrap().status, 200);
    assert_eq!(core.deposit(&used).await.unwrap().status, 202);
    core.deposit(&test.sign(&deed)).await.unwrap();
    assert_eq!(core.perform("alice", &deed, None).await.unwrap().status, 200);
    assert_eq!(test.upstream_saw().matches(&used).count(), 1, "once, by its header");
    assert_eq!(verdict(&core.deposit(&used).await.unwrap()), (482, "INTENT_REPLAYED".to_owned()), "it is gone");
}

#[tokio::test]
async fn v70_s11_a_used_up_deposit_alone_says_so_and_is_gone() {
    let test = TestGateway::new().await;
    let core = test.dropping_core();
    let deed = Deed::trash("/1/a");
    let used = test.sign(&deed);
    assert_eq!(test.core.perform("alice", &deed, Some(&used)).await.unwrap().status, 200);
    core.deposit(&used).await.unwrap();
    assert_eq!(verdict(&core.perform("alice", &deed, None).await.unwrap()), (482, "INTENT_REPLAYED".to_owned()));
    assert_eq!(verdict(&core.perform("alice", &deed, None).await.unwrap()), (482, "INTENT_REQUIRED".to_owned()));
}

#[tokio::test]
async fn v70_s11b_a_deposit_with_another_project_blocks_no_right_one() {
    let test = TestGateway::new().await;
    let core = test.dropping_core();
    let deed = Deed::Browse("/4".to_owned());
    let wrong = sign_shorter(&test, &deed, |intent| intent.project = Some("climate".to_owned()));
    assert_eq!(core.deposit(&wrong).await.unwrap().status, 202);
    assert_eq!(verdict(&core.perform("alice", &deed, None).await.unwrap()), (482, "INTENT_REQUIRED".to_owned()));
    core.deposit(&test.sign(&deed)).await.unwrap();
    assert_eq!(core.perform("alice", &deed, None).await.unwrap().status, 200);
    assert!(!test.upstream_saw().contains(&wrong));
}

#[tokio::test]
async fn v70_s11_a_deposit_of_a_key_that_ended_blocks_none_of_the_next_key() {
    let test = TestGateway::new().await;
    let core = test.dropping_core();
    let deed = Deed::trash("/1/a");
    let old = sign_shorter(&test, &deed, |_| {});
    core.deposit(&old).await.unwrap();
    test.revoke();
    *test.alice.lock().unwrap() = Signer::new("alice");
    core.deposit(&test.sign(&deed)).await.unwrap();
    assert_eq!(core.perform("alice", &deed, None).await.unwrap().status, 200);
    assert!(!test.upstream_saw().contains(&old));
}

#[tokio::test]
async fn v70_s11_a_request_that_met_an_unusable_deposit_waits_for_the_next() {
    let wait = Duration::from_secs(20);
    let test = TestGateway::changed(|gateway| gateway.rules.change(|rules| rules.deposit_wait = wait)).await;
    let deed = Deed::trash("/1/a");
    let used = test.sign(&deed);
    assert_eq!(test.core.perform("alice", &deed, Some(&used)).await.unwrap().status, 200);
    test.core.deposit(&used).await.unwrap();
    let waiting = {
        let (core, deed) = (test.dropping_core().with_patience(wait), deed.clone());
        tokio::spawn(async move { core.perform("alice", &deed, None).await.unwrap() })
    };
    let alice = countersign_keys::identity::Username::parse("alice").unwrap();
    while test.gateway.deposits.waiting(&alice) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(test.core.deposit(&test.sign(&deed)).await.unwrap().status, 202);
    assert_eq!(waiting.await.unwrap().status, 200);
}

#[tokio::test]
async fn v70_s11_of_two_requests_with_one_deposit_one_wins() {
    let test = TestGateway::new().await;
    let deed = Deed::trash("/1/a");
    let intent = test.sign(&deed);
    test.core.deposit(&intent).await.unwrap();
    let (one, other) = (test.dropping_core(), test.dropping_core());
    let (one, other) = tokio::join!(one.perform("alice", &deed, None), other.perform("alice", &deed, None));
    let mut verdicts = [verdict(&one.unwrap()), verdict(&other.unwrap())];
    verdicts.sort();
    assert_eq!(verdicts, [(200, String::new()), (482, "INTENT_REQUIRED".to_owned())]);
    assert_eq!(test.upstream_saw().matches(&intent).count(), 1);
}

#[tokio::test]
async fn v70_s11_a_503_of_the_gateways_leaves_the_deposit() {
    // A full replay log: a failure before anything is consumed.
    let test = TestGateway::changed(|gateway| {
        let directory = tempfile::tempdir().unwrap();
        Journal::create(directory.path()).unwrap();
        let now = Clock::System.now().unwrap();
        gateway.journal = Journal::open(directory.path(), terms().window, 0, now).unwrap();
    })
    .await;
    let core = test.dropping_core();
    let deed = Deed::trash("/1/a");
    let intent = test.sign(&deed);
    core.deposit(&intent).await.unwrap();
    assert_eq!(verdict(&core.perform("alice", &deed, None).await.unwrap()), (503, "UNAVAILABLE".to_owned()));
    assert_eq!(core.deposit(&intent).await.unwrap().status, 202, "there already, and not used");
    assert!(!test.upstream_saw().contains(&intent), "Core asked for an instance, and got none of the request");
}
