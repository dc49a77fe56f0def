//! P8 for the store: `kill -9` at any moment loses no acknowledged change, and leaves no partial
//! one.
//!
//! The test starts itself as a child that changes a store and reports each acknowledgement. It
//! kills the child, opens the store again and compares.

#![cfg(feature = "store")]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "it kills a process of its own")]
#![allow(clippy::print_stderr, reason = "how the child reports")]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use countersign_keys::store::sled_store::SledStore;
use countersign_keys::store::{Store as _, Table, Verdict};

/// Tells the child that it is the child, and the path of its store.
const CHILD: &str = "COUNTERSIGN_STORE_KILL_DIRECTORY";

/// Number of kills, each at another point of the child's work.
const ROUNDS: u64 = 12;

/// The key of a step. A step is one transaction over three tables.
fn step_key(step: u64) -> [u8; 8] {
    step.to_be_bytes()
}

fn value(step: u64) -> Vec<u8> {
    [&step.to_be_bytes()[..], &vec![b'x'; usize::try_from(step % 700).unwrap()]].concat()
}

#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(CHILD) else {
        return;
    };
    let store = SledStore::open(directory.as_ref()).unwrap();
    let from = store.scan(Table::Keys, b"", None, usize::MAX).unwrap().len() as u64;
    for step in from.. {
        store
            .transact(&|transaction| {
                transaction.write(Table::Keys, &step_key(step), value(step))?;
                transaction.write(Table::Users, b"last", step.to_be_bytes().to_vec())?;
                transaction.write(Table::Outbox, &step_key(step), value(step))?;
                if step >= 3 {
                    transaction.remove(Table::Outbox, &step_key(step - 3))?;
                }
                Ok(Verdict::Commit)
            })
            .unwrap();
        eprintln!("step {step}");
    }
}

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let mut acknowledged = None;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store_kill::child_that_writes_until_it_is_killed", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = 0;
        let killed = std::thread::scope(|scope| {
            let reader = scope.spawn(move || {
                let steps = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("step ")?.parse().ok());
                steps.inspect(|_: &u64| said += 1).last()
            });
            // Not synchronisation: it selects the point at which the child dies.
            std::thread::sleep(Duration::from_millis(150 + round * 37));
            child.kill().unwrap();
            child.wait().unwrap();
            reader.join().unwrap()
        });
        acknowledged = killed.or(acknowledged);
        compare(&path, acknowledged);
    }
    assert!(acknowledged.is_some_and(|steps| steps > ROUNDS), "the child did too little to be tested");
}

/// Every step up to the last acknowledged one is complete, and at most one more.
fn compare(path: &std::path::Path, acknowledged: Option<u64>) {
    let store = SledStore::open(path).unwrap();
    let steps = store.scan(Table::Keys, b"", None, usize::MAX).unwrap();
    for (step, (key, stored)) in (0..).zip(&steps) {
        assert_eq!(*key, step_key(step), "a step is missing");
        assert_eq!(*stored, value(step), "step {step} is damaged");
    }
    let done = steps.len() as u64;
    let acknowledged = acknowledged.map_or(0, |step| step + 1);
    assert!(
        done == acknowledged || done == acknowledged + 1,
        "{done} steps are there, {acknowledged} were acknowledged"
    );
    let last = store.read(Table::Users, b"last").unwrap();
    assert_eq!(last, done.checked_sub(1).map(|step| step.to_be_bytes().to_vec()), "half a transaction");
    let entries = store.scan(Table::Outbox, b"", None, usize::MAX).unwrap();
    let want: Vec<_> = (done.saturating_sub(3)..done).map(|step| (step_key(step).to_vec(), value(step))).collect();
    assert_eq!(entries, want, "half a transaction");
}
