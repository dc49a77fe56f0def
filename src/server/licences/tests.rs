//! Tests of licences: who learns what.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use countersign_keys::identity::CoreResourceId;
use countersign_keys::time::Timestamp;

use super::*;
use crate::test_server::{ALICE, BOB, NOW, TestServer, status, user};

/// A server with the users alice#1 and bob#1, where alice has the licence 7.
struct Site {
    test: TestServer,
    key: PathBuf,
    _keys: tempfile::TempDir,
}

fn number(text: &str) -> CoreResourceId {
    CoreResourceId::parse(text).unwrap()
}

fn made(username: &str, product: &str, core_id: &str) -> LicenceMade {
    LicenceMade { username: user(username), product: product.to_owned(), number: number(core_id) }
}

impl Site {
    async fn open() -> Self {
        let keys = tempfile::tempdir().unwrap();
        let key = keys.path().join("matlab");
        write(&key, "secret-1\n", 0o600);
        let test = TestServer::with_users(&format!(
            "[slurm]\ndrive = \"home\"\n[[drives]]\nid = \"home\"\npath = \"~\"\n\
             [[products]]\nname = \"matlab\"\ncategory = \"matlab\"\ntype = \"license\"\n\
             address = \"licences.example.org:27000\"\nkey = \"{}\"\n\
             [[products]]\nname = \"node\"\ncategory = \"node\"\ntype = \"compute\"\n",
            key.display()
        ))
        .await;
        make(&test.server, ALICE, made("alice#1", "matlab", "7")).await.unwrap();
        Self { test, key, _keys: keys }
    }

    /// What an account learns of these numbers.
    async fn learnt(&self, uid: Uid, username: &str, numbers: &[&str]) -> Result<Vec<String>, Refusal> {
        let numbers = numbers.iter().map(|text| number(text)).collect();
        let asked = LicencesRead { username: user(username), numbers };
        let licences = read(&self.test.server, uid, asked).await?.licences;
        Ok(licences.into_iter().map(|known| format!("{}={}", known.number, known.value)).collect())
    }
}

fn write(file: &std::path::Path, key: &str, mode: u32) {
    std::fs::write(file, key).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn j09_a_key_goes_to_the_user_who_signed_for_it_and_to_no_other() {
    let site = Site::open().await;
    let server = &site.test.server;
    let want = vec!["7=licences.example.org:27000/secret-1".to_owned()];
    assert_eq!(site.learnt(ALICE, "alice#1", &["7", "8"]).await, Ok(want.clone()));
    assert_eq!(site.learnt(ALICE, "alice#1", &["8"]).await, Ok(Vec::new()), "only what is asked for");
    assert_eq!(site.learnt(BOB, "bob#1", &["7"]).await, Ok(Vec::new()), "Core's number alone gives nothing");
    assert_eq!(status(site.learnt(BOB, "alice#1", &["7"]).await), (404, "NOT_FOUND"));
    assert_eq!(status(make(server, BOB, made("alice#1", "matlab", "8")).await), (404, "NOT_FOUND"));
    assert_eq!(status(make(server, BOB, made("bob#1", "node", "8")).await), (404, "NOT_FOUND"), "no licence");
    // A licence that alice signed for with another account, before she was connected with this one.
    let earlier = LicenceRecord {
        username: user("alice#1"),
        uid: BOB,
        core_id: number("6"),
        product: "matlab".to_owned(),
        created: Timestamp::from_seconds(NOW),
    };
    server.records.add_licence(&earlier).unwrap();
    assert_eq!(site.learnt(ALICE, "alice#1", &["6"]).await, Ok(Vec::new()));
    // A number of another user's removes nothing.
    let removed = |username: &str| ResourceRemoved { username: user(username), number: number("7") };
    remove(server, BOB, removed("bob#1")).await.unwrap();
    assert_eq!(status(remove(server, BOB, removed("alice#1")).await), (404, "NOT_FOUND"));
    assert_eq!(site.learnt(ALICE, "alice#1", &["7"]).await, Ok(want));
    remove(server, ALICE, removed("alice#1")).await.unwrap();
    assert_eq!(site.learnt(ALICE, "alice#1", &["7"]).await, Ok(Vec::new()));

    let log = std::fs::read_to_string(site.test.directory.path().join("decisions.jsonl")).unwrap();
    let is_noted = |call: &str, note: &str| log.lines().any(|line| line.contains(call) && line.contains(note));
    assert!(is_noted("licences.make", "licence 7 of matlab"));
    assert!(is_noted("licences.read", "licences 7 of matlab"));
    assert!(is_noted("licences.remove", "licence 7 at UCloud"));
    assert!(!log.contains("secret-1"));
}

#[tokio::test]
async fn j09_a_new_key_needs_no_restart_and_an_exposed_one_is_not_given() {
    let site = Site::open().await;
    write(&site.key, "secret-2", 0o600);
    let want = vec!["7=licences.example.org:27000/secret-2".to_owned()];
    assert_eq!(site.learnt(ALICE, "alice#1", &["7"]).await, Ok(want));
    write(&site.key, "secret-3", 0o644);
    assert_eq!(status(site.learnt(ALICE, "alice#1", &["7"]).await), (503, "UNAVAILABLE"));
    std::fs::remove_file(&site.key).unwrap();
    assert_eq!(status(site.learnt(ALICE, "alice#1", &["7"]).await), (503, "UNAVAILABLE"));
}
