//! Limits of tickets: a sender of too many loses their own, and affects no other sender.

#![cfg(feature = "store")]

use countersign_keys::enrolment::{TICKET_LIFETIME_S, Ticket as Secret, TicketHash};
use countersign_keys::identity::{Uid, Username};
use countersign_keys::store::records::{Begun, Ticket, TicketState};
use countersign_keys::store::registry::{NotChanged, Registry};
use countersign_keys::store::sled_store::SledStore;
use countersign_keys::store::tickets::TicketRejection;
use countersign_keys::time::Timestamp;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const LONG_PAST: Timestamp = Timestamp::from_seconds(1_900_000_000);
const MALLORY: Uid = Uid(1102);

struct Fixture {
    registry: Registry<SledStore>,
    _directory: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    Fixture { registry: Registry::new(SledStore::open(directory.path()).unwrap()), _directory: directory }
}

fn hash(number: u32) -> TicketHash {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Secret::from_bytes(bytes).hash()
}

impl Fixture {
    fn open(&self, number: u32, username: &str, bound_to: Option<Uid>) {
        self.open_until(number, username, bound_to, NOW.plus(TICKET_LIFETIME_S));
    }

    fn open_until(&self, number: u32, username: &str, bound_to: Option<Uid>, until: Timestamp) {
        let ticket = Ticket {
            hash: hash(number),
            username: Username::parse(username).unwrap(),
            begun: if bound_to.is_some() { Begun::AtTheCentre } else { Begun::AtCore },
            bound_to,
            nonce: "nonce".to_owned(),
            created: NOW.plus(number.into()),
            until,
            confirmed: None,
            state: TicketState::Open,
        };
        self.registry.open_ticket(&ticket, NOW).unwrap();
    }

    fn is_open(&self, number: u32) -> bool {
        match self.registry.ticket(&hash(number), NOW) {
            Ok(ticket) => ticket.state == TicketState::Open,
            Err(NotChanged::Rejected(rejection)) => {
                assert_eq!(rejection, TicketRejection::Unknown);
                false
            }
            Err(NotChanged::Failed(failure)) => panic!("{failure}"),
        }
    }

    /// The number of tickets. Counting removes them.
    fn count(&self) -> usize {
        self.registry.forget_tickets(LONG_PAST).unwrap()
    }
}

#[test]
fn s05_a_sender_who_begins_without_end_stops_nobody() {
    let fixture = fixture();
    fixture.open(10_001, "alice", Some(Uid(1100)));
    for number in 0..2_050 {
        fixture.open(number, "mallory", Some(MALLORY));
    }
    fixture.open(10_002, "bob", None);
    fixture.open(10_003, "bob", Some(Uid(1101)));
    assert!((10_001..=10_003).all(|number| fixture.is_open(number)));
    assert!((2_046..2_050).all(|number| fixture.is_open(number)), "the newest of the flood's own");
    assert_eq!(fixture.count(), 3 + 4, "nothing is left of the others");
}

#[test]
fn s05_what_is_finished_stops_nobody_and_takes_little_room() {
    let fixture = fixture();
    for number in 0..100 {
        fixture.open_until(number, "mallory", None, NOW.plus(-1));
    }
    fixture.open(100, "mallory", None);
    assert!(fixture.is_open(100));
    assert_eq!(fixture.count(), 4 + 1);
}

#[test]
fn s05_very_many_senders_push_out_the_oldest_of_their_side() {
    let fixture = fixture();
    fixture.open(10_001, "alice", None);
    for number in 0..2_010 {
        fixture.open(number, "mallory", Some(Uid(20_000 + number)));
    }
    assert!(!fixture.is_open(9) && fixture.is_open(10) && fixture.is_open(2_009));
    assert!(fixture.is_open(10_001), "begun at the other side");
    assert_eq!(fixture.count(), 2_001);
    fixture.open(3_000, "mallory", Some(MALLORY));
    assert_eq!(fixture.count(), 1, "and what was forgotten no longer counts");
}
