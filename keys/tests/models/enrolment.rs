//! Whatever Core and a neighbour do with tickets, only a key of Alice's own browser ever acts in
//! Alice's account (P2).
//!
//! Alice clicks, opens the pages that she is sent, lets her browser offer a key, and approves the
//! code that *her page* shows under *her name*. Every other step is an attacker's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_keys::enrolment::{Code, TICKET_LIFETIME_S, Ticket as Secret, TicketHash};
use countersign_keys::identity::{KeyId, Uid, Username};
use countersign_keys::jws::Algorithm;
use countersign_keys::keyring::{KeyRecord, KeyState, Protocol, VerificationKey};
use countersign_keys::store::records::{Begun, Offer, Ticket, TicketState};
use countersign_keys::store::registry::{Authority, Naming, NewConnection, Registry, Sharing};
use countersign_keys::store::{Change, Entry, Interrupted, Store, StoreFailure, Table, Transaction, Verdict};
use countersign_keys::time::Timestamp;
use stateright::{Checker as _, Model, Property};

const NOW: i64 = 1_800_000_000;
const ALICE_UID: Uid = Uid(1100);
const MALLORY_UID: Uid = Uid(1101);
const TICKETS_MAX: usize = 3;
const STEPS_MAX: u8 = 6;

/// The content of a store, as part of a state.
type Contents = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

/// A store in memory.
#[derive(Clone)]
struct MapStore(Arc<Mutex<Contents>>);

struct MapTransaction<'m>(&'m Mutex<Contents>);

impl MapStore {
    fn contents(&self) -> Contents {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Store for MapStore {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFailure> {
        Ok(self.0.lock().unwrap().get(&(table.name(), key.to_vec())).cloned())
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<Entry>, StoreFailure> {
        let contents = self.0.lock().unwrap();
        let of_table = contents.iter().filter(|((name, _), _)| *name == table.name());
        let wanted = of_table.map(|((_, key), value)| (key.clone(), value.clone()));
        let wanted = wanted.filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| &key[..] > after));
        Ok(wanted.take(count).collect())
    }

    fn transact(&self, change: &Change<'_>) -> Result<(), StoreFailure> {
        let draft = Mutex::new(self.contents());
        match change(&MapTransaction(&draft)) {
            Ok(Verdict::Commit) => *self.0.lock().unwrap() = draft.into_inner().unwrap(),
            Ok(Verdict::Abort) => {}
            Err(Interrupted::Conflict) => panic!("nobody else is here"),
            Err(Interrupted::Failure(failure)) => return Err(failure),
        }
        Ok(())
    }

    fn write_lazily(&self, table: Table, key: &[u8], value: Vec<u8>) -> Result<(), StoreFailure> {
        self.0.lock().unwrap().insert((table.name(), key.to_vec()), value);
        Ok(())
    }
}

impl Transaction for MapTransaction<'_> {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Interrupted> {
        Ok(self.0.lock().unwrap().get(&(table.name(), key.to_vec())).cloned())
    }

    fn write(&self, table: Table, key: &[u8], value: Vec<u8>) -> Result<(), Interrupted> {
        self.0.lock().unwrap().insert((table.name(), key.to_vec()), value);
        Ok(())
    }

    fn remove(&self, table: Table, key: &[u8]) -> Result<(), Interrupted> {
        self.0.lock().unwrap().remove(&(table.name(), key.to_vec()));
        Ok(())
    }
}

/// The owner of the browser that made a key.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Maker {
    Alice = 1,
    Core = 2,
    Mallory = 3,
}

/// A ticket, and who has seen it. Core sees every ticket that it ordered, and relays it as it
/// likes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Known {
    username: &'static str,
    begun_here: bool,
    opened_by_alice: bool,
    /// Alice's page got an answer to its offer, and shows a code.
    shown_to_alice: bool,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct State {
    store: Contents,
    tickets: Vec<Known>,
    now: i64,
    steps: u8,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Action {
    /// Core orders a ticket for any user.
    CoreBegins(&'static str),
    /// Alice begins at the centre, in her own account.
    AliceBeginsHere,
    /// Core sends Alice to the page of a ticket.
    CoreSendsAlice(usize),
    /// Alice's browser, with the page of a connection that she began, shows the ticket from UCloud.
    AliceConfirms(usize, usize),
    /// A browser of this maker offers a key.
    Offer(Maker, usize),
    /// Alice runs the command that her page shows.
    AliceApproves(usize),
    /// Mallory, who has an account, approves an offer under a ticket that Core knows.
    MalloryApproves(usize),
    /// Core ends Alice's connection.
    Unlinked,
    /// Seven minutes pass.
    Wait,
}

fn user(name: &str) -> Username {
    Username::parse(name).unwrap()
}

fn key(maker: Maker) -> VerificationKey {
    // The example keys of RFC 7517 A.1, RFC 7515 A.3 and RFC 7518 C.
    let (x, y) = match maker {
        Maker::Alice => ("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"),
        Maker::Core => ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"),
        Maker::Mallory => {
            ("gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0", "SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps")
        }
    };
    let jwk = format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#);
    VerificationKey::from_jwk(jwk.as_bytes(), Algorithm::Es256).unwrap()
}

fn hash(ticket: usize) -> TicketHash {
    Secret::from_bytes([u8::try_from(ticket).unwrap(); 32]).hash()
}

fn code(ticket: usize, username: &str, maker: Maker) -> Code {
    Code::of(&hash(ticket), &user(username), &key(maker))
}

fn kid(ticket: usize, maker: Maker) -> KeyId {
    let mut bytes = [0; 16];
    (bytes[0], bytes[1]) = (u8::try_from(ticket).unwrap(), maker as u8);
    KeyId::from_bytes(bytes)
}

impl State {
    fn store(&self) -> MapStore {
        MapStore(Arc::new(Mutex::new(self.store.clone())))
    }

    fn registry(&self) -> Registry<MapStore> {
        Registry::new(self.store())
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.now)
    }

    /// The server's part of an approval. The key is the offered one for every approver.
    fn approve(&self, registry: &Registry<MapStore>, code: &Code, uid: Uid) {
        let Ok(ticket) = registry.ticket_of_code(code, self.now()) else { return };
        let Ok(offer) = ticket.may_approve(uid, self.now()) else { return };
        let connection = NewConnection {
            key: offer.key.clone(),
            uid,
            account: format!("account{uid}"),
            instance_key: "AAAA".to_owned(),
            sharing: Sharing::OneUser,
            naming: Naming::ByTicket,
        };
        let _ = registry.approve(code, &connection, self.now());
    }

    /// The active keys of an account.
    fn active(&self, uid: Uid) -> Vec<KeyRecord> {
        let registry = self.registry();
        let names = registry.usernames(uid).unwrap();
        let users = names.iter().map(|name| registry.user(name).unwrap().unwrap());
        let keys = users.flat_map(|user| registry.keys(&user).unwrap());
        keys.filter(|key| key.state == KeyState::Active).collect()
    }
}

struct Enrolment;

impl Model for Enrolment {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State { store: Contents::new(), tickets: Vec::new(), now: NOW, steps: 0 }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.steps >= STEPS_MAX {
            return;
        }
        if state.tickets.len() < TICKETS_MAX {
            actions.extend([Action::CoreBegins("alice"), Action::CoreBegins("mallory"), Action::AliceBeginsHere]);
        }
        for (at, known) in state.tickets.iter().enumerate() {
            if !known.begun_here {
                actions.extend([
                    Action::Offer(Maker::Core, at),
                    Action::Offer(Maker::Mallory, at),
                    Action::MalloryApproves(at),
                ]);
            }
            match known {
                Known { begun_here: false, opened_by_alice: false, .. } => actions.push(Action::CoreSendsAlice(at)),
                // Her page names the UCloud user, and she continues only under her own name.
                Known { username: "alice", opened_by_alice: true, shown_to_alice: false, .. } => {
                    actions.push(Action::Offer(Maker::Alice, at));
                }
                Known { shown_to_alice: true, .. } => actions.push(Action::AliceApproves(at)),
                Known { .. } => {}
            }
        }
        for (here, _) in state.tickets.iter().enumerate().filter(|(_, known)| known.begun_here) {
            let from_core = |known: &Known| !known.begun_here && known.opened_by_alice && known.username == "alice";
            let words = state.tickets.iter().enumerate().filter(|(_, known)| from_core(known));
            actions.extend(words.map(|(at_core, _)| Action::AliceConfirms(here, at_core)));
        }
        actions.extend([Action::Unlinked, Action::Wait]);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        state.steps += 1;
        let store = state.store();
        let registry = Registry::new(store.clone());
        let now = state.now();
        match action {
            Action::CoreBegins(username) => begin(&mut state, &registry, username, None)?,
            Action::AliceBeginsHere => begin(&mut state, &registry, "alice", Some(ALICE_UID))?,
            Action::CoreSendsAlice(at) => state.tickets[at].opened_by_alice = true,
            Action::AliceConfirms(here, at_core) => drop(registry.confirm(&hash(here), &hash(at_core), now)),
            Action::Offer(maker, at) => {
                let username = state.tickets[at].username;
                let lifetime = (now, now.plus(1_000_000));
                let record =
                    KeyRecord::new(user(username), kid(at, maker), &key(maker), Protocol::V2, lifetime, String::new());
                let offer = Offer { code: code(at, username, maker), key: record, at: now, address: String::new() };
                let taken = registry.offer(&hash(at), &offer, now).is_ok();
                state.tickets[at].shown_to_alice |= taken && maker == Maker::Alice;
            }
            Action::AliceApproves(at) => {
                state.approve(&registry, &code(at, state.tickets[at].username, Maker::Alice), ALICE_UID);
            }
            Action::MalloryApproves(at) => {
                for maker in [Maker::Alice, Maker::Core, Maker::Mallory] {
                    state.approve(&registry, &code(at, state.tickets[at].username, maker), MALLORY_UID);
                }
            }
            Action::Unlinked => drop(registry.disconnect(Authority::Core, &user("alice"))),
            Action::Wait => state.now += TICKET_LIFETIME_S / 2 + 1,
        }
        state.store = store.contents();
        (state.store != last.store || state.tickets != last.tickets || state.now != last.now).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("only Alice's keys act in Alice's account", |_, state: &State| {
                let alices = key(Maker::Alice);
                state.active(ALICE_UID).iter().all(|record| {
                    record.owner.as_str() == "alice"
                        && record.verification_key().unwrap().spki_der() == alices.spki_der()
                })
            }),
            Property::sometimes("Alice gets connected by way of Core", |_, state: &State| {
                state.tickets.first().is_some_and(|ticket| !ticket.begun_here) && !state.active(ALICE_UID).is_empty()
            }),
            Property::sometimes("Alice gets connected by way of the centre", |_, state: &State| {
                state.tickets.first().is_some_and(|ticket| ticket.begun_here) && !state.active(ALICE_UID).is_empty()
            }),
            Property::sometimes("Core spoils a connection", |_, state: &State| {
                let dead = |at| {
                    state
                        .registry()
                        .ticket(&hash(at), state.now())
                        .is_ok_and(|ticket| matches!(ticket.state, TicketState::Dead { .. }))
                };
                state.tickets.iter().enumerate().any(|(at, known)| known.shown_to_alice && dead(at))
            }),
        ]
    }
}

fn begin(state: &mut State, registry: &Registry<MapStore>, username: &'static str, uid: Option<Uid>) -> Option<()> {
    let at = state.tickets.len();
    let ticket = Ticket {
        hash: hash(at),
        username: user(username),
        begun: if uid.is_some() { Begun::AtTheCentre } else { Begun::AtCore },
        bound_to: uid,
        nonce: "nonce".to_owned(),
        created: state.now(),
        until: state.now().plus(TICKET_LIFETIME_S),
        confirmed: None,
        state: TicketState::Open,
    };
    registry.open_ticket(&ticket, state.now()).ok()?;
    // The link of a connection that was begun at the centre is shown in Alice's own terminal.
    state.tickets.push(Known {
        username,
        begun_here: uid.is_some(),
        opened_by_alice: uid.is_some(),
        shown_to_alice: false,
    });
    Some(())
}

#[test]
fn p2_no_order_of_tickets_offers_and_approvals_lets_another_key_into_an_account() {
    let checked = Enrolment.checker().threads(2).spawn_bfs().join();
    checked.assert_properties();
    assert!(checked.unique_state_count() > 1_000, "only {} states", checked.unique_state_count());
}
