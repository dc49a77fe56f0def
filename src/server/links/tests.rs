//! Tests of public links: whose they are, and where they lead.

use std::sync::atomic::Ordering;

use countersign_keys::identity::CoreResourceId;
use countersign_keys::store::jobs::Job;
use countersign_keys::time::Timestamp;
use countersign_slurm::Outcome;

use super::*;
use crate::test_server::{ALICE, BOB, NOW, TestServer, status, user};

const LINKS: &str = "[gateway.links]\nprefix = \"link-\"\nsuffix = \".links.example.org\"\n";

fn name(text: &str) -> LinkName {
    LinkName::parse(text).unwrap()
}

fn number(text: &str) -> CoreResourceId {
    CoreResourceId::parse(text).unwrap()
}

fn made(username: &str, link: &str, core_id: &str) -> LinkMade {
    LinkMade { username: user(username), name: name(link), number: number(core_id) }
}

/// A job as Slurm has verified it.
fn job(core_id: &str, uid: Uid, username: &str, links: &[&str]) -> Job {
    let now = Timestamp::from_seconds(NOW);
    Job {
        links: links.iter().map(|link| name(link)).collect(),
        is_verified: true,
        told: Some("RUNNING".to_owned()),
        ..Job::new(CoreJobId::parse(core_id).unwrap(), uid, user(username), 62, now, now)
    }
}

fn track(test: &TestServer, job: Job) {
    let tracked = Tracked::new(job);
    test.server.jobs.lock().insert(tracked.key(), tracked);
}

fn target(test: &TestServer, link: &str) -> Option<String> {
    test.server.link_target(&name(link)).unwrap().map(|target| format!("{} {}", target.username, target.job))
}

#[tokio::test]
async fn j07_of_two_users_who_ask_for_one_domain_one_gets_it() {
    let test = TestServer::with_users(LINKS).await;
    let (one, other) = tokio::join!(
        make(&test.server, ALICE, made("alice#1", "paper", "7")),
        make(&test.server, BOB, made("bob#1", "paper", "8"))
    );
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    let refused = if one.is_ok() { status(other) } else { status(one) };
    assert_eq!(refused, (409, "CONFLICT"));
    // An account makes and lists links of its own users alone.
    assert_eq!(status(make(&test.server, BOB, made("alice#1", "x", "9")).await).0, 404);
    assert_eq!(status(list(&test.server, BOB, &LinksList { username: user("alice#1") })).0, 404);
    let without = TestServer::with_users("").await;
    assert_eq!(status(make(&without.server, ALICE, made("alice#1", "x", "9")).await).0, 404, "not offered");
}

#[tokio::test]
async fn j07_a_link_leads_to_its_owners_running_job_and_to_no_other() {
    let test = TestServer::with_users(LINKS).await;
    make(&test.server, ALICE, made("alice#1", "paper", "7")).await.unwrap();
    make(&test.server, BOB, made("bob#1", "bobs", "7")).await.unwrap();
    assert_eq!(target(&test, "paper"), None, "no job");
    // A job of another user's names the link.
    let mut foreign = job("1", BOB, "bob#1", &["paper", "bobs"]);
    keep_own(&test.server, &mut foreign).unwrap();
    assert_eq!(foreign.links, [name("bobs")]);
    // Even if its record says so.
    track(&test, job("1", BOB, "bob#1", &["paper"]));
    assert_eq!(target(&test, "paper"), None);
    track(&test, job("2", ALICE, "alice#1", &["paper"]));
    assert_eq!(target(&test, "paper").as_deref(), Some("alice#1 2"));
    let listed = list(&test.server, ALICE, &LinksList { username: user("alice#1") }).unwrap().links;
    let job = CoreJobId::parse("2").unwrap();
    assert_eq!(listed, [KnownLink { name: name("paper"), number: number("7"), job: Some(job.clone()) }]);
    // While it does not run, and when it has ended, there is none.
    let change =
        |change: &dyn Fn(&mut Tracked)| change(test.server.jobs.lock().get_mut(&(job.clone(), ALICE)).unwrap());
    change(&|tracked| tracked.seen = Some(Outcome { standing: Standing::Waiting, words: String::new() }));
    assert_eq!(target(&test, "paper"), None);
    change(&|tracked| tracked.seen = None);
    assert!(target(&test, "paper").is_some());
    change(&|tracked| tracked.job.is_verified = false);
    assert_eq!(target(&test, "paper"), None);
    change(&|tracked| (tracked.job.is_verified, tracked.job.end) = (true, Some(("SUCCESS".to_owned(), String::new()))));
    assert_eq!(target(&test, "paper"), None);
}

#[tokio::test]
async fn j07_a_deleted_link_leads_nowhere_and_the_gateway_is_told() {
    let test = TestServer::with_users(LINKS).await;
    make(&test.server, ALICE, made("alice#1", "paper", "7")).await.unwrap();
    make(&test.server, BOB, made("bob#1", "bobs", "8")).await.unwrap();
    track(&test, job("2", ALICE, "alice#1", &["paper"]));
    let removed = |username: &str, core_id: &str| ResourceRemoved { username: user(username), number: number(core_id) };
    // Core says another number than the user signed for: another user's, or none.
    for foreign in ["8", "9"] {
        remove(&test.server, ALICE, removed("alice#1", foreign)).await.unwrap();
    }
    assert!(target(&test, "paper").is_some() && test.server.records.link(&name("bobs")).unwrap().is_some());
    remove(&test.server, ALICE, removed("alice#1", "7")).await.unwrap();
    assert_eq!(target(&test, "paper"), None);
    let told = test.told.lock().unwrap().clone();
    assert_eq!(told.iter().filter(|ended| matches!(ended, Ended::Link { .. })).count(), 1);
    // The name is free again; the job that had it has lost it.
    make(&test.server, BOB, made("bob#1", "paper", "10")).await.unwrap();
    assert_eq!(target(&test, "paper"), None);
}

#[tokio::test]
async fn j07_a_deleted_link_that_is_made_again_leads_to_no_earlier_job() {
    let test = TestServer::with_users(LINKS).await;
    let make = async |core_id: &str| make(&test.server, ALICE, made("alice#1", "paper", core_id)).await.unwrap();
    make("7").await;
    track(&test, job("2", ALICE, "alice#1", &["paper"]));
    test.now.fetch_add(60, Ordering::SeqCst);
    // Its owner repeats the creation, because Core has forgotten it.
    make("8").await;
    assert_eq!(target(&test, "paper").as_deref(), Some("alice#1 2"));
    let deleted = ResourceRemoved { username: user("alice#1"), number: number("8") };
    remove(&test.server, ALICE, deleted).await.unwrap();
    make("9").await;
    assert_eq!(target(&test, "paper"), None);
}

#[tokio::test]
async fn j07_a_link_ends_with_its_owners_connection() {
    let test = TestServer::with_users(LINKS).await;
    make(&test.server, ALICE, made("alice#1", "paper", "7")).await.unwrap();
    track(&test, job("2", ALICE, "alice#1", &["paper"]));
    assert!(target(&test, "paper").is_some());
    let action = AuditedAction::of("uid-1101", "/connect/remove");
    let authority = countersign_keys::store::registry::Authority::Core;
    test.server.disconnect(authority, user("alice#1"), &action).await.unwrap();
    assert_eq!(target(&test, "paper"), None);
}
