//! Passkeys at the server, with a software authenticator: enrolment, removal, step-up, and attacks.

use std::sync::atomic::Ordering;

use countersign_keys::identity::CallName;
use countersign_keys::intent::{Consent, Fingerprint};
use countersign_keys::policy::StepUpNeed;
use countersign_keys::store::passkeys::PASSKEYS_MAX;
use countersign_keys::store::registry::Authority;
use countersign_keys::time::Timestamp;
use countersign_portal::Authenticator;
use serde_json::{Value, json};

use crate::http::reply::Refusal;
use crate::passkeys;
use crate::test_server::{NOW, ORIGIN, TestServer, status, user};
use countersign_ipc::alarm::Alarm;
use countersign_ipc::gateway_protocol::{AssertionOutcome, StepUp};

const STEP_UP: &str = "[intent]\nstep_up = [\"files.trash\"]\n";

/// The fingerprint of intent `n`.
fn intent(n: u8) -> Fingerprint {
    use base64::Engine as _;
    Fingerprint::try_from(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([n; 32])).unwrap()
}

/// The step-up that the site requires for that call, with consent.
fn need(test: &TestServer, call: &str) -> StepUpNeed {
    passkeys::need(&test.server, &CallName::parse(call).unwrap(), Consent::Asked)
}

fn begin(test: &TestServer) -> Result<Value, Refusal> {
    passkeys::begin(&test.server, &user("alice#1"), "phone", intent(0))
}

fn finish(test: &TestServer, credential: &Value) -> Result<Value, Refusal> {
    passkeys::finish(&test.server, &user("alice#1"), credential)
}

fn enrol(test: &TestServer, authenticator: &mut Authenticator) {
    let options = begin(test).unwrap();
    let made = authenticator.register(&options["publicKey"]);
    assert_eq!(finish(test, &made).unwrap()["id"], authenticator.id());
}

/// Begins a step-up for that intent: alice deletes a file.
fn challenge(test: &TestServer, n: u8) -> StepUp {
    let until = Timestamp::from_seconds(NOW + 30);
    passkeys::challenge(&test.server, &user("alice#1"), need(test, "files.trash"), intent(n), until).unwrap()
}

fn options(challenge: StepUp) -> Value {
    let StepUp::Challenge { options } = challenge else { panic!("{challenge:?}") };
    options
}

fn assert_for(test: &TestServer, username: &str, n: u8, credential: &Value) -> AssertionOutcome {
    passkeys::assert(&test.server, &user(username), intent(n), &credential.to_string()).unwrap()
}

/// Verifies an assertion, and returns "good" or the reason in the log.
fn why_not(test: &TestServer, n: u8, credential: &Value) -> String {
    match assert_for(test, "alice#1", n, credential) {
        AssertionOutcome::Good => "good".to_owned(),
        AssertionOutcome::Refused { why } => why,
    }
}

async fn connected(more: &str) -> (TestServer, Authenticator) {
    let test = TestServer::new(more);
    test.connected().await;
    (test, Authenticator::new(ORIGIN).unwrap())
}

#[tokio::test]
async fn a_passkey_is_enrolled_listed_used_and_removed() {
    let (test, mut phone) = connected(STEP_UP).await;
    enrol(&test, &mut phone);
    let list = || passkeys::list(&test.server, &user("alice#1")).unwrap();
    let want =
        json!({"passkeys": [{"id": phone.id(), "name": "phone", "created": NOW, "lastUsed": null, "state": "active"}]});
    assert_eq!(list(), want);
    test.now.fetch_add(5, Ordering::SeqCst);
    let asserted = phone.assert(&options(challenge(&test, 1))).unwrap();
    assert_eq!(why_not(&test, 1, &asserted), "good");
    assert_eq!(list()["passkeys"][0]["lastUsed"], NOW + 5);
    let asserted = phone.assert(&options(remove_challenge(&test, 2))).unwrap();
    assert_eq!(why_not(&test, 2, &asserted), "good");
    passkeys::remove(&test.server, &user("alice#1"), phone.id(), intent(2)).unwrap();
    assert_eq!(list(), json!({"passkeys": []}));
    assert_eq!(challenge(&test, 3), StepUp::NoPasskey, "the calls are refused then");
}

fn remove_challenge(test: &TestServer, n: u8) -> StepUp {
    let until = Timestamp::from_seconds(NOW + 30);
    passkeys::challenge(&test.server, &user("alice#1"), need(test, "passkeys.remove"), intent(n), until).unwrap()
}

#[tokio::test]
async fn the_options_ask_for_a_verified_user_at_the_providers_host() {
    let (test, mut phone) = connected(STEP_UP).await;
    let creation = begin(&test).unwrap();
    let creation = &creation["publicKey"];
    assert_eq!(creation["rp"]["id"], "hpc.example.org");
    assert_eq!(creation["authenticatorSelection"]["userVerification"], "required");
    assert_eq!(creation["user"]["name"], "alice#1");
    enrol(&test, &mut phone);
    let request = options(challenge(&test, 1));
    assert_eq!(request["rpId"], "hpc.example.org");
    assert_eq!(request["userVerification"], "required");
    assert_eq!(request["allowCredentials"][0]["id"], phone.id());
    assert_ne!(request["challenge"], options(challenge(&test, 2))["challenge"]);
    assert_eq!(request, options(challenge(&test, 1)), "the same as long as it is open");
    let again = begin(&test);
    assert_eq!(status(again), (482, "INTENT_STEP_UP"), "a passkey vouches for the next");
}

#[tokio::test]
async fn what_an_authenticator_must_not_have_made_is_not_enrolled() {
    type Change = fn(&mut Authenticator);
    let cases: [(&str, Change); 5] = [
        ("another origin", |made| made.origin = "https://evil.example".to_owned()),
        ("a host below ours", |made| made.origin = "https://sub.hpc.example.org".to_owned()),
        ("another port", |made| made.origin = "https://hpc.example.org:8443".to_owned()),
        ("another relying party", |made| made.rp_id = "evil.example".to_owned()),
        ("a user who was not verified", |made| made.verifies_user = false),
    ];
    let (test, _) = connected("").await;
    for (name, change) in cases {
        let mut phone = Authenticator::new(ORIGIN).unwrap();
        change(&mut phone);
        let options = begin(&test).unwrap();
        let made = phone.register(&options["publicKey"]);
        assert_eq!(status(finish(&test, &made)), (400, "KEY_REFUSED"), "{name}");
        assert_eq!(status(finish(&test, &made)), (409, "CONFLICT"), "{name}: what was begun is over");
    }
    let mut phone = Authenticator::new(ORIGIN).unwrap();
    let first = begin(&test).unwrap();
    begin(&test).unwrap();
    assert_eq!(status(finish(&test, &phone.register(&first["publicKey"]))), (400, "KEY_REFUSED"), "an older challenge");
    let late = begin(&test).unwrap();
    test.now.fetch_add(301, Ordering::SeqCst);
    assert_eq!(status(finish(&test, &phone.register(&late["publicKey"]))), (409, "CONFLICT"), "too late");
    assert_eq!(status(finish(&test, &json!({"id": 1}))), (409, "CONFLICT"));
    assert_eq!(passkeys::list(&test.server, &user("alice#1")).unwrap(), json!({"passkeys": []}));
}

#[tokio::test]
async fn a_user_has_so_many_passkeys_and_each_once() {
    let (test, mut phone) = connected("").await;
    enrol(&test, &mut phone);
    let again = begin(&test).unwrap();
    assert_eq!(again["publicKey"]["excludeCredentials"][0]["id"], phone.id());
    assert_eq!(finish(&test, &phone.register(&again["publicKey"])).unwrap_err().told.number() / 100, 4);
    for _ in 1..PASSKEYS_MAX {
        enrol(&test, &mut Authenticator::new(ORIGIN).unwrap());
    }
    assert_eq!(status(begin(&test)), (429, "TOO_MANY"));
    let remove = |id: &str| passkeys::remove(&test.server, &user("alice#1"), id, intent(1));
    assert_eq!(status(remove("absent")), (404, "NOT_FOUND"));
    remove(phone.id()).unwrap();
    begin(&test).unwrap();
}

#[tokio::test]
async fn v44_a_challenge_is_unpredictable_timed_and_good_for_one_intent_once() {
    let (test, mut phone) = connected(STEP_UP).await;
    enrol(&test, &mut phone);
    let (first, second) = (options(challenge(&test, 1)), options(challenge(&test, 2)));
    let length = first["challenge"].as_str().unwrap().len();
    assert!(length >= 22, "{length} characters are fewer than 128 bits");
    let asserted = phone.assert(&first).unwrap();
    assert_ne!(why_not(&test, 2, &asserted), "good", "asserted for another intent");
    assert_eq!(why_not(&test, 2, &phone.assert(&second).unwrap()), "no challenge is open for this intent");
    assert_eq!(why_not(&test, 3, &asserted), "no challenge is open for this intent");
    assert_ne!(assert_for(&test, "bob#1", 1, &asserted), AssertionOutcome::Good, "somebody else's");
    let asserted = phone.assert(&options(challenge(&test, 4))).unwrap();
    assert_eq!(why_not(&test, 4, &asserted), "good");
    assert_eq!(why_not(&test, 4, &asserted), "no challenge is open for this intent", "once");
    let late = options(challenge(&test, 5));
    test.now.fetch_add(31, Ordering::SeqCst);
    assert_eq!(
        why_not(&test, 5, &phone.assert(&late).unwrap()),
        "no challenge is open for this intent",
        "the intent is over"
    );
}

#[tokio::test]
async fn an_assertion_that_is_not_quite_right_is_refused() {
    type Change = fn(&mut Authenticator);
    let cases: [(&str, Change); 5] = [
        ("another origin", |phone| phone.origin = "https://evil.example".to_owned()),
        ("http", |phone| phone.origin = "http://hpc.example.org".to_owned()),
        ("another port", |phone| phone.origin = "https://hpc.example.org:8443".to_owned()),
        ("another relying party", |phone| phone.rp_id = "evil.example".to_owned()),
        ("a user who was not verified", |phone| phone.verifies_user = false),
    ];
    let (test, _) = connected("").await;
    for (n, (name, change)) in (1..).zip(cases) {
        let test = TestServer::new(STEP_UP);
        test.connected().await;
        let mut phone = Authenticator::new(ORIGIN).unwrap();
        enrol(&test, &mut phone);
        change(&mut phone);
        let asserted = phone.assert(&options(challenge(&test, n))).unwrap();
        assert_ne!(why_not(&test, n, &asserted), "good", "{name}");
    }
    drop(test);
    let (test, mut phone) = connected(STEP_UP).await;
    enrol(&test, &mut phone);
    let mut stranger = Authenticator::new(ORIGIN).unwrap();
    let asserted = stranger.assert(&options(challenge(&test, 1))).unwrap();
    assert_ne!(why_not(&test, 1, &asserted), "good", "a stranger's passkey");
    let mut asserted = phone.assert(&options(challenge(&test, 2))).unwrap();
    asserted["response"]["signature"] =
        stranger.assert(&json!({"challenge": "AA"})).unwrap()["response"]["signature"].clone();
    assert_ne!(why_not(&test, 2, &asserted), "good", "a stranger's signature");
    assert_eq!(why_not(&test, 3, &json!("x")), "no challenge is open for this intent");
    challenge(&test, 4);
    assert_eq!(why_not(&test, 4, &json!({"id": "x"})), "the assertion is malformed");
}

#[tokio::test]
async fn a_passkey_whose_counter_goes_back_was_copied() {
    let (test, mut phone) = connected(STEP_UP).await;
    enrol(&test, &mut phone);
    let use_it =
        |phone: &mut Authenticator, n| why_not(&test, n, &phone.assert(&options(challenge(&test, n))).unwrap());
    assert_eq!(use_it(&mut phone, 1), "good");
    assert_eq!(use_it(&mut phone, 2), "good");
    // Without the key an attacker cannot make a passkey look copied.
    let mut forged = phone.assert(&options(challenge(&test, 3))).unwrap();
    phone.counter = Some(0);
    let low = phone.assert(&json!({"challenge": "AA"})).unwrap();
    forged["response"]["authenticatorData"] = low["response"]["authenticatorData"].clone();
    assert_ne!(why_not(&test, 3, &forged), "good");
    phone.counter = Some(9);
    assert_eq!(use_it(&mut phone, 4), "good", "the forgery changed nothing");
    assert_eq!(test.server.alarms.raised(Alarm::PasskeyCopied), 0);
    phone.counter = Some(5);
    assert_ne!(use_it(&mut phone, 5), "good");
    assert_eq!(test.server.alarms.raised(Alarm::PasskeyCopied), 1);
    let state = || passkeys::list(&test.server, &user("alice#1")).unwrap()["passkeys"][0]["state"].clone();
    assert_eq!(state(), "copied");
    assert_eq!(challenge(&test, 6), StepUp::NoPasskey, "refused from then on");
}

#[tokio::test]
async fn of_two_challenges_at_once_a_counter_serves_the_later_alone() {
    let (test, mut phone) = connected(STEP_UP).await;
    enrol(&test, &mut phone);
    let (one, two) = (options(challenge(&test, 1)), options(challenge(&test, 2)));
    let (first, second) = (phone.assert(&one).unwrap(), phone.assert(&two).unwrap());
    assert_eq!(why_not(&test, 1, &first), "good");
    assert_eq!(why_not(&test, 2, &second), "good");
    let (one, two) = (options(challenge(&test, 3)), options(challenge(&test, 4)));
    let first = phone.assert(&one).unwrap();
    phone.counter = phone.counter.map(|counter| counter - 1);
    let copy = phone.assert(&two).unwrap();
    assert_eq!(why_not(&test, 3, &first), "good");
    assert_eq!(why_not(&test, 4, &copy), "this passkey was copied, and is refused", "the same count twice");
    assert_eq!(test.server.alarms.raised(Alarm::PasskeyCopied), 1);
}

#[tokio::test]
async fn a_passkey_that_counts_nothing_need_not_begin() {
    let (test, mut phone) = connected(STEP_UP).await;
    phone.counter = None;
    enrol(&test, &mut phone);
    for n in 1..4 {
        assert_eq!(why_not(&test, n, &phone.assert(&options(challenge(&test, n))).unwrap()), "good");
    }
}

#[tokio::test]
async fn where_a_passkey_is_needed_it_vouches_for_its_successor() {
    let (test, mut phone) = connected(STEP_UP).await;
    enrol(&test, &mut phone);
    let remove = |n| passkeys::remove(&test.server, &user("alice#1"), phone.id(), intent(n));
    assert_eq!(status(begin(&test)), (482, "INTENT_STEP_UP"));
    assert_eq!(status(remove(1)), (482, "INTENT_STEP_UP"));
    let until = Timestamp::from_seconds(NOW + 30);
    let asked = |n| {
        passkeys::challenge(&test.server, &user("alice#1"), need(&test, "passkeys.begin"), intent(n), until).unwrap()
    };
    let asserted = Authenticator::assert;
    let mut phone = phone;
    let answer = asserted(&mut phone, &options(asked(2))).unwrap();
    assert_eq!(why_not(&test, 2, &answer), "good");
    let as_asked = |n| passkeys::begin(&test.server, &user("alice#1"), "key", intent(n));
    assert_eq!(status(as_asked(3)), (482, "INTENT_STEP_UP"), "another intent");
    as_asked(2).unwrap();
    assert_eq!(status(as_asked(2)), (482, "INTENT_STEP_UP"), "once");
    // A step-up for another call does not count for this one.
    let answer = asserted(&mut phone, &options(challenge(&test, 4))).unwrap();
    assert_eq!(why_not(&test, 4, &answer), "good");
    assert_eq!(status(as_asked(4)), (482, "INTENT_STEP_UP"));
}

#[tokio::test]
async fn without_a_passkey_a_call_that_needs_one_is_refused_and_others_are_not() {
    let (test, _) = connected(STEP_UP).await;
    let until = Timestamp::from_seconds(NOW + 30);
    let asked =
        |name| passkeys::challenge(&test.server, &user("alice#1"), need(&test, name), intent(1), until).unwrap();
    assert_eq!(asked("files.trash"), StepUp::NoPasskey);
    assert_eq!(asked("files.browse"), StepUp::NotNeeded);
    assert_eq!(asked("passkeys.begin"), StepUp::NotNeeded, "the first is taken on the signature");
}

#[tokio::test]
async fn one_user_has_so_many_challenges_open_and_leaves_the_others_theirs() {
    let (test, mut phone) = connected(STEP_UP).await;
    enrol(&test, &mut phone);
    for n in 0..16 {
        assert!(matches!(challenge(&test, n), StepUp::Challenge { .. }));
    }
    assert_eq!(challenge(&test, 16), StepUp::TooMany);
    assert!(matches!(challenge(&test, 3), StepUp::Challenge { .. }), "open already");
    test.now.fetch_add(31, Ordering::SeqCst);
    let until = Timestamp::from_seconds(NOW + 60);
    let after =
        passkeys::challenge(&test.server, &user("alice#1"), need(&test, "files.trash"), intent(17), until).unwrap();
    assert!(matches!(after, StepUp::Challenge { .. }), "the others are over");
}

#[tokio::test]
async fn passkeys_end_with_the_connection() {
    let (test, mut phone) = connected(STEP_UP).await;
    enrol(&test, &mut phone);
    let open = options(challenge(&test, 1));
    test.server.records.disconnect(Authority::Core, &user("alice#1")).unwrap();
    assert!(test.server.records.passkeys(&user("alice#1")).unwrap().is_none());
    assert_ne!(why_not(&test, 1, &phone.assert(&open).unwrap()), "good");
    let options = begin(&test).unwrap();
    assert_eq!(
        status(finish(&test, &phone.register(&options["publicKey"]))),
        (404, "NOT_FOUND"),
        "nobody is connected"
    );
    test.connected().await;
    enrol(&test, &mut phone);
}
