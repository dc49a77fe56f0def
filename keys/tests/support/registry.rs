//! A registry in its own store, with test records.

use countersign_keys::enrolment::Ticket as Secret;
use countersign_keys::enrolment::{Code, TICKET_LIFETIME_S, TicketHash};
use countersign_keys::identity::{KeyId, Uid, Username};
use countersign_keys::jws::Algorithm;
use countersign_keys::keyring::{KeyRecord, Protocol, VerificationKey};
use countersign_keys::store::records::{Begun, Offer, OutboxEntry, Ticket, TicketState};
use countersign_keys::store::registry::{Ended, Naming, NewConnection, NotChanged, Registry, Sharing};
use countersign_keys::store::sled_store::SledStore;
use countersign_keys::store::tickets::TicketRejection;
use countersign_keys::time::Timestamp;
use p256::elliptic_curve::sec1::ToSec1Point as _;

pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
pub(crate) const DAY_S: i64 = 86_400;
pub(crate) const ALICE_UID: Uid = Uid(1100);
pub(crate) const BOB_UID: Uid = Uid(1101);

pub(crate) struct Fixture {
    pub(crate) registry: Registry<SledStore>,
    pub(crate) directory: tempfile::TempDir,
}

pub(crate) fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    Fixture { registry: Registry::new(SledStore::open(directory.path()).unwrap()), directory }
}

pub(crate) fn user(name: &str) -> Username {
    Username::parse(name).unwrap()
}

pub(crate) fn key(n: u8) -> VerificationKey {
    let secret = p256::SecretKey::from_slice(&[n; 32]).unwrap();
    let point = secret.public_key().to_sec1_point(false);
    let b64 = |bytes: &[u8]| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    };
    let (x, y) = (b64(point.x().unwrap()), b64(point.y().unwrap()));
    let jwk = format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#);
    VerificationKey::from_jwk(jwk.as_bytes(), Algorithm::Es256).unwrap()
}

pub(crate) fn record(owner: &str, n: u8, created: Timestamp, protocol: Protocol) -> KeyRecord {
    let kid = KeyId::from_bytes([n; 16]);
    KeyRecord::new(user(owner), kid, &key(n), protocol, (created, created.plus(180 * DAY_S)), format!("key {n}"))
}

pub(crate) fn hash(n: u8) -> TicketHash {
    Secret::from_bytes([n; 32]).hash()
}

pub(crate) fn ticket(n: u8, username: &str, begun: Begun, bound_to: Option<Uid>) -> Ticket {
    Ticket {
        hash: hash(n),
        username: user(username),
        begun,
        bound_to,
        nonce: "nonce".to_owned(),
        created: NOW.plus(i64::from(n)),
        until: NOW.plus(TICKET_LIFETIME_S),
        confirmed: None,
        state: TicketState::Open,
    }
}

pub(crate) fn offer(ticket: u8, username: &str, n: u8) -> Offer {
    Offer {
        code: Code::of(&hash(ticket), &user(username), &key(n)),
        key: record(username, n, NOW, Protocol::V2),
        at: NOW,
        address: "192.0.2.1:1".to_owned(),
    }
}

pub(crate) fn connection(username: &str, n: u8, uid: Uid) -> NewConnection {
    NewConnection {
        key: record(username, n, NOW, Protocol::V2),
        uid,
        account: format!("account{uid}"),
        instance_key: "AAAA".to_owned(),
        sharing: Sharing::OneUser,
        naming: Naming::ByTicket,
    }
}

pub(crate) fn rejected<T: std::fmt::Debug, R: std::error::Error + 'static>(outcome: Result<T, NotChanged<R>>) -> R {
    match outcome.unwrap_err() {
        NotChanged::Rejected(rejection) => rejection,
        NotChanged::Failed(failure) => panic!("{failure}"),
    }
}

impl Fixture {
    pub(crate) fn open(&self, ticket: &Ticket) {
        self.registry.open_ticket(ticket, NOW).unwrap();
    }

    pub(crate) fn state(&self, n: u8) -> TicketState {
        self.registry.ticket(&hash(n), NOW).unwrap().state
    }

    /// Connects a user with one key, through a ticket.
    pub(crate) fn connect(
        &self,
        ticket_number: u8,
        username: &str,
        n: u8,
        uid: Uid,
    ) -> Result<Option<Ended>, NotChanged<TicketRejection>> {
        self.open(&ticket(ticket_number, username, Begun::AtCore, None));
        let offer = offer(ticket_number, username, n);
        self.registry.offer(&hash(ticket_number), &offer, NOW).unwrap();
        self.registry.approve(&offer.code, &connection(username, n, uid), NOW)
    }

    pub(crate) fn outbox(&self) -> Vec<OutboxEntry> {
        self.registry.outbox_after(None, 10).unwrap()
    }
}
