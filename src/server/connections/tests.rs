//! The connection flow against the server's own functions, from the first click to the last key,
//! with a case for every refusal.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use countersign_keys::call::{ResourceKind, ServiceCall};
use countersign_keys::enrolment::{Code, TicketHash};
use countersign_keys::identity::{KeyId, Uid};
use countersign_keys::keyring::{KeyState, Protocol, VerificationKey};
use countersign_keys::store::records::{Begun, Death};
use countersign_keys::time::Timestamp;
use countersign_portal::signer::{Projection, enrolment_proof, ticket_hash};
use countersign_portal::{Algorithm, BrowserKey, Intent};
use serde_json::{Value, json};

use super::{approval, list, offer};
use crate::core::service_calls;
use crate::gateway::channel::QueryHandler as _;
use crate::gateway::queries::StoreQueryHandler;
use crate::test_server::{ALICE, BOB, Browser, NOW, ORIGIN, TEST, TestServer, body, instance_key, status, user};
use countersign_audit::DecisionLog;
use countersign_ipc::alarm::Alarm;
use countersign_ipc::gateway_protocol::{Answer, Ended, Health, Question, Signer, UsedKey, Whereabouts};
use countersign_ipc::server_protocol::{
    Approve, Await, Awaited, ConnectList, KeyAdd, KeyRevoke, KeysList, Remove, Start,
};

#[tokio::test]
async fn a_connection_begun_at_core() {
    let test = TestServer::new("");
    let mut browser = test.begun_at_core("alice#1").await;
    let described = browser.describe(&test).await.unwrap();
    assert_eq!((&described["state"], &described["now"]), (&json!("open"), &json!(NOW)));
    assert_eq!(described["window"], json!({"lifetimeMax": 60, "futureSkew": 5}));
    let offered = browser.offer(&test).await.unwrap();
    let code = offered["code"].as_str().unwrap();
    assert_eq!(offered["command"], format!("countersign connect approve {code}"));
    assert_eq!(browser.status(&test).await["state"], "offered");
    let kid = offered["kid"].as_str().unwrap();
    assert_eq!(test.key_state("alice#1", kid), None, "V19: offered is not enrolled");

    let offer = test.find(ALICE, code).await.unwrap();
    assert_eq!((offer.username.as_str(), offer.name.as_str()), ("alice#1", "Firefox"));
    assert_eq!((offer.address.as_str(), offer.begun), ("192.0.2.7:4711", Begun::AtCore));
    assert_eq!(offer.ticket_hash, ticket_hash(&browser.ticket));
    let key = VerificationKey::from_spki_der(&STANDARD.decode(&offer.spki).unwrap(), offer.algorithm).unwrap();
    let hash = TicketHash::try_from(offer.ticket_hash.clone()).unwrap();
    assert_eq!(Code::of(&hash, &offer.username, &key).as_str(), code, "whoever approves can check the code");
    assert_eq!(offer.fingerprint, offered["fingerprint"]);
    assert_eq!(json!(key.words()), offered["words"]);
    let qr: Vec<&str> = offered["qr"].as_array().unwrap().iter().map(|row| row.as_str().unwrap()).collect();
    assert!(qr.iter().all(|row| row.len() == qr.len() && row.bytes().all(|module| matches!(module, b'0' | b'1'))));
    // The finder pattern in three corners of every QR code.
    for corner in [&qr[0][..7], &qr[0][qr.len() - 7..], &qr[qr.len() - 1][..7]] {
        assert_eq!(corner, "1111111");
    }

    let approved = test.approve(ALICE, "alice", code).await.unwrap();
    assert_eq!((approved.uid, approved.kid.to_string().as_str()), (ALICE, kid));
    assert_eq!(test.key_state("alice#1", kid), Some(KeyState::Active));
    let status = browser.status(&test).await;
    assert_eq!((&status["state"], &status["coreTold"]), (&json!("approved"), &json!(false)));
    assert_eq!(status["instanceKey"]["crv"], "P-256");

    let entry = test.server.records.outbox_after(None, 10).unwrap().remove(0);
    test.server.records.finish_entry(&entry).unwrap();
    assert_eq!(browser.status(&test).await["state"], "connected");

    browser.key.set_kid(kid);
    browser.probe(&test, "connect.probe", NOW).unwrap();
    assert_eq!(status_of_probe(&browser, &test, "files.browse", NOW), (482, "INTENT_INVALID"));
    assert_eq!(status_of_probe(&browser, &test, "connect.probe", NOW - 3600), (482, "INTENT_INVALID"));
    let stranger = Browser { key: BrowserKey::make(Algorithm::Es256).unwrap(), ticket: browser.ticket.clone() };
    assert_eq!(status_of_probe(&stranger, &test, "connect.probe", NOW), (482, "INTENT_INVALID"));
}

fn status_of_probe(browser: &Browser, test: &TestServer, call: &str, now: i64) -> (u16, &'static str) {
    status(browser.probe(test, call, now))
}

#[tokio::test]
async fn v47_a_connection_begun_at_the_centre_is_for_that_uid_alone() {
    let test = TestServer::new("[mapping]\nstart = \"provider\"\ntype = \"ticket\"\n");
    let redirect = test.core(ServiceCall::Connect, "alice#1").await.unwrap();
    let at_core = Browser::at(redirect["redirectTo"].as_str().unwrap());
    assert_eq!(status(at_core.offer(&test).await), (409, "CONFLICT"), "Core's ticket takes no key");

    let started = approval::start(&test.server, ALICE, Start { username: user("alice#1") }).await.unwrap();
    let browser = Browser::at(&started.url);
    assert_eq!(browser.ticket, started.ticket);
    let wait = |uid| approval::wait_for_offer(&test.server, uid, Await { ticket: started.ticket.clone() });
    assert_eq!(status(wait(BOB).await), (404, "NOT_FOUND"));
    let offering = async {
        let offered = browser.offer(&test).await;
        browser.confirm(&test, &at_core).await.unwrap();
        offered
    };
    let (waited, offered) = tokio::join!(wait(ALICE), offering);
    let offered = offered.unwrap();
    let code = offered["code"].as_str().unwrap();
    let Awaited::Offered { offer } = waited.unwrap() else { panic!() };
    assert_eq!((offer.code.as_str(), offer.begun), (code, Begun::AtTheCentre));
    assert_eq!(status(test.find(BOB, code).await), (403, "NOT_YOURS"));
    assert_eq!(status(test.approve(BOB, "bob", code).await), (403, "NOT_YOURS"));
    test.approve(ALICE, "alice", code).await.unwrap();
    assert_eq!(wait(ALICE).await.unwrap(), Awaited::Approved);
}

#[tokio::test]
async fn v69_s06_a_local_account_takes_no_name_and_learns_of_none() {
    let test = TestServer::new("");
    // Alice is connected, carol is not. Bob, who knows both names, sees no difference.
    test.connected().await;
    for name in ["alice#1", "carol#1"] {
        let started = approval::start(&test.server, BOB, Start { username: user(name) }).await.unwrap();
        let browser = Browser::at(&started.url);
        let offered = browser.offer(&test).await.unwrap();
        let code = offered["code"].as_str().unwrap();
        assert_eq!(browser.status(&test).await["state"], "unconfirmed");
        for refusal in [test.find(BOB, code).await.unwrap_err(), test.approve(BOB, "bob", code).await.unwrap_err()] {
            assert_eq!((refusal.told.number(), refusal.told.code()), (409, "CONFLICT"), "{name}");
            assert!(refusal.to_string().contains("UCloud has not confirmed"), "{refusal}");
        }
        assert!(test.server.records.usernames(BOB).unwrap().is_empty());
        let list = KeysList { username: Some(user(name)) };
        assert_eq!(status(list::keys(&test.server, BOB, list)), (404, "NOT_FOUND"));
    }
    // When Core confirms carol's name, bob's account gets carol's connection. Alice's stays hers.
    let at_core = test.begun_at_core("carol#1").await;
    let started = approval::start(&test.server, BOB, Start { username: user("carol#1") }).await.unwrap();
    let browser = Browser::at(&started.url);
    let offered = browser.offer(&test).await.unwrap();
    browser.confirm(&test, &at_core).await.unwrap();
    assert_eq!(browser.status(&test).await["state"], "offered");
    test.approve(BOB, "bob", offered["code"].as_str().unwrap()).await.unwrap();
}

#[tokio::test]
async fn v69_s06_the_page_of_a_connection_that_ended_shows_nothing_of_the_next() {
    let test = TestServer::new("");
    let browser = test.connected().await;
    test.core(ServiceCall::Unlinked, "alice#1").await.unwrap();
    let new = test.begun_at_core("alice#1").await;
    let offered = new.offer(&test).await.unwrap();
    let code = offered["code"].as_str().unwrap();
    test.find(BOB, code).await.unwrap();
    assert_eq!(test.approve(BOB, "bob", code).await.unwrap().uid, BOB);
    assert_eq!(test.server.records.usernames(ALICE).unwrap(), []);
    let status = browser.status(&test).await;
    assert_eq!((&status["state"], &status["why"]), (&json!("dead"), &json!("withdrawn")), "not the new one's");
}

#[tokio::test]
async fn v45_a_second_offer_kills_the_ticket_and_both_sides_hear_of_it() {
    let test = TestServer::new("");
    let started = approval::start(&test.server, ALICE, Start { username: user("alice#1") }).await.unwrap();
    let (first, second) = (Browser::at(&started.url), Browser::at(&started.url));
    let (first_body, second_body) = (first.offer_body(&test).await, second.offer_body(&test).await);
    let offer = |content: &Value| {
        let content = body(content);
        let server = Arc::clone(&test.server);
        async move { offer::offer(&server, &content, "unknown".to_owned(), &TEST).await }
    };
    let code = offer(&first_body).await.unwrap()["code"].as_str().unwrap().to_owned();
    assert_eq!(test.server.alarms.raised(Alarm::SecondOffer), 0);
    assert_eq!(status(offer(&second_body).await), (409, "TICKET_DEAD"));
    assert_eq!(test.server.alarms.raised(Alarm::SecondOffer), 1);
    for browser in [&first, &second] {
        let status = browser.status(&test).await;
        assert_eq!((&status["state"], &status["why"]), (&json!("dead"), &json!("second_offer")));
    }
    let waited = approval::wait_for_offer(&test.server, ALICE, Await { ticket: started.ticket }).await;
    assert_eq!(waited.unwrap(), Awaited::Dead { why: Death::SecondOffer });
    assert_eq!(status(test.approve(ALICE, "alice", &code).await), (404, "NOT_FOUND"));
}

#[tokio::test]
async fn w01_a_user_whom_the_sites_program_maps_elsewhere_is_an_alarm() {
    for (mapped, want) in [(BOB, 1), (ALICE, 0)] {
        let program = format!("command = [\"/bin/echo\", '{{\"uid\":{mapped}}}']");
        let test = TestServer::new(&format!("[mapping]\ntype = \"command\"\n{program}\n"));
        let browser = test.begun_at_core("alice#1").await;
        let code = browser.offer(&test).await.unwrap()["code"].as_str().unwrap().to_owned();
        let approved = test.approve(ALICE, "alice", &code).await;
        assert_eq!((approved.is_err(), test.server.alarms.raised(Alarm::MapperDisagrees)), (want == 1, want));
    }
}

#[tokio::test]
async fn v13_v14_v46_offers_that_prove_nothing_are_refused_and_cost_nothing() {
    let test = TestServer::new("");
    let browser = test.begun_at_core("alice#1").await;
    let good = browser.offer_body(&test).await;
    let other = BrowserKey::make(Algorithm::Es256).unwrap();
    let nonce = browser.describe(&test).await.unwrap()["nonce"].as_str().unwrap().to_owned();
    let proof = |key: &BrowserKey, aud: &str, username: &str, nonce: &str| {
        json!(enrolment_proof(key, aud, &browser.ticket, username, nonce).sign(key).unwrap())
    };
    let with = |member: &str, value: Value| {
        let mut content = good.clone();
        content[member] = value;
        content
    };
    let check = async |content: Value, want: (u16, &str)| {
        let outcome = offer::offer(&test.server, &body(&content), "unknown".to_owned(), &TEST).await;
        assert_eq!(status(outcome), want, "{content}");
    };
    let refused = (400, "KEY_REFUSED");
    check(with("proof", proof(&other, ORIGIN, "alice#1", &nonce)), refused).await;
    check(with("proof", proof(&browser.key, "https://other.example.org", "alice#1", &nonce)), refused).await;
    check(with("proof", proof(&browser.key, ORIGIN, "bob#1", &nonce)), refused).await;
    check(with("proof", proof(&browser.key, ORIGIN, "alice#1", "another")), refused).await;
    let intent = Intent::new(ORIGIN, "alice#1", "files.browse", &[Projection::new([])], NOW).unwrap();
    check(with("proof", json!(intent.sign(&browser.key).unwrap())), refused).await;
    let mut private = browser.key.public_jwk();
    private["d"] = json!("AAAA");
    assert_eq!(test.server.alarms.raised(Alarm::PrivateKeySent), 0);
    check(with("jwk", private), refused).await;
    assert_eq!(test.server.alarms.raised(Alarm::PrivateKeySent), 1);
    check(with("jwk", other.public_jwk()), refused).await;
    check(with("alg", json!("RS256")), refused).await;
    check(with("alg", json!("none")), (400, "BAD_REQUEST")).await;
    check(with("alg", json!("HS256")), (400, "BAD_REQUEST")).await;
    check(with("name", json!("two\nlines")), refused).await;
    check(with("name", json!("x".repeat(65))), refused).await;
    check(with("more", json!(1)), (400, "BAD_REQUEST")).await;
    check(with("ticket", json!("A".repeat(43))), (404, "NOT_FOUND")).await;
    check(with("ticket", json!("short")), (404, "NOT_FOUND")).await;
    let twice = Bytes::from(good.to_string().replacen('{', "{\"alg\":\"ES256\",", 1));
    assert_eq!(status(offer::offer(&test.server, &twice, String::new(), &TEST).await), (400, "BAD_REQUEST"));
    browser.offer(&test).await.unwrap();
}

#[tokio::test]
async fn approvals_that_are_not_the_users_own_are_refused() {
    let test = TestServer::new("");
    let browser = test.begun_at_core("alice#1").await;
    let offered = browser.offer(&test).await.unwrap();
    let code = offered["code"].as_str().unwrap();
    for (uid, account, want) in [
        (Uid(0), "root", (403, "ACCOUNT_REFUSED")),
        (Uid(999), "daemon", (403, "ACCOUNT_REFUSED")),
        (Uid(4711), "nobody-knows", (403, "ACCOUNT_REFUSED")),
        (ALICE, "bob", (403, "ACCOUNT_REFUSED")),
    ] {
        assert_eq!(status(test.approve(uid, account, code).await), want, "{uid}");
        assert_eq!(test.server.records.user(&user("alice#1")).unwrap(), None);
    }
    assert_eq!(status(test.find(Uid(0), code).await), (403, "ACCOUNT_REFUSED"));
    assert_eq!(status(test.approve(ALICE, "alice", "wrong").await), (400, "BAD_REQUEST"));
    let unknown = "aaaaaaaa-aaaaaaaa-aaaaaaaa-aaaaaaaa";
    assert_eq!(status(test.approve(ALICE, "alice", unknown).await), (404, "NOT_FOUND"));
    let weak = Approve { code: code.to_owned(), account: "alice".to_owned(), instance_key: "AAAA".to_owned() };
    assert_eq!(status(approval::approve(&test.server, ALICE, weak).await), (400, "KEY_REFUSED"));
    test.now.fetch_add(15 * 60, Ordering::SeqCst);
    assert_eq!(status(test.approve(ALICE, "alice", code).await), (409, "TICKET_DEAD"));
}

#[tokio::test]
async fn one_user_one_account_is_said_before_anything_is_pinned() {
    let test = TestServer::new("");
    test.connected().await;
    let bobs = test.begun_at_core("bob#1").await;
    let code = bobs.offer(&test).await.unwrap()["code"].as_str().unwrap().to_owned();
    assert_eq!(status(test.find(ALICE, &code).await), (409, "MAPPED_OTHERWISE"));
    assert_eq!(status(test.approve(ALICE, "alice", &code).await), (409, "MAPPED_OTHERWISE"));
    let start = |uid, name| approval::start(&test.server, uid, Start { username: user(name) });
    assert!(start(BOB, "alice#1").await.is_ok(), "who is connected is not bob's to know");
    assert_eq!(status(start(ALICE, "bob#1").await), (409, "MAPPED_OTHERWISE"));
    test.approve(BOB, "bob", &code).await.unwrap();
}

#[tokio::test]
async fn where_a_program_maps_users_its_word_and_the_uid_must_agree() {
    let test = TestServer::new(
        "[mapping]\nstart = \"either\"\ntype = \"command\"\n\
         command = [\"/bin/sh\", \"-c\", \"echo '{\\\"uid\\\":1101}'\"]\n",
    );
    let browser = test.begun_at_core("alice#1").await;
    let code = browser.offer(&test).await.unwrap()["code"].as_str().unwrap().to_owned();
    assert_eq!(status(test.find(ALICE, &code).await), (403, "MAPPED_OTHERWISE"));
    assert_eq!(status(test.approve(ALICE, "alice", &code).await), (403, "MAPPED_OTHERWISE"));
    test.approve(BOB, "bob", &code).await.unwrap();
}

#[tokio::test]
async fn p6_revocation_and_removal_reach_the_gateway_before_they_are_acknowledged() {
    let test = TestServer::new("");
    let browser = test.connected().await;
    let kid = KeyId::parse(browser.key.kid()).unwrap();
    let username = user("alice#1");
    test.told.lock().unwrap().clear();

    let revoke = |uid, named: Option<&str>| {
        approval::revoke_key(&test.server, uid, KeyRevoke { username: named.map(user), kid })
    };
    assert_eq!(status(revoke(BOB, None).await), (404, "NOT_FOUND"));
    assert_eq!(status(revoke(BOB, Some("alice#1")).await), (404, "NOT_FOUND"));
    revoke(ALICE, None).await.unwrap();
    assert_eq!(*test.told.lock().unwrap(), [Ended::Key { username: username.clone(), kid }]);
    assert_eq!(test.key_state("alice#1", browser.key.kid()), Some(KeyState::Revoked));
    assert_eq!(status_of_probe(&browser, &test, "connect.probe", NOW), (482, "INTENT_INVALID"));

    let remove = |uid, named: Option<&str>| approval::remove(&test.server, uid, Remove { username: named.map(user) });
    assert_eq!(status(remove(BOB, None).await), (404, "NOT_FOUND"));
    assert_eq!(status(remove(BOB, Some("alice#1")).await), (404, "NOT_FOUND"));
    assert_eq!(remove(Uid(0), Some("alice#1")).await.unwrap().usernames, std::slice::from_ref(&username));
    assert_eq!(test.told.lock().unwrap().last(), Some(&Ended::User { username }));
    assert_eq!(browser.status(&test).await["state"], "dead");
}

#[tokio::test]
async fn unlinked_ends_everything_and_is_no_error_twice() {
    let test = TestServer::new("");
    let browser = test.connected().await;
    for _ in 0..2 {
        assert_eq!(test.core(ServiceCall::Unlinked, "alice#1").await.unwrap(), json!({}));
    }
    assert_eq!(test.core(ServiceCall::Unlinked, "nobody#1").await.unwrap(), json!({}));
    assert_eq!(test.key_state("alice#1", browser.key.kid()), Some(KeyState::Revoked));
    assert_eq!(test.server.records.usernames(ALICE).unwrap(), []);
    assert_eq!(test.server.records.outbox_after(None, 10).unwrap(), [], "Core knows already");
}

#[tokio::test]
async fn keys_are_added_by_their_own_account_within_limits() {
    let test = TestServer::new("");
    test.connected().await;
    let add = |kid: u8| KeyAdd {
        username: None,
        kid: KeyId::from_bytes([kid; 16]),
        spki: instance_key(),
        algorithm: countersign_keys::jws::Algorithm::Es256,
        protocol: Protocol::V2,
        expires: Timestamp::from_seconds(NOW + 3600),
        name: "script".to_owned(),
    };
    let check = async |uid, add: KeyAdd, want: (u16, &str)| {
        assert_eq!(status(approval::add_key(&test.server, uid, add.clone()).await), want, "{add:?}");
    };
    check(BOB, add(1), (404, "NOT_FOUND")).await;
    check(Uid(0), KeyAdd { username: Some(user("alice#1")), ..add(1) }, (403, "ACCOUNT_REFUSED")).await;
    check(ALICE, KeyAdd { username: Some(user("bob#1")), ..add(1) }, (404, "NOT_FOUND")).await;
    check(ALICE, KeyAdd { protocol: Protocol::V1, ..add(1) }, (400, "KEY_REFUSED")).await;
    check(ALICE, KeyAdd { expires: Timestamp::from_seconds(NOW), ..add(1) }, (400, "KEY_REFUSED")).await;
    check(ALICE, KeyAdd { expires: Timestamp::from_seconds(NOW * 2), ..add(1) }, (400, "KEY_REFUSED")).await;
    check(ALICE, KeyAdd { name: String::new(), ..add(1) }, (400, "KEY_REFUSED")).await;
    check(ALICE, KeyAdd { spki: "AAAA".to_owned(), ..add(1) }, (400, "KEY_REFUSED")).await;
    approval::add_key(&test.server, ALICE, add(1)).await.unwrap();
    check(ALICE, add(1), (409, "KEY_REFUSED")).await;

    let list = |uid, named: Option<&str>| list::keys(&test.server, uid, KeysList { username: named.map(user) });
    assert_eq!(list(ALICE, None).unwrap().keys.len(), 2);
    assert_eq!(list(Uid(0), Some("alice#1")).unwrap().keys[1].name, "script");
    assert_eq!(status(list(BOB, Some("alice#1"))), (404, "NOT_FOUND"));
    assert_eq!(status(list(BOB, None)), (404, "NOT_FOUND"));
    let connections = |uid, all| list::connections(&test.server, uid, &ConnectList { after: None, all });
    assert_eq!(connections(ALICE, false).unwrap().connections[0].active_keys, 2);
    assert_eq!(connections(BOB, false).unwrap().connections, []);
    assert_eq!(connections(Uid(0), true).unwrap().connections.len(), 1);
    assert_eq!(status(connections(BOB, true)), (403, "NOT_YOURS"));
}

#[tokio::test]
async fn init_starts_nothing_for_users_without_a_connection_or_account() {
    let test = TestServer::new("");
    assert_eq!(status(test.core(ServiceCall::Init, "alice#1").await), (400, "BAD_REQUEST"));
    test.connected().await;
    std::fs::write(test.directory.path().join("broken"), "").unwrap();
    assert_eq!(status(test.core(ServiceCall::Init, "alice#1").await), (503, "UNAVAILABLE"));
    let log = test.directory.path().join("instance-1100.log");
    assert!(log.exists(), "it was launched");
}

#[tokio::test]
async fn r09_an_account_whose_instance_does_not_start_is_not_connected() {
    let test = TestServer::new("");
    std::fs::write(test.directory.path().join("broken"), "").unwrap();
    let browser = test.begun_at_core("alice#1").await;
    let offered = browser.offer(&test).await.unwrap();
    let code = offered["code"].as_str().unwrap();
    assert_eq!(status(test.approve(ALICE, "alice", code).await), (503, "UNAVAILABLE"));
    assert_eq!(test.key_state("alice#1", offered["kid"].as_str().unwrap()), None);
    // A repaired account can try again.
    std::fs::remove_file(test.directory.path().join("broken")).unwrap();
    test.approve(ALICE, "alice", code).await.unwrap();
}

#[tokio::test]
async fn the_gateway_is_answered_from_the_store() {
    let test = TestServer::new("");
    let browser = test.connected().await;
    let queries = StoreQueryHandler::new(Arc::clone(&test.server));
    let kid = KeyId::parse(browser.key.kid()).unwrap();
    let keys = |name: &str, kid| {
        let Answer::Keys { keys } = queries.answer(&Question::Key { username: user(name), kid }) else {
            panic!("keys")
        };
        keys.len()
    };
    assert_eq!(keys("alice#1", kid), 1);
    assert_eq!(keys("bob#1", kid), 0, "V17");
    assert_eq!(keys("alice#1", KeyId::from_bytes([0; 16])), 0);
    assert_eq!(test.server.records.last_use(&user("alice#1"), &kid).unwrap(), None, "asked for is not used");
    let instance_key = |name: &str| {
        let answer = queries.answer(&Question::InstanceKey { username: user(name) });
        let Answer::InstanceKey { spki } = answer else { panic!("an instance key") };
        spki
    };
    assert!(instance_key("alice#1").is_some());
    assert_eq!(instance_key("bob#1"), None);
    let instance = queries.answer(&Question::Instance { username: user("alice#1") });
    assert!(matches!(instance, Answer::Instance { instance: Whereabouts::Down }));
}

#[tokio::test]
async fn s18_a_keys_last_use_is_the_hour_in_which_the_gateway_said_so() {
    let test = TestServer::new("");
    let browser = test.connected().await;
    let queries = StoreQueryHandler::new(Arc::clone(&test.server));
    let kid = KeyId::parse(browser.key.kid()).unwrap();
    let last = |name: &str, kid| test.server.records.last_use(&user(name), &kid).unwrap().map(Timestamp::seconds);
    let used = |name: &str, kid| queries.used(&[UsedKey { username: user(name), kid }]);
    used("bob#1", kid);
    used("alice#1", KeyId::from_bytes([0; 16]));
    assert_eq!((last("bob#1", kid), last("alice#1", KeyId::from_bytes([0; 16]))), (None, None));
    // NOW is the first second of an hour.
    for (later, want) in [(0, NOW), (3_599, NOW), (3_600, NOW + 3_600), (90_000, NOW + 90_000)] {
        test.now.store(NOW + later, Ordering::SeqCst);
        used("alice#1", kid);
        assert_eq!(last("alice#1", kid), Some(want), "{later}");
    }
    let listed = list::keys(&test.server, ALICE, KeysList { username: None }).unwrap();
    assert_eq!(listed.keys[0].last_used, Some(Timestamp::from_seconds(NOW + 90_000)));
}

#[tokio::test]
async fn what_core_may_read() {
    let test = TestServer::new(
        "[[products]]\nname = \"home\"\ncategory = \"storage\"\ntype = \"storage\"\n\
         [[products]]\nname = \"node\"\ncategory = \"cpu\"\ntype = \"compute\"\n",
    );
    let manifest =
        service_calls::call(&test.server, ServiceCall::RetrieveManifest, &Bytes::new(), &TEST).await.unwrap();
    let want = json!({ "enabled": true, "expireAfterMs": null, "requiresMessageSigning": false,
                       "unmanagedConnections": false });
    assert_eq!(manifest, want);
    for (kind, want) in [
        (ResourceKind::FileCollections, vec!["home"]),
        (ResourceKind::Files, vec!["home"]),
        (ResourceKind::Jobs, vec!["node"]),
        (ResourceKind::Licenses, vec![]),
    ] {
        let call = ServiceCall::RetrieveProducts(kind);
        let products = service_calls::call(&test.server, call, &Bytes::new(), &TEST).await.unwrap();
        let ids: Vec<_> = products["responses"].as_array().unwrap().iter().map(|one| &one["product"]["id"]).collect();
        assert_eq!(ids, want, "{kind:?}");
    }
}

#[tokio::test]
async fn p8_a_log_that_cannot_be_written_refuses_every_change() {
    let mut test = TestServer::new("");
    let browser = test.begun_at_core("alice#1").await;
    let code = browser.offer(&test).await.unwrap()["code"].as_str().unwrap().to_owned();
    Arc::get_mut(&mut test.server).unwrap().decisions =
        DecisionLog::to(File::options().append(true).open("/dev/full").unwrap());
    assert_eq!(status(test.approve(ALICE, "alice", &code).await), (503, "UNAVAILABLE"));
    assert_eq!(test.server.records.user(&user("alice#1")).unwrap(), None);
    assert_eq!(status(test.core(ServiceCall::Connect, "alice#1").await), (503, "UNAVAILABLE"));
    let health = StoreQueryHandler::new(Arc::clone(&test.server)).answer(&Question::Health);
    assert!(matches!(health, Answer::Health { health: Health { store: true, log: false } }), "{health:?}");
}

#[tokio::test]
async fn p9_what_is_done_is_written_down_first() {
    let test = TestServer::new("");
    let browser = test.connected().await;
    let kid = KeyId::parse(browser.key.kid()).unwrap();
    approval::revoke_key(&test.server, ALICE, KeyRevoke { username: None, kid }).await.unwrap();
    let log = std::fs::read_to_string(test.directory.path().join("decisions.jsonl")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let calls: Vec<_> = lines.iter().map(|line| line["call"].as_str().unwrap()).collect();
    assert_eq!(calls, ["test", "test", "connect.approve", "keys.revoke"]);
    assert_eq!(lines[2]["username"], "alice#1");
    assert_eq!(lines[3]["kid"], browser.key.kid());
    assert_eq!(lines[3]["requestId"], "uid-1100");
    assert!(!log.contains(&browser.ticket), "V62");
}

/// Core asks every 10 s, and never stops if it is refused.
#[tokio::test]
async fn c09_core_is_told_what_to_show_of_the_provider() {
    let told = TestServer::new("").core(ServiceCall::RetrieveBranding, "").await.unwrap();
    let want = json!({ "id": "hpc", "title": "hpc", "shortTitle": "hpc", "shortDescription": "", "description": "",
                       "url": "https://hpc.example.org/", "logo": null, "sections": [], "productDescription": [] });
    assert_eq!(told, want);
}

/// UCloud's pages ask this when they open, before the user has signed anything.
#[tokio::test]
async fn c10_what_pages_ask_unsigned_is_answered_alike_for_every_user() {
    let test = TestServer::new("");
    test.connected().await;
    let answers = [
        (ServiceCall::RequestDynamicParameters, json!({ "parameters": [] })),
        (ServiceCall::RetrieveTokenOptions, json!({ "availablePermissions": [] })),
    ];
    for (call, want) in answers {
        for body in
            ["", r#"{"owner":{"createdBy":"alice#1"},"application":{}}"#, r#"{"owner":{"createdBy":"bob#1"}}"#, "x"]
        {
            let body = Bytes::from(body);
            assert_eq!(service_calls::call(&test.server, call, &body, &TEST).await.unwrap(), want, "{call:?}");
        }
    }
}

#[tokio::test]
async fn c11_the_gateway_is_told_whether_a_users_intent_can_come() {
    let test = TestServer::new("[connection]\nexpires_after = \"1 hour\"\n");
    let queries = StoreQueryHandler::new(Arc::clone(&test.server));
    let signer = |name: &str| {
        let Answer::Signer { signer } = queries.answer(&Question::Signer { username: user(name) }) else { panic!() };
        signer
    };
    assert_eq!(signer("alice#1"), Signer::NotConnected);
    let browser = test.begun_at_core("alice#1").await;
    let offered = browser.offer(&test).await.unwrap();
    let code = offered["code"].as_str().unwrap();
    assert_eq!(signer("alice#1"), Signer::NotConnected, "an offered key is none");
    test.approve(ALICE, "alice", code).await.unwrap();
    assert_eq!((signer("alice#1"), signer("bob#1")), (Signer::HasKey, Signer::NotConnected));
    test.now.store(NOW + 3_600, Ordering::SeqCst);
    assert_eq!(signer("alice#1"), Signer::NotConnected, "its time is over");
    test.now.store(NOW, Ordering::SeqCst);
    let kid = KeyId::parse(offered["kid"].as_str().unwrap()).unwrap();
    approval::revoke_key(&test.server, ALICE, KeyRevoke { username: None, kid }).await.unwrap();
    assert_eq!(signer("alice#1"), Signer::NoKey);
}
