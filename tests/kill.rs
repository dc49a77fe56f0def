//! Tests with `kill -9` of every process during traffic. No used intent is accepted again, no
//! record is lost, and the service recovers by itself (P4, P8, P9).
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::test_site::{self, Part, Person, TestSite};
use countersign_portal::{Answer, Deed, Fault, Request};
use serde_json::Value;

/// The longest interruption for users.
const BACK_MAX: Duration = Duration::from_secs(2);
/// Requests under way at any moment.
const AT_ONCE: usize = 8;
/// Requests answered before the kill, and again after it.
const WARM: usize = 20;

/// The pause of a user who got no answer.
const AFTER_CUT: Duration = Duration::from_millis(25);

/// A sent request and its outcome. Each request makes a different folder, so that the disk shows
/// how often it was accepted.
struct Sent {
    folder: String,
    request: Request,
    answer: Result<Answer, Fault>,
}

impl Sent {
    fn is_done(&self) -> bool {
        self.answer.as_ref().is_ok_and(Answer::is_ok)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn v39_the_gateway_is_killed() {
    killed(Part::Gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn v39_the_server_is_killed() {
    killed(Part::Server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn v39_the_instance_is_killed() {
    killed(Part::Instance("alice")).await;
}

/// In the middle of a copy: its leftovers are removed soon after, and files that only look like
/// them stay.
#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn an_instance_that_is_killed_while_it_copies_leaves_nothing_half_done() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let script = "mkdir from to; cd from; for i in $(seq 400); do mkdir $i; \
                  for j in $(seq 50); do echo $i > $i/$j; done; done; cd ..; echo mine > to/.countersign-copy-mine.part";
    let made = centre.shell_as("alice", &format!("cd {}; {script}", alice.home.display())).await;
    assert!(made.status.success(), "{}", test_site::said(&made));
    let parts = || {
        let entries = fs::read_dir(alice.home.join("to")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(".countersign-")).collect::<Vec<_>>()
    };
    let mine = [".countersign-copy-mine.part"];
    assert!(centre.browse(&alice, "/home").await.is_ok());
    let copy = centre.signed(&alice, &Deed::copy("/home/from", "/home/to/copy"));
    let copying = centre.core.send(&copy);
    let killing = async {
        centre.until("a copy is under way", async || parts().len() > 1).await;
        centre.kill(Part::Instance("alice"));
    };
    let (_cut, ()) = tokio::join!(copying, killing);
    assert_eq!(parts().len(), 2, "it was killed in the middle");
    centre.until("users are served", async || is_served(&centre, &alice).await).await;
    let notes = || fs::read_dir(alice.home.join(".local/state/countersign/unfinished")).unwrap().count();
    centre.until("it is gone, and its note", async || parts() == mine && notes() == 0).await;
    assert!(!alice.home.join("to/copy").exists());
    assert_eq!(fs::read(alice.home.join("to").join(mine[0])).unwrap(), b"mine\n");
}

async fn killed(part: Part) {
    let centre = Arc::new(TestSite::open().await);
    let alice = Arc::new(centre.connect("alice").await);
    assert!(centre.browse(&alice, "/home").await.is_ok(), "{}", centre.last_words());

    let traffic = Traffic::start(&centre, &alice);
    traffic.until_done(WARM).await;
    let killed_at = Instant::now();
    let before = centre.pid(part);
    centre.kill(part);
    centre.until("another one is there", async || centre.pid(part).is_some_and(|now| Some(now) != before)).await;
    centre.until("users are served", async || is_served(&centre, &alice).await).await;
    let gone = killed_at.elapsed();
    traffic.until_done(traffic.done() + WARM).await;
    let sent = traffic.stop().await;
    assert!(gone <= BACK_MAX, "{part:?} was back after {gone:?}, {BACK_MAX:?} allowed");

    let made_once = |sent: &[Sent]| {
        for one in sent {
            let times = folders(&alice, &one.folder);
            let at_least = usize::from(one.is_done());
            assert!((at_least..=1).contains(&times), "{} was made {times} times: {:?}", one.folder, one.answer);
        }
    };
    made_once(&sent);
    let done = sent.iter().filter(|one| one.is_done()).count();
    let cut = sent.iter().filter(|one| one.answer.is_err()).count();

    // Sends every request again while all intents are fresh: used intents stay used.
    for one in sent.iter().filter(|one| one.is_done()) {
        let answer = centre.core.send(&one.request).await.unwrap();
        assert_eq!((answer.status, answer.error_code().as_str()), (482, "INTENT_REPLAYED"), "{}", one.folder);
    }
    for one in sent.iter().filter(|one| !one.is_done()) {
        let _either_way = centre.core.invoke(&one.request).await;
    }
    made_once(&sent);

    // Every answer that was given, success or refusal, has its line.
    let logged: BTreeSet<String> = centre
        .decisions()
        .iter()
        .filter(|decision| decision["process"] == "gateway")
        .map(|decision| decision["requestId"].as_str().unwrap_or_default().to_owned())
        .collect();
    for answer in sent.iter().filter_map(|one| one.answer.as_ref().ok()) {
        let id = answer.header("x-request-id");
        assert!(!id.is_empty() && logged.contains(id), "no record of {id:?}: {answer:?}");
    }
    // So has all work that was done, answered or not, at the gateway and in the instance.
    let made = sent.iter().filter(|one| folders(&alice, &one.folder) == 1).count();
    let forwarded = centre.decisions().iter().filter(|decision| is_forward(decision)).count();
    assert!(forwarded >= made, "{made} folders, {forwarded} records of the gateway");
    // The server reads what instances print. Output that it had not written yet is lost with it.
    if !matches!(part, Part::Server) {
        let worked = || centre.judged().iter().filter(|decision| is_forward(decision)).count();
        centre.until("the instance has a record of each folder", async || worked() >= made).await;
    }
    // The logs verify, whichever process was killed while it wrote or signed them.
    let verified = centre.run_as("ucloud", &["audit", "verify"]).await;
    assert!(verified.status.success(), "{}", test_site::said(&verified));
    #[allow(clippy::print_stdout, reason = "the figure that is quoted elsewhere")]
    {
        println!("{part:?} killed: back after {} ms; {done} requests answered, {cut} cut off", gone.as_millis());
    }
}

async fn is_served(centre: &TestSite, person: &Person) -> bool {
    centre.core.invoke(&centre.signed(person, &Deed::browse("/home"))).await.is_ok_and(|answer| answer.is_ok())
}

fn is_forward(decision: &Value) -> bool {
    decision["decision"] == "forward" && decision["call"] == "files.createFolder"
}

/// The number of folders that a request has made. A second one would get another name that begins
/// with the first.
fn folders(person: &Person, folder: &str) -> usize {
    let entries = fs::read_dir(&person.home).unwrap().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(folder)).count()
}

/// Users who never stop.
struct Traffic {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    workers: Vec<tokio::task::JoinHandle<Vec<Sent>>>,
}

impl Traffic {
    fn start(centre: &Arc<TestSite>, person: &Arc<Person>) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let workers = (0..AT_ONCE)
            .map(|worker| {
                let (centre, person) = (Arc::clone(centre), Arc::clone(person));
                let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
                tokio::spawn(async move {
                    let mut sent = Vec::new();
                    while !stop.load(Ordering::SeqCst) {
                        let folder = format!("work-{worker}-{}-", sent.len());
                        let request = centre.signed(&person, &Deed::create_folder(&format!("/home/{folder}")));
                        let answer = centre.core.invoke(&request).await;
                        let one = Sent { folder, request, answer };
                        done.fetch_add(usize::from(one.is_done()), Ordering::SeqCst);
                        let is_cut = one.answer.is_err();
                        sent.push(one);
                        if is_cut {
                            tokio::time::sleep(AFTER_CUT).await;
                        }
                    }
                    sent
                })
            })
            .collect();
        Self { stop, done, workers }
    }

    fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    async fn until_done(&self, count: usize) {
        let begun = Instant::now();
        while self.done() < count {
            assert!(begun.elapsed() < Duration::from_secs(20), "{} requests done, {count} expected", self.done());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn stop(self) -> Vec<Sent> {
        self.stop.store(true, Ordering::SeqCst);
        let mut sent = Vec::new();
        for worker in self.workers {
            sent.extend(worker.await.unwrap());
        }
        sent
    }
}
