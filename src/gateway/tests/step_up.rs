//! Tests of calls that need a passkey: nothing is forwarded without the assertion of exactly that
//! intent, however it arrives and whatever arrives first.

use std::collections::HashSet;

use countersign_keys::identity::Username;
use countersign_keys::intent::Fingerprint;
use countersign_portal::signer::Projection;
use serde_json::{Value, json};

use super::*;
use countersign_ipc::gateway_protocol::{AssertionOutcome, StepUp};

/// Plays the server: alice has a passkey, which asserts `"touched"`.
#[derive(Default)]
pub(super) struct Played {
    has_none: bool,
    open: HashSet<Fingerprint>,
}

impl Played {
    pub(super) fn challenge(&mut self, intent: Fingerprint) -> StepUp {
        if self.has_none {
            return StepUp::NoPasskey;
        }
        self.open.insert(intent);
        StepUp::Challenge { options: json!({ "challenge": String::from(intent) }) }
    }

    pub(super) fn judge(&mut self, intent: Fingerprint, credential: &str) -> AssertionOutcome {
        let is_good = self.open.remove(&intent) && credential == "\"touched\"";
        let refused = AssertionOutcome::Refused { why: "played: not touched".to_owned() };
        if is_good { AssertionOutcome::Good } else { refused }
    }
}

const NOT_LONG: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(20);

async fn test_gateway(deposit_wait: Duration) -> TestGateway {
    TestGateway::with_step_up(&["files.trash"], deposit_wait).await
}

async fn assert_with(test: &TestGateway, headers: &[(&str, &str)], body: &Value) -> Answer {
    let request = plain_request("POST", "/ucloud/hpc/intents/assertion", headers, &body.to_string());
    test.core.send_http(request).await.unwrap()
}

async fn assert_intent(test: &TestGateway, intent: &str) -> Answer {
    let body = json!({ "intent": intent, "credential": "touched" });
    assert_with(test, &[("content-type", "application/json"), ("origin", ORIGIN)], &body).await
}

/// Returns when a request of alice's waits for its deposit.
async fn until_waiting(test: &TestGateway) {
    let alice = Username::parse("alice").unwrap();
    while test.gateway.deposits.waiting(&alice) == 0 {
        tokio::task::yield_now().await;
    }
}

fn step_up() -> (u16, String) {
    (482, "INTENT_STEP_UP".to_owned())
}

#[tokio::test]
async fn a_deposit_is_answered_with_a_challenge_and_serves_once_asserted() {
    let test = test_gateway(NOT_LONG).await;
    let core = test.dropping_core();
    let deed = Deed::trash("/1/a");
    let intent = test.sign(&deed);
    let answer = core.deposit(&intent).await.unwrap();
    assert_eq!(answer.status, 202);
    let challenge = answer.json()["stepUp"]["publicKey"]["challenge"].as_str().unwrap().to_owned();
    assert!(!challenge.is_empty());
    assert_eq!(verdict(&core.perform("alice", &deed, None).await.unwrap()), step_up(), "not before the assertion");
    assert_eq!(test.upstream_saw(), "");
    let answer = assert_intent(&test, &intent).await;
    assert_eq!((answer.status, answer.json()), (202, json!({})));
    assert_eq!(core.deposit(&intent).await.unwrap().json(), json!({}), "asserted already");
    assert_eq!(core.perform("alice", &deed, None).await.unwrap().status, 200);
    assert!(test.upstream_saw().contains(&intent));
    assert_eq!(verdict(&core.deposit(&intent).await.unwrap()), (482, "INTENT_REPLAYED".to_owned()));
    assert_eq!(verdict(&core.perform("alice", &deed, None).await.unwrap()), (482, "INTENT_REQUIRED".to_owned()));
}

#[tokio::test]
async fn an_intent_in_the_header_needs_its_own_deposit_and_assertion() {
    let test = test_gateway(NOT_LONG).await;
    let deed = Deed::trash("/1/a");
    let (intent, twin) = (test.sign(&deed), test.sign(&deed));
    let send = async |intent: &str| {
        let request = test.core.request("alice", &deed, Some(intent)).unwrap();
        verdict(&test.core.send(&request).await.unwrap())
    };
    assert_eq!(send(&intent).await, step_up(), "neither deposited nor asserted");
    test.core.deposit(&twin).await.unwrap();
    assert_intent(&test, &twin).await;
    assert_eq!(send(&intent).await, step_up(), "another one was");
    test.core.deposit(&intent).await.unwrap();
    assert_eq!(send(&intent).await, step_up(), "deposited only");
    assert_eq!(test.upstream_saw(), "");
    assert_eq!(assert_intent(&test, &intent).await.status, 202);
    assert_eq!(send(&intent).await.0, 200);
    assert_eq!(send(&intent).await, step_up(), "the deposit is consumed");
    assert_eq!(test.upstream_saw().matches("POST /ucloud/").count(), 1);
}

#[tokio::test]
async fn a_request_waits_for_the_assertion_of_what_it_needs() {
    for with_header in [true, false] {
        let test = test_gateway(LONG).await;
        let deed = Deed::trash("/1/a");
        let intent = test.sign(&deed);
        test.core.deposit(&intent).await.unwrap();
        let waiting = {
            let (core, header) = if with_header {
                (core_at(test.core.endpoint().clone()), Some(intent.clone()))
            } else {
                (test.dropping_core(), None)
            };
            let core = core.with_patience(LONG);
            let deed = deed.clone();
            tokio::spawn(async move { core.perform("alice", &deed, header.as_deref()).await.unwrap() })
        };
        until_waiting(&test).await;
        assert_eq!(test.upstream_saw(), "");
        assert_eq!(assert_intent(&test, &intent).await.status, 202);
        assert_eq!(waiting.await.unwrap().status, 200, "with header: {with_header}");
    }
}

#[tokio::test]
async fn the_whole_step_up_may_come_after_cores_request() {
    let test = test_gateway(LONG).await;
    let deed = Deed::trash("/1/a");
    let core = test.dropping_core().with_patience(LONG);
    let waiting = tokio::spawn(async move { core.perform("alice", &deed, None).await.unwrap() });
    until_waiting(&test).await;
    let intent = test.sign(&Deed::trash("/1/a"));
    test.core.deposit(&intent).await.unwrap();
    until_waiting(&test).await;
    assert_eq!(test.upstream_saw(), "");
    assert_intent(&test, &intent).await;
    assert_eq!(waiting.await.unwrap().status, 200);
}

#[tokio::test]
async fn v44_without_a_good_assertion_nothing_is_forwarded() {
    let test = test_gateway(NOT_LONG).await;
    let core = test.dropping_core();
    let deed = Deed::trash("/1/a");
    let intent = test.sign(&deed);
    let own = [("content-type", "application/json"), ("origin", ORIGIN)];
    let good = json!({ "intent": intent, "credential": "touched" });
    assert_eq!(verdict(&assert_intent(&test, &intent).await), step_up(), "no challenge was asked for");
    core.deposit(&intent).await.unwrap();
    let bad = json!({ "intent": intent, "credential": "untouched" });
    assert_eq!(verdict(&assert_with(&test, &own, &bad).await), step_up());
    assert!(test.last_decision().1.contains("not touched"), "the log has the reason");
    assert_eq!(verdict(&assert_intent(&test, &intent).await), step_up(), "a challenge is good once");
    for (name, headers, body, want) in [
        ("Core's page", vec![own[0], ("origin", CORE_ORIGIN)], good.clone(), 403),
        ("another page", vec![own[0], ("origin", "https://evil.example")], good.clone(), 403),
        ("a form", vec![("content-type", "text/plain"), own[1]], good.clone(), 400),
        ("no intent", own.to_vec(), json!({ "credential": "touched" }), 400),
        ("more than it has", own.to_vec(), json!({ "intent": intent, "credential": "touched", "more": 1 }), 400),
        ("a long credential", own.to_vec(), json!({ "intent": intent, "credential": "x".repeat(9_000) }), 400),
        ("a changed intent", own.to_vec(), json!({ "intent": &intent[1..], "credential": "touched" }), 482),
    ] {
        core.deposit(&intent).await.unwrap();
        assert_eq!(assert_with(&test, &headers, &body).await.status, want, "{name}");
        assert_eq!(verdict(&core.perform("alice", &deed, None).await.unwrap()), step_up(), "{name}");
    }
    assert_eq!(test.upstream_saw(), "");
    test.revoke();
    assert_eq!(verdict(&assert_intent(&test, &intent).await), (482, "INTENT_INVALID".to_owned()));
}

#[tokio::test]
async fn whoever_has_no_passkey_is_told_to_enrol_one() {
    let test = test_gateway(NOT_LONG).await;
    test.passkeys.lock().unwrap().has_none = true;
    let answer = test.core.deposit(&test.sign(&Deed::trash("/1/a"))).await.unwrap();
    assert_eq!(verdict(&answer), step_up());
    assert_eq!(answer.json()["why"], "enrol a passkey first");
    let read = Deed::retrieve("/1/a");
    assert_eq!(test.core.deposit(&test.sign(&read)).await.unwrap().json(), json!({}), "other calls need none");
    assert_eq!(test.dropping_core().perform("alice", &read, None).await.unwrap().status, 200);
}

#[tokio::test]
async fn v18_what_was_asserted_falls_with_its_key() {
    let test = test_gateway(NOT_LONG).await;
    let core = test.dropping_core();
    let deed = Deed::trash("/1/a");
    let intent = test.sign(&deed);
    core.deposit(&intent).await.unwrap();
    assert_intent(&test, &intent).await;
    test.revoke();
    assert_eq!(verdict(&core.perform("alice", &deed, None).await.unwrap()), (482, "INTENT_INVALID".to_owned()));
    assert_eq!(test.upstream_saw(), "");
}

#[tokio::test]
async fn a_deposit_covers_a_thousand_items_and_no_more() {
    let test = TestGateway::new().await;
    let core = test.dropping_core();
    let sign = |count: usize| {
        let items: Vec<_> = (0..count).map(|n| Projection::new([("id", json!(format!("/1/{n}")))])).collect();
        let alice = test.alice.lock().unwrap();
        let intent = Intent::new(ORIGIN, "alice", "files.trash", &items, countersign_portal::now()).unwrap();
        intent.sign(&alice.key).unwrap()
    };
    let body = |ids: std::ops::Range<usize>| {
        let items: Vec<Value> = ids.map(|n| json!({ "id": format!("/1/{n}") })).collect();
        json!({ "items": items }).to_string().into_bytes()
    };
    let ask = async |body: Vec<u8>| core.call("POST", "files/trash", Some("alice"), None, Some(&body)).await.unwrap();
    let intent = sign(1_000);
    assert!(intent.len() > 60_000, "{} bytes", intent.len());
    assert_eq!(verdict(&core.deposit(&sign(1_001)).await.unwrap()), (482, "INTENT_INVALID".to_owned()));
    assert_eq!(core.deposit(&intent).await.unwrap().status, 202);
    assert_eq!(verdict(&ask(body(1..1_001)).await), (482, "INTENT_REQUIRED".to_owned()), "one that is not among them");
    assert_eq!(ask(body(0..1_000)).await.status, 200);
    assert!(test.upstream_saw().contains(&intent), "the instance gets all of it");
}

#[tokio::test]
async fn a_call_of_the_users_own_browser_may_need_a_passkey_too() {
    let test = TestGateway::with_step_up(&["keys.remove", "passkeys.begin"], NOT_LONG).await;
    let sign = |call: &str, member: (&str, Value)| {
        let items = [Projection::new([member])];
        let alice = test.alice.lock().unwrap();
        Intent::new(ORIGIN, "alice", call, &items, countersign_portal::now()).unwrap().sign(&alice.key).unwrap()
    };
    let ask = async |path: &str, intent: &str, body: &Value| {
        let headers = [("content-type", "application/json"), ("origin", ORIGIN), ("ucloud-signed-intent", intent)];
        let request = plain_request("POST", &format!("/ucloud/hpc/{path}"), &headers, &body.to_string());
        verdict(&test.core.send_http(request).await.unwrap())
    };
    let intent = sign("keys.remove", ("kid", json!("k")));
    let body = json!({ "kid": "k" });
    assert_eq!(ask("keys/remove", &intent, &body).await, step_up());
    test.core.deposit(&intent).await.unwrap();
    assert_eq!(ask("keys/remove", &intent, &body).await, step_up());
    assert_eq!(test.upstream_saw(), "");
    assert_eq!(assert_intent(&test, &intent).await.status, 202, "{:?}", test.last_decision());
    assert_eq!(ask("keys/remove", &intent, &body).await.0, 200);
    assert_eq!(ask("keys/remove", &intent, &body).await, step_up(), "its deposit is consumed");
    // The server decides about calls about passkeys, whatever the list says.
    let intent = sign("passkeys.begin", ("name", json!("phone")));
    let challenged = test.core.deposit(&intent).await.unwrap();
    assert!(!challenged.json()["stepUp"].is_null());
    assert_eq!(ask("passkeys/begin", &intent, &json!({ "name": "phone" })).await.0, 200, "it went to the server");
}
