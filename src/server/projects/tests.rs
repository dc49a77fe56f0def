//! Attacks of a taken-over Core by events, each test named after what it refuses.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::atomic::Ordering;

use countersign_ipc::alarm::Alarm;
use countersign_ipc::server_protocol::{
    DecidedMember, ListedMember, MemberWaits, ProjectMembersList, ProjectsDecided, ProjectsDecision, ProjectsList,
};
use countersign_keys::identity::{ProjectId, Uid};
use countersign_keys::store::projects::{PROJECTS_MAX, ProjectRole};

use super::decisions::decide;
use super::{listing, membership, rules};
use crate::events::project::SeenProject;
use crate::http::reply::Refusal;
use crate::test_server::{ALICE, NOW, TestServer, status, user};

const PI: ProjectRole = ProjectRole::Pi;
const USER: ProjectRole = ProjectRole::User;
const PROJECTS: &str = "[projects]\nremovals_an_hour = 3\nremovals_an_hour_in_all = 4\n";
const ROOT: Uid = Uid(0);

fn id(number: usize) -> ProjectId {
    ProjectId::parse(&format!("0b5bd6d5-2b8a-4d3c-9f5e-{number:012}")).unwrap()
}

fn seen(project: usize, second: i64, members: &[(&str, ProjectRole)]) -> SeenProject {
    SeenProject {
        id: id(project),
        title: "Ice cores".to_owned(),
        modified_ms: (NOW + second) * 1_000,
        is_archived: false,
        members: members.iter().map(|(name, role)| (user(name), *role)).collect(),
    }
}

/// A server that takes part in projects.
struct Centre(TestServer);

impl Centre {
    async fn open() -> Self {
        Self(TestServer::with_users(PROJECTS).await)
    }

    async fn hears(&self, project: usize, second: i64, members: &[(&str, ProjectRole)]) {
        membership::take_up(&self.0.server, &seen(project, second, members)).await.unwrap();
    }

    async fn listed(&self, list: ProjectMembersList) -> Vec<ListedMember> {
        let page = listing::members(&self.0.server, ROOT, list).await.unwrap();
        assert!(!page.more);
        page.members
    }

    async fn waiting(&self) -> Vec<(String, MemberWaits)> {
        let waiting = self.listed(ProjectMembersList { waiting: true, ..ProjectMembersList::default() }).await;
        waiting.into_iter().map(|member| (member.username.to_string(), member.waits.unwrap())).collect()
    }

    async fn confirmed(&self, project: usize) -> Vec<String> {
        let list = ProjectMembersList { project: Some(id(project)), ..ProjectMembersList::default() };
        let confirmed = self.listed(list).await.into_iter().filter(|member| member.confirmed.is_some());
        confirmed.map(|member| member.username.to_string()).collect()
    }

    /// Approves what an administrator sees of these members.
    async fn approve(&self, project: usize, names: &[&str]) -> Result<(), Refusal> {
        let list = ProjectMembersList { project: Some(id(project)), ..ProjectMembersList::default() };
        let mut members = self.listed(list).await;
        members.retain(|member| names.contains(&member.username.as_str()));
        let as_seen = |one: ListedMember| DecidedMember { username: one.username, role: one.role, waits: one.waits };
        let members = members.into_iter().map(as_seen).collect();
        self.decide(ROOT, project, members, ProjectsDecision::Approve).await
    }

    async fn decide(
        &self,
        uid: Uid,
        project: usize,
        members: Vec<DecidedMember>,
        decision: ProjectsDecision,
    ) -> Result<(), Refusal> {
        decide(&self.0.server, uid, ProjectsDecided { project: id(project), members, decision }).await.map(|_| ())
    }

    fn decisions(&self) -> String {
        self.0.server.decisions.settle_all();
        std::fs::read_to_string(self.0.directory.path().join("decisions.jsonl")).unwrap()
    }
}

fn decided(name: &str, role: ProjectRole, waits: MemberWaits) -> Vec<DecidedMember> {
    vec![DecidedMember { username: user(name), role, waits: Some(waits) }]
}

#[tokio::test]
async fn pr01_an_invented_member_is_not_admitted() {
    let centre = Centre::open().await;
    centre.hears(1, 0, &[("alice#1", PI)]).await;
    centre.approve(1, &["alice#1"]).await.unwrap();
    centre.hears(1, 1, &[("alice#1", PI), ("mallory#1", PI)]).await;
    assert_eq!(centre.confirmed(1).await, ["alice#1"]);
    assert_eq!(centre.waiting().await, [("mallory#1".to_owned(), MemberWaits::Addition)]);
    let connected = ProjectMembersList { connected: true, ..ProjectMembersList::default() };
    let connected = centre.listed(connected).await;
    assert_eq!((connected.len(), connected[0].account.as_deref()), (1, Some("alice")));
    // Each decision is in the audit log, with the user and the project.
    let decisions = centre.decisions();
    let approved = decisions.lines().find(|line| line.contains("projects.decide")).unwrap();
    assert!(approved.contains("alice#1") && approved.contains(&format!("approve {} PI", id(1))), "{approved}");
}

#[tokio::test]
async fn pr02_only_administrators_decide() {
    let centre = Centre::open().await;
    centre.hears(1, 0, &[("alice#1", PI)]).await;
    let of = || decided("alice#1", PI, MemberWaits::Addition);
    assert_eq!(status(centre.decide(ALICE, 1, of(), ProjectsDecision::Approve).await), (403, "FORBIDDEN"));
    assert_eq!(listing::projects(&centre.0.server, ALICE, &ProjectsList::default()).unwrap_err().told.number(), 403);
    let list = ProjectMembersList::default();
    assert_eq!(listing::members(&centre.0.server, ALICE, list).await.unwrap_err().told.number(), 403);
    assert!(centre.confirmed(1).await.is_empty());
    // Where projects are not configured there is nothing to decide.
    let without = TestServer::new("");
    assert_eq!(listing::projects(&without.server, ROOT, &ProjectsList::default()).unwrap_err().told.number(), 404);
}

#[tokio::test]
async fn pr03_what_core_changes_after_the_administrator_looked_is_not_approved() {
    let centre = Centre::open().await;
    centre.hears(1, 0, &[("alice#1", PI), ("bob#1", USER)]).await;
    centre.hears(1, 1, &[("alice#1", PI), ("bob#1", PI)]).await;
    let seen_before = decided("bob#1", USER, MemberWaits::Addition);
    assert_eq!(status(centre.decide(ROOT, 1, seen_before, ProjectsDecision::Approve).await).0, 409);
    assert!(centre.confirmed(1).await.is_empty());
    // All of a decision or nothing of it.
    let mut both = decided("alice#1", PI, MemberWaits::Addition);
    both.extend(decided("carl#1", USER, MemberWaits::Addition));
    assert_eq!(status(centre.decide(ROOT, 1, both, ProjectsDecision::Approve).await).0, 400);
    assert!(centre.confirmed(1).await.is_empty());
    centre.decide(ROOT, 1, decided("bob#1", PI, MemberWaits::Addition), ProjectsDecision::Reject).await.unwrap();
    assert_eq!(centre.waiting().await, [("alice#1".to_owned(), MemberWaits::Addition)]);
}

#[tokio::test]
async fn pr04_a_project_cannot_be_emptied() {
    let centre = Centre::open().await;
    let all = [("alice#1", PI), ("b#1", USER), ("c#1", USER), ("d#1", USER), ("e#1", USER), ("f#1", USER)];
    for project in [1, 2] {
        centre.hears(project, 0, &all).await;
        centre.approve(project, &all.map(|(name, _)| name)).await.unwrap();
        centre.hears(project, 1, &[]).await;
    }
    // Three of one project, and four in all. The PIs stay.
    assert_eq!(centre.confirmed(1).await, ["alice#1", "e#1", "f#1"]);
    assert_eq!(centre.confirmed(2).await, ["alice#1", "c#1", "d#1", "e#1", "f#1"]);
    assert_eq!(centre.0.server.alarms.raised(Alarm::ProjectRemovals), 2);
    assert_eq!(centre.decisions().matches("projects.removed").count(), 4);
    // An hour later they still wait, although Core repeats it.
    centre.0.now.fetch_add(rules::HOUR_S + 1, Ordering::SeqCst);
    centre.hears(1, 2, &[]).await;
    assert_eq!(centre.confirmed(1).await.len(), 3);
    centre.approve(1, &["e#1", "f#1"]).await.unwrap();
    assert_eq!(centre.confirmed(1).await, ["alice#1"]);
}

#[tokio::test]
async fn pr05_last_years_events_restore_no_member() {
    let centre = Centre::open().await;
    centre.hears(1, 0, &[("alice#1", PI), ("bob#1", USER)]).await;
    centre.approve(1, &["alice#1", "bob#1"]).await.unwrap();
    centre.hears(1, 9, &[("alice#1", PI)]).await;
    centre.hears(1, 0, &[("alice#1", PI), ("bob#1", USER)]).await;
    assert_eq!((centre.confirmed(1).await, centre.waiting().await), (vec!["alice#1".to_owned()], vec![]));
    // The same with a new time: bob waits as any other.
    centre.hears(1, 10, &[("alice#1", PI), ("bob#1", USER)]).await;
    assert_eq!(centre.confirmed(1).await, ["alice#1"]);
}

#[tokio::test]
async fn pr06_a_title_names_no_group() {
    let centre = Centre::open().await;
    for (project, title) in [(1, "root"), (2, "../../etc/group\n"), (3, "root")] {
        let event = SeenProject { title: title.to_owned(), ..seen(project, 0, &[("alice#1", PI)]) };
        membership::take_up(&centre.0.server, &event).await.unwrap();
        centre.approve(project, &["alice#1"]).await.unwrap();
    }
    let groups = |centre: &Centre| -> Vec<Option<u32>> {
        let listed = listing::projects(&centre.0.server, ROOT, &ProjectsList::default()).unwrap();
        listed.projects.into_iter().map(|project| project.group).collect()
    };
    assert_eq!(groups(&centre), [Some(1), Some(2), Some(3)]);
    // Another title, and another PI, leave the number as it is.
    let event = SeenProject { title: "sudo".to_owned(), ..seen(1, 1, &[("alice#1", PI), ("bob#1", PI)]) };
    membership::take_up(&centre.0.server, &event).await.unwrap();
    centre.approve(1, &["bob#1"]).await.unwrap();
    assert_eq!(groups(&centre), [Some(1), Some(2), Some(3)]);
}

#[tokio::test]
async fn pr07_a_flood_of_projects_displaces_none_that_has_members() {
    let centre = Centre::open().await;
    centre.hears(0, 0, &[("alice#1", PI)]).await;
    centre.approve(0, &["alice#1"]).await.unwrap();
    {
        // As many as there can be, without a write of each.
        let mut projects = centre.0.server.projects.lock();
        for number in 1..PROJECTS_MAX {
            let mut record = rules::unknown(id(number));
            record.modified_ms = NOW * 1_000 + i64::try_from(number).unwrap();
            projects.insert(id(number), record);
        }
    }
    for number in 0..5 {
        centre.hears(PROJECTS_MAX + number, 100, &[("mallory#1", PI)]).await;
    }
    let projects = centre.0.server.projects.lock();
    assert_eq!(projects.len(), PROJECTS_MAX);
    assert!(projects.contains_key(&id(0)) && !projects.contains_key(&id(5)) && projects.contains_key(&id(6)));
}

#[tokio::test]
async fn pr08_members_are_on_record_before_they_are_in_memory() {
    let centre = Centre::open().await;
    centre.hears(1, 0, &[("alice#1", PI)]).await;
    centre.approve(1, &["alice#1"]).await.unwrap();
    let recorded = centre.0.server.records.projects().unwrap();
    let in_memory: Vec<_> = centre.0.server.projects.lock().values().cloned().collect();
    assert_eq!(recorded, in_memory);
    // The number of a group is given once.
    let record = recorded.into_iter().next().unwrap();
    assert_eq!((record.group, centre.0.server.records.number_project(&record).unwrap()), (Some(1), 2));
}
