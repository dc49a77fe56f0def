//! Tests of a damaged or restored state: the server refuses to start and says why. The documented
//! command returns it to service with every revocation in force (V74, docs/operators.md).
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;
use std::path::Path;

use crate::support::test_site::{Part, Person, TestSite, said};
use countersign_portal::Deed;
use serde_json::Value;

/// The key id of that user's only key.
async fn kid(centre: &TestSite, person: &Person) -> String {
    let listed = centre.run_as(person.account, &["keys", "list", "--json"]).await;
    let keys: Value = serde_json::from_slice(&listed.stdout).unwrap();
    keys[0]["kid"].as_str().unwrap().to_owned()
}

/// Kills the server and moves its store to `store.away`. Waits until the server has failed to start
/// without it.
async fn without_its_store(centre: &TestSite) {
    let starts = centre.starts();
    centre.kill(Part::Server);
    fs::rename(centre.state.join("store"), centre.state.join("store.away")).unwrap();
    centre.until("it was tried without the store", async || centre.starts() > starts + 2).await;
    assert!(!centre.serves().await);
    let words = centre.last_words();
    assert!(words.contains("the store went back") && words.contains("countersign state accept"), "{words}");
}

/// Puts the store back, damaged by `spoil`.
fn put_back(centre: &TestSite, spoil: impl FnOnce(&Path)) {
    spoil(&centre.state.join("store.away/db"));
    fs::remove_dir_all(centre.state.join("store")).unwrap();
    fs::rename(centre.state.join("store.away"), centre.state.join("store")).unwrap();
}

/// Repeats the command until no failing server holds the directory.
async fn accept(centre: &TestSite, keys: &str) -> String {
    let outcome = std::cell::RefCell::new(String::new());
    let is_done = async || {
        let ran = centre.run_as("ucloud", &["state", "accept", "--keys", keys, "--yes"]).await;
        outcome.replace(said(&ran));
        assert!(ran.status.success() || said(&ran).contains("another server is running"), "{}", said(&ran));
        ran.status.success()
    };
    centre.until("the state is accepted", is_done).await;
    outcome.into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn v74_r06_a_damaged_store_does_not_start_and_accepted_it_keeps_every_revocation() {
    let centre = TestSite::open().await;
    let (alice, bob) = (centre.connect("alice").await, centre.connect("bob").await);
    assert!(centre.browse(&bob, "/home").await.is_ok(), "{}", centre.last_words());
    let pins = fs::read(alice.home.join(".config/countersign/authorized_keys")).unwrap();
    let revoked = centre.run_as("alice", &["keys", "revoke", &kid(&centre, &alice).await]).await;
    assert!(revoked.status.success(), "{}", said(&revoked));

    without_its_store(&centre).await;
    put_back(&centre, |log| {
        let mut bytes = fs::read(log).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        bytes[used - 256..used].fill(0);
        fs::write(log, bytes).unwrap();
    });
    let told = accept(&centre, "keep").await;
    assert!(told.contains("Accepted: 1 keys active, 1 revoked"), "{told}");
    centre.until("it serves again", async || centre.serves().await).await;
    centre.until("bob is served", async || centre.browse(&bob, "/home").await.is_ok()).await;

    // The gateway itself refuses alice's key, though it is pinned again.
    fs::write(alice.home.join(".config/countersign/authorized_keys"), pins).unwrap();
    let answer = centre.perform(&alice, &Deed::browse("/home")).await;
    assert_eq!((answer.status, answer.error_code().as_str()), (482, "INTENT_INVALID"));
    let verified = centre.run_as("ucloud", &["audit", "verify"]).await;
    assert!(verified.status.success(), "{}", said(&verified));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn v74_r06_a_backup_that_is_restored_revokes_all_keys() {
    let centre = TestSite::open().await;
    let bob = centre.connect("bob").await;
    assert!(centre.browse(&bob, "/home").await.is_ok(), "{}", centre.last_words());
    without_its_store(&centre).await;
    let copied = centre.shell_as("root", &format!("cp -a {0}/store.away {0}/backup", centre.state.display())).await;
    assert!(copied.status.success(), "{}", said(&copied));
    put_back(&centre, |_| {});
    // Changes after the backup are lost with it.
    centre.until("it serves again", async || centre.serves().await).await;
    centre.connect("alice").await;
    without_its_store(&centre).await;
    put_back(&centre, |_| {
        fs::remove_dir_all(centre.state.join("store.away")).unwrap();
        fs::rename(centre.state.join("backup"), centre.state.join("store.away")).unwrap();
    });
    let told = accept(&centre, "revoke").await;
    assert!(told.contains("Accepted: 0 keys active, 1 revoked"), "{told}");
    centre.until("it serves again", async || centre.serves().await).await;
    let answer = centre.perform(&bob, &Deed::browse("/home")).await;
    assert_eq!((answer.status, answer.error_code().as_str()), (482, "INTENT_INVALID"));
}
