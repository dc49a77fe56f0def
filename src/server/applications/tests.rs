//! Tests of the review queue: its bounds, and who may do what.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::pending_table::{ALL_MAX, EACH_MAX, PendingTable, REJECTED_MAX, digest};
use super::*;
use countersign_ipc::server_protocol::{APPLICATION_MAX, APPLICATION_NAME_MAX};
use countersign_keys::time::Timestamp;

use crate::test_server::{ALICE, BOB, TestServer, status};

fn application(name: &str, text: &str) -> ApplicationOffered {
    ApplicationOffered { name: name.to_owned(), version: "1".to_owned(), invocation: text.to_owned() }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn named(name: &str, text: &str) -> ApplicationNamed {
    ApplicationNamed { name: name.to_owned(), version: "1".to_owned(), digest: digest(text) }
}

/// Root, which is an administrator in every test.
const ROOT: Uid = Uid(0);

#[test]
fn the_digest_is_that_of_the_text() {
    // sha256sum of "abc", FIPS 180-2.
    assert_eq!(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn duplicates_count_once_and_order_stays() {
    let table = PendingTable::default();
    for (uid, name, text) in [(ALICE, "b", "x"), (BOB, "a", "x"), (BOB, "b", "x"), (ALICE, "b", "y"), (ALICE, "b", "x")]
    {
        table.offer(uid, application(name, text), at(1)).unwrap();
    }
    let listed: Vec<_> = table.list().into_iter().map(|one| (one.name, one.uid, one.digest)).collect();
    let want = [("b", ALICE, "x"), ("a", BOB, "x"), ("b", ALICE, "y")];
    assert_eq!(listed, want.map(|(name, uid, text)| (name.to_owned(), uid, digest(text))));
}

#[test]
fn one_account_cannot_fill_the_table() {
    let table = PendingTable::default();
    for number in 0..EACH_MAX {
        table.offer(ALICE, application("a", &number.to_string()), at(1)).unwrap();
    }
    assert_eq!(status(table.offer(ALICE, application("a", "more"), at(1))).0, 429);
    // Neither the same again, nor another account's, needs its room.
    table.offer(ALICE, application("a", "0"), at(1)).unwrap();
    table.offer(BOB, application("a", "more"), at(1)).unwrap();
    for uid in 2_000..3_000 {
        for number in 0..EACH_MAX {
            let _ = table.offer(Uid(uid), application("b", &format!("{uid} {number}")), at(1));
        }
    }
    assert_eq!(table.list().len(), ALL_MAX);
}

#[test]
fn what_is_offered_is_bounded() {
    let table = PendingTable::default();
    for (name, text) in
        [("", "x".to_owned()), ("a\nb", "x".to_owned()), ("a", String::new()), ("a", "x".repeat(APPLICATION_MAX + 1))]
    {
        assert_eq!(status(table.offer(ALICE, application(name, &text), at(1))).0, 400);
    }
    assert_eq!(status(table.offer(ALICE, application(&"x".repeat(APPLICATION_NAME_MAX + 1), "x"), at(1))).0, 400);
    assert!(table.list().is_empty());
}

#[test]
fn a_rejected_text_is_not_offered_again() {
    let table = PendingTable::default();
    table.offer(ALICE, application("a", "x"), at(1)).unwrap();
    table.remove(&named("a", "x"), ApplicationDecision::Reject);
    table.offer(BOB, application("a", "x"), at(1)).unwrap();
    assert!(table.list().is_empty());
    // Another text under that name is another matter, and so is one that was approved and removed.
    table.offer(BOB, application("a", "y"), at(1)).unwrap();
    table.remove(&named("a", "y"), ApplicationDecision::Written);
    table.offer(BOB, application("a", "y"), at(1)).unwrap();
    assert_eq!(table.list().len(), 1);
    for number in 0..2 * REJECTED_MAX {
        table.remove(&named("a", &number.to_string()), ApplicationDecision::Reject);
    }
    assert_eq!(table.lock().rejected.len(), REJECTED_MAX);
}

#[tokio::test]
async fn only_administrators_review() {
    let test = TestServer::new("");
    let server = &test.server;
    assert_eq!(status(offered(server, ALICE, application("a", "x"))), (404, "NOT_FOUND"), "no connected account");
    server.pending_applications.offer(ALICE, application("a", "x"), at(1)).unwrap();
    let decided = |decision| ApplicationDecided { application: named("a", "x"), decision };
    let stranger = Uid(4_000_000_000);
    assert_eq!(status(pending(server, stranger)), (403, "FORBIDDEN"));
    assert_eq!(status(show(server, stranger, &named("a", "x"))), (403, "FORBIDDEN"));
    assert_eq!(status(decide(server, stranger, &decided(ApplicationDecision::Approve))), (403, "FORBIDDEN"));
    assert_eq!(show(server, ROOT, &named("a", "x")).unwrap().invocation, "x");
    assert_eq!(pending(server, ROOT).unwrap().applications.len(), 1);
}

#[tokio::test]
async fn a_decision_is_about_one_text() {
    let test = TestServer::new("");
    let server = &test.server;
    server.pending_applications.offer(ALICE, application("a", "x"), at(1)).unwrap();
    for other in [named("a", "y"), named("b", "x")] {
        let decided = ApplicationDecided { application: other, decision: ApplicationDecision::Approve };
        assert_eq!(status(decide(server, ROOT, &decided)), (404, "NOT_FOUND"));
    }
    let decide = |decision| decide(server, ROOT, &ApplicationDecided { application: named("a", "x"), decision });
    assert_eq!(decide(ApplicationDecision::Approve).unwrap().invocation, "x");
    assert_eq!(decide(ApplicationDecision::Written).unwrap().invocation, "x");
    assert_eq!(status(decide(ApplicationDecision::Reject)), (404, "NOT_FOUND"), "it was decided already");
    let records = std::fs::read_to_string(test.directory.path().join("decisions.jsonl")).unwrap();
    for want in ["applications.decide", "approve a 1 sha256:2d711642b726b044", "approved a 1 sha256:2d711642b726b044"] {
        assert!(records.contains(want), "{want:?} in {records}");
    }
}
