//! Tests of the direct channel: what passes without Core, and that neither lane
//! accepts the other's calls.

use std::sync::atomic::Ordering;

use countersign_keys::call::RowSpec;
use countersign_portal::signer::Projection;
use serde_json::json;

use super::*;

const LIST: &str = "/ucloud/hpc/keys/list";
const TO_SERVER: &str = "/ucloud/hpc/test/own";
const JSON: (&str, &str) = ("content-type", "application/json");

/// A row for the server, besides the standard ones.
pub(super) fn row_to_the_server() -> RowSpec {
    serde_json::from_value(json!({
        "call": "test.own", "method": "POST", "path": "/ucloud/{p}/test/own", "from": "user", "to": "server",
        "items": "whole", "bound": [{"name": "id", "at": ["/id"]}], "class": "danger",
    }))
    .unwrap()
}

impl TestGateway {
    /// An intent of alice's for one item with these parameters, issued now.
    fn direct_intent(&self, call: &str, item: &serde_json::Value) -> Intent {
        let members = item.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.clone()));
        let items = [Projection(members.collect())];
        Intent::new(ORIGIN, "alice", call, &items, countersign_portal::now()).unwrap()
    }

    pub(super) fn own_signed(&self, call: &str, item: &serde_json::Value) -> String {
        self.direct_intent(call, item).sign(&self.alice.lock().unwrap().key).unwrap()
    }

    async fn ask(&self, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        verdict(&self.core.send_http(plain_request("POST", path, headers, body)).await.unwrap())
    }
}

#[tokio::test]
async fn an_own_call_reaches_the_instance_with_its_intent_alone() {
    let test = TestGateway::new().await;
    let intent = test.own_signed("keys.list", &json!({}));
    let headers = [JSON, ("ucloud-signed-intent", &intent), ("origin", ORIGIN), ("cookie", "a=b"), ("x-other", "1")];
    let answer = test.core.send_http(plain_request("POST", LIST, &headers, "{}")).await.unwrap();
    assert_eq!((answer.status, answer.json()), (200, json!({"ok": true})));
    let saw = test.upstream_saw();
    assert!(saw.starts_with("POST /ucloud/hpc/keys/list HTTP/1.1\r\n"), "{saw}");
    assert!(saw.contains(&intent) && saw.ends_with("\r\n\r\n{}"), "{saw}");
    for absent in ["authorization", "ucloud-username", "cookie", "origin", "x-other"] {
        assert!(!saw.to_lowercase().contains(absent), "{absent} went upstream");
    }
    assert_eq!(test.last_decision(), ("answered".to_owned(), String::new()));
    assert_eq!(test.decisions(), 2);
}

impl TestGateway {
    async fn refuses(&self, name: &str, headers: &[(&str, &str)], body: &str, want: (u16, &str), reason: &str) {
        assert_eq!(self.ask(LIST, headers, body).await, (want.0, want.1.to_owned()), "{name}");
        let (decision, why) = self.last_decision();
        assert_eq!(decision, "refuse", "{name}");
        assert!(why.contains(reason), "{name}: {why}");
    }
}

/// The upstream sees no byte of these, and the intent is not consumed: it passes at the end.
#[tokio::test]
async fn v48_what_an_own_call_lacks_or_has_too_much_is_refused() {
    let test = TestGateway::new().await;
    let good = test.own_signed("keys.list", &json!({}));
    let signed = ("ucloud-signed-intent", &*good);
    let bearer = format!("Bearer {}", test.core.token().unwrap());
    let (good_token, bad_token) = (("authorization", &*bearer), ("authorization", "Bearer x.y.z"));
    let origin = |origin| [JSON, signed, ("origin", origin)];
    let (malformed, forbidden) = ((400, "BAD_REQUEST"), (403, "FORBIDDEN"));
    test.refuses("no intent", &[JSON], "{}", (482, "INTENT_REQUIRED"), "no intent").await;
    test.refuses("Core's good token", &[JSON, signed, good_token], "{}", malformed, "authorization").await;
    test.refuses("Core's token alone", &[JSON, good_token], "{}", malformed, "authorization").await;
    test.refuses("a bad token", &[JSON, signed, bad_token], "{}", malformed, "authorization").await;
    let username = ("ucloud-username", "YWxpY2U=");
    test.refuses("a username", &[JSON, signed, username], "{}", malformed, "ucloud-username").await;
    test.refuses("two intents", &[JSON, signed, signed], "{}", malformed, "more than once").await;
    test.refuses("Core's page", &origin(CORE_ORIGIN), "{}", forbidden, "another origin").await;
    test.refuses("any page", &origin("https://evil.example"), "{}", forbidden, "another origin").await;
    test.refuses("a page in a sandbox", &origin("null"), "{}", forbidden, "another origin").await;
    test.refuses("a form", &[("content-type", "text/plain"), signed], "{}", malformed, "content type").await;
    test.refuses("no content type", &[signed], "{}", malformed, "content type").await;
    test.refuses("no object", &[JSON, signed], "[]", malformed, "no items").await;
    let long = " ".repeat(64 * 1024 + 1);
    test.refuses("a long body", &[JSON, signed], &long, (413, "BAD_REQUEST"), "body").await;
    test.refuses("a member more", &[JSON, signed], r#"{"kid":"x"}"#, (482, "INTENT_INVALID"), "kid").await;
    assert_eq!(test.upstream_saw(), "");
    assert_eq!(test.ask(LIST, &origin(ORIGIN), "{}").await.0, 200);
    assert_eq!(test.ask(LIST, &[JSON, signed], "{}").await, (482, "INTENT_REPLAYED".to_owned()));
    assert_eq!(test.upstream_saw().matches("POST /ucloud/").count(), 1);
}

#[tokio::test]
async fn an_own_call_takes_an_intent_for_exactly_that_call_of_a_known_key() {
    let test = TestGateway::new().await;
    let altered = |alter: &dyn Fn(&mut Intent)| {
        let mut intent = test.direct_intent("keys.list", &json!({}));
        alter(&mut intent);
        intent.sign(&test.alice.lock().unwrap().key).unwrap()
    };
    let now = countersign_portal::now();
    let stranger = Signer::new("alice");
    let (invalid, stale) = ((482, "INTENT_INVALID"), (482, "INTENT_STALE"));
    let cases = [
        ("another call", altered(&|intent| intent.call = "keys.remove".to_owned()), invalid, "call"),
        ("another provider", altered(&|intent| intent.aud = CORE_ORIGIN.to_owned()), invalid, "aud"),
        ("another user", altered(&|intent| intent.username = "bob".to_owned()), invalid, "no such key"),
        ("other parameters", altered(&|intent| intent.params = vec!["A".repeat(43)]), invalid, "parameters"),
        ("late", altered(&|intent| (intent.iat, intent.exp) = (now - 90, now - 60)), stale, "expired"),
        ("early", altered(&|intent| (intent.iat, intent.exp) = (now + 60, now + 90)), stale, "future"),
        (
            "an unknown key",
            test.direct_intent("keys.list", &json!({})).sign(&stranger.key).unwrap(),
            invalid,
            "no such key",
        ),
        ("no JWS", "x".to_owned(), invalid, "JWS"),
        ("an intent for Core's lane", test.sign(&Deed::browse("/1")), invalid, "call"),
    ];
    for (name, intent, want, reason) in cases {
        test.refuses(name, &[JSON, ("ucloud-signed-intent", &intent)], "{}", want, reason).await;
    }
    assert_eq!(test.upstream_saw(), "");
}

#[tokio::test]
async fn v01_no_lane_leads_into_the_other() {
    let test = TestGateway::new().await;
    let deed = Deed::trash("/1/a");
    let body = String::from_utf8(test.good_head(&deed).1.to_vec()).unwrap();
    let username = test.alice.lock().unwrap().username.to_header();
    // A request that passed through Core before, sent without Core's token.
    let intent = test.sign(&deed);
    for headers in [
        vec![JSON, ("ucloud-signed-intent", &*intent)],
        vec![JSON, ("ucloud-signed-intent", &intent), ("ucloud-username", &username)],
    ] {
        let (status, _) = test.ask("/ucloud/hpc/files/trash", &headers, &body).await;
        assert!(matches!(status, 400 | 401), "{status}");
    }
    // A direct call, sent by Core in its usual way.
    let own = test.own_signed("keys.list", &json!({}));
    let answer = test.core.call("POST", "keys/list", Some("alice"), Some(&own), Some(b"{}")).await.unwrap();
    assert_eq!(verdict(&answer), (400, "BAD_REQUEST".to_owned()));
    assert_eq!(test.upstream_saw(), "");
    // No preflight, other method or query reaches it, and no deposit waits for it.
    let headers = [("origin", CORE_ORIGIN), ("access-control-request-method", "POST")];
    let preflight = plain_request("OPTIONS", LIST, &headers, "");
    assert_eq!(test.core.send_http(preflight).await.unwrap().status, 404);
    for (method, path) in
        [("GET", LIST), ("PUT", LIST), ("POST", "/ucloud/hpc/keys/list?x=1"), ("POST", "/ucloud/other/keys/list")]
    {
        let request = plain_request(method, path, &[JSON, ("ucloud-signed-intent", &own)], "{}");
        assert_eq!(test.core.send_http(request).await.unwrap().status, 404, "{method} {path}");
    }
    let deposit = plain_request("POST", "/ucloud/hpc/intents", &[("content-type", "application/jwt")], &own);
    assert_eq!(verdict(&test.core.send_http(deposit).await.unwrap()), (482, "INTENT_INVALID".to_owned()));
    assert_eq!(test.upstream_saw(), "");
}

#[tokio::test]
async fn what_is_for_the_server_goes_to_the_server_and_needs_no_instance() {
    let test = TestGateway::new().await;
    test.instance_is_up.store(false, Ordering::SeqCst);
    test.launches.store(false, Ordering::SeqCst);
    std::fs::remove_file(test.directory.path().join("instance.sock")).unwrap();
    let item = json!({"id": "x"});
    let intent = test.own_signed("test.own", &item);
    let headers = [JSON, ("ucloud-signed-intent", &*intent)];
    assert_eq!(test.ask(TO_SERVER, &headers, r#"{"id":"y"}"#).await, (482, "INTENT_INVALID".to_owned()));
    assert_eq!(test.ask(TO_SERVER, &headers, &item.to_string()).await.0, 200);
    assert!(test.upstream_saw().contains("POST /ucloud/hpc/test/own HTTP/1.1\r\n"));
    assert!(!test.upstream_saw().contains("authorization"));
}

#[tokio::test]
async fn an_instance_that_is_not_up_is_started_for_whoever_signed() {
    let test = TestGateway::new().await;
    test.instance_is_up.store(false, Ordering::SeqCst);
    let unsigned = test.ask(LIST, &[JSON, ("ucloud-signed-intent", "x.y.z")], "{}").await;
    assert_eq!(unsigned.0, 482);
    assert!(!test.instance_is_up.load(Ordering::SeqCst), "nobody starts a user's process but that user");
    test.launches.store(false, Ordering::SeqCst);
    let intent = test.own_signed("keys.list", &json!({}));
    let headers = [JSON, ("ucloud-signed-intent", &*intent)];
    assert_eq!(test.ask(LIST, &headers, "{}").await, (449, "NO_INSTANCE".to_owned()));
    test.launches.store(true, Ordering::SeqCst);
    assert_eq!(test.ask(LIST, &headers, "{}").await.0, 200, "the intent was not used up");
    assert!(test.upstream_saw().starts_with("POST /ucloud/hpc/keys/list HTTP/1.1\r\n"));
}

#[tokio::test]
async fn v18_a_revoked_key_asks_nothing() {
    let test = TestGateway::new().await;
    test.revoke();
    let intent = test.own_signed("keys.list", &json!({}));
    assert_eq!(
        test.ask(LIST, &[JSON, ("ucloud-signed-intent", &intent)], "{}").await,
        (482, "INTENT_INVALID".to_owned())
    );
    assert!(test.last_decision().1.contains("revoked"));
}

#[tokio::test]
async fn one_address_asks_so_often_and_no_more() {
    let test = TestGateway::new().await;
    let mut refused = 0;
    for _ in 0..200 {
        refused += usize::from(test.ask(LIST, &[JSON], "{}").await.0 == 429);
    }
    assert!(refused > 0);
}
