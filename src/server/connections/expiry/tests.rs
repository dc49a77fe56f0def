//! Expired connections, against the server's own functions: the last second before, the second
//! itself, and a new approval.

use std::sync::atomic::Ordering;

use countersign_keys::call::ServiceCall;
use countersign_keys::identity::{KeyId, Uid};
use countersign_keys::keyring::{EnrolledKey, KeyState};
use countersign_keys::store::records::CoreMessage;
use countersign_keys::store::registry::Authority;
use countersign_keys::time::Timestamp;
use serde_json::json;

use crate::connections::list;
use crate::gateway::channel::QueryHandler as _;
use crate::gateway::queries::StoreQueryHandler;
use crate::test_server::{ALICE, BOB, Browser, NOW, TEST, TestServer, status, user};
use countersign_ipc::gateway_protocol::{Answer, Ended, Question, Whereabouts};
use countersign_ipc::server_protocol::ConnectList;

const LASTS_S: i64 = 3600;
const EXPIRING: &str = "[connection]\nexpires_after = \"1 hour\"\n";

impl TestServer {
    fn at(&self, seconds: i64) -> Timestamp {
        self.now.store(seconds, Ordering::SeqCst);
        Timestamp::from_seconds(seconds)
    }

    /// The periodic check.
    async fn look(&self, seconds: i64) -> Option<i64> {
        let now = self.at(seconds);
        self.server.end_what_is_over(LASTS_S, now).await.unwrap().map(Timestamp::seconds)
    }

    /// Whether the key as the gateway receives it is valid at that moment.
    fn key_speaks(&self, browser: &Browser, seconds: i64) -> bool {
        let kid = KeyId::parse(browser.key.kid()).unwrap();
        let queries = StoreQueryHandler::new(std::sync::Arc::clone(&self.server));
        let Answer::Keys { keys } = queries.answer(&Question::Key { username: user("alice#1"), kid }) else { panic!() };
        EnrolledKey::from_record(&keys[0]).unwrap().standing(Timestamp::from_seconds(seconds)).is_ok()
    }

    fn outbox_entry(&self) -> Option<CoreMessage> {
        self.server.records.outbox_after(None, 9).unwrap().first().map(|entry| entry.message)
    }

    /// What `connect list` shows of Alice's connection, and the number of users about whom Core
    /// must still be told, from `status`.
    async fn listed(&self) -> (Option<bool>, usize) {
        let all = ConnectList { after: None, all: true };
        let connections = list::connections(&self.server, Uid(0), &all).unwrap().connections;
        let untold = list::whoami(&self.server, Uid(0)).await.unwrap().untold;
        (connections.first().map(|connection| connection.core_told), untold)
    }

    fn core_has_heard(&self) {
        let entry = self.server.records.outbox_after(None, 9).unwrap().remove(0);
        self.server.records.finish_entry(&entry).unwrap();
    }
}

#[tokio::test]
async fn without_a_time_connections_last() {
    let test = TestServer::new("");
    let browser = test.connected().await;
    assert!(test.key_speaks(&browser, NOW + 100 * 86_400));
}

#[tokio::test]
async fn c05_core_is_told_of_no_end_with_or_without_a_time() {
    for more in ["", EXPIRING] {
        let manifest = TestServer::new(more).core(ServiceCall::RetrieveManifest, "").await.unwrap();
        assert_eq!(manifest["expireAfterMs"], json!(null), "{more:?}");
    }
}

#[tokio::test]
async fn a_key_is_over_at_the_second_at_which_its_connection_is() {
    let test = TestServer::new(EXPIRING);
    let browser = test.connected().await;
    let end = NOW + LASTS_S;
    // Even without the periodic check.
    assert!(test.key_speaks(&browser, end - 1));
    assert!(!test.key_speaks(&browser, end));
    test.at(end);
    let probe = browser.probe(&test, "connect.probe", end);
    assert_eq!(status(probe), (482, "INTENT_INVALID"), "nor is it taken here");
    let again = test.core(ServiceCall::Init, "alice#1").await.unwrap_err();
    assert!(again.to_string().contains("connect to it again"), "{again}");
    assert_eq!(again.told.number(), 400);
    assert_eq!(test.server.instance_of(&user("alice#1")).unwrap(), Whereabouts::Down);
    let queries = StoreQueryHandler::new(std::sync::Arc::clone(&test.server));
    let instance_key = || {
        let answer = queries.answer(&Question::InstanceKey { username: user("alice#1") });
        let Answer::InstanceKey { spki } = answer else { panic!("an instance key") };
        spki
    };
    assert_eq!(instance_key(), None, "no one-time token is redeemed");
    test.at(end - 1);
    assert!(instance_key().is_some());
    test.at(end);
    let list = list::connections(&test.server, ALICE, &ConnectList::default()).unwrap();
    assert_eq!((list.connections[0].active_keys, list.connections[0].ends.unwrap().seconds()), (0, end));
}

#[tokio::test]
async fn what_is_over_is_told_to_gateway_and_core_once() {
    let test = TestServer::new(EXPIRING);
    test.connected().await;
    test.core_has_heard();
    test.told.lock().unwrap().clear();
    let end = NOW + LASTS_S;
    assert_eq!(test.look(end - 1).await, Some(end), "when to look again");
    assert_eq!((test.outbox_entry(), test.told.lock().unwrap().len()), (None, 0));
    assert_eq!(test.look(end).await, None);
    assert_eq!(test.outbox_entry(), Some(CoreMessage::Clear));
    assert_eq!(*test.told.lock().unwrap(), [Ended::User { username: user("alice#1") }]);
    test.core_has_heard();
    test.look(end + 60).await;
    assert_eq!((test.outbox_entry(), test.told.lock().unwrap().len()), (None, 1));
    let log = std::fs::read_to_string(test.directory.path().join("decisions.jsonl")).unwrap();
    assert_eq!(log.matches("\"connection.over\"").count(), 1, "{log}");
}

#[tokio::test]
async fn c18_lists_say_of_every_beginning_and_every_end_whether_core_has_heard() {
    let test = TestServer::new(EXPIRING);
    test.connected().await;
    assert_eq!(test.listed().await, (Some(false), 1));
    test.core_has_heard();
    assert_eq!(test.listed().await, (Some(true), 0));
    test.look(NOW + LASTS_S).await;
    assert_eq!(test.listed().await, (Some(false), 1), "that its time is over");
    test.core_has_heard();
    assert_eq!(test.listed().await, (Some(true), 0));
    test.server.disconnect(Authority::Account(ALICE), user("alice#1"), &TEST).await.unwrap();
    assert_eq!(test.listed().await, (None, 1), "that there is none any more");
    assert_eq!(list::whoami(&test.server, BOB).await.unwrap().untold, 0, "it is the administrators' business");
    test.core_has_heard();
    assert_eq!(test.listed().await, (None, 0));
}

#[tokio::test]
async fn a_fresh_approval_revives_every_key_and_core_hears_of_it() {
    let test = TestServer::new(EXPIRING);
    let first = test.connected().await;
    let end = NOW + LASTS_S;
    test.look(end + 10).await;
    test.core_has_heard();
    let mut second = test.begun_at_core("alice#1").await;
    let offered = second.offer(&test).await.unwrap();
    let code = offered["code"].as_str().unwrap();
    assert_eq!(
        status(test.approve(BOB, "bob", code).await),
        (409, "MAPPED_OTHERWISE"),
        "the account is kept for its user"
    );
    test.approve(ALICE, "alice", code).await.unwrap();
    second.key.set_kid(offered["kid"].as_str().unwrap());
    assert_eq!(test.outbox_entry(), Some(CoreMessage::Approve));
    for browser in [&first, &second] {
        assert!(test.key_speaks(browser, end + 11));
        assert!(!test.key_speaks(browser, end + 10 + LASTS_S));
    }
    assert_eq!(test.look(end + 20).await, Some(end + 10 + LASTS_S));
    second.probe(&test, "connect.probe", end + 20).unwrap();
    test.core(ServiceCall::Init, "alice#1").await.unwrap();
}

#[tokio::test]
async fn an_approval_before_the_end_moves_it() {
    let test = TestServer::new(EXPIRING);
    let first = test.connected().await;
    test.core_has_heard();
    test.at(NOW + LASTS_S - 1);
    test.told.lock().unwrap().clear();
    test.connected().await;
    assert_eq!(test.outbox_entry(), None, "Core was told of no end");
    assert_eq!(
        *test.told.lock().unwrap(),
        [Ended::User { username: user("alice#1") }],
        "a gateway remembers the old end"
    );
    assert_eq!(test.look(NOW + LASTS_S).await, Some(NOW + 2 * LASTS_S - 1));
    assert!(test.key_speaks(&first, NOW + LASTS_S));
}

#[tokio::test]
async fn what_core_unlinks_is_gone_whether_or_not_it_was_over() {
    let test = TestServer::new(EXPIRING);
    for over in [false, true] {
        let browser = test.connected().await;
        if over {
            test.look(test.now.load(Ordering::SeqCst) + LASTS_S).await;
        }
        test.core(ServiceCall::Unlinked, "alice#1").await.unwrap();
        assert_eq!(test.outbox_entry(), None, "Core need not be told what it said");
        assert_eq!(test.key_state("alice#1", browser.key.kid()), Some(KeyState::Revoked));
        assert_eq!(status(test.core(ServiceCall::Init, "alice#1").await).0, 400);
        assert_eq!(test.server.records.usernames(ALICE).unwrap(), []);
        test.core(ServiceCall::Unlinked, "alice#1").await.unwrap();
    }
}

#[tokio::test]
async fn during_maintenance_nobody_s_instance_is_launched_but_those_on_the_list() {
    let test = TestServer::new("[maintenance]\nenabled = true\nallow = [\"bob#2\"]\n");
    let browser = test.connected().await;
    let refused = test.core(ServiceCall::Init, "alice#1").await.unwrap_err();
    assert_eq!((refused.told.number(), refused.told.code()), (404, "MAINTENANCE"));
    browser.probe(&test, "connect.probe", NOW).unwrap();
    test.core(ServiceCall::RetrieveManifest, "").await.unwrap();
    let file = test.directory.path().join("config.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let reload = |text: &str| {
        std::fs::write(&file, text).unwrap();
        test.server.config.reload(countersign_config::Role::Server)
    };
    assert!(reload(&text.replace("bob#2", "")).is_err(), "a broken file changes nothing");
    assert_eq!(status(test.core(ServiceCall::Init, "alice#1").await).1, "MAINTENANCE");
    reload(&text.replace("bob#2", "alice#1")).unwrap();
    test.core(ServiceCall::Init, "alice#1").await.unwrap();
}
