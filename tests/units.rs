//! Tests of the units of deploy/systemd under a real systemd, installed step by step as
//! docs/operators.md says.
//!
//! Each test runs alone on its own machine, `tests/support/booted.sh`: see `./test`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use crate::support::machine::{self, GATEWAY, SERVER, journal, main_pid, property, shell};
use crate::support::stream::{granted, open};
use crate::support::test_site::{self, Offered, PROVIDER, Person, TestSite, said};
use countersign_portal::{Algorithm, Deed};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

/// Real work in a user's account: gateway, server, sudo, instance.
async fn works(centre: &TestSite, person: &Person, folder: &str) {
    let answer = centre.perform(person, &Deed::create_folder(&format!("/home/{folder}"))).await;
    assert!(answer.is_ok(), "{answer:?}\n{}\n{}", centre.last_words(), journal());
    let made = fs::metadata(person.home.join(folder)).unwrap();
    assert_eq!((made.uid(), made.gid()), (1101, 1101));
}

/// Namespaces that this process does not share with PID 1.
fn apart(pid: i32) -> BTreeSet<&'static str> {
    let of = |pid: i32, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    ["mnt", "net", "pid", "user"].into_iter().filter(|kind| of(pid, kind) != of(1, kind)).collect()
}

/// The fields of the process's status in `/proc`.
fn confinement(pid: i32) -> BTreeMap<String, String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let lines = status.lines().filter_map(|line| line.split_once(":\t"));
    lines.map(|(name, value)| (name.to_owned(), value.trim_start_matches('0').to_owned())).collect()
}

#[tokio::test]
#[ignore = "needs a machine that systemd has started: run by ./test"]
async fn installed_as_the_document_says_it_serves() {
    let centre = machine::start(machine::install("").await).await;
    let alice = centre.connect("alice").await;
    works(&centre, &alice, "made").await;
    assert_eq!(property(SERVER, "ActiveState"), "active");
    assert_eq!(property(SERVER, "NRestarts"), "0");
    assert_eq!(property(GATEWAY, "ActiveState"), "inactive");
    let page = fs::read_to_string("/usr/local/share/man/man1/countersign-keys-list.1").unwrap();
    assert!(page.contains(".TH countersign-keys-list 1"), "{page}");
    let completes = "bash -c 'source /usr/share/bash-completion/completions/countersign && complete -p countersign'";
    machine::step(completes);

    // All processes are in the unit, and none of them is root's.
    let group = fs::read_to_string(format!("/sys/fs/cgroup{}/cgroup.procs", property(SERVER, "ControlGroup"))).unwrap();
    let owner = |pid: &str| fs::metadata(format!("/proc/{pid}/fd/..")).unwrap().uid();
    let ucloud = User::from_name("ucloud").unwrap().unwrap().uid.as_raw();
    let mut owners: Vec<u32> = group.lines().map(owner).collect();
    owners.sort_unstable();
    assert_eq!(owners, [ucloud, ucloud, 1101], "server, gateway, instance");

    // A user's process in the unit cannot speak for the server.
    let notify = "setpriv --reuid alice --regid alice --init-groups systemd-notify --status=mine STOPPING=1";
    let group = format!("/sys/fs/cgroup{}/cgroup.procs", property(SERVER, "ControlGroup"));
    let heard = shell(&format!("echo $$ > {group}; NOTIFY_SOCKET=/run/systemd/notify {notify}"));
    assert!(heard.status.success(), "{}", said(&heard));
    assert_eq!((&*property(SERVER, "StatusText"), &*property(SERVER, "ActiveState")), ("", "active"));

    // Bob is not in the group: sudo does not serve him, so he is not connected.
    let offered = centre.offer("bob#5678", countersign_portal::Algorithm::Es256).await;
    let refused = centre.run_as("bob", &["connect", "approve", &offered.code, "--yes"]).await;
    assert_eq!(refused.status.code(), Some(3), "{}", test_site::said(&refused));
    let words = centre.last_words();
    assert!(words.contains("sudo: a password is required"), "{words}");
}

/// Runs the document's commands word for word. A restored state has no active key, and a newly
/// approved key works.
#[tokio::test]
#[ignore = "needs a machine that systemd has started: run by ./test"]
async fn v74_r06_a_state_that_is_restored_as_the_document_says_takes_new_keys_and_no_old_one() {
    let [backup, restore] = machine::documented("Backup, restore, another machine");
    let centre = machine::start(machine::install("").await).await;
    let alice = centre.connect("alice").await;
    works(&centre, &alice, "before").await;
    machine::step(&backup);
    centre.until("users are served", async || is_served(&centre, &alice).await).await;
    works(&centre, &alice, "after").await;

    let told = machine::step_with_a_yes(&restore);
    assert!(told.contains("Accept it? [y/N]") && told.contains("Accepted: 0 keys active, 1 revoked"), "{told}");
    assert_eq!(property(SERVER, "ActiveState"), "active");
    let is_refused = async || {
        let answer = centre.core.invoke(&centre.signed(&alice, &Deed::browse("/home"))).await;
        answer.is_ok_and(|answer| {
            assert_eq!((answer.status, answer.error_code().as_str()), (482, "INTENT_INVALID"));
            true
        })
    };
    centre.until("the old key is refused", is_refused).await;

    let Offered { key, code, page: _ } = centre.offer(&alice.username, Algorithm::Es256).await;
    let approved = centre.run_as("alice", &["connect", "approve", &code, "--yes"]).await;
    assert!(approved.status.success(), "{}", said(&approved));
    let again = Person { key, username: alice.username.clone(), account: alice.account, home: alice.home.clone() };
    // Not an intent signed before the state was accepted, or in the seconds of skew after it.
    centre.until("the new key is served", async || is_served(&centre, &again).await).await;
    works(&centre, &again, "restored").await;
    assert_eq!(centre.browse(&alice, "/home").await.error_code(), "INTENT_INVALID");
}

#[tokio::test]
#[ignore = "needs a machine that systemd has started: run by ./test"]
async fn a_gateway_in_a_unit_of_its_own_is_shut_in() {
    let centre = machine::install("start = \"service\"").await;
    machine::told(&["enable", GATEWAY]);
    let centre = machine::start(centre).await;
    let alice = centre.connect("alice").await;
    works(&centre, &alice, "made").await;

    // It did not start before the server was there.
    assert_eq!(property(GATEWAY, "NRestarts"), "0", "{}", journal());
    let gateway = main_pid(GATEWAY).unwrap();
    let found = confinement(gateway);
    for (name, value) in [("NoNewPrivs", "1"), ("Seccomp", "2"), ("CapBnd", ""), ("CapPrm", ""), ("CapAmb", "")] {
        assert_eq!(found[name], value, "{name}");
    }
    assert_eq!(apart(gateway), BTreeSet::from(["mnt", "net", "user"]));
    let server = confinement(main_pid(SERVER).unwrap());
    assert_eq!((&*server["NoNewPrivs"], &*server["CapPrm"]), ("", ""));

    let exposure = shell(&format!("systemd-analyze security --no-pager --threshold=20 {GATEWAY}"));
    assert!(exposure.status.success(), "{}", said(&exposure));
}

/// The longest interruption for users.
const BACK_MAX: Duration = Duration::from_secs(2);

/// `kill -9` of that unit's process: it restarts by itself and in time, and used intents stay used.
async fn is_back_after_a_kill(centre: &TestSite, person: &Person, unit: &str) {
    let name = format!("of-{unit}");
    let used = centre.signed(person, &Deed::create_folder(&format!("/home/{name}")));
    assert!(centre.core.invoke(&used).await.unwrap().is_ok(), "{}", centre.last_words());
    fs::remove_dir(person.home.join(&name)).unwrap();
    let before = main_pid(unit).unwrap();
    let killed_at = Instant::now();
    kill(Pid::from_raw(before), Signal::SIGKILL).unwrap();
    centre.until("another one is there", async || main_pid(unit).is_some_and(|now| now != before)).await;
    centre.until("users are served", async || is_served(centre, person).await).await;
    let gone = killed_at.elapsed();
    assert!(gone <= BACK_MAX, "{unit} was back after {gone:?}\n{}", journal());
    assert_eq!(centre.core.invoke(&used).await.unwrap().status, 482);
    assert!(!person.home.join(&name).exists(), "a used intent was accepted again");
}

async fn is_served(centre: &TestSite, person: &Person) -> bool {
    centre.core.invoke(&centre.signed(person, &Deed::browse("/home"))).await.is_ok_and(|answer| answer.is_ok())
}

#[tokio::test]
#[ignore = "needs a machine that systemd has started: run by ./test"]
async fn v39_systemd_brings_back_what_is_killed() {
    let centre = machine::start(machine::install("").await).await;
    let alice = centre.connect("alice").await;
    is_back_after_a_kill(&centre, &alice, SERVER).await;
    works(&centre, &alice, "made").await;
}

#[tokio::test]
#[ignore = "needs a machine that systemd has started: run by ./test"]
async fn v39_systemd_brings_back_what_is_killed_of_two_units() {
    let centre = machine::install("start = \"service\"").await;
    machine::told(&["enable", GATEWAY]);
    let centre = machine::start(centre).await;
    let alice = centre.connect("alice").await;
    is_back_after_a_kill(&centre, &alice, GATEWAY).await;
    is_back_after_a_kill(&centre, &alice, SERVER).await;
    works(&centre, &alice, "made").await;

    // The server ends a gateway that does not react, even one in another user namespace.
    let deaf = main_pid(GATEWAY).unwrap();
    kill(Pid::from_raw(deaf), Signal::SIGSTOP).unwrap();
    let revoked = centre.run_as("alice", &["keys", "revoke", alice.key.kid()]).await;
    assert!(revoked.status.success(), "{}", said(&revoked));
    centre.until("another gateway serves", async || centre.serves().await).await;
    assert_ne!(main_pid(GATEWAY), Some(deaf));
    assert_eq!(centre.browse(&alice, "/home").await.status, 482);
}

#[tokio::test]
#[ignore = "needs a machine that systemd has started: run by ./test"]
async fn told_to_reload_it_goes_on_and_takes_up_what_it_can() {
    let centre = machine::install("start = \"service\"").await;
    machine::told(&["enable", GATEWAY]);
    let centre = machine::start(centre).await;
    let alice = centre.connect("alice").await;
    works(&centre, &alice, "made").await;
    let pids = || [SERVER, GATEWAY].map(main_pid);
    let before = pids();
    let text = fs::read_to_string(&centre.config).unwrap();
    fs::write(&centre.config, format!("{text}\n[maintenance]\nenabled = true\n")).unwrap();
    machine::told(&["reload", SERVER]);
    let is_turned_away = async || centre.browse(&alice, "/home").await.error_code() == "MAINTENANCE";
    centre.until("maintenance is under way", is_turned_away).await;
    assert_eq!(pids(), before);

    fs::write(&centre.config, text).unwrap();
    machine::told(&["restart", SERVER]);
    centre.until("users are served", async || is_served(&centre, &alice).await).await;
    works(&centre, &alice, "made-after").await;
    for (now, before) in pids().into_iter().zip(before) {
        assert!(now.is_some() && now != before, "both are others");
    }
    assert_eq!(property(GATEWAY, "NRestarts"), "0", "{}", journal());
}

/// In both ways of starting the gateway, running work finishes and is answered. Then no process of
/// any user is left.
async fn stops(gateway: &str) {
    let centre = machine::install(gateway).await;
    if !gateway.is_empty() {
        machine::told(&["enable", GATEWAY]);
    }
    let centre = machine::start(centre).await;
    let alice = centre.connect("alice").await;
    works(&centre, &alice, "to").await;
    let script = "mkdir from; cd from; for i in $(seq 100); do mkdir $i; for j in $(seq 50); do : > $i/$j; done; done";
    let made = centre.shell_as("alice", &format!("cd {}; {script}", alice.home.display())).await;
    assert!(made.status.success(), "{}", said(&made));
    // A terminal that a user left open, and a process that they left running.
    let (token, proof) = granted(&centre, &alice, &Deed::Terminal("/home".to_owned())).await;
    let target = format!("/ucloud/{PROVIDER}/websocket?session={token}&intent={proof}");
    let mut terminal = open(&centre, &target, &[]).await.unwrap();
    let message = |payload| {
        let call = format!("jobs.compute.{PROVIDER}.shell.open");
        Message::text(json!({"call": call, "streamId": "0", "payload": payload}).to_string())
    };
    let begin = json!({"type": "initialize", "sessionIdentifier": token, "cols": 80, "rows": 24});
    terminal.say(message(begin)).await;
    let line = "nohup sleep 1000 & touch left-alone; sleep 1000\r";
    terminal.say(message(json!({"type": "input", "data": line}))).await;
    centre.until("it is left to itself", async || alice.home.join("left-alone").exists()).await;

    let copy = centre.signed(&alice, &Deed::copy("/home/from", "/home/to/copy"));
    let stopping = async {
        let is_under_way = || fs::read_dir(alice.home.join("to")).unwrap().count() > 0;
        centre.until("the copy is under way", async || is_under_way()).await;
        assert!(!alice.home.join("to/copy").exists());
        let begun = Instant::now();
        tokio::task::spawn_blocking(|| machine::told(&["stop", SERVER])).await.unwrap();
        begun.elapsed()
    };
    let (answer, took) = tokio::join!(centre.core.send(&copy), stopping);
    assert!(
        answer.as_ref().is_ok_and(|answer| answer.status == 200),
        "{answer:?}\n{}\n{}",
        centre.last_words(),
        journal()
    );
    assert_eq!(fs::read_dir(alice.home.join("to/copy")).unwrap().count(), 100);
    for unit in [SERVER, GATEWAY] {
        assert_eq!(property(unit, "ActiveState"), "inactive", "{}", journal());
        assert_eq!(property(unit, "Result"), "success", "nobody had to be killed ({took:?})\n{}", journal());
    }
    let left = shell("ps -o pid,user,args -u ucloud,alice || true");
    assert!(!said(&left).contains("countersign") && !said(&left).contains("sleep"), "{}", said(&left));
}

#[tokio::test]
#[ignore = "needs a machine that systemd has started: run by ./test"]
async fn told_to_stop_it_finishes_and_leaves_nothing() {
    stops("").await;
}

#[tokio::test]
#[ignore = "needs a machine that systemd has started: run by ./test"]
async fn told_to_stop_two_units_finish_and_leave_nothing() {
    stops("start = \"service\"").await;
}

#[tokio::test]
#[ignore = "needs a machine that systemd has started: run by ./test"]
async fn p8_a_wrong_configuration_is_said_once_and_not_tried_again() {
    let centre = machine::install("start = \"service\"").await;
    machine::told(&["enable", GATEWAY]);
    let good = fs::read_to_string(&centre.config).unwrap();
    fs::write(&centre.config, good.replace("[gateway]\n", "[gateway]\ncolour = \"red\"\n")).unwrap();
    let started = machine::systemctl(&["start", SERVER]);
    assert!(!started.status.success(), "{}", said(&started));
    assert_eq!(property(SERVER, "ActiveState"), "failed");
    assert_eq!(property(SERVER, "NRestarts"), "0");
    assert_eq!(property(GATEWAY, "ActiveState"), "inactive");
    let status = machine::systemctl(&["status", "--no-pager", "--full", SERVER]);
    assert!(said(&status).contains("gateway.colour: unknown key"), "{}", said(&status));

    fs::write(&centre.config, good).unwrap();
    let centre = machine::start(centre).await;
    let alice = centre.connect("alice").await;
    works(&centre, &alice, "made").await;
}

#[tokio::test]
#[ignore = "needs a machine that systemd has started: run by ./test"]
async fn a_gateways_unit_that_nobody_asked_for_says_so_once() {
    let centre = machine::install("").await;
    machine::told(&["enable", GATEWAY]);
    let centre = machine::start(centre).await;
    centre.until("it has given up", async || property(GATEWAY, "ActiveState") == "failed").await;
    assert_eq!(property(GATEWAY, "NRestarts"), "0");
    assert!(journal().contains("gateway.start is not"), "{}", journal());
    assert!(centre.serves().await);
}

#[tokio::test]
#[ignore = "needs a machine that systemd has started: run by ./test"]
async fn what_may_pass_is_tried_again_and_no_more_than_once_a_second() {
    let centre = machine::install("").await;
    let somebody_else = TcpListener::bind(centre.address).unwrap();
    let begun = Instant::now();
    let started = machine::systemctl(&["start", SERVER]);
    assert!(!started.status.success(), "{}", said(&started));
    let restarts = || property(SERVER, "NRestarts").parse::<u64>().unwrap();
    centre.until("it tries again", async || restarts() >= 2).await;
    assert!(begun.elapsed().as_secs() >= restarts(), "{} starts in {:?}", restarts(), begun.elapsed());
    drop(somebody_else);
    centre.until("the gateway serves", async || centre.serves().await).await;
}

/// Homes that are mounted when needed, for example by autofs, are there for instances too.
#[tokio::test]
#[ignore = "needs a machine that systemd has started: run by ./test"]
async fn what_is_mounted_later_is_seen() {
    let centre = machine::start(machine::install("").await).await;
    let alice = centre.connect("alice").await;
    works(&centre, &alice, "late").await;
    let mounted = shell("mount -t tmpfs -o mode=0700,uid=1101,gid=1101 tmpfs /home/alice/late");
    assert!(mounted.status.success(), "{}", said(&mounted));
    works(&centre, &alice, "late/made").await;
}
