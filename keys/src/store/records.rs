//! The records of the store.
//!
//! Records are plain values. A reader of a key checks it again ([`KeyRecord::verification_key`]).

use serde::{Deserialize, Serialize};

use crate::enrolment::{Code, TicketHash};
use crate::identity::{KeyId, Uid, Username};
use crate::keyring::KeyRecord;
use crate::time::Timestamp;

/// A UCloud user, connected or not.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The user.
    pub username: Username,
    /// The user's account here; `None` after a disconnection.
    pub connection: Option<Connection>,
    /// The ids of the user's keys in every state, oldest first.
    pub kids: Vec<KeyId>,
}

/// The connection between a user and a local account.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// The account's uid.
    pub uid: Uid,
    /// The account's login name at the time of connection. Another name later means another
    /// account.
    pub account: String,
    /// When the connection was made.
    pub since: Timestamp,
    /// The public half of the account's instance key: SubjectPublicKeyInfo, as standard base64 of
    /// the DER.
    pub instance_key: String,
    /// Whether Core was told of the connection.
    pub core_told: bool,
    /// When it was approved again, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewed: Option<Timestamp>,
    /// When it expired, once that is recorded. The connection is then void until it is approved
    /// again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Timestamp>,
    /// Whether Core named the user to the user's own browser, or the site's user mapper named the
    /// account. A confirmed connection replaces one that is not.
    #[serde(default)]
    pub is_confirmed: bool,
}

impl Connection {
    /// The last approval, from which its lifetime counts.
    #[must_use]
    pub fn approved(&self) -> Timestamp {
        self.renewed.unwrap_or(self.since)
    }

    /// The first second at which the connection is void, if connections last `lasts_s` seconds from
    /// their approval; `None` if it does not expire. An expired connection stays expired, even if
    /// the configuration changes later.
    #[must_use]
    pub fn end(&self, lasts_s: Option<i64>) -> Option<Timestamp> {
        self.over.or_else(|| lasts_s.map(|lasts_s| self.approved().plus(lasts_s)))
    }
}

/// A ticket, of which only the hash is stored.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// SHA-256 of the ticket.
    pub hash: TicketHash,
    /// The user whom it connects.
    pub username: Username,
    /// Where the connection was begun.
    pub begun: Begun,
    /// The only uid that may approve it: the account that began it here, or the one that the user
    /// mapper named.
    pub bound_to: Option<Uid>,
    /// The nonce that the offer's proof must contain.
    pub nonce: String,
    /// When it was begun.
    pub created: Timestamp,
    /// The first second at which it is void.
    pub until: Timestamp,
    /// When Core named the user to the browser of a connection that was begun here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Timestamp>,
    /// Its state.
    pub state: TicketState,
}

impl Ticket {
    /// Whether Core named the user to the browser that has this ticket.
    #[must_use]
    pub const fn is_confirmed(&self) -> bool {
        matches!(self.begun, Begun::AtCore) || self.confirmed.is_some()
    }
}

/// Where a connection was begun.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Begun {
    /// By Core, with `integration/connect`.
    AtCore,
    /// Here, with `connect start`.
    AtTheCentre,
}

/// The state of a ticket.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum TicketState {
    /// No key was offered yet.
    Open,
    /// A key was offered, and waits for approval.
    Offered {
        /// The offer.
        offer: Offer,
    },
    /// Its key was approved.
    Approved {
        /// The key.
        kid: KeyId,
        /// Whether a later offer of another key showed that another browser has the ticket.
        second_offer: bool,
    },
    /// The ticket is void.
    Dead {
        /// Why.
        why: Death,
    },
}

/// Why a ticket is void.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Death {
    /// A second key was offered: another browser has the ticket too.
    SecondOffer,
    /// Its lifetime ended.
    Expired,
    /// Later tickets replaced it, or it confirmed a connection that was begun at the centre.
    Withdrawn,
}

/// An offered key, which cannot verify anything yet.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The code that names ticket, user and key for the approval.
    pub code: Code,
    /// The key as it will be stored. Its times are set at approval.
    pub key: KeyRecord,
    /// The time of the offer.
    pub at: Timestamp,
    /// The client's address, as seen by the gateway.
    pub address: String,
}

/// A message that Core must still receive. One for each user: a later message replaces an earlier
/// one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OutboxEntry {
    /// The user concerned.
    pub username: Username,
    /// The message.
    #[serde(rename = "tell")]
    pub message: CoreMessage,
    /// Distinguishes it from a message that replaced it while it was being sent.
    pub number: u64,
}

/// A message to Core.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CoreMessage {
    /// The user is connected. The server always clears the connection at Core first.
    #[serde(alias = "clear_then_approve")]
    Approve,
    /// The user is no longer connected.
    Clear,
}
