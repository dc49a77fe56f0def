//! Measures a store with 100,000 enrolled users: time to open it with its seal, memory, and time to
//! find a key.
//!
//! Not run by default: `cargo test --release -p countersign-keys --test keys store_large --
//! --ignored --nocapture`.

#![cfg(feature = "store")]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures")]
#![allow(clippy::print_stdout, reason = "a measurement is printed")]

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::enrolled::{enrol, kid, name};
use countersign_keys::store::registry::Registry;
use countersign_keys::store::sealed_store::SealedStore;
use countersign_keys::store::sled_store::SledStore;
use countersign_keys::store::{Store as _, Transaction, Verdict};

const USERS: u32 = 100_000;

/// The server has one second in all (design, section 9). A debug build hashes the store about
/// twenty times slower.
const OPEN_MAX: Duration = if cfg!(debug_assertions) { Duration::from_secs(60) } else { Duration::from_millis(700) };

fn open(state: &Path) -> SealedStore<SledStore> {
    SealedStore::open(SledStore::open(&state.join("store")).unwrap(), state).unwrap()
}

fn fill(state: &Path) {
    let store = open(state);
    for thousand in 0..USERS / 1000 {
        let enrol = |transaction: &dyn Transaction| {
            (thousand * 1000..(thousand + 1) * 1000).try_for_each(|n| enrol(transaction, n))?;
            Ok(Verdict::Commit)
        };
        store.transact(&enrol).unwrap();
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[ignore = "takes minutes; its numbers mean something in a release build only"]
fn a_hundred_thousand_users() {
    let directory = match std::env::var_os("STORE_LARGE_DIRECTORY") {
        Some(directory) => directory.into(),
        None => tempfile::tempdir().unwrap().keep(),
    };
    if !directory.join("store/conf").exists() {
        let begun = Instant::now();
        fill(&directory);
        println!("filled in {:?}", begun.elapsed());
    }
    let before = resident_kib();
    let begun = Instant::now();
    let registry = Registry::new(open(&directory));
    let opened = begun.elapsed();
    println!("opened in {opened:?}, {} KiB more resident", resident_kib().saturating_sub(before));
    let begun = Instant::now();
    for n in (0..USERS).step_by(10) {
        registry.key(&name(n), &kid(n)).unwrap().unwrap();
    }
    println!(
        "a key found in {:?}, {} KiB more resident",
        begun.elapsed() / (USERS / 10),
        resident_kib().saturating_sub(before)
    );
    assert!(opened < OPEN_MAX);
}
