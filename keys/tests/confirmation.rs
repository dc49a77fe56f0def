//! The confirmation that a connection needs for its name: Core's, the site's, or an earlier
//! connection of the same account (V69).

#![cfg(feature = "store")]

use crate::support::registry::{
    ALICE_UID, BOB_UID, Fixture, NOW, connection, fixture, hash, offer, record, rejected, ticket, user,
};
use countersign_keys::enrolment::TICKET_LIFETIME_S;
use countersign_keys::identity::KeyId;
use countersign_keys::keyring::{KeyState, Protocol};
use countersign_keys::store::records::{Begun, CoreMessage, Death, Offer, TicketState};
use countersign_keys::store::registry::{Ended, Naming, NewConnection, Registry, RegistryRejection};
use countersign_keys::store::sled_store::SledStore;
use countersign_keys::store::tickets::TicketRejection;
use countersign_keys::store::{Store as _, Table, Verdict};

/// A connection that BOB_UID begins here under alice's name, with a key offered.
fn begun_by_bob_as_alice(fixture: &Fixture, n: u8) -> Offer {
    fixture.open(&ticket(n, "alice", Begun::AtTheCentre, Some(BOB_UID)));
    let offer = offer(n, "alice", n);
    fixture.registry.offer(&hash(n), &offer, NOW).unwrap();
    offer
}

#[test]
fn v69_s06_a_connection_begun_here_needs_cores_word_for_the_name() {
    let fixture = fixture();
    let taken = begun_by_bob_as_alice(&fixture, 1);
    let unconfirmed = TicketRejection::Registry(RegistryRejection::Unconfirmed);
    let approve = |offer: &Offer, n: u8, uid| fixture.registry.approve(&offer.code, &connection("alice", n, uid), NOW);
    assert_eq!(rejected(approve(&taken, 1, BOB_UID)), unconfirmed);
    assert!(fixture.registry.user(&user("alice")).unwrap().is_none());
    assert!(fixture.outbox().is_empty(), "Core hears nothing");

    // A ticket of another user, a ticket that was begun here, and no ticket.
    fixture.open(&ticket(2, "bob", Begun::AtCore, None));
    fixture.open(&ticket(3, "alice", Begun::AtTheCentre, Some(BOB_UID)));
    for n in [2, 3, 9] {
        assert_eq!(rejected(fixture.registry.confirm(&hash(1), &hash(n), NOW)), TicketRejection::Unknown, "{n}");
    }
    assert_eq!(rejected(approve(&taken, 1, BOB_UID)), unconfirmed);

    // The confirmation is valid once, and no longer than its ticket.
    fixture.open(&ticket(4, "alice", Begun::AtCore, None));
    let late = NOW.plus(TICKET_LIFETIME_S);
    assert_eq!(rejected(fixture.registry.confirm(&hash(1), &hash(4), late)), TicketRejection::Dead(Death::Expired));
    fixture.registry.confirm(&hash(1), &hash(4), NOW).unwrap();
    assert_eq!(fixture.state(4), TicketState::Dead { why: Death::Withdrawn });
    let again = rejected(fixture.registry.confirm(&hash(3), &hash(4), NOW));
    assert_eq!(again, TicketRejection::Dead(Death::Withdrawn));
    assert_eq!(approve(&taken, 1, BOB_UID).unwrap(), None);
}

#[test]
fn v69_s06_another_key_of_a_connected_account_needs_no_further_word() {
    let fixture = fixture();
    fixture.connect(1, "alice", 1, BOB_UID).unwrap();
    let second = begun_by_bob_as_alice(&fixture, 2);
    fixture.registry.approve(&second.code, &connection("alice", 2, BOB_UID), NOW).unwrap();
}

#[test]
fn v69_s06_what_the_site_maps_needs_no_word_of_cores() {
    let fixture = fixture();
    let mapped = begun_by_bob_as_alice(&fixture, 1);
    let new = NewConnection { naming: Naming::BySite, ..connection("alice", 1, BOB_UID) };
    fixture.registry.approve(&mapped.code, &new, NOW).unwrap();
}

#[test]
fn v69_s06_a_connection_that_core_began_displaces_one_that_nobody_confirmed() {
    let kid = KeyId::from_bytes([1; 16]);
    // A record from a store that was written before names were confirmed.
    let alice = serde_json::json!({
        "username": "alice",
        "connection": {
            "uid": BOB_UID, "account": "bob", "since": NOW, "instance_key": "AAAA", "core_told": true,
        },
        "kids": [kid],
    });
    let fixture = fixture();
    let stored = |record: serde_json::Value| [&[1], record.to_string().as_bytes()].concat();
    let store = SledStore::open(&fixture.directory.path().join("old")).unwrap();
    store
        .transact(&|transaction| {
            let key = serde_json::to_value(record("alice", 1, NOW, Protocol::V2)).unwrap();
            transaction.write(Table::Users, b"alice", stored(alice.clone()))?;
            transaction.write(Table::Uids, &BOB_UID.0.to_be_bytes(), stored(serde_json::json!(["alice"])))?;
            transaction.write(Table::Keys, &[b"alice\0", &kid.as_bytes()[..]].concat(), stored(key))?;
            Ok(Verdict::Commit)
        })
        .unwrap();
    let fixture = Fixture { registry: Registry::new(store), ..fixture };
    let displaced = fixture.connect(2, "alice", 2, ALICE_UID).unwrap();
    assert_eq!(displaced, Some(Ended { uid: BOB_UID, kids: vec![kid] }));
    let key = fixture.registry.key(&user("alice"), &kid).unwrap().unwrap();
    assert_eq!(key.state, KeyState::Revoked);
    assert_eq!(fixture.registry.usernames(BOB_UID).unwrap(), []);
    assert_eq!(fixture.registry.usernames(ALICE_UID).unwrap(), [user("alice")]);
    assert_eq!(fixture.outbox().last().unwrap().message, CoreMessage::Approve);
    // A confirmed connection is not replaced.
    let by_other_uid = rejected(fixture.connect(3, "alice", 3, BOB_UID));
    assert_eq!(by_other_uid, TicketRejection::Registry(RegistryRejection::UserMappedOtherwise));
}
