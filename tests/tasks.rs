//! Tests of tasks in a real installation. A user sees a long copy at UCloud, pauses, resumes and
//! stops it, and it ends with its instance.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::test_site::{self, Part, Person, TestSite};
use countersign_portal::core::ShownTask;
use countersign_portal::{Deed, Intent};

/// Copies that one request asks for.
const COPIES: usize = 200;

/// So many files that the system calls alone take long; they hold almost no data.
const FILES: &str =
    "mkdir -p from; cd from; for i in $(seq 100); do mkdir $i; seq 100 | while read j; do : > $i/$j; done; done";

async fn scene() -> (TestSite, Person) {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let made = centre.shell_as("alice", &format!("cd {}; {FILES}", alice.home.display())).await;
    assert!(made.status.success(), "{}", test_site::said(&made));
    assert!(centre.browse(&alice, "/home").await.is_ok());
    (centre, alice)
}

/// Starts copies so long that Core's request is answered before they are done.
async fn begin_copy(centre: &TestSite, alice: &Person) -> ShownTask {
    let answer = centre.perform(alice, &many_copies()).await;
    assert!(answer.is_ok(), "{answer:?}\n{}", centre.last_words());
    centre.until("the task is shown", async || !centre.control.tasks().is_empty()).await;
    centre.control.tasks().remove(0)
}

fn many_copies() -> Deed {
    Deed::Copy((0..COPIES).map(|n| ("/home/from".to_owned(), format!("/home/copy{n}"))).collect())
}

/// Core's limit of 5 s is too short for both waits in sequence. The copy would be made, and the
/// user told that it failed.
#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn c08_a_late_deposit_and_a_long_copy_are_answered_before_core_gives_up() {
    let centre = TestSite::open_with("[intent]\ndeposit_wait_ms = 3000\n").await;
    let alice = centre.connect("alice").await;
    let made = centre.shell_as("alice", &format!("cd {}; {FILES}", alice.home.display())).await;
    assert!(made.status.success(), "{}", test_site::said(&made));
    assert!(centre.browse(&alice, "/home").await.is_ok());
    let deed = many_copies();
    let request = centre.core.request(&alice.username, &deed, None).unwrap();
    let intent = Intent::of(&centre.origin(), &alice.username, &deed, countersign_portal::now()).unwrap();
    let intent = intent.sign(&alice.key).unwrap();
    let began = Instant::now();
    let late = async {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        centre.core.deposit(&intent).await.unwrap().status
    };
    let (answer, deposited) = tokio::join!(centre.core.send(&request), late);
    let (answer, took) = (answer.unwrap(), began.elapsed());
    assert_eq!((answer.status, deposited), (200, 202), "after {took:?}: {answer:?}\n{}", centre.last_words());
    assert!(took < Duration::from_secs(5), "{took:?}");
    centre.until("it goes on as a task", async || !centre.control.tasks().is_empty()).await;
    let task = centre.control.tasks().remove(0);
    centre.until("it is stopped", async || say(&centre, &alice, task.id, "CANCELLED").await == 200).await;
    centre.until("Core shows that it was stopped", async || state(&centre) == "CANCELLED").await;
}

fn state(centre: &TestSite) -> String {
    centre.control.tasks().first().and_then(|task| task.states.last().cloned()).unwrap_or_default()
}

async fn say(centre: &TestSite, alice: &Person, id: i64, state: &str) -> u16 {
    centre.perform(alice, &Deed::PauseOrCancel(id, state.to_owned())).await.status
}

/// The numbers of copies and of scratch names.
fn copies(alice: &Person) -> (usize, usize) {
    let names = fs::read_dir(&alice.home).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let (scratch, names): (Vec<String>, Vec<String>) = names.partition(|name| name.starts_with(".countersign-"));
    (names.iter().filter(|name| name.starts_with("copy")).count(), scratch.len())
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn a_long_copy_is_shown_rests_goes_on_and_is_stopped() {
    let (centre, alice) = scene().await;
    let task = begin_copy(&centre, &alice).await;
    assert_eq!((task.user.as_str(), task.title.as_str()), ("alice#1234", "Copying files"));
    assert_eq!(task.body, "/home/from → /home/copy0, and 199 more");
    centre.until("it has a whole", async || centre.control.tasks()[0].percentage.is_some()).await;

    // Until the instance has learnt Core's number.
    centre.until("it rests", async || say(&centre, &alice, task.id, "SUSPENDED").await == 200).await;
    centre.until("Core shows that it rests", async || state(&centre) == "SUSPENDED").await;
    let bob = centre.connect("bob").await;
    assert_eq!(say(&centre, &bob, task.id, "RUNNING").await, 404, "another's task is none");
    assert_eq!(say(&centre, &alice, task.id + 1, "RUNNING").await, 404);
    assert_eq!(say(&centre, &alice, task.id, "SUCCESS").await, 400);
    let before = copies(&alice);
    assert_eq!(say(&centre, &alice, task.id, "RUNNING").await, 200);
    centre.until("it goes on", async || copies(&alice).0 > before.0).await;

    assert_eq!(say(&centre, &alice, task.id, "CANCELLED").await, 200);
    centre.until("Core shows that it was stopped", async || state(&centre) == "CANCELLED").await;
    let (whole, scratch) = copies(&alice);
    assert!(whole < COPIES && scratch == 0, "{whole} {scratch}");
    for n in 0..whole {
        let copy = alice.home.join(format!("copy{n}"));
        assert_eq!(fs::read_dir(&copy).unwrap().count(), 100, "a copy that has its name is whole");
        assert_eq!(fs::read_dir(copy.join("100")).unwrap().count(), 100);
    }
    assert_eq!(say(&centre, &alice, task.id, "RUNNING").await, 404, "over is over");
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn a_task_fails_with_its_instance_and_with_its_server() {
    for part in [Part::Instance("alice"), Part::Server] {
        let (centre, alice) = scene().await;
        begin_copy(&centre, &alice).await;
        centre.until("it is under way", async || state(&centre) == "RUNNING").await;
        centre.kill(part);
        centre.until("Core shows that it failed", async || state(&centre) == "FAILURE").await;
        assert!(!centre.control.tasks()[0].is_complete);
        drop(centre);
        fs::remove_dir_all(alice.home.join("from")).unwrap();
        return_home(&alice);
    }
}

/// Removes what an earlier test left in the home directory.
fn return_home(alice: &Person) {
    for n in 0..12 {
        let _none = fs::remove_dir_all(alice.home.join(format!("copy{n}")));
    }
}
