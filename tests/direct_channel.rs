//! Tests of the direct channel between the user's browser and the gateway at a real installation.
//! Without Core, the browser lists, renews and removes keys, and the instance is started for it.
//! Core, a neighbour or the `ucloud` account can do nothing through it (P1, P2, P3).
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::socket::SEND;
use crate::support::test_site::{Accounts, PROVIDER, Part, Person, TestSite, said};
use countersign_portal::core::username_header;
use countersign_portal::signer::tree;
use countersign_portal::{Algorithm, Answer, Authenticator, BrowserKey, Deed, DirectPage, Intent};
use serde_json::{Value, json};

fn page(centre: &TestSite, person: &Person) -> DirectPage {
    DirectPage::open(centre.core.endpoint().clone(), PROVIDER, &person.username)
}

fn with_key(person: &Person, key: &BrowserKey) -> Person {
    Person { username: person.username.clone(), account: person.account, home: person.home.clone(), key: key.clone() }
}

fn verdict(answer: &Answer) -> (u16, String) {
    (answer.status, answer.error_code())
}

fn invalid() -> (u16, String) {
    (482, "INTENT_INVALID".to_owned())
}

/// The person's keys as `countersign keys list` shows them.
async fn listed(centre: &TestSite, person: &Person) -> Vec<Value> {
    let output = centre.run_as(person.account, &["keys", "list", "--json"]).await;
    assert!(output.status.success(), "{}", said(&output));
    let keys: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    // In a shared account the command lists the keys of all users.
    keys.into_iter().filter(|key| key["username"] == person.username).collect()
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v50_a_key_is_renewed_by_the_one_before_and_that_one_removed() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let page = page(&centre, &alice);
    assert!(centre.accounts == Accounts::Shared || centre.pid(Part::Instance("alice")).is_none());
    let first = page.list(&alice.key).await.unwrap();
    assert!(first.is_ok(), "the instance is started for whoever signed: {first:?}\n{}", centre.last_words());
    let keys = first.json()["keys"].clone();
    assert_eq!(keys.as_array().unwrap().len(), 1, "{keys}");
    assert_eq!(
        (&keys[0]["kid"], &keys[0]["state"], &keys[0]["pinned"]),
        (&json!(alice.key.kid()), &json!("active"), &json!(true))
    );
    let known = listed(&centre, &alice).await;
    assert_eq!((&keys[0]["words"], &keys[0]["fingerprint"]), (&known[0]["words"], &known[0]["fingerprint"]));
    assert_eq!(keys[0]["words"].as_array().unwrap().len(), 6);

    let mut new = BrowserKey::make(Algorithm::Es256).unwrap();
    let renewed = page.renew(&alice.key, &mut new).await.unwrap();
    assert!(renewed.is_ok(), "{renewed:?}\n{}", centre.last_words());
    for key in [&alice.key, &new] {
        let answer = centre.browse(&with_key(&alice, key), "/home").await;
        assert!(answer.is_ok(), "both keys work: {answer:?}");
    }
    let known = listed(&centre, &alice).await;
    let of_new = known.iter().find(|key| key["kid"] == new.kid()).unwrap();
    assert_eq!(
        (&of_new["state"], &of_new["pinned"], &of_new["name"]),
        (&json!("active"), &json!(true), &json!("renewed"))
    );
    assert_eq!(of_new["expires"], renewed.json()["expires"]);

    let removed = page.remove(&new, alice.key.kid()).await.unwrap();
    assert_eq!((removed.status, removed.json()), (200, json!({})), "{removed:?}");
    // At once, through Core and on the direct channel.
    let refused = centre.perform(&alice, &Deed::create_folder("/home/after")).await;
    assert_eq!(verdict(&refused), invalid());
    assert_eq!(verdict(&page.list(&alice.key).await.unwrap()), invalid());
    assert!(!alice.home.join("after").exists());
    let pins = fs::read_to_string(alice.home.join(".config/countersign/authorized_keys")).unwrap();
    assert!(pins.contains(new.kid()) && !pins.contains(alice.key.kid()), "{pins}");
    assert!(centre.browse(&with_key(&alice, &new), "/home").await.is_ok());

    // The last key too: the user removes this browser.
    let removed = page.remove(&new, new.kid()).await.unwrap();
    assert_eq!(removed.status, 200, "{removed:?}");
    assert_eq!(verdict(&page.list(&new).await.unwrap()), invalid());
    assert!(listed(&centre, &alice).await.iter().all(|key| key["state"] == "revoked" && key["pinned"] == false));
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn p2_core_gets_nothing_out_of_this_lane() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let bob = centre.connect("bob").await;
    let page = page(&centre, &alice);
    let mut cores_own = BrowserKey::make(Algorithm::Es256).unwrap();
    let renewal = page.renewal(&alice.key, &cores_own, "core").unwrap();
    let token = format!("Bearer {}", centre.keys.core2_token(countersign_portal::now()).unwrap());
    let username = username_header(&alice.username);

    // An intent for the direct channel that Core has obtained, with all other credentials of Core.
    let intent = page.intent("keys.list", &json!({})).unwrap().sign(&alice.key).unwrap();
    let signed = ("ucloud-signed-intent", &*intent);
    for headers in [
        vec![signed, ("authorization", &token)],
        vec![signed, ("authorization", &token), ("ucloud-username", &username)],
        vec![signed, ("ucloud-username", &username)],
        vec![("authorization", &token), ("ucloud-username", &username)],
    ] {
        let answer = page.ask_raw("keys.list", &headers, &json!({})).await.unwrap();
        assert_eq!(verdict(&answer), (400, "BAD_REQUEST".to_owned()), "{headers:?}");
    }
    // For another call, with other parameters, or from Core's own pages: refused.
    assert_eq!(verdict(&page.ask_raw("keys.renew", &[signed], &renewal).await.unwrap()), invalid());
    assert_eq!(verdict(&page.ask_raw("keys.list", &[signed], &json!({"kid": "x"})).await.unwrap()), invalid());
    let origin = centre.control.origin();
    let from_core = page.ask_raw("keys.list", &[signed, ("origin", &origin)], &json!({})).await.unwrap();
    assert_eq!(verdict(&from_core), (403, "FORBIDDEN".to_owned()));
    // It works once, as the user signed it; then it is used.
    assert_eq!(page.ask_raw("keys.list", &[signed], &json!({})).await.unwrap().status, 200);
    let again = page.ask_raw("keys.list", &[signed], &json!({})).await.unwrap();
    assert_eq!(verdict(&again), (482, "INTENT_REPLAYED".to_owned()));

    // Core tries to vouch for its own key with it, and another user for theirs.
    assert_eq!(verdict(&page.renew(&cores_own.clone(), &mut cores_own).await.unwrap()), invalid());
    assert_eq!(verdict(&page.renew(&bob.key, &mut cores_own).await.unwrap()), invalid());
    // Core exchanges the key of a renewal on the way, with its own proof.
    let mut new = BrowserKey::make(Algorithm::Es256).unwrap();
    let honest = page.renewal(&alice.key, &new, "alice").unwrap();
    let intent = page.intent("keys.renew", &honest).unwrap().sign(&alice.key).unwrap();
    let swapped = page.ask_raw("keys.renew", &[("ucloud-signed-intent", &intent)], &renewal).await.unwrap();
    assert_eq!(verdict(&swapped), invalid());
    assert_eq!(listed(&centre, &alice).await.len(), 1, "nothing was enrolled by any of this");
    // A key whose possession the user has not proven.
    let mut unproven = honest.clone();
    unproven["jwk"] = cores_own.public_jwk();
    let answer = page.ask(&alice.key, "keys.renew", &unproven).await.unwrap();
    assert_eq!(verdict(&answer), (400, "KEY_REFUSED".to_owned()));
    // A user cannot remove another user's key.
    let answer = page.remove(&alice.key, bob.key.kid()).await.unwrap();
    assert_eq!(answer.status, 404, "{answer:?}");
    assert!(centre.browse(&bob, "/home").await.is_ok());
    assert!(page.renew(&alice.key, &mut new).await.unwrap().is_ok());
}

#[tokio::test]
#[ignore = "needs an installation with accounts of its own: run by ./test"]
async fn p3_whoever_has_the_gateways_account_renews_no_key() {
    let centre = TestSite::open().await;
    if centre.accounts == Accounts::Shared {
        return; // all users share one account here
    }
    let alice = centre.connect("alice").await;
    let page = page(&centre, &alice);
    let used = page.intent("keys.list", &json!({})).unwrap().sign(&alice.key).unwrap();
    assert!(page.ask_raw("keys.list", &[("ucloud-signed-intent", &used)], &json!({})).await.unwrap().is_ok());
    let sockets = fs::read_dir(centre.state.join("instances")).unwrap().map(|entry| entry.unwrap().path());
    let socket = sockets.into_iter().next().expect("alice's socket");
    let send = async |call: &str, headers: &[(&str, &str)], body: &Value| {
        let body = body.to_string();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!(
            "POST /ucloud/{PROVIDER}/{} HTTP/1.1\r\nhost: instance\r\n{headers}content-length: {}\r\n\r\n{body}",
            call.replace('.', "/"),
            body.len()
        );
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let file = directory.path().join("request");
        fs::write(&file, request).unwrap();
        let output = centre.shell_as("ucloud", &format!("{SEND} {} {}", socket.display(), file.display())).await;
        format!("{}{}", String::from_utf8_lossy(&output.stdout), said(&output))
    };
    let mut own = BrowserKey::make(Algorithm::Es256).unwrap();
    own.set_kid(alice.key.kid());
    let item = page.renewal(&alice.key, &own, "ucloud").unwrap();
    let forged = page.intent("keys.renew", &item).unwrap().sign(&own).unwrap();
    let token = format!("Bearer {}", centre.keys.core2_token(countersign_portal::now()).unwrap());
    let check = |what: &str, answer: String, want: &str| assert!(answer.contains(want), "{what}: {answer}");
    check("no intent", send("keys.renew", &[], &item).await, "INTENT_REQUIRED");
    check("Core's token", send("keys.renew", &[("authorization", &token)], &item).await, "BAD_REQUEST");
    check("a key of its own", send("keys.renew", &[("ucloud-signed-intent", &forged)], &item).await, "INTENT_INVALID");
    check("an intent seen", send("keys.list", &[("ucloud-signed-intent", &used)], &json!({})).await, "INTENT_REPLAYED");
    // A key that was only activated at the server opens nothing: the user controls the pins.
    assert_eq!(listed(&centre, &alice).await.len(), 1);
    let pins = fs::read_to_string(alice.home.join(".config/countersign/authorized_keys")).unwrap();
    assert_eq!(pins.lines().count(), 1, "{pins}");
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v44_a_call_that_needs_a_passkey_is_done_with_one_and_not_without() {
    let centre = TestSite::open_with_a_name("[intent]\nstep_up = [\"files.trash\"]\n").await;
    let alice = centre.connect("alice").await;
    let (page, mut phone) = (page(&centre, &alice), Authenticator::new(&centre.origin()).unwrap());
    let step_up = (482, "INTENT_STEP_UP".to_owned());
    assert!(centre.perform(&alice, &Deed::create_folder("/home/a")).await.is_ok());
    let trash = || Deed::trash("/home/a");
    let sign = || {
        Intent::of(&page.origin, &alice.username, &trash(), countersign_portal::now())
            .unwrap()
            .sign(&alice.key)
            .unwrap()
    };
    let send = async |intent: &str| {
        let request = centre.core.request(&alice.username, &trash(), Some(intent)).unwrap();
        centre.core.invoke(&request).await.unwrap()
    };
    // Without a passkey.
    assert_eq!(verdict(&send(&sign()).await), step_up);
    let refused = centre.core.deposit(&sign()).await.unwrap();
    assert_eq!((verdict(&refused), refused.text("why")), (step_up.clone(), "enrol a passkey first".to_owned()));

    let begun = page.ask(&alice.key, "passkeys.begin", &json!({ "name": "phone" })).await.unwrap();
    assert!(begun.is_ok(), "{begun:?}\n{}", centre.last_words());
    let made = phone.register(&begun.json()["publicKey"]);
    let signed =
        page.intent("passkeys.finish", &json!({ "credential": tree(made.clone()) })).unwrap().sign(&alice.key).unwrap();
    let headers = [("ucloud-signed-intent", &*signed)];
    let finished = page.ask_raw("passkeys.finish", &headers, &json!({ "credential": made })).await.unwrap();
    assert_eq!(finished.text("id"), phone.id(), "{finished:?}\n{}", centre.last_words());
    let listed = page.ask(&alice.key, "passkeys.list", &json!({})).await.unwrap();
    assert_eq!(listed.json()["passkeys"][0]["name"], "phone");
    assert_eq!(verdict(&page.ask(&alice.key, "passkeys.begin", &json!({ "name": "mine" })).await.unwrap()), step_up);

    // With a passkey; the server was restarted in between.
    let starts = centre.starts();
    centre.kill(Part::Server);
    centre.until("another server serves", async || centre.starts() > starts && centre.serves().await).await;
    let intent = sign();
    let challenged = centre.core.deposit(&intent).await.unwrap();
    assert_eq!(challenged.status, 202, "{challenged:?}\n{}", centre.last_words());
    assert_eq!(verdict(&send(&intent).await), step_up, "before the assertion");
    assert!(alice.home.join("a").exists());
    let credential = phone.assert(&challenged.json()["stepUp"]["publicKey"]).unwrap();
    let body = json!({ "intent": intent, "credential": credential });
    let origin = page.origin.clone();
    let asserted = page.ask_raw("intents.assertion", &[("origin", &origin)], &body).await.unwrap();
    assert_eq!((asserted.status, asserted.json()), (202, json!({})), "{}", centre.last_words());
    let done = send(&intent).await;
    assert!(done.is_ok(), "{done:?}\n{}", centre.last_words());
    assert!(!alice.home.join("a").exists());
}
