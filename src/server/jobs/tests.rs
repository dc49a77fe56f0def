//! Jobs from an account's report to Core, with programs in Slurm's place that print what the test
//! says. Slurm itself is in `tests/jobs_poller.rs`.

mod links;
mod outages;
mod outside_tests;
mod reconcile_tests;
mod storage_tests;
mod targets;
mod usage_tests;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use countersign_keys::identity::{CoreJobId, LinkName, Uid};
use countersign_keys::session::InterfaceKind;
use countersign_keys::store::jobs::Target;
use countersign_keys::time::Timestamp;
use countersign_portal::CoreKeys;
use countersign_portal::core::{Control, Outage, ShownJob};

use super::*;
use crate::core::client::CoreCalls;
use crate::http::reply::Refusal;
use crate::test_server::{ALICE, BOB, NOW, TestServer, status, user};
use countersign_ipc::alarm::Alarm;
use countersign_ipc::server_protocol::{JobExtend, JobSubmitted, JobSuspend};

/// A server with a Slurm of two files, `queue` and `accounts`, and a Core.
struct Site {
    test: TestServer,
    slurm: tempfile::TempDir,
    core: Control,
    client: CoreCalls,
    commands: Commands,
    /// What the scripts of reported jobs name.
    targets: Vec<Target>,
    /// The public links that reported jobs name.
    links: Vec<LinkName>,
}

/// Connects a user to an account, whose name is the user's before the number sign.
async fn connect(test: &TestServer, uid: Uid, name: &str) {
    let mut browser = test.begun_at_core(name).await;
    let offered = browser.offer(test).await.unwrap();
    let account = name.split('#').next().unwrap();
    test.approve(uid, account, offered["code"].as_str().unwrap()).await.unwrap();
    browser.key.set_kid(offered["kid"].as_str().unwrap());
}

fn program(directory: &Path, name: &str, script: &str) {
    let path = directory.join(name);
    fs::write(&path, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

impl Site {
    async fn new(operator: bool) -> Self {
        Self::with(operator, "").await
    }

    async fn with(operator: bool, tables: &str) -> Self {
        Self::of(&format!("operator = {operator}"), tables).await
    }

    /// With further keys of `[slurm]`.
    async fn of(slurm_keys: &str, tables: &str) -> Self {
        let slurm = tempfile::tempdir().unwrap();
        fs::set_permissions(slurm.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let at = slurm.path().display().to_string();
        program(slurm.path(), "squeue", &format!("exec cat {at}/queue"));
        program(slurm.path(), "sacct", &format!("exec cat {at}/accounts"));
        for name in ["scontrol", "scancel"] {
            program(slurm.path(), name, &format!("echo {name} \"$@\" >>{at}/done"));
        }
        let keys = CoreKeys::generate("hpc").unwrap();
        let core = Control::start(Arc::new(keys)).await.unwrap();
        let keys = CoreKeys::generate("hpc").unwrap();
        let more = format!(
            "[slurm]\ncommands = \"{at}\"\ndrive = \"home\"\n{slurm_keys}\ntime_max_h = 2\n\
             [[drives]]\nid = \"home\"\npath = \"~\"\n{tables}"
        );
        let test = TestServer::with_core(&core.origin(), &keys, Some(core.refresh_token()), &more);
        let config = &test.server.config;
        let client =
            CoreCalls::new(config.core.origin.clone(), config.core.refresh_token.clone().unwrap(), &[]).unwrap();
        let commands = commands_of(config.slurm.as_ref().unwrap());
        let site = Self { test, slurm, core, client, commands, targets: Vec::new(), links: Vec::new() };
        site.queue("");
        site.accounts("");
        for (uid, name) in [(ALICE, "alice#1"), (BOB, "bob#1")] {
            connect(&site.test, uid, name).await;
        }
        site
    }

    fn queue(&self, rows: &str) {
        fs::write(self.slurm.path().join("queue"), rows).unwrap();
    }

    fn accounts(&self, rows: &str) {
        fs::write(self.slurm.path().join("accounts"), rows).unwrap();
    }

    fn done(&self) -> String {
        fs::read_to_string(self.slurm.path().join("done")).unwrap_or_default()
    }

    fn now(&self) -> Timestamp {
        self.test.server.clock.now().unwrap()
    }

    fn let_pass(&self, seconds: i64) {
        self.test.now.fetch_add(seconds, Ordering::SeqCst);
    }

    /// One round of poller and teller.
    async fn round(&self) {
        poller::round(&self.test.server, &self.commands).await.unwrap();
        self.tell().await;
    }

    async fn tell(&self) -> bool {
        teller::round(&self.test.server, &self.client, self.now()).await
    }

    async fn report(&self, uid: Uid, name: &str, id: &str, slurm_id: u32) -> Result<(), Refusal> {
        let report = JobSubmitted {
            username: user(name),
            project: None,
            core_id: CoreJobId::parse(id).unwrap(),
            slurm_id,
            submitted_at: self.now().seconds(),
            output_folder: Some(format!("/7/ucloud-jobs/{id}")),
            targets: self.targets.clone(),
            links: self.links.clone(),
        };
        let reporting = reports::submitted(&self.test.server, uid, report);
        tokio::pin!(reporting);
        loop {
            tokio::select! {
                outcome = &mut reporting => return outcome.map(|_| ()),
                // The poller's answer to being woken.
                () = self.test.server.jobs.look.notified() => {
                    let _answer = poller::round(&self.test.server, &self.commands).await;
                }
            }
        }
    }

    fn job(&self, id: &str) -> ShownJob {
        self.core.jobs().into_iter().find(|job| job.id == id).unwrap()
    }

    /// What a restart of the server leaves: the store.
    fn restart(&self) {
        let stored = self.test.server.records.jobs().unwrap();
        *self.test.server.jobs.lock() = std::mem::take(&mut *table::JobTable::left_behind(stored).lock());
    }
}

fn row(id: u32, uid: u32, state: &str, reason: &str) -> String {
    format!("{id}|{uid}|{state}|0|0|1|{NOW}|{}|0:02|1:00:00|7|normal|n1|{reason}\n", NOW + 3_600)
}

fn record(id: u32, uid: u32, state: &str, exit: &str) -> String {
    format!("{id}|{state}|{exit}|0:0|{uid}|{NOW}|{NOW}|{}|5|billing=1,cpu=1,mem=10M,node=1|n1\n", NOW + 5)
}

#[tokio::test]
async fn a_job_is_told_from_the_queue_to_its_end_each_change_once() {
    let site = Site::new(false).await;
    let id = site.core.add_job("alice#1", None);
    site.queue(&row(62, ALICE.0, "PENDING", "Priority"));
    site.report(ALICE, "alice#1", &id, 62).await.unwrap();
    site.round().await;
    site.round().await;
    assert_eq!(site.job(&id).output_folder, Some(format!("/7/ucloud-jobs/{id}")));
    // The state is Core's already, so only the sentence is new.
    let job = site.job(&id);
    assert_eq!(job.states, Vec::<String>::new());
    assert_eq!(job.statuses, ["The job is in the queue: other jobs come first."]);
    site.queue(&row(62, ALICE.0, "RUNNING", "None"));
    site.round().await;
    site.round().await;
    site.accounts(&record(62, ALICE.0, "FAILED", "3:0"));
    site.queue("");
    site.round().await;
    site.round().await;
    let job = site.job(&id);
    assert_eq!(job.states, ["RUNNING", "FAILURE"]);
    assert_eq!(job.statuses.last().unwrap(), "The job has failed: exit code 3.");
    assert!(site.test.server.jobs.is_empty() && site.test.server.records.jobs().unwrap().is_empty());
}

#[tokio::test]
async fn an_account_cannot_report_a_job_of_another() {
    let site = Site::new(false).await;
    let id = site.core.add_job("bob#1", None);
    site.queue(&row(62, ALICE.0, "RUNNING", "None"));
    // Another account's job at Slurm.
    let alarms = || site.test.server.alarms.raised(Alarm::JobOfAnother);
    assert_eq!(alarms(), 0);
    assert_eq!(status(site.report(BOB, "bob#1", &id, 62).await), (403, "NOT_YOURS"));
    assert_eq!(alarms(), 1);
    // A user who is not this account's.
    assert_eq!(status(site.report(BOB, "alice#1", &id, 62).await).0, 404);
    // Another user's job at Core, with a job of one's own at Slurm.
    site.report(ALICE, "alice#1", &id, 62).await.unwrap();
    assert_eq!(alarms(), 1);
    site.round().await;
    assert_eq!((site.job(&id).updates, site.test.server.jobs.is_empty()), (0, true));
    assert_eq!(alarms(), 2);
    // An id that another account has reported first is not taken.
    let id = site.core.add_job("bob#1", None);
    site.queue(&[row(62, ALICE.0, "RUNNING", "None"), row(63, BOB.0, "RUNNING", "None")].concat());
    site.report(ALICE, "alice#1", &id, 62).await.unwrap();
    site.report(BOB, "bob#1", &id, 63).await.unwrap();
    site.round().await;
    assert_eq!(site.job(&id).state, "RUNNING");
}

#[tokio::test]
async fn slurm_that_does_not_answer_ends_nothing() {
    let site = Site::new(false).await;
    let id = site.core.add_job("alice#1", None);
    site.queue(&row(62, ALICE.0, "RUNNING", "None"));
    site.report(ALICE, "alice#1", &id, 62).await.unwrap();
    site.round().await;
    program(site.slurm.path(), "squeue", "echo 'squeue: error: Unable to contact slurm controller' >&2; exit 1");
    for _ in 0..10 {
        site.let_pass(600);
        assert!(poller::round(&site.test.server, &site.commands).await.is_err());
        site.tell().await;
    }
    assert_eq!(site.job(&id).states, ["RUNNING"]);
    // The queue answers again with a line that cannot be read: the job may be in it.
    program(site.slurm.path(), "squeue", "echo nonsense");
    for _ in 0..10 {
        site.let_pass(600);
        site.round().await;
    }
    assert_eq!(site.job(&id).states, ["RUNNING"]);
    // Both answer, and know nothing.
    program(site.slurm.path(), "squeue", "exit 0");
    site.let_pass(61);
    site.round().await;
    assert_eq!(site.job(&id).states, ["RUNNING"]);
    site.let_pass(decide::LOST_AFTER_S);
    site.round().await;
    assert_eq!(site.job(&id).states, ["RUNNING", "FAILURE"]);
}

#[tokio::test]
async fn a_restart_between_telling_and_noting_repeats_nothing() {
    let site = Site::new(false).await;
    let id = site.core.add_job("alice#1", None);
    site.queue(&row(62, ALICE.0, "RUNNING", "None"));
    site.report(ALICE, "alice#1", &id, 62).await.unwrap();
    site.round().await;
    // Core took the end, and its answer was lost.
    site.queue("");
    site.accounts(&record(62, ALICE.0, "COMPLETED", "0:0"));
    poller::round(&site.test.server, &site.commands).await.unwrap();
    site.core.set_outage(Outage::Mute(1));
    site.tell().await;
    site.restart();
    site.let_pass(200);
    site.round().await;
    let job = site.job(&id);
    assert_eq!(job.states, ["RUNNING", "SUCCESS"]);
    assert_eq!(job.statuses.iter().filter(|words| words.contains("completed")).count(), 1);
    assert!(site.test.server.jobs.is_empty());
}

#[tokio::test]
async fn an_end_that_core_could_not_be_told_is_told_after_a_restart() {
    let site = Site::new(false).await;
    let id = site.core.add_job("alice#1", None);
    site.queue(&row(62, ALICE.0, "RUNNING", "None"));
    site.report(ALICE, "alice#1", &id, 62).await.unwrap();
    site.round().await;
    site.core.set_outage(Outage::Down);
    site.accounts(&record(62, ALICE.0, "COMPLETED", "0:0"));
    site.queue("");
    poller::round(&site.test.server, &site.commands).await.unwrap();
    site.tell().await;
    assert_eq!(site.job(&id).states, ["RUNNING"]);
    // Meanwhile Slurm forgets the job.
    site.accounts("");
    site.restart();
    site.core.set_outage(Outage::None);
    site.round().await;
    assert_eq!(site.job(&id).states, ["RUNNING", "SUCCESS"]);
}

#[tokio::test]
async fn reasons_are_told_once_a_change_and_not_more_often_than_once_a_minute() {
    let site = Site::new(false).await;
    let id = site.core.add_job("alice#1", None);
    site.queue(&row(62, ALICE.0, "PENDING", "JobHeldUser"));
    site.report(ALICE, "alice#1", &id, 62).await.unwrap();
    site.round().await;
    site.round().await;
    assert_eq!(site.job(&id).statuses, ["The job is held by its owner."]);
    for reason in ["Priority", "Resources", "Priority", "Resources"] {
        site.queue(&row(62, ALICE.0, "PENDING", reason));
        site.let_pass(5);
        site.round().await;
    }
    assert_eq!(site.job(&id).statuses.len(), 1);
    site.let_pass(60);
    site.round().await;
    site.round().await;
    assert_eq!(site.job(&id).statuses.len(), 2);
}

#[tokio::test]
async fn a_forecast_is_told_with_its_reason_and_alone_once_in_half_an_hour() {
    let site = Site::new(false).await;
    let id = site.core.add_job("alice#1", None);
    let mine = row(62, ALICE.0, "PENDING", "Priority");
    let others = |count: u32| (0..count).map(|at| row(10 + at, BOB.0, "PENDING", "Priority")).collect::<String>();
    site.queue(&(others(3) + &mine));
    site.report(ALICE, "alice#1", &id, 62).await.unwrap();
    site.round().await;
    site.round().await;
    let first = "The job is in the queue: other jobs come first. 3 jobs are ahead of it.";
    assert_eq!(site.job(&id).statuses, [first]);
    for count in [2, 4, 2] {
        site.queue(&(others(count) + &mine));
        site.let_pass(300);
        site.round().await;
    }
    assert_eq!(site.job(&id).statuses.len(), 1);
    site.let_pass(900);
    site.round().await;
    site.round().await;
    let second = "The job is in the queue: other jobs come first. 2 jobs are ahead of it.";
    assert_eq!(site.job(&id).statuses, [first, second]);
    // Another reason is told as before.
    site.queue(&(others(2) + &row(62, ALICE.0, "PENDING", "JobHeldUser")));
    site.let_pass(60);
    site.round().await;
    site.round().await;
    assert_eq!(site.job(&id).statuses.last().unwrap(), "The job is held by its owner.");
}

#[tokio::test]
async fn a_job_that_core_has_forgotten_is_cancelled_after_three_answers_and_five_minutes() {
    for operator in [true, false] {
        let site = Site::new(operator).await;
        let id = site.core.add_job("alice#1", None);
        let other = site.core.add_job("alice#1", None);
        site.queue(&[row(62, ALICE.0, "RUNNING", "None"), row(63, ALICE.0, "RUNNING", "None")].concat());
        site.report(ALICE, "alice#1", &id, 62).await.unwrap();
        site.report(ALICE, "alice#1", &other, 63).await.unwrap();
        site.core.remove_job(&id);
        for _ in 0..3 {
            site.round().await;
            assert_eq!(site.done(), "");
            site.let_pass(101);
        }
        // One forgotten id does not keep the others away.
        assert_eq!(site.job(&other).state, "RUNNING");
        site.round().await;
        assert_eq!(site.done(), if operator { "scancel 62\n" } else { "" });
        site.let_pass(1_000);
        site.round().await;
        assert_eq!(site.done().lines().count(), usize::from(operator));
        site.queue(&row(63, ALICE.0, "RUNNING", "None"));
        site.accounts(&record(62, ALICE.0, "CANCELLED by 0", "0:15"));
        site.round().await;
        site.round().await;
        assert_eq!(site.test.server.jobs.lock().len(), 1);
    }
}

#[tokio::test]
async fn only_an_operator_extends_and_only_the_callers_own_running_job() {
    let extend = |id: &str, minutes| JobExtend { core_id: CoreJobId::parse(id).unwrap(), minutes };
    let site = Site::new(false).await;
    assert_eq!(status(operator::extend(&site.test.server, ALICE, extend("1", 5)).await).0, 403);
    let site = Site::new(true).await;
    let id = site.core.add_job("alice#1", None);
    site.queue(&row(62, ALICE.0, "RUNNING", "None"));
    site.report(ALICE, "alice#1", &id, 62).await.unwrap();
    site.round().await;
    let server = &site.test.server;
    assert_eq!(status(operator::extend(server, BOB, extend(&id, 5)).await).0, 404);
    for minutes in [0, 61, u32::MAX] {
        assert_eq!(status(operator::extend(server, ALICE, extend(&id, minutes)).await).0, 400, "{minutes}");
    }
    assert_eq!(site.done(), "");
    operator::extend(server, ALICE, extend(&id, 30)).await.unwrap();
    assert_eq!(site.done(), "scontrol update JobId=62 TimeLimit=90\n");
    // Slurm shows the new limit, and Core is told it in milliseconds.
    site.queue(&row(62, ALICE.0, "RUNNING", "None").replace("1:00:00", "1:30:00"));
    site.round().await;
    assert_eq!(site.job(&id).time_allocation_ms, Some(90 * 60_000));
    let suspend = JobSuspend { core_id: CoreJobId::parse(&id).unwrap(), suspend: true };
    assert_eq!(status(operator::suspend(server, BOB, suspend.clone()).await).0, 404);
    operator::suspend(server, ALICE, suspend).await.unwrap();
    assert!(site.done().ends_with("scontrol suspend 62\n"));
    // A row that is too old proves nothing.
    site.let_pass(1_000);
    assert_eq!(status(operator::extend(server, ALICE, extend(&id, 5)).await).0, 503);
    // Slurm gave the number to another account's job.
    site.queue(&row(62, BOB.0, "RUNNING", "None"));
    site.round().await;
    assert!(operator::extend(server, ALICE, extend(&id, 5)).await.is_err());
    assert_eq!(site.done().lines().count(), 2);
}

#[tokio::test]
async fn odd_reports_are_refused() {
    let site = Site::new(false).await;
    let report = |slurm_id, submitted_at, folder: &str| JobSubmitted {
        username: user("alice#1"),
        project: None,
        core_id: CoreJobId::parse("7").unwrap(),
        slurm_id,
        submitted_at,
        output_folder: Some(folder.to_owned()),
        targets: Vec::new(),
        links: Vec::new(),
    };
    let naming = |name: &str, count: usize| JobSubmitted {
        targets: vec![Target { rank: 0, kind: InterfaceKind::Web, name: name.to_owned(), port: 80 }; count],
        ..report(62, NOW, "/7")
    };
    for bad in [
        naming("a\nb", 1),
        naming(&"a".repeat(65), 1),
        naming("a", 65),
        report(0, NOW, "/7"),
        report(62, 0, "/7"),
        report(62, NOW + 301, "/7"),
        report(62, NOW, "7"),
        report(62, NOW, "/7\n"),
        report(62, NOW, &"/7".repeat(4_096)),
    ] {
        assert_eq!(status(reports::submitted(&site.test.server, ALICE, bad).await).0, 400);
    }
    assert!(site.test.server.jobs.is_empty());
}
