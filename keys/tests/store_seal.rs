//! V74: a store that went back in time or was damaged is not opened, and a revoked key never
//! becomes active again.
//!
//! The tests damage sled's own files, as a disk would. The product opens what is left.

#![cfg(feature = "store")]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "it damages files and kills a process of its own"
)]
#![allow(clippy::print_stderr, reason = "how the child reports")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::enrolled::{enrol, kid, name};
use countersign_keys::keyring::KeyState;
use countersign_keys::store::passkeys::{Passkey, PasskeyState};
use countersign_keys::store::registry::{Authority, Registry};
use countersign_keys::store::seal::Disagreement;
use countersign_keys::store::sealed_store::{Accepted, KeysAccepted, SealedStore, UnsealedStore, accept};
use countersign_keys::store::sled_store::SledStore;
use countersign_keys::store::{Store as _, StoreFailure, Table, Verdict};
use countersign_keys::time::Timestamp;

/// Tells the child that it is the child, and the path of its state.
const CHILD: &str = "COUNTERSIGN_STORE_SEAL_DIRECTORY";

/// Number of kills, each at another point of the child's work.
const KILLS: u64 = 100;

/// Enrolled users, enough for several pages of the store.
const USERS: u32 = 40;

/// How long a lock is tried again.
const LOCKED_MAX: Duration = Duration::from_secs(10);

type Records = Registry<SealedStore<SledStore>>;

/// Opens the database. Another test's child process may hold a copy of a closed database's lock
/// between its fork and its exec, so a lock that is taken is tried again for a while.
fn sled(state: &Path) -> Result<SledStore, StoreFailure> {
    let began = Instant::now();
    loop {
        match SledStore::open(&state.join("store")) {
            Err(failure) if failure_is_lock(&failure) && began.elapsed() < LOCKED_MAX => std::thread::yield_now(),
            outcome => return outcome,
        }
    }
}

fn failure_is_lock(failure: &StoreFailure) -> bool {
    format!("{failure:?}").contains("could not acquire lock")
}

fn open(state: &Path) -> Result<Records, UnsealedStore> {
    let store = sled(state).map_err(UnsealedStore::Store)?;
    SealedStore::open(store, state).map(Registry::new)
}

fn enrol_in(store: &SealedStore<SledStore>, n: u32) {
    store.transact(&|transaction| enrol(transaction, n).map(|()| Verdict::Commit)).unwrap();
}

fn enrolled(state: &Path) -> Records {
    let store = sled(state).unwrap();
    let store = SealedStore::open(store, state).unwrap();
    for n in 0..USERS {
        enrol_in(&store, n);
    }
    Registry::new(store)
}

fn state_of(records: &Records, n: u32) -> KeyState {
    records.key(&name(n), &kid(n)).unwrap().unwrap().state
}

/// A state in which every user is enrolled and the key of user 0 was revoked last.
fn state_with_a_revoked_key() -> (tempfile::TempDir, PathBuf) {
    let outside = tempfile::tempdir().unwrap();
    let state = outside.path().join("state");
    fs::create_dir(&state).unwrap();
    let records = enrolled(&state);
    records.revoke_key(Authority::Administrator, &name(0), &kid(0)).unwrap();
    (outside, state)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            drop(fs::copy(entry.path(), target))
        }
    }
}

/// The store's files, without those that sled recreates.
fn log_of(state: &Path) -> PathBuf {
    state.join("store/db")
}

fn used_length(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Damages a good state. Checks that it is refused with a message that names the remedy.
fn check(spoil: impl FnOnce(&Path)) -> String {
    let (_outside, state) = state_with_a_revoked_key();
    assert_eq!(state_of(&open(&state).unwrap(), 0), KeyState::Revoked);
    spoil(&state);
    let refused = match open(&state) {
        Ok(records) => {
            let key = records.key(&name(0), &kid(0));
            panic!("it was opened: the revoked key is {:?}", key.map(|key| key.map(|key| key.state)))
        }
        Err(refused) => refused.to_string(),
    };
    if !refused.contains("key store cannot be read") {
        assert!(refused.contains("countersign state accept"), "{refused}");
    }
    refused
}

#[test]
fn v74_r06_a_store_whose_end_is_zeroed_is_not_opened() {
    for zeroed in [1, 64, 256, 4096] {
        check(|state| {
            let mut bytes = fs::read(log_of(state)).unwrap();
            let end = used_length(&bytes);
            bytes[end - zeroed..end].fill(0);
            fs::write(log_of(state), bytes).unwrap();
        });
    }
}

#[test]
fn v74_r06_a_store_that_was_cut_is_not_opened() {
    let cut = |at: fn(usize) -> usize| {
        check(move |state| {
            let bytes = fs::read(log_of(state)).unwrap();
            fs::write(log_of(state), &bytes[..at(used_length(&bytes))]).unwrap();
        })
    };
    cut(|used| used - 1);
    cut(|used| used - 300);
    cut(|used| used / 2);
    cut(|_| 0);
}

#[test]
fn v74_r06_a_store_with_one_flipped_bit_is_not_opened_or_holds_what_it_held() {
    let (outside, state) = state_with_a_revoked_key();
    let bytes = fs::read(log_of(&state)).unwrap();
    let used = used_length(&bytes);
    let mut refused = 0;
    // Bits all over the file, including the last record's.
    let places = (0..24).map(|nth| used * nth / 24).chain(used - 300..used).step_by(7);
    for (nth, place) in places.enumerate() {
        let spoilt = outside.path().join(format!("spoilt-{nth}"));
        copy(&state, &spoilt);
        // The same file, so that the damage is detected and not the copy.
        let seal = spoilt.join("store.seal");
        fs::remove_file(&seal).unwrap();
        fs::hard_link(state.join("store.seal"), &seal).unwrap();
        let mut bytes = bytes.clone();
        bytes[place] ^= 1;
        fs::write(log_of(&spoilt), bytes).unwrap();
        match open(&spoilt) {
            Ok(records) => assert_eq!(state_of(&records, 0), KeyState::Revoked, "byte {place} of {used}"),
            Err(_) => refused += 1,
        }
        fs::remove_dir_all(spoilt).unwrap();
    }
    assert!(refused > 0, "no bit mattered");
}

#[test]
fn v74_r06_a_store_that_is_gone_is_not_made_anew() {
    check(|state| fs::remove_dir_all(state.join("store")).unwrap());
    check(|state| fs::remove_file(log_of(state)).unwrap());
}

#[test]
fn v74_r06_an_older_copy_of_the_store_is_not_opened() {
    let (outside, state) = state_with_a_revoked_key();
    // A copy from before the revocation replaces today's state.
    let older = outside.path().join("older");
    {
        let earlier = tempfile::tempdir().unwrap();
        let records = enrolled(earlier.path());
        assert_eq!(state_of(&records, 0), KeyState::Active);
        drop(records);
        copy(&earlier.path().join("store"), &older);
    }
    fs::remove_dir_all(state.join("store")).unwrap();
    copy(&older, &state.join("store"));
    let refused = open(&state).err().unwrap();
    let UnsealedStore::Disagrees { why, .. } = &refused else { panic!("{refused}") };
    assert_eq!(*why, Disagreement::WentBack { lost: 1, changes: u64::from(USERS) + 1 });
}

#[test]
fn v74_r06_a_copy_of_the_whole_directory_is_not_opened() {
    let (outside, state) = state_with_a_revoked_key();
    let restored = outside.path().join("restored");
    copy(&state, &restored);
    let refused = open(&restored).err().unwrap();
    assert!(matches!(refused, UnsealedStore::Disagrees { why: Disagreement::Copied, .. }), "{refused}");
    // Moving the state within the file system does not make it a copy.
    let moved = outside.path().join("moved");
    fs::rename(&state, &moved).unwrap();
    open(&moved).unwrap();
}

#[test]
fn v74_r06_a_seal_that_is_gone_damaged_or_old_is_noticed() {
    let said = check(|state| fs::remove_file(state.join("store.seal")).unwrap());
    assert!(said.contains("the seal is missing"), "{said}");
    let said = check(|state| {
        let file = fs::OpenOptions::new().write(true).open(state.join("store.seal")).unwrap();
        file.set_len(0).unwrap();
    });
    assert!(said.contains("the seal is damaged"), "{said}");
    let said = check(|state| fs::remove_file(state.join("store.revoked")).unwrap());
    assert!(said.contains("the list of revocations"), "{said}");
    let said = check(|state| {
        let path = state.join("store.revoked");
        let mut bytes = fs::read(&path).unwrap();
        bytes[3] ^= 1;
        fs::write(path, bytes).unwrap();
    });
    assert!(said.contains("the list of revocations"), "{said}");
}

#[test]
fn v74_r06_a_store_of_an_earlier_release_gets_its_seal() {
    let outside = tempfile::tempdir().unwrap();
    {
        let store = SledStore::open(&outside.path().join("store")).unwrap();
        store
            .transact(&|transaction| {
                transaction.write(Table::Outbox, b"x", b"y".to_vec())?;
                Ok(Verdict::Commit)
            })
            .unwrap();
    }
    drop(open(outside.path()).unwrap());
    assert!(outside.path().join("store.seal").exists());
    drop(open(outside.path()).unwrap());
    fs::remove_dir_all(outside.path().join("store")).unwrap();
    assert!(open(outside.path()).is_err(), "what was there before it was sealed counts too");
}

#[test]
fn v74_r06_what_nobody_waits_for_is_not_sealed() {
    let (_outside, state) = state_with_a_revoked_key();
    let records = open(&state).unwrap();
    records.note_use(&name(1), &kid(1), Timestamp::from_seconds(7)).unwrap();
    drop(records);
    open(&state).unwrap();
    let store = SealedStore::open(sled(&state).unwrap(), &state).unwrap();
    let refused = store.write_lazily(Table::Keys, b"k", Vec::new());
    assert!(matches!(refused, Err(StoreFailure::Damaged { .. })), "nothing else is written so");
}

#[test]
fn v74_r06_a_revocation_whose_store_was_lost_is_carried_out() {
    let (outside, state) = state_with_a_revoked_key();
    // The result of a power cut between list and store: the old state, and one more record in the
    // list.
    let before = outside.path().join("before");
    fs::rename(&state, outside.path().join("now")).unwrap();
    copy(&outside.path().join("now"), &before);
    fs::remove_file(before.join("store.seal")).unwrap();
    fs::hard_link(outside.path().join("now/store.seal"), before.join("store.seal")).unwrap();
    let seal = fs::read(before.join("store.seal")).unwrap();
    let records = open(&before).unwrap();
    assert_eq!(state_of(&records, 1), KeyState::Active);
    records.revoke_key(Authority::Administrator, &name(1), &kid(1)).unwrap();
    drop(records);
    let list = fs::read(before.join("store.revoked")).unwrap();
    fs::remove_dir_all(before.join("store")).unwrap();
    copy(&outside.path().join("now/store"), &before.join("store"));
    // In place, so that it stays the same file.
    std::os::unix::fs::FileExt::write_all_at(
        &fs::OpenOptions::new().write(true).open(before.join("store.seal")).unwrap(),
        &seal,
        0,
    )
    .unwrap();
    assert_eq!(list.len(), 2 * 64);
    let records = open(&before).unwrap();
    assert_eq!(state_of(&records, 1), KeyState::Revoked);
    assert_eq!(state_of(&records, 2), KeyState::Active);
    drop(records);
    open(&before).unwrap();
}

fn passkey(id: &str) -> Passkey {
    Passkey {
        id: id.to_owned(),
        name: "a".to_owned(),
        credential: serde_json::Value::Null,
        counter: 0,
        created: Timestamp::from_seconds(1),
        last_used: None,
        state: PasskeyState::Active,
    }
}

/// A store from before the last change, with the list of revocations from after it: a damaged
/// store.
fn went_back(change: impl Fn(&Records)) -> (tempfile::TempDir, PathBuf) {
    let outside = tempfile::tempdir().unwrap();
    let state = outside.path().join("state");
    fs::create_dir(&state).unwrap();
    let records = enrolled(&state);
    records.add_passkey(&name(3), [1; 16], &passkey("first")).unwrap();
    records.add_passkey(&name(3), [1; 16], &passkey("second")).unwrap();
    drop(records);
    copy(&state.join("store"), &outside.path().join("before"));
    let records = open(&state).unwrap();
    change(&records);
    drop(records);
    fs::remove_dir_all(state.join("store")).unwrap();
    copy(&outside.path().join("before"), &state.join("store"));
    assert!(open(&state).is_err());
    (outside, state)
}

fn accepted(state: &Path, keys: KeysAccepted) -> Result<Accepted, UnsealedStore> {
    accept(&sled(state).unwrap(), state, keys)
}

#[test]
fn v74_r06_accepting_what_is_left_keeps_every_revocation() {
    let revoke = |records: &Records| {
        records.revoke_key(Authority::Administrator, &name(0), &kid(0)).unwrap();
        records.disconnect(Authority::Administrator, &name(1)).unwrap();
        records.remove_passkey(&name(3), "first").unwrap();
    };
    let (_outside, state) = went_back(revoke);
    let done = accepted(&state, KeysAccepted::Keep).unwrap();
    assert_eq!(done, Accepted { active: USERS as usize - 2, revoked: 2, passkeys: 1, tickets: 0 });
    let records = open(&state).unwrap();
    for n in 0..USERS {
        let want = if n < 2 { KeyState::Revoked } else { KeyState::Active };
        assert_eq!(state_of(&records, n), want, "user {n}");
    }
    let left = records.passkeys(&name(3)).unwrap().unwrap().passkeys;
    assert_eq!(left.iter().map(|passkey| passkey.id.as_str()).collect::<Vec<_>>(), ["second"]);
}

#[test]
fn v74_r06_accepting_an_old_copy_can_revoke_all_keys() {
    let (_outside, state) = went_back(|records| records.remove_passkey(&name(3), "first").unwrap());
    let done = accepted(&state, KeysAccepted::Revoke).unwrap();
    assert_eq!(done, Accepted { active: 0, revoked: USERS as usize, passkeys: 2, tickets: 0 });
    let records = open(&state).unwrap();
    assert!((0..USERS).all(|n| state_of(&records, n) == KeyState::Revoked));
    assert!(records.user(&name(0)).unwrap().unwrap().connection.is_some(), "who is whose account stays");
}

#[test]
fn v74_r06_keys_are_kept_only_under_a_whole_list_of_revocations() {
    let spoil: [fn(&Path); 3] = [
        |state| fs::remove_file(state.join("store.revoked")).unwrap(),
        |state| fs::remove_file(state.join("store.seal")).unwrap(),
        |state| fs::write(state.join("store.revoked"), [7; 64]).unwrap(),
    ];
    for spoil in spoil {
        let (_outside, state) =
            went_back(|records| records.revoke_key(Authority::Administrator, &name(0), &kid(0)).unwrap());
        spoil(&state);
        assert!(matches!(accepted(&state, KeysAccepted::Keep), Err(UnsealedStore::Disagrees { .. })));
        assert!(open(&state).is_err(), "nothing was accepted");
        accepted(&state, KeysAccepted::Revoke).unwrap();
        assert_eq!(state_of(&open(&state).unwrap(), 0), KeyState::Revoked);
    }
}

#[test]
fn child_that_changes_a_sealed_store_until_it_is_killed() {
    let Some(state) = std::env::var_os(CHILD) else { return };
    let state = Path::new(&state);
    let store = SealedStore::open(sled(state).unwrap(), state).unwrap();
    let steps = store.scan(Table::Outbox, b"", None, usize::MAX).unwrap().len();
    for step in steps.. {
        let n = u32::try_from(step % 200).unwrap();
        enrol_in(&store, n);
        store
            .transact(&|transaction| {
                transaction.write(Table::Outbox, &step.to_be_bytes(), vec![b'x'; step % 700])?;
                let at = [name(n).as_str().as_bytes(), &[0], kid(n).as_bytes()].concat();
                transaction.remove(Table::Keys, &at)?;
                Ok(Verdict::Commit)
            })
            .unwrap();
        eprintln!("step {step}");
    }
}

#[test]
fn v74_r06_an_honest_kill_never_keeps_the_store_from_opening() {
    let outside = tempfile::tempdir().unwrap();
    let state = outside.path();
    let mut acknowledged = None;
    for round in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store_seal::child_that_changes_a_sealed_store_until_it_is_killed", "--nocapture"])
            .env(CHILD, state)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let killed = std::thread::scope(|scope| {
            let reader = scope.spawn(move || {
                let steps = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("step ")?.parse().ok());
                steps.last()
            });
            // Not synchronisation: it selects the point at which the child dies.
            std::thread::sleep(Duration::from_micros(20_000 + round * 1_937));
            child.kill().unwrap();
            child.wait().unwrap();
            reader.join().unwrap()
        });
        acknowledged = killed.or(acknowledged);
        let records = open(state).unwrap_or_else(|refused| panic!("after kill {round}: {refused}"));
        drop(records);
    }
    let store = sled(state).unwrap();
    let steps = store.scan(Table::Outbox, b"", None, usize::MAX).unwrap().len() as u64;
    assert!(acknowledged.is_some_and(|last: u64| last > KILLS && steps > last), "{acknowledged:?} of {steps}");
}
