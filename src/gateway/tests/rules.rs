//! Tests of rules that the server sends: they are in force on the next request, and change nothing
//! that the replay log depends on.

use countersign_config::GatewayRules;
use countersign_portal::Deed;
use serde_json::{Value, json};

use super::*;

/// As the server sends them, with these changes.
fn told(changes: &Value) -> GatewayRules {
    let mut rules = json!({
        "calls": [], "step_up": {"calls": [], "raised": false}, "v1": "refused", "deposit_wait_ms": 0, "proof": "required",
        "sealed": "preferred", "maintenance": "none",
    });
    for (key, value) in changes.as_object().unwrap() {
        rules[key] = value.clone();
    }
    serde_json::from_value(rules).unwrap()
}

#[tokio::test]
async fn a_call_is_served_from_the_moment_its_row_is_told_and_not_after_it_is_taken_away() {
    let test = TestGateway::new().await;
    let row = json!({
        "call": "site.start", "method": "POST", "path": "/ucloud/{p}/site/start", "items": "bulk",
        "bound": [{"name": "id", "at": ["/id"]}], "class": "danger",
        "words": {"one": "Start {id}", "many": "Start {n} of them", "button": "Start", "subjects": ["id"]},
    });
    let status = async || {
        let body = Some(r#"{"items":[{"id":"1"}]}"#);
        test.core.call("POST", "site/start", Some("alice"), body, None).await.unwrap().status
    };
    assert_eq!(status().await, 404);
    test.gateway.rules.take_up(told(&json!({ "calls": [row] }))).unwrap();
    assert_eq!(status().await, 482, "there is such a call, and it has to be signed");
    test.gateway.rules.take_up(told(&json!({}))).unwrap();
    assert_eq!(status().await, 404);
}

#[tokio::test]
async fn a_passkey_is_needed_from_the_moment_the_call_is_told() {
    let test = TestGateway::new().await;
    let deed = Deed::create_folder("/1/a");
    let signed = || test.core.request("alice", &deed, Some(&test.sign(&deed))).unwrap();
    assert_eq!(test.core.send(&signed()).await.unwrap().status, 200);
    let step_up = json!({ "step_up": {"calls": ["files.createFolder"], "raised": false} });
    test.gateway.rules.take_up(told(&step_up)).unwrap();
    let refused = test.core.send(&signed()).await.unwrap();
    assert_eq!(verdict(&refused).0, 482, "{refused:?}");
    test.gateway.rules.take_up(told(&json!({ "maintenance": {"for_all_but": []} }))).unwrap();
    assert_eq!(verdict(&test.core.send(&signed()).await.unwrap()), (404, "MAINTENANCE".to_owned()));
}

#[tokio::test]
async fn p4_no_reload_changes_the_terms_that_the_replay_log_was_opened_for() {
    let test = TestGateway::new().await;
    let before = test.gateway.rules().policy.terms.clone();
    test.gateway.rules.take_up(told(&json!({ "v1": "accepted" }))).unwrap();
    let terms = test.gateway.rules().policy.terms.clone();
    assert_eq!((terms.audience, terms.window), (before.audience, before.window));
    assert_ne!(terms.version_1, before.version_1);
}

#[tokio::test]
async fn rules_that_cannot_be_used_change_nothing() {
    let test = TestGateway::new().await;
    let bad = json!({
        "maintenance": {"for_all_but": []},
        "calls": [{"call": "site.start", "method": "POST", "path": "/elsewhere", "items": "bulk", "bound": [], "class": "read"}],
    });
    assert!(test.gateway.rules.take_up(told(&bad)).is_err(), "its path is not of this provider");
    assert_eq!(test.gateway.rules().maintenance, Maintenance::None);
}
