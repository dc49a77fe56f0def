//! Tasks, from an instance's report to what a user sees at Core: also with Core away, and after the
//! end of the instance or the server.

use std::sync::Arc;
use std::time::Duration;

use countersign_keys::time::Timestamp;
use countersign_portal::CoreKeys;
use countersign_portal::core::{Control, Outage, ShownTask};

use crate::core::client::CoreCalls;
use crate::core::task_table::TaskTable;
use crate::core::tasks;
use crate::test_server::{ALICE, BOB, NOW, TestServer, status, user};
use countersign_ipc::server_protocol::{TASK_SILENCE_MAX_S, TaskBegun, TaskState, TaskStatus, TaskTold};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(NOW + seconds)
}

struct Scene {
    test: TestServer,
    control: Control,
    calls: CoreCalls,
}

impl Scene {
    async fn new() -> Self {
        let keys = Arc::new(CoreKeys::generate("hpc").unwrap());
        let control = Control::start(Arc::clone(&keys)).await.unwrap();
        let test = TestServer::with_core(&control.origin(), &keys, Some(control.refresh_token()), "");
        let core = &test.server.config.core;
        let calls = CoreCalls::new(core.origin.clone(), core.refresh_token.clone().unwrap(), &core.ca).unwrap();
        test.connected().await;
        Self { test, control, calls }
    }

    async fn begin(&self) -> u64 {
        let begun =
            TaskBegun {
                username: user("alice#1"), title: "Copying files".to_owned(), body: "/1/a\n→ /1/b".to_owned()
            };
        tasks::begin(&self.test.server, ALICE, begun).await.unwrap().number
    }

    fn tell(&self, number: u64, state: TaskState, progress: &str, percentage: Option<u8>) -> Option<i64> {
        let status = TaskStatus { state, progress: progress.to_owned(), percentage };
        tasks::tell(&self.test.server, ALICE, TaskTold { number, status }).unwrap().core_id
    }

    async fn round(&self) -> bool {
        self.round_at(0).await
    }

    async fn round_at(&self, seconds: i64) -> bool {
        tasks::round(&self.test.server, &self.calls, at(seconds)).await
    }

    fn only(&self) -> ShownTask {
        let [task] = self.control.tasks().try_into().unwrap();
        task
    }

    fn in_store(&self) -> usize {
        self.test.server.records.tasks().unwrap().len()
    }
}

#[tokio::test]
async fn a_task_is_shown_from_its_beginning_to_its_end() {
    let scene = Scene::new().await;
    let number = scene.begin().await;
    assert_eq!(scene.tell(number, TaskState::Running, "1 of 4 files", Some(25)), None);
    assert!(scene.round().await);
    let shown = scene.only();
    assert_eq!(
        (shown.user.as_str(), shown.title.as_str(), shown.body.as_str()),
        ("alice#1", "Copying files", "/1/a→ /1/b")
    );
    assert_eq!(
        (shown.states.clone(), shown.progress.as_str(), shown.percentage),
        (vec!["IN_QUEUE".into(), "RUNNING".into()], "1 of 4 files", Some(25))
    );
    assert_eq!(scene.tell(number, TaskState::Suspended, "2 of 4 files", Some(50)), Some(shown.id));
    scene.round().await;
    scene.tell(number, TaskState::Success, "4 of 4 files", Some(100));
    scene.round().await;
    let shown = scene.only();
    assert_eq!(
        (shown.states, shown.is_complete),
        (vec!["IN_QUEUE".into(), "RUNNING".into(), "SUSPENDED".into(), "SUCCESS".into()], true)
    );
    assert_eq!(scene.in_store(), 0);
    let over = TaskTold {
        number,
        status: TaskStatus { state: TaskState::Running, progress: String::new(), percentage: None },
    };
    assert_eq!(status(tasks::tell(&scene.test.server, ALICE, over)), (404, "NOT_FOUND"));
}

/// Core lists the tasks of which it has heard within five minutes.
#[tokio::test]
async fn c07_a_paused_task_stays_in_its_users_list() {
    let scene = Scene::new().await;
    let number = scene.begin().await;
    scene.tell(number, TaskState::Suspended, "2 of 4 files", Some(50));
    for seconds in (0..=3600).step_by(15) {
        assert_eq!(scene.control.listed_tasks().len(), usize::from(seconds > 0), "{seconds} s");
        assert!(scene.round_at(seconds).await);
        scene.control.let_pass(Duration::from_secs(15));
    }
    let shown = scene.only();
    assert_eq!((shown.states.last().unwrap().as_str(), shown.updates), ("SUSPENDED", 16), "once every four minutes");
}

#[tokio::test]
async fn an_account_tells_of_its_own_tasks_alone() {
    let scene = Scene::new().await;
    let number = scene.begin().await;
    let begun = TaskBegun { username: user("alice#1"), title: String::new(), body: String::new() };
    assert_eq!(status(tasks::begin(&scene.test.server, BOB, begun).await), (404, "NOT_FOUND"));
    let told = TaskTold {
        number,
        status: TaskStatus { state: TaskState::Success, progress: String::new(), percentage: None },
    };
    assert_eq!(status(tasks::tell(&scene.test.server, BOB, told)), (404, "NOT_FOUND"));
    let mut refused = 0;
    for _ in 0..100 {
        let begun = TaskBegun { username: user("alice#1"), title: String::new(), body: String::new() };
        refused += usize::from(tasks::begin(&scene.test.server, ALICE, begun).await.is_err());
    }
    assert_eq!(refused, 37, "64 at a time");
}

#[tokio::test]
async fn a_core_that_was_away_hears_the_latest_when_it_is_back() {
    let scene = Scene::new().await;
    let number = scene.begin().await;
    scene.control.set_outage(Outage::Down);
    assert!(!scene.round().await);
    scene.tell(number, TaskState::Failure, "there is not enough space", None);
    assert!(!scene.round().await);
    scene.control.set_outage(Outage::None);
    assert!(scene.round().await);
    let shown = scene.only();
    assert_eq!(
        (shown.states.last().unwrap().as_str(), shown.progress.as_str(), shown.is_complete),
        ("FAILURE", "there is not enough space", false)
    );
    assert_eq!(scene.in_store(), 0);
}

#[tokio::test]
async fn what_an_instance_did_that_is_gone_or_silent_has_failed() {
    for silent in [false, true] {
        let scene = Scene::new().await;
        let number = scene.begin().await;
        scene.round().await;
        if silent {
            scene.test.server.tasks.fail_silent(at(TASK_SILENCE_MAX_S));
            scene.round().await;
            assert_eq!(scene.only().states.last().unwrap(), "RUNNING");
            scene.test.server.tasks.fail_silent(at(TASK_SILENCE_MAX_S + 1));
        } else {
            scene.test.server.tasks.instance_gone(BOB);
            scene.test.server.tasks.instance_gone(ALICE);
        }
        scene.tell(number, TaskState::Success, "", None);
        scene.round().await;
        let shown = scene.only();
        assert_eq!((shown.states.last().unwrap().as_str(), shown.is_complete), ("FAILURE", false), "over is over");
    }
}

#[tokio::test]
async fn what_was_under_way_when_the_server_ended_has_failed() {
    let scene = Scene::new().await;
    scene.begin().await;
    scene.round().await;
    let desk = TaskTable::left_behind(scene.test.server.records.tasks().unwrap(), at(60));
    let TestServer { server, .. } = scene.test;
    let server =
        Arc::into_inner(server).map(|server| crate::state::Server { tasks: desk, ..server }).map(Arc::new).unwrap();
    assert!(tasks::round(&server, &scene.calls, at(60)).await);
    let [shown] = <[ShownTask; 1]>::try_from(scene.control.tasks()).unwrap();
    assert_eq!(
        (shown.states.last().unwrap().as_str(), shown.progress.as_str()),
        ("FAILURE", "the provider was restarted")
    );
    assert_eq!(server.records.tasks().unwrap(), []);
}
