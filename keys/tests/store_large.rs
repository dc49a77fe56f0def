//! 100,000 enrolled users: how long the store takes to open, what it keeps in memory, and how long a key takes to find.
//!
//! Not run by default: `cargo test --release -p countersign-keys --test store_large -- --ignored --nocapture`.

#![cfg(feature = "store")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures")]
#![allow(clippy::print_stdout, reason = "a measurement is printed")]

use std::time::{Duration, Instant};

use countersign_keys::identity::{KeyId, Uid, Username};
use countersign_keys::jws::Algorithm;
use countersign_keys::keyring::{KeyRecord, KeyState, Protocol};
use countersign_keys::store::records::{Connection, User};
use countersign_keys::store::registry::Registry;
use countersign_keys::store::sled_store::SledStore;
use countersign_keys::store::{Store as _, Table, Verdict};
use countersign_keys::time::Timestamp;

const USERS: u32 = 100_000;

/// The server has one second in all (design, section 9).
const OPEN_MAX: Duration = Duration::from_millis(700);

fn name(n: u32) -> Username {
    Username::parse(&format!("user{n}#{}", n % 10_000)).unwrap()
}

fn kid(n: u32) -> KeyId {
    let mut bytes = [0xA5; 16];
    bytes[..4].copy_from_slice(&n.wrapping_mul(2_654_435_761).to_be_bytes());
    KeyId::from_bytes(bytes)
}

fn stored<T: serde::Serialize>(record: &T) -> Vec<u8> {
    [&[1], serde_json::to_vec(record).unwrap().as_slice()].concat()
}

fn fill(directory: &std::path::Path) {
    let store = SledStore::open(directory).unwrap();
    let now = Timestamp::from_seconds(1_800_000_000);
    for thousand in 0..USERS / 1000 {
        store
            .transact(&|transaction| {
                for n in thousand * 1000..(thousand + 1) * 1000 {
                    let username = name(n);
                    let uid = Uid(10_000 + n);
                    let connection = Connection {
                        uid,
                        account: format!("u{n}"),
                        since: now,
                        instance_key: "A".repeat(124),
                        core_told: true,
                        renewed: None,
                        over: None,
                        is_confirmed: true,
                    };
                    let user = User { username: username.clone(), connection: Some(connection), kids: vec![kid(n)] };
                    let key = KeyRecord {
                        owner: username.clone(),
                        kid: kid(n),
                        algorithm: Algorithm::Es256,
                        spki: "A".repeat(124),
                        protocol: Protocol::V2,
                        state: KeyState::Active,
                        created: now,
                        expires: now.plus(15_552_000),
                        name: "Firefox on Linux".to_owned(),
                    };
                    let at = [username.as_str().as_bytes(), &[0], kid(n).as_bytes()].concat();
                    transaction.write(Table::Users, username.as_str().as_bytes(), stored(&user))?;
                    transaction.write(Table::Uids, &uid.0.to_be_bytes(), stored(&[&username]))?;
                    transaction.write(Table::Keys, &at, stored(&key))?;
                }
                Ok(Verdict::Commit)
            })
            .unwrap();
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[ignore = "takes a while, and its numbers mean something in a release build only"]
fn a_hundred_thousand_users() {
    let directory = match std::env::var_os("STORE_LARGE_DIRECTORY") {
        Some(directory) => directory.into(),
        None => tempfile::tempdir().unwrap().keep(),
    };
    if !directory.join("conf").exists() {
        let begun = Instant::now();
        fill(&directory);
        println!("filled in {:?}", begun.elapsed());
    }
    let before = resident_kib();
    let begun = Instant::now();
    let registry = Registry::new(SledStore::open(&directory).unwrap());
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
