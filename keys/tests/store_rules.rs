//! Tickets, connections and keys in a store: every allowed step, and every refusal.

#![cfg(feature = "store")]

use crate::support::registry::{
    ALICE_UID, BOB_UID, DAY_S, NOW, connection, fixture, hash, offer, record, rejected, ticket, user,
};
use countersign_keys::enrolment::TICKET_LIFETIME_S;
use countersign_keys::identity::{KeyId, Uid, Username};
use countersign_keys::keyring::{KEYS_V1_MAX, KeyRecord, KeyState, Protocol};
use countersign_keys::store::drives::{CoreDriveId, DRIVES_MAX, DriveRejection};
use countersign_keys::store::records::{Begun, CoreMessage, Death, TicketState};
use countersign_keys::store::registry::{Authority, KEYS_MAX, NewConnection, RegistryRejection, Sharing};
use countersign_keys::store::tickets::TicketRejection;

#[test]
fn a_ticket_goes_from_open_over_offered_to_approved() {
    let fixture = fixture();
    fixture.connect(1, "alice", 1, ALICE_UID).unwrap();
    let TicketState::Approved { kid, second_offer: false } = fixture.state(1) else { panic!() };
    assert_eq!(fixture.registry.ticket(&hash(1), NOW).unwrap().kid(), Some(kid));
    let alice = fixture.registry.user(&user("alice")).unwrap().unwrap();
    let connection = alice.connection.clone().unwrap();
    assert_eq!((connection.uid, connection.core_told, alice.kids.as_slice()), (ALICE_UID, false, [kid].as_slice()));
    assert_eq!(fixture.registry.usernames(ALICE_UID).unwrap(), [user("alice")]);
    let key = fixture.registry.key(&user("alice"), &kid).unwrap().unwrap();
    assert_eq!((key.state, key.expires), (KeyState::Active, NOW.plus(180 * DAY_S)));
    assert_eq!(fixture.outbox()[0].message, CoreMessage::Approve);
}

#[test]
fn v19_an_offered_key_is_no_key() {
    let fixture = fixture();
    fixture.open(&ticket(1, "alice", Begun::AtCore, None));
    fixture.registry.offer(&hash(1), &offer(1, "alice", 1), NOW).unwrap();
    assert_eq!(fixture.registry.key(&user("alice"), &KeyId::from_bytes([1; 16])).unwrap(), None);
    assert_eq!(fixture.registry.user(&user("alice")).unwrap(), None);
}

#[test]
fn v45_a_second_offer_is_refused_and_kills_the_ticket() {
    let fixture = fixture();
    fixture.open(&ticket(1, "alice", Begun::AtCore, None));
    let first = offer(1, "alice", 1);
    fixture.registry.offer(&hash(1), &first, NOW).unwrap();
    assert_eq!(rejected(fixture.registry.offer(&hash(1), &offer(1, "alice", 2), NOW)), TicketRejection::SecondOffer);
    assert_eq!(fixture.state(1), TicketState::Dead { why: Death::SecondOffer });
    let approved = fixture.registry.approve(&first.code, &connection("alice", 1, ALICE_UID), NOW);
    assert_eq!(rejected(approved), TicketRejection::Unknown, "the first offer dies with the ticket");
    let third = fixture.registry.offer(&hash(1), &first, NOW);
    assert_eq!(rejected(third), TicketRejection::Dead(Death::SecondOffer));
}

#[test]
fn v45_an_offer_said_twice_is_a_second_offer() {
    let fixture = fixture();
    fixture.open(&ticket(1, "alice", Begun::AtCore, None));
    let only = offer(1, "alice", 1);
    fixture.registry.offer(&hash(1), &only, NOW).unwrap();
    assert_eq!(rejected(fixture.registry.offer(&hash(1), &only, NOW)), TicketRejection::SecondOffer);
}

#[test]
fn v45_an_offer_after_approval_is_refused_and_remembered() {
    let fixture = fixture();
    fixture.connect(1, "alice", 1, ALICE_UID).unwrap();
    assert_eq!(rejected(fixture.registry.offer(&hash(1), &offer(1, "alice", 2), NOW)), TicketRejection::SecondOffer);
    assert!(matches!(fixture.state(1), TicketState::Approved { second_offer: true, .. }));
    assert_eq!(fixture.registry.key(&user("alice"), &KeyId::from_bytes([2; 16])).unwrap(), None);
}

#[test]
fn v45_a_ticket_lives_for_a_quarter_of_an_hour() {
    let fixture = fixture();
    let (last, over) = (NOW.plus(TICKET_LIFETIME_S - 1), NOW.plus(TICKET_LIFETIME_S));
    fixture.open(&ticket(1, "alice", Begun::AtCore, None));
    let first = offer(1, "alice", 1);
    assert_eq!(rejected(fixture.registry.offer(&hash(1), &first, over)), TicketRejection::Dead(Death::Expired));
    fixture.registry.offer(&hash(1), &first, last).unwrap();
    let new = connection("alice", 1, ALICE_UID);
    assert_eq!(rejected(fixture.registry.approve(&first.code, &new, over)), TicketRejection::Dead(Death::Expired));
    fixture.registry.approve(&first.code, &new, last).unwrap();
    assert_eq!(rejected(fixture.registry.approve(&first.code, &new, last)), TicketRejection::AlreadyApproved);
}

#[test]
fn unknown_tickets_and_codes_are_unknown() {
    let fixture = fixture();
    assert_eq!(rejected(fixture.registry.ticket(&hash(9), NOW)), TicketRejection::Unknown);
    assert_eq!(rejected(fixture.registry.offer(&hash(9), &offer(9, "alice", 1), NOW)), TicketRejection::Unknown);
    let code = offer(9, "alice", 1).code;
    assert_eq!(rejected(fixture.registry.ticket_of_code(&code, NOW)), TicketRejection::Unknown);
    let approved = fixture.registry.approve(&code, &connection("alice", 1, ALICE_UID), NOW);
    assert_eq!(rejected(approved), TicketRejection::Unknown);
}

#[test]
fn what_is_approved_is_what_was_offered() {
    let fixture = fixture();
    fixture.open(&ticket(1, "alice", Begun::AtCore, None));
    let first = offer(1, "alice", 1);
    fixture.registry.offer(&hash(1), &first, NOW).unwrap();
    let of_that_id = |n: u8| KeyId::from_bytes([n; 16]);
    let other_key_of_that_id = NewConnection {
        key: KeyRecord { kid: of_that_id(1), ..record("alice", 2, NOW, Protocol::V2) },
        ..connection("alice", 1, ALICE_UID)
    };
    let that_key_of_another_id = NewConnection {
        key: KeyRecord { kid: of_that_id(2), ..record("alice", 1, NOW, Protocol::V2) },
        ..connection("alice", 1, ALICE_UID)
    };
    let others = [connection("alice", 2, ALICE_UID), connection("bob", 1, ALICE_UID)];
    for other in others.into_iter().chain([other_key_of_that_id, that_key_of_another_id]) {
        assert_eq!(rejected(fixture.registry.approve(&first.code, &other, NOW)), TicketRejection::Unknown);
    }
    fixture.registry.approve(&first.code, &connection("alice", 1, ALICE_UID), NOW).unwrap();
}

#[test]
fn v47_a_ticket_begun_here_is_for_the_uid_that_began_it() {
    let fixture = fixture();
    fixture.open(&ticket(1, "alice", Begun::AtTheCentre, Some(ALICE_UID)));
    let first = offer(1, "alice", 1);
    fixture.registry.offer(&hash(1), &first, NOW).unwrap();
    let other = fixture.registry.approve(&first.code, &connection("alice", 1, BOB_UID), NOW);
    assert_eq!(rejected(other), TicketRejection::BoundToAnother);
    fixture.open(&ticket(2, "alice", Begun::AtCore, None));
    fixture.registry.confirm(&hash(1), &hash(2), NOW).unwrap();
    fixture.registry.approve(&first.code, &connection("alice", 1, ALICE_UID), NOW).unwrap();
}

#[test]
fn one_user_one_account_until_it_is_removed() {
    let fixture = fixture();
    fixture.connect(1, "alice", 1, ALICE_UID).unwrap();
    let by_other_uid = rejected(fixture.connect(2, "alice", 2, BOB_UID));
    assert_eq!(by_other_uid, TicketRejection::Registry(RegistryRejection::UserMappedOtherwise));
    let other_user = rejected(fixture.connect(3, "bob", 3, ALICE_UID));
    assert_eq!(other_user, TicketRejection::Registry(RegistryRejection::AccountMappedOtherwise));
    assert!(matches!(fixture.state(3), TicketState::Offered { .. }), "a refusal changes nothing");

    fixture.registry.disconnect(Authority::Account(ALICE_UID), &user("alice")).unwrap();
    fixture.connect(4, "alice", 4, BOB_UID).unwrap();
    fixture.connect(5, "bob", 5, ALICE_UID).unwrap();
}

#[test]
fn several_users_share_an_account_only_where_that_is_allowed() {
    let fixture = fixture();
    fixture.connect(1, "alice", 1, ALICE_UID).unwrap();
    fixture.open(&ticket(2, "bob", Begun::AtCore, None));
    let second = offer(2, "bob", 2);
    fixture.registry.offer(&hash(2), &second, NOW).unwrap();
    let shared = NewConnection { sharing: Sharing::SeveralUsers, ..connection("bob", 2, ALICE_UID) };
    fixture.registry.approve(&second.code, &shared, NOW).unwrap();
    assert_eq!(fixture.registry.usernames(ALICE_UID).unwrap(), [user("alice"), user("bob")]);
    fixture.registry.disconnect(Authority::Core, &user("alice")).unwrap();
    assert_eq!(fixture.registry.usernames(ALICE_UID).unwrap(), [user("bob")]);
}

#[test]
fn clicking_again_withdraws_the_oldest_open_ticket_of_the_same_user() {
    let fixture = fixture();
    for n in 1..=4 {
        fixture.open(&ticket(n, "alice", Begun::AtCore, None));
    }
    fixture.open(&ticket(5, "bob", Begun::AtCore, None));
    fixture.open(&ticket(6, "alice", Begun::AtTheCentre, Some(ALICE_UID)));
    assert_eq!(fixture.state(1), TicketState::Open);
    fixture.open(&ticket(7, "alice", Begun::AtCore, None));
    assert_eq!(rejected(fixture.registry.ticket(&hash(1), NOW)), TicketRejection::Unknown);
    for n in 2..=7 {
        assert_eq!(fixture.state(n), TicketState::Open, "ticket {n}");
    }
    // A ticket begun here counts for the account that began it.
    for n in 8..=11 {
        fixture.open(&ticket(n, "alice", Begun::AtTheCentre, Some(BOB_UID)));
    }
    assert_eq!(fixture.state(8), TicketState::Open);
    fixture.open(&ticket(12, "alice", Begun::AtTheCentre, Some(BOB_UID)));
    assert_eq!(rejected(fixture.registry.ticket(&hash(8), NOW)), TicketRejection::Unknown);
    assert_eq!(fixture.state(6), TicketState::Open, "another's");
}

#[test]
fn offered_tickets_are_not_pushed_out_but_few() {
    let fixture = fixture();
    for n in 1..=4 {
        fixture.open(&ticket(n, "alice", Begun::AtCore, None));
        fixture.registry.offer(&hash(n), &offer(n, "alice", n), NOW).unwrap();
    }
    let one_more = fixture.registry.open_ticket(&ticket(5, "alice", Begun::AtCore, None), NOW);
    assert_eq!(rejected(one_more), TicketRejection::TooMany);
    assert!(matches!(fixture.state(1), TicketState::Offered { .. }));
    assert_eq!(fixture.registry.ticket(&hash(1), NOW).unwrap().kid(), Some(KeyId::from_bytes([1; 16])));
    fixture.open(&ticket(6, "alice", Begun::AtTheCentre, Some(ALICE_UID)));
}

#[test]
fn tickets_long_past_are_forgotten() {
    let fixture = fixture();
    fixture.connect(1, "alice", 1, ALICE_UID).unwrap();
    let late = NOW.plus(TICKET_LIFETIME_S + 3600);
    assert_eq!(fixture.registry.forget_tickets(late.plus(-1)).unwrap(), 0);
    assert_eq!(rejected(fixture.registry.ticket(&hash(1), late)), TicketRejection::Unknown);
    assert_eq!(fixture.registry.forget_tickets(late).unwrap(), 1);
    assert_eq!(rejected(fixture.registry.ticket(&hash(1), NOW)), TicketRejection::Unknown);
    let code = offer(1, "alice", 1).code;
    assert_eq!(rejected(fixture.registry.ticket_of_code(&code, NOW)), TicketRejection::Unknown);
}

#[test]
fn v49_a_user_has_a_limited_number_of_keys() {
    let fixture = fixture();
    fixture.connect(1, "alice", 1, ALICE_UID).unwrap();
    let max = u8::try_from(KEYS_MAX).unwrap();
    for n in 2..=max {
        fixture.registry.add_key(ALICE_UID, &record("alice", n, NOW, Protocol::V2)).unwrap();
    }
    let one_more = record("alice", max + 1, NOW, Protocol::V2);
    assert_eq!(rejected(fixture.registry.add_key(ALICE_UID, &one_more)), RegistryRejection::TooManyKeys);
    let revoked = KeyId::from_bytes([5; 16]);
    fixture.registry.revoke_key(Authority::Account(ALICE_UID), &user("alice"), &revoked).unwrap();
    fixture.registry.add_key(ALICE_UID, &one_more).unwrap();
    let alice = fixture.registry.user(&user("alice")).unwrap().unwrap();
    assert_eq!(alice.kids.len(), KEYS_MAX);
    assert!(!alice.kids.contains(&revoked), "it made room");
    // An expired key is replaced too.
    let late = record("alice", max + 2, NOW.plus(180 * DAY_S), Protocol::V2);
    fixture.registry.add_key(ALICE_UID, &late).unwrap();
}

#[test]
fn keys_of_version_1_are_four_and_found_without_an_id() {
    let fixture = fixture();
    fixture.connect(1, "alice", 1, ALICE_UID).unwrap();
    let max = u8::try_from(KEYS_V1_MAX).unwrap();
    for n in 2..2 + max {
        fixture.registry.add_key(ALICE_UID, &record("alice", n, NOW, Protocol::V1)).unwrap();
    }
    let one_more = record("alice", 9, NOW, Protocol::V1);
    assert_eq!(rejected(fixture.registry.add_key(ALICE_UID, &one_more)), RegistryRejection::TooManyKeys);
    assert_eq!(fixture.registry.keys_v1(&user("alice"), NOW).unwrap().len(), KEYS_V1_MAX);
    assert_eq!(fixture.registry.keys_v1(&user("alice"), NOW.plus(180 * DAY_S)).unwrap(), []);
    assert_eq!(fixture.registry.keys_v1(&user("bob"), NOW).unwrap(), []);
}

#[test]
fn v17_keys_belong_to_the_account_that_adds_them() {
    let fixture = fixture();
    fixture.connect(1, "alice", 1, ALICE_UID).unwrap();
    let second = record("alice", 2, NOW, Protocol::V2);
    assert_eq!(rejected(fixture.registry.add_key(BOB_UID, &second)), RegistryRejection::NotConnected);
    let bobs = record("bob", 2, NOW, Protocol::V2);
    assert_eq!(rejected(fixture.registry.add_key(ALICE_UID, &bobs)), RegistryRejection::NotConnected);
    let again = record("alice", 1, NOW, Protocol::V2);
    assert_eq!(rejected(fixture.registry.add_key(ALICE_UID, &again)), RegistryRejection::KeyExists);
    fixture.registry.add_key(ALICE_UID, &second).unwrap();
    assert_eq!(fixture.registry.key(&user("bob"), &second.kid).unwrap(), None, "one kid, another user");
}

#[test]
fn v51_keys_are_revoked_by_their_account_or_an_administrator() {
    let fixture = fixture();
    fixture.connect(1, "alice", 1, ALICE_UID).unwrap();
    let kid = KeyId::from_bytes([1; 16]);
    let revoke = |authority, kid: &KeyId| fixture.registry.revoke_key(authority, &user("alice"), kid);
    assert_eq!(rejected(revoke(Authority::Account(BOB_UID), &kid)), RegistryRejection::NotConnected);
    assert_eq!(rejected(revoke(Authority::Core, &kid)), RegistryRejection::NotConnected);
    let other = KeyId::from_bytes([2; 16]);
    assert_eq!(rejected(revoke(Authority::Administrator, &other)), RegistryRejection::NoSuchKey);
    revoke(Authority::Account(ALICE_UID), &kid).unwrap();
    assert_eq!(fixture.registry.key(&user("alice"), &kid).unwrap().unwrap().state, KeyState::Revoked);
    revoke(Authority::Administrator, &kid).unwrap();
}

#[test]
fn a_disconnection_revokes_every_key_and_tells_core_unless_core_said_so() {
    let fixture = fixture();
    fixture.connect(1, "alice", 1, ALICE_UID).unwrap();
    fixture.registry.add_key(ALICE_UID, &record("alice", 2, NOW, Protocol::V2)).unwrap();
    fixture.registry.revoke_key(Authority::Administrator, &user("alice"), &KeyId::from_bytes([1; 16])).unwrap();
    let foreign = fixture.registry.disconnect(Authority::Account(BOB_UID), &user("alice"));
    assert_eq!(rejected(foreign), RegistryRejection::NotConnected);
    let ended = fixture.registry.disconnect(Authority::Account(ALICE_UID), &user("alice")).unwrap();
    assert_eq!((ended.uid, ended.kids), (ALICE_UID, vec![KeyId::from_bytes([2; 16])]));
    assert_eq!(fixture.outbox()[0].message, CoreMessage::Clear);
    assert_eq!(fixture.registry.usernames(ALICE_UID).unwrap(), []);
    let again = fixture.registry.disconnect(Authority::Administrator, &user("alice"));
    assert_eq!(rejected(again), RegistryRejection::NotConnected);

    fixture.connect(2, "alice", 3, ALICE_UID).unwrap();
    assert_eq!(fixture.outbox()[0].message, CoreMessage::Approve);
    fixture.registry.disconnect(Authority::Core, &user("alice")).unwrap();
    assert_eq!(fixture.outbox(), []);
    let key = fixture.registry.key(&user("alice"), &KeyId::from_bytes([3; 16])).unwrap().unwrap();
    assert_eq!(key.state, KeyState::Revoked);
}

#[test]
fn a_message_is_finished_only_if_none_took_its_place() {
    let fixture = fixture();
    fixture.connect(1, "alice", 1, ALICE_UID).unwrap();
    let approve = fixture.outbox().remove(0);
    fixture.registry.disconnect(Authority::Core, &user("alice")).unwrap();
    fixture.connect(2, "alice", 2, ALICE_UID).unwrap();
    fixture.registry.finish_entry(&approve).unwrap();
    let told = || fixture.registry.user(&user("alice")).unwrap().unwrap().connection.unwrap().core_told;
    assert_eq!((fixture.outbox().len(), told()), (1, false));
    fixture.registry.finish_entry(&fixture.outbox()[0]).unwrap();
    assert_eq!((fixture.outbox().len(), told()), (0, true));

    // Core need not hear of a second key of a connected user.
    fixture.connect(3, "alice", 3, ALICE_UID).unwrap();
    assert_eq!((fixture.outbox().len(), told()), (0, true));
}

#[test]
fn users_come_in_pages() {
    let fixture = fixture();
    for (n, name) in (1..).zip(["a", "ab", "b", "c"]) {
        fixture.connect(n, name, n, Uid(2000 + u32::from(n))).unwrap();
    }
    let names = |after: Option<&Username>, count| -> Vec<String> {
        let users = fixture.registry.users_after(after, count).unwrap();
        users.into_iter().map(|user| user.username.as_str().to_owned()).collect()
    };
    assert_eq!(names(None, 2), ["a", "ab"]);
    assert_eq!(names(Some(&user("ab")), 2), ["b", "c"]);
    assert_eq!(names(Some(&user("c")), 2), [""; 0]);
}

#[test]
fn the_last_use_of_a_key_is_remembered() {
    let fixture = fixture();
    let kid = KeyId::from_bytes([1; 16]);
    assert_eq!(fixture.registry.last_use(&user("alice"), &kid).unwrap(), None);
    fixture.registry.note_use(&user("alice"), &kid, NOW).unwrap();
    assert_eq!(fixture.registry.last_use(&user("alice"), &kid).unwrap(), Some(NOW));
}

#[test]
fn a_connection_that_is_over_is_kept_and_opens_again_with_an_approval() {
    const LASTS_S: i64 = 3600;
    let fixture = fixture();
    fixture.connect(1, "alice", 1, ALICE_UID).unwrap();
    let tell = || fixture.registry.outbox_after(None, 9).unwrap().first().map(|entry| entry.message);
    let done = || {
        let entry = fixture.registry.outbox_after(None, 9).unwrap().remove(0);
        fixture.registry.finish_entry(&entry).unwrap();
    };
    let alice = || fixture.registry.user(&user("alice")).unwrap().unwrap().connection.unwrap();
    done();
    assert_eq!((alice().end(None), alice().end(Some(LASTS_S))), (None, Some(NOW.plus(LASTS_S))));

    let over = NOW.plus(LASTS_S);
    let note = |username: &str, approved| fixture.registry.note_over(&user(username), approved, over).unwrap();
    assert_eq!(note("bob", NOW), None, "who is not connected");
    assert_eq!(note("alice", NOW.plus(-1)), None, "who was approved since");
    assert_eq!(tell(), None);
    assert_eq!(note("alice", NOW), Some(ALICE_UID));
    assert_eq!((tell(), alice().core_told), (Some(CoreMessage::Clear), false));
    assert_eq!(note("alice", NOW), None, "once");
    assert_eq!(alice().end(None), Some(over), "it stays over if connections last for ever from now on");
    assert_eq!(fixture.registry.usernames(ALICE_UID).unwrap(), [user("alice")], "nobody else takes its place");
    assert_eq!(
        rejected(fixture.connect(2, "alice", 2, BOB_UID)),
        TicketRejection::Registry(RegistryRejection::UserMappedOtherwise)
    );

    done();
    fixture.open(&ticket(3, "alice", Begun::AtCore, None));
    let second = offer(3, "alice", 3);
    fixture.registry.offer(&hash(3), &second, NOW).unwrap();
    let later = over.plus(5);
    let new = connection("alice", 3, ALICE_UID);
    let new = NewConnection { key: KeyRecord { created: later, ..new.key.clone() }, ..new };
    fixture.registry.approve(&second.code, &new, NOW).unwrap();
    assert_eq!((alice().since, alice().end(Some(LASTS_S))), (NOW, Some(later.plus(LASTS_S))));
    assert_eq!((alice().end(None), tell()), (None, Some(CoreMessage::Approve)));
    done();
    assert!(alice().core_told);
    for n in [1, 3] {
        let state =
            fixture.registry.key(&user("alice"), &record("alice", n, NOW, Protocol::V2).kid).unwrap().unwrap().state;
        assert_eq!(state, KeyState::Active, "key {n}");
    }
}

#[test]
fn core_is_not_told_again_of_another_browser() {
    let fixture = fixture();
    fixture.connect(1, "alice", 1, ALICE_UID).unwrap();
    fixture.registry.finish_entry(&fixture.registry.outbox_after(None, 9).unwrap()[0]).unwrap();
    fixture.connect(2, "alice", 2, ALICE_UID).unwrap();
    assert_eq!(fixture.registry.outbox_after(None, 9).unwrap(), []);
}

#[test]
fn a_drive_s_number_at_core_never_changes_its_meaning() {
    let fixture = fixture();
    let registry = &fixture.registry;
    let (alice, bob) = (user("alice"), user("alice2"));
    let number = |text: &str| CoreDriveId::parse(text).unwrap();
    let ids = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<Vec<_>>();
    assert_eq!(registry.add_drives(&alice, &ids(&["home", "work-bio"])).unwrap(), 2);
    assert_eq!(registry.add_drives(&alice, &ids(&["home", "work-bio"])).unwrap(), 0);
    assert_eq!(registry.add_drives(&bob, &ids(&["home"])).unwrap(), 1);
    let waiting = || registry.drives_to_register(None, 9).unwrap().len();
    assert_eq!(waiting(), 3);
    registry.note_asked(&alice, "home").unwrap();
    assert!(registry.drives_to_register(None, 1).unwrap()[0].asked);
    registry.note_registered(&alice, "home", &number("17")).unwrap();
    assert_eq!(waiting(), 2);
    registry.note_registered(&alice, "home", &number("17")).unwrap();
    assert_eq!(rejected(registry.note_registered(&alice, "home", &number("18"))), DriveRejection::Renumbered);
    assert_eq!(rejected(registry.note_registered(&alice, "work-bio", &number("17"))), DriveRejection::NumberTaken);
    assert_eq!(rejected(registry.note_registered(&alice, "other", &number("19"))), DriveRejection::Unknown);
    assert_eq!(rejected(registry.note_asked(&bob, "work-bio")), DriveRejection::Unknown);
    let of = |username| {
        registry.drives(username).unwrap().into_iter().map(|drive| (drive.id, drive.core_id)).collect::<Vec<_>>()
    };
    assert_eq!(of(&alice), [("home".to_owned(), Some(number("17"))), ("work-bio".to_owned(), None)]);
    assert_eq!(of(&bob), [("home".to_owned(), None)], "one user's drives are not another's");
    let first = registry.drives_to_register(None, 1).unwrap().remove(0);
    assert_eq!(registry.drives_to_register(Some(&first), 9).unwrap().len(), 1);
    assert_eq!(number("12345678901234567890").as_str(), "12345678901234567890");
    for none in ["", "0", "01", "-1", "1a", " 1", "123456789012345678901"] {
        assert!(CoreDriveId::parse(none).is_err(), "{none:?}");
    }
}

#[test]
fn a_user_has_a_limited_number_of_drives() {
    let fixture = fixture();
    let many: Vec<String> = (0..DRIVES_MAX + 9).map(|n| format!("work-{n:03}")).collect();
    assert_eq!(fixture.registry.add_drives(&user("alice"), &many).unwrap(), DRIVES_MAX);
    assert_eq!(fixture.registry.add_drives(&user("alice"), &many).unwrap(), 0);
    assert_eq!(fixture.registry.drives(&user("alice")).unwrap().len(), DRIVES_MAX);
}

#[test]
fn a_drive_that_its_user_makes_is_known_once_and_never_registered() {
    let fixture = fixture();
    let registry = &fixture.registry;
    let (alice, bob) = (user("alice"), user("bob"));
    let number = |text: &str| CoreDriveId::parse(text).unwrap();
    registry.add_made_drive(&alice, "own-a", &number("9001")).unwrap();
    assert_eq!(registry.drives_to_register(None, 9).unwrap(), [], "Core has it already");
    assert_eq!(registry.add_drives(&alice, &["own-a".to_owned()]).unwrap(), 0, "found again on the disk");
    let refused = |id: &str, text: &str| rejected(registry.add_made_drive(&alice, id, &number(text)));
    assert_eq!(refused("own-a", "9002"), DriveRejection::Exists);
    assert_eq!(refused("own-b", "9001"), DriveRejection::NumberTaken);
    registry.forget_drive(&bob, "own-a").unwrap();
    assert_eq!(registry.drives(&alice).unwrap().len(), 1, "another user's word");
    registry.forget_drive(&alice, "own-a").unwrap();
    registry.forget_drive(&alice, "own-a").unwrap();
    assert_eq!(registry.drives(&alice).unwrap(), []);
    let many: Vec<String> = (0..DRIVES_MAX).map(|number| format!("d{number}")).collect();
    registry.add_drives(&alice, &many).unwrap();
    assert_eq!(refused("own-c", "9003"), DriveRejection::TooMany);
    registry.forget_drive(&alice, "d7").unwrap();
    registry.add_made_drive(&alice, "own-c", &number("9003")).unwrap();
    assert!(!registry.drives_to_register(None, 99).unwrap().iter().any(|drive| drive.id == "d7"));
}
