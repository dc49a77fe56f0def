//! Rules for passkeys in a store: number, owner, counters, and their end with the connection.

#![cfg(feature = "store")]

use countersign_keys::identity::{KeyId, Uid, Username};
use countersign_keys::jws::Algorithm;
use countersign_keys::keyring::{KeyRecord, Protocol, VerificationKey};
use countersign_keys::store::passkeys::{Asserted, PASSKEYS_MAX, Passkey, PasskeyRejection, PasskeyState};
use countersign_keys::store::records::{Begun, Offer, Ticket, TicketState};
use countersign_keys::store::registry::{Authority, Naming, NewConnection, NotChanged, Registry, Sharing};
use countersign_keys::store::sled_store::SledStore;
use countersign_keys::time::Timestamp;
use countersign_portal::BrowserKey;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

type Store = Registry<SledStore>;

fn user(name: &str) -> Username {
    Username::parse(name).unwrap()
}

/// A store in which these users are connected.
fn connected(names: &[&str]) -> (Store, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::new(SledStore::open(directory.path()).unwrap());
    for (n, name) in (1..).zip(names) {
        connect(&registry, name, n);
    }
    (registry, directory)
}

fn connect(registry: &Store, name: &str, n: u8) {
    use countersign_keys::enrolment::{Code, Ticket as Secret};
    let spki = BrowserKey::make(countersign_portal::Algorithm::Es256).unwrap().public_spki().unwrap();
    let key = VerificationKey::from_spki_der(&spki, Algorithm::Es256).unwrap();
    let kid = KeyId::from_bytes([n; 16]);
    let record = KeyRecord::new(user(name), kid, &key, Protocol::V2, (NOW, NOW.plus(1_000)), "key".to_owned());
    let hash = Secret::from_bytes([n; 32]).hash();
    let ticket = Ticket {
        hash,
        username: user(name),
        begun: Begun::AtCore,
        bound_to: None,
        nonce: "nonce".to_owned(),
        created: NOW,
        until: NOW.plus(900),
        confirmed: None,
        state: TicketState::Open,
    };
    registry.open_ticket(&ticket, NOW).unwrap();
    let code = Code::of(&hash, &user(name), &key);
    registry
        .offer(&hash, &Offer { code: code.clone(), key: record.clone(), at: NOW, address: String::new() }, NOW)
        .unwrap();
    let uid = Uid(1_100 + u32::from(n));
    let new = NewConnection {
        key: record,
        uid,
        account: name.to_owned(),
        instance_key: "AAAA".to_owned(),
        sharing: Sharing::OneUser,
        naming: Naming::ByTicket,
    };
    registry.approve(&code, &new, NOW).unwrap();
}

fn passkey(id: &str) -> Passkey {
    Passkey {
        id: id.to_owned(),
        name: "phone".to_owned(),
        credential: serde_json::json!({ "key": id }),
        counter: 0,
        created: NOW,
        last_used: None,
        state: PasskeyState::Active,
    }
}

fn why<T: std::fmt::Debug>(outcome: Result<T, NotChanged<PasskeyRejection>>) -> PasskeyRejection {
    match outcome.unwrap_err() {
        NotChanged::Rejected(rejection) => rejection,
        NotChanged::Failed(failure) => panic!("{failure}"),
    }
}

fn add(registry: &Store, name: &str, id: &str) -> Result<(), NotChanged<PasskeyRejection>> {
    registry.add_passkey(&user(name), [7; 16], &passkey(id))
}

fn used(registry: &Store, name: &str, id: &str, counter: u32) -> Result<(), NotChanged<PasskeyRejection>> {
    let used = Asserted { id: id.to_owned(), counter, credential: None, at: NOW.plus(5) };
    registry.use_passkey(&user(name), &used)
}

fn ids(registry: &Store, name: &str) -> Vec<String> {
    let theirs = registry.passkeys(&user(name)).unwrap();
    theirs.map(|theirs| theirs.passkeys.into_iter().map(|passkey| passkey.id).collect()).unwrap_or_default()
}

#[test]
fn a_passkey_is_one_users_and_there_once() {
    let (registry, _directory) = connected(&["alice", "bob"]);
    assert_eq!(ids(&registry, "alice"), Vec::<String>::new());
    add(&registry, "alice", "a").unwrap();
    assert_eq!(why(add(&registry, "alice", "a")), PasskeyRejection::Exists);
    assert_eq!(why(add(&registry, "bob", "a")), PasskeyRejection::Exists, "another user's");
    assert_eq!(why(add(&registry, "carol", "c")), PasskeyRejection::NotConnected);
    // The longest id has 1023 bytes (WebAuthn, section 4), which is 1364 characters.
    add(&registry, "bob", &"x".repeat(1_364)).unwrap();
    registry.remove_passkey(&user("bob"), &"x".repeat(1_364)).unwrap();
    assert_eq!(why(add(&registry, "bob", &"x".repeat(1_365))), PasskeyRejection::Exists, "no id has that length");
    for n in 1..PASSKEYS_MAX {
        add(&registry, "alice", &format!("a{n}")).unwrap();
    }
    assert_eq!(why(add(&registry, "alice", "one more")), PasskeyRejection::TooMany);
    assert_eq!(why(registry.remove_passkey(&user("bob"), "a")), PasskeyRejection::NoSuchPasskey);
    registry.remove_passkey(&user("alice"), "a").unwrap();
    assert_eq!(
        ids(&registry, "alice"),
        (1..PASSKEYS_MAX).map(|n| format!("a{n}")).collect::<Vec<_>>(),
        "the others stay"
    );
    assert_eq!(why(registry.remove_passkey(&user("alice"), "a")), PasskeyRejection::NoSuchPasskey);
    add(&registry, "bob", "a").unwrap();
    assert_eq!(ids(&registry, "bob"), ["a"]);
    assert_eq!(registry.passkeys(&user("alice")).unwrap().unwrap().handle, [7; 16]);
}

#[test]
fn a_counter_grows_or_the_passkey_ends() {
    let (registry, _directory) = connected(&["alice"]);
    add(&registry, "alice", "counts").unwrap();
    add(&registry, "alice", "does not").unwrap();
    let state = |at: usize| registry.passkeys(&user("alice")).unwrap().unwrap().passkeys[at].clone();
    for counter in [1, 2, 7] {
        used(&registry, "alice", "counts", counter).unwrap();
        used(&registry, "alice", "does not", 0).unwrap();
    }
    assert_eq!((state(0).counter, state(0).last_used), (7, Some(NOW.plus(5))));
    assert_eq!(why(used(&registry, "alice", "counts", 7)), PasskeyRejection::Copied, "the same again");
    assert_eq!(state(0).state, PasskeyState::Copied);
    assert_eq!(why(used(&registry, "alice", "counts", 8)), PasskeyRejection::Copied, "for good");
    assert_eq!(state(0).counter, 7);
    used(&registry, "alice", "does not", 3).unwrap();
    assert_eq!(why(used(&registry, "alice", "does not", 0)), PasskeyRejection::Copied, "it has begun to count");
    assert_eq!(why(used(&registry, "alice", "absent", 1)), PasskeyRejection::NoSuchPasskey);
    assert_eq!(why(used(&registry, "bob", "counts", 9)), PasskeyRejection::NoSuchPasskey);
    add(&registry, "alice", "third").unwrap();
    registry.mark_passkey_copied(&user("alice"), "third").unwrap();
    assert_eq!(state(2).state, PasskeyState::Copied);
    assert_eq!(why(registry.mark_passkey_copied(&user("alice"), "absent")), PasskeyRejection::NoSuchPasskey);
}

#[test]
fn a_use_keeps_what_the_library_wants_kept() {
    let (registry, _directory) = connected(&["alice"]);
    add(&registry, "alice", "a").unwrap();
    let changed = serde_json::json!({ "key": "changed" });
    let used = Asserted { id: "a".to_owned(), counter: 1, credential: Some(changed.clone()), at: NOW };
    registry.use_passkey(&user("alice"), &used).unwrap();
    assert_eq!(registry.passkeys(&user("alice")).unwrap().unwrap().passkeys[0].credential, changed);
}

#[test]
fn passkeys_end_with_the_connection_and_survive_all_else() {
    let (registry, directory) = connected(&["alice", "bob"]);
    add(&registry, "alice", "a").unwrap();
    add(&registry, "bob", "b").unwrap();
    let kid = KeyId::from_bytes([1; 16]);
    registry.revoke_key(Authority::Administrator, &user("alice"), &kid).unwrap();
    drop(registry);
    let registry = Registry::new(SledStore::open(directory.path()).unwrap());
    assert_eq!(ids(&registry, "alice"), ["a"], "a revoked key is no disconnection, and a restart none either");
    registry.disconnect(Authority::Core, &user("alice")).unwrap();
    assert!(registry.passkeys(&user("alice")).unwrap().is_none());
    assert_eq!(ids(&registry, "bob"), ["b"]);
    add(&registry, "bob", "a").unwrap();
}
