//! Tests of the groups, with a program that writes down what it got.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::os::unix::fs::PermissionsExt as _;

use countersign_keys::store::projects::ProjectRole;
use countersign_keys::store::registry::Authority;
use serde_json::{Value, json};

use super::super::rules;
use super::*;
use crate::events::project::SeenProject;
use crate::instances::phase::Phase;
use crate::test_server::{ALICE, BOB, NOW, TEST, TestServer, user};
use countersign_home::accounts::Account;

const ID: &str = "0b5bd6d5-2b8a-4d3c-9f5e-3a3f7d9c1e20";

/// A server with a program that appends its input to a file, and fails while another file exists.
struct Centre {
    test: TestServer,
    programs: tempfile::TempDir,
}

impl Centre {
    async fn open() -> Self {
        let programs = tempfile::tempdir().unwrap();
        let program = programs.path().join("groups");
        let text = "#!/bin/sh\ncd \"${0%/*}\" && test ! -e broken && { cat; echo; } >> orders\n";
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let config = format!("[projects]\ngids = [70000, 70001]\ncommand = [\"{}\"]\n", program.display());
        let test = TestServer::with_users(&config).await;
        Self { test, programs }
    }

    /// Core lists these, and an administrator admits them all.
    async fn has(&self, second: i64, members: &[&str]) {
        let server = &self.test.server;
        let seen = SeenProject {
            id: ProjectId::parse(ID).unwrap(),
            title: "root".to_owned(),
            modified_ms: (NOW + second) * 1_000,
            is_archived: false,
            members: members.iter().map(|name| (user(name), ProjectRole::User)).collect(),
        };
        membership::take_up(server, &seen).await.unwrap();
        let mut record = server.projects.one(&seen.id).unwrap();
        for name in members {
            let _confirmed_before = rules::approve(&mut record, &user(name), "uid-0", Timestamp::from_seconds(NOW));
        }
        if record.group.is_none() {
            record.group = Some(server.records.number_project(&record).unwrap());
        }
        server.projects.lock().insert(seen.id, record);
    }

    async fn round(&self, keeper: &mut Keeper) -> Duration {
        let groups = self.test.server.config.projects.as_ref().unwrap().groups.clone().unwrap();
        keeper.round(&self.test.server, &groups).await
    }

    /// The orders since the last look.
    fn orders(&self) -> Vec<Value> {
        let file = self.programs.path().join("orders");
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let _none = std::fs::remove_file(file);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn applied(&self) -> AppliedGroup {
        let recorded = self.test.server.records.projects().unwrap();
        recorded[0].applied.clone().unwrap()
    }

    fn break_program(&self) {
        std::fs::write(self.programs.path().join("broken"), "").unwrap();
    }

    fn mend_program(&self) {
        std::fs::remove_file(self.programs.path().join("broken")).unwrap();
    }
}

fn order(members: &[&str]) -> Value {
    json!({"version": 1, "group": "ucp-1", "gid": 70_000, "members": members, "archived": false})
}

#[tokio::test]
async fn the_program_gets_the_whole_group_and_nothing_of_cores_words() {
    let centre = Centre::open().await;
    let mut keeper = Keeper::default();
    // A member without an account is no account of the group.
    centre.has(0, &["alice#1", "carl#1"]).await;
    centre.round(&mut keeper).await;
    assert_eq!(centre.orders(), [order(&["alice"])]);
    centre.round(&mut keeper).await;
    assert_eq!(centre.orders(), Vec::<Value>::new(), "nothing has changed");
    centre.has(1, &["alice#1", "bob#1"]).await;
    centre.round(&mut keeper).await;
    assert_eq!(centre.orders(), [order(&["alice", "bob"])]);
    let username = user("bob#1");
    centre.test.server.disconnect(Authority::Account(BOB), username, &TEST).await.unwrap();
    centre.round(&mut keeper).await;
    assert_eq!(centre.orders(), [order(&["alice"])]);
    // The account was given to another name: it is no longer the one that was connected.
    assert_eq!(centre.applied().members, BTreeMap::from([("alice".to_owned(), ALICE)]));
}

#[tokio::test]
async fn a_removal_ends_the_accounts_instance_and_an_addition_does_not() {
    let centre = Centre::open().await;
    let (mut keeper, server) = (Keeper::default(), &centre.test.server);
    for (uid, name) in [(ALICE, "alice"), (BOB, "bob")] {
        server.instances.ensure(&Account { uid, name: name.to_owned() }, std::time::Instant::now()).await.unwrap();
    }
    let phase = |uid| server.instances.watch(uid).map(|phase| *phase.borrow());
    centre.has(0, &["alice#1", "bob#1"]).await;
    centre.round(&mut keeper).await;
    assert_eq!((phase(ALICE), phase(BOB)), (Some(Phase::Ready), Some(Phase::Ready)));
    centre.has(1, &["alice#1"]).await;
    centre.break_program();
    centre.round(&mut keeper).await;
    assert_eq!(phase(BOB), Some(Phase::Ready), "another would start with the same groups");
    centre.mend_program();
    keeper = Keeper::default();
    centre.round(&mut keeper).await;
    assert_eq!(phase(ALICE), Some(Phase::Ready));
    assert_ne!(phase(BOB), Some(Phase::Ready));
}

#[tokio::test]
async fn a_run_whose_outcome_is_unknown_is_repeated() {
    let centre = Centre::open().await;
    let mut keeper = Keeper::default();
    centre.has(0, &["alice#1"]).await;
    centre.round(&mut keeper).await;
    // The program adds bob, and the server is killed before it records that.
    centre.has(1, &["alice#1", "bob#1"]).await;
    centre.break_program();
    centre.round(&mut keeper).await;
    assert!(!centre.applied().is_certain && centre.applied().members.contains_key("bob"));
    // Bob leaves. The group is recorded as it was before bob, and could still have bob.
    centre.has(2, &["alice#1"]).await;
    centre.mend_program();
    centre.orders();
    keeper = Keeper::default();
    centre.round(&mut keeper).await;
    assert_eq!(centre.orders(), [order(&["alice"])]);
    assert!(centre.applied().is_certain);
}

#[tokio::test]
async fn a_group_that_keeps_failing_is_an_alarm_and_waits_longer_each_time() {
    let centre = Centre::open().await;
    let mut keeper = Keeper::default();
    centre.has(0, &["alice#1"]).await;
    centre.break_program();
    assert_eq!(centre.round(&mut keeper).await, PAUSE.0);
    assert!(centre.round(&mut keeper).await <= PAUSE.0, "not tried again yet");
    let id = ProjectId::parse(ID).unwrap();
    assert_eq!(keeper.failing[&id].in_a_row, 1);
    for _ in 1..FAILURES_MAX {
        keeper.failing.get_mut(&id).unwrap().after = Instant::now();
        centre.round(&mut keeper).await;
    }
    assert_eq!((keeper.failing[&id].pause, centre.test.server.alarms.raised(Alarm::ProjectGroup)), (PAUSE.0 * 16, 1));
    centre.mend_program();
    keeper.failing.get_mut(&id).unwrap().after = Instant::now();
    assert_eq!(centre.round(&mut keeper).await, LOOK_EVERY);
    assert!(keeper.failing.is_empty() && centre.orders().len() == 1);
}

#[tokio::test]
async fn a_project_beyond_the_last_gid_gets_no_group() {
    let centre = Centre::open().await;
    centre.has(0, &["alice#1"]).await;
    let id = ProjectId::parse(ID).unwrap();
    for (number, runs) in [(2, 1), (3, 0), (u32::MAX, 0)] {
        if let Some(project) = centre.test.server.projects.lock().get_mut(&id) {
            (project.group, project.applied) = (Some(number), None);
        }
        let mut keeper = Keeper::default();
        centre.round(&mut keeper).await;
        assert_eq!((centre.orders().len(), keeper.failing.len()), (runs, 1 - runs), "{number}");
    }
}
