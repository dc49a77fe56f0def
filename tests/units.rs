//! The units of deploy/systemd under a real systemd, installed step by step as docs/operators.md says.
//!
//! Each test runs alone on a machine of its own, `tests/support/booted.sh`: see `./test`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

#[path = "support/centre.rs"]
mod centre;
#[path = "support/machine.rs"]
mod machine;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use centre::{Centre, Person, said};
use countersign_portal::Deed;
use machine::{GATEWAY, SERVER, journal, main_pid, property, shell};
use nix::unistd::User;

/// Real work in a user's account: gateway, server, sudo, instance.
async fn works(centre: &Centre, person: &Person, folder: &str) {
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

/// What the kernel says of the process, where it says so.
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

    // All of it is in the unit, and nothing of root's.
    let group = fs::read_to_string(format!("/sys/fs/cgroup{}/cgroup.procs", property(SERVER, "ControlGroup"))).unwrap();
    let owner = |pid: &str| fs::metadata(format!("/proc/{pid}/fd/..")).unwrap().uid();
    let ucloud = User::from_name("ucloud").unwrap().unwrap().uid.as_raw();
    let mut owners: Vec<u32> = group.lines().map(owner).collect();
    owners.sort_unstable();
    assert_eq!(owners, [ucloud, ucloud, 1101], "server, gateway, instance");

    // Nobody has admitted bob.
    let bob = centre.connect("bob").await;
    assert!(!centre.browse(&bob, "/home").await.is_ok());
    let words = centre.last_words();
    assert!(words.contains("sudo: a password is required"), "{words}");
}

#[tokio::test]
#[ignore = "needs a machine that systemd has started: run by ./test"]
async fn a_gateway_in_a_unit_of_its_own_is_shut_in() {
    let centre = machine::install("start = \"service\"").await;
    machine::told(&["enable", GATEWAY]);
    let centre = machine::start(centre).await;
    let alice = centre.connect("alice").await;
    works(&centre, &alice, "made").await;

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
